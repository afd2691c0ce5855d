//! Faults of stores and servers: each ends in the same bytes or in an error, never in other bytes.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use super::*;
use crate::store::connect::connect;
use crate::store::{Purpose, StoreOptions};

mod schedules;

const SIZE: usize = 3_000_000;

fn content() -> Bytes {
    static CONTENT: OnceLock<Bytes> = OnceLock::new();
    CONTENT.get_or_init(|| (0..SIZE).map(|i| u8::try_from((i * 31 + i / 251) % 256).unwrap()).collect()).clone()
}

/// What goes wrong, for the first `faults` answers or for all of them.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// The request fails with an error that may pass.
    Refuse,
    /// The body breaks off with an error after so many bytes.
    Break(usize),
    /// The body ends after so many bytes as if it were whole.
    Short(usize),
    /// The body goes on past its end.
    Long,
    /// The answer comes, its body does not.
    Stall,
    /// The answer does not come.
    Hang,
    /// The ETag is another one.
    ETag,
    /// The object has another length.
    Size,
    /// Another range is sent than was asked for.
    Range,
}

/// A store in memory that fails on purpose, and counts.
#[derive(Debug)]
struct Faulty {
    inner: InMemory,
    fault: Fault,
    left: Mutex<u32>,
    /// Draws the fault of every answer, in place of the two above.
    schedule: Option<Mutex<schedules::Schedule>>,
    /// Ranges that were asked for.
    asked: Mutex<Vec<Range<u64>>>,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl Faulty {
    fn next(&self) -> Fault {
        if let Some(schedule) = &self.schedule {
            return schedule.lock().unwrap().draw();
        }
        let mut left = self.left.lock().unwrap();
        let is_left = *left > 0;
        *left -= u32::from(is_left);
        if is_left { self.fault } else { Fault::None }
    }
}

fn broken() -> StoreError {
    let source = Box::new(HttpError::new(HttpErrorKind::Interrupted, std::io::Error::other("connection reset")));
    StoreError::Generic { store: "S3", source }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        if let Some(object_store::GetRange::Bounded(range)) = &options.range {
            self.asked.lock().unwrap().push(range.clone());
        }
        let mut result = self.inner.get_opts(location, options).await?;
        let fault = self.next();
        let (meta, range, attributes) = (result.meta.clone(), result.range.clone(), result.attributes.clone());
        match fault {
            Fault::None => return Ok(result),
            Fault::Refuse => return Err(broken()),
            Fault::Hang => std::future::pending().await,
            Fault::ETag => {
                result.meta.e_tag = Some("\"other\"".to_owned());
                return Ok(result);
            }
            Fault::Size => {
                result.meta.size += 1;
                return Ok(result);
            }
            Fault::Range => {
                result.range.start += 1;
                return Ok(result);
            }
            _ => {}
        }
        let bytes = result.bytes().await?;
        let chunks = |bytes: Bytes| -> Vec<_> {
            (0..bytes.len()).step_by(1000).map(|i| Ok(bytes.slice(i..bytes.len().min(i + 1000)))).collect()
        };
        let body: BoxStream<'static, _> = match fault {
            Fault::Break(n) => {
                let mut body = chunks(bytes.slice(..n.min(bytes.len())));
                body.push(Err(broken()));
                stream::iter(body).boxed()
            }
            Fault::Short(n) => stream::iter(chunks(bytes.slice(..n.min(bytes.len())))).boxed(),
            Fault::Long => stream::iter(chunks(bytes)).chain(stream::iter([Ok(Bytes::from_static(b"x"))])).boxed(),
            _ => stream::iter(chunks(bytes.slice(..bytes.len().min(1000)))).chain(stream::pending()).boxed(),
        };
        Ok(GetResult { payload: GetResultPayload::Stream(body), meta, range, attributes })
    }

    async fn put_opts(&self, path: &Path, payload: PutPayload, opts: PutOptions) -> object_store::Result<PutResult> {
        self.inner.put_opts(path, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, opts).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

async fn faulty(fault: Fault, faults: u32) -> Arc<Faulty> {
    let inner = InMemory::new();
    inner.put(&"a.tar".into(), content().into()).await.unwrap();
    Arc::new(Faulty { inner, fault, left: Mutex::new(faults), schedule: None, asked: Mutex::default() })
}

async fn target(store: Arc<dyn ObjectStore>) -> FetchTarget {
    let meta = store.head(&"a.tar".into()).await.unwrap();
    FetchTarget {
        store,
        location: meta.location,
        url: "s3://b/a.tar".to_owned(),
        size: Some(meta.size),
        e_tag: meta.e_tag,
        version: None,
    }
}

/// Small enough for many ranges, and impatient.
fn settings() -> FetchSettings {
    FetchSettings {
        first_range_bytes: 10_000,
        hop_range_bytes: 2_000,
        range_bytes: 100_000,
        prefetch_bytes: 300_000,
        hop_bytes_min: 50_000,
        retry: RetryPolicy { max_retries: 3, initial_backoff_ms: 1, stall_timeout_ms: 50, ..RetryPolicy::default() },
        ..FetchSettings::default()
    }
}

fn reader_of(target: FetchTarget, settings: FetchSettings, stats: Arc<Stats>) -> ObjectReader {
    ObjectReader::new(target, settings, Allowance::unlimited(), stats)
}

async fn read_all(reader: &mut ObjectReader) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(piece) = reader.next().await? {
        assert!(!piece.is_empty());
        all.extend_from_slice(&piece);
        assert_eq!(reader.position(), len_of(&all));
    }
    Ok(all)
}

