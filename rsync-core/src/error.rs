//! One error type for the whole library.
//!
//! An [`Error`] says what happened ([`Kind`]), whether trying again can help ([`Retry`]), during which
//! operation, where (context pairs) and what to do about it ([`Error::remedy`]). Kind and retry class are set
//! where the answer of the other side is read; nothing above that place changes them.
//!
//! Text is for people and may change; match on [`Error::kind`] and [`Error::retry`]. No error carries a cell
//! value or a secret: contexts hold names, counts and codes.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Result of every fallible function in the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, by meaning; never by adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The host's configuration cannot work; see [`Error::problems`].
    InvalidConfig,
    /// A column or field is missing, or its type cannot be used as asked; see [`Error::problems`].
    SchemaMismatch,
    /// The credentials were refused.
    Unauthenticated,
    /// The credentials are valid but lack a permission.
    Forbidden,
    /// The addressed object, table or path does not exist.
    NotFound,
    /// The other side refused the content of the request as a whole.
    Rejected,
    /// Too many requests for the moment.
    RateLimited,
    /// An allowance that does not come back within the run is used up.
    QuotaExhausted,
    /// The other side cannot be reached or is failing.
    Unavailable,
    /// The answer cannot be understood, or breaks the other side's own contract.
    Protocol,
    /// The source failed before the model was read completely. Nothing was applied.
    SourceIncomplete,
    /// The state store failed to read or write.
    StateStore,
    /// The stored state cannot be understood.
    StateCorrupt,
    /// The stored state was written by a newer version of this library.
    StateTooNew,
    /// The stored state belongs to another sync, destination account, object or key.
    StateMismatch,
    /// The state that the host knows of is gone, was made anew or is an older copy.
    StateLost,
    /// Another run of the same sync holds the state.
    AlreadyRunning,
    /// The host cancelled the run, or its time was up.
    Cancelled,
    /// The last run was told, or the sync's window says, to come again later: [`Error::delay`]. Nothing was asked of
    /// anybody.
    TooEarly,
    /// The window of time in which the sync may write is closed.
    WindowClosed,
    /// The adapter does not offer what was asked of it.
    Unsupported,
    /// A broken assumption inside the library or an adapter.
    Internal,
}

impl Kind {
    /// A stable lower-case name, for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::InvalidConfig => "invalid_config",
            Kind::SchemaMismatch => "schema_mismatch",
            Kind::Unauthenticated => "unauthenticated",
            Kind::Forbidden => "forbidden",
            Kind::NotFound => "not_found",
            Kind::Rejected => "rejected",
            Kind::RateLimited => "rate_limited",
            Kind::QuotaExhausted => "quota_exhausted",
            Kind::Unavailable => "unavailable",
            Kind::Protocol => "protocol",
            Kind::SourceIncomplete => "source_incomplete",
            Kind::StateStore => "state_store",
            Kind::StateCorrupt => "state_corrupt",
            Kind::StateTooNew => "state_too_new",
            Kind::StateMismatch => "state_mismatch",
            Kind::StateLost => "state_lost",
            Kind::AlreadyRunning => "already_running",
            Kind::Cancelled => "cancelled",
            Kind::TooEarly => "too_early",
            Kind::WindowClosed => "window_closed",
            Kind::Unsupported => "unsupported",
            Kind::Internal => "internal",
        }
    }
}

/// Whether the same request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// Sending the same request again gives the same answer.
    Never,
    /// The request was not applied; try again after a pause of our choosing.
    Backoff,
    /// The request was not applied; the other side named the pause.
    After(Duration),
    /// The request may or may not have been applied. It may be sent again only where the operation is
    /// idempotent.
    Ambiguous,
    /// It was tried as often as the retry policy allows.
    Exhausted,
}

/// One thing that must be mended before a pipeline can be built or planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, as a path: `mapping.total_charges`, `model.key`.
    pub at: String,
    /// What is wrong.
    pub cause: String,
    /// What to do.
    pub fix: String,
}

