//! `SELECT * FROM tarsql_errors()`: which statement it is about, and what it says of it.

use std::time::Duration;

use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use tarsql::{TarOptions, TarTable};

use crate::archive::tar;
use crate::program::Tarsql;
use crate::session::Session;
use crate::testdata::testdata;

const LIST: &str = "SELECT member, \"offset\", kind FROM tarsql_errors()";

/// `s3://odd/…`: `cut.tar` is damaged in its second header, `open.tar` has no end, `bad.tar` a bad row, `whole.tar` nothing.
async fn session() -> Session {
    let session = Session::new();
    let whole = tar([("a.csv", "1\n2\n"), ("b.csv", "3\n")]);
    let objects = [
        ("cut.tar", whole[..1_100].to_vec()),
        ("open.tar", whole[..2_048].to_vec()),
        ("bad.tar", tar([("a.csv", "1\nx\n"), ("b.csv", "y\n5\n")])),
        ("whole.tar", whole),
    ];
    session.bucket("odd", objects).await;
    session
}

fn skip(archive: &str) -> String {
    format!("read_tar('s3://odd/{archive}.tar', on_error = 'skip')")
}

const CUT: &str = "NULL|1024|archive";
const OPEN: &str = "NULL|2048|no_end_marker";

#[tokio::test]
async fn it_lists_what_the_last_statement_over_archives_met() {
    let session = session().await;
    let bad =
        "read_tar('s3://odd/bad.tar', format = 'csv', columns = 'n BIGINT', has_header = false, on_bad_row = 'skip')";
    let (cut, open, whole) = (skip("cut"), skip("open"), skip("whole"));
    assert_eq!(session.rows(LIST).await, Vec::<String>::new(), "nothing has run yet");
    // Each statement, and the list after it; statements that read no archive leave the list as it is.
    let table = "CREATE EXTERNAL TABLE t STORED AS TAR LOCATION 's3://odd/cut.tar' OPTIONS ('on_error' 'skip')";
    for (sql, expected) in [
        (format!("SELECT path FROM {cut}"), &[CUT][..]),
        ("SELECT 1".to_owned(), &[CUT]),
        ("SET datafusion.execution.batch_size = 100".to_owned(), &[CUT]),
        ("SHOW TABLES".to_owned(), &[CUT]),
        (LIST.to_owned(), &[CUT]),
        (format!("EXPLAIN SELECT path FROM {open}"), &[CUT]),
        (format!("SELECT path FROM {open}"), &[OPEN]),
        (format!("SELECT path FROM {whole}"), &[]),
        (format!("EXPLAIN ANALYZE SELECT path FROM {cut}"), &[CUT]),
        (format!("SELECT count(*) FROM {bad}"), &["a.csv|0|record", "b.csv|1024|record"]),
        // All scans of a statement are in it, a scan that is there twice twice.
        (format!("SELECT a.path FROM {cut} a JOIN {cut} b ON a.path = b.path"), &[CUT, CUT]),
        (format!("SELECT path FROM {cut} UNION ALL SELECT path FROM {open}"), &[CUT, OPEN]),
        (format!("SELECT path FROM {open} WHERE path IN (SELECT path FROM {cut})"), &[CUT, OPEN]),
        (format!("SELECT path FROM {open} WHERE size < (SELECT sum(size) FROM {cut})"), &[CUT, OPEN]),
        (format!("WITH c AS (SELECT path FROM {cut}), d AS (SELECT * FROM c) SELECT * FROM d, c"), &[CUT, CUT]),
        ("SELECT path FROM read_tar(['s3://odd/whole.tar', 's3://odd/cut.tar'], on_error = 'skip')".to_owned(), &[CUT]),
        (format!("PREPARE p AS SELECT path FROM {open}"), &[CUT]),
        ("EXECUTE p".to_owned(), &[OPEN]),
        (table.to_owned(), &[OPEN]),
        ("SELECT path FROM t".to_owned(), &[CUT]),
        (format!("CREATE TABLE m AS SELECT path FROM {open}"), &[OPEN]),
        (format!("INSERT INTO m SELECT path FROM {cut}"), &[CUT]),
        ("SELECT path FROM m".to_owned(), &[CUT]),
        ("CREATE VIEW v AS SELECT kind FROM tarsql_errors()".to_owned(), &[CUT]),
        // A statement over both sees the list as it was.
        (format!("SELECT kind FROM {open}, tarsql_errors()"), &[OPEN]),
    ] {
        session.ok(&sql).await;
        let mut found = session.rows(LIST).await;
        found.sort();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "{sql}");
    }
    assert_eq!(session.rows("SELECT * FROM v").await, ["no_end_marker"], "a view is as current as the list");
    let columns = session.ok("SELECT * FROM tarsql_errors()").await;
    let [row] = columns.rows().try_into().expect("one row");
    assert_eq!(
        row,
        "s3://odd/open.tar|NULL|2048|no_end_marker|s3://odd/open.tar: at offset 2048: the archive has no end marker: its last members may be missing"
    );
    let types: Vec<String> =
        columns.plan.schema().fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    assert_eq!(types, ["archive Utf8View", "member Utf8View", "offset Int64", "kind Utf8View", "message Utf8View"]);
    session.error("SELECT * FROM tarsql_errors(1)").await.says(&["tarsql_errors takes no arguments"]);
}

