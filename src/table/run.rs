//! What a plan's tar scans have done: for progress while it runs, for metrics and messages afterwards.

use std::sync::Arc;

use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;

use crate::report::ScanReport;
use crate::table::TarSource;

/// The reports of all tar scans in `plan`, from left to right.
pub fn reports(plan: &Arc<dyn ExecutionPlan>) -> Vec<Arc<ScanReport>> {
    let mut found = Vec::new();
    collect(plan, &mut found);
    found
}

fn collect(plan: &Arc<dyn ExecutionPlan>, found: &mut Vec<Arc<ScanReport>>) {
    if let Some(scan) = plan.downcast_ref::<DataSourceExec>()
        && let Some((_, source)) = scan.downcast_to_file_source::<TarSource>()
    {
        found.push(Arc::clone(source.report()));
    }
    for child in plan.children() {
        collect(child, found);
    }
}

/// How far the tar scans of a plan are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of archives that were fetched or hopped over.
    pub bytes_done: u64,
    /// Bytes of all archives.
    pub bytes_total: u64,
    /// Rows that came out.
    pub rows: u64,
}

/// How far the tar scans of `plan` are; `None` where it has none.
pub fn progress(plan: &Arc<dyn ExecutionPlan>) -> Option<Progress> {
    let reports = reports(plan);
    let mut progress = Progress::default();
    for report in &reports {
        let totals = report.totals();
        progress.bytes_done += totals.bytes_fetched.value() + totals.bytes_hopped.value();
        progress.bytes_total += report.listing.bytes;
        progress.rows += totals.rows.value();
    }
    (!reports.is_empty()).then_some(progress)
}