impl Problem {
    /// A problem at `at`, with its cause and its fix.
    pub fn new(at: impl Into<String>, cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { at: at.into(), cause: cause.into(), fix: fix.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (fix: {})", self.at, self.cause, self.fix)
    }
}

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

struct Inner {
    kind: Kind,
    retry: Retry,
    delay: Option<Duration>,
    operation: Cow<'static, str>,
    message: String,
    context: Vec<(&'static str, String)>,
    remedy: Option<String>,
    problems: Vec<Problem>,
    source: Option<Source>,
}

/// The library's error. See the [module docs](self).
pub struct Error(Box<Inner>);

impl Error {
    /// An error of `kind` that was met during `operation`. Its retry class is [`Retry::Never`] until
    /// [`Error::with_retry`] says otherwise.
    pub fn new(kind: Kind, operation: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            retry: Retry::Never,
            delay: None,
            operation: operation.into(),
            message: message.into(),
            context: Vec::new(),
            remedy: None,
            problems: Vec::new(),
            source: None,
        }))
    }

    /// An error that lists several problems at once.
    ///
    /// # Errors
    ///
    /// `Ok(())` when `problems` is empty, so that a validation can end with this call.
    pub fn from_problems(kind: Kind, operation: impl Into<Cow<'static, str>>, problems: Vec<Problem>) -> Result<()> {
        if problems.is_empty() {
            return Ok(());
        }
        let n = problems.len();
        let mut error = Self::new(kind, operation, format!("{n} problem{}", if n == 1 { "" } else { "s" }));
        error.0.problems = problems;
        Err(error)
    }

    /// Sets the retry class.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Sets the pause that the other side asked for, where the retry class has no place for it: an answer of unknown
    /// fate can name one too.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.0.delay = Some(delay);
        self
    }

    /// Adds where it happened: a name, a count or a code; never a cell value.
    #[must_use]
    pub fn with_context(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// Sets the underlying error. Its text is shown behind ours, so it must be free of values and secrets.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Whether the same request may be sent again.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// The pause that the other side asked for before the next attempt.
    pub fn delay(&self) -> Option<Duration> {
        match self.0.retry {
            Retry::After(delay) => Some(delay),
            _ => self.0.delay,
        }
    }

    /// During which operation.
    pub fn operation(&self) -> &str {
        &self.0.operation
    }

    /// What to do about it, where one thing can be named.
    pub fn remedy(&self) -> Option<&str> {
        self.0.remedy.as_deref()
    }

    /// All problems found, for [`Kind::InvalidConfig`] and [`Kind::SchemaMismatch`].
    pub fn problems(&self) -> &[Problem] {
        &self.0.problems
    }

    /// The value of one context key.
    pub fn context(&self, key: &str) -> Option<&str> {
        self.0.context.iter().find(|(k, _)| *k == key).map(|(_, v)| v.as_str())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        write!(f, "{}: {}", inner.operation, inner.message)?;
        for (i, (key, value)) in inner.context.iter().enumerate() {
            write!(f, "{}{key}: {value}", if i == 0 { " [" } else { ", " })?;
        }
        if !inner.context.is_empty() {
            f.write_str("]")?;
        }
        for problem in &inner.problems {
            write!(f, "\n  - {problem}")?;
        }
        if let Some(remedy) = &inner.remedy {
            write!(f, "; fix: {remedy}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({}, {:?}, {self}", self.0.kind.as_str(), self.0.retry)?;
        if let Some(source) = &self.0.source {
            write!(f, ", caused by: {source}")?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_cause_place_and_fix() {
        let error = Error::new(Kind::NotFound, "describe", "the object does not exist")
            .with_context("object", "compnies")
            .with_remedy("check the spelling");
        assert_eq!(
            error.to_string(),
            "describe: the object does not exist [object: compnies]; fix: check the spelling"
        );
    }

    #[test]
    fn no_problems_is_no_error() {
        assert!(Error::from_problems(Kind::InvalidConfig, "build", Vec::new()).is_ok());
        let error = Error::from_problems(
            Kind::InvalidConfig,
            "build",
            vec![Problem::new("a", "b", "c"), Problem::new("d", "e", "f")],
        )
        .unwrap_err();
        assert_eq!(error.problems().len(), 2);
        assert!(error.to_string().contains("2 problems\n  - a: b (fix: c)\n  - d: e (fix: f)"));
    }
}
