//! COPY and INSERT publish whole or not at all: through the library, into folders and into stores in memory.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use object_store::ObjectStore;
use object_store::memory::InMemory;

use crate::session::{Answer, Session};

/// Formats, and whether a directory without rows gets a file.
const FORMATS: [&str; 4] = ["parquet", "csv", "json", "arrow"];

/// Rows until late, and then an error.
const FAILS_LATE: &str = "SELECT value, value % 3 AS k, CAST(CASE WHEN value = 280000 THEN 'x' ELSE '7' END AS INT) AS n \
                          FROM generate_series(1, 300000)";

pub(crate) const ROWS: &str = "SELECT value, value % 3 AS k, 'text ' || value AS t FROM generate_series(1, 20000)";

/// All files and folders below `folder`, hidden ones too, sorted.
pub(crate) fn tree(folder: &Path) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a folder").flatten() {
            let path = entry.path();
            found.push(path.strip_prefix(folder).expect("it is below").display().to_string());
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Those that hold data.
pub(crate) fn data_files(folder: &Path) -> Vec<PathBuf> {
    let files = tree(folder).into_iter().filter(|name| !name.split('/').any(|part| part.starts_with(['_', '.'])));
    files.map(|name| folder.join(name)).filter(|path| path.is_file()).collect()
}

/// A session whose stores leave `_SUCCESS` out of listings: the engine's own take it for data in a folder of partitions.
fn with_registry() -> Session {
    let registry = Arc::new(tarsql::StoreRegistry::default());
    let runtime = RuntimeEnvBuilder::new().with_object_store_registry(registry).build_arc().expect("a runtime");
    let ctx = SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(4), runtime);
    tarsql::register(&ctx).expect("a new session can be registered with");
    Session { ctx }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn copied(answer: &Answer) -> u64 {
    answer.batches[0].column(0).as_primitive::<UInt64Type>().value(0)
}

/// Options with which bytes are written early.
pub(crate) fn small_groups(format: &str) -> &'static str {
    if format == "parquet" { "OPTIONS ('max_row_group_bytes' '300000', 'max_file_bytes' '1000000')" } else { "" }
}

