//! A disk in memory that keeps a record of what was done to it, and can fail.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

/// Smallest unit that a disk writes whole.
const SECTOR: usize = 512;

/// What was done to the disk, in order.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Write(usize, Vec<u8>),
    Length(usize),
    Sync,
    /// A remark of the test.
    Mark(usize),
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    steps: Vec<Step>,
    /// The number of steps that still succeed, and whether those after the first failure succeed again.
    fail: Option<(usize, bool)>,
}

/// Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

impl Disk {
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(State { bytes, ..State::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.state().bytes.clone()
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        self.state().steps.clone()
    }

    pub(super) fn mark(&self, remark: usize) {
        self.state().steps.push(Step::Mark(remark));
    }

    /// Lets `steps` more succeed. Then one fails, and after it all others too unless it is `transient`.
    pub(super) fn fail_after(&self, steps: usize, transient: bool) {
        self.state().fail = Some((steps, transient));
    }

    pub(super) fn mend(&self) {
        self.state().fail = None;
    }

    fn step(&self, step: Step) -> io::Result<()> {
        let mut state = self.state();
        if let Some((left, transient)) = state.fail {
            if left == 0 {
                state.fail = (!transient).then_some((0, false));
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            state.fail = Some((left - 1, transient));
        }
        apply(&mut state.bytes, &step);
        state.steps.push(step);
        Ok(())
    }
}

fn apply(bytes: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Write(at, data) => {
            if bytes.len() < at + data.len() {
                bytes.resize(at + data.len(), 0);
            }
            bytes[*at..at + data.len()].copy_from_slice(data);
        }
        Step::Length(length) => bytes.resize(*length, 0),
        Step::Sync | Step::Mark(_) => {}
    }
}

/// What the disk holds after the power fails behind the first `done` steps: all that was synced, and of what was not any
/// part, in any order, down to single sectors.
pub(super) fn after_power_failure(
    before: &[u8],
    steps: &[Step],
    done: usize,
    mut draw: impl FnMut(usize) -> usize,
) -> Vec<u8> {
    let mut bytes = before.to_vec();
    let synced = steps[..done].iter().rposition(|step| matches!(step, Step::Sync)).map_or(0, |at| at + 1);
    steps[..synced].iter().for_each(|step| apply(&mut bytes, step));
    let mut rest: Vec<Step> = steps[synced..done].to_vec();
    // Mostly some are lost; now and then all or none.
    let kept = [0, 1, 2, 3, 4, 4][draw(6)];
    rest.retain(|_| draw(4) < kept);
    for i in (1..rest.len()).rev() {
        rest.swap(i, draw(i + 1));
    }
    if let Some(Step::Write(at, data)) = rest.last_mut()
        && draw(2) == 0
    {
        // The last one is torn.
        let sectors = data.len().div_ceil(SECTOR);
        let from = SECTOR * draw(sectors);
        let to = data.len().min(from + SECTOR * (1 + draw(sectors)));
        *data = data[from..to].to_vec();
        *at += from;
    }
    rest.iter().for_each(|step| apply(&mut bytes, step));
    bytes
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let from = usize::try_from(offset).unwrap();
        let bytes = state.bytes.get(from..from + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step(Step::Length(usize::try_from(len).unwrap()))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.step(Step::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.step(Step::Write(usize::try_from(offset).unwrap(), data.to_vec()))
    }
}
