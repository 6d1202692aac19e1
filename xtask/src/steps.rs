//! Running steps in order, and telling how long each took.

use std::time::Duration;

use crate::Outcome;

/// One step of a task.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) run: fn() -> Outcome,
}

/// Runs `steps` until one fails, and prints a summary either way.
pub(crate) fn run(task: &str, steps: &[Step]) -> Outcome {
    let mut times = Vec::with_capacity(steps.len());
    let mut failure = None;
    for (i, step) in steps.iter().enumerate() {
        println!("\n=== {} ({} of {}): {}", step.name, i + 1, steps.len(), step.what);
        let (outcome, time) = timed(step.run);
        times.push((step.name, time, outcome.is_ok()));
        if let Err(message) = outcome {
            failure = Some((step.name, message));
            break;
        }
    }
    println!("\n=== summary");
    let all: Duration = times.iter().map(|(_, time, _)| *time).sum();
    for (name, time, ok) in &times {
        println!("{name:<9} {:>7.1} s  {}", time.as_secs_f64(), if *ok { "ok" } else { "FAILED" });
    }
    println!("{:<9} {:>7.1} s", "all", all.as_secs_f64());
    match failure {
        None => Ok(()),
        Some((name, message)) => {
            Err(format!("\n{task} failed in step {name}: {message}\nagain only this step: cargo xtask {task} {name}"))
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a tool that measures itself; nothing tests its clock")]
fn timed(work: fn() -> Outcome) -> (Outcome, Duration) {
    let start = std::time::Instant::now();
    let outcome = work();
    (outcome, start.elapsed())
}
