//! What this process used: processor time and memory, as the operating system counts them.

/// What was used during a run; none where the system does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// User and system time of all threads, in seconds.
    pub cpu_secs: Option<f64>,
    /// The most memory that was resident at once, in bytes.
    pub memory_peak_bytes: Option<u64>,
}

/// Measures the use of the whole process from one moment to another. Runs at the same time see each other's.
///
/// ```
/// let meter = tarsql::metrics::UsageMeter::start();
/// let usage = meter.finish();
/// assert!(usage.cpu_secs.is_none_or(|secs| secs >= 0.0));
/// ```
#[derive(Debug)]
pub struct UsageMeter {
    cpu_secs_before: Option<f64>,
}

impl UsageMeter {
    /// Begins to measure. On Linux this resets the process's own high-water mark of memory (`VmHWM`), so that the peak
    /// is that of the run; elsewhere it is that of the process so far.
    pub fn start() -> Self {
        system::reset_memory_peak();
        Self { cpu_secs_before: system::cpu_secs() }
    }

    /// What was used since the start.
    pub fn finish(&self) -> Usage {
        let since = |now: f64| self.cpu_secs_before.map(|before| (now - before).max(0.0));
        Usage { cpu_secs: system::cpu_secs().and_then(since), memory_peak_bytes: system::memory_peak_bytes() }
    }
}

#[cfg(unix)]
mod system {
    use nix::sys::resource::{UsageWho, getrusage};

    /// "Reset the peak resident set size to the current value" (proc(5)).
    const CLEAR_PEAK: &str = "5";

    /// Linux counts `ru_maxrss` in KiB, Apple in bytes.
    const MAX_RSS_UNIT: u64 = if cfg!(target_vendor = "apple") { 1 } else { 1024 };

    pub(super) fn cpu_secs() -> Option<f64> {
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
        let secs = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        Some(secs(usage.user_time()) + secs(usage.system_time()))
    }

    pub(super) fn reset_memory_peak() {
        if cfg!(target_os = "linux") {
            // Without the right to (in some containers) the peak is that of the whole process: still a bound.
            let _ = std::fs::write("/proc/self/clear_refs", CLEAR_PEAK);
        }
    }

    pub(super) fn memory_peak_bytes() -> Option<u64> {
        high_water_mark().or_else(|| {
            let max_rss = getrusage(UsageWho::RUSAGE_SELF).ok()?.max_rss();
            Some(u64::try_from(max_rss).ok()?.saturating_mul(MAX_RSS_UNIT))
        })
    }

    /// Only Linux has the file.
    fn high_water_mark() -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib.saturating_mul(1024))
    }
}

#[cfg(not(unix))]
mod system {
    pub(super) fn cpu_secs() -> Option<f64> {
        None
    }

    pub(super) fn reset_memory_peak() {}

    pub(super) fn memory_peak_bytes() -> Option<u64> {
        None
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn work_is_seen() {
        let meter = UsageMeter::start();
        // 64 MiB that are touched, and some work.
        let memory = std::hint::black_box(vec![1_u8; 64 << 20]);
        let mut sum = 0_u64;
        for byte in memory.iter().step_by(3) {
            sum = std::hint::black_box(sum.wrapping_mul(31) + u64::from(*byte));
        }
        let usage = meter.finish();
        assert!(usage.cpu_secs.unwrap() > 0.0);
        assert!(usage.memory_peak_bytes.unwrap() > 64 << 20);
    }
}
