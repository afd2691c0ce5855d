//! The metrics file: what each statement leaves in it, compared with what is known of the input and the output, and
//! read as the notebooks read it.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::measured::{Metrics, text};
use crate::program::Tarsql;
use crate::python::run_script;
use crate::testdata::{json, testdata};

/// What every run writes, at least once, whatever it is.
const ALWAYS: [&str; 26] = [
    "FileCount",
    "ListedBytes",
    "ListingDuration",
    "BytesFetched",
    "BytesDecompressed",
    "MembersScanned",
    "MembersSkipped",
    "BadRows",
    "Errors",
    "Requests",
    "Retries",
    "ResumedBytes",
    "PeakMemory",
    "CpuSeconds",
    "FetchWaitSeconds",
    "DecompressSeconds",
    "DecodeSeconds",
    "EncodeSeconds",
    "Skew",
    "WrittenRows",
    "WrittenBytes",
    "WrittenFiles",
    "Completeness",
    "RowCount",
    "Duration",
    "Status",
];

/// What a run that reads archives writes once a partition or once an archive.
const REPEATED: [&str; 5] =
    ["PartitionStart", "PartitionDuration", "PartitionRows", "PartitionBytes", "ArchiveDuration"];

const HOURS: &str = "testdata/opensky/states/.2022-06-27/*/*.csv.tar";

fn states(more: &str) -> String {
    format!(
        "read_tar('{HOURS} :: *.csv.gz', format = 'csv', columns = 'time BIGINT, velocity DOUBLE, geoaltitude DOUBLE'{more})"
    )
}

fn hours() -> Vec<Value> {
    let manifest = json("opensky/manifest.json");
    let archives = manifest.as_object().expect("archives by key").iter().filter(|(path, _)| path.ends_with(".csv.tar"));
    archives.map(|(_, archive)| archive.clone()).collect()
}

fn manifest(key: &str) -> u64 {
    hours().iter().map(|archive| archive[key].as_u64().expect("a count")).sum()
}

fn hours_bytes() -> u64 {
    let sizes = ["00", "01", "02"].map(|hour| {
        let file = format!("opensky/states/.2022-06-27/{hour}/states_2022-06-27-{hour}.csv.tar");
        fs::metadata(testdata(&file)).expect("test data is there").len()
    });
    sizes.iter().sum()
}

/// What holds for every run, whatever it did.
#[track_caller]
pub(crate) fn check(run: &Metrics) {
    let names = run.names();
    assert_eq!(names[names.len() - 3..], ["RowCount", "Duration", "Status"], "{names:?}");
    for name in &names {
        assert!(ALWAYS.contains(name) || REPEATED.contains(name), "{name} is not in the contract");
        assert!(
            REPEATED.contains(name) || names.iter().filter(|other| *other == name).count() == 1,
            "{name} is there twice"
        );
    }
    let keys = [
        "iso_date",
        "timestamp",
        "run_id",
        "label",
        "stage",
        "metric",
        "value",
        "unit",
        "details",
        "partition",
        "archive",
    ];
    for record in &run.records {
        let found: Vec<_> = record.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(found.len(), keys.len(), "{record}");
        assert!(keys.iter().all(|key| found.contains(key)), "{record}");
        assert!(record["value"].as_f64().is_some_and(|value| value >= 0.0), "{record}");
        assert!(["Listing", "Processing", "Writing"].contains(&text(record, "stage")), "{record}");
        for (key, first) in [("run_id", &run.records[0]["run_id"]), ("iso_date", &run.records[0]["iso_date"])] {
            assert_eq!(&record[key], first, "{record}");
        }
        assert_eq!(record["partition"].is_u64(), text(record, "metric").starts_with("Partition"), "{record}");
        assert_eq!(record["archive"].is_string(), text(record, "metric") == "ArchiveDuration", "{record}");
    }
    let duration = run.value("Duration");
    for metric in ["ListingDuration", "PartitionStart"] {
        assert!(
            run.of(metric).iter().all(|record| record["value"].as_f64() <= Some(duration)),
            "{metric} of {duration} s"
        );
    }
    let failed = run.value("Status") == 0.0;
    assert_eq!(run.of("Status")[0]["details"].is_string(), failed, "a failed run says why");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let age = now - run.records[0]["timestamp"].as_f64().expect("a number");
    assert!((0.0..600.0).contains(&age), "it was made {age} s ago");
}

