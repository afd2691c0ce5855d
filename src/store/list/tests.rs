use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::Mutex;

use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{ListResult, ObjectStore, PutPayload};

use super::*;
use crate::store::connect::{Purpose, connect};
use crate::store::options::StoreOptions;

/// A bucket as S3 lists it: raw prefixes, pages in byte order, and a client that refuses a page for one bad key.
#[derive(Debug, Default)]
struct Bucket {
    objects: BTreeMap<String, u64>,
    /// Prefix and offset of every request.
    asked: Mutex<Vec<(String, Option<String>)>>,
    /// Requests that fail before the first one succeeds.
    failures: Mutex<u32>,
    endless: bool,
}

#[async_trait::async_trait]
impl PaginatedListStore for Bucket {
    async fn list_paginated(
        &self,
        prefix: Option<&str>,
        options: PaginatedListOptions,
    ) -> object_store::Result<PaginatedListResult> {
        let prefix = prefix.unwrap_or_default();
        self.asked.lock().unwrap().push((prefix.into(), options.offset.clone()));
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            let source = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "reset");
            return Err(StoreError::Generic { store: "test", source: source.into() });
        }
        let after = options.page_token.or(options.offset);
        let mut keys = self
            .objects
            .iter()
            .filter(|(key, _)| key.starts_with(prefix) && after.as_ref().is_none_or(|after| *key > after));
        let page: Vec<_> = keys.by_ref().take(options.max_keys.unwrap_or(1000)).collect();
        let more = keys.next().is_some();
        let page_token = page.last().filter(|_| more).map(|(key, _)| (*key).clone());
        let page_token = if self.endless { Some("again".into()) } else { page_token };
        let meta = |(key, size): (&String, &u64)| {
            Ok(ObjectMeta {
                location: Path::parse(key)?,
                last_modified: DateTime::default(),
                size: *size,
                e_tag: None,
                version: None,
            })
        };
        let objects = page.into_iter().map(meta).collect::<object_store::Result<_>>()?;
        Ok(PaginatedListResult { result: ListResult { common_prefixes: vec![], objects }, page_token })
    }
}

async fn bucket(keys: impl IntoIterator<Item = impl Into<String>>) -> Bucket {
    let objects = keys.into_iter().map(Into::into).map(|key: String| {
        let size = u64::from(!key.ends_with('/') && !key.contains("empty"));
        (key, size)
    });
    Bucket { objects: objects.collect(), ..Bucket::default() }
}

/// The bucket behind its lister, and in memory for requests by key.
async fn paged(bucket: Bucket) -> (Connection, Arc<Bucket>) {
    let bucket = Arc::new(bucket);
    let memory = in_memory(bucket.objects.iter().map(|(key, size)| (key.as_str(), *size))).await;
    (Connection { store: memory, pager: Some(Arc::clone(&bucket) as _) }, bucket)
}

async fn in_memory<'a>(objects: impl IntoIterator<Item = (&'a str, u64)>) -> Arc<dyn ObjectStore> {
    let memory = InMemory::new();
    for (key, size) in objects {
        // What can't be addressed is only listed.
        if let Ok(location) = location_of(key) {
            let payload = PutPayload::from(vec![0; usize::try_from(size).unwrap()]);
            memory.put(&location, payload).await.unwrap();
        }
    }
    Arc::new(memory)
}

async fn listing(locator: &str, connection: &Connection) -> Result<Listing> {
    let policy = RetryPolicy { initial_backoff_ms: 1, ..RetryPolicy::default() };
    list(&Locator::parse(locator)?, connection, &policy, &Stats::default()).await
}

async fn urls(locator: &str, connection: &Connection) -> Vec<String> {
    let listing = listing(locator, connection).await.unwrap_or_else(|error| panic!("'{locator}': {error}"));
    listing.archives.into_iter().map(|archive| archive.url).collect()
}

async fn check_error(locator: &str, connection: &Connection, kind: ErrorKind, words: &[&str]) {
    let listing = listing(locator, connection).await;
    let error = listing.and_then(|listing| listing.unless_refused(|_| false)).expect_err(locator);
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "'{word}' is missing in: {error}");
    }
}

