//! Random histories of rows that are appended, with faults, crashes and rows that change and leave meanwhile, against
//! what was decided.
//!
//! `RSYNC_SEEDS` sets how many; a failing seed is printed and can be run alone with `RSYNC_SEED`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::FutureExt;
use rsync_core::capability::WriteIdempotence;
use rsync_core::clock::Randomness;
use rsync_core::error::Retry;
use rsync_core::memory::{Fault, SeededRandomness};
use rsync_core::{Append, Error, Kind, Pipeline, Report};

use crate::append::{builder, history, limits};
use crate::support::{Parts, Row, Watched, batch, key};

const HOUR: Duration = Duration::from_secs(3_600);

/// What the service remembers, and what the policy does about the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Remembers,
    /// For an hour; runs are sometimes hours apart.
    Forgets,
    Nothing,
    NothingAndResends,
}

struct History {
    random: SeededRandomness,
    service: Service,
    parts: Parts,
    store: Watched,
    rows: BTreeMap<String, String>,
    /// All versions of each key that the model ever had.
    published: BTreeMap<String, BTreeSet<String>>,
    /// Entries that were sent again at the risk of a second one.
    flagged: u64,
    crashes: usize,
    faults: usize,
}

impl History {
    fn below(&self, n: u64) -> u64 {
        self.random.next_u64() % n
    }

    fn change(&mut self, version: usize) {
        for _ in 0..self.below(10) {
            let id = format!("k{}", self.below(12));
            match self.below(5) {
                0 => drop(self.rows.remove(&id)),
                // Values that come back, and values that never do.
                1 | 2 => drop(self.rows.insert(id, format!("v{}", self.below(2)))),
                _ => drop(self.rows.insert(id, format!("u{version}"))),
            }
        }
        self.rows.insert("stays".to_owned(), format!("u{version}"));
        for (id, value) in &self.rows {
            self.published.entry(id.clone()).or_default().insert(value.clone());
        }
        let rows: Vec<Row<'_>> = self.rows.iter().map(|(id, name)| (id.as_str(), Some(name.as_str()), None)).collect();
        self.parts.source.replace(vec![batch(&rows)]);
    }

    fn fault(&self) -> Option<Fault> {
        let error = |kind, retry| Error::new(kind, "write", "planted").with_retry(retry);
        Some(match self.below(12) {
            0 => Fault::FailBefore(error(Kind::Unavailable, Retry::Backoff)),
            1 => Fault::FailAfter(error(Kind::Unavailable, Retry::Ambiguous)),
            2 => Fault::FailBefore(error(Kind::Unavailable, Retry::Ambiguous)),
            3 => Fault::UnknownAfter,
            4 => Fault::UnknownBefore,
            5 => Fault::DropOutcomes(1),
            6 => Fault::FailBefore(error(Kind::QuotaExhausted, Retry::Never)),
            _ => return None,
        })
    }

    fn sync(&self) -> Pipeline {
        let policy = match self.service {
            Service::NothingAndResends => Append::new().resending(),
            _ => Append::new(),
        };
        builder(&self.parts)
            .state(self.store.clone(), key())
            .policy(policy)
            .randomness(SeededRandomness::new(self.random.next_u64()))
            .build()
            .unwrap()
    }

    fn take(&mut self, report: &Report) {
        assert!(report.totals.balance(), "{:?}", report.totals);
        self.flagged += report.totals.possible_duplicates;
    }

    async fn step(&mut self, version: usize) {
        self.change(version);
        self.parts.destination.clear_faults();
        let first = self.parts.destination.writes().len() as u64 + 1;
        let dense = self.below(3) == 0;
        for number in first..first + 14 {
            if let Some(fault) = self.fault().filter(|_| dense || self.below(3) == 0) {
                self.faults += 1;
                self.parts.destination.fail_write(number, fault);
            }
        }
        if self.service == Service::Forgets && self.below(4) == 0 {
            self.parts.clock.advance(HOUR * 3);
        }
        // Who sends again is told how often by the report, which a crash takes away.
        let crash = if self.service == Service::NothingAndResends { 3 } else { self.below(4) };
        if crash == 0 {
            self.store.fail_commit(1 + self.below(6), self.below(2) == 0);
        }
        let turns = if crash == 1 { 1 + self.below(30) } else { u64::MAX };
        let sync = self.sync();
        let mut run = Box::pin(sync.run());
        let mut turn = 0;
        let report = loop {
            if turn == turns {
                self.crashes += 1;
                return;
            }
            if let Some(done) = (&mut run).now_or_never() {
                self.crashes += usize::from(self.store.has_failed());
                break done.map_err(|failure| failure.report);
            }
            assert!(turn < 100_000, "the run hangs");
            turn += 1;
            tokio::task::yield_now().await;
        };
        drop(run);
        self.store.fail_commit(0, false);
        match report {
            Ok(report) => self.take(&report),
            Err(Some(report)) => self.take(&report),
            Err(None) => {}
        }
    }