/// That a run has every metric; `Completeness` unless it ended early.
#[track_caller]
fn has_all(run: &Metrics, ended_early: bool) {
    let names = run.names();
    for name in ALWAYS {
        assert_eq!(names.contains(&name), !(ended_early && name == "Completeness"), "{name}: {names:?}");
    }
}

#[test]
fn a_select_leaves_every_metric() {
    let (stdout, metrics) = Tarsql::sql(&format!("SELECT path, size, content FROM read_tar('{HOURS}')")).measured_ok();
    let [run] = &metrics.runs()[..] else { panic!("one run: {:?}", metrics.names()) };
    check(run);
    has_all(run, false);
    assert_eq!((stdout.lines().count(), run.count("RowCount")), (10, 9));
    for (metric, expected) in [
        ("FileCount", 3),
        ("ListedBytes", hours_bytes()),
        ("BytesFetched", hours_bytes()),
        ("BytesDecompressed", 0),
        ("MembersScanned", 9),
        ("MembersSkipped", 0),
        ("BadRows", 0),
        ("Errors", 0),
        ("Retries", 0),
        ("ResumedBytes", 0),
        ("WrittenRows", 0),
        ("WrittenBytes", 0),
        ("WrittenFiles", 0),
    ] {
        assert_eq!(run.count(metric), expected, "{metric}");
    }
    assert_eq!((run.value("Completeness"), run.value("Status")), (1.0, 1.0));
    assert!(run.count("Requests") >= 3 && run.count("PeakMemory") > 1 << 20 && run.value("Duration") > 0.0);
    assert!(run.value("Skew") >= 1.0, "the longest partition is no shorter than the median");
    for metric in REPEATED {
        assert_eq!(run.of(metric).len(), 3, "{metric}: one partition an archive");
    }
    assert_eq!((run.sum("PartitionRows"), run.sum("PartitionBytes")), (9, hours_bytes()));
    let numbers: Vec<_> = run.of("PartitionRows").iter().map(|record| record["partition"].as_u64()).collect();
    assert_eq!(numbers, [Some(0), Some(1), Some(2)]);
}

#[test]
fn a_copy_counts_what_it_wrote() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (target, clause) in [("one.parquet", ""), ("several/", "STORED AS PARQUET"), ("one.csv", "")] {
        let path = dir.path().join(target);
        let read = states(", on_bad_row = 'null'");
        let copy = format!("COPY (SELECT * FROM {read} WHERE velocity IS NOT NULL) TO '{}' {clause}", path.display());
        let (stdout, metrics) = Tarsql::sql(&copy).measured_ok();
        assert_eq!(stdout, "");
        let [run] = &metrics.runs()[..] else { panic!("one run: {:?}", metrics.names()) };
        check(run);
        has_all(run, false);
        let files: Vec<u64> = files_of(dir.path().join(target.trim_end_matches('/')).as_path());
        for (metric, expected) in [
            ("FileCount", 3),
            ("BytesFetched", hours_bytes()),
            ("RowCount", manifest("rows")),
            ("BadRows", manifest("bad_rows")),
            ("MembersScanned", 9),
            ("WrittenRows", manifest("rows_with_velocity")),
            ("WrittenFiles", files.len() as u64),
            ("WrittenBytes", files.iter().sum()),
        ] {
            assert_eq!(run.count(metric), expected, "{target}: {metric}");
        }
        assert!(run.count("BytesDecompressed") > hours_bytes(), "the members are compressed");
        assert_eq!((run.value("Completeness"), run.value("Status")), (1.0, 1.0));
        assert!(run.value("DecompressSeconds") > 0.0 && run.value("DecodeSeconds") > 0.0);
        assert!(run.of("Duration")[0]["details"].as_str().is_some_and(|sql| sql.starts_with("COPY (SELECT *")));
    }
}

