//! Awaiting from where nobody may await: SQL planning is synchronous, looking into an archive is not.

use std::future::Future;
use std::sync::{LazyLock, mpsc};

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, ErrorKind, Result};

/// A small runtime of our own: the caller's may be single-threaded, and its thread is the one that waits.
static PLANNING: LazyLock<std::io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).thread_name("tarsql-planning").enable_all().build());

/// Runs `future` to its end while the calling thread waits, on whatever runtime that thread is, or none.
///
/// What `future` uses must not live on the caller's runtime: a pooled connection, say, would never be driven.
///
/// # Errors
/// What `future` returns, or that it panicked.
pub(super) fn wait<T: Send + 'static>(future: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let runtime = PLANNING.as_ref().map_err(|error| {
        Error::new(ErrorKind::Limit, "can't start a thread for planning").caused_by(error.to_string())
    })?;
    let (sender, receiver) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        // Nobody left to tell: then nobody waits.
        let _ = sender.send(future.await);
    });
    receiver.recv().map_err(|_| Error::new(ErrorKind::Limit, "planning ended without an answer"))?
}
