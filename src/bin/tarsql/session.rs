//! The session: DataFusion's context, set up as the command line asks, with tarsql registered in it.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::config::{Dialect, FormatOptions};
use datafusion::error::Result;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::args::Args;
use crate::failure::{Failure, describe};
use crate::script::Variables;

/// How many of the largest consumers an out-of-memory error names.
const TOP_MEMORY_CONSUMERS: usize = 3;

/// A context and what statements need beside it.
pub(crate) struct Session {
    pub(crate) ctx: SessionContext,
    pub(crate) variables: Variables,
    /// Where measurements go, and what they are labelled with.
    pub(crate) metrics: Option<PathBuf>,
    pub(crate) label: Option<String>,
}

impl Session {
    pub(crate) fn new(args: &Args) -> Result<Self, Failure> {
        let ctx = context(args).map_err(|error| Failure::Usage(describe(&error)))?;
        Ok(Self {
            ctx,
            variables: args.variables.iter().cloned().collect(),
            metrics: args.metrics.clone(),
            label: args.label.clone(),
        })
    }

    /// How tables show values: `SET datafusion.format.…`.
    pub(crate) fn format_options(&self) -> FormatOptions {
        self.ctx.state_ref().read().config_options().format.clone()
    }

    /// The SQL dialect that the session has now.
    pub(crate) fn dialect(&self) -> Dialect {
        self.ctx.state_ref().read().config_options().sql_parser.dialect
    }
}

fn context(args: &Args) -> Result<SessionContext> {
    // `DATAFUSION_…` variables first, as datafusion-cli has them; flags win.
    let mut config = SessionConfig::from_env()?.with_information_schema(true).with_target_partitions(args.threads());
    if let Some(rows) = args.batch_size {
        config = config.with_batch_size(rows.get());
    }
    let ctx = SessionContext::new_with_config_rt(config, runtime_env(args)?).enable_url_table();
    register(&ctx)?;
    Ok(ctx)
}

fn runtime_env(args: &Args) -> Result<Arc<RuntimeEnv>> {
    let mut builder = RuntimeEnvBuilder::new().with_object_store_registry(object_store_registry());
    if let Some(bytes) = args.memory_limit {
        // Fair, because several sorts or aggregations at once must each be able to spill rather than starve one another.
        let pool = FairSpillPool::new(bytes.get());
        let top = std::num::NonZeroUsize::new(TOP_MEMORY_CONSUMERS).unwrap_or(std::num::NonZeroUsize::MIN);
        builder = builder.with_memory_pool(Arc::new(TrackConsumersPool::new(pool, top)));
    }
    builder.build_arc()
}

/// Where `s3://…` and the other schemes find their store.
fn object_store_registry() -> Arc<dyn ObjectStoreRegistry> {
    Arc::new(DefaultObjectStoreRegistry::new())
}

/// Everything that makes a DataFusion session one of tarsql's.
#[expect(clippy::unnecessary_wraps, reason = "registering the tables can fail")]
fn register(_ctx: &SessionContext) -> Result<()> {
    Ok(())
}
