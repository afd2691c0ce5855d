//! The doors from SQL and from Rust give the same rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::prelude::{SessionConfig, SessionContext};
use tarsql::{OnBadRow, OnError, TarOptions, TarTable};

use crate::archive::tar;
use crate::session::{Session, url};
use crate::testdata::testdata;

const SEMICOLON: &str = "csv/semicolon.tar";

fn path(archive: &str) -> String {
    testdata(archive).display().to_string()
}

#[tokio::test]
async fn every_door_gives_the_same_rows() {
    let session = Session::new();
    let archive = path(SEMICOLON);
    let create = |name: &str, rest: &str| format!("CREATE EXTERNAL TABLE {name} {rest}");
    for sql in [
        create(
            "plain",
            &format!("STORED AS TAR LOCATION '{archive}' OPTIONS ('format' 'csv', 'delimiter' ';', 'comment' '#')"),
        ),
        // The engine takes options with and without the prefix of file formats, and the format in any case.
        create(
            "prefixed",
            &format!(
                "STORED AS tar LOCATION '{archive}' OPTIONS ('format' 'csv', 'format.delimiter' ';', 'FORMAT.comment' '#')"
            ),
        ),
        create(
            "glob",
            &format!(
                "STORED AS TAR LOCATION '{archive} :: *.csv' OPTIONS ('format' 'CSV', delimiter ';', comment '#')"
            ),
        ),
        create(
            "declared",
            &format!(
                "(price VARCHAR, id BIGINT, city VARCHAR) STORED AS TAR LOCATION '{archive}' OPTIONS ('format' 'csv', 'delimiter' ';', 'comment' '#')"
            ),
        ),
        create(
            "optioned",
            &format!(
                "STORED AS TAR LOCATION '{archive}' OPTIONS ('format' 'csv', 'columns' 'id BIGINT, price VARCHAR, city VARCHAR', 'delimiter' ';', 'comment' '#')"
            ),
        ),
        create("IF NOT EXISTS plain", "STORED AS TAR LOCATION 'nowhere.tar'"),
    ] {
        session.ok(&sql).await;
    }
    let options = TarOptions::csv().delimiter(b';').comment(b'#');
    let table = TarTable::open(&session.ctx.state(), &archive, options).await.expect("an archive of testdata/");
    session.ctx.register_table("built", Arc::new(table)).expect("a free name");
    let function = |arguments: &str| format!("read_tar('{archive}', {arguments})");
    let from = [
        "plain",
        "prefixed",
        "glob",
        "declared",
        "optioned",
        "built",
        &function("format = 'csv', delimiter = ';', comment = '#'"),
        &function("format => 'csv', delimiter => ';', comment => '#'"),
        &function("format = 'csv', delimiter => ';', comment := '#'"),
        &function("FORMAT = 'csv', Delimiter = \";\", comment = '#'"),
        &function("format = 'csv', has_header = true, delimiter = ';', comment = '#', repeat = 1"),
        &format!("read_tar(format = 'csv', delimiter = ';', comment = '#', '{archive} :: *.csv')"),
        &format!("READ_TAR(['{archive}'], format = 'csv', delimiter = ';', comment = '#') AS t"),
    ];
    for from in from {
        let rows = session.rows(&format!("SELECT id, price, city FROM {from} ORDER BY id")).await;
        assert_eq!(rows, ["1|9,95|Zürich", "2|10,00|Genève"], "{from}");
    }
}

