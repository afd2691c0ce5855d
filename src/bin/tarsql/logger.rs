//! What the library says while it works: that it waits for a network that fails, and with `--verbose` every request.
//!
//! Only tarsql's own records are shown. Those of other crates may hold URLs with signatures, or worse.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::args::Args;
use crate::console;
use crate::failure::one_line;

/// Between two lines about waiting: hundreds of requests may wait at once.
const WARNING_INTERVAL: Duration = Duration::from_secs(3);

/// The crate whose records are shown: the library and this program have the same name.
const TARGET: &str = env!("CARGO_CRATE_NAME");

/// Shows the records that the command line asks for, from now on.
pub(crate) fn install(args: &Args) {
    let level = match (args.quiet, args.verbose) {
        (true, _) => LevelFilter::Off,
        (false, true) => LevelFilter::Debug,
        (false, false) => LevelFilter::Warn,
    };
    static LOGGER: OnceLock<Logger> = OnceLock::new();
    let logger = LOGGER.get_or_init(|| Logger { level, warnings: Mutex::new(Warnings::default()) });
    // It fails where there is a logger already, which nobody but us would set.
    if log::set_logger(logger).is_ok() {
        log::set_max_level(level);
    }
}

struct Logger {
    level: LevelFilter,
    warnings: Mutex<Warnings>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level && is_ours(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = one_line(&record.args().to_string());
        if self.level > Level::Warn {
            return console::tell(&line);
        }
        let more = self.warnings.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
        match more {
            None => {}
            Some(0) => console::tell(&line),
            Some(more) => console::tell(&format!("{line} (and {more} more)")),
        }
    }

    fn flush(&self) {}
}

fn is_ours(target: &str) -> bool {
    target.strip_prefix(TARGET).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Lets through one line in a while, and counts the others.
#[derive(Default)]
struct Warnings {
    shown: Option<Instant>,
    hidden: u64,
}

impl Warnings {
    /// How many were hidden since the last one, if this one is to be shown.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.shown.is_some_and(|shown| now.saturating_duration_since(shown) < WARNING_INTERVAL) {
            self.hidden += 1;
            return None;
        }
        self.shown = Some(now);
        Some(std::mem::take(&mut self.hidden))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_crates_are_not_shown() {
        for (target, want) in [
            ("tarsql", true),
            ("tarsql::store::retry", true),
            ("tarsql_other", false),
            ("object_store::client::retry", false),
            ("hyper_util::client", false),
            ("", false),
        ] {
            assert_eq!(is_ours(target), want, "{target}");
        }
    }

    #[test]
    fn a_storm_of_warnings_is_a_line_in_a_while() {
        let (start, mut warnings) = (Instant::now(), Warnings::default());
        let seen: Vec<Option<u64>> =
            [0, 1, 2_999, 3_000, 3_001, 9_000].map(|ms| warnings.admit(start + Duration::from_millis(ms))).to_vec();
        assert_eq!(seen, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
