//! What is in every archive of `testdata/`, compared with what Python's tarfile and GNU tar say: `expected.json`.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::json::writer::{JsonArray, WriterBuilder};
use datafusion::prelude::SessionConfig;
use serde_json::{Map, Value, json};

use crate::session::{Answer, Session, file_url, url};
use crate::testdata::{WEIRD_NAMES, json, sha256, testdata, weird_names};

/// The header columns, the time as `expected.json` has it.
const HEADER: &str = "archive, path, type, size, CAST(mtime AS BIGINT) AS mtime_us, mode, uid, gid, uname, gname, linkname, pax, data_offset";

/// What is in each archive, by its name.
fn archives() -> Map<String, Value> {
    json("expected.json")["archives"].as_object().expect("a map of archives").clone()
}

fn from(archive: &str, columns: &str) -> String {
    format!("SELECT {columns} FROM read_tar('{}')", testdata(archive).display())
}

/// The rows of batches as JSON objects, NULLs included; the column `content` as `sha256`.
fn objects(answer: &Answer) -> Vec<Map<String, Value>> {
    answer.batches.iter().flat_map(batch_objects).collect()
}

fn batch_objects(batch: &RecordBatch) -> Vec<Map<String, Value>> {
    let mut batch = batch.clone();
    let content = batch.schema().index_of("content").ok().map(|index| batch.remove_column(index));
    let mut bytes = Vec::new();
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(&mut bytes);
    writer.write(&batch).expect("the columns can be written as JSON");
    writer.finish().expect("memory can be written to");
    drop(writer);
    let mut rows: Vec<Map<String, Value>> = serde_json::from_slice(&bytes).expect("what was written as JSON is JSON");
    if let Some(content) = content {
        let content = content.as_binary_view();
        for (row, object) in rows.iter_mut().enumerate() {
            let hash = content.is_valid(row).then(|| sha256(content.value(row)));
            object.insert("sha256".into(), json!(hash));
        }
    }
    rows
}

/// The uncompressed bytes of an archive, where they are here: all in `compressed/` wrap the same one.
fn plain_tar(archive: &str) -> Option<Vec<u8>> {
    let plain = match archive.split_once('/') {
        Some(("compressed", _)) => "compressed/plain.tar",
        Some(("hostile", name)) if !name.ends_with(".tar") => return None,
        _ => archive,
    };
    Some(std::fs::read(testdata(plain)).expect("test data can be read"))
}

fn check(archive: &str, expected: &Value, answer: &Answer) {
    // Where the readers disagree, this says who is right.
    let why = expected["why"].as_str().map(|why| format!(" ({why})")).unwrap_or_default();
    let mut found = objects(answer);
    let plain = plain_tar(archive);
    for member in &mut found {
        assert_eq!(member.remove("archive"), Some(json!(url(archive))), "{archive}");
        let offset = member.remove("data_offset").and_then(|offset| offset.as_u64()).expect("an offset");
        // The stored bytes of a sparse file are not its content.
        if let Some(plain) = &plain
            && member["type"] == "file"
            && !archive.starts_with("gnu/sparse-")
        {
            let size = member["size"].as_u64().expect("a size");
            let [start, end] = [offset, offset + size].map(|at| usize::try_from(at).expect("a small archive"));
            assert_eq!(member["sha256"], sha256(&plain[start..end]), "{archive}: {}: data_offset", member["path"]);
        }
        // What the listing does not say is NULL.
        if member["pax"].is_null() {
            member.remove("pax");
        }
    }
    assert_eq!(json!(found), expected["members"], "{archive}{why}");
    let warnings: Vec<_> = answer.incidents().iter().map(|incident| (incident.warning, incident.kind)).collect();
    let expected = expected["warnings"].as_array().cloned().unwrap_or_default();
    let expected: Vec<_> = expected.iter().map(|kind| (true, kind.as_str().expect("a word"))).collect();
    assert_eq!(warnings, expected, "{archive}{why}");
    assert_eq!(answer.run.scan.members_scanned, found.len() as u64, "{archive}");
    assert_eq!((answer.run.scan.errors, answer.run.completeness), (0, Some(1.0)), "{archive}");
}

