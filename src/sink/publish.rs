//! The moment at which a COPY becomes visible.
//!
//! A file is replaced by one rename, or one request. The files of a directory become visible one after another, under a
//! lock that other publishers see and readers skip; `_SUCCESS` is taken away before and comes back last, so that a
//! directory without it is known to be unfinished. What goes wrong before the old data is touched is undone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use datafusion::error::{DataFusionError, Result as DataFusionResult};
use futures::StreamExt;
use object_store::path::Path;

use super::cleanup::CleanUp;
use super::options::WriteMode;
use super::stage::{ENDINGS_AT_A_TIME, Stage, Upload, abort_all};
use super::target::Data;
use crate::error::{Error, ErrorKind};
use crate::store::{COMMITTING, SUCCESS};

/// How long to wait for somebody else who is publishing into the same directory, where both may.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(10);

/// How often the lock is looked at.
const LOCK_STEP: Duration = Duration::from_millis(100);

/// What became visible.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) files: usize,
    pub(super) bytes: u64,
}

/// How a directory is treated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manners {
    pub(super) mode: WriteMode,
    /// INSERT into a table writes `_SUCCESS` only where it was: the folder is the table's, not ours.
    pub(super) is_insert: bool,
}

/// Makes what is staged visible.
///
/// It goes on in a task of its own, since half of it must not happen; dropping this future makes the task undo what it
/// can, or lets it end if it is beyond that.
///
/// # Errors
/// Nothing is published then, unless the error says so.
pub(super) async fn publish(stage: Arc<Stage>, manners: Manners) -> DataFusionResult<Published> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let publication = Publication { stage: Arc::clone(&stage), manners, cancelled: Arc::clone(&cancelled) };
    let clean_up = CleanUp::begin();
    let task = stage.runtime().spawn(async move {
        let published = publication.run().await;
        // All of a failed job, or a reservation that nobody needed.
        publication.stage.abort().await;
        drop(clean_up);
        published
    });
    let _cancel = SetOnDrop(cancelled);
    task.await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?
}

struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Publication {
    stage: Arc<Stage>,
    manners: Manners,
    cancelled: Arc<AtomicBool>,
}

impl Publication {
    async fn run(&self) -> DataFusionResult<Published> {
        let (uploads, unfinished) = self.stage.take_finished();
        if unfinished > 0 {
            abort_all(uploads).await;
            let message = format!("{unfinished} files were begun and not finished");
            return Err(self.error(message).into());
        }
        let published = Published { files: uploads.len(), bytes: uploads.iter().map(|upload| upload.bytes).sum() };
        if !self.stage.target.url.is_directory {
            self.complete_all(uploads).await.map_err(|(_, error)| error)?;
            return Ok(published);
        }
        if let Err(error) = self.lock().await {
            abort_all(uploads).await;
            return Err(error);
        }
        let result = self.publish_locked(uploads).await;
        let unlocked = self.stage.target.delete_all(vec![self.stage.target.object(COMMITTING)]).await;
        result?;
        unlocked.map_err(|error| self.unfinished(error.into()))?;
        Ok(published)
    }

    fn error(&self, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Target, message).in_archive(&*self.stage.target.url.shown)
    }

    /// The error of what comes after the files are visible: whoever repeats the statement would have them twice.
    fn unfinished(&self, error: DataFusionError) -> DataFusionError {
        let message =
            format!("the new files are published, but finishing the directory failed: {}", error.strip_backtrace());
        self.error(message).into()
    }

    /// Waits for others where they are no reason to fail.
    async fn lock(&self) -> DataFusionResult<()> {
        let wait = if self.manners.mode == WriteMode::Error { Duration::ZERO } else { LOCK_WAIT_MAX };
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            if self.stage.target.create(COMMITTING).await? {
                return Ok(());
            }
            if tokio::time::Instant::now() >= deadline || self.is_cancelled() {
                let message = format!(
                    "another COPY or INSERT is publishing into the directory, or one was killed while it did: if none \
                     is running, delete {COMMITTING} there; without {SUCCESS} the directory may hold part of that job"
                );
                return Err(self.error(message).into());
            }
            tokio::time::sleep(LOCK_STEP).await;
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    async fn publish_locked(&self, uploads: Vec<Upload>) -> DataFusionResult<()> {
        let target = &self.stage.target;
        let prepared = async {
            if self.manners.mode == WriteMode::Error {
                target.check_is_empty().await?;
            }
            let old = if self.manners.mode == WriteMode::Overwrite { Some(target.data().await?) } else { None };
            let was_complete = target.has(SUCCESS).await?;
            if was_complete {
                target.delete_all(vec![target.object(SUCCESS)]).await?;
            }
            DataFusionResult::Ok((old, was_complete))
        };
        let (old, was_complete) = match prepared.await {
            Ok(prepared) => prepared,
            Err(error) => {
                abort_all(uploads).await;
                return Err(error);
            }
        };
        if let Err((visible, error)) = self.complete_all(uploads).await {
            let undone = target.delete_all(visible).await;
            if undone.is_ok() && was_complete {
                // The old data is as it was. If even this fails, the directory looks unfinished, which is the safe side.
                let _ = target.create(SUCCESS).await;
            }
            return Err(match undone {
                Ok(()) => error,
                Err(undo) => self.error(format!("publishing failed ({error}), and so did undoing it: {undo}")).into(),
            });
        }
        self.finish(old, was_complete || !self.manners.is_insert).await.map_err(|error| self.unfinished(error))
    }

    /// Removes the old data, and says that the directory is complete.
    async fn finish(&self, old: Option<Data>, says_so: bool) -> DataFusionResult<()> {
        let target = &self.stage.target;
        if let Some(old) = old {
            target.remove(old).await?;
        }
        if says_so {
            match self.stage.take_reserved(&target.object(SUCCESS)) {
                Some(mut success) => {
                    if let Err(error) = success.complete().await {
                        success.abort().await;
                        return Err(error.into());
                    }
                }
                None => drop(target.create(SUCCESS).await?),
            }
        }
        Ok(())
    }

    /// Completes all uploads, or says which ones may be visible already, and aborts the others.
    async fn complete_all(&self, uploads: Vec<Upload>) -> Result<(), (Vec<Path>, DataFusionError)> {
        let completions = futures::stream::iter(uploads).map(|mut upload| async {
            if self.is_cancelled() {
                return Err((upload, self.error("cancelled").into()));
            }
            match upload.complete().await {
                Ok(()) => Ok(upload.location),
                Err(error) => {
                    let url = self.stage.target.url_of(&upload.location);
                    Err((upload, crate::store::described(error, &url, "can't be written").into()))
                }
            }
        });
        let mut ended = completions.buffer_unordered(ENDINGS_AT_A_TIME);
        let (mut visible, mut failed, mut first_error) = (Vec::new(), Vec::new(), None);
        while let Some(end) = ended.next().await {
            match end {
                Ok(location) => visible.push(location),
                Err((upload, error)) => {
                    // The answer may have been lost, not the request.
                    visible.push(upload.location.clone());
                    failed.push(upload);
                    self.cancelled.store(true, Ordering::Relaxed);
                    first_error.get_or_insert(error);
                }
            }
        }
        abort_all(failed).await;
        first_error.map_or(Ok(()), |error| Err((visible, error)))
    }
}