#[tokio::test]
async fn without_a_size_nothing_is_asked_for_behind_the_first_range() {
    let store = faulty(Fault::None, 0).await;
    let target = FetchTarget { size: None, ..target(Arc::clone(&store) as Arc<dyn ObjectStore>).await };
    // As where memory is scarce: the first range is shorter than it would be.
    let settings = FetchSettings { first_range_bytes: 1 << 30, range_bytes: 50_000, ..settings() };
    let mut reader = reader_of(target, settings, Arc::new(Stats::default()));
    assert_eq!(reader.next().await.unwrap().unwrap(), content()[..50_000]);
    assert_eq!(store.asked.lock().unwrap().as_slice(), std::slice::from_ref(&(0..50_000)));
    while reader.next().await.unwrap().is_some() {}
    assert_eq!(reader.position(), len_of(&content()));
}

#[tokio::test]
async fn every_fault_ends_in_the_same_bytes_or_in_an_error() {
    use Fault as F;
    for (fault, faults, want) in [
        (F::None, 0, Ok(())),
        (F::Refuse, 3, Ok(())),
        (F::Refuse, 1000, Err("gave up after 4 attempts in")),
        (F::Break(0), 3, Ok(())),
        (F::Break(3_500), 500, Ok(())),
        (F::Break(0), 1000, Err("connection reset")),
        (F::Short(0), 3, Ok(())),
        (F::Short(4_000), 500, Ok(())),
        (F::Short(0), 1000, Err("the body ended 10000 bytes early")),
        (F::Long, 1, Err("more than announced")),
        (F::Stall, 2, Ok(())),
        (F::Hang, 2, Ok(())),
        (F::Hang, 1000, Err("no answer within 50 ms")),
        (F::ETag, 1, Err("the object was replaced while it was read (its ETag was")),
        (F::Size, 1, Err("it had 3000000 bytes, now it has 3000001")),
        (F::Range, 1, Err("the server sent bytes")),
    ] {
        // The listing that `target` does is not to fail.
        let store = faulty(fault, 0).await;
        let target = target(Arc::clone(&store) as _).await;
        *store.left.lock().unwrap() = faults;
        let stats = Arc::new(Stats::default());
        let mut reader = reader_of(target, settings(), Arc::clone(&stats));
        let read = read_all(&mut reader).await;
        match want {
            Ok(()) => {
                assert!(read.unwrap() == content(), "{fault:?} gives other bytes");
                assert_eq!(stats.retries.value() > 0, faults > 0, "{fault:?}");
                let is_resumed = matches!(fault, F::Break(1..) | F::Short(1..) | F::Stall);
                assert_eq!(stats.resumed_bytes.value() > 0, is_resumed, "{fault:?}");
                assert_eq!(stats.bytes_fetched.value(), len_of(&content()), "{fault:?}");
            }
            Err(want) => {
                let error = read.unwrap_err();
                assert!(error.to_string().contains(want), "{fault:?}: {error}");
                let changed = matches!(fault, F::ETag | F::Size);
                assert_eq!(error.kind() == ErrorKind::Changed, changed, "{fault:?}");
                assert!(reader.next().await.is_err(), "no end after an error");
            }
        }
    }
}

