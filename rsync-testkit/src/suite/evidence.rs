//! Everything that what is under test says, searched for values that must not be there.

use std::fmt::{self, Debug, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rsync_core::Error;
use tracing::field::{Field, Visit};
use tracing::metadata::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Texts that must not appear, and where they did. Clones share the findings.
#[derive(Clone)]
pub(crate) struct Evidence {
    needles: Arc<Vec<(&'static str, String)>>,
    findings: Arc<Mutex<Vec<String>>>,
    searched: Arc<AtomicU64>,
}

impl Evidence {
    /// Looks for these texts; the name tells what was found without showing it.
    pub(crate) fn new(needles: Vec<(&'static str, String)>) -> Self {
        // Very short texts turn up by chance.
        let needles = needles.into_iter().filter(|(_, text)| text.len() >= 5).collect();
        Self { needles: Arc::new(needles), findings: Arc::default(), searched: Arc::default() }
    }

    /// Searches `text`, which was said by `speaker`.
    pub(crate) fn search(&self, speaker: &str, text: &str) {
        self.searched.fetch_add(1, Ordering::Relaxed);
        for (name, needle) in self.needles.iter() {
            if text.contains(needle.as_str()) {
                let finding = format!("{name} in {speaker}");
                let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
                if !findings.contains(&finding) {
                    findings.push(finding);
                }
            }
        }
    }

    /// Searches both forms of `Debug`.
    pub(crate) fn search_debug(&self, speaker: &str, value: &(impl Debug + ?Sized)) {
        self.search(&format!("the Debug of {speaker}"), &format!("{value:?} {value:#?}"));
    }

    /// Searches every text an error has, and those of the errors behind it.
    pub(crate) fn search_error(&self, speaker: &str, error: &Error) {
        self.search_debug(speaker, error);
        let mut behind: Option<&dyn std::error::Error> = Some(error);
        let mut depth = 0;
        while let Some(error) = behind {
            let layer = if depth == 0 { String::new() } else { format!(", source {depth}") };
            self.search(&format!("the text of {speaker}{layer}"), &format!("{error} {error:?}"));
            behind = error.source();
            depth += 1;
        }
    }

    pub(crate) fn findings(&self) -> Vec<String> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn searched(&self) -> u64 {
        self.searched.load(Ordering::Relaxed)
    }
}

/// A tracing subscriber that searches every span and event at every level.
pub(crate) struct LogSearch {
    evidence: Evidence,
    next_span: AtomicU64,
}

impl LogSearch {
    pub(crate) fn new(evidence: Evidence) -> Self {
        Self { evidence, next_span: AtomicU64::new(1) }
    }

    fn search(&self, kind: &str, target: &str, fields: impl FnOnce(&mut Line)) {
        let mut line = Line(String::new());
        fields(&mut line);
        self.evidence.search(&format!("a {kind} of `{target}`"), &line.0);
    }
}

impl Subscriber for LogSearch {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.search("span", span.metadata().target(), |line| span.record(line));
        Id::from_u64(self.next_span.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _span: &Id, values: &Record<'_>) {
        self.search("span", "unnamed", |line| values.record(line));
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.search("log line", event.metadata().target(), |line| event.record(line));
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{field}={value:?} ");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, "{field}={value} ");
    }
}
