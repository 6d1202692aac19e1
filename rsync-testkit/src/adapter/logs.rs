//! What a library says: log lines and errors, to search for what it must not say.

use std::cell::RefCell;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Once;

use tracing_subscriber::filter::LevelFilter;

thread_local! {
    static LOGGED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Writes to the memory of the thread that logs.
struct ThreadLog;

impl Write for ThreadLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.with_borrow_mut(|logged| logged.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Records every log line of the process from here on, by thread. One subscriber for all: scoped ones of tests that
/// run side by side miss events while another one comes or goes.
pub fn record_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_writer(|| ThreadLog)
            .with_ansi(false)
            .finish();
        if tracing::subscriber::set_global_default(subscriber).is_err() {
            panic!("another subscriber is in place: call record_logs before anything else sets one");
        }
    });
}

/// What this thread has logged since it was last asked. A test that looks for something in it must run its futures on
/// its own thread.
pub fn logged() -> String {
    String::from_utf8_lossy(&LOGGED.take()).into_owned()
}

/// All that an error shows, in every form, down to its last cause.
pub fn shown(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let _ = writeln!(text, "{error} {error:?} {error:#?}");
        next = error.source();
    }
    text
}
