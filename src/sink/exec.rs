//! The plan node that publishes what the sink below it has written, or nothing of it.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{EvaluationType, SchedulingType};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, MetricCategory, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::TryStreamExt;
use object_store::ObjectStore;
use tokio::task::JoinHandle;
use url::Url;

use super::cleanup::CleanUp;
use super::options::WriteMode;
use super::publish::{Manners, publish};
use super::stage::{Stage, StagedStore};
use super::target::{Target, TargetUrl};
use crate::error::Error;
use crate::metrics::Written;
use crate::store::SUCCESS;

/// Names of its metrics.
const ROWS: &str = "rows_written";
const BYTES: &str = "bytes_written";
const FILES: &str = "files_written";
const PUBLISHED_BYTES: &str = "bytes_published";

/// Runs a sink against a stage, and publishes what it wrote once all of it is written.
///
/// The sink is any plan that writes through the object stores of its `TaskContext`, each file under its final name, and
/// returns the count of rows. Its metrics are what became visible (`files_written`, `rows_written`, `bytes_published`), and
/// the bytes that the store has taken so far (`bytes_written`).
#[derive(Debug, Clone)]
pub struct PublishExec {
    sink: Arc<dyn ExecutionPlan>,
    target: TargetUrl,
    manners: Manners,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl PublishExec {
    pub(super) fn new(sink: Arc<dyn ExecutionPlan>, target: TargetUrl, manners: Manners) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(sink.schema()),
            Partitioning::UnknownPartitioning(1),
            sink.properties().emission_type,
            sink.properties().boundedness,
        )
        .with_scheduling_type(SchedulingType::Cooperative)
        .with_evaluation_type(EvaluationType::Eager);
        Self { sink, target, manners, metrics: ExecutionPlanMetricsSet::new(), properties: Arc::new(properties) }
    }
}

impl PublishExec {
    /// What the executions of this node have written so far, published or not. A sink that does not count its rows while it
    /// writes says them at the end.
    pub(crate) fn written(&self) -> Written {
        let of_sink = self.sink.metrics().unwrap_or_default().sum_by_name(ROWS).map(|value| value.as_usize() as u64);
        Written {
            rows: of_sink.unwrap_or_default().max(self.count(ROWS)),
            bytes: self.count(BYTES),
            ..self.published()
        }
    }

    /// What they have published.
    pub(crate) fn published(&self) -> Written {
        Written { rows: self.count(ROWS), bytes: self.count(PUBLISHED_BYTES), files: self.count(FILES) }
    }

    fn count(&self, name: &str) -> u64 {
        self.metrics.clone_inner().sum_by_name(name).map_or(0, |value| value.as_usize() as u64)
    }
}

impl DisplayAs for PublishExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, shown) = (self.target.kind(), &self.target.shown);
        match format {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "PublishExec: {kind}={shown}")?;
                if self.target.is_directory {
                    write!(f, ", write_mode={}", self.manners.mode)?;
                }
                Ok(())
            }
            DisplayFormatType::TreeRender => write!(f, "{kind}={shown}"),
        }
    }
}

impl ExecutionPlan for PublishExec {
    fn name(&self) -> &'static str {
        "PublishExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        // Or the optimizer would drop an ORDER BY whose columns are not written.
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.sink]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::new(children.swap_remove(0), self.target.clone(), self.manners)))
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
        let metric = |name, category| MetricBuilder::new(&self.metrics).with_category(category).global_counter(name);
        let job = Job {
            sink: Arc::clone(&self.sink),
            target: self.target.clone(),
            manners: self.manners,
            rows: metric(ROWS, MetricCategory::Rows),
            bytes: metric(BYTES, MetricCategory::Bytes),
            published_bytes: metric(PUBLISHED_BYTES, MetricCategory::Bytes),
            files: MetricBuilder::new(&self.metrics).global_counter(FILES),
        };
        let stream = futures::stream::once(job.run(context)).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// One execution.
struct Job {
    sink: Arc<dyn ExecutionPlan>,
    target: TargetUrl,
    manners: Manners,
    rows: Count,
    bytes: Count,
    published_bytes: Count,
    files: Count,
}

