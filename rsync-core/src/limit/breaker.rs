//! Leaves a destination that is down alone.

use std::time::Duration;

/// How long a destination that is down is left alone before it is tried again.
const REST: Duration = Duration::from_secs(60);

/// What a call told about the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It did not answer, or not sensibly.
    Down,
    /// It answered a read.
    Read,
    /// It answered a write.
    Write,
    /// Nothing.
    None,
}

/// Counts failures in a row. Pure: the caller tells the time.
///
/// After so many it is open: no call is let through for a minute. Then calls are let through one at a time: one that fails
/// opens it again, a write that is answered closes it. A read that is answered lets the next call through and no more,
/// since a service may answer reads while its writes fail.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    /// Set while it is not closed.
    open_until: Option<Duration>,
    probing: bool,
}

impl Breaker {
    /// Lets a call through, telling whether it is a probe, or says until when none is.
    pub(super) fn admit(&mut self, now: Duration) -> Result<bool, Duration> {
        match self.open_until {
            None => Ok(false),
            Some(until) if now < until => Err(until),
            Some(_) if self.probing => Err(now + REST),
            Some(_) => {
                self.probing = true;
                Ok(true)
            }
        }
    }

    pub(super) fn release(&mut self) {
        self.probing = false;
    }

    pub(super) fn take(&mut self, sign: Sign, now: Duration, give_up_after: u32) {
        match sign {
            Sign::None => {}
            Sign::Read if self.open_until.is_some() => {}
            Sign::Read | Sign::Write => *self = Self { probing: self.probing, ..Self::default() },
            Sign::Down => {
                self.failures = self.failures.saturating_add(1);
                if self.open_until.is_some() || self.failures >= give_up_after {
                    self.open_until = Some(now + REST);
                }
            }
        }
    }

    pub(super) fn is_open(&self, now: Duration) -> bool {
        self.open_until.is_some_and(|until| now < until)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.open_until.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn f56_it_opens_after_failures_in_a_row_and_lets_one_call_through_a_minute() {
        let mut breaker = Breaker::default();
        for sign in [Sign::Down, Sign::Down, Sign::Read, Sign::Down, Sign::Down, Sign::None] {
            assert_eq!(breaker.admit(SECOND), Ok(false));
            breaker.take(sign, SECOND, 3);
        }
        breaker.take(Sign::Down, SECOND, 3);
        assert!(breaker.is_open(SECOND) && !breaker.is_closed());
        assert_eq!(breaker.admit(60 * SECOND), Err(61 * SECOND));
        // One probe at a time; it fails.
        assert_eq!(breaker.admit(61 * SECOND), Ok(true));
        assert_eq!(breaker.admit(61 * SECOND), Err(121 * SECOND));
        breaker.release();
        breaker.take(Sign::Down, 62 * SECOND, 3);
        assert_eq!(breaker.admit(121 * SECOND), Err(122 * SECOND));
        // A read that succeeds is not enough, a write is.
        assert_eq!(breaker.admit(122 * SECOND), Ok(true));
        breaker.release();
        breaker.take(Sign::Read, 122 * SECOND, 3);
        assert!(!breaker.is_closed() && !breaker.is_open(122 * SECOND));
        assert_eq!(breaker.admit(122 * SECOND), Ok(true));
        breaker.release();
        breaker.take(Sign::Write, 122 * SECOND, 3);
        assert!(breaker.is_closed());
        assert_eq!([breaker.admit(122 * SECOND), breaker.admit(122 * SECOND)], [Ok(false), Ok(false)]);
    }
}
