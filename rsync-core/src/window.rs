//! When a sync may write.

use std::fmt::Debug;
use std::time::Duration;

use crate::error::{Error, Kind, Problem, Result};

/// Whether a window is open. Moments are times since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Opening {
    /// It is open.
    Open,
    /// It is closed.
    Closed {
        /// When it opens next; `None` if that is not known.
        opens: Option<Duration>,
    },
}

/// The times at which a sync may write. Asked before every call that writes, so it must be quick. Pure: the same moment
/// gives the same answer.
///
/// Reads, and questions after jobs that run already, are made at any time.
pub trait Window: Debug + Send + Sync + 'static {
    /// Whether it is open at `wall`, a time since the Unix epoch.
    fn at(&self, wall: Duration) -> Opening;
}

/// The same hours every day, at a fixed distance from UTC. Where clocks are set forward and back with the seasons,
/// implement [`Window`] with the host's time zones.
///
/// ```
/// use std::time::Duration;
/// use rsync_core::window::{DailyWindow, Opening, Window};
///
/// // From 22:00 to 06:00, one hour east of UTC.
/// let nights = DailyWindow::new((22, 0), (6, 0))?.with_utc_offset_minutes(60)?;
/// let noon = Duration::from_secs(12 * 3600);
/// assert_eq!(nights.at(noon), Opening::Closed { opens: Some(Duration::from_secs(21 * 3600)) });
/// # Ok::<(), rsync_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DailyWindow {
    /// Seconds of the local day.
    opens: u64,
    closes: u64,
    /// Seconds that local time is ahead of UTC, 0 to a day.
    ahead: u64,
}

const DAY: u64 = 24 * 3600;

impl DailyWindow {
    /// Open from one time of the day until just before another, as (hour, minute); over midnight if the second is the
    /// earlier one.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidConfig`] if one of them is no time of the day, or both are the same.
    pub fn new(opens: (u8, u8), closes: (u8, u8)) -> Result<Self> {
        let mut problems = Vec::new();
        for (at, (hour, minute)) in [("window.opens", opens), ("window.closes", closes)] {
            if hour > 23 || minute > 59 {
                problems.push(Problem::new(at, "it is no time of the day", "give an hour to 23 and a minute to 59"));
            }
        }
        if opens == closes {
            problems.push(Problem::new("window", "it is never open", "give two times, or set no window"));
        }
        Error::from_problems(Kind::InvalidConfig, "make a window", problems)?;
        let seconds = |(hour, minute): (u8, u8)| u64::from(hour) * 3600 + u64::from(minute) * 60;
        Ok(Self { opens: seconds(opens), closes: seconds(closes), ahead: 0 })
    }

    /// Sets how many minutes local time is ahead of UTC; negative in the west.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidConfig`] beyond 18 hours.
    pub fn with_utc_offset_minutes(mut self, minutes: i16) -> Result<Self> {
        if minutes.unsigned_abs() > 18 * 60 {
            let problem = Problem::new("window.utc_offset", "no place is that far ahead", "give -1080 to 1080 minutes");
            Error::from_problems(Kind::InvalidConfig, "make a window", vec![problem])?;
        }
        self.ahead = (i64::from(minutes) * 60).rem_euclid(DAY as i64) as u64;
        Ok(self)
    }
}

impl Window for DailyWindow {
    fn at(&self, wall: Duration) -> Opening {
        let now = (wall.as_secs() + self.ahead) % DAY;
        let since_opening = (now + DAY - self.opens) % DAY;
        let length = (self.closes + DAY - self.opens) % DAY;
        if since_opening < length {
            return Opening::Open;
        }
        Opening::Closed { opens: Some(Duration::from_secs(wall.as_secs() + DAY - since_opening)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f53_a_daily_window_is_open_from_the_first_second_until_before_the_last() {
        for (opens, closes, offset) in
            [((9, 0), (17, 30), 0), ((22, 0), (6, 0), 60), ((0, 0), (23, 59), -570), ((23, 59), (0, 1), 1080)]
        {
            let window = DailyWindow::new(opens, closes).unwrap().with_utc_offset_minutes(offset).unwrap();
            let minute = |(hour, minute): (u8, u8)| i64::from(hour) * 60 + i64::from(minute);
            for seconds in (0..3 * DAY).step_by(30) {
                // By minutes of the local day, one after the other.
                let local = |seconds: u64| (seconds as i64 / 60 + i64::from(offset)).rem_euclid(24 * 60);
                let inside = |seconds: u64| {
                    let (now, from, to) = (local(seconds), minute(opens), minute(closes));
                    if from < to { from <= now && now < to } else { now >= from || now < to }
                };
                match window.at(Duration::from_secs(seconds)) {
                    Opening::Open => assert!(inside(seconds), "{window:?} {seconds}"),
                    Opening::Closed { opens } => {
                        assert!(!inside(seconds), "{window:?} {seconds}");
                        let opens = opens.unwrap().as_secs();
                        assert!(opens > seconds && inside(opens) && !inside(opens - 1), "{window:?} {seconds} {opens}");
                        assert!(opens - seconds <= DAY);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for (opens, closes) in [((24, 0), (1, 0)), ((1, 60), (2, 0)), ((3, 0), (3, 0))] {
            assert_eq!(DailyWindow::new(opens, closes).unwrap_err().kind(), Kind::InvalidConfig);
        }
        let day = DailyWindow::new((1, 0), (2, 0)).unwrap();
        assert_eq!(day.with_utc_offset_minutes(1081).unwrap_err().kind(), Kind::InvalidConfig);
    }
}
