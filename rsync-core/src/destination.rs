//! Where mapped rows are written to.
//!
//! A destination encodes, sends and decodes. It never retries, sleeps or batches, and it never sees the state:
//! the engine does all of that, by the destination's [`Capability`] and the retry class of its errors.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};
use async_trait::async_trait;

use crate::capability::{Capability, Operation};
use crate::error::{Error, Kind, Result};
use crate::field_policy::FieldPolicy;
use crate::ids::{AccountId, BatchId, FieldName, JobToken, RemoteId, RunId, Token};
use crate::outcome::Receipt;
use crate::record::{FieldType, Rows, Value, array_of};

/// What is written to: an object of the service, and the field that identifies its records.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Target {
    /// The object by its API name, such as `companies`.
    pub object: String,
    /// The field whose value identifies a record. It must be mapped.
    pub match_on: FieldName,
}

impl Target {
    /// Records of `object`, identified by the field `match_on`.
    pub fn new(object: impl Into<String>, match_on: impl Into<FieldName>) -> Self {
        Self { object: object.into(), match_on: match_on.into() }
    }
}

/// How the service compares the values of a key field. Keys that it takes for equal must not be sent as two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyFolding {
    /// Byte by byte.
    #[default]
    Exact,
    /// Without regard to case and to white space at both ends.
    CaselessTrimmed,
}

impl KeyFolding {
    /// Appends `key` as the service compares it. Version 1: letter by letter in lower case, so that every service,
    /// adapter and state folds alike; a change would be a new version.
    pub fn fold(self, key: &str, out: &mut String) {
        match self {
            KeyFolding::Exact => out.push_str(key),
            KeyFolding::CaselessTrimmed => out.extend(key.trim().chars().flat_map(char::to_lowercase)),
        }
    }

    /// `key` as the service compares it.
    pub fn folded(self, key: &str) -> String {
        let mut out = String::with_capacity(key.len());
        self.fold(key, &mut out);
        out
    }
}

/// A field as the destination describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteField {
    /// Its API name.
    pub name: FieldName,
    /// The service's own name for its type, for messages.
    pub type_name: String,
    /// The field types that can be written to it. Empty means any.
    pub accepts: Vec<AcceptedType>,
    /// Whether it can be written.
    pub writable: bool,
    /// Whether its values identify records, so that it can be matched on.
    pub unique: bool,
    /// How its values are compared when it is matched on.
    pub folding: KeyFolding,
    /// Whether it can be emptied, where the destination [can empty fields](Capability::clears_fields) at all.
    pub clearable: bool,
    /// The policies that the service carries out by itself in an upsert or update; [`WriteBatch::policies`] asks for
    /// them. Of [those that it could](FieldPolicy::can_be_native).
    pub native: Vec<FieldPolicy>,
}

impl RemoteField {
    /// A writable field that accepts every type, can be emptied and is not unique.
    pub fn new(name: impl Into<FieldName>, type_name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            type_name: type_name.into(),
            accepts: Vec::new(),
            writable: true,
            unique: false,
            folding: KeyFolding::Exact,
            clearable: true,
            native: Vec::new(),
        }
    }

    /// Adds policies that the service carries out by itself.
    #[must_use]
    pub fn with_native(mut self, policies: impl IntoIterator<Item = FieldPolicy>) -> Self {
        self.native.extend(policies);
        self
    }

    /// Whether a mapped field of type `ty` can be written to it.
    pub fn accepts(&self, ty: FieldType) -> bool {
        self.accepts.is_empty() || self.accepts.contains(&AcceptedType::of(ty))
    }
}

/// A field type without its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "named like the field types")]
pub enum AcceptedType {
    Text,
    Integer,
    Float,
    Decimal,
    Boolean,
    Date,
    Timestamp,
    TextList,
}

impl AcceptedType {
    /// The type of `ty` without its parameters.
    pub fn of(ty: FieldType) -> Self {
        match ty {
            FieldType::Text => AcceptedType::Text,
            FieldType::Integer => AcceptedType::Integer,
            FieldType::Float => AcceptedType::Float,
            FieldType::Decimal { .. } => AcceptedType::Decimal,
            FieldType::Boolean => AcceptedType::Boolean,
            FieldType::Date => AcceptedType::Date,
            FieldType::Timestamp => AcceptedType::Timestamp,
            FieldType::TextList => AcceptedType::TextList,
        }
    }
}

