//! A store whose errors name bucket and key in our words (object_store's own hold URLs and the bodies of answers), and
//! whose listings leave out what only marks a directory: the engine takes the first object of a directory for one like all
//! the others.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use super::fault::described;

/// The empty object that says that a directory is complete.
pub(crate) const SUCCESS: &str = "_SUCCESS";

/// The empty object that says that somebody is publishing into a directory.
pub(crate) const COMMITTING: &str = "_committing";

/// What an error says of an object that it has no better reason for.
const NOT_READ: &str = "can't be read";
const NOT_WRITTEN: &str = "can't be written";

/// Passes everything on to `inner`.
pub(crate) struct DescribedStore {
    /// `s3://bucket`: what stands before a key.
    url: String,
    inner: Arc<dyn ObjectStore>,
}

impl DescribedStore {
    pub(crate) fn new(url: impl Into<String>, inner: Arc<dyn ObjectStore>) -> Self {
        Self { url: url.into(), inner }
    }

    fn url_of(&self, location: &Path) -> String {
        format!("{}/{location}", self.url)
    }

    /// Makes errors about `location` ours.
    fn located(&self, location: &Path, can_not: &'static str) -> impl Fn(Error) -> Error + use<> {
        let url = self.url_of(location);
        move |error| described(error, &url, can_not)
    }

    /// Makes errors of a listing ours, and leaves out what is no data.
    fn located_list(
        &self,
        prefix: Option<&Path>,
        list: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let is_data = |object: &ObjectMeta| !matches!(object.location.filename(), Some(SUCCESS | COMMITTING));
        let list = list.map_err(self.located(prefix.unwrap_or(&Path::ROOT), NOT_READ));
        list.try_filter(move |object| std::future::ready(is_data(object))).boxed()
    }
}

/// Not derived: the stores' own `Debug` prints what they were configured with.
impl fmt::Debug for DescribedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for DescribedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DescribedStore({})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for DescribedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await.map_err(self.located(location, NOT_WRITTEN))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, options).await;
        let inner = inner.map_err(self.located(location, NOT_WRITTEN))?;
        Ok(Box::new(DescribedUpload { url: self.url_of(location), inner }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await.map_err(self.located(location, NOT_READ))
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await.map_err(self.located(location, NOT_READ))
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.located_list(prefix, self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.located_list(prefix, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let listed = self.inner.list_with_delimiter(prefix).await;
        listed.map_err(self.located(prefix.unwrap_or(&Path::ROOT), NOT_READ))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await.map_err(self.located(to, NOT_WRITTEN))
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await.map_err(self.located(to, NOT_WRITTEN))
    }
}

#[derive(Debug)]
struct DescribedUpload {
    url: String,
    inner: Box<dyn MultipartUpload>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MultipartUpload for DescribedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (part, url) = (self.inner.put_part(data), self.url.clone());
        Box::pin(async move { part.await.map_err(|error| described(error, &url, NOT_WRITTEN)) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.inner.complete().await.map_err(|error| described(error, &self.url, NOT_WRITTEN))
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await.map_err(|error| described(error, &self.url, NOT_WRITTEN))
    }
}