#[tokio::test]
async fn an_object_that_is_replaced_between_ranges_is_an_error() {
    for known in [true, false] {
        let store = faulty(Fault::None, 0).await;
        let mut target = target(Arc::clone(&store) as _).await;
        target.e_tag = target.e_tag.filter(|_| known);
        let mut reader = reader_of(target, settings(), Arc::default());
        reader.next().await.unwrap();
        store.put(&"a.tar".into(), content().into()).await.unwrap();
        assert_eq!(read_all_from(&mut reader).await.unwrap_err().kind(), ErrorKind::Changed);
    }
}

/// As many resumptions as it takes, in one range.
#[tokio::test]
async fn a_range_that_breaks_off_again_and_again_is_read_to_its_end() {
    for (progress, want) in [(20_000, true), (5_000, true), (1, false)] {
        let store = faulty(Fault::Break(progress), 0).await;
        let target = target(Arc::clone(&store) as _).await;
        *store.left.lock().unwrap() = u32::MAX;
        let stats = Arc::new(Stats::default());
        let settings = FetchSettings { first_range_bytes: 3_000_000, range_bytes: 3_000_000, ..settings() };
        let settings = FetchSettings { prefetch_bytes: 3_000_000, ..settings };
        let mut reader = reader_of(target, settings, Arc::clone(&stats));
        match read_all(&mut reader).await {
            Ok(read) => assert!(want && read == content() && stats.retries.value() > 148, "{progress}"),
            Err(error) => assert!(!want && error.to_string().contains("gave up after 4 attempts"), "{error}"),
        }
    }
}

#[tokio::test]
async fn a_wait_that_is_given_up_counts() {
    let store = faulty(Fault::None, 0).await;
    let target = target(Arc::clone(&store) as _).await;
    let stats = Arc::new(Stats::default());
    let mut reader = reader_of(target, settings(), Arc::clone(&stats));
    let mut waited = 0;
    for _ in 0..3 {
        {
            let mut next = std::pin::pin!(reader.next());
            assert!(futures::poll!(&mut next).is_pending());
        }
        let before = std::mem::replace(&mut waited, stats.fetch_wait_nanos.value());
        assert!(waited > before, "{waited} after {before}");
    }
    assert_eq!(read_all_from(&mut reader).await.unwrap(), len_of(&content()));
}

async fn read_all_from(reader: &mut ObjectReader) -> Result<u64> {
    while reader.next().await?.is_some() {}
    Ok(reader.position())
}

