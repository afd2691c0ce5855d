//! The plan node that writes Parquet files.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::config::TableParquetOptions;
use datafusion::common::runtime::JoinSet;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::physical_plan::FileSinkConfig;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, LexRequirement, OrderingRequirements, PhysicalExpr,
};
use datafusion::physical_plan::execution_plan::{EvaluationType, SchedulingType, execute_input_stream};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricCategory, MetricsSet};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, Partitioning as PlanPartitioning, PlanProperties, ReplaceChildrenOptions,
};
use object_store::path::Path;
use tokio::sync::Semaphore;

use super::encoder::{Encoder, Limits, Names, Shared, Slot};
use super::feed::Feed;
use super::file::Uploads;
use super::partition::Partitioning;
use super::properties::Properties;
use crate::locator::redacted;
use crate::memory::Spare;

/// Encoded bytes of a row group: enough for good compression and large reads, and little enough that every core can
/// hold one.
const GROUP_BYTES: usize = 20 << 20;

/// Below that a row group is not worth an encoder of its own.
const GROUP_BYTES_MIN: usize = 8 << 20;

/// Batches that wait for an encoder, in bytes: with 8 MiB scans and encoders wait for each other a tenth of the time.
const QUEUE_BYTES: usize = 32 << 20;

/// Parts of files that are sent at a time.
const PARTS_SENDING: usize = 3;

/// The smallest part that every store takes.
const PART_BYTES_MIN: usize = 5 << 20;

/// A part of a local file: a disk doesn't mind short ones, and so they are written before they have left the processor's cache.
const FILE_PART_BYTES: usize = 2 << 20;

/// Shares of a limited memory: an eighth for full row groups, a quarter for all that the encoders hold, a sixteenth for the
/// queue and another one for parts that are sent. Most of it is left to what produces the rows.
const GROUPS_SHARE: usize = 8;
const HELD_SHARE: usize = 4;
const QUEUE_SHARE: usize = 16;
const PARTS_SHARE: usize = 16;

/// Writes its input as Parquet: one file, or several in a directory.
///
/// It writes through the object store of its `TaskContext` and publishes nothing by itself: [`PublishExec`] does.
///
/// [`PublishExec`]: crate::PublishExec
#[derive(Debug, Clone)]
pub struct ParquetSinkExec {
    input: Arc<dyn ExecutionPlan>,
    config: Arc<Config>,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

/// What does not change from plan to plan.
#[derive(Debug)]
struct Config {
    store: ObjectStoreUrl,
    shown: Arc<str>,
    /// Key of the file, or prefix of the directory.
    prefix: Path,
    is_directory: bool,
    extension: String,
    input_schema: SchemaRef,
    file_schema: SchemaRef,
    partitioning: Option<Partitioning>,
    options: TableParquetOptions,
    order: Option<LexRequirement>,
    /// Rows are written in the order in which they come. There may be one without `order`: by columns that are not written.
    keeps_order: bool,
    encoders: usize,
    /// Threads that share the columns of a batch, where rows must not be shared.
    lanes: usize,
    max_file_bytes: u64,
}

impl ParquetSinkExec {
    /// # Errors
    /// An option can't be honoured, or a partition column is not there.
    pub(in crate::sink) fn try_new(
        input: Arc<dyn ExecutionPlan>,
        state: &dyn Session,
        config: FileSinkConfig,
        options: &TableParquetOptions,
        max_file_bytes: u64,
        order: Option<LexRequirement>,
    ) -> Result<Self> {
        let Some(url) = config.table_paths.first() else {
            return datafusion::common::plan_err!("there is nowhere to write to");
        };
        let input_schema = Arc::clone(config.output_schema());
        let columns: Vec<_> = config.table_partition_cols.iter().map(|(name, _)| name.clone()).collect();
        let partitioning = if columns.is_empty() {
            None
        } else {
            Some(Partitioning::try_new(&input_schema, &columns, config.keep_partition_by_columns)?)
        };
        let file_schema = match &partitioning {
            Some(partitioning) => partitioning.schema(&input_schema)?,
            None => Arc::clone(&input_schema),
        };
        // Folders come before the URL's name: a partitioned target is a directory, whatever it is called.
        let is_directory = partitioning.is_some() || !config.file_output_mode.single_file_output(url);
        let threads = state.config().target_partitions();
        let keeps_order = order.is_some() || is_sorted(&input);
        let config = Config {
            store: config.object_store_url.clone(),
            shown: redacted(url.get_url().as_str()).into(),
            prefix: url.prefix().clone(),
            is_directory,
            extension: config.file_extension.clone(),
            encoders: if keeps_order { 1 } else { encoders(options, threads, is_directory) },
            lanes: if keeps_order { threads } else { 1 },
            input_schema,
            file_schema,
            partitioning,
            options: options.clone(),
            order,
            keeps_order,
            max_file_bytes,
        };
        // What is wrong with the options is said before anything runs.
        config.file_properties()?;
        Ok(Self::with_input(input, Arc::new(config)))
    }

