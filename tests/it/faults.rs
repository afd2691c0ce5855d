//! Networks, servers and stores that fail: the same rows as without a fault, or an error that says why; never other rows,
//! never without end.

mod proxy;
mod server;
mod store;

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use datafusion::prelude::SessionConfig;
use futures::StreamExt;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use url::Url;

use self::proxy::{BlackHole, Proxy, Trouble};
use self::server::{Reply, Request, Server, unsigned};
use self::store::{Fault, FaultyStore};
use crate::archive::{gzip, tar};
use crate::measured::Metrics;
use crate::program::{Output, Tarsql};
use crate::python::parquet;
use crate::session::{Failure, Session};
use crate::weed::{ADMIN, weed};

/// No fault of these tests may cost more; each of them is over in a few seconds.
const LONG: Duration = Duration::from_secs(60);

/// Patience for tests: few repetitions, and stalls that are noticed soon.
const IMPATIENT: &str =
    "SET tarsql.stall_timeout_ms = 400; SET tarsql.connect_timeout_ms = 400; SET tarsql.max_retries = 5;";

/// Bytes without any order, the same every time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// A plain tar of 4 MB: a text, a CSV file and noise.
fn plain() -> &'static [u8] {
    static PLAIN: OnceLock<Vec<u8>> = OnceLock::new();
    PLAIN.get_or_init(|| {
        let rows = (0..20_000).map(|n| format!("{n},{:x},{}.5\n", n * 7919, n % 977));
        let csv = "n,icao24,velocity\n".to_owned() + &rows.collect::<String>();
        let readme = b"nothing here is what it seems\n".to_vec();
        tar([("README.txt", readme), ("states.csv", csv.into_bytes()), ("noise.bin", noise(3_500_000))])
    })
}

fn compressed() -> &'static [u8] {
    static COMPRESSED: OnceLock<Vec<u8>> = OnceLock::new();
    COMPRESSED.get_or_init(|| gzip(plain()))
}

/// Both archives, and what is asked of each: every member with its content, and every record.
const ARCHIVES: [&str; 2] = ["faults/plain.tar", "faults/plain.tar.gz"];

fn objects() -> [(&'static str, Vec<u8>); 2] {
    [(ARCHIVES[0], plain().to_vec()), (ARCHIVES[1], compressed().to_vec())]
}

fn queries(bucket: &str) -> Vec<String> {
    let of = |archive: &str| {
        [
            format!(
                "SELECT path, type, size, mtime, data_offset, encode(sha256(content), 'hex') AS hash \
                 FROM read_tar('s3://{bucket}/{archive}') ORDER BY data_offset"
            ),
            format!(
                "SELECT n, icao24, velocity, _path, _row \
                 FROM read_tar('s3://{bucket}/{archive} :: *.csv', format = 'csv', provenance = true) ORDER BY n"
            ),
        ]
    };
    ARCHIVES.into_iter().flat_map(of).collect()
}

/// What the queries give without a fault.
fn expected() -> &'static [String] {
    static EXPECTED: OnceLock<Vec<String>> = OnceLock::new();
    EXPECTED.get_or_init(|| {
        let server = Server::start(objects(), |_| Reply::Right);
        let answers: Vec<String> = queries("b").iter().map(|sql| server.sql(sql).ok()).collect();
        assert_eq!(answers.iter().map(|rows| rows.lines().count()).collect::<Vec<_>>(), [4, 20_001, 4, 20_001]);
        assert_eq!((&answers[0], &answers[1]), (&answers[2], &answers[3]), "plain and gzip hold the same");
        answers
    })
}

/// Runs it; ends the test where it took too long, which a fault must not.
#[track_caller]
fn timely(program: Tarsql) -> (Output, Metrics) {
    let started = Instant::now();
    let (output, metrics) = program.measured();
    let elapsed = started.elapsed();
    assert!(elapsed < LONG, "it took {elapsed:?}: {}", output.stderr);
    for secret in [ADMIN.0, ADMIN.1, "s3cr3t"] {
        assert!(!output.stderr.contains(secret), "'{secret}' is on stderr: {}", output.stderr);
    }
    (output, metrics)
}

