//! Archives that are cut off, flipped or no archives at all: an error with its place, or a counted skip, but never
//! fewer rows in silence.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use datafusion::physical_plan::collect;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use serde_json::Value;
use tarsql::metrics::RunReport;

use crate::archive::{BLOCK_LEN, WRAPPINGS, tar};
use crate::session::{Answer, Failure, Session, url};
use crate::testdata::{json, testdata};

/// Scans that look at headers alone, at contents, and at records.
const SCANS: [(&str, &str); 5] = [
    ("path, size", ""),
    ("path, content", ""),
    ("path, text", ", format = 'text', on_invalid_utf8 = 'replace'"),
    ("path, line", ", format = 'lines', on_invalid_utf8 = 'replace'"),
    (
        "_path, a",
        ", format = 'csv', columns = 'a VARCHAR', has_header = false, provenance = true, \
                   on_bad_row = 'skip', on_invalid_utf8 = 'replace'",
    ),
];

/// The member that the error has to name, where the damage is inside one.
const MEMBERS: [(&str, &str); 4] = [
    ("damaged/cut-in-body.tar", "b.txt"),
    ("damaged/cut-in-padding.tar", "b.txt"),
    ("damaged/huge-size.tar", "c.txt"),
    ("damaged/member-gzip.tar", "bad.csv.gz"),
];

fn damaged() -> Vec<(String, Value)> {
    let all = json("expected.json")["damaged"].as_object().expect("a map of archives").clone();
    assert!(all.len() > 20, "expected.json has all archives");
    all.into_iter().collect()
}

/// Whether a scan of these columns meets the damage: content that is damaged under a whole header shows only where it
/// is decompressed.
fn meets(archive: &str, columns: &str) -> bool {
    archive != "damaged/member-gzip.tar" || !matches!(columns, "path, size" | "path, content")
}

fn query(archive: &str, columns: &str, options: &str) -> String {
    format!("SELECT {columns} FROM read_tar('{}'{options})", testdata(archive).display())
}

#[tokio::test]
async fn damage_is_an_error_with_its_place() {
    let session = Session::new();
    for (archive, expected) in damaged() {
        for (columns, options) in SCANS {
            let sql = query(&archive, columns, options);
            if !meets(&archive, columns) {
                session.ok(&sql).await;
                continue;
            }
            let failure = session.error(&sql).await;
            assert_eq!(failure.kind, expected["kind"], "{sql}: {}", failure.text);
            assert_eq!(failure.archive, Some(url(&archive)), "{sql}: {}", failure.text);
            failure.says(&[&url(&archive)]);
            if let Some(offset) = expected["offset"].as_u64() {
                assert_eq!(failure.offset, Some(offset), "{sql}: {}", failure.text);
            }
            if let Some((_, member)) = MEMBERS.iter().find(|(name, _)| *name == archive) {
                assert_eq!(failure.member.as_deref(), Some(*member), "{sql}: {}", failure.text);
            }
        }
    }
}

#[tokio::test]
async fn damage_can_be_skipped_but_not_in_silence() {
    let session = Session::new();
    for (archive, expected) in damaged() {
        for (columns, options) in SCANS {
            let sql = query(&archive, columns, &format!("{options}, on_error = 'skip'"));
            let answer = session.ok(&sql).await;
            let incidents = answer.incidents();
            if !meets(&archive, columns) {
                assert!(incidents.is_empty(), "{sql}: {incidents:?}");
                continue;
            }
            let [incident] = incidents.as_slice() else { panic!("{sql}: one incident, not {incidents:?}") };
            assert_eq!((incident.warning, incident.kind), (false, expected["kind"].as_str().unwrap()), "{sql}");
            assert_eq!(incident.archive, url(&archive), "{sql}");
            assert!(incident.message.starts_with(&url(&archive)), "{sql}: {}", incident.message);
            assert_eq!((answer.run.scan.errors, answer.run.listing.files), (1, 1), "{sql}");
            check_completeness(&sql, &answer);
            let whole = usize::try_from(expected["whole_members"].as_u64().unwrap()).unwrap();
            let damaged_inside = usize::from(archive == "damaged/member-gzip.tar");
            if columns != "_path, a" && columns != "path, line" {
                let rows = answer.row_count();
                assert!(rows + damaged_inside >= whole, "{sql}: {rows} rows, {whole} whole members");
            }
        }
    }
}