const KEYS: [&str; 16] = [
    "a b+c%20d#e?.tar",
    "a[1].tar",
    "a1.tar",
    "dir/",
    "dir/x.tar",
    "dir/y.tar",
    "dir/.z/y.tar",
    "dir.tar/",
    "é.tar",
    "s/.2022-06-27/00/s.csv.tar",
    "x*.tar",
    "x{y}.tar",
    "xx.tar",
    "back\\slash.tar",
    "t/x.tar",
    "u/**v.tar",
];

#[tokio::test]
async fn buckets_are_listed_the_same_with_and_without_pages() {
    let (with_pages, _) = paged(bucket(KEYS).await).await;
    let without = Connection { store: Arc::clone(&with_pages.store), pager: None };
    let table: &[(&str, &[&str])] = &[
        ("a1.tar", &["a1.tar"]),
        ("a[1].tar", &["a[1].tar"]),
        ("a[12].tar", &["a1.tar"]),
        ("x*.tar", &["x*.tar"]),
        ("x[*].tar", &["x*.tar"]),
        ("x{y,x}.tar", &["xx.tar"]),
        ("x{y}.tar", &["x{y}.tar"]),
        ("x*", &["x*.tar", "xx.tar", "x{y}.tar"]),
        (
            "*.tar",
            &["a b+c%20d#e?.tar", "a1.tar", "a[1].tar", "back\\slash.tar", "x*.tar", "xx.tar", "x{y}.tar", "é.tar"],
        ),
        ("dir/*", &["dir/x.tar", "dir/y.tar"]),
        ("dir/**/y.tar", &["dir/.z/y.tar", "dir/y.tar"]),
        ("{dir,t}/x.tar", &["dir/x.tar", "t/x.tar"]),
        ("{dir/x,dir/x,dir/*}.tar", &["dir/x.tar", "dir/y.tar"]),
        ("s/*/00/*", &["s/.2022-06-27/00/s.csv.tar"]),
        ("dir*", &[]),
        ("u/**v.tar", &["u/**v.tar"]),
    ];
    for (pattern, keys) in table {
        let locator = format!("s3://b/{pattern}");
        let expected: Vec<String> = keys.iter().map(|key| format!("s3://b/{key}")).collect();
        for connection in [&with_pages, &without] {
            if expected.is_empty() {
                check_error(&locator, connection, ErrorKind::Locator, &["no object matches", "keys under"]).await;
                continue;
            }
            assert_eq!(urls(&locator, connection).await, expected, "{pattern}");
            for url in &expected {
                assert_eq!(urls(url, connection).await, [url.as_str()], "a listed URL reads the same object");
            }
        }
    }
}

#[tokio::test]
async fn members_that_are_named_too_close_to_the_archive_are_told_how() {
    let (connection, _) = paged(bucket(["a1.tar", "c::d.tar"]).await).await;
    for locator in ["s3://b/a1.tar:: *.csv", "s3://b/a?.tar ::*.csv", "s3://b/a1.tar::x.csv", "s3://b/c::d.ta"] {
        let kind = if locator.contains(['*', '?']) { ErrorKind::Locator } else { ErrorKind::Unreachable };
        check_error(locator, &connection, kind, &["behind ' :: ', with white space on both sides"]).await;
    }
    assert_eq!(urls("s3://b/c::d.tar", &connection).await, ["s3://b/c::d.tar"]);
    let error = listing("s3://b/a2.tar :: *.csv", &connection).await.err().unwrap();
    assert!(!error.to_string().contains("white space"), "{error}");
}

#[tokio::test]
async fn every_page_is_read_from_the_raw_prefix_and_faults_are_retried() {
    let keys = (0..5_432).map(|number| format!("d/s-{number:05}.tar")).chain(["d/t".into(), "c".into()]);
    let (connection, asked) = paged(bucket(keys).await).await;
    *asked.failures.lock().unwrap() = 2;
    let listing = listing("s3://b/d/s-0*.tar", &connection).await.unwrap();
    assert_eq!((listing.archives.len(), listing.keys, listing.bytes), (5_432, 5_432, 5_432));
    // HEAD, two failures, six pages.
    assert_eq!(listing.requests, 9);
    assert!(asked.asked.lock().unwrap().iter().all(|(prefix, _)| prefix == "d/s-0"));
    assert_eq!(urls("s3://b/{d/s-000[12],c}*", &connection).await.len(), 21);
    check_error("s3://b/d/u*", &connection, ErrorKind::Locator, &["'s3://b/d/u*'", "(keys under 's3://b/d/u': 0)"])
        .await;
    check_error("s3://b/d/s*.tgz", &connection, ErrorKind::Locator, &["keys under 's3://b/d/s': 5,432"]).await;
}

