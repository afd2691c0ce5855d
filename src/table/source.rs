//! [`TarSource`]: what DataFusion's `DataSourceExec` reads through.
//!
//! It is the one custom leaf that DataFusion deals files to and that a cluster can cut into tasks; so an archive is a
//! `PartitionedFile`, and what we know of it beyond DataFusion's own fields travels as its extension.

use std::fmt::{self, Formatter};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileOpenFuture, FileOpener, FileScanConfig, FileSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder};
use datafusion::physical_plan::{DisplayFormatType, PhysicalExpr};
use datafusion_datasource::projection::{ProjectionOpener, SplitProjection};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;

use crate::crew::Crew;
use crate::member::MemberFormat;
use crate::memory::{Allowance, Memory};
use crate::report::ScanReport;
use crate::scan::{ArchiveScan, Partition, ScanOptions, Selection};
use crate::stats::Stats;
use crate::store::FetchTarget;
use crate::table::ahead::Ahead;
use crate::table::bundle::Bundle;
use crate::table::filter;
use crate::table::memory::Claims;
use crate::table::scan_log::StatementScans;

/// Where fewer rows are wanted, partitions don't share their work.
const SHARED_ROWS_MIN: usize = 1 << 20;

/// Lines that are gathered for a filter at a time, however few rows a LIMIT wants: they lie beside each other. Members do
/// not, and the next one may be far away.
const FILTERED_LINES_MIN: usize = 256;

/// Reads tar archives for a `DataSourceExec`.
#[derive(Clone)]
pub struct TarSource {
    table_schema: TableSchema,
    options: Arc<ScanOptions>,
    projection: SplitProjection,
    filters: Vec<Arc<dyn PhysicalExpr>>,
    batch_size: usize,
    metrics: ExecutionPlanMetricsSet,
    report: Arc<ScanReport>,
    /// Where the session looks for the report afterwards.
    statement: Option<Arc<StatementScans>>,
    memory: Memory,
    claims: Option<Arc<Claims>>,
    crew: Crew,
}

impl TarSource {
    pub(super) fn new(
        table_schema: TableSchema,
        options: Arc<ScanOptions>,
        report: Arc<ScanReport>,
        statement: Option<Arc<StatementScans>>,
    ) -> Self {
        Self {
            projection: SplitProjection::unprojected(&table_schema),
            table_schema,
            options,
            filters: Vec::new(),
            batch_size: 0,
            metrics: ExecutionPlanMetricsSet::new(),
            report,
            statement,
            memory: Memory::default(),
            claims: None,
            crew: Crew::alone(),
        }
    }

    /// Takes what it holds from `memory`, and has its batches accounted by `claims`.
    pub(super) fn with_memory(self, (memory, claims): (Memory, Option<Claims>)) -> Self {
        Self { memory, claims: claims.map(Arc::new), ..self }
    }

    /// Has its partitions share so many cores.
    pub(super) fn with_cores(self, cores: usize) -> Self {
        Self { crew: Crew::of(cores), ..self }
    }

    /// What the scan has done so far; shared with all clones of this source.
    pub fn report(&self) -> &Arc<ScanReport> {
        &self.report
    }

    /// `limit`: rows after which nobody reads on; a batch need not gather more.
    fn selection(&self, limit: Option<usize>) -> DataFusionResult<Selection> {
        let (header_filter, row_filter) = filter::split(&self.filters, self.table_schema.file_schema())?;
        let projection = self.projection.file_indices.clone();
        let filters_lines = self.options.format == MemberFormat::Lines && !self.filters.is_empty();
        let least = if filters_lines { FILTERED_LINES_MIN } else { 1 };
        let batch_size = limit.unwrap_or(usize::MAX).max(least).min(self.batch_size.max(1));
        Ok(Selection { projection, header_filter, row_filter, batch_size })
    }

    /// Filters that the scan applies itself. Record formats leave theirs to the engine; so does everyone with what is
    /// volatile, or looks at hive-style columns, which no archive holds.
    fn takes(&self, filter: &Arc<dyn PhysicalExpr>) -> bool {
        let file_columns = self.table_schema.file_schema().fields().len();
        !self.options.format.is_record()
            && !is_volatile(filter)
            && filter::columns_of(filter).iter().all(|&column| column < file_columns)
    }
}

