//! How a case runs and ends.

use std::any::Any;
use std::future::Future;
use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Duration;

use futures::FutureExt;
use rsync_core::Error;

use super::{Evidence, SuiteReport, Verdict};

/// A case that takes longer hangs.
const CASE_LIMIT: Duration = Duration::from_secs(120);

/// Why a case ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    Failed(String),
    NotApplicable(String),
}

impl Stop {
    pub(crate) fn failed<T>(why: impl Into<String>) -> Result<T, Self> {
        Err(Stop::Failed(why.into()))
    }

    pub(crate) fn not_applicable<T>(why: impl Into<String>) -> Result<T, Self> {
        Err(Stop::NotApplicable(why.into()))
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(format!("an error where there should be none: {error:?}"))
    }
}

impl From<Box<dyn std::error::Error + Send + Sync>> for Stop {
    fn from(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Stop::Failed(format!("the harness failed: {error}"))
    }
}

/// What a case ends with: a remark, or why it ended early.
pub(crate) type CaseResult = Result<Option<String>, Stop>;

/// Fails the case unless `condition` holds.
macro_rules! ensure {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return $crate::suite::Stop::failed(format!($($why)+));
        }
    };
}
pub(crate) use ensure;

/// Runs a case. A panic fails it, and so does no end.
pub(crate) async fn verdict(work: impl Future<Output = CaseResult>, evidence: &Evidence) -> Verdict {
    let guarded = tokio::time::timeout(CASE_LIMIT, AssertUnwindSafe(work).catch_unwind());
    let result: CaseResult = match guarded.await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => {
            let text = panic_text(&*panic);
            evidence.search("a panic", text);
            Stop::failed(format!("a panic: {text}"))
        }
        Err(_) => Stop::failed(format!("no end within {} s", CASE_LIMIT.as_secs())),
    };
    match result {
        Ok(remark) => Verdict::Passed(remark),
        Err(Stop::Failed(why)) => Verdict::Failed(why),
        Err(Stop::NotApplicable(why)) => Verdict::NotApplicable(why),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("of no text")
}

/// Runs a suite as a program: prints the table, and tells the shell whether all is well. A test runner that asks for a
/// list, as it does where the program is a test without a harness, is told of one test.
pub(crate) fn program(
    suite: impl Future<Output = Result<SuiteReport, Box<dyn std::error::Error + Send + Sync>>>,
) -> ExitCode {
    let asked = |option: &str| std::env::args().any(|argument| argument == option);
    if asked("--list") {
        let listed = if asked("--ignored") { "" } else { "suite: test\n" };
        let printed = std::io::stdout().lock().write_all(listed.as_bytes());
        return if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let report = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(suite));
    let (text, passed) = match report {
        Ok(report) => (report.to_string(), report.passed()),
        Err(error) => (format!("the harness did not start: {error}"), false),
    };
    let printed = writeln!(std::io::stdout().lock(), "{text}");
    if passed && printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