#[tokio::test]
async fn azure_is_asked_for_a_shorter_prefix() {
    let (connection, asked) = paged(bucket(["d/é", "d/é2"]).await).await;
    assert_eq!(urls("az://c/d/é*", &connection).await, ["az://c/d/é", "az://c/d/é2"]);
    assert_eq!(asked.asked.lock().unwrap()[0].0, "d/");
}

#[tokio::test]
async fn keys_that_cannot_be_addressed_are_gone_around_or_named() {
    let keys = (0..3_000).map(|number| format!("a/{number:04}.tar"));
    let bad = ["a//x.txt", "a/1500/../y.txt", "a/1501//y.txt", "a/2000\n.txt", "b//x.tar"].map(String::from);
    let (connection, _) = paged(bucket(keys.chain(bad)).await).await;
    let listing = listing("s3://b/a/*.tar", &connection).await.unwrap();
    assert_eq!((listing.archives.len(), listing.keys), (3_000, 3_000));
    assert!(listing.requests < 100, "{} requests", listing.requests);
    check_error("s3://b/b/**/*.tar", &connection, ErrorKind::Locator, &["'b//x.tar'", "empty part"]).await;
    check_error("s3://b/b//x.tar", &connection, ErrorKind::Locator, &["s3://b/b//x.tar", "empty part"]).await;
    check_error("s3://b//x.tar", &connection, ErrorKind::Locator, &["empty part"]).await;
    check_error("s3://b/a/../x.tar", &connection, ErrorKind::Locator, &["'..'"]).await;
}

#[tokio::test]
async fn what_no_scan_could_read_is_an_error() {
    let (connection, _) = paged(bucket(["d/x.tar", "d/empty.tar", "d/marker/"]).await).await;
    check_error("s3://b/d/empty.tar", &connection, ErrorKind::Archive, &["s3://b/d/empty.tar: ", "empty (0 bytes)"])
        .await;
    check_error("s3://b/d/*", &connection, ErrorKind::Archive, &["s3://b/d/empty.tar: "]).await;
    check_error("s3://b/d", &connection, ErrorKind::Locator, &["is a directory", "'s3://b/d/*.tar'"]).await;
    check_error("s3://b/y.tar", &connection, ErrorKind::Unreachable, &["s3://b/y.tar: there is no such object"]).await;
    check_error("s3://b/d/**.tar", &connection, ErrorKind::Locator, &["'**/*.tar'"]).await;
    check_error("s3://b/d/{0..99999}.tar", &connection, ErrorKind::Locator, &["10000 alternatives"]).await;
    assert_eq!(urls("s3://b/d/[!e]*", &connection).await, ["s3://b/d/x.tar"]);
    let (connection, _) = paged(Bucket { endless: true, ..bucket(["x"]).await }).await;
    check_error("s3://b/*", &connection, ErrorKind::Unreachable, &["twice"]).await;
}

#[cfg(unix)]
mod files {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    fn local() -> Connection {
        Connection { store: Arc::new(LocalFileSystem::new()), pager: None }
    }

    async fn names(root: &str, pattern: &str) -> Vec<String> {
        let urls = urls(&format!("{root}/{pattern}"), &local()).await;
        let path = |url: &String| url::Url::parse(url).unwrap().to_file_path().unwrap();
        urls.iter().map(|url| path(url).to_str().unwrap()[root.len() + 1..].to_owned()).collect()
    }

