//! Runs over the PostgreSQL store in a process that is killed again and again. `RSYNC_KILLS=1000` for the long form.

mod place;

use std::process::ExitCode;
use std::time::Duration;

use place::Place;

fn main() -> ExitCode {
    rsync_testkit::kill::main(40, async { Place::start(Duration::from_secs(60)) })
}