/// What was skipped is not complete, and all the rest is accounted for.
fn check_completeness(sql: &str, answer: &Answer) {
    let completeness = answer.run.completeness;
    assert!(completeness.is_none_or(|share| (0.0..=1.0).contains(&share)), "{sql}: {completeness:?}");
    let given_up = answer.count(|stats| stats.archives_skipped.value());
    let finished = answer.count(|stats| stats.archives_finished.value());
    assert_eq!(given_up + finished, 1, "{sql}");
}

#[tokio::test]
async fn what_is_not_there_when_it_is_listed_can_be_skipped() {
    let session = Session::new();
    let there = url("python/many.tar");
    let (lost, lost_too) = (url("python/lost.tar"), url("python/lost-too.tar"));
    for (locators, rows, skipped) in [
        (vec![&there, &lost], 120, vec![&lost]),
        (vec![&lost, &there, &lost_too], 120, vec![&lost, &lost_too]),
        (vec![&lost], 0, vec![&lost]),
    ] {
        let locators: Vec<String> = locators.into_iter().map(|locator| format!("'{locator}'")).collect();
        let query = |policy| format!("SELECT path FROM read_tar([{}]{policy})", locators.join(", "));
        assert_eq!(session.error(&query("")).await.kind, "unreachable");
        let answer = session.ok(&query(", on_unreachable = 'skip'")).await;
        let incidents = answer.incidents();
        let named: Vec<&str> = incidents.iter().map(|incident| incident.archive.as_str()).collect();
        assert_eq!(
            (answer.row_count(), named),
            (rows, skipped.into_iter().map(String::as_str).collect()),
            "{locators:?}"
        );
        assert_eq!(answer.count(|stats| stats.errors.value()), incidents.len() as u64, "{locators:?}");
    }
    // A pattern that matches nothing is a mistake, not an archive that is gone.
    let pattern = session.error("SELECT * FROM read_tar('testdata/python/lost*.tar', on_unreachable = 'skip')").await;
    assert_eq!(pattern.kind, "locator");
}

#[tokio::test]
async fn completeness_says_how_much_was_left_out() {
    let session = Session::new();
    for (archive, read, length) in [
        // 1024 bytes of a.txt; then a header that is none.
        ("damaged/bad-checksum.tar", 1024.0, 8704.0),
        ("damaged/bad-size.tar", 6656.0, 8704.0),
        ("damaged/text-in-middle.tar", 1024.0, 3584.0),
    ] {
        let answer = session.ok(&query(archive, "path", ", on_error = 'skip'")).await;
        assert_eq!(answer.run.completeness, Some(read / length), "{archive}");
    }
}

#[tokio::test]
async fn a_damaged_archive_does_not_touch_its_neighbours() {
    let session = Session::new();
    let whole = tar([("a.txt", "a\n"), ("b.txt", "b\n")]);
    let objects = [("x/1.tar", whole.clone()), ("x/2.tar", whole[..700].to_vec()), ("x/3.tar", whole)];
    session.bucket("mem", objects).await;
    let answer = session.ok("SELECT archive, path FROM read_tar('s3://mem/x/*.tar', on_error = 'skip')").await;
    let paths = |archive: u8| ["a.txt", "b.txt"].map(|path| format!("s3://mem/x/{archive}.tar|{path}"));
    let expected = [&paths(1)[..], &paths(2)[..1], &paths(3)].concat();
    assert_eq!(answer.sorted(), expected);
    assert_eq!((answer.run.scan.errors, answer.run.listing.files), (1, 3));
    session.error("SELECT archive, path FROM read_tar('s3://mem/x/*.tar')").await.says(&["s3://mem/x/2.tar"]);
}

