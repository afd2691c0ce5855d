//! What is in the Parquet files of a COPY, as pyarrow sees it: order, row groups, options.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use datafusion::prelude::SessionConfig;
use serde_json::{Value, json};

use crate::copy::{data_files, tree};
use crate::python::{parquet, run_script};
use crate::session::Session;
use crate::testdata::testdata;

/// How a file is built.
fn inspect(file: &Path) -> Value {
    serde_json::from_str(&run_script("inspect_parquet.py", [file], &[])).expect("the script prints JSON")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn numbers(values: &Value) -> Vec<i64> {
    values.as_array().expect("a list").iter().map(|value| value.as_i64().expect("a number")).collect()
}

fn group_rows(file: &Value) -> Vec<u64> {
    let groups = file["groups"].as_array().expect("a list").iter();
    groups.map(|group| group["rows"].as_u64().expect("a count")).collect()
}

/// More row groups than one, and more partitions than one to sort.
#[tokio::test(flavor = "multi_thread")]
async fn order_by_reaches_the_file() {
    let (session, folder) = (Session::with(SessionConfig::new().with_batch_size(500)), folder());
    let query =
        "SELECT number, value FROM (SELECT value, (value * 7919) % 20011 AS number FROM generate_series(1, 20000))
                 WHERE number > 10 ORDER BY number DESC";
    let expected: Vec<i64> = {
        let mut numbers: Vec<i64> = (1..=20_000).map(|value| (value * 7919) % 20_011).filter(|&n| n > 10).collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        numbers
    };
    let file = folder.path().join("x.parquet");
    let options = "OPTIONS ('max_row_group_size' '3000')";
    let answer = session.ok(&format!("COPY ({query}) TO '{}' {options}", file.display())).await;
    let plan = answer.explained();
    assert!(plan.contains("keeps_order=true") && plan.contains("SortPreservingMergeExec"), "{plan}");
    let seen = inspect(&file);
    assert_eq!(numbers(&seen["numbers"]["number"]), expected);
    assert_eq!(group_rows(&seen).len(), expected.len().div_ceil(3_000));
    assert_eq!(seen["groups"][0]["sorting"], json!([[0, true]]));

    // Also by a column that is not written, in every format.
    let values = format!("SELECT value FROM ({query}) ORDER BY number DESC");
    let sorted: Vec<i64> = {
        let mut values: Vec<i64> = (1..=20_000).filter(|value| (value * 7919) % 20_011 > 10).collect();
        values.sort_unstable_by_key(|value| std::cmp::Reverse((value * 7919) % 20_011));
        values
    };
    let file = folder.path().join("values.parquet");
    session.ok(&format!("COPY ({values}) TO '{}' {options}", file.display())).await;
    assert_eq!(numbers(&inspect(&file)["numbers"]["value"]), sorted);
    let file = folder.path().join("values.csv");
    session.ok(&format!("COPY ({values}) TO '{}'", file.display())).await;
    let lines = fs::read_to_string(&file).expect("text");
    let lines: Vec<i64> = lines.lines().skip(1).map(|line| line.parse().expect("a number")).collect();
    assert_eq!(lines, sorted);

    // The files of a directory follow one another by name.
    let directory = folder.path().join("d");
    let rows_max = "SET datafusion.execution.soft_max_rows_per_output_file = 4000";
    session.ok(rows_max).await;
    session.ok(&format!("COPY ({query}) TO '{}/' STORED AS PARQUET {options}", directory.display())).await;
    let files = data_files(&directory);
    assert_eq!(files.len(), expected.len().div_ceil(4_000), "{files:?}");
    let seen: Vec<i64> = files.iter().flat_map(|file| numbers(&inspect(file)["numbers"]["number"])).collect();
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_groups_and_files_are_closed_by_rows_and_by_bytes() {
    let folder = folder();
    // 256 letters that compress to half of it, 20,000 times.
    let hash = |what: &str| format!("encode(sha512(CAST({what} AS VARCHAR)), 'hex')");
    let query = format!("SELECT value, {} || {} AS t FROM generate_series(1, 20000)", hash("value"), hash("value + 1"));
    let session = Session::new();
    for (name, options, rows_max, bytes_max) in [
        ("rows", "'max_row_group_size' '1500'", 1_500, u64::MAX),
        ("bytes", "'max_row_group_bytes' '500000'", u64::MAX, 700_000),
    ] {
        let file = folder.path().join(format!("{name}.parquet"));
        session.ok(&format!("COPY ({query}) TO '{}' OPTIONS ({options})", file.display())).await;
        let seen = inspect(&file);
        assert_eq!(seen["rows"], 20_000);
        let groups = seen["groups"].as_array().expect("a list");
        assert!(groups.len() > 4, "{name}: {} row groups", groups.len());
        for group in groups {
            let (rows, bytes) = (group["rows"].as_u64().expect("a count"), group["bytes"].as_u64().expect("a count"));
            assert!(rows <= rows_max && bytes <= bytes_max, "{name}: {rows} rows of {bytes} bytes");
        }
        let mut values = numbers(&seen["numbers"]["value"]);
        values.sort_unstable();
        assert!(values.into_iter().eq(1..=20_000), "each row is there once");
    }
    let directory = folder.path().join("d");
    let options = "'max_row_group_bytes' '200000', 'max_file_bytes' '600000'";
    session.ok(&format!("COPY ({query}) TO '{}/' STORED AS PARQUET OPTIONS ({options})", directory.display())).await;
    let files = data_files(&directory);
    assert!(files.len() > 2, "{files:?}");
    let sizes: Vec<_> = files.iter().map(|file| fs::metadata(file).expect("a file").len()).collect();
    assert!(sizes.iter().all(|&bytes| bytes < 1_000_000), "{sizes:?}");
    assert_eq!(parquet(&directory, &[])["rows"], 20_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn options_of_the_format_are_honoured() {
    let (session, folder) = (Session::new(), folder());
    let query = "SELECT value AS a, CAST(value % 9 AS VARCHAR) AS b, named_struct('c', value) AS s FROM generate_series(1, 5000)";
    let written = async |options: &str| {
        let file = folder.path().join("x.parquet");
        session.ok(&format!("COPY ({query}) TO '{}' OPTIONS ({options})", file.display())).await;
        inspect(&file)
    };
    let columns = |file: &Value, what: &str| {
        let columns = file["groups"][0]["columns"].as_array().expect("a list").clone();
        columns.into_iter().map(|column| column[what].clone()).collect::<Vec<_>>()
    };
    let plain = written("'skip_arrow_metadata' 'false'").await;
    assert_eq!(columns(&plain, "compression"), ["ZSTD"; 3]);
    assert_eq!(columns(&plain, "path"), ["a", "b", "s.c"]);
    assert!(plain["metadata"].as_array().expect("a list").contains(&json!("ARROW:schema")), "{plain}");

    let seen =
        written("'compression' 'snappy', 'compression::b' 'uncompressed', 'format.compression::s.c' 'lz4_raw'").await;
    assert_eq!(columns(&seen, "compression"), ["SNAPPY", "UNCOMPRESSED", "LZ4"]);
    let seen = written("'metadata::who' 'me', 'skip_arrow_metadata' 'true', 'created_by' 'nobody'").await;
    assert_eq!((&seen["metadata"], &seen["created_by"]), (&json!(["who"]), &json!("nobody")));
    let seen =
        written("'dictionary_enabled' 'false', 'dictionary_enabled::b' 'true', 'statistics_enabled::a' 'none'").await;
    assert_eq!(columns(&seen, "has_dictionary"), [false, true, false]);
    assert_eq!(columns(&seen, "has_statistics"), [false, true, true]);
    let seen =
        written("'dictionary_enabled' 'false', 'encoding::a' 'delta_binary_packed', 'writer_version' '2.0'").await;
    assert!(
        columns(&seen, "encodings")[0].as_array().expect("a list").contains(&json!("DELTA_BINARY_PACKED")),
        "{seen}"
    );
    // The engine's own sink, behind the same stage.
    let seen = written("'format.content_defined_chunking.enabled' 'true'").await;
    assert_eq!(seen["rows"], 5_000);

    for (options, says) in [
        ("'max_row_group_size' '0'", "'max_row_group_size' can't be 0"),
        ("'statistics_enabled' 'all'", "'statistics_enabled' can't be 'all'"),
        ("'compression::nosuch' 'snappy'", "'option::nosuch'"),
        ("'max_file_bytes' '1G'", "'max_file_bytes' can't be '1G'"),
    ] {
        let copy = format!("COPY ({query}) TO '{}/refused.parquet' OPTIONS ({options})", folder.path().display());
        session.error(&copy).await.says(&[says]);
    }
    let unknown = format!("COPY ({query}) TO '{}/refused.parquet' OPTIONS ('nosuch' '1')", folder.path().display());
    let error = session.sql(&unknown).await.expect_err("no such option").to_string();
    assert!(error.contains("nosuch"), "{error}");
    assert_eq!(tree(folder.path()), ["x.parquet"]);
}

/// Content that comes again and again, so that a dictionary would be small.
#[tokio::test(flavor = "multi_thread")]
async fn content_is_written_without_dictionary_and_statistics() {
    let (session, folder) = (Session::new(), folder());
    let archive = testdata("compressed/plain.tar");
    let file = folder.path().join("x.parquet");
    let written = async |columns: &str, options: &str| {
        let from = format!("read_tar('{}'), generate_series(1, 9)", archive.display());
        session.ok(&format!("COPY (SELECT {columns} FROM {from}) TO '{}' {options}", file.display())).await;
        let file = inspect(&file);
        let columns = file["groups"][0]["columns"].as_array().expect("a list").clone();
        let facts = columns.into_iter().map(|column| {
            let name = column["path"].as_str().expect("a name").to_owned();
            (name, (column["has_dictionary"] == true, column["has_statistics"] == true))
        });
        facts.collect::<HashMap<_, _>>()
    };
    let all = written("*", "").await;
    assert_eq!(all["content"], (false, false), "{all:?}");
    assert!(all["path"].1 && all["archive"].0 && all["size"].1, "{all:?}");
    let bytes = written("path, CAST(repeat(path, 1000) AS BYTEA) AS b", "").await;
    assert_eq!(bytes["b"], (false, false), "{bytes:?}");
    let asked = "OPTIONS ('dictionary_enabled::content' 'true', 'statistics_enabled::content' 'chunk')";
    let asked = written("path, content", asked).await;
    assert_eq!(asked["content"], (true, true), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_of_partitions_hold_their_rows() {
    let (session, folder) = (Session::new(), folder());
    let query = "SELECT value AS n, CASE value % 5 WHEN 0 THEN NULL WHEN 1 THEN '../../x' WHEN 2 THEN 'a/b c=%' \
                 WHEN 3 THEN 'plain' ELSE '' END AS k FROM generate_series(1, 10000)";
    let target = folder.path().join("inside/d");
    let copy = |options: &str| {
        format!("COPY ({query}) TO '{}/' STORED AS PARQUET PARTITIONED BY (k) OPTIONS ({options})", target.display())
    };
    session.ok(&copy("'write_mode' 'error'")).await;
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing climbs out");
    let names: Vec<_> = tree(&target).into_iter().filter(|name| !name.contains("parquet")).collect();
    assert_eq!(names, ["_SUCCESS", "k=", "k=..%2F..%2Fx", "k=__HIVE_DEFAULT_PARTITION__", "k=a%2Fb c=%25", "k=plain"]);
    assert_eq!(data_files(&target).len(), 5, "one file each");
    for file in data_files(&target) {
        let seen = inspect(&file);
        assert_eq!((&seen["rows"], &seen["names"]), (&json!(2_000), &json!(["n"])));
        let values = numbers(&seen["numbers"]["n"]);
        assert!(values.iter().all(|value| value % 5 == values[0] % 5), "{}", file.display());
    }
    let seen = parquet(&target, &[]);
    assert_eq!((&seen["rows"], &seen["sums"]["n"]), (&json!(10_000), &json!(50_005_000)));

    session.ok(&copy("'write_mode' 'overwrite', 'execution.keep_partition_by_columns' 'true'")).await;
    for file in data_files(&target) {
        assert_eq!(inspect(&file)["names"], json!(["n", "k"]));
    }
}

/// Folders of a column whose name begins like that of a hidden file are data.
#[tokio::test(flavor = "multi_thread")]
async fn folders_of_hidden_looking_columns_are_data() {
    let (session, folder) = (Session::new(), folder());
    let target = folder.path().join("d");
    let copy = |mode: &str| {
        let query = "SELECT value AS n, value % 2 AS _path FROM generate_series(1, 10)";
        format!("COPY ({query}) TO '{}/' STORED AS PARQUET PARTITIONED BY (_path) {mode}", target.display())
    };
    let files = || tree(&target).into_iter().filter(|name| name.ends_with(".parquet")).collect::<Vec<_>>();
    session.ok(&copy("")).await;
    session.error(&copy("")).await.says(&["holds data"]);
    let first = files();
    session.ok(&copy("OPTIONS ('write_mode' 'overwrite')")).await;
    let second = files();
    assert!(second.len() == 2 && second.iter().all(|file| !first.contains(file)), "{second:?}");
}

/// What would not happen is refused: one file is replaced, an INSERT appends.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_mode_that_would_be_ignored_is_refused() {
    let (session, folder) = (Session::new(), folder());
    for name in ["x.parquet", "x.csv", "x.json"] {
        for mode in ["append", "error"] {
            let copy =
                format!("COPY (SELECT 1 AS a) TO '{}/{name}' OPTIONS ('write_mode' '{mode}')", folder.path().display());
            session
                .error(&copy)
                .await
                .says(&[&format!("'write_mode' can't be '{mode}' here: one file is always replaced")]);
        }
        session
            .ok(&format!(
                "COPY (SELECT 1 AS a) TO '{}/{name}' OPTIONS ('write_mode' 'overwrite')",
                folder.path().display()
            ))
            .await;
    }
    let table = format!(
        "CREATE EXTERNAL TABLE t (a BIGINT) STORED AS PARQUET LOCATION '{}/t/' OPTIONS ('write_mode' 'overwrite')",
        folder.path().display()
    );
    session.ok(&table).await;
    session.error("INSERT INTO t VALUES (1)").await.says(&["'write_mode' can't be 'overwrite' here: INSERT appends"]);
}

/// More folders than are kept open, with little memory: every row is there once.
#[tokio::test(flavor = "multi_thread")]
async fn many_partitions_fit_into_little_memory() {
    use datafusion::execution::memory_pool::FairSpillPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::prelude::SessionContext;

    let folder = folder();
    let pool = std::sync::Arc::new(FairSpillPool::new(24 << 20));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().expect("a runtime");
    let ctx = SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(4), runtime);
    tarsql::register(&ctx).expect("a new session can be registered with");
    let target = folder.path().join("d");
    let copy = format!(
        "COPY (SELECT value AS n, value % 1500 AS k, encode(sha256(CAST(value AS VARCHAR)), 'hex') AS t
         FROM generate_series(1, 60000)) TO '{}/' STORED AS PARQUET PARTITIONED BY (k)",
        target.display()
    );
    ctx.sql(&copy).await.expect("a plan").collect().await.expect("it fits");
    assert_eq!(fs::read_dir(&target).expect("a folder").count(), 1_501);
    let seen = parquet(&target, &[]);
    assert_eq!((&seen["rows"], &seen["sums"]["n"]), (&json!(60_000), &json!(1_800_030_000)));
}