    /// Two undisturbed runs, after which all that was decided is there.
    async fn settle(&mut self) {
        self.parts.destination.clear_faults();
        self.store.fail_commit(0, false);
        let mut doubtful = 0;
        for _ in 0..2 {
            let report = self.sync().run().await.unwrap();
            self.take(&report);
            doubtful = report.totals.in_doubt + report.totals.carried.in_doubt;
            assert_eq!(report.totals.outstanding(), doubtful, "{report}");
        }
        let last = self.sync().run().await.unwrap();
        assert_eq!(last.calls.writes, 0, "a run over unchanged data sends nothing");
        let tokens = self.parts.destination.entry_tokens("people");
        let entries = self.parts.destination.entries("people");
        let distinct = tokens.iter().collect::<BTreeSet<_>>().len() as u64;
        let (decided, twice) = (self.store.decided() as u64, tokens.len() as u64 - distinct);
        match self.service {
            Service::Remembers => assert_eq!((distinct, twice, doubtful), (decided, 0, 0)),
            Service::Forgets | Service::Nothing => {
                assert_eq!(twice, 0);
                assert!(
                    distinct <= decided && distinct + doubtful >= decided,
                    "{distinct} of {decided}, {doubtful} in doubt"
                );
            }
            Service::NothingAndResends => {
                assert_eq!((distinct, doubtful), (decided, 0));
                assert!(twice <= self.flagged, "{twice} are there twice, {} are flagged", self.flagged);
            }
        }
        // Every entry is a version that the model had. Of one key none follows itself, and those that never come back
        // stand in their order.
        let mut last: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
        for (entry, token) in entries.iter().zip(&tokens) {
            let (id, name) = (entry["ext_id"].as_str(), entry["name"].as_str());
            assert!(self.published[id].contains(name), "{id} never was {name}");
            let again = tokens.iter().filter(|other| *other == token).count() > 1;
            let (before, newest) = last.get(id).copied().unwrap_or_default();
            let version = name.strip_prefix('u').map_or(newest, |version| version.parse().unwrap());
            if !again && self.service == Service::Remembers {
                assert!(version >= newest, "{id}: {name} after u{newest}");
                assert_ne!(before, name, "{id} twice in a row");
            }
            last.insert(id, (name, version));
        }
        if self.service == Service::Remembers {
            for (id, name) in &self.rows {
                assert_eq!(last.get(id.as_str()).map(|(name, _)| *name), Some(name.as_str()), "the last entry of {id}");
            }
        }
    }
}

async fn play(seed: u64, service: Service) -> (usize, usize) {
    let idempotence = match service {
        Service::Remembers => limits(WriteIdempotence::ByToken),
        Service::Forgets => limits(WriteIdempotence::ByToken).with_token_retention(HOUR),
        Service::Nothing | Service::NothingAndResends => limits(WriteIdempotence::None),
    };
    let parts = history(&[], idempotence);
    let mut history = History {
        random: SeededRandomness::new(seed),
        service,
        store: Watched::new(parts.store.clone()),
        parts,
        rows: BTreeMap::new(),
        published: BTreeMap::new(),
        flagged: 0,
        crashes: 0,
        faults: 0,
    };
    for version in 1..9 {
        history.step(version).await;
    }
    history.settle().await;
    (history.crashes, history.faults)
}

fn campaign(service: Service) {
    let only = std::env::var("RSYNC_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds: u64 = std::env::var("RSYNC_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut crashes, mut faults) = (0, 0);
    for seed in only.map_or(0..seeds, |seed| seed..seed + 1) {
        match std::panic::catch_unwind(|| runtime.block_on(play(seed, service))) {
            Ok((crashed, faulty)) => (crashes, faults) = (crashes + crashed, faults + faulty),
            Err(panic) => {
                let what = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
                panic!("RSYNC_SEED={seed} {service:?} fails: {what:?}");
            }
        }
    }
    let expected = if service == Service::NothingAndResends { 0 } else { seeds as usize };
    assert!(only.is_some() || (crashes >= expected && faults as u64 > seeds), "{crashes} crashes, {faults} faults");
}

#[test]
fn f05_f31_what_was_decided_is_there_exactly_once_where_tokens_are_remembered() {
    campaign(Service::Remembers);
}

#[test]
fn f05_f31_where_tokens_are_forgotten_nothing_is_there_twice_and_what_may_be_missing_is_told() {
    campaign(Service::Forgets);
}

#[test]
fn f05_f31_without_tokens_nothing_is_there_twice_and_what_may_be_missing_is_told() {
    campaign(Service::Nothing);
}

#[test]
fn f31_who_sends_again_has_everything_and_a_flag_for_each_duplicate() {
    campaign(Service::NothingAndResends);
}
