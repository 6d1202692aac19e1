//! What the state knows of itself and of the runs before: which one it is, when the next run may begin, and under which
//! definition the last one wrote. Small records of `meta`; a state without them is as good as one.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::capability::Operation;
use crate::error::{Error, Kind, Result};
use crate::ids::{ColumnName, FieldName, JobToken};
use crate::state::codec::{Reader, Writer};
use crate::state::store::{StateRead, Table};

/// The epochs that this state replaced.
pub(crate) const ORIGIN: &[u8] = b"origin";
/// When the next run may begin.
pub(crate) const NOT_BEFORE: &[u8] = b"not_before";
/// The definition under which the last run wrote.
pub(crate) const DEFINITION: &[u8] = b"definition";

/// Which state it is, and how far it has come. A host that keeps the mark of each report, apart from the state, notices
/// a state that was lost, made anew or restored from an older copy:
/// [`PipelineBuilder::expect_state`](crate::pipeline::PipelineBuilder::expect_state).
///
/// As text it is `epoch-runs`, and is read back from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct StateMark {
    /// Drawn when the state was made.
    pub epoch: u64,
    /// Runs that have begun to write since.
    pub runs: u64,
}

impl StateMark {
    /// The mark of a state of this epoch after so many runs.
    pub fn new(epoch: u64, runs: u64) -> Self {
        Self { epoch, runs }
    }
}

impl fmt::Display for StateMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.epoch, self.runs)
    }
}

impl FromStr for StateMark {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.split_once('-');
        let mark = parts.and_then(|(epoch, runs)| {
            let epoch = (epoch.len() == 16).then(|| u64::from_str_radix(epoch, 16).ok())??;
            Some(Self { epoch, runs: runs.parse().ok()? })
        });
        mark.ok_or_else(|| {
            Error::new(Kind::InvalidConfig, "read a state mark", "the text is no mark of a state")
                .with_remedy("give the text of Report::state_mark as it was")
        })
    }
}

pub(crate) fn encode_origin(epochs: &[u64]) -> Vec<u8> {
    let mut w = Writer::default();
    w.u32(epochs.len() as u32).u64s(epochs.iter().copied());
    w.finish()
}

pub(crate) fn decode_origin(bytes: &[u8]) -> Result<Vec<u64>> {
    let mut r = Reader::new("origin", bytes)?;
    let n = r.u32()? as usize;
    let epochs = r.u64s(n)?;
    r.end()?;
    Ok(epochs)
}

/// A run ended early, and the next one is to begin later. Times are of the wall clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Postponed {
    pub(crate) set_ms: u64,
    pub(crate) until_ms: u64,
    /// Why, as the name of an error's kind.
    pub(crate) kind: String,
}

/// The longest time that a stored request for a pause is kept: allowances come back within a day.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How far the clock may have been set back since without making the record worthless.
const TOLERANCE: Duration = Duration::from_secs(300);

impl Postponed {
    pub(crate) async fn read(read: &dyn StateRead) -> Result<Option<Self>> {
        read.get(Table::Meta, NOT_BEFORE).await?.map(|bytes| Self::decode(&bytes)).transpose()
    }

    /// How long to wait still. A clock that was set back, or stood wrong when the record was made, does not shut the sync
    /// out: the record then says nothing.
    pub(crate) fn left(&self, wall: Duration) -> Option<Duration> {
        let (set, until) = (Duration::from_millis(self.set_ms), Duration::from_millis(self.until_ms));
        if wall + TOLERANCE < set {
            return None;
        }
        let until = until.min(set + LONGEST);
        Some(until.saturating_sub(wall)).filter(|left| !left.is_zero())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.u64(self.set_ms).u64(self.until_ms).str(&self.kind);
        w.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new("not before", bytes)?;
        let record = Self { set_ms: r.u64()?, until_ms: r.u64()?, kind: r.str()?.to_owned() };
        r.end()?;
        Ok(record)
    }
}

/// A job of an earlier run whose end nobody knows, with the rows that were sent, in order.
#[derive(Clone, Debug)]
pub(crate) struct OpenJob {
    /// Of the intent.
    pub(crate) sequence: u64,
    pub(crate) token: JobToken,
    pub(crate) operation: Operation,
    pub(crate) keys: Vec<u128>,
    pub(crate) rows: Vec<u64>,
}

/// What a run writes, as far as it can be told before it reads the model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) model_version: Option<String>,
    pub(crate) fields: Vec<DefinedField>,
    /// The columns of the key and of the fields.
    pub(crate) columns: Vec<DefinedColumn>,
}

