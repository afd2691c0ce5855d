//! [`IoRuntime`]: where a session's tables send their requests.

use datafusion::catalog::Session;
use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::error::{Error, ErrorKind, Result};

/// The runtime on which a session lists and fetches archives.
///
/// Without it that happens on the runtime which runs the query. There, threads are busy with decoding for milliseconds
/// at a time, and what arrives meanwhile waits. A program that gives the network threads of its own puts this into the
/// session's configuration; the runtime must outlive the session's queries.
///
/// ```
/// use std::sync::Arc;
///
/// use datafusion::prelude::{SessionConfig, SessionContext};
///
/// let io = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
/// let config = SessionConfig::new().with_extension(Arc::new(tarsql::IoRuntime::new(io.handle().clone())));
/// let ctx = SessionContext::new_with_config(config);
/// tarsql::register(&ctx)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct IoRuntime(Handle);

impl IoRuntime {
    /// A runtime with time and I/O enabled.
    pub fn new(handle: Handle) -> Self {
        Self(handle)
    }

    /// That of `session`, if it has one.
    pub(super) fn of(session: &dyn Session) -> Option<Handle> {
        session.config().get_extension::<Self>().map(|io| io.0.clone())
    }
}

/// Runs `work` on `runtime`, or here where there is none. Dropping the future cancels the work.
///
/// # Errors
/// What `work` returns, or that it panicked.
pub(super) async fn run_on<T: Send + 'static>(
    runtime: Option<&Handle>,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let Some(runtime) = runtime else { return work.await };
    let mut tasks = JoinSet::new();
    tasks.spawn_on(work.boxed(), runtime);
    match tasks.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(error)) => {
            Err(Error::new(ErrorKind::Limit, "a task ended without an answer").caused_by(error.to_string()))
        }
        None => Err(Error::new(ErrorKind::Limit, "a task ended without an answer")),
    }
}
