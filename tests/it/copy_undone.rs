//! A COPY whose publishing fails half-way, because the store does: what was visible already goes away again.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use url::Url;

use crate::session::Session;

/// Requests that fail, counted from 1; none if it is 0.
#[derive(Debug, Clone, Copy, Default)]
struct Faults {
    /// Of the requests that complete uploads.
    completion: usize,
    /// The first request to delete an object of data that fails; all that come after it fail too.
    deletion: usize,
}

#[derive(Debug, Default)]
struct Counts {
    completions: AtomicUsize,
    deletions: AtomicUsize,
    /// Uploads that are neither completed nor aborted.
    open: AtomicUsize,
}

/// A store in memory that fails when it is told to.
#[derive(Debug, Default)]
struct FaultyStore {
    inner: InMemory,
    faults: Faults,
    counts: Arc<Counts>,
}

fn fault() -> Error {
    Error::Generic { store: "faulty", source: "as it was told to".into() }
}

impl FaultyStore {
    async fn keys(&self) -> Vec<String> {
        let keys = self.inner.list(None).map(|object| object.expect("memory").location.to_string());
        let mut keys: Vec<_> = keys.collect().await;
        keys.sort();
        keys
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, options).await?;
        self.counts.open.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(FaultyUpload { inner, fails_at: self.faults.completion, counts: Arc::clone(&self.counts) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (counts, fails_from) = (Arc::clone(&self.counts), self.faults.deletion);
        let locations = locations.map(move |location| {
            let location = location?;
            let is_data = !location.filename().is_some_and(|name| name.starts_with('_'));
            match is_data && fails_from > 0 && counts.deletions.fetch_add(1, Ordering::Relaxed) + 1 >= fails_from {
                true => Err(fault()),
                false => Ok(location),
            }
        });
        self.inner.delete_stream(locations.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    fails_at: usize,
    counts: Arc<Counts>,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        if self.counts.completions.fetch_add(1, Ordering::Relaxed) + 1 == self.fails_at {
            return Err(fault());
        }
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
        self.inner.abort().await
    }
}

/// Files that the COPY below writes: one in each folder.
const FILES: usize = 5;

fn copy(format: &str, options: &str) -> String {
    format!(
        "COPY (SELECT value, value % {FILES} AS k FROM generate_series(1, 2000)) TO 'mem://b/d/' STORED AS {format} \
         PARTITIONED BY (k) {options}"
    )
}

/// Runs the COPY over what a directory has already; returns its error, the keys before and after, and the store.
async fn failed(format: &str, faults: Faults, options: &str) -> (String, [Vec<String>; 2], FaultyCounts) {
    let session = Session::new();
    let inner = InMemory::new();
    let url = Url::parse("mem://b").expect("a URL");
    let healthy = Arc::new(FaultyStore { inner, ..FaultyStore::default() });
    session.ctx.register_object_store(&url, Arc::clone(&healthy) as _);
    if options.contains("write_mode") {
        session.ok(&copy(format, "")).await;
    }
    let before = healthy.keys().await;
    let inner = healthy.inner.fork();
    let store = Arc::new(FaultyStore { inner, faults, counts: Arc::default() });
    session.ctx.register_object_store(&url, Arc::clone(&store) as _);
    let error = session.sql(&copy(format, options)).await.expect_err("the store fails").to_string();
    let counts = FaultyCounts { open: store.counts.open.load(Ordering::Relaxed) };
    (error, [before, store.keys().await], counts)
}

struct FaultyCounts {
    open: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_visible_go_away_when_another_one_fails() {
    for format in ["parquet", "csv"] {
        for options in ["", "OPTIONS ('write_mode' 'append')", "OPTIONS ('write_mode' 'overwrite')"] {
            for completion in 1..=FILES {
                let (error, [before, after], counts) =
                    failed(format, Faults { completion, ..Faults::default() }, options).await;
                let case = format!("{format} {options} {completion}: {error}");
                assert!(error.contains("mem://b/d/k=") && error.contains("as it was told to"), "{case}");
                assert!(!error.contains("published"), "{case}");
                assert_eq!(after, before, "{case}");
                assert_eq!(counts.open, 0, "{case}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undoing_that_fails_is_told() {
    let faults = Faults { completion: FILES, deletion: 1 };
    let (error, [before, after], counts) = failed("parquet", faults, "").await;
    assert!(error.contains("publishing failed (") && error.contains("and so did undoing it"), "{error}");
    // What is left behind is in a directory that doesn't say it is complete.
    assert!(before.is_empty() && !after.contains(&"d/_SUCCESS".to_owned()), "{after:?}");
    assert_eq!(counts.open, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_after_all_files_are_visible_says_that_they_are() {
    let published = "the new files are published, but finishing the directory failed";
    let overwrite = "OPTIONS ('write_mode' 'overwrite')";
    for (faults, options) in [
        (Faults { completion: FILES + 1, ..Faults::default() }, ""),
        (Faults { completion: FILES + 1, ..Faults::default() }, overwrite),
        (Faults { deletion: 1, ..Faults::default() }, overwrite),
        (Faults { deletion: FILES, ..Faults::default() }, overwrite),
    ] {
        let (error, [before, after], counts) = failed("parquet", faults, options).await;
        let case = format!("{faults:?} {options}: {error}");
        assert!(error.contains(published) && error.contains("as it was told to"), "{case}");
        let new = after.iter().filter(|key| !before.contains(key)).count();
        assert_eq!(new, FILES, "{case}: {after:?}");
        assert!(!after.contains(&"d/_SUCCESS".to_owned()) && !after.contains(&"d/_committing".to_owned()), "{after:?}");
        assert_eq!(counts.open, 0, "{case}");
    }
}
