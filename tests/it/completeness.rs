//! Promise 1: for every archive that is read to its end, headers, content read, content skipped, padding and trailer add up
//! to its length. The lengths and sizes that they are compared with come from the file system and from other readers.

use std::fs;

use tarsql::Stats;

use crate::archive::{BLOCK_LEN, WRAPPINGS, tar};
use crate::session::{Answer, Session};
use crate::testdata::{json, testdata};

/// Scans that skip all content, read all of it, or read some.
const SCANS: [(&str, &str); 5] = [
    ("path", ""),
    ("path, content", ""),
    ("path, text", ", format = 'text', on_invalid_utf8 = 'replace'"),
    ("line", ", format = 'lines', on_invalid_utf8 = 'replace'"),
    ("path, content", " :: *a*"),
];

/// Bytes of the members of an archive, as other readers have them.
#[derive(Clone, Copy)]
struct Sizes {
    files: u64,
    /// Members that are no files, and so have no content that could be asked for.
    others: u64,
}

/// An archive in `testdata/`, and its sizes; none where they are not what it stores, or are disputed.
fn archives() -> Vec<(String, Option<Sizes>)> {
    let expected = json("expected.json");
    let disputed = expected["disputed"].as_array().expect("archives");
    let mut archives = Vec::new();
    for (archive, facts) in expected["archives"].as_object().expect("archives by name") {
        let members = facts["members"].as_array().map(Vec::as_slice).unwrap_or_default();
        let sum = |is_file: bool| {
            let chosen = members.iter().filter(|member| (member["type"] == "file") == is_file);
            chosen.map(|member| member["size"].as_u64().expect("a size")).sum()
        };
        let sizes = Sizes { files: sum(true), others: sum(false) };
        let is_disputed = disputed.iter().any(|name| name == archive);
        archives.push((archive.clone(), (!is_disputed && !archive.contains("sparse")).then_some(sizes)));
    }
    assert!(archives.len() > 100, "{} archives", archives.len());
    archives
}

fn query(archive: &str, columns: &str, options: &str) -> String {
    let (members, options) = match options.strip_prefix(" :: ") {
        Some(_) => (options, ""),
        None => ("", options),
    };
    format!("SELECT {columns} FROM read_tar('{}{members}'{options})", testdata(archive).display())
}

/// A counter of the one scan.
fn count(answer: &Answer, counter: impl Fn(&Stats) -> &tarsql::Count) -> u64 {
    answer.count(|stats| counter(stats).value())
}

#[tokio::test]
async fn the_bytes_of_every_archive_add_up() {
    let session = Session::new();
    let mut compared = 0;
    for (archive, sizes) in archives() {
        for (columns, options) in SCANS {
            let sql = query(&archive, columns, options);
            // Compressed members that are no such, say, are another test's; this one is about archives.
            let Ok(answer) = session.sql(&sql).await else {
                assert!(columns != "path" && !columns.contains("content"), "{sql} can't be read");
                continue;
            };
            assert_eq!(answer.run.completeness, Some(1.0), "{sql}");
            assert_eq!((answer.run.unfinished_archives, answer.run.scan.errors), (0, 0), "{sql}");
            let length = count(&answer, |stats| &stats.length_bytes);
            assert_eq!(answer.count(Stats::tar_bytes), length, "{sql}");
            let is_plain = count(&answer, |stats| &stats.bytes_decompressed) == 0;
            if is_plain {
                let file = fs::metadata(testdata(&archive)).expect("it is there").len();
                assert_eq!(length, file, "{sql}: the length of the file");
            }
            let (read, skipped) =
                (count(&answer, |stats| &stats.content_bytes), count(&answer, |stats| &stats.skipped_bytes));
            let Some(Sizes { files, others }) = sizes else { continue };
            assert_eq!(read + skipped, files + others, "{sql}: the sizes of its members");
            match (columns, options) {
                ("path", _) => assert_eq!(read, 0, "{sql}"),
                ("path, content", "") => assert_eq!(skipped, others, "{sql}"),
                _ => {}
            }
            compared += 1;
        }
    }
    assert!(compared > 300, "{compared} scans");
}

#[tokio::test]
async fn each_part_is_what_was_written() {
    let session = Session::new();
    let (large, small) = ("x".repeat(3_000), "y".repeat(10));
    let archive = tar([("large", &large), ("small", &small), ("empty", &String::new())]);
    for (name, wrap) in WRAPPINGS {
        session.bucket("parts", [("a", wrap(&archive))]).await;
        for (members, read, skipped) in [("*", 3_010, 0), ("small", 10, 3_000), ("none", 0, 3_010)] {
            let sql = format!("SELECT path, content FROM read_tar('s3://parts/a :: {members}')");
            let answer = session.ok(&sql).await;
            let parts = [
                count(&answer, |stats| &stats.header_bytes),
                count(&answer, |stats| &stats.content_bytes),
                count(&answer, |stats| &stats.skipped_bytes),
                count(&answer, |stats| &stats.padding_bytes),
                count(&answer, |stats| &stats.trailer_bytes),
            ];
            let block = BLOCK_LEN as u64;
            assert_eq!(parts, [3 * block, read, skipped, 72 + 502, 2 * block], "{name}: {sql}");
            assert_eq!(count(&answer, |stats| &stats.length_bytes), archive.len() as u64, "{name}: {sql}");
        }
    }
}

#[tokio::test]
async fn a_limit_ends_a_scan_before_it_can_say() {
    let session = Session::new();
    let archive = |number: u32| (format!("{number}.tar"), tar((0..500).map(|file| (format!("{file}"), "x"))));
    session.bucket("many", (0..3).map(archive)).await;
    session.ok("SET tarsql.max_partitions = 1").await;
    let answer = session.ok("SELECT path FROM read_tar('s3://many/*.tar') LIMIT 1").await;
    assert_eq!((answer.run.completeness, answer.run.unfinished_archives), (None, 3));
    // A LIMIT that is not reached ends nothing.
    let answer = session.ok("SELECT path FROM read_tar('s3://many/*.tar') LIMIT 1501").await;
    assert_eq!((answer.run.completeness, answer.run.unfinished_archives), (Some(1.0), 0));
    // EXPLAIN ANALYZE has the parts.
    let plan = session.rows("EXPLAIN ANALYZE SELECT path FROM read_tar('s3://many/*.tar')").await.join("\n");
    for counter in
        ["archives_opened=3", "archives_finished=3", "header_bytes=", "skipped_bytes=1.50 K", "trailer_bytes="]
    {
        assert!(plan.contains(counter), "{counter} is missing: {plan}");
    }
}
