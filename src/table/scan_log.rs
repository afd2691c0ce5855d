//! [`ScanLog`]: which scans belong to the session's last statement, so that `tarsql_errors()` can tell about them.
//!
//! A statement is planned, and may then be run. Its scans find each other by the instant at which the engine took up the
//! statement, which is the same for all of them. A plan that is only shown (EXPLAIN) does not count; a statement does
//! as soon as the first of its scans begins to read, or fails before it could. Of several statements at once it is the
//! one that began last.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use chrono::{DateTime, Utc};
use datafusion::catalog::Session;
use datafusion::error::DataFusionError;

use crate::error::Error;
use crate::report::{ListingReport, ScanReport};

/// The statements of one session: those that are planned, and the last one that ran. It keeps the reports of that one only.
#[derive(Debug, Default)]
pub(super) struct ScanLog(Mutex<Statements>);

#[derive(Debug, Default)]
struct Statements {
    /// As many as there are plans that somebody holds and that never ran.
    planned: Vec<Weak<StatementScans>>,
    last: Option<Arc<StatementScans>>,
}

/// The tar scans of one statement.
#[derive(Debug)]
pub(super) struct StatementScans {
    log: Weak<ScanLog>,
    /// When the engine took the statement up.
    taken_up: Option<DateTime<Utc>>,
    begun: AtomicBool,
    reports: Mutex<Vec<Arc<ScanReport>>>,
}

impl ScanLog {
    /// The log of `session`, if tarsql is registered with it.
    pub(super) fn of(session: &dyn Session) -> Option<Arc<Self>> {
        session.config().get_extension::<Self>()
    }

    /// Puts a scan that is being planned into the statement that `session` works on.
    pub(super) fn plan(session: &dyn Session, report: &Arc<ScanReport>) -> Option<Arc<StatementScans>> {
        let log = Self::of(session)?;
        Some(log.add(session.execution_props().query_execution_start_time, report))
    }

    /// Notes the error that ended a statement of `session` before a scan could begin.
    pub(super) fn fail(session: &dyn Session, locator: &str, error: &Error) {
        let report = Arc::new(ScanReport::new(ListingReport::default(), 0));
        report.fail(error.archive().unwrap_or(locator), error);
        if let Some(statement) = Self::plan(session, &report) {
            statement.begin();
        }
    }

    /// [`ScanLog::fail`] for an error that the engine has wrapped, if it is ours.
    pub(super) fn fail_wrapped(session: &dyn Session, locator: &str, error: &DataFusionError) {
        if let DataFusionError::External(error) = error.find_root()
            && let Some(error) = error.downcast_ref::<Error>()
        {
            Self::fail(session, locator, error);
        }
    }

    /// The reports of the last statement, in the order in which its scans were planned.
    pub(super) fn last(&self) -> Vec<Arc<ScanReport>> {
        let last = self.lock().last.clone();
        last.map_or_else(Vec::new, |statement| statement.lock().clone())
    }

    fn add(self: &Arc<Self>, taken_up: Option<DateTime<Utc>>, report: &Arc<ScanReport>) -> Arc<StatementScans> {
        let mut statements = self.lock();
        let mut planned: Vec<_> = statements.planned.iter().filter_map(Weak::upgrade).collect();
        // A plan that is made again from what was taken up once, and has run, is another statement.
        planned.retain(|statement| !statement.begun.load(Ordering::Relaxed));
        let known = planned.iter().position(|statement| statement.taken_up == taken_up);
        let place = known.unwrap_or_else(|| {
            planned.push(Arc::new(StatementScans::new(Arc::downgrade(self), taken_up)));
            planned.len() - 1
        });
        let statement = Arc::clone(&planned[place]);
        statements.planned = planned.iter().map(Arc::downgrade).collect();
        statement.lock().push(Arc::clone(report));
        statement
    }

    fn lock(&self) -> MutexGuard<'_, Statements> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StatementScans {
    fn new(log: Weak<ScanLog>, taken_up: Option<DateTime<Utc>>) -> Self {
        Self { log, taken_up, begun: AtomicBool::new(false), reports: Mutex::default() }
    }

    /// One of the scans begins: from now on this is the last statement. Only the first one's beginning counts.
    pub(super) fn begin(self: &Arc<Self>) {
        if !self.begun.swap(true, Ordering::Relaxed)
            && let Some(log) = self.log.upgrade()
        {
            log.lock().last = Some(Arc::clone(self));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<ScanReport>>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Arc<ScanReport> {
        Arc::new(ScanReport::new(ListingReport::default(), 1))
    }

    #[test]
    fn only_the_last_statement_is_kept() {
        let log = Arc::new(ScanLog::default());
        let mut first = None;
        for second in 0..5_000 {
            let report = report();
            let taken_up = DateTime::from_timestamp(second, 0);
            let statement = log.add(taken_up, &report);
            log.add(taken_up, &report);
            // Every other one is only explained.
            if second % 2 == 0 {
                statement.begin();
            }
            first.get_or_insert(Arc::downgrade(&report));
        }
        assert_eq!(log.last().len(), 2, "both scans of the last statement that ran");
        assert!(log.lock().planned.len() <= 2, "{}", log.lock().planned.len());
        assert!(first.is_some_and(|first| first.upgrade().is_none()), "the first report is gone");
    }

    #[test]
    fn statements_at_once_keep_their_scans_apart() {
        let log = Arc::new(ScanLog::default());
        let [a, b] = [1, 2].map(|second| DateTime::from_timestamp(second, 0));
        let reports = [report(), report(), report(), report()];
        let first = log.add(a, &reports[0]);
        let second = log.add(b, &reports[1]);
        log.add(a, &reports[2]);
        second.begin();
        first.begin();
        second.begin();
        let last = log.last();
        assert_eq!(last.len(), 2);
        assert!(Arc::ptr_eq(&last[0], &reports[0]) && Arc::ptr_eq(&last[1], &reports[2]));
        // The same statement, planned and run once more.
        log.add(a, &reports[3]).begin();
        assert!(log.last().len() == 1 && Arc::ptr_eq(&log.last()[0], &reports[3]));
    }
}