#[tokio::test]
async fn skips_give_the_same_bytes_as_reading() {
    let content = content();
    let size = len_of(&content);
    for sized in [true, false] {
        for skip in [0, 1, 999, 10_000, 49_999, 50_000, 50_001, 123_456, 1_000_000, 2_999_999, 3_000_000, u64::MAX] {
            let store = faulty(Fault::Break(7_000), 5).await;
            *store.left.lock().unwrap() = 0;
            let mut target = target(Arc::clone(&store) as _).await;
            *store.left.lock().unwrap() = 5;
            target.size = target.size.filter(|_| sized);
            let mut reader = reader_of(target, settings(), Arc::default());
            if skip == 999 {
                reader.skip(5);
            }
            let mut pieces = 0;
            loop {
                let start = reader.position();
                let Some(piece) = reader.next().await.unwrap() else { break };
                let at = usize::try_from(start).unwrap();
                assert!(piece == content[at..at + piece.len()], "skip {skip} at {start}");
                assert_eq!(reader.position(), start + len_of(&piece));
                pieces += 1;
                if pieces % 2 == 0 {
                    reader.skip(skip);
                }
            }
            assert_eq!(reader.position(), size, "skip {skip}");
        }
    }
}

#[tokio::test]
async fn hops_fetch_little_and_the_start_is_small() {
    let store = faulty(Fault::None, 0).await;
    let stats = Arc::new(Stats::default());
    let mut reader = reader_of(target(Arc::clone(&store) as _).await, settings(), Arc::clone(&stats));
    reader.next().await.unwrap();
    assert_eq!((stats.requests.value(), stats.bytes_fetched.value()), (1, 10_000));
    let mut hops = 0;
    loop {
        reader.skip(300_000);
        if reader.next().await.unwrap().is_none() {
            break;
        }
        hops += 1;
    }
    assert_eq!((hops, stats.requests.value()), (9, 10));
    assert_eq!(stats.bytes_fetched.value(), 10_000 + 9 * 2_000);
    assert_eq!(stats.bytes_fetched.value() + stats.bytes_hopped.value(), len_of(&content()));
}

/// After a hop, what is wanted comes at once, and behind it no more than some headers.
#[tokio::test]
async fn what_is_wanted_is_asked_for_and_little_behind_it() {
    for says_so in [true, false] {
        let store = faulty(Fault::None, 0).await;
        let mut reader = reader_of(target(Arc::clone(&store) as _).await, settings(), Arc::default());
        reader.next().await.unwrap();
        reader.skip(1_000_000);
        reader.next().await.unwrap();
        let end = reader.position() + 500_000;
        while reader.position() < end {
            if says_so {
                reader.want(end - reader.position());
            }
            reader.next().await.unwrap();
        }
        let asked_to = store.asked.lock().unwrap().iter().map(|range| range.end).max().unwrap();
        match says_so {
            true => assert!(asked_to <= end + 12_000, "{asked_to} for {end}"),
            // The window opens, and reads on.
            false => assert!(asked_to >= end + 50_000, "{asked_to} for {end}"),
        }
    }
}

/// Small members that are wanted one after the other open the window again.
#[tokio::test]
async fn reading_on_after_a_hop_opens_the_window() {
    let store = faulty(Fault::None, 0).await;
    let stats = Arc::new(Stats::default());
    let mut reader = reader_of(target(Arc::clone(&store) as _).await, settings(), Arc::clone(&stats));
    reader.next().await.unwrap();
    reader.skip(100_000);
    while reader.next().await.unwrap().is_some() {
        reader.want(5_000);
    }
    let largest = store.asked.lock().unwrap().iter().map(|range| range.end - range.start).max();
    assert_eq!(largest, Some(100_000), "the longest range");
    assert!(stats.requests.value() < 60, "{}", stats.requests.value());
}

#[tokio::test]
async fn no_more_is_under_way_than_the_window_allows() {
    let store = faulty(Fault::None, 0).await;
    let mut reader = reader_of(target(Arc::clone(&store) as _).await, settings(), Arc::default());
    let mut widest = 0;
    while reader.next().await.unwrap().is_some() {
        // Let every request that was sent be noted.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let asked = store.asked.lock().unwrap().iter().map(|range| range.end).max().unwrap_or(0);
        widest = widest.max(asked - reader.position());
    }
    assert_eq!(widest, 300_000);
    let largest = store.asked.lock().unwrap().iter().map(|range| range.end - range.start).max();
    assert!(largest <= Some(100_000), "{largest:?}");
}