impl Job {
    async fn run(
        self,
        context: Arc<TaskContext>,
    ) -> Result<futures::stream::Iter<std::vec::IntoIter<Result<RecordBatch>>>> {
        let store = context.runtime_env().object_store(&self.target.store)?;
        let target = Arc::new(Target::new(self.target.clone(), store));
        let stage = Stage::new(target, self.bytes.clone());
        let staged = AbortOnDrop(Some(Arc::clone(&stage)));
        let counts = match self.write(&stage, context).await {
            Ok(counts) => counts,
            Err(error) => {
                let error = said_by_us(error, &stage);
                staged.abort().await;
                return Err(error);
            }
        };
        staged.disarm();
        let published = publish(Arc::clone(&stage), self.manners).await;
        let published = published.map_err(|error| said_by_us(error, &stage))?;
        self.files.add(published.files);
        self.published_bytes.add(usize::try_from(published.bytes).unwrap_or(usize::MAX));
        self.rows.add(counts.iter().map(written_rows).sum());
        Ok(futures::stream::iter(counts.into_iter().map(Ok).collect::<Vec<_>>()))
    }

    /// Lets the sink write everything, once it is sure that the target takes it.
    async fn write(&self, stage: &Arc<Stage>, context: Arc<TaskContext>) -> Result<Vec<RecordBatch>> {
        let target = &stage.target;
        target.check().await?;
        if target.url.is_directory && self.manners.mode == WriteMode::Error {
            target.check_is_empty().await?;
        }
        // What is completed last is begun first: then nothing is read for a target that can't be written.
        let last = if target.url.is_directory { target.object(SUCCESS) } else { target.url.prefix.clone() };
        stage.reserve(&last).await?;
        let context = staged_context(&context, stage);
        let stream = datafusion::physical_plan::execute_stream(Arc::clone(&self.sink), context)?;
        stream.try_collect().await
    }
}

/// The error of a write as ours, where it is one: stores wrap it in theirs, and some sinks only say that something went wrong.
fn said_by_us(error: DataFusionError, stage: &Stage) -> DataFusionError {
    if let Some(first) = stage.first_error() {
        return first.into();
    }
    match &error {
        DataFusionError::ObjectStore(wrapped) => {
            match wrapped.source().and_then(|source| source.downcast_ref::<Error>()) {
                Some(ours) => ours.again().into(),
                None => error,
            }
        }
        _ => error,
    }
}

/// The sum of the one column, `count`, that a sink returns.
fn written_rows(batch: &RecordBatch) -> usize {
    let counts = batch.columns().first().and_then(|column| {
        arrow::array::AsArray::as_primitive_opt::<arrow::datatypes::UInt64Type>(column).map(arrow::compute::sum)
    });
    counts.flatten().and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
}

/// Aborts what is staged when the statement is dropped.
struct AbortOnDrop(Option<Arc<Stage>>);

impl AbortOnDrop {
    fn begin(&mut self) -> Option<JoinHandle<()>> {
        let stage = self.0.take()?;
        let (runtime, clean_up) = (stage.runtime().clone(), CleanUp::begin());
        Some(runtime.spawn(async move {
            stage.abort().await;
            drop(clean_up);
        }))
    }

    /// Waits for it too. Dropping this future leaves it to the task.
    async fn abort(mut self) {
        if let Some(task) = self.begin() {
            // Only a panic could fail it.
            let _ = task.await;
        }
    }

    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.begin();
    }
}

/// The same context, but for the store of the target.
fn staged_context(context: &TaskContext, stage: &Arc<Stage>) -> Arc<TaskContext> {
    let runtime = context.runtime_env();
    let url: &Url = stage.target.url.store.as_ref();
    let registry = StagedRegistry {
        url: url.clone(),
        staged: Arc::new(StagedStore::new(Arc::clone(stage))),
        others: Arc::clone(&runtime.object_store_registry),
    };
    let runtime = RuntimeEnv { object_store_registry: Arc::new(registry), ..runtime.as_ref().clone() };
    Arc::new(TaskContext::new(
        context.task_id(),
        context.session_id(),
        context.session_config().clone(),
        context.scalar_functions().clone(),
        context.higher_order_functions().clone(),
        context.aggregate_functions().clone(),
        context.window_functions().clone(),
        Arc::new(runtime),
    ))
}

/// Knows one store more than `others`.
#[derive(Debug)]
struct StagedRegistry {
    url: Url,
    staged: Arc<StagedStore>,
    others: Arc<dyn ObjectStoreRegistry>,
}

impl ObjectStoreRegistry for StagedRegistry {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.others.register_store(url, store)
    }

    fn deregister_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        self.others.deregister_store(url)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        match url.scheme() == self.url.scheme() && url.authority() == self.url.authority() {
            true => Ok(Arc::clone(&self.staged) as _),
            false => self.others.get_store(url),
        }
    }
}
