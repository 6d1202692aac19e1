//! Runs over the PostgreSQL store in a process that is frozen past its lease. `RSYNC_FREEZES=200` for the long form, which
//! takes two seconds each.

mod place;

use std::process::ExitCode;
use std::time::Duration;

use place::Place;

/// The shortest that the store takes.
const LEASE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    rsync_testkit::kill::main_frozen(6, LEASE, async { Place::start(LEASE) })
}