impl FileSource for TarSource {
    fn create_file_opener(
        &self,
        _object_store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> DataFusionResult<Arc<dyn FileOpener>> {
        self.statement.iter().for_each(StatementScans::begin);
        // What is worked on ahead of a limit was not asked for.
        let is_short = config.limit.is_some_and(|rows| rows < SHARED_ROWS_MIN);
        let crew = if is_short { Crew::alone() } else { self.crew.clone() };
        let opener = TarOpener {
            options: Arc::clone(&self.options),
            selection: self.selection(config.limit)?,
            // A batch ahead is one more that nobody accounts.
            ahead: if self.claims.is_some() { Crew::alone() } else { crew.clone() },
            partition: Partition {
                index: partition,
                report: Arc::clone(&self.report),
                allowance: Allowance::new(&self.memory),
                crew,
            },
            claims: self.claims.clone(),
            counts: Arc::new(Counts::new(
                &self.metrics,
                partition,
                Arc::clone(&self.report.partitions[partition].stats),
            )),
        };
        ProjectionOpener::try_new(self.projection.clone(), Arc::new(opener), self.table_schema.file_schema())
    }

    fn table_schema(&self) -> &TableSchema {
        &self.table_schema
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Arc::new(Self { batch_size, ..self.clone() })
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        datafusion::physical_expr::utils::conjunction_opt(self.filters.iter().cloned())
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        Some(&self.projection.source)
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &str {
        "tar"
    }

    fn fmt_extra(&self, t: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        let separator = if matches!(t, DisplayFormatType::TreeRender) { "\n" } else { ", " };
        if self.options.format != MemberFormat::Members {
            write!(f, "{separator}format={}", self.options.format.as_str())?;
        }
        if let Some(members) = &self.options.members {
            write!(f, "{separator}members={}", members.text())?;
        }
        if let Some(filter) = self.filter() {
            write!(f, "{separator}predicate={filter}")?;
        }
        Ok(())
    }

    fn supports_repartitioning(&self) -> bool {
        // A byte range of an archive is not an archive; how work is cut was decided when the scan was planned.
        false
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _config: &ConfigOptions,
    ) -> DataFusionResult<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        let mut source = self.clone();
        let answers = filters.into_iter().map(|filter| {
            if !self.takes(&filter) {
                return PushedDown::No;
            }
            source.filters.push(filter);
            PushedDown::Yes
        });
        let answers: Vec<PushedDown> = answers.collect();
        Ok(FilterPushdownPropagation::with_parent_pushdown_result(answers).with_updated_node(Arc::new(source)))
    }

    fn reorder_files(&self, mut files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        // The largest first: an archive that is begun last should be over soon.
        files.sort_by_key(|file| std::cmp::Reverse(file.object_meta.size));
        files
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> DataFusionResult<Option<Arc<dyn FileSource>>> {
        let projection = self.projection.source.try_merge(projection)?;
        let projection = SplitProjection::new(self.table_schema.file_schema(), &projection);
        Ok(Some(Arc::new(Self { projection, ..self.clone() })))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        let projections = self.projection.source.iter().map(|projection| &projection.expr);
        datafusion::physical_plan::apply_expression_roots(self.filters.iter().chain(projections), f)
    }
}

/// Opens the archives of one partition, one after the other.
#[derive(Clone)]
struct TarOpener {
    options: Arc<ScanOptions>,
    selection: Selection,
    /// Whoever reads ahead of the consumer.
    ahead: Crew,
    /// One for all of them: what it has for itself it keeps from one archive to the next.
    partition: Partition,
    claims: Option<Arc<Claims>>,
    counts: Arc<Counts>,
}

impl FileOpener for TarOpener {
    fn open(&self, file: PartitionedFile) -> DataFusionResult<FileOpenFuture> {
        let Some(bundle) = file.extension::<Bundle>() else {
            return datafusion::common::internal_err!("a file of a tar scan has no archive attached");
        };
        let (opener, targets) = (self.clone(), bundle.clone().targets());
        let batches = stream::iter(targets).map(move |target| opener.batches(target)).try_flatten();
        Ok(Box::pin(async move { Ok(batches.boxed()) }))
    }
}

impl TarOpener {
    fn batches(&self, target: FetchTarget) -> DataFusionResult<BoxStream<'static, DataFusionResult<RecordBatch>>> {
        let options = Arc::clone(&self.options);
        let scan = ArchiveScan::new(target, options, &self.selection, self.partition.clone())?;
        let ahead = Ahead::new(scan, self.ahead.clone(), self.selection.batch_size);
        let metered = Metered { ahead, counts: Arc::clone(&self.counts), claims: self.claims.clone() };
        let batches = stream::try_unfold(metered, |mut metered| async move {
            let batch = metered.ahead.next_batch().await?;
            metered.counts.publish();
            batch.iter().zip(&metered.claims).for_each(|(batch, claims)| claims.claim(batch));
            Ok::<_, DataFusionError>(batch.map(|batch| (batch, metered)))
        });
        Ok(batches.boxed())
    }
}

/// A scan whose counters show in EXPLAIN ANALYZE, also where it ends early.
struct Metered {
    ahead: Ahead,
    counts: Arc<Counts>,
    claims: Option<Arc<Claims>>,
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.counts.publish();
    }
}

/// DataFusion's counters of one partition, and how much of ours they have been told already.
struct Counts {
    stats: Arc<Stats>,
    told: Mutex<Vec<(Count, u64)>>,
}

impl Counts {
    fn new(metrics: &ExecutionPlanMetricsSet, partition: usize, stats: Arc<Stats>) -> Self {
        let count = |(name, _)| (MetricBuilder::new(metrics).counter(name, partition), 0);
        let told = Mutex::new(stats.iter().map(count).collect());
        Self { stats, told }
    }

    fn publish(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for ((count, told), (_, value)) in told.iter_mut().zip(self.stats.iter()) {
            count.add(usize::try_from(value - *told).unwrap_or(usize::MAX));
            *told = value;
        }
    }
}