#[tokio::test]
async fn an_archive_by_its_name() {
    let session = Session::new();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let parquet = dir.path().join("x.parquet");
    session.ok(&format!("COPY (SELECT 1 AS one) TO '{}'", parquet.display())).await;
    for (name, rows) in [
        (path("compressed/gzip-named.tgz"), &["one.txt", "three.txt", "two.bin"][..]),
        (url("compressed/gzip.tar.gz"), &["one.txt", "three.txt", "two.bin"]),
        (format!("{} :: *.txt", path("compressed/plain.tar")), &["one.txt", "three.txt"]),
        // Any name, where a member glob says that it is an archive.
        (format!("{} :: t*", path("compressed/no-extension")), &["three.txt", "two.bin"]),
        (path("compressed/xz*.tar.xz"), &["one.txt", "one.txt", "three.txt", "three.txt", "two.bin", "two.bin"]),
    ] {
        assert_eq!(session.ok(&format!("SELECT path FROM '{name}'")).await.sorted(), rows, "{name}");
    }
    let error = async |name: &str| session.sql(&format!("SELECT * FROM '{name}'")).await.expect_err("no table");
    // What is no archive by its name is the engine's: here a session without URL tables of its own.
    for name in
        [parquet.display().to_string(), path("compressed/no-extension"), "tar".to_owned(), "x.tar.parquet".to_owned()]
    {
        let error = error(&name).await.to_string();
        assert!(error.contains("not found") && !error.contains("archive"), "{name}: {error}");
    }
    session.error(&format!("SELECT * FROM '{}'", path("nothing.tar"))).await.says(&["nothing.tar", "there is no file"]);

    let ctx = SessionContext::new().enable_url_table();
    tarsql::register_url_tables(&ctx).expect("a new session can be registered with");
    let both = Session { ctx };
    assert_eq!(both.rows(&format!("SELECT one FROM '{}'", parquet.display())).await, ["1"]);
    assert_eq!(both.rows(&format!("SELECT count(*) FROM '{}'", path("compressed/plain.tar"))).await, ["3"]);
}

#[tokio::test]
async fn several_locators() {
    let session = Session::new();
    let [plain, types] = [path("compressed/plain.tar :: *.txt"), path("python/types.tar :: *.txt")];
    let session = &session;
    session.ok(&format!("CREATE EXTERNAL TABLE both STORED AS TAR LOCATION ('{plain}', '{types}')")).await;
    for from in ["both".to_owned(), format!("read_tar(['{plain}', '{types}'])")] {
        let rows = session.ok(&format!("SELECT path FROM {from}")).await;
        assert_eq!(rows.sorted(), ["d/file.txt", "one.txt", "three.txt"], "{from}");
    }
    // A locator given twice is read twice; an archive that two patterns of one locator name is read once.
    let rows = session.ok(&format!("SELECT path FROM read_tar(['{types}', '{types}'])")).await;
    assert_eq!(rows.sorted(), ["d/file.txt", "d/file.txt"]);
    let rows =
        session.ok(&format!("SELECT path FROM read_tar('{}')", path("python/{types,typ*,types}.tar :: *.txt"))).await;
    assert_eq!(rows.sorted(), ["d/file.txt"]);
    // Their columns are united.
    let widened =
        [path("csv/types-widen.tar"), path("csv/types-widen-2.tar")].map(|locator| format!("'{locator}'")).join(", ");
    let sql = format!("SELECT DISTINCT arrow_typeof(a), arrow_typeof(b) FROM read_tar([{widened}], format = 'csv')");
    assert_eq!(session.rows(&sql).await, ["Float64|Utf8View"]);
}

