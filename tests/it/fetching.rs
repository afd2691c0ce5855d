//! What isn't asked for isn't fetched: counted by the store that serves it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::prelude::SessionConfig;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use url::Url;

use crate::session::{Answer, Session};

const MIB: u64 = 1 << 20;

/// What a body comes in.
const CHUNK_BYTES: u64 = 64 << 10;

/// An archive that nobody has to hold: members of zeros, all of one size.
#[derive(Debug, Clone, Copy)]
struct Archive {
    members: u64,
    member_bytes: u64,
}

impl Archive {
    fn stride(&self) -> u64 {
        512 + self.member_bytes.next_multiple_of(512)
    }

    fn size(&self) -> u64 {
        self.members * self.stride() + 1024
    }

    fn bytes(&self, range: Range<u64>) -> Bytes {
        let mut bytes = vec![0; usize::try_from(range.end - range.start).expect("it fits memory")];
        for member in range.start / self.stride()..self.members.min(range.end / self.stride() + 1) {
            let at = member * self.stride();
            for (place, byte) in (at..).zip(self.header(member)) {
                if range.contains(&place) {
                    bytes[usize::try_from(place - range.start).expect("it fits memory")] = byte;
                }
            }
        }
        bytes.into()
    }

    fn header(&self, member: u64) -> [u8; 512] {
        let mut header = tar::Header::new_ustar();
        header.set_path(format!("m{member}")).expect("a short path");
        header.set_size(self.member_bytes);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_cksum();
        *header.as_bytes()
    }
}

/// Serves archives, and counts.
#[derive(Debug, Default)]
struct Counting {
    archives: BTreeMap<Path, Archive>,
    /// A chunk a millisecond; else as fast as it is taken.
    is_slow: bool,
    asked: Mutex<Vec<(Path, Range<u64>)>>,
    served: Arc<AtomicU64>,
    /// Names of the threads that sent requests.
    threads: Mutex<BTreeSet<String>>,
}

impl Counting {
    fn of(archives: impl IntoIterator<Item = (impl AsRef<str>, Archive)>) -> Self {
        let archives = archives.into_iter().map(|(key, archive)| (Path::from(key.as_ref()), archive)).collect();
        Self { archives, ..Self::default() }
    }

    fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    fn keys_asked(&self) -> BTreeSet<String> {
        self.asked.lock().expect("no panic under the lock").iter().map(|(key, _)| key.to_string()).collect()
    }

    fn note_thread(&self) {
        self.threads
            .lock()
            .expect("no panic under the lock")
            .insert(std::thread::current().name().unwrap_or_default().to_owned());
    }

    fn meta(location: &Path, archive: &Archive) -> ObjectMeta {
        let (last_modified, e_tag) = (Default::default(), Some("\"1\"".to_owned()));
        ObjectMeta { location: location.clone(), last_modified, size: archive.size(), e_tag, version: None }
    }
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counting")
    }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.note_thread();
        let Some(archive) = self.archives.get(location).copied() else {
            return Err(StoreError::NotFound { path: location.to_string(), source: "it was never put".into() });
        };
        let meta = Self::meta(location, &archive);
        let range =
            options.range.map_or(0..meta.size, |range| range.as_range(meta.size).expect("a range in the object"));
        let (chunks, served, is_slow) = (range.clone(), Arc::clone(&self.served), self.is_slow);
        if !options.head {
            self.asked.lock().expect("no panic under the lock").push((location.clone(), range.clone()));
        }
        let starts = chunks.clone().step_by(usize::try_from(CHUNK_BYTES).expect("a few KiB"));
        let body = stream::iter(starts).then(move |start| {
            let (served, end) = (Arc::clone(&served), chunks.end.min(start + CHUNK_BYTES));
            async move {
                if is_slow {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                served.fetch_add(end - start, Ordering::Relaxed);
                Ok(archive.bytes(start..end))
            }
        });
        let payload = GetResultPayload::Stream(body.boxed());
        Ok(GetResult { payload, meta, range, attributes: Default::default() })
    }

    fn list(&self, _prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.note_thread();
        let metas: Vec<_> = self.archives.iter().map(|(key, archive)| Ok(Self::meta(key, archive))).collect();
        stream::iter(metas).boxed()
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(StoreError::NotImplemented { operation: "put".into(), implementer: "Counting".into() })
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(StoreError::NotImplemented { operation: "put".into(), implementer: "Counting".into() })
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        stream::empty().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(StoreError::NotImplemented { operation: "list".into(), implementer: "Counting".into() })
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(StoreError::NotImplemented { operation: "copy".into(), implementer: "Counting".into() })
    }
}

fn session(store: Counting, config: SessionConfig) -> (Session, Arc<Counting>) {
    let (session, store) = (Session::with(config), Arc::new(store));
    session.ctx.register_object_store(&Url::parse("s3://b").expect("a URL"), Arc::clone(&store) as _);
    (session, store)
}

fn bytes(answer: &Answer) -> (u64, u64, u64) {
    let totals = tarsql::reports(&answer.plan)[0].totals();
    (totals.bytes_fetched.value(), totals.bytes_hopped.value(), totals.bytes_read.value())
}

