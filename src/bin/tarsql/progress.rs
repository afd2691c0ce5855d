//! The progress bar: on stderr, for those who look at one, and gone before anything else is printed there.

use std::sync::Arc;
use std::time::Duration;

use datafusion::common::runtime::SpawnedTask;
use datafusion::physical_plan::ExecutionPlan;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{MissedTickBehavior, interval_at};

use crate::console;

/// How often the bar moves.
const TICK: Duration = Duration::from_millis(200);

/// Statements that end sooner never show one.
const DELAY: Duration = Duration::from_millis(500);

/// How far a statement has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Observation {
    pub(crate) bytes_done: u64,
    /// Not known before the listing is done.
    pub(crate) bytes_total: Option<u64>,
    pub(crate) rows: u64,
}

/// A bar that moves by itself until it is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
    _mover: SpawnedTask<()>,
}

impl Progress {
    /// Starts a bar for a plan that is being executed. Needs a tokio runtime around it.
    pub(crate) fn of(plan: &Arc<dyn ExecutionPlan>) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let mover = SpawnedTask::spawn(keep_moving(bar.clone(), Arc::clone(plan)));
        console::set_bar(Some(bar.clone()));
        Self { bar, _mover: mover }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        console::set_bar(None);
    }
}

async fn keep_moving(bar: ProgressBar, plan: Arc<dyn ExecutionPlan>) {
    let mut ticks = interval_at(tokio::time::Instant::now() + DELAY, TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut has_total = None;
    while !bar.is_finished() {
        ticks.tick().await;
        let seen = observe(&plan);
        if has_total != Some(seen.bytes_total.is_some()) {
            has_total = Some(seen.bytes_total.is_some());
            bar.set_style(style(seen.bytes_total.is_some()));
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        if let Some(total) = seen.bytes_total {
            bar.set_length(total);
        }
        let read = match (seen.bytes_done, seen.bytes_total) {
            (1.., None) => format!("{}, {} rows", HumanBytes(seen.bytes_done), HumanCount(seen.rows)),
            _ => format!("{} rows", HumanCount(seen.rows)),
        };
        bar.set_message(match tarsql::written(&plan) {
            Some(written) if written.bytes > 0 => {
                format!("{read}, {} written in {} rows", HumanBytes(written.bytes), HumanCount(written.rows))
            }
            _ => read,
        });
        bar.set_position(seen.bytes_done);
        bar.tick();
    }
}

fn style(has_total: bool) -> ProgressStyle {
    let template = match has_total {
        true => "{percent:>3}% [{bar:30}] {binary_bytes} of {binary_total_bytes}, {msg}, {elapsed}, {eta} left",
        false => "{spinner} {msg}, {elapsed}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

/// Reads the metrics of the leaves of a plan: they can be read at any time while it runs.
pub(crate) fn observe(plan: &Arc<dyn ExecutionPlan>) -> Observation {
    if let Some(tarsql::Progress { bytes_done, bytes_total, rows }) = tarsql::progress(plan) {
        return Observation { bytes_done, bytes_total: Some(bytes_total).filter(|&bytes| bytes > 0), rows };
    }
    let children = plan.children();
    if let [_, ..] = children[..] {
        return children.into_iter().map(observe).fold(Observation::default(), Observation::add);
    }
    let metrics = plan.metrics().unwrap_or_default();
    let count = |value: Option<usize>| value.map_or(0, |value| value as u64);
    Observation {
        bytes_done: count(metrics.sum_by_name("bytes_scanned").map(|value| value.as_usize())),
        bytes_total: None,
        rows: count(metrics.output_rows()),
    }
}

impl Observation {
    fn add(self, other: Self) -> Self {
        Self {
            bytes_done: self.bytes_done + other.bytes_done,
            bytes_total: match (self.bytes_total, other.bytes_total) {
                (Some(one), Some(two)) => Some(one + two),
                (one, two) => one.or(two),
            },
            rows: self.rows + other.rows,
        }
    }
}
