//! What a destination can do, as data. The engine plans by it, refuses the impossible before a run, and the
//! conformance suite selects its cases by it.

use std::time::Duration;

/// What one write call does to its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Create the record, or update it where the key exists.
    Upsert,
    /// Create the record; one that exists is left alone.
    Create,
    /// Update the record; one that is missing is not made.
    Update,
    /// Remove the record, in the form the service has for it.
    Delete,
    /// Add one entry, such as an event or a row of a history. Each call adds one, also for a key that has entries
    /// already; only the row's [token](crate::destination::WriteBatch::tokens) says that two rows are the same entry.
    Append,
    /// Make the record of the key a member of the audience that the target names. A member stays one.
    AddMember,
    /// End the membership of the record of the key. The record itself stays as it is.
    RemoveMember,
}

impl Operation {
    /// All operations.
    pub const ALL: [Operation; 7] = [
        Operation::Upsert,
        Operation::Create,
        Operation::Update,
        Operation::Delete,
        Operation::Append,
        Operation::AddMember,
        Operation::RemoveMember,
    ];

    /// A stable lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Upsert => "upsert",
            Operation::Create => "create",
            Operation::Update => "update",
            Operation::Delete => "delete",
            Operation::Append => "append",
            Operation::AddMember => "add_member",
            Operation::RemoveMember => "remove_member",
        }
    }

    /// Whether it takes away what a key stood for, so that the key is forgotten once it is done.
    pub(crate) fn removes(self) -> bool {
        matches!(self, Operation::Delete | Operation::RemoveMember)
    }
}

/// What makes it safe to send an operation a second time when the fate of the first is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteIdempotence {
    /// The key addresses the record, so a second write of the same values changes nothing.
    ByKey,
    /// The service remembers a [token](crate::destination::WriteBatch::tokens) that travels with each row, and acts
    /// once for all rows of one token: for ever, or as long as
    /// [`token_retention`](OperationLimits::token_retention) says.
    ByToken,
    /// Nothing does: a second send may act twice.
    None,
}

/// How the rows of an operation say which record they mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Addressing {
    /// By the value of the field that is matched on.
    #[default]
    ByKey,
    /// By the record's own id ([`WriteBatch::ids`](crate::destination::WriteBatch::ids)).
    ById,
    /// By either: all rows of a batch alike.
    ByKeyOrId,
}

impl Addressing {
    /// Whether rows can go by key.
    pub fn takes_keys(self) -> bool {
        self != Addressing::ById
    }

    /// Whether rows can go by record id.
    pub fn takes_ids(self) -> bool {
        self != Addressing::ByKey
    }
}

/// The limits of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperationLimits {
    /// Most rows in one call, at least 1.
    pub max_rows: usize,
    /// Most bytes in one request body, where the service limits them. The engine closes a batch by the
    /// destination's own [`estimate`](crate::destination::Destination::row_bytes) of each row.
    pub max_bytes: Option<usize>,
    /// Whether the operation may be sent again when its fate is unknown.
    pub idempotence: WriteIdempotence,
    /// How its rows say which record they mean. An upsert, a create or an append always goes by key.
    pub addressing: Addressing,
    /// How long the service remembers a token; `None` if it never forgets one. Only
    /// [`WriteIdempotence::ByToken`] has a use for it.
    pub token_retention: Option<Duration>,
}

impl OperationLimits {
    /// Limits of `max_rows` a call, no byte limit, rows by key.
    pub fn new(max_rows: usize, idempotence: WriteIdempotence) -> Self {
        Self { max_rows, max_bytes: None, idempotence, addressing: Addressing::ByKey, token_retention: None }
    }

    /// Sets how rows say which record they mean.
    #[must_use]
    pub fn with_addressing(mut self, addressing: Addressing) -> Self {
        self.addressing = addressing;
        self
    }

    /// Says for how long the service remembers a token. What is in doubt is not sent again after that.
    #[must_use]
    pub fn with_token_retention(mut self, retention: Duration) -> Self {
        self.token_retention = Some(retention);
        self
    }

    /// Adds a limit on the bytes of one request body.
    #[must_use]
    pub fn with_max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = Some(max_bytes);
        self
    }
}

/// At most `requests` calls in any window of length `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Calls allowed in one window.
    pub requests: u32,
    /// Length of the sliding window.
    pub per: Duration,
}

