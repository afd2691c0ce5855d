//! An object store that fails on purpose, for a session to register: faults above HTTP.

use std::fmt;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It fails with what may pass.
    Refuse,
    /// Its body breaks off with an error after so many bytes.
    Break(usize),
    /// Its body ends after so many bytes as if it were whole.
    Short(usize),
    /// Its body stops after so many bytes and stays open.
    Stall(usize),
    /// The object is not there.
    Gone,
}

/// Says what happens to a request for the content of an object (`Some`) or to a listing (`None`).
type Script = Box<dyn FnMut(Option<&Path>) -> Fault + Send>;

/// A store in memory whose answers a script spoils.
pub(crate) struct FaultyStore {
    inner: InMemory,
    script: Mutex<Script>,
}

impl FaultyStore {
    pub(crate) fn new(inner: InMemory, script: impl FnMut(Option<&Path>) -> Fault + Send + 'static) -> Self {
        Self { inner, script: Mutex::new(Box::new(script)) }
    }

    fn next(&self, what: Option<&Path>) -> Fault {
        (self.script.lock().expect("nobody panics"))(what)
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

fn broken() -> Error {
    let source = Box::new(HttpError::new(HttpErrorKind::Interrupted, std::io::Error::other("connection reset")));
    Error::Generic { store: "S3", source }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let is_head = options.head;
        let result = self.inner.get_opts(location, options).await?;
        let fault = if is_head { Fault::None } else { self.next(Some(location)) };
        match fault {
            Fault::None => return Ok(result),
            Fault::Refuse => return Err(broken()),
            Fault::Gone => return Err(Error::NotFound { path: location.to_string(), source: "gone".into() }),
            _ => {}
        }
        let (meta, range, attributes) = (result.meta.clone(), result.range.clone(), result.attributes.clone());
        let bytes = result.bytes().await?;
        let part = |sent: usize| stream::iter([Ok(bytes.slice(..sent.min(bytes.len())))]);
        let body: BoxStream<'static, Result<Bytes>> = match fault {
            Fault::Break(sent) => part(sent).chain(stream::iter([Err(broken())])).boxed(),
            Fault::Stall(sent) => part(sent).chain(stream::pending()).boxed(),
            Fault::Short(sent) => part(sent).boxed(),
            _ => part(usize::MAX).boxed(),
        };
        Ok(GetResult { payload: GetResultPayload::Stream(body), meta, range, attributes })
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.inner.list(prefix);
        match self.next(None) {
            Fault::None => listed,
            Fault::Refuse => stream::iter([Err(broken())]).boxed(),
            Fault::Break(objects) => listed.take(objects).chain(stream::iter([Err(broken())])).boxed(),
            Fault::Stall(objects) => listed.take(objects).chain(stream::pending()).boxed(),
            other => panic!("a listing can't be {other:?}"),
        }
    }

    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
