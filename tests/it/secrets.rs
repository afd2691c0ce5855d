//! Secrets that come in, by every way in, and what comes out, by every way out: a canary must be in none of it. Beside
//! it, what an archive says must not reach the terminal as a command.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;
use std::thread;

use crate::http::{Server, Skill};
use crate::program::Tarsql;
use crate::testdata::testdata;

/// What every secret of this file holds.
const CANARY: &str = "cAnArY51";

/// Where a query looks for an archive that is there, without a network.
const LOCAL: &str = "testdata/compressed/plain.tar";

/// How a secret comes in.
struct WayIn {
    name: &'static str,
    /// Statements that come first.
    before: String,
    /// What stands behind FROM.
    table: String,
    env: Vec<(&'static str, String)>,
    /// Whether the archive can be read: then the secret was used, and not refused at the door.
    works: bool,
}

/// Statements in which the secret could come out, `{t}` standing for the table. Each runs on its own, since the first
/// that fails ends the program.
const WAYS_OUT: [&str; 13] = [
    "SELECT * FROM {t}; SELECT * FROM tarsql_errors()",
    "EXPLAIN SELECT path FROM {t}; EXPLAIN VERBOSE SELECT path FROM {t}; EXPLAIN FORMAT pgjson SELECT path FROM {t}; \
     EXPLAIN FORMAT tree SELECT path FROM {t}; EXPLAIN FORMAT graphviz SELECT path FROM {t}",
    "EXPLAIN ANALYZE SELECT path FROM {t}; EXPLAIN ANALYZE VERBOSE SELECT path FROM {t}",
    "CREATE VIEW w AS SELECT * FROM {t}; SELECT * FROM information_schema.views; SHOW CREATE TABLE w; DESCRIBE w",
    "CREATE TABLE w AS SELECT path FROM {t}; SHOW CREATE TABLE w; EXPLAIN VERBOSE SELECT * FROM w",
    "SHOW CREATE TABLE t; DESCRIBE t; SELECT * FROM information_schema.tables; \
     SELECT * FROM information_schema.views; SELECT * FROM information_schema.columns",
    "SELECT 1 FROM {t} LIMIT 1; SELECT * FROM information_schema.df_settings; SHOW ALL",
    "SET tarsql.on_unreachable = 'skip'; SELECT path FROM {t}; SELECT * FROM tarsql_errors()",
    "SELECT nothing FROM {t}",
    "SELECT FROM WHERE {t} )(",
    "SELECT CAST(path AS INT) FROM {t}",
    "COPY (SELECT path FROM {t}) TO '/nonexistent/x.parquet'",
    "EXPLAIN COPY (SELECT path FROM {t}) TO 's3://b/x.parquet'",
];

fn way(name: &'static str, table: impl Into<String>) -> WayIn {
    WayIn { name, before: String::new(), table: table.into(), env: Vec::new(), works: false }
}

impl WayIn {
    fn works(self) -> Self {
        Self { works: true, ..self }
    }

    fn after(self, before: impl Into<String>) -> Self {
        Self { before: before.into(), ..self }
    }

