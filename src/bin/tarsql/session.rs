//! The session: DataFusion's context, set up as the command line asks, with tarsql registered in it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::catalog::DynamicFileCatalog;
use datafusion::config::{ConfigNonZeroUsize, Dialect, FormatOptions};
use datafusion::datasource::dynamic_file::DynamicListTableFactory;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use tarsql::{IoRuntime, StoreRegistry, TarsqlConfig, metrics};
use tokio::runtime::Handle;

use crate::args::Args;
use crate::failure::{Failure, describe};
use crate::script::Variables;

/// How many of the largest consumers an out-of-memory error names.
const TOP_MEMORY_CONSUMERS: usize = 3;

/// A context and what statements need beside it.
pub(crate) struct Session {
    pub(crate) ctx: SessionContext,
    pub(crate) variables: Variables,
    /// Where measurements go.
    pub(crate) metrics: Option<PathBuf>,
    /// The last file that was found to be one for them.
    checked: Mutex<Option<PathBuf>>,
    /// What they are labelled with.
    pub(crate) label: Option<String>,
}

impl Session {
    /// `io`: where requests for archives run.
    pub(crate) fn new(args: &Args, io: &Handle) -> Result<Self, Failure> {
        let missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.is_dir();
        if let Some(folder) = args.metrics.as_deref().and_then(Path::parent).filter(missing) {
            // Better now than after hours of work that can't be recorded.
            return Err(Failure::Usage(format!("--metrics: there is no folder '{}'", folder.display())));
        }
        if let Some(file) = &args.metrics {
            metrics::check(file).map_err(|error| Failure::Usage(error.to_string()))?;
        }
        let registry = Arc::new(StoreRegistry::default());
        let ctx = context(args, io, &registry).map_err(|error| Failure::Usage(describe(&error)))?;
        Ok(Self {
            ctx,
            variables: args.variables.iter().cloned().collect(),
            metrics: args.metrics.clone(),
            checked: Mutex::new(args.metrics.clone()),
            label: args.label.clone(),
        })
    }

    /// Looks whether measurements can be added to `file`, where it is not the one that was looked at last.
    pub(crate) fn check_metrics(&self, file: PathBuf) -> Result<(), Failure> {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.as_ref() == Some(&file) {
            return Ok(());
        }
        metrics::check(&file).map_err(|error| Failure::Statement { place: None, message: error.to_string() })?;
        *checked = Some(file);
        Ok(())
    }

    /// How tables show values: `SET datafusion.format.…`.
    pub(crate) fn format_options(&self) -> FormatOptions {
        self.ctx.state_ref().read().config_options().format.clone()
    }

    /// Tarsql's own settings: `SET tarsql.…`.
    pub(crate) fn config(&self) -> TarsqlConfig {
        let state = self.ctx.state_ref();
        let state = state.read();
        state.config_options().extensions.get::<TarsqlConfig>().cloned().unwrap_or_default()
    }

    /// Requests of writers that were sent again, so far.
    pub(crate) fn resent(&self) -> u64 {
        let registry = self.ctx.state_ref().read().config().get_extension::<StoreRegistry>();
        registry.map_or(0, |registry| registry.resent())
    }

    /// The SQL dialect that the session has now.
    pub(crate) fn dialect(&self) -> Dialect {
        self.ctx.state_ref().read().config_options().sql_parser.dialect
    }
}

fn context(args: &Args, io: &Handle, registry: &Arc<StoreRegistry>) -> Result<SessionContext> {
    // `DATAFUSION_…` variables first, as datafusion-cli has them; flags win.
    let mut config = SessionConfig::from_env()?.with_information_schema(true).with_target_partitions(args.threads());
    if let Some(rows) = args.batch_size {
        config = config.with_batch_size(rows.get());
    }
    // A file that is being written holds a row group of a million rows: no more of them than there are cores.
    let files = &mut config.options_mut().execution.minimum_parallel_output_files;
    *files = ConfigNonZeroUsize::try_new(files.get().min(args.threads()))?;
    // It would gather batches by rows, not bytes, before it deals them out: gigabytes of content where a scan gives
    // megabytes. Scans are dealt to partitions already.
    let config = config.with_round_robin_repartition(false).with_extension(Arc::clone(registry));
    let config = config.with_extension(Arc::new(IoRuntime::new(io.clone())));
    let ctx = SessionContext::new_with_config_rt(config, runtime_env(args, registry)?);
    tarsql::register(&ctx)?;
    tarsql::register_url_tables(&ctx)?;
    register_other_url_tables(&ctx);
    Ok(ctx)
}

/// DataFusion's own URL tables: `FROM 'x.parquet'`. Registered last, they are asked last, since they look for anything,
/// an archive over HTTP too, with a listing that no web server has. `enable_url_table` would make another context.
fn register_other_url_tables(ctx: &SessionContext) {
    let factory = Arc::new(DynamicListTableFactory::new(Default::default()));
    factory.session_store().with_state(ctx.state_weak_ref());
    let catalogs = Arc::clone(ctx.state_ref().read().catalog_list());
    ctx.register_catalog_list(Arc::new(DynamicFileCatalog::new(catalogs, factory)));
}

fn runtime_env(args: &Args, registry: &Arc<StoreRegistry>) -> Result<Arc<RuntimeEnv>> {
    let registry: Arc<StoreRegistry> = Arc::clone(registry);
    let mut builder = RuntimeEnvBuilder::new().with_object_store_registry(registry);
    if let Some(bytes) = args.memory_limit {
        // Fair, because several sorts or aggregations at once must each be able to spill rather than starve one another.
        let pool = FairSpillPool::new(bytes.get());
        let top = std::num::NonZeroUsize::new(TOP_MEMORY_CONSUMERS).unwrap_or(std::num::NonZeroUsize::MIN);
        builder = builder.with_memory_pool(Arc::new(TrackConsumersPool::new(pool, top)));
    }
    builder.build_arc()
}
