//! The library as an embedding program has it: SQL in; rows, the plan and what the scan says of itself out.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, collect, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::memory::InMemory;
use object_store::{ObjectStoreExt, PutPayload};
use tarsql::Incident;
use tarsql::metrics::RunReport;
use url::Url;

use crate::testdata::testdata;

/// Partitions that the engine aims at: the same on every machine.
const TARGET_PARTITIONS: usize = 4;

/// A `SessionContext` that knows tar.
pub(crate) struct Session {
    pub(crate) ctx: SessionContext,
}

/// What a query left.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    /// What `tarsql::measure` says.
    pub(crate) run: RunReport,
}

impl Session {
    pub(crate) fn new() -> Self {
        Self::with(SessionConfig::new())
    }

    /// With settings of the engine.
    pub(crate) fn with(config: SessionConfig) -> Self {
        let config = config.with_target_partitions(TARGET_PARTITIONS).with_information_schema(true);
        let ctx = SessionContext::new_with_config(config);
        tarsql::register(&ctx).expect("a new session can be registered with");
        tarsql::register_url_tables(&ctx).expect("a new session can be registered with");
        Self { ctx }
    }

    /// Stores objects as `s3://bucket/key`, in memory. What was in the bucket before is gone.
    pub(crate) async fn bucket<K: AsRef<str>>(
        &self,
        bucket: &str,
        objects: impl IntoIterator<Item = (K, impl Into<PutPayload>)>,
    ) -> Arc<InMemory> {
        let store = Arc::new(InMemory::new());
        for (key, object) in objects {
            let key = object_store::path::Path::parse(key.as_ref()).expect("a key that can be addressed");
            store.put(&key, object.into()).await.expect("memory takes what it is given");
        }
        let url = Url::parse(&format!("s3://{bucket}")).expect("a bucket's URL");
        self.ctx.register_object_store(&url, Arc::clone(&store) as _);
        store
    }

    /// Runs a statement to its end.
    pub(crate) async fn sql(&self, sql: &str) -> Result<Answer, DataFusionError> {
        let (started, mut run) = (Instant::now(), RunReport::new(sql));
        let plan = self.ctx.sql(sql).await?.create_physical_plan().await?;
        let batches = collect(Arc::clone(&plan), self.ctx.task_ctx()).await?;
        tarsql::measure(&plan, started, &mut run);
        Ok(Answer { batches, plan, run })
    }

    /// Runs a statement that has to work.
    #[track_caller]
    pub(crate) fn ok<'a>(&'a self, sql: &str) -> impl Future<Output = Answer> + use<'a> {
        let (at, sql) = (std::panic::Location::caller(), sql.to_owned());
        async move { self.sql(&sql).await.unwrap_or_else(|error| panic!("{at}: {sql}: {error}")) }
    }

    /// The rows of a statement, as [`Answer::rows`] has them.
    #[track_caller]
    pub(crate) fn rows(&self, sql: &str) -> impl Future<Output = Vec<String>> {
        let answer = self.ok(sql);
        async move { answer.await.rows() }
    }

    /// The error of a statement that has to fail for a reason of ours.
    #[track_caller]
    pub(crate) fn error(&self, sql: &str) -> impl Future<Output = Failure> {
        let at = std::panic::Location::caller();
        async move {
            let error = match self.sql(sql).await {
                Ok(answer) => panic!("{at}: {sql} should fail, but gives {} rows", answer.row_count()),
                Err(error) => error,
            };
            Failure::of(&error).unwrap_or_else(|| panic!("{at}: {sql}: no error of tarsql's: {error:?}"))
        }
    }
}

impl Answer {
    /// Each row as text, its fields between bars.
    pub(crate) fn rows(&self) -> Vec<String> {
        self.batches.iter().flat_map(texts).collect()
    }

    /// The same, sorted: across partitions no order is promised.
    pub(crate) fn sorted(&self) -> Vec<String> {
        let mut rows = self.rows();
        rows.sort();
        rows
    }

    pub(crate) fn row_count(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Partitions that the plan ends in.
    pub(crate) fn partitions(&self) -> usize {
        self.plan.output_partitioning().partition_count()
    }

    pub(crate) fn explained(&self) -> String {
        displayable(self.plan.as_ref()).indent(false).to_string()
    }

    /// What the scans reported, warnings and all.
    pub(crate) fn incidents(&self) -> Vec<Incident> {
        let of_scan = |report: Arc<tarsql::ScanReport>| {
            let (kept, left_out) = report.incidents();
            assert_eq!(left_out, 0, "a test has few enough incidents that all are kept");
            kept
        };
        tarsql::reports(&self.plan).into_iter().flat_map(of_scan).collect()
    }

    /// A counter of the scans, summed.
    pub(crate) fn count(&self, counter: impl Fn(&tarsql::Stats) -> u64) -> u64 {
        tarsql::reports(&self.plan).iter().map(|report| counter(&report.totals())).sum()
    }
}

pub(crate) fn texts(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let formatter = |column| ArrayFormatter::try_new(column, &options).expect("every type can be shown");
    let columns: Vec<_> = batch.columns().iter().map(|column| formatter(column.as_ref())).collect();
    let field = |row| move |column: &ArrayFormatter<'_>| one_line(&column.value(row).to_string());
    (0..batch.num_rows()).map(|row| columns.iter().map(field(row)).collect::<Vec<_>>().join("|")).collect()
}

fn one_line(text: &str) -> String {
    text.replace('\r', "\\r").replace('\n', "\\n")
}

/// An error of tarsql's, out of whatever the engine wrapped it in.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) kind: &'static str,
    pub(crate) archive: Option<String>,
    pub(crate) member: Option<String>,
    pub(crate) offset: Option<u64>,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn of(error: &DataFusionError) -> Option<Self> {
        let DataFusionError::External(root) = error.find_root() else { return None };
        let error = root.downcast_ref::<tarsql::Error>()?;
        Some(Self {
            kind: error.kind().as_str(),
            archive: error.archive().map(str::to_owned),
            member: error.member().map(str::to_owned),
            offset: error.offset(),
            text: error.to_string(),
        })
    }

    /// Whether it says all of `parts`, and on one line.
    #[track_caller]
    pub(crate) fn says(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.text.contains(part), "'{part}' is missing: {}", self.text);
        }
        assert!(!self.text.contains('\n'), "an error is one line: {}", self.text);
    }
}

/// What the column `archive` says of a file of `testdata/`.
pub(crate) fn url(path: &str) -> String {
    file_url(&testdata(path))
}

pub(crate) fn file_url(path: &Path) -> String {
    Url::from_file_path(path).expect("an absolute path").into()
}
