//! A run: one statement as it is recorded, from its text to how it ended. The metrics file, the summary of what was
//! skipped and the warnings of a scan all come through here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::physical_plan::ExecutionPlan;
use datafusion::sql::parser::Statement as ParsedStatement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use tarsql::metrics::{self, RunReport, UsageMeter};
use tarsql::{Incident, ScanReport, Stats};

use crate::failure::{Failure, one_line};
use crate::session::Session;

/// Lines about single incidents that are shown; the rest is counted.
const INCIDENTS_SHOWN: usize = 10;

/// Ends the lines that say how many there were of something.
const WHERE_THE_LIST_IS: &str = "SELECT * FROM tarsql_errors() has the list";

/// A statement that runs or has run.
pub(crate) struct Run<'a> {
    pub(crate) session: &'a Session,
    pub(crate) started: Instant,
    /// What was executed: not there while planning, nor for statements that are done once planned.
    pub(crate) plan: Option<Arc<dyn ExecutionPlan>>,
    /// Rows returned, or written by COPY and INSERT.
    pub(crate) rows: u64,
    /// Whether it is one of those that are measured; what can't be parsed may have been.
    pub(crate) is_measured: bool,
    writes: bool,
    report: RunReport,
    usage: UsageMeter,
    resent_before: u64,
}

impl<'a> Run<'a> {
    pub(crate) fn begin(session: &'a Session, sql: &str) -> Self {
        Self {
            session,
            started: Instant::now(),
            plan: None,
            rows: 0,
            is_measured: true,
            writes: false,
            report: RunReport { label: session.label.clone(), ..RunReport::new(sql) },
            usage: UsageMeter::start(),
            resent_before: session.resent(),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Learns what kind of statement it is.
    pub(crate) fn parsed(&mut self, statement: &ParsedStatement) {
        (self.is_measured, self.writes) = match statement {
            ParsedStatement::CopyTo(_) => (true, true),
            ParsedStatement::Statement(statement) => match statement.as_ref() {
                SqlStatement::Query(_) => (true, false),
                SqlStatement::Insert(_) => (true, true),
                _ => (false, false),
            },
            ParsedStatement::Explain(explain) => (explain.options.analyze, false),
            _ => (false, false),
        };
    }

    /// Appends the run to the metrics file, if there is one. A failed run is a run too; what is none may have named the
    /// file, which is looked at before there is one.
    pub(crate) fn record(&mut self, result: Result<(), &Failure>) -> Result<(), Failure> {
        let Some(file) = self.metrics_file() else { return Ok(()) };
        if !self.is_measured {
            return self.session.check_metrics(file);
        }
        self.measure(result);
        append(&file, &self.report)
    }

    /// The flag's word, then that of `SET tarsql.metrics_file`.
    fn metrics_file(&self) -> Option<PathBuf> {
        self.session.metrics.clone().or_else(|| self.session.config().metrics_file().map(PathBuf::from))
    }

    fn measure(&mut self, result: Result<(), &Failure>) {
        self.report.duration_secs = self.elapsed().as_secs_f64();
        self.report.usage = self.usage.finish();
        if let Some(plan) = &self.plan {
            tarsql::measure(plan, self.started, &mut self.report);
        }
        // The scans' own are there; those of writers are counted by their stores, which statements share.
        self.report.scan.retries += self.session.resent() - self.resent_before;
        if self.writes && result.is_ok() {
            // An INSERT into a table in memory writes no files.
            self.report.written.rows = self.rows;
        }
        self.report.error = match result {
            Ok(()) | Err(Failure::ClosedPipe) => None,
            Err(failure) => failure.message(),
        };
    }

    /// One line about what `on_error` and `on_unreachable` left out; the exit status becomes 3 then.
    pub(crate) fn skipped(&self) -> Option<String> {
        let errors = self.totals().errors.value();
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        for (kind, count) in self.reports().iter().flat_map(|report| report.skipped_by_kind()) {
            *kinds.entry(kind).or_default() += count;
        }
        let kinds = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ");
        let things = if errors == 1 { "archive or member was" } else { "archives or members were" };
        (errors > 0).then(|| format!("{errors} {things} left out, in whole or in part ({kinds}): {WHERE_THE_LIST_IS}"))
    }

    /// Lines about what was odd or left out, and about rows that `on_bad_row` dropped or mended.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let (incidents, left_out) = self.incidents();
        let mut lines: Vec<String> =
            incidents.iter().take(INCIDENTS_SHOWN).map(|incident| one_line(&incident.message)).collect();
        let hidden = incidents.len().saturating_sub(INCIDENTS_SHOWN) as u64 + left_out;
        if hidden > 0 {
            lines.push(format!("{hidden} more of these are not shown: {WHERE_THE_LIST_IS}"));
        }
        let bad_rows = self.totals().bad_rows.value();
        if bad_rows > 0 {
            let rows = if bad_rows == 1 { "row" } else { "rows" };
            let were = if bad_rows == 1 { "was" } else { "were" };
            lines.push(format!(
                "{bad_rows} {rows} did not fit and {were} dropped or mended (on_bad_row): {WHERE_THE_LIST_IS}"
            ));
        }
        lines
    }

    /// Lines about member patterns that name nothing: there are no rows then, and that may not be what was meant.
    pub(crate) fn unmatched(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for report in self.reports() {
            let archives = report.listing.files;
            let were = if archives == 1 { "archive was" } else { "archives were" };
            lines.extend(report.unmatched().map(|locator| {
                one_line(&format!(
                    "no member matches '{locator}' ({archives} {were} read): check the pattern, case counts"
                ))
            }));
        }
        // As where a table is joined with itself.
        lines.dedup();
        lines
    }

    /// Those that the reports have kept, and how many more there were.
    fn incidents(&self) -> (Vec<Incident>, u64) {
        let (mut incidents, mut left_out) = (Vec::new(), 0);
        for report in self.reports() {
            let (kept, more) = report.incidents();
            incidents.extend(kept);
            left_out += more;
        }
        (incidents, left_out)
    }

    fn reports(&self) -> Vec<Arc<ScanReport>> {
        self.plan.as_ref().map(tarsql::reports).unwrap_or_default()
    }

    fn totals(&self) -> Stats {
        let totals = Stats::default();
        self.reports().iter().for_each(|report| totals.merge(&report.totals()));
        totals
    }
}

fn append(file: &Path, report: &RunReport) -> Result<(), Failure> {
    metrics::append(file, &report.records())
        .map_err(|error| Failure::Statement { place: None, message: error.to_string() })
}
