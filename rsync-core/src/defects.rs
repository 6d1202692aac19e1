//! Defects that can be planted, to show that the simulation finds them.
//!
//! They exist only with the feature `planted-defects`, which the package `rsync-defects` alone switches on. Without it
//! the macro is empty: no code, no symbol.

/// Runs a piece of code if a defect is planted; without the feature it is nothing.
macro_rules! planted {
    ($defect:ident => $($code:tt)*) => {
        #[cfg(feature = "planted-defects")]
        if $crate::defects::is_planted($crate::defects::Defect::$defect) {
            $($code)*
        }
    };
}

#[cfg(feature = "planted-defects")]
pub use defect::{Defect, plant};
#[cfg(feature = "planted-defects")]
pub(crate) use defect::{is_planted, planting, release, synced_after_failures, withhold};

#[cfg(feature = "planted-defects")]
mod defect {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    /// What other engines of this kind got wrong, each planted where it would live in this one.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum Defect {
        /// Rows are recorded as synced before they are sent.
        CommitBeforeAck,
        /// A batch counts as written if one of its rows was.
        AnySuccess,
        /// Outcomes of a part are given to the rows in the same places of the whole batch.
        ByPosition,
        /// A row without an outcome counts as written.
        MissingIsOk,
        /// A call without an answer counts as written.
        TimeoutIsOk,
        /// A call without an answer counts as not applied.
        TimeoutDropped,
        /// A batch that succeeds vouches for the failed ones before it.
        WatermarkPastFailed,
        /// A row that failed is parked like a refused one.
        FailedNotRetried,
        /// What belongs together is committed in two steps.
        TornCommit,
        /// The batch id, by which a service recognises a second attempt, differs from attempt to attempt.
        NewIdemKeyPerAttempt,
        /// A batch with one bad row is given up as a whole.
        PoisonDropsBatch,
        /// What a read that broke off did not reach counts as gone.
        TruncatedDeletes,
        /// A failed row is sent again as it was, not as it is.
        StaleReplay,
        /// Rows with one key are all sent, and the last one stays.
        DupKeyLastWins,
        /// Rows of a batch that failed are not reported.
        NoReportOnBatchError,
        /// Rows are sent without a mark that survives a crash.
        NoIntent,
    }

    impl Defect {
        /// All of them.
        pub const ALL: [Defect; 16] = [
            Defect::CommitBeforeAck,
            Defect::AnySuccess,
            Defect::ByPosition,
            Defect::MissingIsOk,
            Defect::TimeoutIsOk,
            Defect::TimeoutDropped,
            Defect::WatermarkPastFailed,
            Defect::FailedNotRetried,
            Defect::TornCommit,
            Defect::NewIdemKeyPerAttempt,
            Defect::PoisonDropsBatch,
            Defect::TruncatedDeletes,
            Defect::StaleReplay,
            Defect::DupKeyLastWins,
            Defect::NoReportOnBatchError,
            Defect::NoIntent,
        ];
    }

    thread_local! {
        static PLANTED: Cell<Option<Defect>> = const { Cell::new(None) };
        static PLANTINGS: Cell<u64> = const { Cell::new(0) };
        /// Intents that are kept back.
        static WITHHELD: RefCell<BTreeMap<u64, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
        /// Batches with failed rows, with their number of rows.
        static FAILED: RefCell<Vec<(u64, usize)>> = const { RefCell::new(Vec::new()) };
    }

    /// Plants a defect in all pipelines of this thread, instead of the one before, and forgets what that one kept.
    pub fn plant(defect: Option<Defect>) {
        PLANTED.set(defect);
        PLANTINGS.set(PLANTINGS.get() + 1);
        WITHHELD.take();
        FAILED.take();
    }

    pub(crate) fn is_planted(defect: Defect) -> bool {
        PLANTED.get() == Some(defect)
    }

    /// Differs from planting to planting, so that nothing is remembered across them.
    pub(crate) fn planting() -> u64 {
        PLANTINGS.get()
    }

    pub(crate) fn withhold(sequence: u64, intent: Vec<u8>) {
        WITHHELD.with_borrow_mut(|withheld| withheld.insert(sequence, intent));
    }

    pub(crate) fn release(sequence: u64) -> Option<Vec<u8>> {
        WITHHELD.with_borrow_mut(|withheld| withheld.remove(&sequence))
    }

    /// Batches that a batch vouches for: the failed ones before it, if all of its own rows are synced.
    pub(crate) fn synced_after_failures(sequence: u64, rows: usize, all_synced: bool) -> Vec<(u64, usize)> {
        if all_synced {
            return FAILED.take();
        }
        FAILED.with_borrow_mut(|failed| failed.push((sequence, rows)));
        Vec::new()
    }
}