/// What a fault must lead to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The same rows, and the metrics tell of retries.
    Retried,
    /// The same rows, and the metrics tell of retries and of bytes that were resumed.
    Resumed,
    /// The same rows at the first try.
    Unnoticed,
    /// An error that says so.
    Error(&'static str),
}

#[track_caller]
fn check(what: &str, expected: &str, (output, metrics): (Output, Metrics), outcome: Outcome) {
    let Output { status, stdout, stderr } = output;
    if let Outcome::Error(says) = outcome {
        assert_eq!(status, Some(1), "{what}: {stderr}");
        assert!(stderr.contains(says), "{what}: '{says}' is missing: {stderr}");
        assert!(expected.starts_with(&stdout), "{what}: what was printed before the error is right");
        return;
    }
    assert_eq!(status, Some(0), "{what}: {stderr}");
    assert!(stdout == expected, "{what}: other rows: {} bytes in place of {}", stdout.len(), expected.len());
    let (retries, resumed) = (metrics.count("Retries"), metrics.count("ResumedBytes"));
    assert_eq!(retries > 0, outcome != Outcome::Unnoticed, "{what}: {retries} retries");
    assert_eq!(resumed > 0, outcome == Outcome::Resumed, "{what}: {resumed} bytes resumed");
    assert_eq!(metrics.value("Completeness").to_string(), "1", "{what}");
}

