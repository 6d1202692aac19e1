//! What a simulated sync is to do: its policy, and what becomes of records whose rows left.

use std::fmt;
use std::str::FromStr;

use rsync_core::capability::{Addressing, Capability, Operation, OperationLimits};
use rsync_core::pipeline::PipelineBuilder;
use rsync_core::{CreateOnly, Exit, Exits, Scope, UpdateOnly, Upsert};

use super::random::Stream;

/// What a tombstone says in the field `tier`.
pub(super) const TOMBSTONE: &str = "gone";
/// The column that marks a row as gone.
pub(super) const MARK: &str = "gone";

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writes {
    Upsert,
    /// The number of runs after which a missing record is asked for again; 0: never.
    UpdateOnly(u32),
    CreateOnly,
}

/// What is done about a record whose row left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    Delete,
    Clear,
    Tombstone,
}

/// The exits of a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExitMode {
    pub(super) leaving: Leaving,
    pub(super) scope: Scope,
    /// Whether a column of the model says which rows left.
    pub(super) marks: bool,
}

/// What a sync is to do. Its text is `upsert` or `update_only,tombstone,touched,marked`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) writes: Writes,
    pub(super) exits: Option<ExitMode>,
}

impl Mode {
    /// The mode without anything special.
    pub(super) const PLAIN: Self = Self { writes: Writes::Upsert, exits: None };

    pub(super) fn of_seed(seed: u64) -> Self {
        let mut random = Stream::of(seed, "mode", 0);
        let writes = match random.below(10) {
            0 => Writes::UpdateOnly(0),
            1 => Writes::UpdateOnly(3),
            2..4 => Writes::CreateOnly,
            _ => Writes::Upsert,
        };
        let leaving = match random.below(5) {
            0 | 1 => Some(Leaving::Delete),
            2 => Some(Leaving::Clear),
            3 => Some(Leaving::Tombstone),
            _ => None,
        };
        let scope = if random.percent(30) { Scope::CreatedByUs } else { Scope::TouchedByUs };
        let marks = random.percent(50);
        Self { writes, exits: leaving.map(|leaving| ExitMode { leaving, scope, marks }) }
    }

    /// The same with one thing less, for shrinking.
    pub(super) fn smaller(self) -> Vec<Self> {
        [Self { exits: None, ..self }, Self { writes: Writes::Upsert, ..self }]
            .into_iter()
            .filter(|mode| *mode != self)
            .collect()
    }

    /// The operation that writes rows of the model.
    pub(super) fn operation(self) -> Operation {
        match self.writes {
            Writes::Upsert => Operation::Upsert,
            Writes::UpdateOnly(_) => Operation::Update,
            Writes::CreateOnly => Operation::Create,
        }
    }

    /// Whether the model says which rows left.
    pub(super) fn marks(self) -> bool {
        self.exits.is_some_and(|exits| exits.marks)
    }

    /// Adds what the sync needs of the service, which differs from seed to seed in how records are named.
    pub(super) fn demand(self, seed: u64, mut capability: Capability, limits: OperationLimits) -> Capability {
        let mut random = Stream::of(seed, "addressing", 0);
        capability = capability.with_operation(self.operation(), limits);
        let Some(exits) = self.exits else { return capability };
        let by_key = if exits.marks { Addressing::ByKey } else { Addressing::ByKeyOrId };
        let addressing = [Addressing::ById, Addressing::ByKeyOrId, by_key][random.below(3) as usize];
        let by_upsert = self.writes == Writes::Upsert && exits.marks && random.percent(25);
        match exits.leaving {
            Leaving::Delete => capability.with_operation(Operation::Delete, limits.with_addressing(addressing)),
            _ if by_upsert => capability.with_keeps_absent_fields(),
            _ => {
                let id_alone = addressing == Addressing::ById && self.operation() == Operation::Update;
                let addressing = if id_alone { Addressing::ByKeyOrId } else { addressing };
                capability
                    .with_operation(Operation::Update, limits.with_addressing(addressing))
                    .with_keeps_absent_fields()
            }
        }
    }

    pub(super) fn apply(self, builder: PipelineBuilder) -> PipelineBuilder {
        let builder = match self.writes {
            Writes::Upsert => builder.policy(Upsert::new()),
            Writes::UpdateOnly(every) => builder.policy(UpdateOnly::new().asking_again_every(every)),
            Writes::CreateOnly => builder.policy(CreateOnly::new()),
        };
        let Some(ExitMode { leaving, scope, marks }) = self.exits else { return builder };
        let exit = match leaving {
            Leaving::Delete => Exit::Delete,
            Leaving::Clear => Exit::Clear,
            Leaving::Tombstone => Exit::Tombstone { field: "tier".into(), value: TOMBSTONE.into() },
        };
        let exits = Exits::new(exit, scope).at_most(1_000, 0.0);
        builder.exits(if marks { exits.when(MARK) } else { exits })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.writes {
            Writes::Upsert => f.write_str("upsert")?,
            Writes::UpdateOnly(every) => write!(f, "update_only:{every}")?,
            Writes::CreateOnly => f.write_str("create_only")?,
        }
        let Some(exits) = self.exits else { return Ok(()) };
        f.write_str(match exits.leaving {
            Leaving::Delete => ",delete",
            Leaving::Clear => ",clear",
            Leaving::Tombstone => ",tombstone",
        })?;
        f.write_str(if exits.scope == Scope::CreatedByUs { ",created" } else { ",touched" })?;
        f.write_str(if exits.marks { ",marked" } else { "" })
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("\"{text}\" is no mode; one is \"upsert\", another \"update_only:3,delete,touched,marked\"");
        let words: Vec<&str> = text.split(',').collect();
        let (writes, rest) = words.split_first().ok_or_else(wrong)?;
        let writes = match (*writes, writes.strip_prefix("update_only:")) {
            ("upsert", _) => Writes::Upsert,
            ("create_only", _) => Writes::CreateOnly,
            (_, Some(every)) => Writes::UpdateOnly(every.parse().map_err(|_| wrong())?),
            _ => return Err(wrong()),
        };
        let exits = match rest {
            [] => None,
            [leaving, scope, marked @ ..] => Some(ExitMode {
                leaving: match *leaving {
                    "delete" => Leaving::Delete,
                    "clear" => Leaving::Clear,
                    "tombstone" => Leaving::Tombstone,
                    _ => return Err(wrong()),
                },
                scope: match *scope {
                    "created" => Scope::CreatedByUs,
                    "touched" => Scope::TouchedByUs,
                    _ => return Err(wrong()),
                },
                marks: match marked {
                    [] => false,
                    ["marked"] => true,
                    _ => return Err(wrong()),
                },
            }),
            _ => return Err(wrong()),
        };
        Ok(Self { writes, exits })
    }
}
