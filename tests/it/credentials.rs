//! Who may read and write what on a real S3 server. Every refusal is one line that names bucket and key and the
//! remedy, comes soon, and shows no secret.

use std::fs;
use std::time::{Duration, Instant};

use crate::program::Tarsql;
use crate::testdata::testdata;
use crate::weed::{ADMIN, READER, weed};

/// A secret that opens nothing.
const WRONG: (&str, &str) = (ADMIN.0, "wrongS3cr3t+/value");
/// A key id that the server does not know.
const UNKNOWN: (&str, &str) = ("nobodysKeyId", "nobodysS3cr3t");

/// A refusal is no fault of the network: nothing is tried again.
const SOON: Duration = Duration::from_secs(10);

type Vars = Vec<(String, String)>;

/// Puts an archive into both buckets.
fn archives() {
    for bucket in ["tar", "public"] {
        weed().put_file(bucket, "who/plain.tar", testdata("compressed/plain.tar"));
    }
}

/// No settings of S3 at all; nobody's files either.
fn bare() -> Vars {
    let kept = ["AWS_EC2_METADATA_DISABLED", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"];
    weed().env_unsigned().into_iter().filter(|(name, _)| kept.contains(&name.as_str())).collect()
}

/// Runs it, and looks for secrets in all that it leaves.
#[track_caller]
fn run(sql: &str, env: Vars, given: &[&str]) -> crate::program::Output {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("metrics.json");
    let output = Tarsql::sql(sql).env(env).args(["--metrics".as_ref(), file.as_os_str()]).run();
    let metrics = fs::read_to_string(&file).expect("every query leaves a run");
    for secret in [ADMIN.1, READER.1, WRONG.1, UNKNOWN.1].iter().chain(given) {
        for (what, text) in [("stdout", &output.stdout), ("stderr", &output.stderr), ("metrics", &metrics)] {
            assert!(!text.contains(secret), "{sql}: '{secret}' in {what}: {text}");
        }
    }
    output
}

#[track_caller]
fn works(sql: &str, env: Vars) {
    let output = run(sql, env, &[]);
    assert_eq!((output.status, output.stderr.as_str()), (Some(0), ""), "{sql}");
    assert_eq!(output.stdout, "path\none.txt\ntwo.bin\nthree.txt\n", "{sql}");
}

#[track_caller]
fn refused(sql: &str, env: Vars, says: &[&str]) {
    let started = Instant::now();
    let output = run(sql, env, &[]);
    let elapsed = started.elapsed();
    assert_eq!((output.status, output.stdout.as_str()), (Some(1), ""), "{sql}: {}", output.stderr);
    assert_eq!(output.stderr.trim_end().lines().count(), 1, "{sql}: {}", output.stderr);
    for part in says {
        assert!(output.stderr.contains(part), "{sql}: no '{part}': {}", output.stderr);
    }
    assert!(elapsed < SOON, "{sql}: took {elapsed:?}");
}

/// Options as `read_tar` and as `OPTIONS` take them.
fn options((key, secret): (&str, &str)) -> [(&'static str, String); 4] {
    [
        ("aws.endpoint", weed().endpoint.clone()),
        ("aws.allow_http", "true".into()),
        ("aws.access_key_id", key.into()),
        ("aws.secret_access_key", secret.into()),
    ]
}

fn arguments(options: &[(&str, String)]) -> String {
    options.iter().map(|(name, value)| format!(", {name} = '{value}'")).collect()
}

fn clauses(options: &[(&str, String)]) -> String {
    options.iter().map(|(name, value)| format!("'{name}' '{value}'")).collect::<Vec<_>>().join(", ")
}

#[test]
fn credentials_come_from_the_environment_from_options_and_from_a_profile() {
    archives();
    let read = "SELECT path FROM read_tar('s3://tar/who/plain.tar')";
    works(read, weed().env());
    works(read, weed().env_as(READER));
    works("SELECT path FROM 's3://tar/who/plain.tar'", weed().env_as(READER));

    let by_options = options(READER);
    works(&format!("SELECT path FROM read_tar('s3://tar/who/*.tar'{})", arguments(&by_options)), bare());
    let create = |options: &str| {
        format!(
            "CREATE EXTERNAL TABLE t STORED AS TAR LOCATION 's3://tar/who/*.tar' OPTIONS ({options}); SELECT path FROM t"
        )
    };
    works(&create(&clauses(&by_options)), bare());
    // Options win over the environment, and nothing of one identity is mixed with the other.
    works(&create(&clauses(&by_options)), weed().env_as(UNKNOWN));

    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("credentials");
    let profile = |name: &str, (key, secret): (&str, &str)| {
        format!("[{name}]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n\n")
    };
    fs::write(&file, profile("default", UNKNOWN) + &profile("lab", READER)).expect("a file");
    let with_profiles = |more: &[(&str, &str)]| {
        let mut env = weed().env_unsigned();
        env.retain(|(name, _)| !["AWS_SKIP_SIGNATURE", "AWS_SHARED_CREDENTIALS_FILE"].contains(&name.as_str()));
        env.push(("AWS_SHARED_CREDENTIALS_FILE".into(), file.display().to_string()));
        env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        env
    };
    works(read, with_profiles(&[("AWS_PROFILE", "lab")]));
    works("SELECT path FROM read_tar('s3://tar/who/plain.tar', aws.profile = 'lab')", with_profiles(&[]));
    refused(read, with_profiles(&[]), &["s3://tar/who/plain.tar", "InvalidAccessKeyId"]);
    refused(
        read,
        with_profiles(&[("AWS_PROFILE", "none")]),
        &["s3://tar/who/plain.tar", "AWS profile 'none' is neither in"],
    );
}

#[test]
fn a_public_bucket_is_read_unsigned() {
    archives();
    let public = "SELECT path FROM read_tar('s3://public/who/plain.tar'";
    works(&format!("{public})"), weed().env_unsigned());
    works(&format!("{public}, aws.skip_signature = true)"), weed().env_as(WRONG));
    let endpoint = format!("aws.endpoint = '{}', aws.allow_http = true", weed().endpoint);
    works(&format!("{public}, {endpoint}, aws.skip_signature = true)"), bare());
    works("SELECT path FROM 's3://public/who/plain.tar'", weed().env_unsigned());
    refused(
        "SELECT path FROM 's3://tar/who/plain.tar'",
        weed().env_unsigned(),
        &["s3://tar/who/plain.tar", "permission denied"],
    );
}

#[test]
fn two_tables_on_one_bucket_have_their_own_credentials() {
    archives();
    let tables: String = [("good", READER), ("bad", WRONG)]
        .map(|(name, credentials)| {
            let options = clauses(&options(credentials));
            format!("CREATE EXTERNAL TABLE {name} STORED AS TAR LOCATION 's3://tar/who/*.tar' OPTIONS ({options});\n")
        })
        .concat();
    works(&format!("{tables} SELECT path FROM good"), bare());
    refused(&format!("{tables} SELECT path FROM bad"), bare(), &["s3://tar/who/*.tar", "SignatureDoesNotMatch"]);
    // In whichever order, and beside the credentials of the environment.
    let output = run(&format!("{tables} SELECT path FROM good; SELECT path FROM bad"), weed().env(), &[]);
    assert_eq!((output.status, output.stdout.lines().count()), (Some(1), 4), "{}", output.stderr);
    let both = format!(
        "{tables} SELECT g.path FROM good g JOIN read_tar('s3://tar/who/plain.tar') e ON g.path = e.path ORDER BY g.path"
    );
    let output = run(&both, weed().env(), &[]);
    assert_eq!(
        (output.status, output.stdout.as_str()),
        (Some(0), "path\none.txt\nthree.txt\ntwo.bin\n"),
        "{}",
        output.stderr
    );
    refused(
        &format!("{tables} SELECT b.path FROM bad b"),
        weed().env(),
        &["s3://tar/who/*.tar", "SignatureDoesNotMatch"],
    );
    // A right secret in the options does not cure a wrong one in the environment.
    refused(
        &format!("{tables} SELECT path FROM read_tar('s3://tar/who/*.tar')"),
        weed().env_as(WRONG),
        &["SignatureDoesNotMatch"],
    );
}

#[test]
fn a_refusal_names_bucket_key_and_remedy() {
    archives();
    let from = |url: &str| format!("SELECT path FROM read_tar('{url}')");
    let (plain, glob) = ("s3://tar/who/plain.tar", "s3://tar/who/*.tar");
    let credentials = "check the credentials";
    for (sql, env, says) in [
        (from(plain), weed().env_as(WRONG), &[plain, "SignatureDoesNotMatch", credentials][..]),
        (from(glob), weed().env_as(WRONG), &[glob, "SignatureDoesNotMatch", credentials]),
        (from(plain), weed().env_as(UNKNOWN), &[plain, "InvalidAccessKeyId", credentials]),
        (from("s3://public/who/plain.tar"), weed().env_as(READER), &["s3://public/who/plain.tar", "AccessDenied"]),
        (from("s3://no-such-bucket/x.tar"), weed().env(), &["s3://no-such-bucket/x.tar", "the bucket does not exist"]),
        (from("s3://no-such-bucket/*.tar"), weed().env(), &["s3://no-such-bucket/*.tar", "the bucket does not exist"]),
        (from("s3://tar/who/nope.tar"), weed().env(), &["s3://tar/who/nope.tar", "there is no such object"]),
        (from("s3://tar/who/Plain.*"), weed().env(), &["s3://tar/who/Plain.*", "no object matches", "case counts"]),
        (from("s3://tar/who"), weed().env(), &["s3://tar/who", "directory"]),
        (from("s3://tar/who/"), weed().env(), &["s3://tar/who/", "directory"]),
    ] {
        refused(&sql, env, says);
    }
    refused(&from("s3:///x.tar"), weed().env(), &["the bucket is missing"]);
    let no_http = |sql: &str, says: &[&str]| {
        let mut env = weed().env();
        env.retain(|(name, _)| name != "AWS_ALLOW_HTTP");
        refused(sql, env, says);
    };
    no_http(&from(plain), &[plain, "not encrypted", "aws.allow_http = true"]);
    no_http("COPY (SELECT 1 AS a) TO 's3://tar/who/x.parquet'", &["s3://tar", "not encrypted", "AWS_ALLOW_HTTP=true"]);
    let mut nobody = bare();
    nobody.push(("AWS_ENDPOINT_URL".into(), weed().endpoint.clone()));
    nobody.push(("AWS_ALLOW_HTTP".into(), "true".into()));
    refused(&from(plain), nobody, &[plain, "no credentials found", "aws.skip_signature = true"]);
}

#[test]
fn who_may_not_write_copies_nothing() {
    archives();
    for (target, clause) in [("s3://tar/denied/x.parquet", ""), ("s3://tar/denied/", "STORED AS PARQUET")] {
        let copy = format!("COPY (SELECT path FROM read_tar('s3://tar/who/plain.tar')) TO '{target}' {clause}");
        refused(&copy, weed().env_as(READER), &["s3://tar/denied/", ": permission denied", "AccessDenied"]);
        let copy = format!("COPY (SELECT 1 AS a) TO '{target}' {clause}");
        refused(&copy, weed().env_as(WRONG), &["s3://tar/denied", "SignatureDoesNotMatch"]);
    }
    assert_eq!(weed().keys("tar", "denied"), Vec::<String>::new());
    let copy = "COPY (SELECT path FROM read_tar('s3://tar/who/plain.tar', aws.access_key_id = 'x', aws.secret_access_key = 'Qu0te''d')) TO 's3://tar/denied/y.parquet'";
    let output = run(copy, weed().env(), &["Qu0te"]);
    assert_eq!(output.status, Some(1), "{}", output.stderr);
    assert!(output.stderr.contains("s3://tar/who/plain.tar: permission denied"), "{}", output.stderr);
    assert_eq!(weed().keys("tar", "denied"), Vec::<String>::new());
}
