//! Archives on plain web servers: with ranges, without, without even a length; braces; what is missing or no archive.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use crate::archive::tar;
use crate::program::Tarsql;
use crate::testdata::{sha256, testdata};

/// What a server can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Skill {
    /// `Range`, `HEAD` and `Content-Length`.
    Ranges,
    /// No `Range`: always the whole object.
    Whole,
    /// Neither a range nor a length: the connection's end is the object's. `HEAD` is refused.
    Lengthless,
    /// All, but a `HEAD` is answered when there are as many as objects.
    Company,
}

/// A web server of this process. It ends with the process.
pub(crate) struct Server {
    pub(crate) url: String,
    /// The requests so far: `GET /a.tar bytes=0-9`.
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(skill: Skill, objects: impl IntoIterator<Item = (&'static str, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let objects: Arc<BTreeMap<String, Vec<u8>>> =
            Arc::new(objects.into_iter().map(|(path, bytes)| (path.to_owned(), bytes)).collect());
        let company = Arc::new(Barrier::new(objects.len()));
        let log = Arc::new(Mutex::new(Vec::new()));
        let server = Self { url, log: Arc::clone(&log) };
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (objects, log, company) = (Arc::clone(&objects), Arc::clone(&log), Arc::clone(&company));
                // A client may hang up at any time.
                thread::spawn(move || answer(connection, skill, &objects, &log, &company).ok());
            }
        });
        server
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().expect("nobody panics").clone()
    }
}

/// Answers one request and closes the connection.
fn answer(
    mut connection: TcpStream,
    skill: Skill,
    objects: &BTreeMap<String, Vec<u8>>,
    log: &Mutex<Vec<String>>,
    company: &Barrier,
) -> std::io::Result<()> {
    let head: Vec<String> =
        BufReader::new(&connection).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let mut words = head.first().map(String::as_str).unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let range = head.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix("range: ").map(str::to_owned));
    log.lock().expect("nobody panics").push(format!("{method} {target} {}", range.clone().unwrap_or_default()));
    let Some(body) = objects.get(target.split('?').next().unwrap_or(target)) else {
        return connection
            .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 8\r\nConnection: close\r\n\r\nnot here");
    };
    if skill == Skill::Lengthless {
        if method == "HEAD" {
            return connection
                .write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
        connection.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
        return connection.write_all(body);
    }
    if skill == Skill::Company && method == "HEAD" {
        company.wait();
    }
    let bounds = range.filter(|_| skill != Skill::Whole).and_then(|range| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?.min(body.len().checked_sub(1)?)))
    });
    let (status, part) = match bounds {
        Some((first, last)) => {
            (format!("206 Partial Content\r\nContent-Range: bytes {first}-{last}/{}", body.len()), &body[first..=last])
        }
        None => ("200 OK".to_owned(), &body[..]),
    };
    write!(
        connection,
        "HTTP/1.1 {status}\r\nETag: \"1\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        part.len()
    )?;
    if method == "GET" { connection.write_all(part) } else { Ok(()) }
}

/// Members of an archive of 12 MiB, and the archive.
fn large() -> (Vec<(String, Vec<u8>)>, Vec<u8>) {
    let members: Vec<_> = (0..3_u8).map(|n| (format!("{n}.bin"), vec![n; 4 << 20])).collect();
    let archive = tar(members.clone());
    (members, archive)
}

fn objects() -> Vec<(&'static str, Vec<u8>)> {
    let bundled = |path: &str| fs::read(testdata(path)).expect("test data can be read");
    vec![
        ("/plain.tar", bundled("compressed/plain.tar")),
        ("/gzip.tar", bundled("compressed/gzip.tar.gz")),
        ("/a%20b.tar", bundled("compressed/plain.tar")),
        ("/download", bundled("compressed/zstd.tar.zst")),
        ("/part-08.tar", tar([("8.txt", "8")])),
        ("/part-09.tar", tar([("9.txt", "9")])),
        ("/part-10.tar", tar([("10.txt", "10")])),
        ("/large.tar", large().1),
        ("/page.tar", format!("<!doctype html><title>Sign in</title>{}", " ".repeat(2_000)).into_bytes()),
    ]
}

const PLAIN: &str = "path,size\none.txt,400\ntwo.bin,12000\nthree.txt,3000\n";