#[test]
fn a_network_that_breaks_connections_costs_time_but_no_rows() {
    weed().put_all("tar", objects().map(|(key, bytes)| (key, Bytes::from(bytes))));
    type Script = Box<dyn Fn(u64) -> Trouble + Send>;
    type Case = (&'static str, Outcome, fn() -> Script);
    let cases: [Case; 7] = [
        ("reset after every 64 KiB", Outcome::Resumed, || Box::new(|_| Trouble::Reset(64 << 10))),
        ("reset after 1 to 200 KB", Outcome::Resumed, || Box::new(|n| Trouble::Reset(1_000 + n * 7_919 % 200_000))),
        ("closed in mid-body", Outcome::Resumed, || Box::new(|_| Trouble::Close(100_000))),
        ("silence after 80 KB", Outcome::Resumed, || {
            Box::new(|n| if n < 3 { Trouble::Stall(80_000) } else { Trouble::None })
        }),
        ("the first two reset at once", Outcome::Retried, || {
            Box::new(|n| if n < 2 { Trouble::Refuse } else { Trouble::None })
        }),
        ("slow", Outcome::Unnoticed, || Box::new(|_| Trouble::Delay(Duration::from_millis(2)))),
        ("fine", Outcome::Unnoticed, || Box::new(|_| Trouble::None)),
    ];
    for (name, outcome, script) in cases {
        for (sql, expected) in queries("tar").iter().zip(expected()) {
            let proxy = Proxy::start(&weed().endpoint, script());
            let mut env = weed().env();
            env.push(("AWS_ENDPOINT_URL".into(), proxy.endpoint.clone()));
            let run = timely(Tarsql::sql(&format!("{IMPATIENT} {sql}")).env(env));
            assert_eq!(proxy.struck() > 0, outcome != Outcome::Unnoticed, "{name}: trouble came");
            check(&format!("{name}: {sql}"), expected, run, outcome);
        }
    }
}

/// Which GET requests are answered wrongly.
type Which = fn(&Request) -> bool;

/// Spoils the answers to those GET requests.
fn gets(which: Which, reply: Reply) -> impl Fn(&Request) -> Reply + Send + Sync {
    move |request| match request.key.is_some() && request.method == "GET" && which(request) {
        true => reply,
        false => Reply::Right,
    }
}

#[test]
fn a_server_that_answers_wrongly_gives_the_same_rows_or_an_error() {
    use Outcome as O;
    let always: Which = |_| true;
    let twice: Which = |request| request.repeated < 2;
    let from_the_third: Which = |request| request.number >= 2;
    let later_twice: Which = |request| request.number >= 2 && request.repeated < 2;
    let cases: [(&str, Reply, Which, Outcome); 19] = [
        ("503 storm", Reply::Status(503, "SlowDown"), twice, O::Retried),
        ("500 storm", Reply::Status(500, "InternalError"), twice, O::Retried),
        ("429 storm", Reply::Status(429, "TooManyRequests"), twice, O::Retried),
        ("a time-out that says so", Reply::Status(400, "RequestTimeout"), twice, O::Retried),
        ("503 for ever", Reply::Status(503, "SlowDown"), always, O::Error("gave up after 6 attempts in ")),
        ("body cut", Reply::Short(60_000), always, O::Resumed),
        ("no body", Reply::Short(0), twice, O::Retried),
        ("body cut, and its length tells", Reply::ShortLength(60_000), always, O::Resumed),
        ("no body ever", Reply::Short(0), always, O::Error("gave up after 6 attempts in ")),
        ("a byte at a time", Reply::Short(1), always, O::Error("gave up after 6 attempts in ")),
        ("no ranges", Reply::Whole, always, O::Unnoticed),
        ("another range", Reply::OtherRange, from_the_third, O::Error("can't be read (")),
        ("no ETag", Reply::NoETag, always, O::Unnoticed),
        ("replaced", Reply::Replaced, from_the_third, O::Error("the object was replaced while it was read")),
        ("a redirect to a login", Reply::Login, from_the_third, O::Error("as from a proxy or a login page")),
        ("a login page", Reply::LoginPage, from_the_third, O::Error("as from a proxy or a login page")),
        ("an error as if it were the object", Reply::ErrorInSuccess, from_the_third, O::Error("as from a proxy")),
        ("a login page for a moment", Reply::LoginPage, later_twice, O::Retried),
        ("an error for a moment as if it were the object", Reply::ErrorInSuccess, later_twice, O::Retried),
    ];
    for (name, reply, which, outcome) in cases {
        for (sql, expected) in queries("b").iter().zip(expected()) {
            let server = Server::start(objects(), gets(which, reply));
            let run = timely(server.sql(&format!("{IMPATIENT} {sql}")));
            if let Outcome::Error(_) = outcome {
                assert!(server.gets() < 60, "{name}: {} requests", server.gets());
            }
            check(&format!("{name}: {sql}"), expected, run, outcome);
        }
    }
}

/// Spoils the first two listings.
fn listings(reply: Reply) -> impl Fn(&Request) -> Reply + Send + Sync {
    move |request| if request.key.is_none() && request.number < 2 { reply } else { Reply::Right }
}

#[test]
fn a_listing_that_fails_is_asked_for_again() {
    let sql = format!("{IMPATIENT} SELECT archive, path, size FROM read_tar('s3://b/faults/*') ORDER BY archive, path");
    let expected = Server::start(objects(), |_| Reply::Right).sql(&sql).ok();
    for (reply, outcome) in [
        (Reply::Status(503, "SlowDown"), Outcome::Retried),
        (Reply::Status(500, "InternalError"), Outcome::Retried),
        (Reply::Status(429, "SlowDown"), Outcome::Retried),
        (Reply::Short(200), Outcome::Retried),
        (Reply::Short(0), Outcome::Retried),
        // What is no listing must not pass for an empty one.
        (Reply::ErrorInSuccess, Outcome::Retried),
        (Reply::LoginPage, Outcome::Retried),
        (Reply::Login, Outcome::Retried),
        (Reply::Status(403, "AccessDenied"), Outcome::Error("permission denied")),
    ] {
        let server = Server::start(objects(), listings(reply));
        check(&format!("a listing with {reply:?}"), &expected, timely(server.sql(&sql)), outcome);
    }
    // The answer that never comes.
    for (reply, says) in [
        (Reply::Status(503, "SlowDown"), "can't be read (status 503 SlowDown: Please try again)"),
        (Reply::ErrorInSuccess, "can't be read (in place of a listing came InternalError: Please try again)"),
        (Reply::LoginPage, "can't be read (in place of a listing came something else)"),
    ] {
        let of_listings = move |request: &Request| if request.key.is_none() { reply } else { Reply::Right };
        let server = Server::start(objects(), of_listings);
        let run = timely(server.sql(&sql));
        assert!(run.0.stderr.contains("s3://b/faults/*: gave up after 6 attempts in "), "{}", run.0.stderr);
        check("a listing that never works", "", run, Outcome::Error(says));
        assert_eq!(server.listings(), 6);
    }
}

#[test]
fn one_archive_that_fails_for_good_need_not_end_the_job() {
    let archive = |n: u32| (format!("many/{n:02}.tar"), tar([(format!("{n}.txt"), n.to_string())]));
    let broken = |request: &Request| match request.key.as_deref() {
        Some("many/07.tar") if request.method == "GET" => Reply::Status(503, "SlowDown"),
        _ => Reply::Right,
    };
    let server = Server::start((0..12).map(archive), broken);
    let query = |more: &str| {
        let read =
            format!("read_tar('s3://b/many/*.tar', format = 'text', max_retries = 2, retry_timeout_ms = 5000{more})");
        format!("SELECT path, text FROM {read} ORDER BY path")
    };
    let gave_up = "s3://b/many/07.tar: gave up after 3 attempts in ";
    let (output, _) = timely(server.sql(&query("")));
    assert_eq!((output.status, output.stdout.as_str()), (Some(1), ""), "{}", output.stderr);
    assert!(output.stderr.contains(gave_up) && output.stderr.contains("503 SlowDown"), "{}", output.stderr);

    let (output, metrics) = timely(server.sql(&query(", on_unreachable = 'skip'")));
    let mut rows: Vec<String> = (0..12).filter(|n| *n != 7).map(|n| format!("{n}.txt,{n}\n")).collect();
    rows.sort();
    assert_eq!((output.status, output.stdout), (Some(3), format!("path,text\n{}", rows.concat())), "{}", output.stderr);
    assert!(output.stderr.contains(gave_up), "{}", output.stderr);
    assert_eq!((metrics.count("Retries"), metrics.count("Errors")), (2, 1));
}

/// The time that a run took, and its error.
fn refused(sql: &str, env: impl IntoIterator<Item = (&'static str, String)>) -> (Duration, String) {
    let started = Instant::now();
    let output = Tarsql::sql(sql).env(env).args(["--quiet"]).run();
    assert_eq!((output.status, output.stdout.as_str()), (Some(1), ""), "{sql}: {}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1, "{sql}: {}", output.stderr);
    (started.elapsed(), output.stderr)
}

#[test]
fn giving_up_takes_as_long_as_it_was_told_and_says_so() {
    let black_hole = BlackHole::open();
    // Accepts connections and says nothing.
    let mute = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let mute = format!("http://{}", mute.local_addr().expect("it is bound"));
    let settings =
        "SET tarsql.max_retries = 3; SET tarsql.connect_timeout_ms = 300; SET tarsql.stall_timeout_ms = 200;";
    for (endpoint, says) in [
        ("http://127.0.0.1:1", &["gave up after 4 attempts in ", "can't connect (", "refused"][..]),
        ("http://no-such-host.invalid", &["gave up after 4 attempts in ", "can't connect ("]),
        (black_hole.endpoint.as_str(), &["gave up after 4 attempts in ", "can't connect (", "timed out)"]),
        (mute.as_str(), &["gave up after 4 attempts in ", "no answer within 400 ms"]),
    ] {
        let members = "SELECT path FROM read_tar";
        for sql in [
            format!("{members}('s3://b/a.tar')"),
            format!("{members}('s3://b/*.tar')"),
            format!("{members}('{endpoint}/a.tar')"),
            format!("{members}('{endpoint}/a.tar :: *.csv', format = 'csv')"),
            "CREATE EXTERNAL TABLE t STORED AS TAR LOCATION 's3://b/*.tar :: *.csv' OPTIONS ('format' 'csv')"
                .to_owned(),
        ] {
            let (elapsed, error) = refused(&format!("{settings} {sql}"), unsigned(endpoint));
            for part in says {
                assert!(error.contains(part), "{endpoint}: {sql}: '{part}' is missing: {error}");
            }
            assert!(elapsed < Duration::from_secs(20), "{endpoint}: {sql}: {elapsed:?}");
        }
    }
    // Time is up before the repetitions are.
    let settings = "SET tarsql.max_retries = 1000; SET tarsql.retry_timeout_ms = 1500;";
    let sql = format!("{settings} SELECT path FROM read_tar('s3://b/a.tar')");
    let (elapsed, error) = refused(&sql, unsigned("http://127.0.0.1:1"));
    assert!(error.contains("gave up after ") && elapsed < Duration::from_secs(10), "{elapsed:?}: {error}");
    // The option of a table wins over the session.
    let sql = "SET tarsql.max_retries = 9; SELECT path FROM read_tar('s3://b/a.tar', max_retries = 0)";
    let (_, error) = refused(sql, unsigned("http://127.0.0.1:1"));
    assert!(error.contains("gave up after 1 attempt in "), "{error}");
}

#[test]
fn waiting_is_said_and_requests_are_shown_to_who_asks() {
    let busy = |request: &Request| match request.key.is_some() && request.method == "GET" && request.number < 4 {
        true => Reply::Status(503, "SlowDown"),
        false => Reply::Right,
    };
    let sql = "SELECT path FROM read_tar('s3://b/faults/plain.tar')";
    let run = |flags: &[&str]| {
        let server = Server::start(objects(), busy);
        let (output, _) = timely(server.sql(sql).args(flags));
        assert_eq!((output.status, output.stdout.lines().count()), (Some(0), 4), "{}", output.stderr);
        (output.stderr, server)
    };
    // The first repetition is not worth a word; of the others, which come within three seconds, one is.
    let (stderr, _) = run(&[]);
    let line = "s3://b/faults/plain.tar: status 503 SlowDown: Please try again; attempt 3 of 11 in ";
    assert!(stderr.starts_with(line) && stderr.lines().count() == 1, "{stderr}");
    let (stderr, _) = run(&["--quiet"]);
    assert_eq!(stderr, "");
    let (stderr, server) = run(&["--verbose"]);
    for attempt in 2..=5 {
        assert!(stderr.contains(&format!("; attempt {attempt} of 11 in ")), "{attempt}: {stderr}");
    }
    let get = format!("GET {}/b/faults/plain.tar bytes=0-262143: status ", server.endpoint);
    assert_eq!(
        (stderr.matches(&format!("{get}503 in ")).count(), stderr.matches(&format!("{get}206 in ")).count()),
        (4, 1)
    );
    assert!(stderr.contains(&format!("HEAD {}/b/faults/plain.tar: status 200 in ", server.endpoint)), "{stderr}");
}

#[test]
fn no_log_line_holds_a_secret() {
    // A signature in a URL's query, refused at first.
    let server = Server::start([("a.tar", plain().to_vec())], |request| match request.number < 3 {
        true => Reply::Status(503, "SlowDown"),
        false => Reply::Right,
    });
    let url = format!("{}/b/a.tar?X-Amz-Credential=AKIAs3cr3t&X-Amz-Signature=s3cr3t", server.endpoint);
    let (output, _) = timely(Tarsql::sql(&format!("SELECT path FROM read_tar('{url}')")).args(["-v"]));
    assert_eq!(output.status, Some(0), "{}", output.stderr);
    assert!(output.stderr.contains(&format!("GET {}/b/a.tar?… bytes=", server.endpoint)), "{}", output.stderr);
    assert!(output.stderr.contains(&format!("{}/b/a.tar?…: status 503", server.endpoint)), "{}", output.stderr);
    assert!(server.targets().iter().all(|target| target.ends_with("&X-Amz-Signature=s3cr3t")), "the server got it");
    // Keys that sign each request; `timely` looks for them.
    weed().put("tar", "faults/secret.tar", plain());
    let proxy = Proxy::start(&weed().endpoint, |_| Trouble::Reset(64 << 10));
    let mut env = weed().env();
    env.push(("AWS_ENDPOINT_URL".into(), proxy.endpoint.clone()));
    let sql = "SELECT count(content) FROM read_tar('s3://tar/faults/secret.tar')";
    let (output, _) = timely(Tarsql::sql(sql).env(env).args(["-v"]));
    assert_eq!((output.status, output.stdout.lines().count()), (Some(0), 2), "{}", output.stderr);
    assert!(output.stderr.contains("status 206") && !output.stderr.contains("Signature"), "{}", output.stderr);
}

#[test]
fn what_a_writer_sends_again_is_counted() {
    let copy =
        |key: &str, rows: u32| format!("COPY (SELECT value AS n FROM range(0, {rows})) TO 's3://tar/faults/{key}'");
    for (refused, key) in [(0, "written-0.parquet"), (2, "written-2.parquet")] {
        let proxy = Proxy::start(&weed().endpoint, move |n| if n < refused { Trouble::Refuse } else { Trouble::None });
        let mut env = weed().env();
        env.push(("AWS_ENDPOINT_URL".into(), proxy.endpoint.clone()));
        let (output, metrics) = timely(Tarsql::sql(&copy(key, 1_000)).env(env).args(["-q"]));
        assert_eq!((output.status, output.stderr.as_str()), (Some(0), ""));
        assert_eq!(metrics.count("Retries"), refused, "{key}");
        let seen = parquet(format!("s3://tar/faults/{key}"), &weed().env());
        assert_eq!(seen["rows"], serde_json::json!(1_000), "{key}");
    }
}

/// A session that reads `s3://tar` through `endpoint`, by options.
fn options(endpoint: &str) -> String {
    format!(
        "aws.endpoint = '{endpoint}', aws.allow_http = true, aws.access_key_id = '{}', aws.secret_access_key = '{}'",
        ADMIN.0, ADMIN.1
    )
}

/// 96 members of a mebibyte: more than is read ahead.
fn large() -> Bytes {
    let content = noise(1 << 20);
    tar((0..96_u8).map(|n| (format!("{n:02}.bin"), content.iter().map(|byte| byte ^ n).collect::<Vec<_>>()))).into()
}

/// A session that asks for one thing at a time.
fn serial() -> Session {
    Session::with(SessionConfig::new().with_batch_size(4).set_usize("datafusion.execution.target_partitions", 1))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_consumer_holds_no_response_open() {
    let archive = large();
    weed().put("tar", "faults/slow.tar", archive.clone());
    // The server's patience: no connection lives longer than this, whatever it is doing.
    let proxy = Proxy::start(&weed().endpoint, |_| Trouble::Lifetime(Duration::from_millis(1_500)));
    let session = serial();
    let sql =
        format!("SELECT path, size, content FROM read_tar('s3://tar/faults/slow.tar', {})", options(&proxy.endpoint));
    let (started, frame) = (Instant::now(), session.ctx.sql(&sql).await.expect("it is planned"));
    let plan = frame.create_physical_plan().await.expect("it is planned");
    let mut batches =
        datafusion::physical_plan::execute_stream(Arc::clone(&plan), session.ctx.task_ctx()).expect("it starts");
    let (mut rows, mut waited) = (Vec::new(), Duration::ZERO);
    while let Some(batch) = batches.next().await {
        let batch = batch.expect("no response was cut");
        rows.extend(crate::session::texts(&batch));
        let pause = Duration::from_millis(300);
        tokio::time::sleep(pause).await;
        waited += pause;
    }
    assert!(waited > Duration::from_secs(5) && started.elapsed() < LONG, "{waited:?} of {:?}", started.elapsed());
    let straight =
        format!("SELECT path, size, content FROM read_tar('s3://tar/faults/slow.tar', {})", options(&weed().endpoint));
    assert!(rows == session.rows(&straight).await, "other rows");
    let totals = |counter: fn(&tarsql::Stats) -> u64| {
        tarsql::reports(&plan).iter().map(|report| counter(&report.totals())).sum::<u64>()
    };
    assert!(proxy.struck() > 2, "connections were cut: {}", proxy.struck());
    assert_eq!(totals(|stats| stats.bytes_fetched.value()), archive.len() as u64);
    assert_eq!(totals(|stats| stats.resumed_bytes.value()), 0, "but none while it brought something");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_replaced_in_mid_scan_is_an_error_whatever_may_be_skipped() {
    let archive = large();
    let newer: Bytes = tar((0..96).map(|n| (format!("{n:02}.bin"), vec![b'x'; 1 << 20]))).into();
    assert_eq!(newer.len(), archive.len());
    for policies in ["", ", on_error = 'skip', on_unreachable = 'skip'"] {
        weed().put("tar", "faults/replaced.tar", archive.clone());
        let session = serial();
        let sql = format!(
            "SELECT path, content FROM read_tar('s3://tar/faults/replaced.tar', {}{policies})",
            options(&weed().endpoint)
        );
        let frame = session.ctx.sql(&sql).await.expect("it is planned");
        let mut batches = frame.execute_stream().await.expect("it starts");
        let first = batches.next().await.expect("a batch").expect("the first range is read");
        assert!(first.num_rows() > 0);
        weed().put("tar", "faults/replaced.tar", newer.clone());
        let error = loop {
            match batches.next().await.expect("it must not end as if all was well") {
                Ok(batch) => {
                    // What was fetched before is of the old object.
                    let rows = crate::session::texts(&batch);
                    assert!(rows.iter().all(|row| !row.contains("78787878787878787878")), "a mixture");
                }
                Err(error) => break Failure::of(&error).expect("an error of ours"),
            }
        };
        assert_eq!(error.kind, "changed");
        error.says(&["s3://tar/faults/replaced.tar", "the object was replaced while it was read"]);
    }
}

/// A session in which `s3://faulty` holds both archives and fails as `script` says.
async fn faulty(script: impl FnMut(Option<&object_store::path::Path>) -> Fault + Send + 'static) -> Session {
    let inner = InMemory::new();
    for (key, bytes) in objects() {
        inner.put(&key.into(), bytes.into()).await.expect("memory takes it");
    }
    let session = Session::new();
    let url = Url::parse("s3://faulty").expect("a URL");
    session.ctx.register_object_store(&url, Arc::new(FaultyStore::new(inner, script)));
    for setting in ["max_retries = 4", "stall_timeout_ms = 50"] {
        session.ok(&format!("SET tarsql.{setting}")).await;
    }
    session
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_gives_the_same_rows_or_an_error() {
    let fine = faulty(|_| Fault::None).await;
    let mut expected = Vec::new();
    for sql in queries("faulty") {
        expected.push(fine.ok(&sql).await.sorted());
    }
    let mut outcomes = [0, 0];
    for seed in 1..=24_u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let session = faulty(move |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let bytes = usize::try_from((state >> 8) % 300_000).expect("it is small");
            // From a few faults to nearly nothing else.
            match (state >> 40) % (4 + 40 / seed) {
                0 => Fault::Refuse,
                1 => Fault::Break(bytes),
                2 if bytes % 3 == 0 => Fault::Stall(bytes),
                3 if bytes % 3 == 0 => Fault::Short(bytes),
                _ => Fault::None,
            }
        })
        .await;
        for (sql, expected) in queries("faulty").into_iter().zip(&expected) {
            let started = Instant::now();
            match session.sql(&sql).await {
                Ok(answer) => {
                    assert!(answer.sorted() == *expected, "seed {seed}: {sql}: other rows");
                    outcomes[0] += 1;
                }
                Err(error) => {
                    let error = Failure::of(&error).expect("an error of ours");
                    error.says(&["gave up after 5 attempts in "]);
                    assert_eq!(error.kind, "unreachable");
                    outcomes[1] += 1;
                }
            }
            assert!(started.elapsed() < LONG, "seed {seed}: {sql}");
        }
    }
    assert!(outcomes[0] > 20, "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_goes_away_is_an_error_or_skipped() {
    let gone = |from: u32| {
        let mut gets = 0;
        move |what: Option<&object_store::path::Path>| {
            let is_plain = what.is_some_and(|path| path.as_ref() == ARCHIVES[0]);
            gets += u32::from(is_plain);
            if is_plain && gets > from { Fault::Gone } else { Fault::None }
        }
    };
    let sql = "SELECT path FROM read_tar('s3://faulty/faults/*'";
    for from in [0, 2] {
        let error = faulty(gone(from)).await.error(&format!("{sql})")).await;
        assert_eq!(error.kind, "unreachable");
        error.says(&["s3://faulty/faults/plain.tar: ", "not found"]);
        let session = faulty(gone(from)).await;
        let rows = session.rows(&format!("{sql}, on_unreachable = 'skip') WHERE archive LIKE '%.gz'")).await;
        assert_eq!(rows, ["README.txt", "states.csv", "noise.bin"], "the other archive is complete");
    }
}
