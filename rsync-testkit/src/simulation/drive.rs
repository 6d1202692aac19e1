//! Polling a future without a runtime, poll by poll.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// More polls than any run of a simulation needs.
const PATIENCE: u64 = 50_000;

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How it ended.
pub(super) enum Drive<T> {
    Done(T),
    /// It was dropped before its end, because `stop` said so.
    Dropped,
    /// Nobody will ever wake it again, or it needs more polls than it should.
    Hangs(&'static str),
}

/// Polls `future` until it ends. `stop` is asked after every poll, with the number of polls.
pub(super) fn drive<T>(future: impl Future<Output = T>, mut stop: impl FnMut(u64) -> bool) -> Drive<T> {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut future = pin!(future);
    for poll in 1..=PATIENCE {
        woken.0.store(false, Ordering::Relaxed);
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Drive::Done(value);
        }
        if stop(poll) {
            return Drive::Dropped;
        }
        if !woken.0.load(Ordering::Relaxed) {
            return Drive::Hangs("nobody wakes it");
        }
    }
    Drive::Hangs("it goes round in circles")
}

/// Polls `future` to its end; `None` if it hangs.
pub(super) fn to_end<T>(future: impl Future<Output = T>) -> Option<T> {
    match drive(future, |_| false) {
        Drive::Done(value) => Some(value),
        Drive::Dropped | Drive::Hangs(_) => None,
    }
}