#[tokio::test]
async fn members_are_what_tarfile_and_gnu_tar_say() {
    let session = Session::new();
    let archives = archives();
    assert!(archives.len() > 60, "expected.json has all archives");
    for (archive, expected) in &archives {
        let answer = session.ok(&from(archive, &format!("{HEADER}, content"))).await;
        check(archive, expected, &answer);
    }
}

#[tokio::test]
async fn every_batch_size_and_projection_gives_the_same_rows() {
    let default = Session::new();
    // Batches that the engine deals round robin would come back in another order.
    let engine = SessionConfig::new().with_round_robin_repartition(false);
    let small = [1, 2, 7].map(|rows| Session::with(engine.clone().with_batch_size(rows)));
    for (archive, expected) in &archives() {
        let members = expected["members"].as_array().expect("a list of members");
        for session in &small {
            let answer = session.ok(&from(archive, &format!("{HEADER}, content"))).await;
            check(archive, expected, &answer);
            let rows_max = session.ctx.copied_config().batch_size();
            assert!(answer.batches.iter().all(|batch| batch.num_rows() <= rows_max), "{archive}");
        }
        for (columns, keys) in [
            ("path, size", &["path", "size"][..]),
            ("content", &["sha256"]),
            ("content, type, path", &["path", "sha256", "type"]),
            ("linkname, linkname AS again", &["linkname", "again"]),
        ] {
            let answer = default.ok(&from(archive, columns)).await;
            let expected = members.iter().map(|member| pick(member, keys));
            assert_eq!(json!(objects(&answer)), json!(expected.collect::<Vec<_>>()), "{archive}: {columns}");
        }
        assert_eq!(default.rows(&from(archive, "count(*)")).await, [members.len().to_string()], "{archive}");
    }
}

fn pick(member: &Value, keys: &[&str]) -> Value {
    let value = |key: &&str| ((*key).to_owned(), member[if *key == "again" { "linkname" } else { *key }].clone());
    Value::Object(keys.iter().map(value).collect())
}

/// Whether a member of `expected.json` stays.
type Keeps = fn(&Value) -> bool;

#[tokio::test]
async fn filters_choose_the_same_members_with_and_without_content() {
    let session = Session::new();
    let filters: [(&str, Keeps); 4] = [
        ("type = 'file'", |member| member["type"] == "file"),
        ("size > 100", |member| member["size"].as_i64() > Some(100)),
        ("path LIKE '%.txt' AND mode = 420", |member| {
            member["path"].as_str().is_some_and(|path| path.ends_with(".txt")) && member["mode"] == 420
        }),
        ("linkname IS NOT NULL OR uname IS NULL", |member| !member["linkname"].is_null() || member["uname"].is_null()),
    ];
    for (archive, expected) in &archives() {
        let members = expected["members"].as_array().expect("a list of members");
        for (filter, keeps) in filters {
            for (columns, keys) in [("path", &["path"][..]), ("path, content", &["path", "sha256"])] {
                let answer = session.ok(&format!("{} WHERE {filter}", from(archive, columns))).await;
                let expected: Vec<_> =
                    members.iter().filter(|member| keeps(member)).map(|member| pick(member, keys)).collect();
                assert_eq!(json!(objects(&answer)), json!(expected), "{archive}: {columns} WHERE {filter}");
            }
        }
    }
}

#[tokio::test]
async fn all_archives_of_a_glob_at_once() {
    let session = Session::new();
    let answer = session.ok(&from("gnu/*.tar", "archive, path")).await;
    let mut expected: Vec<String> = archives()
        .iter()
        .filter(|(archive, _)| archive.starts_with("gnu/"))
        .flat_map(|(archive, listing)| {
            let members = listing["members"].as_array().expect("a list of members").clone();
            members
                .into_iter()
                .map(move |member| format!("{}|{}", url(archive), member["path"].as_str().expect("a path")))
        })
        .collect();
    expected.sort();
    assert_eq!(answer.sorted(), expected);
}