#[tokio::test]
async fn a_failed_statement_has_its_error_last() {
    let session = session().await;
    let columns = "has_header = false, columns = 'n BIGINT'";
    for (sql, kinds) in [
        ("SELECT path FROM read_tar('s3://odd/cut.tar')".to_owned(), &["archive"][..]),
        // What was noted before, and then the error.
        (
            format!(
                "SELECT n FROM read_tar('s3://odd/{{bad,cut}}.tar', partitioning = 'auto', format = 'csv', {columns}, on_bad_row = 'skip')"
            ),
            &["record", "record", "archive"],
        ),
        (format!("SELECT n FROM read_tar('s3://odd/bad.tar', format = 'csv', {columns})"), &["record"]),
        // Before a scan could begin: while it lists, and while columns are inferred.
        ("SELECT path FROM read_tar('s3://odd/none.tar')".to_owned(), &["unreachable"]),
        ("SELECT path FROM read_tar(['s3://odd/whole.tar', 's3://odd/none.tar'])".to_owned(), &["unreachable"]),
        ("SELECT * FROM read_tar('s3://odd/gone.tar', format = 'csv')".to_owned(), &["unreachable"]),
    ] {
        session.ok("SELECT path FROM read_tar('s3://odd/open.tar')").await;
        session.ok("SET tarsql.max_partitions = 1").await;
        let failure = session.error(&sql).await;
        let rows = session.rows("SELECT kind, message FROM tarsql_errors()").await;
        let (found, messages): (Vec<_>, Vec<_>) =
            rows.iter().map(|row| row.split_once('|').expect("two columns")).unzip();
        assert_eq!(found, kinds, "{sql}");
        assert_eq!(messages.last(), Some(&failure.text.as_str()), "{sql}");
    }
    // An error of the engine's is not the scan's: what was met before it stays.
    let divided = format!("SELECT 1 / (size - size) FROM {}", skip("cut"));
    session.sql(&divided).await.expect_err("a division by zero");
    let rows = session.rows(LIST).await;
    assert!(rows.is_empty() || rows == [CUT], "{rows:?}");
}

#[tokio::test]
async fn of_statements_at_once_it_is_the_one_that_began_last() {
    let session = session().await;
    let frame =
        async |archive: &str| session.ctx.sql(&format!("SELECT path FROM {}", skip(archive))).await.expect("SQL");
    let (first, second) = (frame("cut").await, frame("open").await);
    let mut first = first.execute_stream().await.expect("a stream");
    let mut second = second.execute_stream().await.expect("a stream");
    while second.next().await.is_some() {}
    while first.next().await.is_some() {}
    assert_eq!(session.rows(LIST).await, [OPEN]);
    // The same frame, run again and again, is a statement each time.
    let frame = frame("cut").await;
    for _ in 0..50 {
        frame.clone().collect().await.expect("rows");
    }
    assert_eq!(session.rows(LIST).await, [CUT]);
}

/// The scan is ahead of who reads its rows; what it met there counts when it is asked for.
#[tokio::test]
async fn what_nobody_asked_for_is_not_in_it() {
    let session = session().await;
    session.ok("SET datafusion.execution.batch_size = 1").await;
    let frame = session.ctx.sql(&format!("SELECT path FROM {}", skip("open"))).await.expect("SQL");
    let plan = frame.create_physical_plan().await.expect("a plan");
    let [report] = tarsql::reports(&plan).try_into().expect("one scan");
    let mut stream = execute_stream(plan, session.ctx.task_ctx()).expect("a stream");
    for _ in 0..2 {
        stream.next().await.expect("a batch").expect("rows");
    }
    // The end is found by a task, while nobody asks for anything.
    while report.slowest_archives().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(session.rows(LIST).await, Vec::<String>::new());
    assert!(stream.next().await.is_none());
    assert_eq!(session.rows(LIST).await, [OPEN]);
}

#[tokio::test]
async fn tables_made_by_code_are_in_it_too() {
    let session = session().await;
    let state = session.ctx.state();
    let options = TarOptions::members().on_error(tarsql::OnError::Skip);
    let table = TarTable::open(&state, "s3://odd/cut.tar", options).await.expect("a table");
    let frame = session.ctx.read_table(std::sync::Arc::new(table)).expect("a frame");
    assert_eq!(frame.count().await.expect("a count"), 1);
    assert_eq!(session.rows(LIST).await, [CUT]);
    // Registering once more forgets nothing.
    tarsql::register(&session.ctx).expect("it can be registered twice");
    assert_eq!(session.rows(LIST).await, [CUT]);
}

