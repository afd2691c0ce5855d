//! [`IoRuntime`]: where a session's tables send their requests.

use std::panic::resume_unwind;

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
/// Both runtimes need time and I/O enabled: the one that runs queries waits there for memory, and writes what COPY and
/// INSERT make.
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

/// Runs `work` on `runtime`, or here where there is none. Dropping the future cancels the work, and a panic of it goes on
/// here.
///
/// # Errors
/// What `work` returns, or that the runtime has ended.
pub(super) async fn run_on<T: Send + 'static>(
    runtime: Option<&Handle>,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let Some(runtime) = runtime else { return work.await };
    let ended = || Error::new(ErrorKind::Unreachable, "the runtime that sends the requests has ended");
    let mut tasks = JoinSet::new();
    tasks.spawn_on(work.boxed(), runtime);
    match tasks.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(error)) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(cancelled) => Err(ended().caused_by(cancelled)),
        },
        None => Err(ended()),
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_multi_thread().worker_threads(1).build().unwrap()
    }

    #[test]
    fn work_ends_here_as_it_ends_there() {
        let (here, there) = (runtime(), runtime());
        let run = |work: fn() -> Result<u32>| {
            let ran = run_on(Some(there.handle()), async move { work() });
            here.block_on(AssertUnwindSafe(ran).catch_unwind())
        };
        assert_eq!(run(|| Ok(7)).unwrap().unwrap(), 7);
        let refused = run(|| Err(Error::new(ErrorKind::Locator, "no")));
        assert_eq!(refused.unwrap().unwrap_err().kind(), ErrorKind::Locator);
        let panic = run(|| panic!("this is expected")).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"this is expected"));
    }

    #[test]
    fn a_runtime_that_has_ended_is_an_error() {
        let there = runtime();
        let handle = there.handle().clone();
        there.shutdown_background();
        let ran = runtime().block_on(run_on(Some(&handle), async { Ok(7) }));
        assert_eq!(ran.unwrap_err().kind(), ErrorKind::Unreachable);
    }
}