#[tokio::test]
async fn the_call_wins_over_the_table_the_table_over_the_session() {
    let session = Session::new();
    let archive = path("json/bad.tar");
    let columns = "'columns' 'a BIGINT, b VARCHAR'";
    session
        .ok(&format!(
            "CREATE EXTERNAL TABLE silent STORED AS TAR LOCATION '{archive}' OPTIONS ('format' 'json', {columns})"
        ))
        .await;
    session.ok(&format!("CREATE EXTERNAL TABLE outspoken STORED AS TAR LOCATION '{archive}' OPTIONS ('format' 'json', {columns}, 'on_bad_row' 'skip')")).await;
    let call =
        |options: &str| format!("read_tar('{archive}', format = 'json', columns = 'a BIGINT, b VARCHAR'{options})");
    let rows = async |table: &str| match session.sql(&format!("SELECT * FROM {table}")).await {
        Ok(answer) => answer.row_count().to_string(),
        Err(error) => error.to_string(),
    };
    let fails = async |table: &str| assert!(rows(table).await.contains("record 2"), "{table}");
    fails("silent").await;
    fails(&call("")).await;
    assert_eq!(rows("outspoken").await, "2");
    session.ok("SET tarsql.on_bad_row = 'null'").await;
    assert_eq!((rows("silent").await, rows(&call("")).await), ("3".to_owned(), "3".to_owned()));
    assert_eq!(rows("outspoken").await, "2");
    assert_eq!(rows(&call(", on_bad_row = 'skip'")).await, "2");
    fails(&call(", on_bad_row = 'fail'")).await;
    session.ok("SET tarsql.on_bad_row = 'fail'").await;
    fails("silent").await;

    // The others, each where it shows.
    session.ok("SET tarsql.on_error = 'skip'").await;
    assert_eq!(rows(&format!("read_tar('{}')", path("damaged/bad-checksum.tar"))).await, "1");
    session.ok("SET tarsql.on_invalid_utf8 = 'replace'").await;
    assert_eq!(rows(&format!("read_tar('{}', format = 'lines')", path("text/old.tar"))).await, "4");
    session.ok("SET tarsql.partitioning = 'archive'").await;
    let sql = format!("SELECT path FROM read_tar('{}')", path("{csv,json,text,hand}/*.tar"));
    assert!(session.ok(&sql).await.partitions() > 16);
    session.ok("SET tarsql.schema_infer_max_records = 1").await;
    let sql =
        format!("SELECT arrow_typeof(a) FROM read_tar('{archive}', format = 'json', on_bad_row = 'skip') LIMIT 1");
    assert_eq!(session.rows(&sql).await, ["Int64"]);
}

#[tokio::test]
async fn settings_can_be_seen() {
    let session = Session::new();
    session.ok("SET tarsql.on_error = 'skip'").await;
    session.ok("SET tarsql.max_partitions = 7").await;
    let names = "on_error, on_unreachable, on_bad_row, on_invalid_utf8, schema_infer_max_records, partitioning, max_partitions, max_retries, retry_timeout_ms, stall_timeout_ms, connect_timeout_ms, metrics_file";
    let mut expected: Vec<String> = names.split(", ").map(|name| format!("tarsql.{name}")).collect();
    expected.sort();
    let settings = "SELECT name FROM information_schema.df_settings WHERE name LIKE 'tarsql.%' ORDER BY name";
    assert_eq!(session.rows(settings).await, expected);
    assert_eq!(session.rows("SHOW tarsql.on_error").await, ["tarsql.on_error|skip"]);
    let all = session.rows("SHOW ALL").await;
    assert!(all.contains(&"tarsql.max_partitions|7".to_owned()), "{all:?}");
    for (set, says) in [
        ("SET tarsql.on_error = 'ignore'", "option 'on_error' can't be 'ignore': it is one of 'fail', 'skip'"),
        ("SET tarsql.max_partitions = 0", "option 'max_partitions' can't be '0': it is a whole number, at least 1"),
        ("SET tarsql.on_eror = 'skip'", "unknown setting 'tarsql.on_eror'"),
        ("SET tarsql.format = 'csv'", "unknown setting 'tarsql.format'"),
    ] {
        let error = session.sql(set).await.expect_err(set).to_string();
        assert!(error.contains(says), "{set}: {error}");
    }
    assert_eq!(session.rows("SHOW tarsql.on_error").await, ["tarsql.on_error|skip"]);
}