#[tokio::test]
async fn a_listing_of_large_members_fetches_their_headers() {
    let archive = Archive { members: 20, member_bytes: 100 * MIB };
    let (session, store) = session(Counting::of([("a.tar", archive)]), SessionConfig::new());
    let answer = session.ok("SELECT path, size FROM read_tar('s3://b/a.tar')").await;
    assert_eq!(answer.row_count(), 20);
    let (fetched, hopped, read) = bytes(&answer);
    assert!(fetched < MIB && fetched == store.served(), "{fetched} of {}", store.served());
    assert_eq!(fetched + hopped, archive.size());
    assert!((20 * 512..=fetched).contains(&read), "{read}");
    assert_eq!(answer.run.completeness, Some(1.0));
    // The store counts what EXPLAIN ANALYZE shows.
    let explained = session.rows("EXPLAIN ANALYZE SELECT path, size FROM read_tar('s3://b/a.tar')").await.concat();
    for name in ["bytes_fetched=", "bytes_hopped=2.1", "bytes_read=", "requests=21"] {
        assert!(explained.contains(name), "{name}: {explained}");
    }
}

#[tokio::test]
async fn one_member_costs_its_own_bytes() {
    let archive = Archive { members: 20, member_bytes: 16 * MIB };
    for member in [1, 7, 19] {
        let (session, store) = session(Counting::of([("a.tar", archive)]), SessionConfig::new());
        let sql = format!("SELECT content FROM read_tar('s3://b/a.tar') WHERE path = 'm{member}'");
        let answer = session.ok(&sql).await;
        assert_eq!(answer.row_count(), 1);
        let (fetched, hopped, _) = bytes(&answer);
        assert!(fetched < 16 * MIB + MIB, "{fetched} for m{member}");
        assert_eq!((fetched, fetched + hopped), (store.served(), archive.size()));
        assert_eq!(answer.run.completeness, Some(1.0));
    }
}

#[tokio::test]
async fn a_limit_ends_the_reads_under_way() {
    let archive = Archive { members: 400, member_bytes: MIB };
    let store = Counting { is_slow: true, ..Counting::of([("a.tar", archive)]) };
    let (session, store) = session(store, SessionConfig::new());
    let answer = session.ok("SELECT path, content FROM read_tar('s3://b/a.tar') LIMIT 3").await;
    assert_eq!(answer.row_count(), 3);
    let served = store.served();
    assert!(served < 100 * MIB, "{served}");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(store.served(), served, "nobody reads on");
}

#[tokio::test]
async fn archives_that_a_filter_rules_out_are_not_asked_for() {
    let archive = Archive { members: 2, member_bytes: 10 };
    let store = || Counting::of((0..9).map(|n| (format!("a{n}.tar"), archive)));
    for (filter, want) in [
        ("archive = 's3://b/a4.tar'", &["a4.tar"][..]),
        ("archive LIKE '%2.tar' OR archive > 's3://b/a7.tar'", &["a2.tar", "a8.tar"]),
        ("archive = 's3://b/a4.tar' AND path = 'm1'", &["a4.tar"]),
        ("archive = 'none of them'", &[]),
    ] {
        let (session, store) = session(store(), SessionConfig::new());
        session.ok(&format!("SELECT count(content) FROM read_tar('s3://b/*.tar') WHERE {filter}")).await;
        assert_eq!(store.keys_asked(), want.iter().map(|key| (*key).to_owned()).collect(), "{filter}");
    }
}

#[tokio::test]
async fn very_many_archives_are_planned_in_bundles_and_read_once() {
    let archives =
        (0..5_000).map(|n| (format!("d={}/a{n:04}.tar", n / 1_000), Archive { members: 1, member_bytes: n % 7 }));
    let (session, store) = session(Counting::of(archives), SessionConfig::new());
    let locator = "s3://b/**/*.tar";
    let sql = format!("SELECT count(*), count(DISTINCT archive), sum(size) FROM read_tar('{locator}')");
    let answer = session.ok(&sql).await;
    assert_eq!(answer.rows(), ["5000|5000|14995"]);
    assert_eq!(answer.run.listing.files, 5_000);
    assert_eq!(answer.run.completeness, Some(1.0));
    assert_eq!(store.keys_asked().len(), 5_000);
    let explained = session.rows(&format!("EXPLAIN {sql}")).await.concat();
    assert!(explained.len() < 10_000, "{explained}");
    session.ok(&format!("CREATE EXTERNAL TABLE t STORED AS TAR PARTITIONED BY (d) LOCATION '{locator}'")).await;
    let by_day = session.rows("SELECT d, count(*), min(archive) FROM t WHERE d <> '3' GROUP BY d ORDER BY d").await;
    let want: Vec<String> = [0, 1, 2, 4].map(|d| format!("{d}|1000|s3://b/d={d}/a{d}000.tar")).into();
    assert_eq!(by_day, want);
}

#[tokio::test]
async fn requests_are_sent_from_the_runtime_that_is_there_for_them() {
    let io = tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("requests").enable_all().build();
    let io = io.expect("a runtime");
    let archives =
        [("a.tar", Archive { members: 3, member_bytes: 9 }), ("b.tar", Archive { members: 3, member_bytes: 9 })];
    for (config, want) in [
        (SessionConfig::new().with_extension(Arc::new(tarsql::IoRuntime::new(io.handle().clone()))), true),
        (SessionConfig::new(), false),
    ] {
        let (session, store) = session(Counting::of(archives), config);
        let count = "SELECT count(content) FROM read_tar('s3://b/*.tar')";
        assert_eq!(session.rows(count).await, ["6"]);
        let threads = store.threads.lock().expect("no panic under the lock").clone();
        assert_eq!(threads == BTreeSet::from(["requests".to_owned()]), want, "{threads:?}");
    }
    io.shutdown_background();
}
