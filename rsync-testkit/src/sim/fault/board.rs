//! A plan in force: counts per rule, and its replacement at run time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::apply::Decision;
use super::{FaultAction, FaultPlan, FaultRule};
use crate::sim::SimError;

/// How often a rule met a request and acted on it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FaultReport {
    /// The rule's name, or `rule N`.
    pub name: String,
    /// Requests that matched method and path.
    pub matched: u64,
    /// Requests on which the rule acted.
    pub fired: u64,
    /// The rule itself.
    pub rule: FaultRule,
}

#[derive(Debug)]
struct Armed {
    rule: FaultRule,
    matched: u64,
    fired: u64,
}

/// Handle on the plan in force. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    armed: Arc<Mutex<Vec<Armed>>>,
}

impl Faults {
    /// Replaces the plan; all counts start again from zero.
    ///
    /// # Errors
    /// [`SimError::Invalid`] when a rule cannot work; the old plan stays in force then.
    pub fn set(&self, plan: FaultPlan) -> Result<(), SimError> {
        plan.check()?;
        *self.lock() = plan.rules.into_iter().map(|rule| Armed { rule, matched: 0, fired: 0 }).collect();
        Ok(())
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// State of every rule, in order.
    pub fn report(&self) -> Vec<FaultReport> {
        let armed = self.lock();
        armed
            .iter()
            .enumerate()
            .map(|(i, a)| FaultReport {
                name: name_of(i, &a.rule),
                matched: a.matched,
                fired: a.fired,
                rule: a.rule.clone(),
            })
            .collect()
    }

    /// How often the rules of this name fired.
    pub fn fired(&self, name: &str) -> u64 {
        self.report().iter().filter(|r| r.name == name).map(|r| r.fired).sum()
    }

    /// Names of rules that never fired: what a test of faults must find empty.
    pub fn never_fired(&self) -> Vec<String> {
        self.report().into_iter().filter(|r| r.fired == 0).map(|r| r.name).collect()
    }

    pub(crate) fn decide(&self, method: &str, path: &str) -> Decision {
        let mut decision = Decision::default();
        for armed in self.lock().iter_mut() {
            if !matches(&armed.rule, method, path) {
                continue;
            }
            armed.matched += 1;
            if !armed.rule.on.requests.selects(armed.matched) {
                continue;
            }
            if !armed.rule.action.is_delay() && decision.action.is_some() {
                continue;
            }
            armed.fired += 1;
            match &armed.rule.action {
                FaultAction::DelayBefore { delay_ms } => decision.delay_before_ms += delay_ms,
                FaultAction::DelayAfter { delay_ms } => decision.delay_after_ms += delay_ms,
                other => decision.action = Some(other.clone()),
            }
        }
        decision
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Armed>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name_of(index: usize, rule: &FaultRule) -> String {
    rule.name.clone().unwrap_or_else(|| format!("rule {index}"))
}

fn matches(rule: &FaultRule, method: &str, path: &str) -> bool {
    let on = &rule.on;
    on.method.as_ref().is_none_or(|m| m.eq_ignore_ascii_case(method))
        && on.path_contains.as_ref().is_none_or(|part| path.contains(part.as_str()))
        && on.path_ends_with.as_ref().is_none_or(|end| path.ends_with(end.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::fault::Requests;

    #[test]
    fn requests_are_selected_by_ordinal() {
        for (requests, fires_on) in [
            (Requests::All, vec![1, 2, 3, 4, 5, 6]),
            (Requests::Nth(2), vec![2]),
            (Requests::EveryNth(3), vec![3, 6]),
            (Requests::First(2), vec![1, 2]),
        ] {
            let faults = Faults::default();
            let rule = FaultRule::new(FaultAction::status(503)).on_requests(requests).on_path_ending("/upsert");
            faults.set(FaultPlan::new([rule])).expect("plan is valid");
            let fired: Vec<u64> =
                (1..=6).filter(|_| faults.decide("POST", "/a/batch/upsert").action.is_some()).collect();
            assert_eq!(fired, fires_on, "{requests:?}");
            faults.decide("POST", "/a/batch/read");
            assert_eq!(faults.report()[0].matched, 6, "other paths are not counted");
        }
    }

    #[test]
    fn delays_add_up_and_the_first_other_action_wins() {
        let faults = Faults::default();
        faults
            .set(FaultPlan::new([
                FaultRule::new(FaultAction::DelayBefore { delay_ms: 5 }),
                FaultRule::new(FaultAction::status(500)).named("first"),
                FaultRule::new(FaultAction::status(501)).named("second"),
                FaultRule::new(FaultAction::DelayBefore { delay_ms: 6 }).on_method("post"),
            ]))
            .expect("plan is valid");
        let decision = faults.decide("POST", "/");
        assert_eq!(decision.delay_before_ms, 11);
        assert_eq!(decision.action, Some(FaultAction::status(500)));
        assert_eq!(faults.never_fired(), vec!["second".to_owned()]);
    }

    #[test]
    fn a_plan_that_cannot_work_is_refused_with_every_problem() {
        let plan = r#"{"rules":[
            {"match":{"requests":{"nth":0}},"action":{"respond":{"status":42}}},
            {"match":{"method":"G ET"},"action":{"redirect":{"status":200,"location":"/x"}}}]}"#;
        let error = FaultPlan::from_json(plan).expect_err("two bad rules").to_string();
        for part in
            ["rules[0].match.requests", "rules[0].action.status", "rules[1].match.method", "rules[1].action.status"]
        {
            assert!(error.contains(part), "{part} missing in: {error}");
        }
        assert!(FaultPlan::from_json(r#"{"rules":[{"action":{"respond":{"status":500,"stauts":1}}}]}"#).is_err());
    }
}