#[tokio::test]
async fn the_list_is_bounded_and_says_what_it_left_out() {
    let session = Session::new();
    // Twelve members of 150 bad rows each, and 1,003 archives that are none.
    let rows = "x\n".repeat(150);
    let bad = tar((0..12).map(|member| (format!("{member}.csv"), rows.as_str())));
    let damaged = (0..1_003).map(|archive| (format!("{archive:04}.tar"), b"no tar at all".to_vec()));
    session.bucket("many", [("9999.tar".to_owned(), bad)].into_iter().chain(damaged)).await;
    let options = "format = 'csv', has_header = false, columns = 'n BIGINT', on_bad_row = 'skip', on_error = 'skip'";
    let answer = session.ok(&format!("SELECT n FROM read_tar('s3://many/*.tar', {options})")).await;
    assert_eq!((answer.row_count(), answer.run.scan.bad_rows, answer.run.scan.errors), (0, 1_800, 1_003));
    assert_eq!(answer.run.skipped_kinds(), "1003 archive");
    let kinds = session.rows("SELECT kind, count(*) FROM tarsql_errors() GROUP BY kind ORDER BY kind").await;
    assert_eq!(kinds, ["archive|1000", "left_out|1", "record|1000"]);
    let members =
        "SELECT max(n) FROM (SELECT count(*) AS n FROM tarsql_errors() WHERE kind = 'record' GROUP BY member)";
    assert_eq!(session.rows(members).await, ["100"], "a member that is full of bad rows leaves room for others");
    let last = session.rows("SELECT * FROM tarsql_errors()").await.pop();
    assert_eq!(last.as_deref(), Some("NULL|NULL|NULL|left_out|803 more were left out of this list"));
}

#[test]
fn the_program_sums_up_and_lists() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let target = dir.path().join("out.parquet");
    let cut = testdata("damaged/cut-in-body.tar").display().to_string();
    let skip = format!("read_tar('{cut}', on_error = 'skip')");
    let list = "SELECT member, kind FROM tarsql_errors()";
    let summary = "1 archive or member was left out, in whole or in part (1 archive): SELECT * FROM tarsql_errors()";
    let incident = "damaged/cut-in-body.tar: member 'b.txt' at offset 1024";
    for (first, quiet) in [
        (format!("SELECT count(path) FROM {skip}"), false),
        (format!("SELECT count(path) FROM {skip}"), true),
        (format!("COPY (SELECT path FROM {skip}) TO '{}'", target.display()), true),
    ] {
        let quiet: &[&str] = if quiet { &["-q"] } else { &[] };
        let output = Tarsql::sql(&first).args(["-c", list]).args(quiet).run();
        assert_eq!(output.status, Some(3), "{first}: {}", output.stderr);
        assert!(output.stdout.ends_with("member,kind\nb.txt,archive\n"), "{first}: {}", output.stdout);
        assert!(output.stderr.contains(summary) && output.stderr.contains(incident), "{first}: {}", output.stderr);
    }
    // As at the prompt.
    let output = Tarsql::new().stdin(format!("SELECT path FROM {skip};\nSELECT 1 AS one;\n{list};\n")).run();
    assert_eq!(output.status, Some(3), "{}", output.stderr);
    assert!(output.stdout.ends_with("b.txt,archive\n"), "{}\n{}", output.stdout, output.stderr);
}

#[test]
fn what_was_met_before_an_error_is_said_before_it() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let name = |name: &str| dir.path().join(name).display().to_string();
    let whole = tar([("a.txt", "a\n"), ("b.txt", "b\n")]);
    // Read in one partition, in this order: no end, and damage.
    std::fs::write(name("1.tar"), [&whole[..], &[0; 4_096]].concat()).expect("a file");
    std::fs::write(name("2.tar"), &whole[..2_048]).expect("a file");
    std::fs::write(name("3.tar"), &whole[..1_100]).expect("a file");
    let sql = format!(
        "SET tarsql.max_partitions = 1; SELECT path FROM read_tar('{}', partitioning = 'auto')",
        dir.path().join("*.tar").display()
    );
    for quiet in [&[][..], &["-q"]] {
        let output = Tarsql::sql(&sql).args(quiet).run();
        assert_eq!(output.status, Some(1), "{}", output.stderr);
        let lines: Vec<&str> = output.stderr.lines().collect();
        let [warning, error] = lines.as_slice() else { panic!("a warning and an error: {}", output.stderr) };
        assert!(warning.contains("2.tar: at offset 2048: the archive has no end marker"), "{warning}");
        assert!(error.starts_with("tarsql: ") && error.contains("3.tar: at offset 1024"), "{error}");
    }
}