#[tokio::test]
async fn dropping_the_reader_cancels_its_requests() {
    let store = faulty(Fault::None, 0).await;
    let mut target = target(Arc::clone(&store) as _).await;
    *store.left.lock().unwrap() = u32::MAX;
    let hanging = faulty(Fault::Hang, u32::MAX).await;
    target.store = Arc::clone(&hanging) as _;
    let weak = Arc::downgrade(&hanging);
    drop(hanging);
    let mut reader = reader_of(target, FetchSettings { retry: RetryPolicy::default(), ..settings() }, Arc::default());
    tokio::time::timeout(Duration::from_millis(20), reader.next()).await.unwrap_err();
    drop(reader);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(weak.upgrade().is_none());
}

#[tokio::test]
async fn a_wait_that_is_dropped_loses_nothing() {
    let store = faulty(Fault::None, 0).await;
    let target = target(Arc::clone(&store) as _).await;
    let mut reader = reader_of(target, settings(), Arc::default());
    let mut all = Vec::new();
    loop {
        match futures::FutureExt::now_or_never(reader.next()) {
            None => tokio::task::yield_now().await,
            Some(piece) => match piece.unwrap() {
                Some(piece) => all.extend_from_slice(&piece),
                None => break,
            },
        }
    }
    assert!(all == content());
}

#[tokio::test]
async fn files_are_read_like_objects() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tar");
    std::fs::write(&path, content()).unwrap();
    let store = connect("file", "", &StoreOptions::default(), Purpose::Read).unwrap().store;
    let location = Path::from_absolute_path(&path).unwrap();
    let meta = store.head(&location).await.unwrap();
    let target = FetchTarget {
        store,
        location,
        url: path.display().to_string(),
        size: Some(meta.size),
        e_tag: meta.e_tag,
        version: None,
    };
    let mut reader = reader_of(target.clone(), settings(), Arc::default());
    assert!(read_all(&mut reader).await.unwrap() == content());
    let mut reader = reader_of(target.clone(), settings(), Arc::default());
    reader.next().await.unwrap();
    std::fs::write(&path, b"short").unwrap();
    assert_eq!(read_all_from(&mut reader).await.unwrap_err().kind(), ErrorKind::Changed);
    std::fs::remove_file(&path).unwrap();
    let mut reader = reader_of(target, settings(), Arc::default());
    assert!(reader.next().await.unwrap_err().to_string().ends_with("a.tar: no such file"));
}

/// How the small web server of these tests answers.
#[derive(Clone, Copy, PartialEq)]
enum Server {
    /// Whole bodies with their length, whatever range is asked for.
    NoRanges,
    /// Whole bodies in chunks, without a length.
    Chunked,
    /// Chunks that break off.
    Broken,
    /// Ranges.
    Ranges,
    /// Ranges whose connection closes after 7000 bytes.
    Closing,
    /// 503 at every second request, ranges otherwise.
    Busy,
    /// A weak ETag, which If-Match never matches.
    Weak,
    /// No such object.
    Missing,
    /// What S3 says to the wrong key.
    Denied,
    Empty,
}

/// Serves `content` until the process ends, one request a connection; the requests are noted.
fn serve(kind: Server) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&requests);
    std::thread::spawn(move || {
        let busy = Arc::new(AtomicBool::new(false));
        for connection in listener.incoming() {
            let (noted, busy) = (Arc::clone(&noted), Arc::clone(&busy));
            std::thread::spawn(move || {
                // A client that goes away is no fault of the server.
                let _ = answer(connection.unwrap(), kind, &noted, &busy);
            });
        }
    });
    (host, requests)
}

