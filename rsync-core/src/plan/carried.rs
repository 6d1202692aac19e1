//! Rows that earlier runs began to send and that the destination has not settled, where the model cannot give them back:
//! the entries of a history. They lie in the state's outbox, encrypted.

use std::collections::{HashMap, HashSet};

use super::builder::row_hash;
use super::spool::Work;
use crate::capability::{Capability, Operation, OperationLimits, WriteIdempotence};
use crate::clock::Randomness;
use crate::error::{Error, Kind, Result};
use crate::ids::FieldName;
use crate::policy::Change;
use crate::seal::Sealer;
use crate::state::codec::{Reader, Status, Writer, read_sequence_key};
use crate::state::{Acknowledged, Remap, StateRead, Table};

/// Records of the outbox that are read at a time.
pub(crate) const PAGE: usize = 16;

/// Whether rows of an operation are kept until the destination has settled them: those that only their token makes safe to
/// send again, with the values that it was made for.
pub(crate) fn is_kept(operation: Operation, limits: Option<OperationLimits>) -> bool {
    match operation {
        Operation::Append => true,
        Operation::Create => limits.is_some_and(|limits| limits.idempotence == WriteIdempotence::ByToken),
        _ => false,
    }
}

/// The rows of one batch as the outbox keeps them. A row in doubt has the change [`Change::InDoubt`].
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) work: Work,
    /// Of rows in doubt: the wall clock before the attempt that may have been applied, milliseconds since the Unix epoch.
    pub(crate) since: Vec<u64>,
    settled: Vec<bool>,
}

impl Parcel {
    /// Rows that are about to be sent: in doubt, should nothing more be heard of them.
    pub(crate) fn new(work: Work, now: u64) -> Self {
        let n = work.len();
        let mut parcel = Self { work, since: vec![0; n], settled: vec![false; n] };
        (0..n).for_each(|row| parcel.doubt(row, now));
        parcel
    }

    /// A row is in doubt from now on; one that is already was so since before.
    pub(crate) fn doubt(&mut self, row: usize, now: u64) {
        if self.work.changes[row] != Change::InDoubt {
            self.work.changes[row] = Change::InDoubt;
            self.since[row] = now;
        }
    }

    /// Takes what the state keeps of a row after an attempt. Whether it has to be kept any longer.
    pub(crate) fn settle(&mut self, row: usize, status: Status) -> bool {
        match status {
            Status::InDoubt => {}
            // Certainly not applied.
            Status::Failed => self.work.changes[row] = Change::Changed,
            _ => self.settled[row] = true,
        }
        !self.settled[row]
    }

    pub(crate) fn is_in_doubt(&self, row: usize) -> bool {
        self.work.changes[row] == Change::InDoubt
    }

    /// The record of what has to be kept; `None` if nothing has.
    pub(crate) fn seal(&self, sequence: u64, by: &Sealer, randomness: &dyn Randomness) -> Result<Option<Vec<u8>>> {
        let rows: Vec<u32> = (0..self.work.len() as u32).filter(|row| !self.settled[*row as usize]).collect();
        if rows.is_empty() {
            return Ok(None);
        }
        let mut record = Writer::default();
        record.u32(rows.len() as u32).u64s(rows.iter().map(|row| self.since[*row as usize]));
        let work = self.work.take(&rows)?.to_ipc()?;
        record.u32(work.len() as u32).bytes(&work);
        by.seal(sequence, &record.finish(), randomness).map(Some)
    }

    pub(crate) fn open(sequence: u64, record: &[u8], by: &Sealer) -> Result<Self> {
        let record = by.open(sequence, record)?;
        let mut r = Reader::new("outbox", &record)?;
        let n = r.u32()? as usize;
        let since = r.u64s(n)?;
        let len = r.u32()? as usize;
        let work = Work::from_ipc(r.bytes(len)?)?;
        r.end()?;
        Ok(Self { settled: vec![false; work.len()], work, since })
    }
}

/// A row of the outbox, as a plan sees it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    sequence: u64,
    row: u32,
    key: u128,
    hash: u64,
    operation: Operation,
    in_doubt: bool,
}

