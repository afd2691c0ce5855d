//! A small S3 server that answers wrongly on purpose: what servers, caches and gateways do.
//!
//! It has one bucket, `b`, which anybody may list and read. Each answer ends its connection.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::program::Tarsql;

/// How one request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    Right,
    /// That status, with S3's body of that code.
    Status(u16, &'static str),
    /// The right head, and only so many bytes of the body.
    Short(usize),
    /// The right head, but for a length of so many bytes, which then come.
    ShortLength(usize),
    /// The whole object where a range was asked for.
    Whole,
    /// `Content-Range` tells of the bytes behind those that were asked for.
    OtherRange,
    NoETag,
    /// The object has another ETag and other bytes: it was replaced.
    Replaced,
    /// A proxy wants a login: 302, and an HTML page there.
    Login,
    /// The login's page at once, with status 200.
    LoginPage,
    /// Status 200 and an error of S3's.
    ErrorInSuccess,
}

/// A request, as scripts see it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// `None` for a listing.
    pub(crate) key: Option<String>,
    /// First and last byte that are asked for.
    pub(crate) range: Option<(usize, usize)>,
    if_match: Option<String>,
    target: String,
    /// How many requests of this kind (listing, HEAD or GET) came before.
    pub(crate) number: u64,
    /// How often the very same was asked before.
    pub(crate) repeated: u64,
}

/// Says how a request is answered.
type Script = Box<dyn Fn(&Request) -> Reply + Send + Sync>;

/// A running server; it ends with the process.
pub(crate) struct Server {
    pub(crate) endpoint: String,
    shared: Arc<Shared>,
}

struct Shared {
    objects: BTreeMap<String, Vec<u8>>,
    script: Script,
    listings: AtomicU64,
    heads: AtomicU64,
    gets: AtomicU64,
    targets: Mutex<Vec<String>>,
    asked: Mutex<BTreeMap<Asked, u64>>,
}

/// Method, target and range.
type Asked = (String, String, Option<(usize, usize)>);

impl Server {
    pub(crate) fn start(
        objects: impl IntoIterator<Item = (impl Into<String>, Vec<u8>)>,
        script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let shared = Arc::new(Shared {
            objects: objects.into_iter().map(|(key, bytes)| (key.into(), bytes)).collect(),
            script: Box::new(script),
            listings: AtomicU64::new(0),
            heads: AtomicU64::new(0),
            gets: AtomicU64::new(0),
            targets: Mutex::default(),
            asked: Mutex::default(),
        });
        let server = Self { endpoint, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // A client may hang up at any time.
                thread::spawn(move || shared.answer(connection).ok());
            }
        });
        server
    }

    /// `tarsql -c sql` with this server for S3.
    pub(crate) fn sql(&self, sql: &str) -> Tarsql {
        Tarsql::sql(sql).env(unsigned(&self.endpoint))
    }

    pub(crate) fn gets(&self) -> u64 {
        self.shared.gets.load(Ordering::Relaxed)
    }

    pub(crate) fn listings(&self) -> u64 {
        self.shared.listings.load(Ordering::Relaxed)
    }

    /// Paths and queries of all requests.
    pub(crate) fn targets(&self) -> Vec<String> {
        self.shared.targets.lock().expect("nobody panics").clone()
    }
}

