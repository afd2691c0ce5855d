//! The metrics file as a file: arrays and lines, files that are something else, and no secret in any of them.

use std::fs;

use serde_json::Value;

use crate::measured::Metrics;
use crate::metrics::check;
use crate::program::Tarsql;

#[test]
fn lines_and_the_setting() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for name in ["m.jsonl", "m.ndjson"] {
        let file = dir.path().join(name);
        for _ in 0..2 {
            Tarsql::sql("SELECT path FROM 'testdata/python/many.tar'")
                .args(["--metrics".as_ref(), file.as_os_str()])
                .ok();
        }
        let lines = fs::read_to_string(&file).expect("it is there");
        let records: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
        let runs = Metrics { records }.runs();
        assert_eq!(runs.len(), 2, "{name}");
        runs.iter().for_each(check);
    }
    let file = dir.path().join("set.json");
    let set = format!("SET tarsql.metrics_file = '{}'; SELECT path FROM 'testdata/python/many.tar'", file.display());
    Tarsql::sql(&format!("SELECT 1; {set}")).ok();
    let metrics = Metrics::read(&file);
    assert_eq!((metrics.runs().len(), metrics.count("RowCount")), (1, 120), "only what comes after it");
}

#[test]
fn a_file_that_is_something_else_stays_as_it_is() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, content) in [
        ("object.json", "{\"a\": 1}"),
        ("cut.json", "[{\"iso_date\": \"x\"},"),
        ("numbers.json", "[1, 2]"),
        ("text.json", "hello"),
        ("text.jsonl", "{\"a\": 1}\nhello"),
    ] {
        let file = dir.path().join(name);
        fs::write(&file, content).expect("a file");
        // What can be known before anything runs is.
        let set = format!("SELECT 1 AS one; SET tarsql.metrics_file = '{}'; SELECT 2 AS two", file.display());
        for (output, status, stdout) in [
            (Tarsql::sql("SELECT 1 AS one").args(["--metrics".as_ref(), file.as_os_str()]).run(), 2, ""),
            (Tarsql::sql(&set).run(), 1, "one\n1\n"),
        ] {
            assert_eq!((output.status, output.stdout.as_str()), (Some(status), stdout), "{name}: {}", output.stderr);
            assert_eq!(output.stderr.trim_end().lines().count(), 1, "{name}: {}", output.stderr);
            assert!(output.stderr.contains(name), "{name}: {}", output.stderr);
            assert_eq!(fs::read_to_string(&file).expect("it is there"), content, "{name}");
        }
    }
    let output = Tarsql::sql("SELECT 1").args(["--metrics", "/nowhere/at/all/m.json"]).run();
    assert_eq!((output.status, output.stdout.as_str()), (Some(2), ""), "{}", output.stderr);
    assert!(output.stderr.contains("/nowhere/at/all"), "{}", output.stderr);
}

#[test]
fn secrets_stay_out() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("metrics.json");
    let secrets = ["Sup3rS3cr3t/+", "t0kenT0ken", "s1gn4tur3"];
    for sql in [
        "SELECT * FROM read_tar('testdata/python/many.tar', aws.secret_access_key = 'Sup3rS3cr3t/+', aws.access_key_id = 'x')",
        "SELECT * FROM read_tar('testdata/nope.tar', aws.session_token = 't0kenT0ken')",
        "SELECT * FROM read_tar('http://127.0.0.1:1/x.tar?X-Amz-Signature=s1gn4tur3', format = 'nonsense')",
        "SELECT * FROM read_tar('testdata/nope.tar', 'aws.secret_access_key' = 'Sup3rS3cr3t/+' SELECT",
    ] {
        let output = Tarsql::sql(sql).args(["--metrics".as_ref(), file.as_os_str()]).run();
        let text = fs::read_to_string(&file).expect("it is there");
        for secret in secrets {
            assert!(!text.contains(secret) && !output.stderr.contains(secret), "{sql}: {secret}\n{}", output.stderr);
        }
    }
    assert_eq!(Metrics::read(&file).runs().len(), 4);
}
