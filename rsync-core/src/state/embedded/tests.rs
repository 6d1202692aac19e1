//! The embedded store on disks that lose, refuse and damage what is written.

use std::collections::BTreeMap;

use super::disk::{Disk, Step, after_power_failure};
use super::*;
use crate::clock::Randomness;
use crate::memory::SeededRandomness;

type Records = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// How many variants of a test to run: `RSYNC_STORAGE_IMAGES`, or a number that takes a second.
fn variants(default: usize) -> usize {
    std::env::var("RSYNC_STORAGE_IMAGES").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// The one variant to run, if one is named: `RSYNC_SEED`.
fn seeds(default: usize) -> Vec<usize> {
    match std::env::var("RSYNC_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0..variants(default)).collect(),
    }
}

struct Draw(SeededRandomness);

impl Draw {
    fn new(seed: usize) -> Self {
        Self(SeededRandomness::new(seed as u64))
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % bound.max(1) as u64) as usize
    }

    /// A commit of random puts and deletes over few keys.
    fn mutations(&mut self) -> Vec<Mutation> {
        let n = 1 + self.below(12);
        (0..n)
            .map(|_| {
                let table = Table::ALL[self.below(Table::ALL.len())];
                let key = (self.below(24) as u64).to_be_bytes().to_vec();
                if self.below(4) == 0 {
                    return Mutation::Delete { table, key };
                }
                let most = [40, 300, 4_000][self.below(3)];
                let (byte, length) = (self.below(256) as u8, self.below(most));
                Mutation::Put { table, key, value: vec![byte; length] }
            })
            .collect()
    }
}

fn apply(records: &mut Records, mutations: Vec<Mutation>) {
    for mutation in mutations {
        match mutation {
            Mutation::Put { table, key, value } => records.insert((table, key), value),
            Mutation::Delete { table, key } => records.remove(&(table, key)),
        };
    }
}

fn open_disk(disk: &Disk) -> Result<EmbeddedSession> {
    open_database(disk.clone()).map(EmbeddedSession::new)
}

async fn read_all(session: &EmbeddedSession) -> Result<Records> {
    let mut records = Records::new();
    for table in Table::ALL {
        for (key, value) in session.scan(table, &[], usize::MAX).await? {
            assert_eq!(session.get(table, &key).await?.as_ref(), Some(&value));
            records.insert((table, key), value);
        }
    }
    Ok(records)
}

/// A disk on which `commits` were made one after the other, and the records after each; the database is still open.
async fn history(commits: usize) -> (Disk, EmbeddedSession, Vec<Records>) {
    let disk = Disk::default();
    let session = open_disk(&disk).unwrap();
    let mut draw = Draw::new(1);
    let mut states = vec![Records::new()];
    disk.mark(0);
    for commit in 1..=commits {
        let mutations = draw.mutations();
        let mut next = states[commit - 1].clone();
        apply(&mut next, mutations.clone());
        states.push(next);
        session.commit(mutations).await.unwrap();
        disk.mark(commit);
    }
    (disk, session, states)
}

/// Damaged pages panic inside redb, where debug builds check more; only what comes out of the store counts.
fn quiet_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !panic.location().is_some_and(|at| at.file().contains("redb")) {
                usual(panic);
            }
        }));
    });
}

#[tokio::test]
async fn f06_after_a_power_failure_the_last_commit_or_the_one_under_way_is_there() {
    let (disk, session, states) = history(30).await;
    let steps = disk.steps();
    drop(session);
    let first = steps.iter().position(|step| matches!(step, Step::Mark(0))).unwrap();
    for seed in seeds(200) {
        let mut draw = Draw::new(seed);
        let done = first + draw.below(steps.len() - first) + 1;
        let marks = |steps: &[Step]| {
            let mut marks = steps.iter().filter_map(|step| if let Step::Mark(n) = step { Some(*n) } else { None });
            marks.next_back().unwrap()
        };
        let acknowledged = marks(&steps[..done]);
        let image = after_power_failure(&[], &steps, done, |bound| draw.below(bound));

        let again = Disk::of(image.clone());
        let session = open_disk(&again).unwrap_or_else(|e| panic!("RSYNC_SEED={seed}: {e}"));
        let records = read_all(&session).await.unwrap();
        let found = [acknowledged, acknowledged + 1].into_iter().find(|n| states.get(*n) == Some(&records));
        assert!(found.is_some(), "RSYNC_SEED={seed}: neither commit {acknowledged} nor the next after step {done}");
        // It can be written to at once.
        session.commit(Draw::new(seed).mutations()).await.unwrap();

        // The power fails again, while the store recovers, before the first commit afterwards is durable.
        let recovering = Disk::of(image.clone());
        drop(open_disk(&recovering).unwrap());
        let recovery = recovering.steps();
        let image = after_power_failure(&image, &recovery, draw.below(recovery.len() + 1), |bound| draw.below(bound));
        let session = open_disk(&Disk::of(image)).unwrap_or_else(|e| panic!("RSYNC_SEED={seed}, second time: {e}"));
        assert_eq!(read_all(&session).await.unwrap(), records, "RSYNC_SEED={seed}: a second failure lost a commit");
    }
}

