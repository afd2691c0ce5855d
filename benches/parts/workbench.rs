//! A session with archives in memory, on as many cores as a benchmark is meant for.

use std::num::NonZero;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use tarsql::{TarOptions, TarTable};
use tokio::runtime::{Builder, Runtime};
use url::Url;

/// On how many cores a benchmark runs. What a query hands to other threads on its own is not kept from doing so;
/// `taskset -c 0 cargo bench` does that.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cores {
    One,
    All,
}

impl Cores {
    /// What the lines of the report are called.
    pub(crate) const NAMED: [(&'static str, Self); 2] =
        [("tarsql, one core", Self::One), ("tarsql, all cores", Self::All)];

    pub(crate) fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::All => std::thread::available_parallelism().map_or(1, NonZero::get),
        }
    }
}

/// A session, the bucket `s3://bench` in memory, and a runtime to run queries on.
pub(crate) struct Workbench {
    runtime: Runtime,
    ctx: SessionContext,
    store: Arc<InMemory>,
}

impl Workbench {
    pub(crate) fn new(cores: Cores) -> Self {
        let runtime = match cores {
            Cores::One => Builder::new_current_thread().enable_all().build(),
            Cores::All => Builder::new_multi_thread().worker_threads(cores.count()).enable_all().build(),
        };
        let ctx = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(cores.count()));
        tarsql::register(&ctx).expect("a new session can be registered with");
        let store = Arc::new(InMemory::new());
        ctx.register_object_store(&Url::parse("s3://bench").expect("a bucket's URL"), Arc::clone(&store) as _);
        Self { runtime: runtime.expect("threads can be had"), ctx, store }
    }

    /// With one object: `s3://bench/<key>`.
    pub(crate) fn with(cores: Cores, key: &str, object: &[u8]) -> Self {
        let bench = Self::new(cores);
        let (key, object) = (Path::from(key), PutPayload::from(object.to_vec()));
        bench.runtime.block_on(bench.store.put(&key, object)).expect("memory takes what it is given");
        bench
    }

    /// Makes `locator` the table `records`, and says what its columns are. The look into the data is then behind us.
    pub(crate) fn table(&self, locator: &str, options: TarOptions) -> SchemaRef {
        let table = self.runtime.block_on(TarTable::open(&self.ctx.state(), locator, options)).expect("a table");
        let schema = datafusion::datasource::TableProvider::schema(&table);
        self.ctx.register_table("records", Arc::new(table)).expect("a name that is free");
        schema
    }

    /// Makes batches the table `batches`, dealt out to the cores.
    pub(crate) fn memory_table(&self, cores: Cores, batches: &[RecordBatch]) {
        let share = batches.len().div_ceil(cores.count()).max(1);
        let partitions = batches.chunks(share).map(<[_]>::to_vec).collect();
        let table = MemTable::try_new(batches[0].schema(), partitions).expect("batches of one schema");
        self.ctx.register_table("batches", Arc::new(table)).expect("a name that is free");
    }

    /// Runs a statement to its end, keeps no row, and says how many there were.
    pub(crate) fn rows(&self, sql: &str) -> usize {
        self.runtime.block_on(async {
            let plan = self.ctx.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            let mut stream = plan.execute_stream().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            let mut rows = 0;
            while let Some(batch) = stream.next().await {
                rows += batch.unwrap_or_else(|error| panic!("{sql}: {error}")).num_rows();
            }
            rows
        })
    }

    /// Runs a query and keeps its batches.
    pub(crate) fn batches(&self, sql: &str) -> Vec<RecordBatch> {
        let collected = self.runtime.block_on(async { self.ctx.sql(sql).await?.collect().await });
        collected.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}

/// A group of lines that all go through `bytes` bytes.
pub(crate) fn group<'a>(criterion: &'a mut Criterion, name: &str, bytes: usize) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(bytes as u64));
    group
}

/// The limit of everything that has to touch each byte once: to copy them.
pub(crate) fn bench_copy(group: &mut BenchmarkGroup<'_, WallTime>, bytes: &[u8]) {
    let mut copy = vec![0; bytes.len()];
    group.bench_function("limit: memcpy", |bencher| {
        bencher.iter(|| {
            copy.copy_from_slice(bytes);
            std::hint::black_box(&copy);
        });
    });
}