#[tokio::test]
async fn a_damaged_member_leaves_the_others() {
    let session = Session::new();
    let sql = "columns = 'a BIGINT, b BIGINT', provenance = true, on_error = 'skip'";
    let answer =
        session.ok(&query("damaged/member-gzip.tar", "_path, _row, a, b", &format!(", format = 'csv', {sql}"))).await;
    let rows = answer.rows();
    assert_eq!(rows.first().map(String::as_str), Some("ok.csv|1|1|2"));
    assert_eq!(rows.last().map(String::as_str), Some("z.csv|1|5|6"));
    // What was decompressed before the damage showed is whole records; a cut one never comes out.
    let inner = &rows[1..rows.len() - 1];
    for (index, row) in inner.iter().enumerate() {
        assert_eq!(*row, format!("bad.csv.gz|{}|3|4", index + 1));
    }
    assert!(inner.len() <= 5000, "{} rows of 5000", inner.len());
    assert_eq!((answer.run.scan.errors, answer.run.completeness), (1, Some(1.0)));
    let incidents = answer.incidents();
    assert_eq!(incidents.iter().map(|incident| incident.member.as_deref()).collect::<Vec<_>>(), [Some("bad.csv.gz")]);
}

#[tokio::test]
async fn a_damaged_avro_container_keeps_its_whole_blocks() {
    let session = Session::new();
    let archive = "opensky/states/.2022-06-27/03/states_2022-06-27-03.avro.tar";
    let mut bytes = std::fs::read(testdata(archive)).expect("test data can be read");
    // Deflate has no checksum, but each block ends with a marker of the container's own: see testdata/records.py.
    let marker: Vec<u8> = (0..16).collect();
    let markers: Vec<usize> = memchr::memmem::find_iter(&bytes, &marker).collect();
    bytes[markers[markers.len() / 2]] ^= 0x10;
    session.bucket("avro", [("x.tar", bytes)]).await;
    let failure = session.error("SELECT time FROM read_tar('s3://avro/x.tar :: *.avro', format = 'avro')").await;
    assert!(matches!(failure.kind, "member" | "compression"), "{}", failure.text);
    failure.says(&["s3://avro/x.tar: member 'states_2022-06-27-03.avro' at offset "]);
    let sql = "SELECT time FROM read_tar('s3://avro/x.tar :: *.avro', format = 'avro', on_error = 'skip')";
    let answer = session.ok(sql).await;
    assert!((100..1100).contains(&answer.row_count()), "{} rows of 1100", answer.row_count());
    assert_eq!((answer.run.scan.errors, answer.run.completeness), (1, Some(1.0)));
}

/// Lists, lets `change` have the store, and reads.
async fn listed_then(change: impl AsyncFn(&InMemory), options: &str) -> Result<Answer, Failure> {
    let session = Session::new();
    let archives = (1..=3).map(|number| (format!("{number}.tar"), tar([(format!("{number}.txt"), "old\n")])));
    let store = session.bucket("mem", archives).await;
    let sql = format!("SELECT path, content FROM read_tar('s3://mem/*.tar'{options})");
    let plan = session.ctx.sql(&sql).await.expect("a query").create_physical_plan().await.expect("a plan");
    change(&store).await;
    let batches = collect(Arc::clone(&plan), session.ctx.task_ctx()).await;
    let batches = batches.map_err(|error| Failure::of(&error).expect("an error of ours"))?;
    let mut run = RunReport::new(sql);
    tarsql::measure(&plan, Instant::now(), &mut run);
    Ok(Answer { batches, plan, run })
}

