//! CPU time, peak memory and medians.
//!
//! Benches share their machine with other work, so CPU seconds count and wall time is only shown beside them.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

fn clock(id: ClockId) -> Duration {
    let now = clock_gettime(id);
    let secs = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(now.tv_nsec).unwrap_or_default();
    Duration::new(secs, nanos)
}

/// CPU time (user and system) of the calling thread.
#[must_use]
pub fn thread_cpu() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

/// CPU time (user and system) of the whole process.
#[must_use]
pub fn process_cpu() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

/// What one measured section cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// CPU seconds of the process.
    pub cpu_s: f64,
    /// Seconds on the wall.
    pub wall_s: f64,
}

/// Runs `work` and measures CPU and wall time of the process meanwhile.
pub fn measure<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    let (cpu, wall) = (process_cpu(), Instant::now());
    let out = work();
    let cost = Cost { cpu_s: (process_cpu() - cpu).as_secs_f64(), wall_s: wall.elapsed().as_secs_f64() };
    (out, cost)
}

/// Median nanoseconds of CPU a single operation takes, where one call of `round` does `ops` of them.
///
/// The first call warms up and is not counted.
pub fn ns_per_op(repeats: usize, ops: usize, mut round: impl FnMut()) -> f64 {
    round();
    let samples = (0..repeats).map(|_| {
        let start = thread_cpu();
        round();
        (thread_cpu() - start).as_secs_f64() * 1e9 / ops as f64
    });
    median(samples.collect())
}

/// The median; of an even number of samples the mean of the middle two; 0 for none.
#[must_use]
pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    let n = samples.len();
    match n {
        0 => 0.0,
        n if n % 2 == 1 => samples[n / 2],
        n => f64::midpoint(samples[n / 2 - 1], samples[n / 2]),
    }
}

fn status_mib(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Peak resident memory of the process in MiB since it started or since [`reset_peak_rss`]; 0 where `/proc` is absent.
#[must_use]
pub fn peak_rss_mib() -> f64 {
    status_mib("VmHWM")
}

/// Resident memory of the process in MiB now; 0 where `/proc` is absent.
#[must_use]
pub fn rss_mib() -> f64 {
    status_mib("VmRSS")
}

/// Lets the peak of [`peak_rss_mib`] start again from the present value. Does nothing where the system refuses.
pub fn reset_peak_rss() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
