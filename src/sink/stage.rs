//! Everything that one COPY writes, held back until all of it is written.
//!
//! A [`StagedStore`] stands in for the target's store while a sink runs. What the sink completes there is only recorded:
//! uploads that are whole and that nobody can see. Publishing (`publish.rs`) completes them for good, [`Stage::abort`]
//! forgets all of them, and those too that the sink never came to complete.

use std::collections::HashMap;
use std::error::Error as _;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::physical_plan::metrics::Count;
use futures::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};
use tokio::runtime::Handle;
use tokio::sync::{RwLock, watch};

use super::cleanup::CleanUp;
use super::target::Target;
use crate::error::Error;
use crate::store::described;

/// Requests that end uploads, completing or aborting them, sent at a time.
pub(super) const ENDINGS_AT_A_TIME: usize = 16;

/// How long an abort waits for writers to let go of their uploads: a task that computes notices late that it is
/// cancelled.
const LETTING_GO_MAX: Duration = Duration::from_secs(30);

/// An upload that is neither completed nor aborted.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) location: Path,
    inner: Box<dyn MultipartUpload>,
    /// Each part that is being sent holds it for reading: an upload must not end before its parts have.
    parts: Arc<RwLock<()>>,
    pub(super) bytes: u64,
}

impl Upload {
    /// Makes it visible.
    pub(super) async fn complete(&mut self) -> Result<()> {
        let _parts_are_sent = self.parts.write().await;
        self.inner.complete().await.map(drop)
    }

    /// Forgets it. That may fail, and then there is nobody to tell but the log: whatever led here is the error.
    pub(super) async fn abort(mut self) {
        let _parts_are_sent = self.parts.write().await;
        if let Err(error) = self.inner.abort().await {
            log::warn!("an unfinished upload of {} is left behind: {error}", self.location);
        }
    }
}

/// What was staged.
#[derive(Default)]
struct Staged {
    finished: Vec<Upload>,
    /// Given up by the sink.
    left: Vec<Upload>,
    /// Begun before the sink asked for them.
    reserved: HashMap<Path, Upload>,
    /// Why the first write failed that did. Not every sink passes that on.
    first_error: Option<Error>,
    /// Nothing is to come any more: what comes nevertheless is aborted.
    is_closed: bool,
}

/// The uploads of one COPY.
pub(super) struct Stage {
    pub(super) target: Arc<Target>,
    /// Where clean-ups run: the last drop may happen on a thread without a runtime.
    runtime: Handle,
    staged: Mutex<Staged>,
    /// Uploads that are being begun or written.
    open: watch::Sender<usize>,
    /// Bytes that the store has taken so far.
    bytes: Count,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("target", &self.target.url.shown).finish_non_exhaustive()
    }
}

impl Stage {
    /// Needs a tokio runtime around it.
    pub(super) fn new(target: Arc<Target>, bytes: Count) -> Arc<Self> {
        let (runtime, open) = (Handle::current(), watch::Sender::new(0));
        Arc::new(Self { target, runtime, staged: Mutex::default(), open, bytes })
    }

    fn staged(&self) -> MutexGuard<'_, Staged> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Begins an upload, in a task of its own: were it cancelled between the request and the answer, nobody would know
    /// what to abort.
    async fn begin(self: &Arc<Self>, location: &Path, options: PutMultipartOptions) -> Result<StagedUpload> {
        let (stage, location, open) = (Arc::clone(self), location.clone(), OpenUpload::new(self));
        // Counted first: an abort waits for it, or it sees the abort.
        if self.staged().is_closed {
            return Err(ended());
        }
        let begun = self.runtime.spawn(async move {
            let begun = stage.target.begin(&location, options).await;
            let inner = begun.map_err(|error| stage.noted(error))?;
            let upload = Upload { location, inner, parts: Arc::default(), bytes: 0 };
            Ok(StagedUpload { stage, upload: Some((upload, open)) })
        });
        begun.await?
    }

    /// Remembers the error, if it is the first.
    fn noted(&self, error: StoreError) -> StoreError {
        let ours = error.source().and_then(|source| source.downcast_ref::<Error>());
        if let Some(ours) = ours {
            self.staged().first_error.get_or_insert_with(|| ours.again());
        }
        error
    }

    /// Why the first write failed that did.
    pub(super) fn first_error(&self) -> Option<Error> {
        self.staged().first_error.take()
    }

    /// Begins an upload of `location` now, for whoever writes it: if it can't be written, nothing needs to be read.
    pub(super) async fn reserve(self: &Arc<Self>, location: &Path) -> Result<()> {
        let mut begun = self.begin(location, PutMultipartOptions::default()).await?;
        if let Some((upload, _open)) = begun.upload.take() {
            self.staged().reserved.insert(location.clone(), upload);
        }
        Ok(())
    }

    /// What [`Stage::reserve`] began.
    pub(super) fn take_reserved(&self, location: &Path) -> Option<Upload> {
        self.staged().reserved.remove(location)
    }