    fn with_input(input: Arc<dyn ExecutionPlan>, config: Arc<Config>) -> Self {
        let schema = Arc::new(Schema::new(vec![Field::new("count", DataType::UInt64, false)]));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            PlanPartitioning::UnknownPartitioning(1),
            input.pipeline_behavior(),
            input.boundedness(),
        )
        .with_scheduling_type(SchedulingType::Cooperative)
        .with_evaluation_type(EvaluationType::Eager);
        Self { input, config, metrics: ExecutionPlanMetricsSet::new(), properties: Arc::new(properties) }
    }
}

/// Whether `plan` gives out what a sort below it has ordered, as it does too where the columns to sort by are dropped.
fn is_sorted(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if plan.is::<SortExec>() || plan.is::<SortPreservingMergeExec>() {
        return true;
    }
    match plan.children()[..] {
        [child] => plan.maintains_input_order()[0] && is_sorted(child),
        _ => false,
    }
}

/// As many as there are cores, unless the options say otherwise.
fn encoders(options: &TableParquetOptions, threads: usize, is_directory: bool) -> usize {
    let global = &options.global;
    match global.maximum_parallel_row_group_writers {
        _ if !is_directory && !global.allow_single_file_parallelism => 1,
        0 | 1 => threads.max(1),
        writers => writers,
    }
}

impl Config {
    fn file_properties(&self) -> Result<Properties> {
        Properties::try_new(&self.options, Arc::clone(&self.file_schema), self.order.as_ref())
    }
}