#[test]
fn every_kind_of_server_is_read() {
    for skill in [Skill::Ranges, Skill::Whole, Skill::Lengthless] {
        let server = Server::start(skill, objects());
        for name in ["plain.tar", "gzip.tar", "a%20b.tar", "plain.tar?sig=a/b.c", "download"] {
            let stdout = Tarsql::sql(&format!("SELECT path, size FROM read_tar('{}/{name}')", server.url)).ok();
            assert_eq!(stdout, PLAIN, "{skill:?}: {name}");
        }
        for name in ["plain.tar", "a%20b.tar"] {
            let stdout = Tarsql::sql(&format!("SELECT path, size FROM '{}/{name}'", server.url)).ok();
            assert_eq!(stdout, PLAIN, "{skill:?}: {name}");
        }
        assert!(server.log().iter().any(|line| line.starts_with("GET /plain.tar?sig=a/b.c ")), "{:?}", server.log());

        let parts =
            format!("SELECT archive, path, text FROM read_tar('{}/part-{{08..10}}.tar', format = 'text')", server.url);
        let stdout = Tarsql::sql(&format!("{parts} ORDER BY archive")).ok();
        let expected = ["08", "09", "10"]
            .map(|n| format!("{}/part-{n}.tar,{n2}.txt,{n2}\n", server.url, n2 = n.trim_start_matches('0')));
        assert_eq!(stdout, format!("archive,path,text\n{}", expected.concat()), "{skill:?}");
    }
}

#[test]
fn a_large_archive_is_read_in_ranges_or_in_sequence() {
    let (members, archive) = large();
    let size = archive.len() as u64;
    let expected: String =
        members.iter().map(|(path, bytes)| format!("{path},{},{}\n", bytes.len(), sha256(bytes))).collect();
    for skill in [Skill::Ranges, Skill::Whole, Skill::Lengthless] {
        let server = Server::start(skill, objects());
        let read = |columns: &str| {
            Tarsql::sql(&format!("SELECT {columns} FROM read_tar('{}/large.tar') ORDER BY data_offset", server.url))
                .measured_ok()
        };
        let (stdout, metrics) = read("path, size, encode(sha256(content), 'hex') AS hash");
        assert_eq!(stdout, format!("path,size,hash\n{expected}"), "{skill:?}");
        assert_eq!(metrics.count("BytesFetched"), size, "{skill:?}");
        let (_, metrics) = read("path, size");
        let fetched = metrics.count("BytesFetched");
        let ranges = server.log().iter().filter(|line| line.contains("GET /large.tar bytes=")).count();
        match skill {
            Skill::Ranges | Skill::Company => {
                assert!(fetched < size / 2 && ranges > 2, "{fetched} of {size}, {ranges} ranges")
            }
            Skill::Whole | Skill::Lengthless => assert_eq!(fetched, size, "{skill:?}"),
        }
    }
}

/// To look into them for their columns, and to read them.
#[test]
fn several_locators_are_asked_for_at_once() {
    let objects = [("/0.tar", "a\n0\n"), ("/1.tar", "b\n1\n"), ("/2.tar", "a,b\n2,2\n")];
    let server = Server::start(Skill::Company, objects.map(|(path, csv)| (path, tar([("m.csv", csv)]))));
    let locators = objects.map(|(path, _)| format!("'{}{path}'", server.url)).join(", ");
    let sql = format!("SELECT a, b FROM read_tar([{locators}], format = 'csv') ORDER BY coalesce(a, b)");
    let stdout = Tarsql::sql(&format!("SET tarsql.max_retries = 0; SET tarsql.stall_timeout_ms = 20000; {sql}")).ok();
    assert_eq!(stdout, "a,b\n0,\n,1\n2,2\n");
}

#[test]
fn what_is_missing_or_no_archive_is_refused() {
    for skill in [Skill::Ranges, Skill::Whole, Skill::Lengthless] {
        let server = Server::start(skill, objects());
        let url = &server.url;
        for (name, says) in [
            ("nope.tar", "/nope.tar: not found"),
            ("nope.tar?sig=s3cr3t", "/nope.tar?…: not found"),
            ("part-{09..11}.tar", "/part-11.tar: not found"),
            ("page.tar", "/page.tar: at offset 0: not a tar archive"),
            ("*.tar", "/*.tar"),
        ] {
            let from = |from: &str| Tarsql::sql(&format!("SELECT path FROM {from}")).fails();
            let stderr = from(&format!("read_tar('{url}/{name}')"));
            assert!(stderr.contains(says) && !stderr.contains("s3cr3t"), "{skill:?}: {name}: {stderr}");
            let again = from(&format!("'{url}/{name}'"));
            assert_eq!(again, stderr, "{skill:?}: {name}");
        }
    }
}