#[tokio::test]
async fn the_builder_says_what_sql_says() {
    let session = Session::new();
    let state = session.ctx.state();
    let columns = Schema::new(vec![Field::new("a", DataType::Int64, true)]);
    let options = TarOptions::json().columns(Arc::new(columns)).on_bad_row(OnBadRow::Skip).on_error(OnError::Skip);
    let table = TarTable::open(&state, &path("json/bad.tar"), options.provenance(true)).await.expect("json/bad.tar");
    session.ctx.register_table("built", Arc::new(table)).expect("a free name");
    assert_eq!(session.rows("SELECT a, _row FROM built").await, ["1|1", "3|3"]);

    let locators = [path("python/types.tar"), path("text/lines.tar")];
    let table = TarTable::open_all(&state, locators.iter().map(String::as_str), TarOptions::lines().repeat(2)).await;
    session.ctx.register_table("lines", Arc::new(table.expect("two archives"))).expect("a free name");
    assert_eq!(session.rows("SELECT count(*) FROM lines").await, ["26"]);

    for (result, says) in [
        (
            TarTable::open(&state, &path("json/bad.tar"), TarOptions::json().delimiter(b';')).await,
            "option 'delimiter' goes with",
        ),
        (TarTable::open(&state, "nowhere/*.tar", TarOptions::csv()).await, "no file matches 'nowhere/*.tar'"),
        (TarTable::open_all(&state, [], TarOptions::members()).await, "no locator is given"),
        (TarTable::open(&state, "ftp://host/x.tar", TarOptions::members()).await, "unknown scheme 'ftp'"),
    ] {
        let error = result.expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
    assert!(TarOptions::csv().null_regex("(").is_err() && TarOptions::csv().store_option("aws.nonsense", "1").is_err());
}

#[tokio::test]
async fn joins_ctes_and_views_see_a_table() {
    let session = Session::new();
    let types = format!("read_tar('{}')", path("python/types.tar"));
    session.ok(&format!("CREATE VIEW files AS SELECT path, size FROM {types} WHERE type = 'file'")).await;
    for (sql, rows) in [
        ("SELECT count(*) FROM files".to_owned(), "4"),
        (format!("WITH t AS (SELECT * FROM {types}) SELECT count(*) FROM t JOIN files ON t.path = files.path"), "4"),
        (format!("SELECT count(*) FROM {types} AS a, {types} AS b WHERE a.path = b.path AND a.size > 0"), "3"),
        (format!("SELECT count(*) FROM (SELECT path FROM {types} UNION ALL SELECT path FROM files)"), "14"),
        (format!("SELECT (SELECT max(size) FROM {types})"), "10"),
    ] {
        assert_eq!(session.rows(&sql).await, [rows], "{sql}");
    }
    let create = format!(
        "CREATE EXTERNAL TABLE t STORED AS TAR LOCATION '{}' OPTIONS ('aws.secret_access_key' 'hush')",
        path("python/types.tar")
    );
    session.ok(&create).await;
    let shown = session.rows("SHOW CREATE TABLE t").await.join("\n");
    assert!(shown.contains("STORED AS TAR") && !shown.contains("hush"), "{shown}");
}

/// Inference is awaited while SQL is planned, which must work wherever that happens.
#[test]
fn planning_works_on_every_runtime() {
    let sql =
        format!("SELECT count(*) FROM read_tar('{}', format = 'csv', delimiter = ';', comment = '#')", path(SEMICOLON));
    let query = async || {
        let session = Session::with(SessionConfig::new());
        session.bucket("mem", [("x.tar", tar([("m.csv", "a\n1\n")]))]).await;
        // Of a store that was registered, and of files.
        assert_eq!(session.rows("SELECT a FROM read_tar('s3://mem/x.tar', format = 'csv')").await, ["1"]);
        assert_eq!(session.rows(&sql).await, ["2"]);
        assert_eq!(session.rows(&format!("SELECT count(*) FROM '{}'", path("python/types.tar"))).await, ["10"]);
    };
    use tokio::runtime::Builder;
    Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(query());
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime").block_on(query());
    Builder::new_multi_thread().worker_threads(3).enable_all().build().expect("a runtime").block_on(async {
        let tasks = (0..4).map(|_| {
            let sql = sql.clone();
            tokio::spawn(async move { Session::new().rows(&sql).await })
        });
        for task in futures::future::join_all(tasks).await {
            assert_eq!(task.expect("no panic"), ["2"]);
        }
    });
}