#[tokio::test]
async fn a_compression_that_is_said_is_believed() {
    let session = Session::new();
    let paths = |archive: &str, compression: &str| {
        let archive = testdata(archive).display().to_string();
        format!("SELECT path FROM read_tar('{archive}', archive_compression = '{compression}')")
    };
    for (archive, compression) in [
        ("compressed/plain.tar", "none"),
        ("compressed/lies.tar", "gzip"),
        ("compressed/lies.tar.gz", "none"),
        ("compressed/lies.txt", "zstd"),
        ("compressed/no-extension", "bzip2"),
        ("compressed/xz-streams.tar.xz", "xz"),
        ("compressed/lz4-frames.tar.lz4", "LZ4"),
        ("compressed/zstd.tar.zst", "auto"),
    ] {
        let rows = session.rows(&paths(archive, compression)).await;
        assert_eq!(rows, ["one.txt", "two.bin", "three.txt"], "{archive} as {compression}");
    }
    for (archive, compression, kind) in
        [("compressed/gzip.tar.gz", "zstd", "compression"), ("compressed/gzip.tar.gz", "none", "archive")]
    {
        let failure = session.error(&paths(archive, compression)).await;
        assert_eq!((failure.kind, failure.archive), (kind, Some(url(archive))), "{archive} as {compression}");
    }
}

#[tokio::test]
async fn names_of_archives_are_taken_as_they_are() {
    let session = Session::new();
    let dir = weird_names();
    let mut urls = Vec::new();
    for path in WEIRD_NAMES.iter().flat_map(|name| [dir.path().join(name), dir.path().join(".2022-06-27").join(name)]) {
        let locator = path.display().to_string().replace('\'', "''");
        let rows = session.rows(&format!("SELECT archive, path FROM read_tar('{locator}')")).await;
        let archive = file_url(&path);
        assert_eq!(rows, ["one.txt", "two.bin", "three.txt"].map(|member| format!("{archive}|{member}")), "{locator}");
        // The URL in the column is a locator of the same archive.
        let again =
            session.rows(&format!("SELECT DISTINCT archive FROM read_tar('{}')", archive.replace('\'', "''"))).await;
        assert_eq!(again, [archive.as_str()]);
        urls.push(archive);
    }
    urls.sort();
    let glob = format!("SELECT DISTINCT archive FROM read_tar('{}/**/*.tar')", dir.path().display());
    assert_eq!(session.ok(&glob).await.sorted(), urls);
}

#[tokio::test]
async fn a_sparse_bomb_is_a_row_but_no_value() {
    let session = Session::new();
    let mut builder = tar::Builder::new(Vec::new());
    let records = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "bomb"),
        ("GNU.sparse.realsize", "8589934592"),
    ];
    builder.append_pax_extensions(records.map(|(key, value)| (key, value.as_bytes()))).expect("a header");
    let mut map = [0; 512];
    map[..2].copy_from_slice(b"0\n");
    let mut header = tar::Header::new_ustar();
    header.set_size(map.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "GNUSparseFile.0/bomb", map.as_slice()).expect("a member");
    session.bucket("mem", [("bomb.tar", builder.into_inner().expect("memory can be written to"))]).await;
    assert_eq!(session.rows("SELECT path, size FROM read_tar('s3://mem/bomb.tar')").await, ["bomb|8589934592"]);
    for (column, options) in [("content", ""), ("text", ", format = 'text'")] {
        let says = ["s3://mem/bomb.tar: member 'bomb'", "bytes don't fit one value"];
        let query = |policy| format!("SELECT {column} FROM read_tar('s3://mem/bomb.tar'{options}{policy})");
        let failure = session.error(&query("")).await;
        assert_eq!(failure.kind, "limit", "{}", failure.text);
        failure.says(&says);
        let answer = session.ok(&query(", on_error = 'skip'")).await;
        let incidents = answer.incidents();
        assert_eq!((answer.row_count(), incidents.len()), (0, 1), "{column}");
        assert_eq!(incidents[0].kind, "limit");
        says.iter().for_each(|text| assert!(incidents[0].message.contains(text), "{}", incidents[0].message));
    }
}