#[tokio::test]
async fn f09_a_write_that_fails_ends_the_session_and_nothing_else() {
    let (disk, session, states) = history(4).await;
    drop(session);
    let (before, base) = (disk.bytes(), &states[4]);
    for k in 1..=200 {
        let transient = k % 2 == 0;
        let disk = Disk::of(before.clone());
        disk.fail_after(k - 1, transient);
        let mut acknowledged = base.clone();
        let mut under_way = base.clone();
        let mut draw = Draw::new(k);
        match open_disk(&disk) {
            Ok(session) => {
                let failure = loop {
                    let mutations = draw.mutations();
                    apply(&mut under_way, mutations.clone());
                    match session.commit(mutations).await {
                        Ok(()) => acknowledged = under_way.clone(),
                        Err(e) => break e,
                    }
                };
                assert_eq!(failure.kind(), Kind::StateStore, "step {k}: {failure}");
                assert!(failure.remedy().is_some(), "step {k}: {failure}");
                disk.mend();
                let again = session.commit(draw.mutations()).await.unwrap_err();
                assert_eq!(again.kind(), Kind::StateStore, "step {k}: a failed session went on");
            }
            Err(e) => {
                assert_eq!(e.kind(), Kind::StateStore, "step {k}: {e}");
                disk.mend();
            }
        }
        let session = open_disk(&disk).unwrap_or_else(|e| panic!("step {k}: {e}"));
        let records = read_all(&session).await.unwrap();
        assert!(records == acknowledged || records == under_way, "step {k}, transient {transient}: torn or lost");
        session.commit(draw.mutations()).await.unwrap();
    }
}

/// Does one thing to the bytes that no write of ours does.
fn damage(bytes: &mut Vec<u8>, draw: &mut Draw) -> String {
    let length = bytes.len();
    match draw.below(8) {
        0 => {
            let left = draw.below(length);
            bytes.truncate(left);
            format!("cut to {left} bytes")
        }
        1 => {
            let (page, pages) = (draw.below(length / 4096), 1 + draw.below(3));
            let range = page * 4096..length.min((page + pages) * 4096);
            bytes[range.clone()].fill(0);
            format!("zeros in {range:?}")
        }
        2 => {
            let (from, to) = (draw.below(length / 4096) * 4096, draw.below(length / 4096) * 4096);
            bytes.copy_within(from..(from + 4096).min(length), to.min(length - 4096));
            format!("the page at {from} also at {to}")
        }
        3 | 4 => {
            let at = draw.below(512);
            bytes[at] ^= 1 << draw.below(8);
            format!("a bit of the header at {at}")
        }
        _ => {
            let at = draw.below(length);
            bytes[at] ^= 1 << draw.below(8);
            format!("a bit at {at}")
        }
    }
}

#[tokio::test]
async fn f07_damage_is_told_and_never_looks_like_less_state() {
    quiet_panics();
    let (disk, session, states) = history(25).await;
    let killed = disk.bytes();
    drop(session);
    let truth = &states[25];
    let (mut told, mut harmless) = (0, 0);
    for (name, whole) in [("closed", disk.bytes()), ("killed", killed)] {
        for seed in seeds(250) {
            let mut draw = Draw::new(seed);
            let mut bytes = whole.clone();
            let what = damage(&mut bytes, &mut draw);
            let read = match open_disk(&Disk::of(bytes)) {
                Ok(session) => read_all(&session).await,
                Err(e) => Err(e),
            };
            match read {
                Ok(records) if records == *truth => harmless += 1,
                Ok(records) => {
                    let is = states.iter().position(|state| *state == records);
                    panic!("RSYNC_SEED={seed}, {name} file, {what}: other records, those of commit {is:?}");
                }
                Err(e) => {
                    assert_eq!(e.kind(), Kind::StateCorrupt, "RSYNC_SEED={seed}, {name} file, {what}: {e:?}");
                    told += 1;
                }
            }
        }
    }
    // Free pages are most of the file, and nobody misses them.
    assert!(seeds(250).len() == 1 || (told > 50 && harmless > 50), "{told} told, {harmless} harmless");
}