/// All rows of the outbox, without their values.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    entries: Vec<Entry>,
    newest: HashMap<u128, usize>,
    /// Field hashes of each entry, in the order of the current fields.
    images: Vec<u64>,
    width: usize,
}

impl Carried {
    pub(crate) async fn load(
        read: &dyn StateRead,
        sealer: &Sealer,
        fields: &[FieldName],
        capability: &Capability,
    ) -> Result<Self> {
        let mut carried = Self { width: fields.len(), ..Self::default() };
        let mut from = Vec::new();
        loop {
            let page = read.scan(Table::Outbox, &from, PAGE).await?;
            for (key, record) in &page {
                let sequence = read_sequence_key(key)?;
                carried.add(sequence, &Parcel::open(sequence, record, sealer)?, fields, capability)?;
            }
            match page.last() {
                Some((key, _)) if page.len() == PAGE => from = [key.as_slice(), &[0]].concat(),
                _ => return Ok(carried),
            }
        }
    }

    fn add(&mut self, sequence: u64, parcel: &Parcel, fields: &[FieldName], capability: &Capability) -> Result<()> {
        let work = &parcel.work;
        let remap = Remap::new(&work.fields(), fields);
        for (row, image) in work.images.chunks_exact(work.width()).enumerate() {
            let (key, operation) = (work.keys[row], work.operations[row]);
            if capability.limits(operation).is_none() {
                let message = "rows wait to be sent with an operation that the destination does not have any more";
                return Err(Error::new(Kind::Unsupported, "check the outbox", message)
                    .with_context("operation", operation.as_str())
                    .with_remedy("give this sync the destination that it had before"));
            }
            self.newest.insert(key, self.entries.len());
            let (hash, in_doubt) = (work.hashes[row], parcel.is_in_doubt(row));
            self.entries.push(Entry { sequence, row: row as u32, key, hash, operation, in_doubt });
            remap.append(image, &mut self.images);
        }
        Ok(())
    }

    /// The entry that `status`, of `key`, is about.
    pub(super) fn newest(&self, key: u128, status: Status) -> Option<usize> {
        let unsettled = matches!(status, Status::InDoubt | Status::Failed);
        self.newest.get(&key).copied().filter(|_| unsettled)
    }

    pub(super) fn image(&self, entry: usize) -> &[u64] {
        &self.images[entry * self.width..(entry + 1) * self.width]
    }

    pub(super) fn is_in_doubt(&self, entry: usize) -> bool {
        self.entries[entry].in_doubt
    }

    /// What a plan makes of it. `stands_for` are entries that rows of the read stand for.
    pub(super) fn found(&self, known: &Acknowledged, stands_for: &HashSet<usize>) -> FoundCarried {
        let mut found = FoundCarried::default();
        for (at, entry) in self.entries.iter().enumerate() {
            let place = (entry.sequence, entry.row);
            let status = known.find(crate::ids::KeyHash(entry.key)).map(|position| known.status(position));
            if status.and_then(|status| self.newest(entry.key, status)) == Some(at) {
                found.current.insert(place);
            }
            if stands_for.contains(&at) {
                found.tied.insert(place);
            }
            *found.operations.entry(entry.operation).or_default() += 1;
            found.hash = found.hash.wrapping_add(row_hash(entry.key, entry.hash, entry.operation).rotate_left(2));
        }
        found.rows = self.entries.len() as u64 - found.tied.len() as u64;
        found
    }
}

/// The outbox in a plan. Rows are named by sequence of the record and place in it.
#[derive(Debug, Default)]
pub(crate) struct FoundCarried {
    /// Rows that a row of the read is equal to: their outcomes are that row's.
    pub(crate) tied: HashSet<(u64, u32)>,
    /// Rows that are the last that the state knows of their key.
    pub(crate) current: HashSet<(u64, u32)>,
    /// Rows that no row of the read stands for.
    pub(crate) rows: u64,
    pub(super) operations: HashMap<Operation, u64>,
    pub(super) hash: u64,
}