/// The fields of an object at the destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteSchema {
    /// All fields that the service names, writable or not.
    pub fields: Vec<RemoteField>,
    /// What fields of other names are like; `None` if there can be no others.
    pub others: Option<OtherFields>,
}

/// Fields that come into being when they are first written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OtherFields {
    /// The field types that can be written to them. Empty means any.
    pub accepts: Vec<AcceptedType>,
    /// The service's rule for names: why a name cannot be that of a field, and what to do about it.
    pub refusal: fn(&str) -> Option<NameRefusal>,
}

/// Why a name cannot be that of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameRefusal {
    /// Why.
    pub cause: &'static str,
    /// What to do.
    pub fix: &'static str,
}

impl OtherFields {
    /// Writable fields that accept every type, under the names that `refusal` does not refuse.
    pub fn new(refusal: fn(&str) -> Option<NameRefusal>) -> Self {
        Self { accepts: Vec::new(), refusal }
    }
}

impl PartialEq for OtherFields {
    fn eq(&self, other: &Self) -> bool {
        self.accepts == other.accepts && std::ptr::fn_addr_eq(self.refusal, other.refusal)
    }
}

impl Eq for OtherFields {}

impl RemoteSchema {
    /// A schema of `fields` and no others.
    pub fn new(fields: Vec<RemoteField>) -> Self {
        Self { fields, others: None }
    }

    /// Adds that fields of other names can be written too.
    #[must_use]
    pub fn with_others(mut self, others: OtherFields) -> Self {
        self.others = Some(others);
        self
    }

    /// The field of that API name: as the service describes it, or as one that does not exist yet.
    pub fn field(&self, name: &str) -> Option<Cow<'_, RemoteField>> {
        if let Some(field) = self.fields.iter().find(|field| field.name.as_str() == name) {
            return Some(Cow::Borrowed(field));
        }
        let others = self.others.as_ref().filter(|others| (others.refusal)(name).is_none())?;
        let mut field = RemoteField::new(name, "open");
        field.accepts.clone_from(&others.accepts);
        Some(Cow::Owned(field))
    }
}

/// Which records to read.
#[derive(Clone)]
#[non_exhaustive]
pub struct LookupRequest {
    /// The object and the field that `keys` are values of.
    pub target: Target,
    /// One row a key, with the single column [`Target::match_on`]; at most
    /// [`lookup_rows`](Capability::lookup_rows).
    pub keys: Rows,
    /// The fields to read, with the types to read them as.
    pub fields: Vec<(FieldName, FieldType)>,
}

impl LookupRequest {
    /// A request for `fields` of the records with these keys.
    pub fn new(target: Target, keys: Rows, fields: Vec<(FieldName, FieldType)>) -> Self {
        Self { target, keys, fields }
    }
}

impl Debug for LookupRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookupRequest")
            .field("target", &self.target)
            .field("keys", &self.keys.len())
            .field("fields", &self.fields)
            .finish()
    }
}

/// A record that a lookup found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The row of [`LookupRequest::keys`] that it answers.
    pub key: usize,
    /// The record's own id.
    pub id: RemoteId,
}

/// The answer to a lookup. A key without a match has no record; a key with several is ambiguous.
#[derive(Clone, Debug)]
pub struct Found {
    /// The matches, in any order.
    pub matches: Vec<Match>,
    /// The requested fields, one row a match in the order of `matches`, with the requested types. An empty
    /// field is null.
    pub fields: Rows,
}