/// What a child process needs to read from `endpoint` without credentials.
pub(crate) fn unsigned(endpoint: &str) -> [(&'static str, String); 8] {
    [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        // Whoever runs the tests may have a proxy, which would answer for others.
        ("NO_PROXY", "*"),
        ("AWS_SKIP_SIGNATURE", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
}

impl Shared {
    fn answer(&self, mut connection: TcpStream) -> std::io::Result<()> {
        let head: Vec<String> =
            BufReader::new(&connection).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let Some(request) = self.request(&head) else { return Ok(()) };
        self.targets.lock().expect("nobody panics").push(request.target.clone());
        if request.target.starts_with("/login") {
            return page(&mut connection);
        }
        let reply = (self.script)(&request);
        match reply {
            Reply::Status(status, code) => return error(&mut connection, status, code, request.method == "HEAD"),
            Reply::ErrorInSuccess => return error(&mut connection, 200, "InternalError", false),
            Reply::LoginPage => return page(&mut connection),
            Reply::Login => {
                let head = "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                return connection.write_all(head.as_bytes());
            }
            _ => {}
        }
        match &request.key {
            None => self.list(&mut connection, &request, reply),
            Some(key) => match self.objects.get(key) {
                Some(object) => send(&mut connection, &request, object, reply),
                None => error(&mut connection, 404, "NoSuchKey", request.method == "HEAD"),
            },
        }
    }

    fn request(&self, head: &[String]) -> Option<Request> {
        let mut words = head.first()?.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let header = |name: &str| {
            let lines = head.iter().filter_map(|line| line.split_once(": "));
            lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
        };
        let range = header("range").and_then(|range| {
            let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
            Some((first.parse().ok()?, last.parse().ok()?))
        });
        let key = target.split('?').next()?.strip_prefix("/b/").map(str::to_owned).filter(|key| !key.is_empty());
        let count = match (&key, method.as_str()) {
            (None, _) => &self.listings,
            (_, "HEAD") => &self.heads,
            _ => &self.gets,
        };
        let number = count.fetch_add(1, Ordering::Relaxed);
        let repeated = {
            let mut asked = self.asked.lock().expect("nobody panics");
            let times = asked.entry((method.clone(), target.clone(), range)).or_default();
            std::mem::replace(times, *times + 1)
        };
        Some(Request { method, key, range, if_match: header("if-match"), target, number, repeated })
    }

    fn list(&self, connection: &mut TcpStream, request: &Request, reply: Reply) -> std::io::Result<()> {
        let prefix = request.target.split(['?', '&']).find_map(|part| part.strip_prefix("prefix=")).unwrap_or_default();
        let prefix = prefix.replace("%2F", "/");
        let contents: String = self
            .objects
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix))
            .map(|(key, object)| {
                let size = object.len();
                format!(
                    "<Contents><Key>{key}</Key><LastModified>2022-06-27T00:00:00.000Z</LastModified>\
                     <ETag>&quot;{}&quot;</ETag><Size>{size}</Size></Contents>",
                    e_tag(object)
                )
            })
            .collect();
        let body = format!(
            "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>\
             <IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
        );
        let sent = match reply {
            Reply::Short(bytes) => &body[..bytes.min(body.len())],
            _ => &body,
        };
        write!(
            connection,
            "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{sent}",
            body.len()
        )
    }
}

/// Sends the object, or the range of it that is asked for, as `reply` says.
fn send(connection: &mut TcpStream, request: &Request, object: &[u8], reply: Reply) -> std::io::Result<()> {
    let mut object = object.to_vec();
    if reply == Reply::Replaced {
        object.iter_mut().for_each(|byte| *byte ^= 0x55);
    }
    let e_tag = format!("\"{}\"", e_tag(&object));
    if request.if_match.as_ref().is_some_and(|wanted| *wanted != e_tag) && reply != Reply::NoETag {
        return error(connection, 412, "PreconditionFailed", request.method == "HEAD");
    }
    let (status, part, range) = match request.range.filter(|_| reply != Reply::Whole) {
        Some((first, last)) => {
            let last = last.min(object.len() - 1);
            let shift = if reply == Reply::OtherRange { 7 } else { 0 };
            let range = format!("Content-Range: bytes {}-{}/{}\r\n", first + shift, last + shift, object.len());
            ("206 Partial Content", &object[first..=last], range)
        }
        None => ("200 OK", &object[..], String::new()),
    };
    let (length, sent) = match reply {
        Reply::Short(bytes) => (part.len(), bytes.min(part.len())),
        Reply::ShortLength(bytes) => (bytes.min(part.len()), bytes.min(part.len())),
        _ => (part.len(), part.len()),
    };
    let e_tag = if reply == Reply::NoETag { String::new() } else { format!("ETag: {e_tag}\r\n") };
    write!(
        connection,
        "HTTP/1.1 {status}\r\n{e_tag}{range}Last-Modified: Mon, 27 Jun 2022 00:00:00 GMT\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    )?;
    if request.method == "HEAD" { Ok(()) } else { connection.write_all(&part[..sent]) }
}

/// Differs where the bytes do: enough for a few objects.
fn e_tag(object: &[u8]) -> String {
    format!("{}-{}", object.len(), object.iter().map(|byte| u64::from(*byte)).sum::<u64>())
}

fn page(connection: &mut TcpStream) -> std::io::Result<()> {
    let body = format!("<!doctype html><title>Sign in</title>{}", " ".repeat(4_000));
    write!(
        connection,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// What S3 says to a request that it refuses; the key id in it is nobody's business.
fn error(connection: &mut TcpStream, status: u16, code: &str, is_head: bool) -> std::io::Result<()> {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>Please try again.</Message>\
         <AWSAccessKeyId>AKIAs3cr3t</AWSAccessKeyId><RequestId>1</RequestId></Error>"
    );
    write!(
        connection,
        "HTTP/1.1 {status} Reason\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    if is_head { Ok(()) } else { connection.write_all(body.as_bytes()) }
}