#[tokio::test]
async fn an_archive_that_goes_away_after_listing() {
    let remove = async |store: &InMemory| store.delete(&Key::from("2.tar")).await.expect("it is there");
    let failure = listed_then(remove, ", on_error = 'skip'").await.expect_err("it is gone");
    assert_eq!((failure.kind, failure.archive.as_deref()), ("unreachable", Some("s3://mem/2.tar")), "{}", failure.text);
    let answer = listed_then(remove, ", on_unreachable = 'skip'").await.expect("two of three");
    assert_eq!(answer.sorted(), ["1.txt|6f6c640a", "3.txt|6f6c640a"]);
    assert_eq!((answer.run.scan.errors, answer.count(|stats| stats.archives_skipped.value())), (1, 1));
    let incidents = answer.incidents();
    assert_eq!(
        incidents.iter().map(|incident| (incident.kind, incident.archive.as_str())).collect::<Vec<_>>(),
        [("unreachable", "s3://mem/2.tar")]
    );
}

#[tokio::test]
async fn an_archive_that_is_replaced_after_listing() {
    let replace = async |store: &InMemory| {
        store.put(&Key::from("2.tar"), tar([("2.txt", "new\n")]).into()).await.expect("memory takes it");
    };
    // Whatever may be skipped: it is neither damaged nor out of reach.
    for options in ["", ", on_error = 'skip', on_unreachable = 'skip'"] {
        let failure = listed_then(replace, options).await.expect_err("it is another one");
        assert_eq!((failure.kind, failure.archive.as_deref()), ("changed", Some("s3://mem/2.tar")), "{}", failure.text);
    }
}

/// Files whose truncation is tried, and the lines in them.
const FILES: [(&str, &str); 4] =
    [("a.txt", "one\ntwo\n"), ("empty", ""), ("long.txt", LONG), ("last.txt", "the last line has no end")];

const LONG: &str = "a line of some length, so that a cut falls into it\nand another one, for the next cut\n\
    the third line is here to bring the content past one block of the archive, which has 512 bytes\n\
    0123456789abcdefghijklmnopqrstuvwxyz\n\
    what is cut must never come out as if it were whole: neither this line nor its member may look complete\n\
    ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~\n\
    five hundred and twelve bytes are gone by now, and the second block of this member has begun\n";

/// Objects that one query reads: fewer than the incidents that a report keeps.
const CUTS_PER_QUERY: usize = 500;