fn files_of(path: &Path) -> Vec<u64> {
    if path.is_file() {
        return vec![fs::metadata(path).expect("it is there").len()];
    }
    let entries = fs::read_dir(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let entries = entries.map(|entry| entry.expect("it can be read"));
    let data = entries.filter(|entry| entry.file_name() != "_SUCCESS");
    data.map(|entry| entry.metadata().expect("it is there").len()).collect()
}

#[test]
fn bad_rows_are_those_of_the_manifest() {
    let skipped = hours().iter().map(|hour| hour["skip"]["rows"].as_u64().expect("a count")).sum();
    for (policy, rows, columns) in [
        ("skip", skipped, "count(*)"),
        ("skip", skipped, "count(time)"),
        ("null", manifest("rows"), "count(*), count(velocity), count(geoaltitude)"),
    ] {
        let count = format!("SELECT {columns} FROM {}", states(&format!(", on_bad_row = '{policy}'")));
        let (stdout, metrics) = Tarsql::sql(&count).measured_ok();
        let found = stdout.lines().nth(1).and_then(|row| row.split(',').next()).map(str::parse);
        assert_eq!(found, Some(Ok(rows)), "{policy}: {columns}: {stdout}");
        assert_eq!(
            (metrics.count("BadRows"), metrics.count("RowCount")),
            (manifest("bad_rows"), rows),
            "{policy}: {columns}"
        );
    }
}

#[test]
fn a_limit_leaves_completeness_out() {
    let (_, metrics) = Tarsql::sql("SELECT path FROM 'testdata/python/many.tar' LIMIT 3").measured_ok();
    check(&metrics);
    has_all(&metrics, true);
    let says = "ended early, as by a LIMIT: 0 of 1 archives were read to their end";
    assert_eq!(text(metrics.of("RowCount")[0], "details"), says);
    let (_, metrics) = Tarsql::sql("SELECT path FROM 'testdata/python/many.tar' LIMIT 100000").measured_ok();
    assert_eq!(metrics.value("Completeness"), 1.0);
    // A statement without archives has nothing to be complete of.
    let (_, metrics) = Tarsql::sql("SELECT 1").measured_ok();
    check(&metrics);
    assert_eq!((metrics.count("FileCount"), metrics.count("RowCount"), metrics.value("Skew")), (0, 0, 0.0));
    assert!(REPEATED.iter().all(|metric| metrics.of(metric).is_empty()));
}

#[test]
fn failures_are_runs_and_settings_are_none() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("metrics.json");
    let run = |sql: &str| Tarsql::sql(sql).args(["--metrics".as_ref(), file.as_os_str()]).run();
    for (sql, says) in [
        ("SELEC 1", "syntax error"),
        ("SELECT nothing FROM 'testdata/python/many.tar'", "nothing"),
        ("SELECT path FROM 'testdata/nowhere.tar'", "testdata/nowhere.tar"),
        ("SELECT path, content FROM 'testdata/damaged/gzip-bad-crc.tar.gz'", "testdata/damaged/gzip-bad-crc.tar.gz"),
        ("COPY (SELECT path FROM 'testdata/damaged/cut-in-body.tar') TO '/dev/null/x.parquet'", ""),
    ] {
        let output = run(sql);
        assert_eq!(output.status, Some(1), "{sql}: {}", output.stderr);
        let metrics = Metrics::read(&file);
        let last = metrics.runs().pop().expect("a run");
        check(&last);
        assert_eq!(last.value("Status"), 0.0, "{sql}");
        let details = text(last.of("Status")[0], "details");
        assert!(details.contains(says) && output.stderr.contains(details), "{sql}: {details} in {}", output.stderr);
        assert_eq!(text(last.of("Duration")[0], "details"), sql);
        assert_eq!(last.count("WrittenFiles"), 0, "{sql}");
    }
    assert_eq!(Metrics::read(&file).runs().len(), 5);
    let output = run(
        "SET tarsql.on_error = 'skip'; CREATE EXTERNAL TABLE t STORED AS TAR LOCATION 'testdata/python/many.tar'; CREATE VIEW v AS SELECT path FROM t; EXPLAIN SELECT * FROM v; SHOW TABLES; DROP VIEW v",
    );
    assert_eq!(output.status, Some(0), "{}", output.stderr);
    assert_eq!(Metrics::read(&file).runs().len(), 5, "none of these is a run");
    let output = run(
        "EXPLAIN ANALYZE SELECT path FROM 'testdata/python/many.tar'; CREATE TABLE m AS VALUES (1); INSERT INTO m VALUES (2), (3)",
    );
    assert_eq!(output.status, Some(0), "{}", output.stderr);
    let runs = Metrics::read(&file).runs();
    assert_eq!((runs.len(), runs[6].count("WrittenRows")), (7, 2), "an INSERT is a run");
}