/// How a format is written to that target, and read from it.
fn clause(format: &str, extra: &str) -> String {
    format!("STORED AS {format} {extra}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_reads_back() {
    for format in FORMATS {
        let (session, folder) = (with_registry(), folder());
        for (target, extra) in [("one", ""), ("several/", ""), ("by/", "PARTITIONED BY (k)"), ("no-ending", "")] {
            let target = if target == "one" { format!("one.{format}") } else { target.to_owned() };
            let path = folder.path().join(&target);
            let path = format!("{}{}", path.display(), if target.ends_with('/') { "/" } else { "" });
            let path = path.replace("//", "/");
            let answer = session.ok(&format!("COPY ({ROWS}) TO '{path}' {}", clause(format, extra))).await;
            assert_eq!(copied(&answer), 20_000, "{path}");
            assert_eq!(answer.run.written.rows, 20_000, "{path}");
            let files =
                if target.starts_with("one") { vec![path.clone().into()] } else { data_files(Path::new(&path)) };
            let bytes: u64 = files.iter().map(|file: &PathBuf| file.metadata().expect("a file").len()).sum();
            assert_eq!((answer.run.written.files, answer.run.written.bytes), (files.len() as u64, bytes), "{path}");
            let is_directory = Path::new(&path).is_dir();
            assert_eq!(is_directory, !target.starts_with("one"), "{path}");
            let location = if is_directory { format!("{}/", path.trim_end_matches('/')) } else { path.clone() };
            assert_eq!(Path::new(&location).join("_SUCCESS").is_file(), is_directory, "{path}");
            let header = if format == "csv" { "OPTIONS ('has_header' 'true')" } else { "" };
            session
                .ok(&format!("CREATE EXTERNAL TABLE t STORED AS {format} {extra} LOCATION '{location}' {header}"))
                .await;
            let rows = session.rows("SELECT count(*), sum(value), sum(CAST(k AS BIGINT)), min(t), max(t) FROM t").await;
            assert_eq!(rows, ["20000|200010000|20001|text 1|text 9999"], "{path}");
            session.ok("DROP TABLE t").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_copy_leaves_nothing() {
    for format in FORMATS {
        for (target, extra) in [("x", ""), ("deep/new/dir/", ""), ("by/", "PARTITIONED BY (k)")] {
            let (session, folder) = (Session::new(), folder());
            let path = folder.path().join(target);
            let path = if target == "x" { path.with_extension(format) } else { path };
            let copy = format!("COPY ({FAILS_LATE}) TO '{}' {}", path.display(), clause(format, extra));
            let error = session.sql(&copy).await.expect_err("the cast fails").to_string();
            assert!(error.contains("Cannot cast string 'x'"), "{error}");
            assert_eq!(tree(folder.path()), Vec::<String>::new(), "{format} {target}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_archive_is_no_short_table() {
    for format in FORMATS {
        let (session, folder) = (Session::new(), folder());
        let copy = format!(
            "COPY (SELECT path, content FROM read_tar(['testdata/python/many.tar', 'testdata/damaged/cut-in-body.tar'])) \
             TO '{}/x/' STORED AS {format}",
            folder.path().display()
        );
        let failure = session.error(&copy.replace("content", "encode(content, 'hex') AS content")).await;
        failure.says(&["cut-in-body.tar"]);
        assert_eq!(tree(folder.path()), Vec::<String>::new(), "{format}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_replaced_only_by_a_whole_one() {
    for format in FORMATS {
        let (session, folder) = (Session::new(), folder());
        let file = folder.path().join(format!("x.{format}"));
        fs::write(&file, "precious").expect("room");
        let copy = |query: &str| format!("COPY ({query}) TO '{}'", file.display());
        session.sql(&copy(FAILS_LATE)).await.expect_err("the cast fails");
        assert_eq!(fs::read_to_string(&file).expect("it is there"), "precious", "{format}");
        session.ok(&copy("SELECT 1 AS one")).await;
        assert_ne!(fs::read(&file).expect("it is there"), b"precious", "{format}");
        assert_eq!(tree(folder.path()), [format!("x.{format}")]);
    }
}

/// Before the drop nothing is visible; after it nothing is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stream_leaves_nothing() {
    for format in FORMATS {
        for target in ["x", "dir/"] {
            let (session, folder) = (Session::new(), folder());
            let path = folder.path().join(target);
            let path = if target == "x" { path.with_extension(format) } else { path };
            session.ok("SET datafusion.execution.objectstore_writer_buffer_size = 100000").await;
            let endless = "SELECT value, 'some text ' || value AS t FROM generate_series(1, 1000000000000)";
            let copy = format!("COPY ({endless}) TO '{}' STORED AS {format} {}", path.display(), small_groups(format));
            let plan = session.ctx.sql(&copy).await.expect("a plan").create_physical_plan().await.expect("a plan");
            let mut stream = execute_stream(Arc::clone(&plan), session.ctx.task_ctx()).expect("a stream");
            let written = async {
                while tarsql::written(&plan).is_none_or(|written| written.bytes == 0) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::select! {
                _ = stream.next() => panic!("it has no end"),
                () = written => {}
            }
            let names = tree(folder.path());
            assert!(names.iter().any(|name| name.contains('#')), "{names:?}");
            assert!(data_files(folder.path()).is_empty(), "{names:?}");
            drop(stream);
            assert!(tarsql::settle(Duration::from_secs(60)).await, "clean-ups end");
            assert_eq!(tree(folder.path()), Vec::<String>::new(), "{format} {target}");
            assert_eq!(tarsql::written(&plan).expect("a COPY").files, 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_with_data_is_kept_unless_told() {
    for format in FORMATS {
        let (session, folder) = (Session::new(), folder());
        let target = folder.path().join("d");
        let copy = |query: &str, options: &str| {
            let sql = format!("COPY ({query}) TO '{}/' STORED AS {format} {options}", target.display());
            let session = &session;
            async move { session.sql(&sql).await }
        };
        // Hidden names are no data.
        fs::create_dir_all(target.join(".git")).expect("a folder");
        fs::write(target.join(".git/config"), "x").expect("room");
        fs::write(target.join("_other"), "x").expect("room");
        copy("SELECT 1 AS a", "").await.expect("it holds no data").row_count();
        let first = data_files(&target);
        assert_eq!(first.len(), 1, "{format}");
        for options in ["", "OPTIONS ('write_mode' 'error')"] {
            let error = copy("SELECT 2 AS a", options).await.expect_err("it holds data").to_string();
            assert!(error.contains("holds data") && error.contains("'write_mode' 'append'"), "{error}");
        }
        let error = copy("SELECT 2 AS a", "OPTIONS ('write_mode' 'replace')").await.expect_err("no such mode");
        assert!(error.to_string().contains("option 'write_mode' can't be 'replace'"), "{error}");
        assert_eq!(data_files(&target), first);

        copy("SELECT 2 AS a", "OPTIONS ('write_mode' 'append')").await.expect("it may");
        let both = data_files(&target);
        assert!(both.len() == 2 && both.contains(&first[0]), "{both:?}");

        for options in ["OPTIONS ('write_mode' 'append')", "OPTIONS ('write_mode' 'overwrite')"] {
            copy(FAILS_LATE, options).await.expect_err("the cast fails");
            assert_eq!(data_files(&target), both, "{format} {options}");
            assert!(target.join("_SUCCESS").exists(), "the old data is as complete as it was");
        }
        copy("SELECT 3 AS a", "OPTIONS ('write_mode' 'overwrite')").await.expect("it may");
        let last = data_files(&target);
        assert!(last.len() == 1 && !both.contains(&last[0]), "{last:?}");
        for kept in [".git/config", "_other", "_SUCCESS"] {
            assert!(target.join(kept).exists(), "{kept}");
        }
        assert!(!tree(&target).iter().any(|name| name.contains('#') || name.contains("_committing")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn overwriting_removes_folders_that_are_empty_then_and_no_link_s_target() {
    let (session, folder) = (Session::new(), folder());
    let (target, other) = (folder.path().join("d"), folder.path().join("other"));
    fs::create_dir(&other).expect("a folder");
    fs::write(other.join("precious"), "x").expect("room");
    let copy = |query: &str| {
        format!(
            "COPY ({query}) TO '{}/' STORED AS PARQUET PARTITIONED BY (k) OPTIONS ('write_mode' 'overwrite')",
            target.display()
        )
    };
    session.ok(&copy("SELECT value AS a, value AS k FROM generate_series(1, 2)")).await;
    std::os::unix::fs::symlink(&other, target.join("link")).expect("a link");
    session.ok(&copy("SELECT 3 AS a, 3 AS k")).await;
    let names = tree(&target);
    assert!(names.contains(&"k=3".to_owned()) && !names.iter().any(|name| name.starts_with("k=1")), "{names:?}");
    assert!(other.join("precious").exists(), "what a link points to is not ours");
}

/// Keys of a store, `_SUCCESS` and all.
async fn keys(store: &InMemory) -> Vec<String> {
    let mut keys: Vec<_> = store.list(None).map(|object| object.expect("memory").location.to_string()).collect().await;
    keys.sort();
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_gets_all_or_nothing_too() {
    for format in FORMATS {
        let session = Session::new();
        let store = session.bucket("b", [("other/x", "kept")]).await;
        for target in [format!("x.{format}"), "d/".to_owned()] {
            let copy = |query: &str| format!("COPY ({query}) TO 's3://b/{target}' STORED AS {format}");
            session.sql(&copy(FAILS_LATE)).await.expect_err("the cast fails");
            assert_eq!(keys(&store).await, ["other/x"], "{format} {target}");
            session.ok(&copy(ROWS)).await;
            let mut left = keys(&store).await;
            left.retain(|key| key != "other/x");
            assert_eq!(left.contains(&"d/_SUCCESS".to_owned()), target == "d/", "{left:?}");
            if target == "d/" {
                let error = session.sql(&copy(ROWS)).await.expect_err("it holds data").to_string();
                assert!(error.contains("holds data"), "{error}");
                let overwrite = format!("{} OPTIONS ('write_mode' 'overwrite')", copy("SELECT 1 AS a"));
                session.ok(&overwrite).await;
                let now = keys(&store).await;
                assert!(left.iter().all(|key| key == "d/_SUCCESS" || !now.contains(key)), "{now:?}");
            }
            for key in keys(&store).await.into_iter().filter(|key| key != "other/x") {
                object_store::ObjectStoreExt::delete(&*store, &key.into()).await.expect("it is there");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_writers_wins() {
    for format in ["parquet", "csv"] {
        for mode in ["error", "append", "overwrite"] {
            for round in 0..4 {
                let folder = folder();
                let target = folder.path().join("d");
                let copy = |rows: u64| {
                    let target = target.display().to_string();
                    async move {
                        let session = Session::new();
                        let sql = format!(
                            "COPY (SELECT value FROM generate_series(1, {rows})) TO '{target}/' STORED AS {format} \
                             OPTIONS ('write_mode' '{mode}')"
                        );
                        session.sql(&sql).await.map(|answer| copied(&answer))
                    }
                };
                let (one, other) = tokio::join!(tokio::spawn(copy(1_000)), tokio::spawn(copy(2_000)));
                let ends = [one.expect("no panic"), other.expect("no panic")];
                let winners: Vec<u64> = ends.iter().filter_map(|end| end.as_ref().ok().copied()).collect();
                let session = Session::new();
                let header = if format == "csv" { "OPTIONS ('has_header' 'true')" } else { "" };
                session
                    .ok(&format!(
                        "CREATE EXTERNAL TABLE t STORED AS {format} LOCATION '{}/' {header}",
                        target.display()
                    ))
                    .await;
                let rows: u64 = session.rows("SELECT count(*) FROM t").await[0].parse().expect("a count");
                let expected: BTreeSet<u64> = match mode {
                    "error" => {
                        assert_eq!(winners.len(), 1, "{format} {round}: {ends:?}");
                        [winners[0]].into()
                    }
                    "append" => [3_000].into(),
                    _ => [1_000, 2_000].into(),
                };
                assert!(expected.contains(&rows), "{format} {mode} {round}: {rows} of {ends:?}");
                let names = tree(&target);
                assert!(!names.iter().any(|name| name.contains(['#']) || name == "_committing"), "{names:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_lock_that_is_left_over_is_explained() {
    let (session, folder) = (Session::new(), folder());
    fs::write(folder.path().join("_committing"), "").expect("room");
    let copy = format!("COPY (SELECT 1 AS a) TO '{}/' STORED AS PARQUET", folder.path().display());
    let failure = session.error(&copy).await;
    failure.says(&["another COPY or INSERT is publishing", "delete _committing"]);
    assert_eq!(tree(folder.path()), ["_committing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_appends_whole_or_not_at_all() {
    for format in FORMATS {
        for (partition, location) in [("", "flat"), ("PARTITIONED BY (k)", "by")] {
            let (session, folder) = (Session::new(), folder());
            let target = folder.path().join(location);
            fs::create_dir(&target).expect("a folder");
            let header = if format == "csv" { "OPTIONS ('has_header' 'true')" } else { "" };
            session
                .ok(&format!(
                    "CREATE EXTERNAL TABLE t (a BIGINT, b BIGINT, k BIGINT) STORED AS {format} {partition} \
                     LOCATION '{}/' {header}",
                    target.display()
                ))
                .await;
            let answer = session.ok("INSERT INTO t VALUES (1, 2, 3), (4, 5, 6)").await;
            assert_eq!((copied(&answer), answer.run.written.rows), (2, 2), "{format} {partition}");
            session.ok("INSERT INTO t VALUES (7, 8, 9)").await;
            let before = tree(&target);
            assert!(!before.contains(&"_SUCCESS".to_owned()), "the folder is the table's: {before:?}");
            let fails = "INSERT INTO t SELECT value, CAST(CASE WHEN value = 90000 THEN 'x' ELSE '1' END AS BIGINT), 1 \
                         FROM generate_series(1, 100000)";
            session.sql(fails).await.expect_err("the cast fails");
            assert_eq!(tree(&target), before, "{format} {partition}");
            let rows = session.ok("SELECT a, b, CAST(k AS BIGINT) FROM t").await.sorted();
            assert_eq!(rows, ["1|2|3", "4|5|6", "7|8|9"], "{format} {partition}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rows_are_a_file_that_says_so() {
    for format in FORMATS {
        let (session, folder) = (Session::new(), folder());
        let nothing = "SELECT value AS a FROM generate_series(1, 10) WHERE value > 10";
        let file = folder.path().join(format!("x.{format}"));
        let answer = session.ok(&format!("COPY ({nothing}) TO '{}'", file.display())).await;
        assert_eq!((copied(&answer), answer.run.written.rows, answer.run.written.files), (0, 0, 1));
        assert!(file.is_file(), "{format}");
        let directory = folder.path().join("d");
        session.ok(&format!("COPY ({nothing}) TO '{}/' STORED AS {format}", directory.display())).await;
        assert!(directory.join("_SUCCESS").exists(), "{format}");
        if format == "parquet" {
            session.ok(&format!("CREATE EXTERNAL TABLE f STORED AS PARQUET LOCATION '{}'", file.display())).await;
            session.ok(&format!("CREATE EXTERNAL TABLE d STORED AS PARQUET LOCATION '{}/'", directory.display())).await;
            for table in ["f", "d"] {
                assert_eq!(session.rows(&format!("SELECT count(a) FROM {table}")).await, ["0"]);
            }
        }
        let by = folder.path().join("by");
        let copy = format!("COPY (SELECT a, a AS k FROM ({nothing})) TO '{}/' STORED AS {format}", by.display());
        session.ok(&format!("{copy} PARTITIONED BY (k)")).await;
        assert_eq!(tree(&by), ["_SUCCESS"], "{format}");
    }
}

#[tokio::test]
async fn a_target_that_cannot_be_written_is_refused_before_anything_is_read() {
    let (session, folder) = (Session::new(), folder());
    let file = folder.path().join("file");
    fs::write(&file, "x").expect("room");
    fs::create_dir(folder.path().join("dir.parquet")).expect("a folder");
    let below_file = format!("{}/x.FORMAT", file.display());
    let pattern = format!("{}/x*.FORMAT", folder.path().display());
    for (target, says) in [
        ("/proc/x.FORMAT", "can't be written: no such file or directory (os error 2)"),
        ("/proc/tarsql/deep/", "(os error 2)"),
        (below_file.as_str(), "can't be written: not a directory (os error 20)"),
        (file.to_str().expect("text"), "can't be written: not a directory"),
        (pattern.as_str(), "is a pattern"),
    ] {
        for format in FORMATS {
            let target = target.replace("FORMAT", format);
            // Were it read, that would be the error.
            let copy = format!(
                "COPY (SELECT * FROM read_tar('testdata/damaged/cut-in-body.tar')) TO '{target}' STORED AS {format}"
            );
            let copy = copy.replace("SELECT *", "SELECT path, size");
            let failure = tokio::time::timeout(Duration::from_secs(60), session.error(&copy)).await.expect("an end");
            failure.says(&[says]);
        }
    }
    assert_eq!(tree(folder.path()), ["dir.parquet", "file"]);
}

#[tokio::test]
async fn explain_shows_where_and_how() {
    let session = Session::with(SessionConfig::new());
    let explained = |sql: String| {
        let session = &session;
        async move { session.rows(&format!("EXPLAIN {sql}")).await.join("\n") }
    };
    let many = "SELECT path, size, type FROM read_tar('testdata/python/many.tar', repeat = 4)";
    for (sql, says) in [
        (
            format!("COPY ({many}) TO '/tmp/x.parquet'"),
            &["PublishExec: file=file:///tmp/x.parquet", "ParquetSinkExec: encoders=4"][..],
        ),
        (
            format!("COPY ({many}) TO '/tmp/x/' STORED AS PARQUET PARTITIONED BY (type)"),
            &["PublishExec: directory=file:///tmp/x/, write_mode=error", "partitioned_by=[type]"],
        ),
        (
            format!("COPY ({many} ORDER BY size) TO '/tmp/x/' STORED AS PARQUET OPTIONS ('write_mode' 'append')"),
            &["write_mode=append", "ParquetSinkExec: encoders=1, keeps_order=true"],
        ),
        (
            format!("COPY ({many}) TO '/tmp/x.csv' STORED AS CSV"),
            &["PublishExec: file=file:///tmp/x.csv", "DataSinkExec: sink=CsvSink"],
        ),
        (
            format!("COPY ({many}) TO '/tmp/x.parquet' OPTIONS ('maximum_parallel_row_group_writers' '9')"),
            &["encoders=9"],
        ),
        (
            format!("COPY ({many}) TO '/tmp/x.parquet' OPTIONS ('allow_single_file_parallelism' 'false')"),
            &["encoders=1"],
        ),
    ] {
        let plan = explained(sql.clone()).await;
        assert!(says.iter().all(|part| plan.contains(part)), "{sql}: {plan}");
        assert!(
            !plan.contains("ParquetSinkExec") || plan.contains("ORDER BY") || !plan.contains("CoalescePartitionsExec"),
            "{plan}"
        );
    }
}
