//! Two processes on one shared store, one of which is frozen past its lease and wakes.

use std::future::Future;
use std::process::{Command, ExitCode};
use std::time::Duration;

use rsync_core::clock::{Clock, SystemClock};

use super::child::{self, BUSY, COMPLETED, LOST};
use super::run::{Parent, Waited, number, report, seed};
use super::service::Moment;
use crate::sim::rng::Rng;
use crate::state::{Harness, HarnessResult};
use crate::suite::{self, CaseResult, Stop, ensure};

/// Freezes processes over the shared store of the harness, whose holds end after `lease`, as a program: for a test target
/// with `harness = false`. As many schedules as `RSYNC_FREEZES` says, else `schedules`; `RSYNC_SEED` repeats them.
///
/// Each time a child is stopped with SIGSTOP in the middle of its run; when its lease has ended, another child runs the
/// sync to its end; then the first one is woken. It must change nothing of the state, send no more than what was on its way
/// when it was stopped, and end with an error.
pub fn main_frozen<H: Harness>(
    schedules: u64,
    lease: Duration,
    start: impl Future<Output = HarnessResult<H>>,
) -> ExitCode {
    if let Some(role) = child::role() {
        return child::play(&role, start);
    }
    suite::program(async {
        let harness = start.await?;
        let (seed, schedules) = (seed(), number("RSYNC_FREEZES").unwrap_or(schedules));
        let result = f12_a_frozen_process_does_no_harm_when_it_wakes(&harness, seed, schedules, lease).await;
        report(&harness, seed, "a process that is frozen past its lease does no harm when it wakes", result).await
    })
}

async fn f12_a_frozen_process_does_no_harm_when_it_wakes(
    harness: &dyn Harness,
    seed: u64,
    schedules: u64,
    lease: Duration,
) -> CaseResult {
    let mut parent = Parent::new(harness, seed).await?;
    let mut random = Rng::seeded(seed);
    let mut draw = move |n: u64| random.next_u64() % n;
    let (mut now, mut lost, mut late, mut most) = (0, 0, 0, 0);
    while parent.figures.frozen < schedules {
        now += 1;
        parent.in_flight = if draw(3) == 0 { 4 } else { 1 };
        let call = 1 + draw(12);
        let moment = match draw(4) {
            0 => Moment::Random(Duration::from_micros(draw(60_000))),
            1 => Moment::Arrived(call),
            2 => Moment::Applied(call),
            _ => Moment::Answered(call, Duration::from_micros(draw(10_000))),
        };
        let Some(woken) = freeze(&mut parent, now, moment, lease).await? else { continue };
        parent.figures.frozen += 1;
        lost += u64::from(woken.lost);
        late += u64::from(woken.calls > 0);
        most = most.max(woken.calls);
        let allowed = parent.in_flight as u64;
        ensure!(woken.calls <= allowed, "{moment:?}: {} calls of a process that had lost the sync", woken.calls);
        ensure!(woken.lost || woken.calls == 0, "{moment:?}: a process that had lost the sync wrote and was content");
        // Whatever it still sent, the state is that of its successor, and true.
        parent.compare(now).await?;
    }
    ensure!(schedules < 4 || lost > 0, "no process was frozen while it held the sync");
    let frozen = parent.figures.frozen;
    Ok(Some(format!(
        "{frozen} processes frozen past their lease, {lost} of them in their run; {late} still sent, at most {most} calls"
    )))
}

/// What a process did after it woke.
struct Woken {
    calls: u64,
    /// Whether it ended because it had lost the sync.
    lost: bool,
}

/// One schedule. `None` if the process had ended before its moment came.
async fn freeze(parent: &mut Parent<'_>, now: u64, moment: Moment, lease: Duration) -> Result<Option<Woken>, Stop> {
    let clock = SystemClock::new();
    parent.service.expect(moment);
    let mut first = parent.start(now).await?;
    if parent.wait(&mut first, moment).await? == Waited::Ended {
        first.end().await?;
        parent.service.silence().await?;
        return Ok(None);
    }
    let process = first.process.id();
    signal("STOP", process)?;
    clock.sleep(lease + lease / 10).await;
    parent.service.expect(Moment::Left);
    let mut second = parent.start(now).await?;
    ensure!(parent.wait(&mut second, Moment::Left).await? == Waited::Ended, "the successor was stopped too");
    let (_, said) = second.end().await?;
    let said = said.last().map(String::as_str).unwrap_or_default();
    ensure!(said.starts_with(COMPLETED), "{moment:?}: the successor of a frozen process says: {said}");
    // From here on, calls are those of the one that wakes.
    parent.service.expect(Moment::Left);
    // The answer that it waits for was lost meanwhile.
    parent.service.release();
    signal("CONT", process)?;
    ensure!(parent.wait(&mut first, Moment::Left).await? == Waited::Ended, "it was stopped again");
    let (_, said) = first.end().await?;
    let calls = parent.service.calls();
    parent.service.silence().await?;
    let said = said.last().map(String::as_str).unwrap_or_default();
    match said {
        LOST => Ok(Some(Woken { calls, lost: true })),
        // It had not taken hold of the sync yet, or had given it back.
        _ if said == BUSY || said.starts_with(COMPLETED) => Ok(Some(Woken { calls, lost: false })),
        _ => Stop::failed(format!("{moment:?}: a process that woke says: {said}")),
    }
}

fn signal(name: &str, process: u32) -> HarnessResult<()> {
    let status = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status()?;
    if status.success() { Ok(()) } else { Err(format!("the process cannot be sent SIG{name}").into()) }
}