impl Found {
    /// Matches whose fields came as text. `fields` are those of the [request](LookupRequest::fields), and `texts` has
    /// for each of them one text a match; `None` is an empty field. `read` turns a text into a value of the type, by
    /// the rules of the service; `None` if the text has no such form.
    ///
    /// # Errors
    ///
    /// [`Kind::SchemaMismatch`] if a text does not fit the type it is read as: taking it for null would say that the
    /// field is empty. [`Kind::Internal`] if there is not one text a field and match.
    pub fn from_texts(
        matches: Vec<Match>,
        fields: &[(FieldName, FieldType)],
        texts: &[Vec<Option<String>>],
        read: fn(FieldType, &str) -> Option<Value<'_>>,
    ) -> Result<Self> {
        let action = "read records";
        if texts.len() != fields.len() || texts.iter().any(|texts| texts.len() != matches.len()) {
            return Err(Error::new(Kind::Internal, action, "there is not one text a field and match"));
        }
        let mut columns = Vec::with_capacity(fields.len());
        let mut schema = Vec::with_capacity(fields.len());
        for ((name, ty), texts) in fields.iter().zip(texts) {
            let mismatch = || {
                Error::new(Kind::SchemaMismatch, action, "a value does not fit the type it is read as")
                    .with_context("field", name)
                    .with_context("type", ty)
                    .with_remedy("read the field as the type that the service gives it, or as text")
            };
            let values = texts.iter().map(|text| text.as_deref().map(|text| read(*ty, text).ok_or_else(mismatch)));
            let values = values.map(Option::transpose).collect::<Result<Vec<_>>>()?;
            columns.push(array_of(*ty, values.into_iter()).ok_or_else(mismatch)?);
            schema.push(Field::new(name.as_str(), ty.arrow(), true));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(matches.len()));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(schema)), columns, &options)
            .map_err(|e| Error::new(Kind::Internal, action, "the columns do not fit together").with_source(e))?;
        Ok(Self { matches, fields: Rows::new(batch)? })
    }
}

/// Rows to write in one call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WriteBatch {
    /// Derived from the content; the same in every attempt.
    pub id: BatchId,
    /// What to do with all of its rows.
    pub operation: Operation,
    /// Where.
    pub target: Target,
    /// The rows, at most as many as the operation's limit. Keys are present, not null and distinct, also
    /// after the destination's own folding. Where there are `ids`, the key is a field like others: present and to be
    /// written where it changed, absent else, and always absent in a delete. A delete and the two operations of
    /// audiences carry no other field. Of an append, several rows may have one key.
    pub rows: Rows,
    /// The ids of the records, one a row and distinct, where the rows go by id. The engine only sends them for an
    /// operation whose [`addressing`](crate::capability::OperationLimits::addressing) allows it.
    pub ids: Option<Vec<RemoteId>>,
    /// What makes it safe to send a row again, one a row and distinct: for an append, and for every operation whose
    /// idempotence is [`ByToken`](crate::capability::WriteIdempotence::ByToken).
    pub tokens: Option<Vec<Token>>,
    /// The fields whose values must not simply replace what the record has, each with a policy that the field's
    /// description [declares](RemoteField::native). Only in upserts and updates. A field that is not listed is
    /// overwritten: where it has another policy, the engine has seen to it.
    pub policies: Vec<(FieldName, FieldPolicy)>,
}

impl WriteBatch {
    /// A batch of rows.
    ///
    /// # Errors
    ///
    /// [`Kind::Internal`] if the target's key field is not among the fields.
    pub fn new(id: BatchId, operation: Operation, target: Target, rows: Rows) -> Result<Self> {
        if rows.schema().index_of(target.match_on.as_str()).is_err() {
            return Err(Error::new(Kind::Internal, "make a batch", "the key field is not among the fields")
                .with_context("field", &target.match_on));
        }
        Ok(Self { id, operation, target, rows, ids: None, tokens: None, policies: Vec::new() })
    }

    /// Lets the rows go by the ids of their records.
    ///
    /// # Errors
    ///
    /// [`Kind::Internal`] unless there is one id a row.
    pub fn with_ids(mut self, ids: Vec<RemoteId>) -> Result<Self> {
        if ids.len() != self.rows.len() {
            return Err(Error::new(Kind::Internal, "make a batch", "there is not one record id a row")
                .with_context("rows", self.rows.len())
                .with_context("ids", ids.len()));
        }
        self.ids = Some(ids);
        Ok(self)
    }

    /// Gives each row its token.
    ///
    /// # Errors
    ///
    /// [`Kind::Internal`] unless there is one token a row.
    pub fn with_tokens(mut self, tokens: Vec<Token>) -> Result<Self> {
        if tokens.len() != self.rows.len() {
            return Err(Error::new(Kind::Internal, "make a batch", "there is not one token a row")
                .with_context("rows", self.rows.len())
                .with_context("tokens", tokens.len()));
        }
        self.tokens = Some(tokens);
        Ok(self)
    }