/// Rows in order, and incidents (warning, kind), of one archive.
type Found = (Vec<String>, Vec<(bool, &'static str)>);

/// Every beginning of `whole`, read by one scan: what came of it, by its length.
async fn read_cuts(session: &Session, name: &str, whole: &Bytes, scan: (&str, &str)) -> BTreeMap<usize, Found> {
    let mut found: BTreeMap<usize, Found> = (1..=whole.len()).map(|cut| (cut, Found::default())).collect();
    for first in (1..=whole.len()).step_by(CUTS_PER_QUERY) {
        let cuts = first..(first + CUTS_PER_QUERY).min(whole.len() + 1);
        session.bucket("cuts", cuts.map(|cut| (format!("{name}/{cut}"), whole.slice(..cut)))).await;
        let (columns, options) = scan;
        let sql = format!("SELECT archive, {columns} FROM read_tar('s3://cuts/{name}/*'{options}, on_error = 'skip')");
        let answer = session.ok(&sql).await;
        let cut_of = |archive: &str| archive.rsplit('/').next().and_then(|cut| cut.parse().ok()).expect("a length");
        for row in answer.rows() {
            let (archive, row) = row.split_once('|').expect("two columns");
            found.entry(cut_of(archive)).or_default().0.push(row.to_owned());
        }
        let incidents = answer.incidents();
        let errors = incidents.iter().filter(|incident| !incident.warning).count();
        assert_eq!(answer.run.scan.errors, errors as u64, "{sql}");
        for incident in incidents {
            found.entry(cut_of(&incident.archive)).or_default().1.push((incident.warning, incident.kind));
        }
    }
    found
}

/// Where each member's header, content and padding end in the plain tar.
fn ends() -> Vec<[usize; 3]> {
    let mut position = 0;
    let end = |(_, content): &(&str, &str)| {
        let (header, content) = (position + BLOCK_LEN, position + BLOCK_LEN + content.len());
        position = content.next_multiple_of(BLOCK_LEN);
        [header, content, position]
    };
    FILES.iter().map(end).collect()
}

/// Rows of members by how many of them are there.
fn rows_of(columns: &str, members: usize) -> Vec<String> {
    let rows = |(path, content): &(&str, &str)| match columns {
        "path, line" => content.lines().map(|line| format!("{path}|{line}")).collect(),
        _ => vec![(*path).to_owned()],
    };
    FILES[..members].iter().flat_map(rows).collect()
}

#[tokio::test]
async fn a_cut_at_any_byte_is_told() {
    let session = Session::new();
    let plain = tar(FILES);
    let ends = ends();
    let members_end = ends[FILES.len() - 1][2];
    assert_eq!(plain.len(), members_end + 2 * BLOCK_LEN, "our idea of a tar is the writer's");
    // By headers, by content, by records.
    let scans = [("path", ""), ("path", ", format = 'text'"), ("path, line", ", format = 'lines'")];
    for (name, wrap) in WRAPPINGS {
        let whole = Bytes::from(wrap(&plain));
        for scan in scans {
            let all = rows_of(scan.0, FILES.len());
            for (cut, (rows, incidents)) in read_cuts(&session, name, &whole, scan).await {
                let what = format!("the first {cut} of {} bytes of .{name}, {scan:?}: {incidents:?}", whole.len());
                assert!(all.starts_with(&rows), "{what}: a cut record or another one came out: {rows:?}");
                if cut == whole.len() {
                    assert_eq!((rows, incidents), (all.clone(), vec![]), "{what}");
                    continue;
                }
                match incidents.as_slice() {
                    [(false, "archive" | "compression")] => assert!(cut < members_end + BLOCK_LEN, "{what}"),
                    [(true, "no_end_marker")] => {
                        let members = ends.iter().position(|[.., end]| *end == cut).expect(&what) + 1;
                        assert_eq!((name, rows.as_slice()), ("tar", &*rows_of(scan.0, members)), "{what}");
                    }
                    [] => {
                        // One zero block is an end.
                        assert!(name == "tar" && cut >= members_end + BLOCK_LEN, "{what}");
                        assert_eq!(rows, all, "{what}");
                    }
                    _ => panic!("{what}"),
                }
                if name == "tar" {
                    let whole_members = ends.iter().filter(|[.., end]| *end <= cut).count();
                    let expected = rows_of(scan.0, whole_members);
                    assert!(rows.starts_with(&expected), "{what}: {rows:?} lack some of {expected:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_cut_fails_the_query_unless_told_otherwise() {
    let session = Session::new();
    let plain = tar(FILES);
    for (name, wrap) in WRAPPINGS {
        let whole = Bytes::from(wrap(&plain));
        // Some cuts in front, in the middle and at the end; on a plain tar none that falls between two members.
        let cuts = [
            1,
            100,
            whole.len() / 3 + 1,
            whole.len() / 2 + 1,
            whole.len() - 1 - usize::from(name == "tar") * 2 * BLOCK_LEN,
        ];
        session.bucket("cuts", cuts.map(|cut| (format!("{name}/{cut}"), whole.slice(..cut)))).await;
        for cut in cuts {
            for scan in ["path", "path, content"] {
                let archive = format!("s3://cuts/{name}/{cut}");
                let failure = session.error(&format!("SELECT {scan} FROM read_tar('{archive}')")).await;
                assert!(matches!(failure.kind, "archive" | "compression"), "{scan}: {}", failure.text);
                assert_eq!(failure.archive, Some(archive), "{scan}: {}", failure.text);
            }
        }
    }
}