    #[tokio::test]
    async fn any_name_can_be_read() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let odd = [
            "a b", "100%", "%41", "a#b", "#", "q?", "*", "[x]", "{y}", "{y,z}", "~", "é日", ".dot", "dot.", "a\\b",
            "a+b", "a&b", "a:b", "|", "a'b\"", "a :: b", "...", "-", "C:", "**z",
        ];
        for (at, name) in odd.iter().enumerate() {
            fs::create_dir(root.join(name)).unwrap();
            fs::write(root.join(name).join("x.tar"), vec![0; at + 1]).unwrap();
            fs::write(root.join(format!("{name}.tar")), vec![0; at + 101]).unwrap();
        }
        let connection = local();
        let found = listing(&format!("{}/**", root.display()), &connection).await.unwrap();
        assert_eq!(found.archives.len(), odd.len() * 2);
        for archive in found.archives {
            let again = listing(&archive.url, &connection).await.unwrap();
            assert_eq!(again.archives, std::slice::from_ref(&archive), "a listed URL reads the same file");
            let read = connection.store.get(&archive.location).await.unwrap();
            assert_eq!((Some(read.meta.size), read.meta.e_tag.clone()), (archive.size, archive.e_tag));
            let path = url::Url::parse(&archive.url).unwrap().to_file_path().unwrap();
            assert_eq!(read.bytes().await.unwrap().len() as u64, fs::metadata(&path).unwrap().len());
            // As a plain path, too, unless it has the separator of locators in it.
            if !archive.url.contains("%20::%20") {
                assert_eq!(urls(path.to_str().unwrap(), &connection).await, [archive.url]);
            }
        }
    }

    #[tokio::test]
    async fn directories_are_walked_by_segment() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let dir = |name: &str| fs::create_dir_all(root.join(name)).unwrap();
        ["a/b", "a/.h", "c", "locked", "d.tar"].into_iter().for_each(dir);
        for name in ["x.tar", "a/x.tar", "a/b/x.tar", "a/.h/x.tar", "c/y.tar", "a/b/n01.tar", "a/b/n02.tar"] {
            fs::write(root.join(name), "1").unwrap();
        }
        symlink(root.join("a"), root.join("c/link")).unwrap();
        symlink(&root, root.join("a/loop")).unwrap();
        symlink(root.join("x.tar"), root.join("c/l.tar")).unwrap();
        let root = root.to_str().unwrap();
        let table: &[(&str, &[&str])] = &[
            ("*.tar", &["x.tar"]),
            ("a//*.tar", &["a/x.tar"]),
            ("a/*/x.tar", &["a/.h/x.tar", "a/b/x.tar", "a/loop/x.tar"]),
            ("a/{b,.h,no}/x.tar", &["a/.h/x.tar", "a/b/x.tar"]),
            ("a/b/n{01..99}.tar", &["a/b/n01.tar", "a/b/n02.tar"]),
            ("a/**/x.tar", &["a/.h/x.tar", "a/b/x.tar", "a/x.tar"]),
            (
                "c/**",
                &[
                    "c/l.tar",
                    "c/link/.h/x.tar",
                    "c/link/b/n01.tar",
                    "c/link/b/n02.tar",
                    "c/link/b/x.tar",
                    "c/link/x.tar",
                    "c/y.tar",
                ],
            ),
            ("**/b/**/n02.tar", &["a/b/n02.tar", "c/link/b/n02.tar"]),
            ("./a/../*.tar", &["x.tar"]),
            // Up from a link is where the system says: the parent of what it points to.
            ("c/link/../a/*.tar", &["a/x.tar"]),
            ("c/link/../x.tar", &["x.tar"]),
        ];
        for (pattern, expected) in table {
            assert_eq!(names(root, pattern).await, *expected, "{pattern}");
        }
        let connection = local();
        let none = &["no file matches", "names compared"];
        check_error(&format!("{root}/d*"), &connection, ErrorKind::Locator, none).await;
        check_error(&format!("{root}/no/*.tar"), &connection, ErrorKind::Locator, none).await;
        check_error(&format!("{root}/d.tar"), &connection, ErrorKind::Locator, &["is a directory"]).await;
        check_error(&format!("{root}/no.tar"), &connection, ErrorKind::Unreachable, &["there is no file"]).await;
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_str().unwrap();
        let connection = local();
        let name = |name: &[u8]| directory.path().join(OsStr::from_bytes(name));
        fs::write(name(b"upload.tar#1"), "1").unwrap();
        fs::write(name(b"new\nline"), "1").unwrap();
        fs::write(name(b"empty"), "").unwrap();
        fs::write(name(b"latin\xE9.tar"), "1").unwrap();
        symlink("nowhere", name(b"dangling")).unwrap();
        let table = [
            ("u*", ErrorKind::Locator, "upload.tar#1"),
            ("new*", ErrorKind::Locator, "new\\nline"),
            ("e*", ErrorKind::Archive, "/empty: "),
            ("lat*", ErrorKind::Locator, "not UTF-8"),
            ("dang*", ErrorKind::Locator, "does not exist"),
            ("dangling", ErrorKind::Locator, "does not exist"),
            ("x*", ErrorKind::Locator, "no file matches"),
        ];
        for (pattern, kind, words) in table {
            check_error(&format!("{root}/{pattern}"), &connection, kind, &[words]).await;
        }
        check_error("/dev/nul*", &connection, ErrorKind::Locator, &["/dev/null", "no regular file"]).await;
        check_error("/dev/null", &connection, ErrorKind::Locator, &["no regular file"]).await;
    }

    #[tokio::test]
    async fn relative_paths_start_here() {
        let found = urls("Cargo.toml", &local()).await;
        let here = std::env::current_dir().unwrap().join("Cargo.toml");
        assert_eq!(found, [url::Url::from_file_path(here).unwrap().as_str()]);
        assert_eq!(urls("./[C]argo.{toml,no}", &local()).await, found);
    }
}