    /// Everything that the sink has completed, and how many uploads it has not: none, if it has ended well.
    pub(super) fn take_finished(&self) -> (Vec<Upload>, usize) {
        let mut staged = self.staged();
        (std::mem::take(&mut staged.finished), staged.left.len())
    }

    /// An upload that nobody writes any more.
    fn give_back(&self, upload: Upload, open: OpenUpload) {
        let mut staged = self.staged();
        if staged.is_closed {
            drop(staged);
            let clean_up = CleanUp::begin();
            self.runtime.spawn(async move {
                upload.abort().await;
                drop((open, clean_up));
            });
        } else {
            staged.left.push(upload);
        }
    }

    /// Forgets all that is staged and all that is to come, and the folders that were made for it.
    pub(super) async fn abort(&self) {
        let uploads = {
            let mut staged = self.staged();
            staged.is_closed = true;
            let Staged { finished, left, reserved, .. } = &mut *staged;
            let taken = std::mem::take(finished).into_iter().chain(std::mem::take(left));
            taken.chain(std::mem::take(reserved).into_values()).collect()
        };
        abort_all(uploads).await;
        let mut open = self.open.subscribe();
        // The sender is this stage's own.
        if tokio::time::timeout(LETTING_GO_MAX, open.wait_for(|open| *open == 0)).await.is_err() {
            log::warn!("{}: what was staged is still being written, and removed later", self.target.url.shown);
        }
        let made = Arc::clone(&self.target.made);
        // Only a panic could fail it.
        let _ = tokio::task::spawn_blocking(move || made.remove()).await;
    }
}

/// Aborts uploads, several at a time.
pub(super) async fn abort_all(uploads: Vec<Upload>) {
    let aborts = futures::stream::iter(uploads).map(Upload::abort);
    aborts.buffer_unordered(ENDINGS_AT_A_TIME).collect::<()>().await;
}

/// Counts an upload as open until it is dropped.
#[derive(Debug)]
struct OpenUpload(Arc<Stage>);

impl OpenUpload {
    fn new(stage: &Arc<Stage>) -> Self {
        stage.open.send_modify(|open| *open += 1);
        Self(Arc::clone(stage))
    }
}

impl Drop for OpenUpload {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

/// An upload in the hands of a sink. Dropped before it is completed, it goes back to the stage.
#[derive(Debug)]
struct StagedUpload {
    stage: Arc<Stage>,
    /// Gone once it is completed or aborted.
    upload: Option<(Upload, OpenUpload)>,
}

impl Drop for StagedUpload {
    fn drop(&mut self) {
        if let Some((upload, open)) = self.upload.take() {
            self.stage.give_back(upload, open);
        }
    }
}

fn ended() -> StoreError {
    StoreError::Generic { store: "stage", source: "the upload has ended".into() }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for StagedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let Some((upload, _)) = &mut self.upload else { return Box::pin(async { Err(ended()) }) };
        let bytes = data.content_length();
        upload.bytes += bytes as u64;
        // Nobody waits to write before the sink has let go of the upload.
        let sending = Arc::clone(&upload.parts).try_read_owned();
        let (part, counted) = (upload.inner.put_part(data), self.stage.bytes.clone());
        let (stage, url) = (Arc::clone(&self.stage), self.stage.target.url_of(&upload.location));
        Box::pin(async move {
            let _sending = sending;
            part.await.map_err(|error| stage.noted(described(error, &url, "can't be written")))?;
            counted.add(bytes);
            Ok(())
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (upload, open) = self.upload.take().ok_or_else(ended)?;
        let mut staged = self.stage.staged();
        if staged.is_closed {
            drop(staged);
            self.stage.give_back(upload, open);
            return Err(ended());
        }
        staged.finished.push(upload);
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        let (upload, _open) = self.upload.take().ok_or_else(ended)?;
        upload.abort().await;
        Ok(())
    }
}

/// The target's store as a sink sees it: what is written goes to the stage, all else to the store.
#[derive(Debug)]
pub(super) struct StagedStore {
    stage: Arc<Stage>,
    inner: Arc<dyn ObjectStore>,
}

impl StagedStore {
    pub(super) fn new(stage: Arc<Stage>) -> Self {
        let inner = Arc::clone(&stage.target.store);
        Self { stage, inner }
    }
}

impl fmt::Display for StagedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StagedStore({})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for StagedStore {
    /// An upload of one part: held in memory, a thousand small files were no small thing.
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let PutOptions { mode: PutMode::Overwrite, tags, attributes, extensions } = options else {
            let operation = "a conditional put into a stage".to_owned();
            return Err(StoreError::NotImplemented { operation, implementer: self.to_string() });
        };
        let options = PutMultipartOptions { tags, attributes, extensions };
        let mut upload = self.put_multipart_opts(location, options).await?;
        if payload.content_length() > 0 {
            upload.put_part(payload).await?;
        }
        upload.complete().await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let begun = match self.stage.take_reserved(location) {
            Some(upload) => {
                let (stage, open) = (Arc::clone(&self.stage), OpenUpload::new(&self.stage));
                StagedUpload { stage, upload: Some((upload, open)) }
            }
            None => self.stage.begin(location, options).await?,
        };
        Ok(Box::new(begun))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}
