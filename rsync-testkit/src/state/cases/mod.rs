//! The cases, by subject.

mod commits;
mod hold;
mod manners;
mod processes;
mod reads;
mod records;

use futures::future::BoxFuture;

use super::bench::Bench;
use crate::suite::CaseResult;

/// A case: what must be true, and how it is found out.
pub(super) struct Case {
    /// Number in the specification.
    pub(super) number: &'static str,
    /// What must be true.
    pub(super) name: &'static str,
    pub(super) run: for<'b> fn(&'b Bench<'b>) -> BoxFuture<'b, CaseResult>,
}

macro_rules! cases {
    ($($number:literal $name:literal $run:path;)+) => {
        &[$(Case { number: $number, name: $name, run: |bench| Box::pin($run(bench)) }),+]
    };
}

/// All cases in the order they run: what the others rest on first, the search of what was said last.
pub(super) fn all() -> impl Iterator<Item = &'static Case> {
    CASES.iter()
}

const CASES: &[Case] = cases! {
    "-"   "what is committed is found by the next session" records::found_again;
    "T1"  "mutations of a commit are applied in order" commits::order;
    "T1"  "a commit of 15 MB is applied whole" commits::large;
    "T1"  "f09: a commit that cannot be written leaves nothing" commits::failed_leaves_nothing;
    "T1"  "f06: a process that is killed in its commits leaves one of them whole" processes::killed_while_committing;
    "T2"  "f06: a commit survives a crash right after it" commits::survives_a_crash;
    "T3"  "a connection lost in a commit leaves all of it or nothing, and no false success" commits::connection_lost;
    "T4"  "f09: after a failed commit the session commits no more" commits::failed_poisons;
    "T4"  "a commit that was given up is all or nothing, and the last of its session" commits::dropped;
    "T5"  "f11: a second session is refused at once" hold::second_session;
    "T5"  "f11: of many who ask at the same time one gets the sync" hold::contenders;
    "T5"  "f11: a second process is refused at once" processes::second_process;
    "T6"  "f12: a session that lost its hold changes nothing" hold::lost_hold;
    "T6"  "f12: the end of a session that lost its hold does not free its successor's" hold::stale_release;
    "T7"  "a dropped session frees the sync" hold::dropped;
    "T7"  "f11: a killed process frees the sync" processes::killed_holder;
    "T7"  "a lost connection frees the sync" hold::connection_lost;
    "T8"  "a sync that was never seen is empty" records::never_seen;
    "T8"  "f07: damage is told, never taken for a new sync or a missing record" records::damaged;
    "T9"  "reads see every commit at once" reads::fresh;
    "T10" "a scan is in the order of bytes and begins where it is told" reads::order;
    "T10" "pages have as many records as asked for, and together all" reads::pages;
    "T11" "tables do not meet" records::tables;
    "T11" "syncs do not meet, whatever their names" records::syncs;
    "T12" "keys and values come back byte for byte" records::bytes;
    "T12" "large values and many keys come back" records::large;
    "T12" "random histories are read as a map would be" records::random;
    "T13" "a missing key can be deleted" records::delete_missing;
    "T15" "no call blocks its thread" manners::no_blocking;
    "T14" "errors, Debug and logs show no key, value or secret" manners::nothing_said;
};