    /// Asks for policies of fields.
    #[must_use]
    pub fn with_policies(mut self, policies: Vec<(FieldName, FieldPolicy)>) -> Self {
        self.policies = policies;
        self
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The key of `row` as text, appended to `out`.
    ///
    /// # Errors
    ///
    /// [`Kind::Internal`] if the key is null or has no text form; the engine never sends such a row.
    pub fn key_text(&self, row: usize, out: &mut String) -> Result<()> {
        let cell = self.rows.column_of(self.target.match_on.as_str()).map(|column| column.cell(row));
        match cell {
            Some(crate::record::Cell::Set(value)) if Value::write_text(&value, out) => Ok(()),
            _ => Err(Error::new(Kind::Internal, "read a key", "the row has no usable key")
                .with_context("field", &self.target.match_on)),
        }
    }
}

/// Persists the phase of a job before its next remote step.
#[async_trait]
pub trait Checkpoint: Debug + Send + Sync + 'static {
    /// Returns once `token` is durable in the sync's state. The engine drops it with the answer; after a crash the
    /// rows of the job are in doubt and are sent again.
    ///
    /// # Errors
    ///
    /// If the state cannot be written; the adapter must then stop.
    async fn checkpoint(&self, token: JobToken) -> Result<()>;
}

/// What a call belongs to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Context {
    /// The run.
    pub run: RunId,
    /// 1 for the first attempt at the same rows.
    pub attempt: u32,
    checkpoint: Option<Arc<dyn Checkpoint>>,
}

impl Context {
    /// A context of attempt 1 that stores no job phases.
    pub fn new(run: RunId) -> Self {
        Self { run, attempt: 1, checkpoint: None }
    }

    /// Sets the attempt.
    #[must_use]
    pub fn with_attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// Sets where job phases are stored.
    #[must_use]
    pub fn with_checkpoint(mut self, checkpoint: Arc<dyn Checkpoint>) -> Self {
        self.checkpoint = Some(checkpoint);
        self
    }

    /// Makes a job phase durable before the next remote step.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::checkpoint`]; [`Kind::Unsupported`] if the call is not part of a run.
    pub async fn checkpoint(&self, token: JobToken) -> Result<()> {
        match &self.checkpoint {
            Some(checkpoint) => checkpoint.checkpoint(token).await,
            None => Err(Error::new(Kind::Unsupported, "store a job phase", "this call is not part of a run")),
        }
    }
}

/// An allowance of calls that comes back with time, not within a run, such as calls a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quota {
    /// Calls used, by everybody. Services tell it late and roughly.
    pub used: u64,
    /// Calls allowed.
    pub limit: u64,
}

impl Quota {
    /// `used` of `limit` calls.
    pub fn new(used: u64, limit: u64) -> Self {
        Self { used, limit }
    }
}