#[test]
fn what_was_left_out_is_counted() {
    let skip = "read_tar('testdata/damaged/cut-in-*.tar', on_error = 'skip')";
    let (output, metrics) = Tarsql::sql(&format!("SELECT path FROM {skip}")).measured();
    assert_eq!(output.status, Some(3), "{}", output.stderr);
    check(&metrics);
    assert_eq!((metrics.count("FileCount"), metrics.count("Errors"), metrics.value("Status")), (3, 3, 1.0));
    assert_eq!(text(metrics.of("Errors")[0], "details"), "3 archive");

    // What is there, out of what the last header says should be: a block and a member of 512 bytes, then one of 5,000,
    // which take ten blocks.
    let file = "damaged/cut-in-body.tar";
    let there = fs::metadata(testdata(file)).expect("test data is there").len();
    let said = 2 * 512 + 512 + 10 * 512;
    for column in ["path", "content"] {
        let (_, metrics) =
            Tarsql::sql(&format!("SELECT {column} FROM read_tar('testdata/{file}', on_error = 'skip')")).measured();
        assert_eq!(metrics.value("Completeness"), there as f64 / f64::from(said), "{column}");
    }
}

#[test]
fn pandas_plots_it() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (file, chart) = (dir.path().join("metrics.json"), dir.path().join("chart.png"));
    let copy = format!(
        "COPY (SELECT * FROM {}) TO '{}'",
        states(", on_bad_row = 'skip'"),
        dir.path().join("o.parquet").display()
    );
    let fails_in_the_middle = format!("SELECT * FROM {}", states(""));
    let statements = [
        ("first", "SELECT path FROM 'testdata/python/many.tar'", 0),
        ("zweiter Lauf: ä", copy.as_str(), 0),
        ("third", "SELECT FROM WHERE", 1),
        ("fourth", "SELECT * FROM 'testdata/no such.tar'", 1),
        ("fifth", fails_in_the_middle.as_str(), 1),
        ("sixth", "SELECT 'é→😀' AS text", 0),
    ];
    for (label, sql, status) in statements {
        let args = ["--label".as_ref(), label.as_ref(), "--metrics".as_ref(), file.as_os_str()];
        let output = Tarsql::sql(sql).args(args).run();
        assert_eq!(output.status, Some(status), "{sql}: {}", output.stderr);
        // Bars of the same second would lie upon each other.
        thread::sleep(Duration::from_millis(1_050));
    }
    assert!(fs::read(&file).expect("it is there").is_ascii());
    let printed = run_script("consumer.py", [&file, &chart], &[]);
    let seen: Value = serde_json::from_str(&printed).expect("the script prints JSON");
    assert_eq!((&seen["runs"], &seen["failed"]), (&json!(6), &json!(3)));
    assert_eq!(seen["labels"], json!(statements.map(|(label, _, _)| label)));
    let times = seen["times"].as_array().expect("a list");
    assert!(times.windows(2).all(|pair| pair[0] != pair[1]), "{times:?}");
    let rows = seen["rows"].as_array().expect("a list");
    assert_eq!((&rows[0], &rows[2], &rows[3], &rows[5]), (&json!(120), &json!(0), &json!(0), &json!(0)));
    let metrics: Vec<_> = seen["metrics"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(ALWAYS.iter().chain(&REPEATED).all(|metric| metrics.contains(metric)), "{metrics:?}");
    assert!(fs::read(&chart).expect("a chart").starts_with(b"\x89PNG"));
}
