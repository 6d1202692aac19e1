//! What a check reports.

use std::fmt;
use std::fmt::Write as _;

/// A breach of a rule: where, which, why the rule exists, and how to mend it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) what: String,
    pub(crate) why: &'static str,
    pub(crate) fix: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}\n    why: {}\n    fix: {}", self.file, self.line, self.what, self.why, self.fix)
    }
}

/// Fails the test with all findings at once.
pub(crate) fn assert_none(findings: &[Finding]) {
    let mut text = String::new();
    for finding in findings {
        let _ = write!(text, "\n{finding}\n");
    }
    assert!(findings.is_empty(), "{} findings\n{text}", findings.len());
}