/// A web server that answers HEAD and GET of a few paths, each in its own way, and notes what it was asked.
fn serve() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut request = String::new();
            reader.read_line(&mut request).unwrap();
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            let request = request.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
            let answer = match request.as_str() {
                "HEAD /a1.tar" | "HEAD /a2.tar" | "HEAD /d%20%C3%A9/x*.tar?sig=1" => "200 OK\r\nContent-Length: 7",
                "HEAD /get.tar" => "405 Method Not Allowed\r\nContent-Length: 0",
                "GET /get.tar" => "206 Partial Content\r\nContent-Range: bytes 0-0/9\r\nContent-Length: 1",
                "HEAD /whole.tar" => "403 Forbidden\r\nContent-Length: 0",
                "GET /whole.tar" => "200 OK\r\nContent-Length: 1",
                "HEAD /chunks.tar" => "200 OK",
                "GET /chunks.tar" => "200 OK",
                "HEAD /denied.tar?sig=hunter2" | "GET /denied.tar?sig=hunter2" => "403 Forbidden\r\nContent-Length: 0",
                _ => "404 Not Found\r\nContent-Length: 0",
            };
            let body = if request.starts_with("GET") && answer.starts_with('2') { "x" } else { "" };
            notes.lock().unwrap().push(request);
            write!(stream, "HTTP/1.1 {answer}\r\nConnection: close\r\n\r\n{body}").unwrap();
        }
    });
    (address, asked)
}

#[tokio::test]
async fn urls_are_asked_for_one_by_one() {
    let (host, asked) = serve();
    let options = StoreOptions::default();
    let connection = |authority: &str| connect("http", authority, &options, Purpose::Read).unwrap();
    let plain = connection(&host);
    let sizes = |listing: Listing| -> Vec<Option<u64>> { listing.archives.iter().map(|a| a.size).collect() };
    let at = |path: &str| format!("http://{host}/{path}");

    assert_eq!(urls(&at("a{2,1}.tar"), &plain).await, [at("a1.tar"), at("a2.tar")]);
    assert_eq!(sizes(listing(&at("get.tar"), &plain).await.unwrap()), [Some(9)]);
    assert_eq!(sizes(listing(&at("whole.tar"), &plain).await.unwrap()), [Some(1)]);
    assert_eq!(sizes(listing(&at("chunks.tar"), &plain).await.unwrap()), [None]);
    check_error(&at("a{1,2,3}.tar"), &plain, ErrorKind::Unreachable, &["a3.tar: not found"]).await;
    check_error(&at("a%2Fb.tar"), &plain, ErrorKind::Locator, &["%2F"]).await;

    let locator = Locator::parse(&at("d%20é/x*.tar?sig=1")).unwrap();
    let signed = connection(&locator.store().connect_authority());
    assert_eq!(urls(locator.text(), &signed).await, [locator.text()]);
    let denied = at("denied.tar?sig=hunter2");
    let refused = listing(&denied, &connection(&format!("{host}?sig=hunter2"))).await.unwrap().refused;
    let error = refused[0].to_string();
    assert!(error.contains("denied.tar?…") && error.contains("403") && !error.contains("hunter2"), "{error}");
    assert!(!asked.lock().unwrap().is_empty());
}

#[test]
fn numbers_are_grouped() {
    for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_034_567, "12,034,567")] {
        assert_eq!(thousands(number), text);
    }
}