/// A column of the model, with what its type can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DefinedColumn {
    pub(crate) name: ColumnName,
    /// The kind of its values: only values of one kind are compared.
    pub(crate) family: String,
    /// How much it holds before the point, and behind it; comparable within a family.
    pub(crate) whole: u32,
    pub(crate) fraction: u32,
}

/// A mapped field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DefinedField {
    pub(crate) name: FieldName,
    /// The name of its type.
    pub(crate) ty: String,
    /// A keyed hash of how it is filled.
    pub(crate) rule: u64,
    pub(crate) retired: bool,
}

impl Definition {
    pub(crate) fn field(&self, name: &FieldName) -> Option<&DefinedField> {
        self.fields.iter().find(|field| field.name == *name)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.u8(u8::from(self.model_version.is_some())).str(self.model_version.as_deref().unwrap_or_default());
        w.u32(self.fields.len() as u32);
        for field in &self.fields {
            w.str(field.name.as_str()).str(&field.ty).u64(field.rule).u8(u8::from(field.retired));
        }
        w.u32(self.columns.len() as u32);
        for column in &self.columns {
            w.str(column.name.as_str()).str(&column.family).u32(column.whole).u32(column.fraction);
        }
        w.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new("definition", bytes)?;
        let has_version = r.u8()? != 0;
        let version = r.str()?.to_owned();
        let n = r.u32()?;
        let mut fields = Vec::new();
        for _ in 0..n {
            let (name, ty) = (FieldName::new(r.str()?), r.str()?.to_owned());
            fields.push(DefinedField { name, ty, rule: r.u64()?, retired: r.u8()? != 0 });
        }
        let n = r.u32()?;
        let mut columns = Vec::new();
        for _ in 0..n {
            let (name, family) = (ColumnName::new(r.str()?), r.str()?.to_owned());
            columns.push(DefinedColumn { name, family, whole: r.u32()?, fraction: r.u32()? });
        }
        r.end()?;
        Ok(Self { model_version: has_version.then_some(version), fields, columns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_from_its_text() {
        let mark = StateMark::new(0x0123, 42);
        assert_eq!(mark.to_string(), "0000000000000123-42");
        assert_eq!(mark.to_string().parse::<StateMark>().unwrap(), mark);
        for bad in ["", "-", "0000000000000123", "123-4", "0000000000000123-", "000000000000012g-1"] {
            assert_eq!(bad.parse::<StateMark>().unwrap_err().kind(), Kind::InvalidConfig, "{bad:?}");
        }
    }

    #[test]
    fn records_are_read_back() {
        let field = |name: &str| DefinedField { name: name.into(), ty: "text".into(), rule: 7, retired: name == "b" };
        for model_version in [None, Some(String::new()), Some("git:1".to_owned())] {
            let column = DefinedColumn { name: "c".into(), family: "decimal".into(), whole: 8, fraction: 2 };
            let fields = vec![field("a"), field("b")];
            let definition = Definition { model_version, fields, columns: vec![column] };
            assert_eq!(Definition::decode(&definition.encode()).unwrap(), definition);
        }
        let postponed = Postponed { set_ms: 1, until_ms: 2, kind: "quota_exhausted".into() };
        assert_eq!(Postponed::decode(&postponed.encode()).unwrap(), postponed);
        assert_eq!(decode_origin(&encode_origin(&[1, 2])).unwrap(), [1, 2]);
        for bytes in [postponed.encode(), encode_origin(&[1])] {
            assert_eq!(Definition::decode(&bytes).unwrap_err().kind(), Kind::StateCorrupt);
        }
    }

    #[test]
    fn f13_a_pause_ends_whatever_the_clock_does() {
        let (year, second) = (365 * 24 * 3600, Duration::from_secs(1));
        let set = 60 * year;
        let postponed = |pause: u32| Postponed {
            set_ms: u64::from(set) * 1000,
            until_ms: u64::from(set + pause) * 1000,
            kind: String::new(),
        };
        for (pause, now, left) in [
            (600, set, Some(600)),
            (600, set + 599, Some(1)),
            (600, set + 600, None),
            (600, set + year, None),
            // Set back a little, and so far that the record says nothing.
            (600, set - 60, Some(660)),
            (600, set - 301, None),
            (600, set - year, None),
            // Nobody is shut out for longer than a day.
            (u32::MAX - set, set, Some(24 * 3600)),
            (u32::MAX - set, set + 24 * 3600, None),
        ] {
            assert_eq!(postponed(pause).left(now * second), left.map(|s| s * second), "{pause} {now}");
        }
    }
}
