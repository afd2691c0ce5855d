//! What a plan's tar scans have done: for progress while it runs, for metrics and messages afterwards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::datasource::sink::DataSinkExec;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;

use crate::metrics::{ArchiveTime, PartitionTime, RunReport, Written};
use crate::report::ScanReport;
use crate::sink::{ParquetSinkExec, PublishExec};
use crate::stats::Stats;
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
        progress.bytes_total = progress.bytes_total.saturating_add(report.listing.bytes);
        progress.rows += totals.rows.value();
    }
    (!reports.is_empty()).then_some(progress)
}

/// Puts what the tar scans of `plan` have done since `started`, and how long its writer encoded, into `run`.
///
/// ```
/// use std::time::Instant;
///
/// use datafusion::prelude::SessionContext;
/// use tarsql::metrics::RunReport;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ctx = SessionContext::new();
/// tarsql::register(&ctx)?;
/// let sql = "SELECT path FROM read_tar('testdata/opensky/states/**/*.csv.tar')";
/// let (started, mut run) = (Instant::now(), RunReport::new(sql));
/// let plan = ctx.sql(sql).await?.create_physical_plan().await?;
/// let batches = datafusion::physical_plan::collect(std::sync::Arc::clone(&plan), ctx.task_ctx()).await?;
/// tarsql::measure(&plan, started, &mut run);
/// run.duration_secs = started.elapsed().as_secs_f64();
/// assert_eq!(run.scan.rows as usize, batches.iter().map(|batch| batch.num_rows()).sum::<usize>());
/// assert_eq!(run.completeness, Some(1.0));
/// # Ok(())
/// # }
/// ```
pub fn measure(plan: &Arc<dyn ExecutionPlan>, started: Instant, run: &mut RunReport) {
    let totals = Stats::default();
    for report in reports(plan) {
        run.listing.files += report.listing.files;
        run.listing.bytes = run.listing.bytes.saturating_add(report.listing.bytes);
        run.listing.duration_secs += report.listing.duration.as_secs_f64();
        totals.merge(&report.totals());
        add_partitions(&report, started, &mut run.partitions);
        for (kind, count) in report.skipped_by_kind() {
            *run.skipped.entry(kind).or_default() += count;
        }
        run.archives.extend(
            report
                .slowest_archives()
                .into_iter()
                .map(|(duration, archive)| ArchiveTime { archive, duration_secs: duration.as_secs_f64() }),
        );
    }
    add_scan(&totals, run);
    run.scan.encode_secs += encode_secs(plan);
    run.written = find_publish(plan).map(PublishExec::published).unwrap_or_default();
    let ended = totals.archives_finished.value() + totals.archives_skipped.value();
    run.unfinished_archives = run.listing.files.saturating_sub(ended);
    let length = totals.length_bytes.value();
    // A scan that a LIMIT or an error ended says nothing about what it did not come to.
    run.completeness = (ended == run.listing.files && length > 0).then(|| totals.tar_bytes() as f64 / length as f64);
}

fn add_partitions(report: &ScanReport, started: Instant, partitions: &mut Vec<PartitionTime>) {
    for (index, partition) in report.partitions.iter().enumerate() {
        let begun = report.started(index).map(|begun| begun.saturating_duration_since(started));
        partitions.push(PartitionTime {
            partition: partitions.len() as u64,
            start_secs: begun.unwrap_or_default().as_secs_f64(),
            busy_secs: seconds(partition.busy_nanos.value()),
            rows: partition.stats.rows.value(),
            bytes: partition.stats.bytes_fetched.value(),
        });
    }
}

fn add_scan(totals: &Stats, run: &mut RunReport) {
    let scan = &mut run.scan;
    scan.rows += totals.rows.value();
    scan.bytes_fetched += totals.bytes_fetched.value();
    scan.bytes_decompressed += totals.bytes_decompressed.value();
    scan.members_scanned += totals.members_scanned.value();
    scan.members_skipped += totals.members_skipped.value();
    scan.bad_rows += totals.bad_rows.value();
    scan.errors += totals.errors.value();
    scan.requests += totals.requests.value();
    scan.retries += totals.retries.value();
    scan.resumed_bytes += totals.resumed_bytes.value();
    scan.fetch_wait_secs += seconds(totals.fetch_wait_nanos.value());
    scan.decompress_secs += seconds(totals.decompress_nanos.value());
    scan.decode_secs += seconds(totals.decode_nanos.value());
}

/// What the COPY or INSERT that `plan` is has written so far, published or not; `None` where it is neither. A format that
/// does not count its rows while it writes says them at the end.
pub fn written(plan: &Arc<dyn ExecutionPlan>) -> Option<Written> {
    find_publish(plan).map(PublishExec::written)
}

fn find_publish(plan: &Arc<dyn ExecutionPlan>) -> Option<&PublishExec> {
    plan.downcast_ref().or_else(|| plan.children().into_iter().find_map(find_publish))
}

/// Time that the sinks of `plan` say they computed.
fn encode_secs(plan: &Arc<dyn ExecutionPlan>) -> f64 {
    let own = match plan.is::<DataSinkExec>() || plan.is::<ParquetSinkExec>() {
        true => plan.metrics().and_then(|metrics| metrics.elapsed_compute()).unwrap_or(0),
        false => 0,
    };
    seconds(own as u64) + plan.children().into_iter().map(encode_secs).sum::<f64>()
}

fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}
