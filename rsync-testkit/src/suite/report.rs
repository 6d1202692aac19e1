//! What the suite found.

use std::fmt;

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// As the specification wants it, with a remark where there is one.
    Passed(Option<String>),
    /// Not so, and why.
    Failed(String),
    /// What is under test or the harness gives nothing to test, and why.
    NotApplicable(String),
}

/// One case.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaseReport {
    /// Number in the specification, such as `D6` or `T4`; `-` if it has none.
    pub number: &'static str,
    /// What must be true.
    pub name: &'static str,
    /// Whether it is.
    pub verdict: Verdict,
}

/// All cases of a run. Its `Display` is a table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SuiteReport {
    /// What was tested, such as ``the destination `hubspot` ``.
    pub subject: String,
    /// The cases in the order they ran.
    pub cases: Vec<CaseReport>,
}

impl SuiteReport {
    /// Whether no case failed. If what is stored cannot be seen, one always does.
    pub fn passed(&self) -> bool {
        !self.cases.is_empty() && self.failures().next().is_none()
    }

    /// The cases that failed.
    pub fn failures(&self) -> impl Iterator<Item = &CaseReport> {
        self.cases.iter().filter(|case| matches!(case.verdict, Verdict::Failed(_)))
    }

    fn count(&self, of: fn(&Verdict) -> bool) -> usize {
        self.cases.iter().filter(|case| of(&case.verdict)).count()
    }
}

impl fmt::Display for SuiteReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "conformance of {}", self.subject)?;
        for CaseReport { number, name, verdict } in &self.cases {
            let (mark, why) = match verdict {
                Verdict::Passed(remark) => ("passed", remark.as_deref()),
                Verdict::Failed(why) => ("FAILED", Some(why.as_str())),
                Verdict::NotApplicable(why) => ("n/a", Some(why.as_str())),
            };
            write!(f, "  {mark:<6}  {number:<3}  {name}")?;
            if let Some(why) = why {
                let indent = format!("\n{:16}", "");
                write!(f, "{indent}{}", why.replace('\n', &indent))?;
            }
            writeln!(f)?;
        }
        let passed = self.count(|v| matches!(v, Verdict::Passed(_)));
        let failed = self.count(|v| matches!(v, Verdict::Failed(_)));
        let left_out = self.count(|v| matches!(v, Verdict::NotApplicable(_)));
        write!(f, "{passed} passed, {failed} failed, {left_out} not applicable")
    }
}