impl Rate {
    /// `requests` calls in any window of length `per`.
    pub const fn new(requests: u32, per: Duration) -> Self {
        Self { requests, per }
    }
}

/// What a destination can do. Constant for an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capability {
    /// Limits of [`Operation::Upsert`]; `None` if the service has no such call.
    pub upsert: Option<OperationLimits>,
    /// Limits of [`Operation::Create`].
    pub create: Option<OperationLimits>,
    /// Limits of [`Operation::Update`].
    pub update: Option<OperationLimits>,
    /// Limits of [`Operation::Delete`].
    pub delete: Option<OperationLimits>,
    /// Limits of [`Operation::Append`].
    pub append: Option<OperationLimits>,
    /// Limits of [`Operation::AddMember`].
    pub add_member: Option<OperationLimits>,
    /// Limits of [`Operation::RemoveMember`].
    pub remove_member: Option<OperationLimits>,
    /// Most keys in one [`lookup`](crate::destination::Destination::lookup); `None` if records cannot be read.
    pub lookup_rows: Option<usize>,
    /// Whether a field can be emptied ([`Cell::Clear`](crate::record::Cell::Clear)).
    pub clears_fields: bool,
    /// Whether a field that a row does not carry keeps its value at the destination.
    pub keeps_absent_fields: bool,
    /// Whether one bad row leaves the other rows of its batch alone. Where it does not, the engine splits a
    /// rejected batch until the bad row is found.
    pub per_row_outcomes: bool,
    /// Most calls open at once, at least 1.
    pub max_in_flight: usize,
    /// The rate that the engine keeps; `None` if the service does not limit it.
    pub rate: Option<Rate>,
}

impl Capability {
    /// A destination that can do nothing yet: one call at a time, no limit on the rate.
    pub const fn new() -> Self {
        Self {
            upsert: None,
            create: None,
            update: None,
            delete: None,
            append: None,
            add_member: None,
            remove_member: None,
            lookup_rows: None,
            clears_fields: false,
            keeps_absent_fields: false,
            per_row_outcomes: false,
            max_in_flight: 1,
            rate: None,
        }
    }

    /// Adds an operation.
    #[must_use]
    pub fn with_operation(mut self, operation: Operation, limits: OperationLimits) -> Self {
        match operation {
            Operation::Upsert => self.upsert = Some(limits),
            Operation::Create => self.create = Some(limits),
            Operation::Update => self.update = Some(limits),
            Operation::Delete => self.delete = Some(limits),
            Operation::Append => self.append = Some(limits),
            Operation::AddMember => self.add_member = Some(limits),
            Operation::RemoveMember => self.remove_member = Some(limits),
        }
        self
    }

    /// Records can be read by key, at most `rows` keys a call.
    #[must_use]
    pub fn with_lookup(mut self, rows: usize) -> Self {
        self.lookup_rows = Some(rows);
        self
    }

    /// Fields can be emptied.
    #[must_use]
    pub fn with_clears_fields(mut self) -> Self {
        self.clears_fields = true;
        self
    }

    /// Absent fields keep their value.
    #[must_use]
    pub fn with_keeps_absent_fields(mut self) -> Self {
        self.keeps_absent_fields = true;
        self
    }

    /// A bad row leaves its neighbours alone.
    #[must_use]
    pub fn with_per_row_outcomes(mut self) -> Self {
        self.per_row_outcomes = true;
        self
    }

    /// Sets the most calls open at once.
    #[must_use]
    pub fn with_max_in_flight(mut self, calls: usize) -> Self {
        self.max_in_flight = calls.max(1);
        self
    }

    /// Sets the rate to keep.
    #[must_use]
    pub fn with_rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// The limits of `operation`, `None` if the destination does not have it.
    pub fn limits(&self, operation: Operation) -> Option<OperationLimits> {
        match operation {
            Operation::Upsert => self.upsert,
            Operation::Create => self.create,
            Operation::Update => self.update,
            Operation::Delete => self.delete,
            Operation::Append => self.append,
            Operation::AddMember => self.add_member,
            Operation::RemoveMember => self.remove_member,
        }
    }
}

impl Default for Capability {
    fn default() -> Self {
        Self::new()
    }
}
