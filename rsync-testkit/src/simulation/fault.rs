//! The kinds of faults, and which of them a seed has.

use std::fmt;
use std::str::FromStr;

use super::random::Stream;

macro_rules! kinds {
    ($(#[doc = $what:literal])+ $set:ident { $($(#[doc = $doc:literal])+ $kind:ident = $name:literal,)+ }) => {
        $(#[doc = $what])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $set {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl $set {
            /// All of them.
            pub const ALL: &[$set] = &[$($set::$kind,)+];

            /// A stable lower-case name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($set::$kind => $name,)+
                }
            }
        }
    };
}

kinds! {
    /// What can go wrong.
    FaultKind {
        /// The source fails before its first batch.
        SourceRefused = "source_refused",
        /// The source breaks off in the middle.
        SourceCut = "source_cut",
        /// The source says that the model is empty.
        SourceEmpty = "source_empty",
        /// A read at the destination fails for the moment.
        ReadFails = "read_fails",
        /// A call was not sent.
        NotSent = "not_sent",
        /// A call was lost on its way there.
        LostBefore = "lost_before",
        /// A call was applied, its answer was lost.
        LostAfter = "lost_after",
        /// The service answers what cannot be understood, and applies nothing.
        Garbled = "garbled",
        /// Too many requests: come back after a pause.
        RateLimited = "rate_limited",
        /// The same, with a pause longer than a run may wait.
        LongPause = "long_pause",
        /// The credentials are revoked.
        Revoked = "revoked",
        /// The service says that the quota is used up.
        QuotaUsedUp = "quota_used_up",
        /// The quota comes to its reserve within the run.
        QuotaLow = "quota_low",
        /// Nothing is applied and no outcome is known.
        UnknownBefore = "unknown_before",
        /// Everything is applied and no outcome is known.
        UnknownAfter = "unknown_after",
        /// The adapter returns fewer outcomes than rows.
        OutcomesMissing = "outcomes_missing",
        /// The adapter returns more outcomes than rows.
        OutcomesExtra = "outcomes_extra",
        /// The service's answer lacks rows.
        ResultsMissing = "results_missing",
        /// The service's answer names a row twice, with two results.
        ResultsDoubled = "results_doubled",
        /// Some rows are to be sent again, perhaps after a pause.
        RowsRetryable = "rows_retryable",
        /// Some rows are refused.
        RowsRejected = "rows_rejected",
        /// A bad row makes the service refuse its whole batch.
        PoisonRow = "poison_row",
        /// An answer takes minutes.
        SlowAnswer = "slow_answer",
        /// Writes become jobs that take a while.
        JobPending = "job_pending",
        /// The service forgets a job.
        JobLost = "job_lost",
        /// A question after a job fails for the moment.
        JobSilent = "job_silent",
        /// A job outlasts the run's patience.
        JobStuck = "job_stuck",
        /// The wall clock jumps.
        WallJump = "wall_jump",
        /// The state cannot be opened for the moment.
        StateOpenFails = "state_open_fails",
        /// A commit fails and is not applied.
        CommitFailsBefore = "commit_fails_before",
        /// A commit is applied and fails nevertheless.
        CommitFailsAfter = "commit_fails_after",
        /// The process dies at a step: before or after a commit, a call, a batch of the source.
        CrashAtStep = "crash_at_step",
        /// The host drops the run's future between two polls.
        CrashAtPoll = "crash_at_poll",
        /// The run after a crash dies early, too.
        CrashInRecovery = "crash_in_recovery",
    }
}

kinds! {
    /// What comes about rarely and must come about often enough: the delicate moments of rows that leave.
    Situation {
        /// A row that disposes of a record arrives at the service.
        ExitSent = "exit_sent",
        /// A record is disposed of.
        ExitDone = "exit_done",
        /// There is no record to dispose of.
        ExitOfNothing = "exit_of_nothing",
        /// The service refuses to dispose of a record.
        ExitRefused = "exit_refused",
        /// A removal is recorded as in doubt.
        ExitInDoubt = "exit_in_doubt",
        /// A key is back while the fate of its exit is unknown.
        BackInDoubt = "back_in_doubt",
        /// A row left while the fate of its write is unknown.
        LeftInDoubt = "left_in_doubt",
        /// A run over an empty model is held.
        EmptyHeld = "empty_held",
        /// A read breaks off while records are known whose rows it did not reach.
        CutBeforeExits = "cut_before_exits",
        /// A row has no record to update.
        RecordMissing = "record_missing",
        /// A row has a record already that it was to make.
        RecordExists = "record_exists",
    }
}

impl FromStr for FaultKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.as_str() == name)
            .ok_or_else(|| format!("there is no fault \"{name}\""))
    }
}

/// The kinds of faults that a schedule has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultSet(u64);

impl FaultSet {
    /// None of them.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a kind.
    #[must_use]
    pub fn with(self, kind: FaultKind) -> Self {
        Self(self.0 | 1 << kind as u32)
    }

    /// Takes a kind away.
    #[must_use]
    pub fn without(self, kind: FaultKind) -> Self {
        Self(self.0 & !(1 << kind as u32))
    }

    /// Whether a kind is among them.
    pub fn contains(self, kind: FaultKind) -> bool {
        self.0 & (1 << kind as u32) != 0
    }

    /// The kinds.
    pub fn iter(self) -> impl Iterator<Item = FaultKind> {
        FaultKind::ALL.iter().copied().filter(move |kind| self.contains(*kind))
    }

    /// What a seed has: one in ten nothing, one in ten a single kind, the others each kind by chance, so that some
    /// schedules are left in which a rare combination is not drowned by the rest.
    pub(super) fn swarm(seed: u64) -> Self {
        let mut random = Stream::of(seed, "swarm", 0);
        match random.below(10) {
            0 => Self::none(),
            1 => Self::none().with(FaultKind::ALL[random.below(FaultKind::ALL.len() as u64) as usize]),
            _ => FaultKind::ALL
                .iter()
                // A stream a kind: a new one leaves the others where they were.
                .filter(|kind| Stream::of(seed, kind.as_str(), 0).percent(25))
                .fold(Self::none(), |set, kind| set.with(*kind)),
        }
    }
}

impl fmt::Display for FaultSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(FaultKind::as_str).collect();
        write!(f, "{}", names.join(","))
    }
}