    fn env(self, endpoint: &str, vars: &[(&'static str, &str)]) -> Self {
        let given = [("AWS_ENDPOINT_URL", endpoint), ("AWS_ALLOW_HTTP", "true"), ("AWS_REGION", "x")];
        let given = given.iter().filter(|(name, _)| vars.iter().all(|(other, _)| name != other));
        Self { env: given.chain(vars).map(|(name, value)| (*name, (*value).to_owned())).collect(), ..self }
    }
}

/// As arguments of `read_tar`.
fn arguments(host: &str) -> Vec<WayIn> {
    let s3 = format!("'s3://b/x.tar', aws.endpoint = 'http://{host}', aws.allow_http = true, aws.access_key_id = 'k'");
    let azure = format!("'az://c/x.tar', azure.endpoint = 'http://{host}', azure.allow_http = true");
    vec![
        way("secret key", format!("read_tar({s3}, aws.secret_access_key = '{CANARY}')")),
        way("session token", format!("read_tar({s3}, aws.secret_access_key = 's', aws.session_token = '{CANARY}')")),
        way(
            "customer key",
            format!("read_tar({s3}, aws.secret_access_key = 's', aws.sse_customer_key_base64 = '{CANARY}')"),
        ),
        way("unused secret", format!("read_tar('{LOCAL}', aws.secret_access_key = '{CANARY}')")).works(),
        way("misspelt name", format!("read_tar('{LOCAL}', aws.secret_acess_key = '{CANARY}')")),
        way("no quotes", format!("read_tar('{LOCAL}', aws.secret_access_key = {CANARY})")),
        way("azure key", format!("read_tar({azure}, azure.account_name = 'a', azure.account_key = '{CANARY}=')")),
        way(
            "azure key that is none",
            format!("read_tar({azure}, azure.account_name = 'a', azure.account_key = '{CANARY}!')"),
        ),
        way(
            "azure signature",
            format!("read_tar({azure}, azure.account_name = 'a', azure.sas_key = 'sv=1&sig={CANARY}')"),
        ),
        way(
            "google key",
            format!("read_tar('gs://c/x.tar', gcp.service_account_key = '{{\"private_key\": \"{CANARY}\"}}')"),
        ),
        way("google key that is none", format!("read_tar('gs://c/x.tar', gcp.service_account_key = '{CANARY}')")),
    ]
}

/// As `OPTIONS` of a table.
fn options(host: &str) -> Vec<WayIn> {
    let create = |format: &str, location: &str, options: &str| {
        format!("CREATE EXTERNAL TABLE t STORED AS {format} LOCATION '{location}' OPTIONS ({options});")
    };
    let s3 = format!("'aws.endpoint' 'http://{host}', 'aws.allow_http' 'true', 'aws.access_key_id' 'k'");
    let secret = format!("'aws.secret_access_key' '{CANARY}'");
    vec![
        way("table's secret key", "t").after(create("TAR", "s3://b/x.tar", &format!("{s3}, {secret}"))),
        way("table's unused secret", "t").after(create("TAR", LOCAL, &secret)).works(),
        way("table's misspelt name", "t").after(create("TAR", LOCAL, &format!("'aws.secret_acess_key' '{CANARY}'"))),
        way("another format's secret", "t").after(create("PARQUET", "s3://b/x.parquet", &format!("{s3}, {secret}"))),
        way("view's secret", "t")
            .after(format!("CREATE VIEW t AS SELECT * FROM read_tar('{LOCAL}', aws.secret_access_key = '{CANARY}');"))
            .works(),
        way("setting", "t").after(format!("SET aws.secret_access_key = '{CANARY}';")),
    ]
}

/// In URLs.
fn urls(host: &str) -> Vec<WayIn> {
    let create = |url: &str| format!("CREATE EXTERNAL TABLE t STORED AS TAR LOCATION '{url}';");
    let signed = format!("http://{host}/plain.tar?X-Amz-Credential=k&X-Amz-Signature={CANARY}&X-Amz-Expires=60");
    let missing = format!("http://{host}/nope.tar?sig={CANARY}&se=1");
    let with_user = format!("http://me:{CANARY}@{host}/plain.tar");
    vec![
        way("signed URL", format!("read_tar('{signed}')")).works(),
        way("signed URL as a table", format!("'{signed}'")).works(),
        way("table of a signed URL", "t").after(create(&signed)).works(),
        way("view of a signed URL", "t").after(format!("CREATE VIEW t AS SELECT * FROM '{signed}';")).works(),
        way("ticket", format!("read_tar('http://{host}/plain.tar?ticket={CANARY}')")).works(),
        way("signed URL of nothing", format!("read_tar('{missing}')")),
        way("signed URL of nothing as a table", format!("'{missing}'")),
        way("signed URLs", format!("read_tar('http://{host}/{{nope,none}}.tar?sig={CANARY}')")),
        way("signed URL of another format", "t").after(format!(
            "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 'http://{host}/plain.tar?sig={CANARY}';"
        )),
        way("password", format!("read_tar('{with_user}')")),
        way("password as a table", format!("'{with_user}'")),
        way("table of a password", "t").after(create(&with_user)),
        way("password with a slash", format!("read_tar('http://me:a/{CANARY}@{host}/plain.tar')")),
        way("password of a bucket", format!("read_tar('s3://me:{CANARY}@b/x.tar')")),
    ]
}

/// In variables.
fn variables(host: &str) -> Vec<WayIn> {
    let endpoint = format!("http://{host}");
    let with_user = format!("http://me:{CANARY}@{host}");
    let key = ("AWS_ACCESS_KEY_ID", "k");
    vec![
        way("variable", "read_tar('s3://b/x.tar')").env(&endpoint, &[key, ("AWS_SECRET_ACCESS_KEY", CANARY)]),
        way("variable, stock table", "'s3://b/x.parquet'").env(&endpoint, &[key, ("AWS_SECRET_ACCESS_KEY", CANARY)]),
        way("token variable", "read_tar('s3://b/x.tar')")
            .env(&endpoint, &[key, ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", CANARY)]),
        way("endpoint variable", "read_tar('s3://b/x.tar')").env(&with_user, &[key, ("AWS_SECRET_ACCESS_KEY", "s")]),
        way("substituted", format!("read_tar('{LOCAL}', aws.secret_access_key = '${{SECRET}}')")).works(),
    ]
}

/// Runs one pair; returns where the canary was.
fn leaks(way: &WayIn, out: &str) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let metrics = dir.path().join("metrics.json");
    let sql = format!("{}\n{}", way.before, out.replace("{t}", &way.table));
    let output = Tarsql::sql(&sql)
        .args(["--verbose", "--set", &format!("SECRET={CANARY}"), "--metrics"])
        .args([&metrics])
        .env(way.env.iter().map(|(name, value)| (*name, value.as_str())))
        .env([("RUST_BACKTRACE", "1"), ("AWS_EC2_METADATA_DISABLED", "true")])
        .run();
    let metrics = fs::read_to_string(&metrics).unwrap_or_default();
    let texts = [("stdout", &output.stdout), ("stderr", &output.stderr), ("metrics", &metrics)];
    texts
        .into_iter()
        .flat_map(|(what, text)| text.lines().map(move |line| (what, line)))
        .filter(|(_, line)| line.contains(CANARY))
        .map(|(what, line)| format!("{}: {what} of {out}: {line}", way.name))
        .collect()
}

#[test]
fn no_secret_comes_out() {
    let plain = fs::read(testdata("compressed/plain.tar")).expect("test data can be read");
    let server = Server::start(Skill::Ranges, [("/plain.tar", plain)]);
    let host = server.url.trim_start_matches("http://");
    let ways = [arguments(host), options(host), urls(host), variables(host)].into_iter().flatten().collect::<Vec<_>>();
    for way in ways.iter().filter(|way| way.works) {
        let sql = format!("{}\nSELECT path FROM {}", way.before, way.table);
        let stdout = Tarsql::sql(&sql).args(["--set", &format!("SECRET={CANARY}")]).ok();
        assert!(stdout.ends_with("path\none.txt\ntwo.bin\nthree.txt\n"), "{}: {stdout}", way.name);
    }
    assert!(server.log().iter().any(|line| line.contains(CANARY)), "signatures are sent, whole");

    let pairs: Vec<_> = ways.iter().flat_map(|way| WAYS_OUT.map(|out| (way, out))).collect();
    let (next, found) = (Mutex::new(pairs.iter()), Mutex::new(BTreeSet::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some((way, out)) = { next.lock().expect("nobody panics").next() } {
                    found.lock().expect("nobody panics").extend(leaks(way, out));
                }
            });
        }
    });
    let found = found.into_inner().expect("nobody panics");
    assert!(found.is_empty(), "{}", found.into_iter().collect::<Vec<_>>().join("\n"));
}