impl DisplayAs for ParquetSinkExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config { encoders, partitioning, keeps_order, .. } = self.config.as_ref();
        match format {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "ParquetSinkExec: encoders={encoders}")?
            }
            DisplayFormatType::TreeRender => return write!(f, "encoders={encoders}"),
        }
        if let Some(partitioning) = partitioning {
            write!(f, ", partitioned_by=[{}]", partitioning.names())?;
        }
        if *keeps_order {
            write!(f, ", keeps_order=true")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for ParquetSinkExec {
    fn name(&self) -> &'static str {
        "ParquetSinkExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        // It shares the rows out by itself.
        vec![false]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let needed = match self.config.keeps_order {
            true => Distribution::SinglePartition,
            false => Distribution::UnspecifiedDistribution,
        };
        InputDistributionRequirements::new(vec![needed])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![self.config.order.clone().map(Into::into)]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![self.config.keeps_order]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::with_input(children.swap_remove(0), Arc::clone(&self.config))))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let inputs = (0..self.input.output_partitioning().partition_count())
            .map(|partition| {
                let (input, schema) = (Arc::clone(&self.input), Arc::clone(&self.config.input_schema));
                execute_input_stream(input, schema, partition, Arc::clone(&context))
            })
            .collect::<Result<Vec<_>>>()?;
        let job = Job::new(&self.config, &self.metrics, &context)?;
        let schema = self.schema();
        let count = futures::stream::once(async move {
            let rows = job.run(inputs).await?;
            Ok(RecordBatch::try_new(schema, vec![Arc::new(UInt64Array::from(vec![rows as u64]))])?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), count)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// One execution.
struct Job {
    config: Arc<Config>,
    shared: Arc<Shared>,
    pool: Arc<dyn MemoryPool>,
    encoders: usize,
    queue_bytes: usize,
}

impl Job {
    fn new(config: &Arc<Config>, metrics: &ExecutionPlanMetricsSet, context: &TaskContext) -> Result<Self> {
        let pool = Arc::clone(context.memory_pool());
        let execution = &context.session_config().options().execution;
        let limit = match pool.memory_limit() {
            MemoryLimit::Finite(bytes) => Some(bytes),
            _ => None,
        };
        let share = |most: usize, least: usize, share: usize| {
            limit.map_or(most, |limit| (limit / share).clamp(least.min(most), most))
        };
        let encoders = share(config.encoders * GROUP_BYTES, GROUP_BYTES_MIN, GROUPS_SHARE) / GROUP_BYTES_MIN;
        let encoders = encoders.clamp(1, config.encoders);
        let group_bytes = share(encoders * GROUP_BYTES, GROUP_BYTES_MIN, GROUPS_SHARE) / encoders;
        let buffer_bytes = execution.objectstore_writer_buffer_size.max(1);
        let part_bytes = match config.store.as_str().starts_with("file:") {
            true => FILE_PART_BYTES.min(buffer_bytes),
            false => share(buffer_bytes, PART_BYTES_MIN, 2 * PARTS_SHARE),
        };
        let sending = share(PARTS_SENDING * part_bytes, part_bytes, PARTS_SHARE) / part_bytes;
        let metric = |name, category| MetricBuilder::new(metrics).with_category(category).global_counter(name);
        let uploads = Uploads {
            store: context.runtime_env().object_store(&config.store)?,
            part_bytes,
            sending: Arc::new(Semaphore::new(sending)),
            memory: reservation("ParquetSinkExec[parts]", &pool),
            bytes_written: metric("bytes_written", MetricCategory::Bytes),
            spare: Spare::of(if limit.is_some() { 0 } else { PARTS_SENDING }, part_bytes),
        };
        let properties = config.file_properties()?;
        let shared = Shared {
            library: properties.library()?,
            uploads: Arc::new(uploads),
            limits: Limits {
                group_rows: properties.rows_max,
                group_bytes: properties.bytes_max.unwrap_or(group_bytes),
                file_rows: if config.is_directory { execution.soft_max_rows_per_output_file.get() } else { usize::MAX },
                file_bytes: config.max_file_bytes,
                held_bytes: limit.map_or(usize::MAX, |limit| limit / HELD_SHARE / encoders),
            },
            names: config.is_directory.then(|| Names {
                id: format!("{:016x}", RandomState::new().hash_one(())),
                extension: config.extension.clone(),
                next: AtomicUsize::new(0),
            }),
            properties,
            target: Arc::clone(&config.shown),
            rows_written: metric("rows_written", MetricCategory::Rows),
            files_written: MetricBuilder::new(metrics).global_counter("files_written"),
            encode_time: MetricBuilder::new(metrics).elapsed_compute(0),
        };
        let queue_bytes = share(QUEUE_BYTES, 1, QUEUE_SHARE);
        Ok(Self { config: Arc::clone(config), shared: Arc::new(shared), pool, encoders, queue_bytes })
    }

    /// Writes everything; returns the number of rows.
    async fn run(self, inputs: Vec<SendableRecordBatchStream>) -> Result<usize> {
        let Self { config, shared, pool, encoders, queue_bytes } = self;
        let batches = config.options.global.maximum_buffered_record_batches_per_stream;
        let memory = reservation("ParquetSinkExec[queue]", &pool);
        let partitioning = config.partitioning.clone();
        let (feed, queues) = Feed::new(config.prefix.clone(), partitioning, encoders, batches, queue_bytes, memory);
        let one_file = (!config.is_directory).then(Slot::default);
        let mut tasks = JoinSet::new();
        for (number, queue) in queues.into_iter().enumerate() {
            let reservation = MemoryConsumer::new(format!("ParquetSinkExec[encoder {number}]")).register(&pool);
            let encoder = Encoder::new(Arc::clone(&shared), queue, one_file.clone(), config.lanes, reservation);
            tasks.spawn(encoder.run());
        }
        for input in inputs {
            tasks.spawn(Arc::clone(&feed).run(input));
        }
        // The queues end with the last one who feeds them.
        drop(feed);
        // The first error ends all: dropped, the tasks are cancelled.
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap_or_else(|error| match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => Err(DataFusionError::ExecutionJoin(Box::new(error))),
            })?;
        }
        let file = match one_file {
            Some(slot) => slot.lock().await.take(),
            None => None,
        };
        let rows = shared.rows_written.value();
        // No rows are a file without rows: its columns are worth knowing. But in which folder it would be, nobody knows.
        let is_missing = file.is_none() && rows == 0 && config.partitioning.is_none();
        let file = if is_missing { Some(shared.begin(&config.prefix)?) } else { file };
        if let Some(file) = file {
            shared.finish(file).await?;
        }
        Ok(rows)
    }
}

fn reservation(name: &str, pool: &Arc<dyn MemoryPool>) -> Arc<MemoryReservation> {
    Arc::new(MemoryConsumer::new(name).register(pool))
}