fn answer(
    mut connection: TcpStream,
    kind: Server,
    noted: &Mutex<Vec<String>>,
    busy: &AtomicBool,
) -> std::io::Result<()> {
    let content = if kind == Server::Empty { Bytes::new() } else { content() };
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).unwrap().to_ascii_lowercase();
    noted.lock().unwrap().push(request.clone());
    let is_head = request.starts_with("head");
    let range = request.split_once("range: bytes=").map(|(_, range)| {
        let (start, end) = range.lines().next().unwrap().split_once('-').unwrap();
        start.parse::<usize>().unwrap()..content.len().min(end.parse::<usize>().unwrap() + 1)
    });
    let fixed = |connection: &mut TcpStream, status: &str, headers: &str, body: &[u8], claimed: usize| {
        let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {claimed}\r\nconnection: close\r\n\r\n");
        connection.write_all(head.as_bytes())?;
        if is_head { Ok(()) } else { connection.write_all(body) }
    };
    match kind {
        Server::Denied => {
            let body =
                b"<?xml version='1.0'?>\n<Error><Code>InvalidAccessKeyId</Code><Message>No such key id.</Message>\
                <AWSAccessKeyId>AKIAs3cr3t</AWSAccessKeyId></Error>";
            fixed(&mut connection, "403 Forbidden", "", body, body.len())
        }
        Server::Missing => fixed(&mut connection, "404 Not Found", "", b"", 0),
        Server::Empty if range.is_some() => fixed(&mut connection, "416 Range Not Satisfiable", "", b"", 0),
        Server::NoRanges | Server::Empty => fixed(&mut connection, "200 OK", "", &content, content.len()),
        Server::Chunked | Server::Broken => {
            connection.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n")?;
            for chunk in content.chunks(70_000).take(if kind == Server::Broken { 10 } else { usize::MAX }) {
                connection.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
                connection.write_all(chunk)?;
                connection.write_all(b"\r\n")?;
            }
            if kind == Server::Broken { Ok(()) } else { connection.write_all(b"0\r\n\r\n") }
        }
        Server::Busy if busy.fetch_xor(true, Ordering::Relaxed) => {
            fixed(&mut connection, "503 Service Unavailable", "", b"busy", 4)
        }
        Server::Weak if request.contains("if-match") => fixed(&mut connection, "412 Precondition Failed", "", b"", 0),
        Server::Ranges | Server::Closing | Server::Busy | Server::Weak => {
            let Some(range) = range else {
                return fixed(&mut connection, "200 OK", "etag: \"x\"\r\n", &content, content.len());
            };
            let e_tag = if kind == Server::Weak { "W/\"x\"" } else { "\"x\"" };
            let (start, last) = (range.start, range.end - 1);
            let headers = format!("etag: {e_tag}\r\ncontent-range: bytes {start}-{last}/{}\r\n", content.len());
            let sent = if kind == Server::Closing { range.end.min(start + 7_000) } else { range.end };
            fixed(&mut connection, "206 Partial Content", &headers, &content[start..sent], range.len())
        }
    }
}

fn http_reader(host: &str, size: Option<u64>, stats: &Arc<Stats>) -> ObjectReader {
    let authority = format!("{host}?sig=s3cr3t");
    let store = connect("http", &authority, &StoreOptions::default(), Purpose::Read).unwrap().store;
    let url = format!("http://{host}/x/a.tar?sig=s3cr3t");
    let target = FetchTarget { store, location: "x/a.tar".into(), url, size, e_tag: None, version: None };
    // Requests that fail in turn may all be those of one range.
    let retry = RetryPolicy { max_retries: 30, max_backoff_ms: 5, stall_timeout_ms: 5_000, ..settings().retry };
    reader_of(target, FetchSettings { retry, ..settings() }, Arc::clone(stats))
}

