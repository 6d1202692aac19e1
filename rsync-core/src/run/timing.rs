//! Whether a run may begin and a call may be made now: stored pauses, windows, destinations that are down.

use std::time::Duration;

use super::Failure;
use crate::error::{Error, Kind, Result, Retry};
use crate::limit::Permit;
use crate::pipeline::Pipeline;
use crate::report::{Report, Stop};
use crate::state::{Journal, Postponed, StateRead};
use crate::window::Opening;

const AGAIN_LATER: &str = "run again then; to run now, plan with PlanOptions::ignore_not_before";

impl Pipeline {
    /// Refuses to begin while the last run's pause lasts. Asks nobody but the state.
    pub(super) async fn check_pause(&self, state: &dyn StateRead) -> Result<()> {
        let Some(postponed) = Postponed::read(state).await? else { return Ok(()) };
        let Some(left) = postponed.left(self.clock.wall()) else { return Ok(()) };
        Err(Error::new(Kind::TooEarly, "plan", "the last run was told to wait")
            .with_context("reason", &postponed.kind)
            .with_context("left_s", left.as_secs())
            .with_retry(Retry::After(left))
            .with_remedy(AGAIN_LATER))
    }

    /// Refuses to begin a run that could not write anyhow.
    pub(super) fn check_window(&self) -> Result<(), Failure> {
        let Some(closed) = self.window_closed() else { return Ok(()) };
        let mut error =
            Error::new(Kind::TooEarly, "run", "the sync's window is closed").with_remedy("run again when it opens");
        if let Some(left) = closed.delay() {
            error = error.with_context("left_s", left.as_secs()).with_retry(Retry::After(left));
        }
        Err(error.into())
    }

    /// Why nothing may be written now, if the sync's window is closed.
    pub(super) fn window_closed(&self) -> Option<Error> {
        let wall = self.clock.wall();
        let Opening::Closed { opens } = self.window.as_ref()?.at(wall) else { return None };
        let error = Error::new(Kind::WindowClosed, "write", "the sync's window is closed")
            .with_remedy("run again when it opens");
        Some(match opens {
            Some(opens) => error.with_delay(opens.saturating_sub(wall)),
            None => error,
        })
    }

    /// Leave to call the destination now.
    ///
    /// # Errors
    ///
    /// [`Kind::Unavailable`] if it is down.
    pub(super) fn admit(&self) -> Result<Permit> {
        let now = self.clock.monotonic();
        self.limiter.admit(now).map_err(|until| {
            let left = until.saturating_sub(now);
            Error::new(Kind::Unavailable, "call the destination", "it was down a moment ago and is left alone")
                .with_context("left_s", left.as_secs())
                .with_delay(left)
                .with_retry(Retry::Exhausted)
                .with_remedy("run again later; one call is made every minute to see whether it is back")
        })
    }

    /// Why no batch may be sent now.
    pub(super) fn refusal(&self) -> Option<Error> {
        if let Some(closed) = self.window_closed() {
            return Some(closed);
        }
        if !self.limiter.is_down(self.clock.monotonic()) { None } else { self.admit().err() }
    }
}

/// Whether nothing is wrong: the next run goes on where this one ended.
fn is_resumable(error: &Error) -> bool {
    matches!(error.kind(), Kind::Cancelled | Kind::QuotaExhausted | Kind::WindowClosed)
        || (error.kind() == Kind::RateLimited && matches!(error.retry(), Retry::After(_)))
}

/// What an error says about an early end of the run, where it is nothing else. To be asked when it comes, since it names
/// pauses from then on.
pub(super) fn early_end(pipeline: &Pipeline, error: &Error) -> Option<Stop> {
    let delay = error.delay().filter(|delay| !delay.is_zero());
    is_resumable(error).then(|| Stop {
        kind: error.kind(),
        reason: error.to_string(),
        not_before: delay.map(|delay| pipeline.clock.wall().saturating_add(delay)),
    })
}

/// Takes an error that is nothing but an early end for what it is: the state keeps when the next run may begin. Returns
/// any other error.
pub(super) fn conclude_stop(
    pipeline: &Pipeline,
    error: Option<Error>,
    report: &mut Report,
    journal: &mut Journal,
) -> Option<Error> {
    if !error.as_ref().is_some_and(is_resumable) {
        report.stop = None;
        return error;
    }
    let stop = report.stop.as_ref();
    // A window is asked anew every time: it may have been changed.
    if let Some((until, kind)) = stop.and_then(|stop| Some((stop.not_before?, stop.kind)))
        && kind != Kind::WindowClosed
    {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        journal.stage_postponed(&Postponed {
            set_ms: ms(pipeline.clock.wall()),
            until_ms: ms(until),
            kind: kind.as_str().to_owned(),
        });
    }
    None
}