/// A service that rows are written to.
///
/// Dropping any returned future must leave no task behind. A call that was dropped after it was sent counts as
/// sent with unknown fate.
#[async_trait]
pub trait Destination: Debug + Send + Sync + 'static {
    /// A stable lower-case name of the kind of service, such as `crm`.
    fn kind(&self) -> &'static str;

    /// What it can do for `target`. Constant for an instance and a target, read before every run.
    fn capability(&self, target: &Target) -> Capability;

    /// Upper bound of the bytes that `row` adds to a request body of `operation`. Called only where the
    /// operation has [`max_bytes`](crate::capability::OperationLimits::max_bytes); return 0 otherwise. Where rows go
    /// by record id, the engine adds the length of the id.
    fn row_bytes(&self, target: &Target, operation: Operation, rows: &Rows, row: usize) -> usize;

    /// Checks that the service answers and the credentials work, and tells whose account they lead to.
    /// Never writes.
    ///
    /// # Errors
    ///
    /// [`Kind::Unauthenticated`], [`Kind::Forbidden`], [`Kind::NotFound`] for the object,
    /// [`Kind::Unavailable`].
    async fn check(&self, target: &Target) -> Result<AccountId>;

    /// The fields of the object. Never writes.
    ///
    /// # Errors
    ///
    /// As [`Destination::check`].
    async fn describe(&self, target: &Target) -> Result<RemoteSchema>;

    /// Reads records by key. Never writes.
    ///
    /// # Errors
    ///
    /// [`Kind::Unsupported`] if [`lookup_rows`](Capability::lookup_rows) is `None`; else as
    /// [`Destination::check`].
    async fn lookup(&self, cx: &Context, request: LookupRequest) -> Result<Found>;

    /// Writes one batch with one call.
    ///
    /// # Errors
    ///
    /// For the batch as a whole. The retry class says whether it may have been applied: an answer that was
    /// lost after sending is [`Retry::Ambiguous`](crate::error::Retry::Ambiguous), never
    /// [`Retry::Backoff`](crate::error::Retry::Backoff). [`Kind::Rejected`] makes the engine look for the bad
    /// row by splitting the batch; its context `code` and `field` are kept as the reason of a rejected row. A batch
    /// beyond the declared limits is [`Kind::Internal`], before anything is sent.
    async fn write(&self, cx: &Context, batch: WriteBatch) -> Result<Receipt>;

    /// Asks after a job that [`Destination::write`] left pending. Must answer, not hang, also for a job that is
    /// finished or unknown. `batch` holds rows in the order of the write, at least their key field: services list the
    /// results of jobs by key and in any order. When a later run asks, rows that left the model are missing from it, and it
    /// may hold rows that the job never had: those are [`Unknown`](crate::outcome::RowOutcome::Unknown).
    ///
    /// # Errors
    ///
    /// [`Kind::NotFound`] if the service does not know the job, [`Kind::Unsupported`] if it has no jobs.
    async fn resume(&self, cx: &Context, batch: &WriteBatch, job: JobToken) -> Result<Receipt>;

    /// The allowance that all callers of the account share, as the service last told it; `None` if it has not, or
    /// never does. Asked before each write, so it must be at hand: it makes no call.
    fn quota(&self) -> Option<Quota> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Cell;

    fn read(ty: FieldType, text: &str) -> Option<Value<'_>> {
        Some(match ty {
            FieldType::Integer => Value::Integer(text.parse().ok()?),
            FieldType::Decimal { scale, .. } => Value::Decimal { unscaled: text.parse().ok()?, scale },
            // For a flag not what was asked for.
            _ => Value::Text(text),
        })
    }

    fn found(fields: &[FieldType], texts: &[&[Option<&str>]]) -> Result<Found> {
        let matches = (0..2).map(|key| Match { key, id: RemoteId::new(key.to_string()) }).collect();
        let fields: Vec<_> = fields.iter().map(|ty| (FieldName::new("f"), *ty)).collect();
        let texts: Vec<_> = texts.iter().map(|texts| texts.iter().map(|t| t.map(str::to_owned)).collect()).collect();
        Found::from_texts(matches, &fields, &texts, read)
    }

    #[test]
    fn texts_become_typed_columns() {
        let both =
            found(&[FieldType::Integer, FieldType::Text], &[&[Some("7"), None], &[Some(""), Some("x")]]).unwrap();
        let cells: Vec<_> = (0..2).map(|column| [0, 1].map(|row| both.fields.column(column).cell(row))).collect();
        assert_eq!(cells[0], [Cell::Set(Value::Integer(7)), Cell::Clear]);
        assert_eq!(cells[1], [Cell::Set(Value::Text("")), Cell::Set(Value::Text("x"))]);
        assert_eq!(found(&[], &[]).unwrap().fields.len(), 2, "matches count without fields too");
    }

    #[test]
    fn a_text_that_does_not_fit_is_no_null() {
        for (ty, text) in [
            (FieldType::Integer, "canary"),
            (FieldType::Boolean, "canary"),
            (FieldType::Decimal { precision: 2, scale: 0 }, "100"),
        ] {
            let error = found(&[ty], &[&[None, Some(text)]]).unwrap_err();
            assert_eq!((error.kind(), error.context("field")), (Kind::SchemaMismatch, Some("f")), "{ty}");
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
    }

    #[test]
    fn texts_are_one_a_field_and_match() {
        let short: &[Option<&str>] = &[None];
        for texts in [&[short][..], &[], &[&[None, None], &[None, None]]] {
            assert_eq!(found(&[FieldType::Text], texts).unwrap_err().kind(), Kind::Internal);
        }
    }
}
