//! What a look-up of keys must find before anything is written.

use super::{Baseline, Guard, PlanView, Verdict};

/// At most so many rows, or at most such a share.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Limit {
    rows: u64,
    share: f64,
}

/// A look-up of the match values of rows that are new or whose record is not known, while the plan is made: on keys
/// alone, before any field is sent. It needs a destination whose records can be
/// [looked up](crate::Capability::lookup_rows).
///
/// Rows with one record go to it; rows with several are rejected; rows whose record belongs to another key are held. A
/// run over unchanged data looks nothing up. Each threshold holds the run when more rows than both its number and its
/// share are found; without thresholds nothing is held as a whole.
///
/// ```
/// use rsync_core::guard::Preflight;
///
/// // An enrichment of records that exist: if many are not found, the match field is probably the wrong one.
/// let preflight = Preflight::new().at_most_unmatched(10, 0.05).at_most_ambiguous(0, 0.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Preflight {
    unmatched: Option<Limit>,
    ambiguous: Option<Limit>,
    duplicates: Option<Limit>,
    null_keys: Option<Limit>,
}

impl Preflight {
    /// A look-up without thresholds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Holds the run if more than `rows`, and more than this share of the rows that were looked up (0.0 to 1.0), have
    /// no record.
    #[must_use]
    pub fn at_most_unmatched(mut self, rows: u64, share: f64) -> Self {
        self.unmatched = Some(Limit { rows, share });
        self
    }

    /// As [`Preflight::at_most_unmatched`], of rows that have several records.
    #[must_use]
    pub fn at_most_ambiguous(mut self, rows: u64, share: f64) -> Self {
        self.ambiguous = Some(Limit { rows, share });
        self
    }

    /// Holds the run if more than `rows`, and more than this share of the rows of the model, have a key that another
    /// row has too.
    #[must_use]
    pub fn at_most_duplicates(mut self, rows: u64, share: f64) -> Self {
        self.duplicates = Some(Limit { rows, share });
        self
    }

    /// As [`Preflight::at_most_duplicates`], of rows without a key.
    #[must_use]
    pub fn at_most_null_keys(mut self, rows: u64, share: f64) -> Self {
        self.null_keys = Some(Limit { rows, share });
        self
    }

    /// Whether all shares are from 0 to 1.
    pub(crate) fn is_sound(&self) -> bool {
        let limits = [self.unmatched, self.ambiguous, self.duplicates, self.null_keys];
        limits.iter().flatten().all(|limit| (0.0..=1.0).contains(&limit.share))
    }
}

impl Guard for Preflight {
    fn name(&self) -> &str {
        "preflight"
    }

    fn evaluate(&self, plan: &PlanView<'_>, _baseline: &Baseline) -> Verdict {
        let counts = plan.counts;
        let looked_up = counts.matched + counts.unmatched + counts.ambiguous;
        for (limit, rows, of, what) in [
            (self.null_keys, counts.null_keys, counts.source_rows, "have no key"),
            (self.duplicates, counts.duplicates, counts.source_rows, "have a key that another row has too"),
            (self.unmatched, counts.unmatched, looked_up, "have no record"),
            (self.ambiguous, counts.ambiguous, looked_up, "have several records"),
        ] {
            let Some(limit) = limit else { continue };
            if rows > limit.rows && rows as f64 > limit.share * of as f64 {
                let (most, share) = (limit.rows, limit.share * 100.0);
                let reason = format!("{rows} of {of} rows {what}, at most {most} or {share:.1} % are allowed");
                return Verdict::HoldRun { reason };
            }
        }
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Counts;

    #[test]
    fn f21_f22_f45_thresholds_need_both_the_number_and_the_share() {
        let all = Preflight::new()
            .at_most_unmatched(2, 0.5)
            .at_most_ambiguous(0, 0.0)
            .at_most_duplicates(2, 0.1)
            .at_most_null_keys(1, 0.0);
        let of = |unmatched, ambiguous, duplicates, null_keys| Counts {
            source_rows: 100,
            matched: 3,
            unmatched,
            ambiguous,
            duplicates,
            null_keys,
            ..Counts::default()
        };
        for (counts, held) in [
            (of(3, 0, 0, 0), false),
            (of(4, 0, 0, 0), true),
            (of(0, 1, 0, 0), true),
            (of(0, 0, 10, 0), false),
            (of(0, 0, 11, 0), true),
            (of(0, 0, 0, 1), false),
            (of(0, 0, 0, 2), true),
        ] {
            let view = PlanView { counts: &counts, field_changes: &[], known_keys: 0 };
            assert_eq!(all.evaluate(&view, &Baseline::default()) != Verdict::Pass, held, "{counts:?}");
            assert_eq!(Preflight::new().evaluate(&view, &Baseline::default()), Verdict::Pass);
        }
        assert!(all.is_sound() && !all.at_most_unmatched(0, 1.5).is_sound());
    }
}