#[tokio::test]
async fn web_servers_of_all_kinds_give_the_same_bytes_or_an_error() {
    let known = Some(len_of(&content()));
    for (kind, size, want) in [
        (Server::Ranges, known, Ok(())),
        (Server::Ranges, None, Ok(())),
        (Server::Ranges, Some(UNKNOWN_SIZE), Ok(())),
        (Server::Closing, known, Ok(())),
        (Server::Busy, known, Ok(())),
        (Server::Weak, known, Ok(())),
        (Server::NoRanges, known, Ok(())),
        (Server::NoRanges, None, Ok(())),
        (Server::Chunked, None, Ok(())),
        (Server::NoRanges, Some(5), Err("it had 5 bytes, now it has 3000000")),
        (Server::Broken, None, Err("bytes, and can't be resumed, since the server does not serve ranges")),
        (Server::Missing, known, Err("/x/a.tar?…: not found")),
        (Server::Missing, None, Err("/x/a.tar?…: not found")),
    ] {
        let (host, requests) = serve(kind);
        let stats = Arc::new(Stats::default());
        let mut reader = http_reader(&host, size, &stats);
        match (read_all(&mut reader).await, want) {
            (Ok(read), Ok(())) => assert!(read == content()),
            (Err(error), Err(want)) => {
                assert!(error.to_string().contains(want), "{error}");
                assert!(!error.to_string().contains("s3cr3t"), "{error}");
            }
            (read, _) => panic!("{:?}", read.map(|read| read.len())),
        }
        let requests = requests.lock().unwrap();
        assert!(requests.iter().all(|request| request.contains("/x/a.tar?sig=s3cr3t")), "{requests:?}");
        assert_eq!(stats.requests.value(), len_of_all(&requests));
        assert_eq!(stats.resumed_bytes.value() > 0, kind == Server::Closing);
    }
}

fn len_of_all(requests: &[String]) -> u64 {
    u64::try_from(requests.len()).unwrap()
}

#[tokio::test]
async fn a_sequence_skips_by_reading_and_ends_where_the_object_does() {
    for (kind, size) in [(Server::NoRanges, 3_000_000), (Server::Chunked, 3_000_000), (Server::Empty, 0)] {
        let (host, _) = serve(kind);
        let mut reader = http_reader(&host, None, &Arc::default());
        reader.skip(1_000_000);
        if let Some(piece) = reader.next().await.unwrap() {
            assert!(piece == content().slice(1_000_000..1_000_000 + piece.len()));
            reader.skip(u64::MAX);
        }
        assert!(reader.next().await.unwrap().is_none() && reader.next().await.unwrap().is_none());
        assert_eq!(reader.position(), size);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let mut reader = http_reader("127.0.0.1:1", None, &Arc::default());
    let error = reader.next().await.unwrap_err().to_string();
    assert!(error.starts_with("http://127.0.0.1:1/x/a.tar?…: gave up after 31 attempts in "), "{error}");
    assert!(error.contains("refused") && error.contains("gave up after 31 attempts in"), "{error}");
}

#[tokio::test]
async fn what_s3_says_reaches_the_user_without_keys() {
    let (host, requests) = serve(Server::Denied);
    let mut options = StoreOptions::default();
    for (key, value) in [
        ("aws.endpoint", format!("http://{host}")),
        ("aws.allow_http", "true".to_owned()),
        ("aws.access_key_id", "AKIAs3cr3t".to_owned()),
        ("aws.secret_access_key", "s3cr3t".to_owned()),
    ] {
        options.insert(key, value).unwrap();
    }
    let store = connect("s3", "b", &options, Purpose::Read).unwrap().store;
    let (location, url) = ("x/a.tar".into(), "s3://b/x/a.tar".to_owned());
    let target = FetchTarget { store, location, url, size: Some(9), e_tag: None, version: None };
    let error = reader_of(target, settings(), Arc::default()).next().await.unwrap_err().to_string();
    let want =
        "s3://b/x/a.tar: permission denied (status 403 InvalidAccessKeyId: No such key id): check the credentials";
    assert!(error.starts_with(want) && !error.contains("s3cr3t"), "{error}");
    let requests = requests.lock().unwrap();
    assert!(requests.len() == 1 && requests[0].starts_with("get /b/x/a.tar "), "{requests:?}");
}
