//! What may go wrong in an archive, in every format: which policy lets it pass, which rows stay, how it is counted.
//!
//! Three archives of three members of three records each; the middle member of the middle archive has the fault. Each
//! case runs with no policy, with every policy but its own (it fails both times, the same way), and with its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use datafusion::physical_plan::collect;
use object_store::ObjectStoreExt;
use object_store::path::Path as Key;
use tarsql::metrics::RunReport;

use crate::archive::{BLOCK_LEN, gzip, tar};
use crate::program::Tarsql;
use crate::session::{Answer, Failure, Session};
use crate::testdata::testdata;

/// Formats, and how their tables are asked for.
const FORMATS: [(&str, &str); 7] = [
    ("members", ""),
    ("text", ""),
    ("lines", ""),
    ("csv", ", has_header = false"),
    ("tsv", ", has_header = false"),
    ("json", ""),
    ("avro", ""),
];

/// Every policy at its most lenient.
const LENIENT: [(&str, &str); 4] =
    [("on_error", "skip"), ("on_unreachable", "skip"), ("on_bad_row", "skip"), ("on_invalid_utf8", "replace")];

/// What is wrong with member `b` of archive 2, or with the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The header's checksum.
    Header,
    /// The archive ends in the second record.
    Cut,
    /// The archive is compressed, and its checksum is wrong.
    ArchiveChecksum,
    /// The member is compressed, and its checksum is wrong.
    MemberChecksum,
    /// A marker within the Avro container.
    Container,
    /// The list of JSON documents ends within the second.
    List,
    /// The second record has another number of fields, or is no JSON.
    Shape,
    /// A value of the second record is no number.
    Value,
    /// A text of the second record is not UTF-8.
    Text,
    /// A header that is larger than any limit.
    Limit,
    /// The archive has no byte.
    Empty,
    /// The archive goes away after it was listed.
    Gone,
    /// The archive is replaced after it was listed.
    Replaced,
}

/// How a fault shows in some formats.
struct Case {
    fault: Fault,
    formats: &'static [&'static str],
    kind: &'static str,
    /// The policies that let it pass, each for itself, and what is left of archive 2 then: members and their rows.
    passes: &'static [(&'static str, &'static str, &'static str)],
    counts: Counts,
    /// Member and offset of the one row of `tarsql_errors()`.
    listed: Option<(&'static str, Option<u64>)>,
    /// Whether the statement can say that it has read all bytes of what it looked at.
    is_complete: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counts {
    errors: u64,
    archives_skipped: u64,
    members_skipped: u64,
    bad_rows: u64,
}

const ARCHIVE: Counts = Counts { errors: 1, archives_skipped: 1, members_skipped: 0, bad_rows: 0 };
const MEMBER: Counts = Counts { errors: 1, archives_skipped: 0, members_skipped: 1, bad_rows: 0 };
const ROW: Counts = Counts { errors: 0, archives_skipped: 0, members_skipped: 0, bad_rows: 1 };
const NOTHING: Counts = Counts { errors: 0, archives_skipped: 0, members_skipped: 0, bad_rows: 0 };

const ALL: &[&str] = &["members", "text", "lines", "csv", "tsv", "json", "avro"];
const CELLS: &[&str] = &["members", "text"];
const ROWS: &[&str] = &["lines", "csv", "tsv", "json", "avro"];

/// Where the header of member `b` is.
const B: Option<u64> = Some(2 * BLOCK_LEN as u64);

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { fault: Fault::Header, formats: CELLS, kind: "archive", passes: &[("on_error", "skip", "a1")],
        counts: ARCHIVE, listed: Some(("NULL", B)), is_complete: false },
    Case { fault: Fault::Header, formats: ROWS, kind: "archive", passes: &[("on_error", "skip", "a3")],
        counts: ARCHIVE, listed: Some(("NULL", B)), is_complete: false },
    Case { fault: Fault::Cut, formats: CELLS, kind: "archive", passes: &[("on_error", "skip", "a1")],
        counts: ARCHIVE, listed: Some(("b", B)), is_complete: false },
    // Whole records in front of the cut stay; the cut one does not come out.
    Case { fault: Fault::Cut, formats: ROWS, kind: "archive", passes: &[("on_error", "skip", "a3 b1")],
        counts: ARCHIVE, listed: Some(("b", B)), is_complete: false },
    Case { fault: Fault::ArchiveChecksum, formats: CELLS, kind: "compression", passes: &[("on_error", "skip", "a1 b1 c1")],
        counts: ARCHIVE, listed: Some(("NULL", Some(4096))), is_complete: false },
    Case { fault: Fault::ArchiveChecksum, formats: ROWS, kind: "compression", passes: &[("on_error", "skip", "a3 b3 c3")],
        counts: ARCHIVE, listed: Some(("NULL", Some(4096))), is_complete: false },
    // A text is its member, so a damaged one is none; records that came before the checksum stay.
    Case { fault: Fault::MemberChecksum, formats: &["text"], kind: "compression", passes: &[("on_error", "skip", "a1 c1")],
        counts: MEMBER, listed: Some(("b", B)), is_complete: true },
    Case { fault: Fault::MemberChecksum, formats: ROWS, kind: "compression", passes: &[("on_error", "skip", "a3 b3 c3")],
        counts: MEMBER, listed: Some(("b", B)), is_complete: true },
    Case { fault: Fault::Container, formats: &["avro"], kind: "member", passes: &[("on_error", "skip", "a3 b1 c3")],
        counts: MEMBER, listed: Some(("b", B)), is_complete: true },
    Case { fault: Fault::List, formats: &["json"], kind: "record",
        passes: &[("on_bad_row", "skip", "a3 b1 c3"), ("on_bad_row", "null", "a3 b1 c3")],
        counts: ROW, listed: Some(("b", B)), is_complete: true },
    Case { fault: Fault::Shape, formats: &["csv", "tsv", "json"], kind: "record",
        passes: &[("on_bad_row", "skip", "a3 b2 c3"), ("on_bad_row", "null", "a3 b2 c3")],
        counts: ROW, listed: Some(("b", B)), is_complete: true },
    Case { fault: Fault::Value, formats: &["csv", "tsv", "json", "avro"], kind: "record",
        passes: &[("on_bad_row", "skip", "a3 b2 c3"), ("on_bad_row", "null", "a3 b3 c3")],
        counts: ROW, listed: Some(("b", B)), is_complete: true },
    Case { fault: Fault::Text, formats: &["text"], kind: "record",
        passes: &[("on_invalid_utf8", "replace", "a1 b1 c1"), ("on_invalid_utf8", "ignore", "a1 b1 c1"), ("on_invalid_utf8", "null", "a1 b1 c1")],
        counts: NOTHING, listed: None, is_complete: true },
    Case { fault: Fault::Text, formats: ROWS, kind: "record",
        passes: &[("on_invalid_utf8", "replace", "a3 b3 c3"), ("on_invalid_utf8", "ignore", "a3 b3 c3"), ("on_invalid_utf8", "null", "a3 b3 c3")],
        counts: NOTHING, listed: None, is_complete: true },
    Case { fault: Fault::Limit, formats: CELLS, kind: "limit", passes: &[("on_error", "skip", "a1")],
        counts: ARCHIVE, listed: Some(("NULL", B)), is_complete: false },
    Case { fault: Fault::Limit, formats: ROWS, kind: "limit", passes: &[("on_error", "skip", "a3")],
        counts: ARCHIVE, listed: Some(("NULL", B)), is_complete: false },
    // No byte of it is missing.
    Case { fault: Fault::Empty, formats: ALL, kind: "archive", passes: &[("on_error", "skip", "")],
        counts: ARCHIVE, listed: Some(("NULL", None)), is_complete: true },
    Case { fault: Fault::Gone, formats: ALL, kind: "unreachable", passes: &[("on_unreachable", "skip", "")],
        counts: ARCHIVE, listed: Some(("NULL", None)), is_complete: false },
    Case { fault: Fault::Replaced, formats: ALL, kind: "changed", passes: &[],
        counts: NOTHING, listed: None, is_complete: false },
];

/// Fields of one record: a number, a text, and a number as text.
type Fields<'a> = (u8, &'a [u8], &'a str);

const RECORDS: [Fields<'static>; 3] = [(1, b"x", "1"), (2, b"y", "2"), (3, b"z", "3")];

fn encode(format: &str, records: &[Fields<'_>]) -> Vec<u8> {
    if format == "avro" {
        return avro(records);
    }
    let mut content = Vec::new();
    for (a, b, c) in records {
        let (before, between, behind) = match format {
            "tsv" => (format!("{a}\t"), "\t", format!("{c}\n")),
            "json" => (format!("{{\"a\": {a}, \"b\": \""), "\", \"c\": ", format!("\"{c}\"}}\n")),
            _ => (format!("{a},"), ",", format!("{c}\n")),
        };
        content.extend([before.as_bytes(), b, between.as_bytes(), behind.as_bytes()].concat());
    }
    content
}

/// A container with a block a record.
fn avro(records: &[Fields<'_>]) -> Vec<u8> {
    let schema = r#"{"type":"record","name":"r","fields":[{"name":"a","type":"long"},{"name":"b","type":"string"},{"name":"c","type":"string"}]}"#;
    let mut container = b"Obj\x01\x02".to_vec();
    container.extend([text(b"avro.schema"), text(schema.as_bytes()), vec![0], SYNC.to_vec()].concat());
    for (a, b, c) in records {
        let record = [long(usize::from(*a)), text(b), text(c.as_bytes())].concat();
        container.extend([long(1), long(record.len()), record, SYNC.to_vec()].concat());
    }
    container
}

const SYNC: [u8; 16] = *b"a marker of ours";

/// Avro's variable-length number: seven bits a byte, the sign in the lowest.
fn long(number: usize) -> Vec<u8> {
    let (low, high) = (number << 1 & 0x7f, number >> 6);
    let low = u8::try_from(low).expect("seven bits");
    match u8::try_from(high).expect("small numbers only") {
        0 => vec![low],
        high => vec![low | 0x80, high],
    }
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [long(bytes.len()), bytes.to_vec()].concat()
}

/// Member `b` with the fault, where the fault is in its content.
fn faulty_content(fault: Fault, format: &str) -> Vec<u8> {
    let whole = encode(format, &RECORDS);
    let [first, second, third] = RECORDS;
    match fault {
        Fault::MemberChecksum => with_wrong_checksum(&whole),
        Fault::Container => {
            let mut container = whole;
            let marker = encode(format, &RECORDS[..2]).len() - 1;
            container[marker] ^= 1;
            container
        }
        Fault::List => b"[{\"a\": 1, \"b\": \"x\", \"c\": 1}, {\"a\": 2, \"b\"".to_vec(),
        Fault::Shape => {
            let broken: &[u8] = if format == "json" { b"{\"a\": 2,\n" } else { b"2\n" };
            [&encode(format, &[first]), broken, &encode(format, &[third])].concat()
        }
        Fault::Value => encode(format, &[first, (2, b"y", "two"), third]),
        Fault::Text => encode(format, &[first, (2, b"\xff", second.2), third]),
        _ => whole,
    }
}

fn with_wrong_checksum(bytes: &[u8]) -> Vec<u8> {
    let mut compressed = gzip(bytes);
    let checksum = compressed.len() - 8;
    compressed[checksum] ^= 1;
    compressed
}

fn faulty_archive(fault: Fault, format: &str) -> Vec<u8> {
    let whole = encode(format, &RECORDS);
    let mut archive = tar([("a", whole.clone()), ("b", faulty_content(fault, format)), ("c", whole)]);
    let header = 2 * BLOCK_LEN;
    match fault {
        Fault::Header => archive[header + 148] ^= 1,
        Fault::Cut => archive.truncate(header + BLOCK_LEN + encode(format, &RECORDS[..1]).len() + 4),
        Fault::ArchiveChecksum => archive = with_wrong_checksum(&archive),
        Fault::Limit => {
            let mut extension = tar::Header::new_ustar();
            extension.set_entry_type(tar::EntryType::XHeader);
            extension.set_size(1 << 40);
            extension.set_cksum();
            archive.splice(header..header, extension.as_bytes().iter().copied());
        }
        Fault::Empty => archive.clear(),
        _ => {}
    }
    archive
}

/// Puts the archives into `s3://policy`, plans, lets the fault happen, and reads.
async fn read(session: &Session, fault: Fault, format: &str, policies: &[(&str, &str)]) -> Result<Answer, Failure> {
    let whole = encode(format, &RECORDS);
    let whole = || tar(["a", "b", "c"].map(|member| (member, whole.clone())));
    let objects = [("1.tar", whole()), ("2.tar", faulty_archive(fault, format)), ("3.tar", whole())];
    let store = session.bucket("policy", objects).await;
    let sql = query(format, policies);
    let attempt = async {
        let plan = session.ctx.sql(&sql).await?.create_physical_plan().await?;
        match fault {
            Fault::Gone => store.delete(&Key::from("2.tar")).await?,
            Fault::Replaced => drop(store.put(&Key::from("2.tar"), whole().into()).await?),
            _ => {}
        }
        let batches = collect(Arc::clone(&plan), session.ctx.task_ctx()).await?;
        let mut run = RunReport::new(&sql);
        tarsql::measure(&plan, Instant::now(), &mut run);
        Ok(Answer { batches, plan, run })
    };
    attempt.await.map_err(|error| Failure::of(&error).unwrap_or_else(|| panic!("{sql}: {error:?}")))
}

fn query(format: &str, policies: &[(&str, &str)]) -> String {
    let (_, more) = FORMATS.iter().find(|(name, _)| *name == format).expect("a format");
    let is_record = !["members", "text", "lines"].contains(&format);
    let applies = |(name, _): &&(&str, &str)| match *name {
        "on_bad_row" => is_record,
        "on_invalid_utf8" => format != "members",
        _ => true,
    };
    let policies: String =
        policies.iter().filter(applies).map(|(name, value)| format!(", {name} = '{value}'")).collect();
    let (columns, records) = match format {
        "members" => ("archive, path, content", ""),
        "text" => ("archive, path, text", ""),
        "lines" => ("archive, path, line", ""),
        _ => ("_archive, _path, a, b, c", ", provenance = true, columns = 'a BIGINT, b VARCHAR, c BIGINT'"),
    };
    format!("SELECT {columns} FROM read_tar('s3://policy/*.tar', format = '{format}'{more}{records}{policies})")
}

/// For each archive its members, with the number of rows of each.
fn rows_of(answer: &Answer) -> [String; 3] {
    let mut counts: [BTreeMap<String, u64>; 3] = Default::default();
    for row in answer.rows() {
        let mut fields = row.split('|');
        let archive = fields.next().and_then(|url| url.strip_prefix("s3://policy/")?.get(..1)?.parse::<usize>().ok());
        let archive = archive.expect("an archive of ours");
        *counts[archive - 1].entry(fields.next().expect("a member").to_owned()).or_default() += 1;
    }
    counts.map(|members| members.iter().map(|(member, rows)| format!("{member}{rows}")).collect::<Vec<_>>().join(" "))
}

async fn fails(session: &Session, case: &Case, format: &str, policies: &[(&str, &str)]) {
    let how = format!("{:?} in {format}, {policies:?}", case.fault);
    let failure = match read(session, case.fault, format, policies).await {
        Ok(answer) => panic!("{how}: it should fail, but gives {:?}", rows_of(&answer)),
        Err(failure) => failure,
    };
    assert_eq!(failure.kind, case.kind, "{how}: {}", failure.text);
    assert_eq!(failure.archive.as_deref(), Some("s3://policy/2.tar"), "{how}: {}", failure.text);
    let listed = session.rows("SELECT archive, kind, message FROM tarsql_errors()").await;
    assert_eq!(listed, [format!("s3://policy/2.tar|{}|{}", case.kind, failure.text)], "{how}");
}

async fn passes(session: &Session, case: &Case, format: &str, policy: (&str, &str), rows: &str) {
    let how = format!("{:?} in {format}, {policy:?}", case.fault);
    let answer = match read(session, case.fault, format, &[policy]).await {
        Ok(answer) => answer,
        Err(failure) => panic!("{how}: it should pass: {}", failure.text),
    };
    let whole = if CELLS.contains(&format) { "a1 b1 c1" } else { "a3 b3 c3" };
    assert_eq!(rows_of(&answer), [whole, rows, whole], "{how}");
    let counts = Counts {
        errors: answer.run.scan.errors,
        archives_skipped: answer.count(|stats| stats.archives_skipped.value()),
        members_skipped: answer.run.scan.members_skipped,
        bad_rows: answer.run.scan.bad_rows,
    };
    assert_eq!(counts, case.counts, "{how}");
    let by_kind = if counts.errors > 0 { format!("1 {}", case.kind) } else { String::new() };
    assert_eq!(answer.run.skipped_kinds(), by_kind, "{how}");
    let listed = session.rows("SELECT archive, kind, member, \"offset\" FROM tarsql_errors()").await;
    let expected = case.listed.map(|(member, offset)| {
        let offset = offset.map_or_else(|| "NULL".to_owned(), |offset| offset.to_string());
        format!("s3://policy/2.tar|{}|{member}|{offset}", case.kind)
    });
    assert_eq!(listed, expected.into_iter().collect::<Vec<_>>(), "{how}");
    match (answer.run.completeness, case.is_complete) {
        (Some(1.0), true) => {}
        (Some(share), false) if share < 1.0 => {}
        (share, _) => panic!("{how}: completeness {share:?}"),
    }
}

#[tokio::test]
async fn every_fault_is_let_pass_by_its_own_policy_only() {
    let session = Session::new();
    for case in CASES {
        for format in case.formats {
            fails(&session, case, format, &[]).await;
            let own = case.passes.first().map(|(name, ..)| *name);
            let others: Vec<_> = LENIENT.into_iter().filter(|(name, _)| Some(*name) != own).collect();
            fails(&session, case, format, &others).await;
            for (name, value, rows) in case.passes {
                passes(&session, case, format, (name, value), rows).await;
            }
        }
    }
}

#[tokio::test]
async fn formats_that_do_not_look_do_not_see() {
    let session = Session::new();
    for (format, faults) in [
        ("members", &[Fault::MemberChecksum, Fault::Container, Fault::Shape, Fault::Value, Fault::Text][..]),
        ("text", &[Fault::Shape, Fault::Value]),
        ("lines", &[Fault::Shape, Fault::Value]),
    ] {
        for fault in faults {
            let answer = read(&session, *fault, format, &[]).await.unwrap_or_else(|failure| panic!("{}", failure.text));
            let rows = if format == "lines" { 27 } else { 9 };
            assert_eq!((answer.row_count(), answer.run.completeness), (rows, Some(1.0)), "{fault:?} in {format}");
            assert_eq!(
                session.rows("SELECT * FROM tarsql_errors()").await,
                Vec::<String>::new(),
                "{fault:?} in {format}"
            );
        }
    }
}

#[tokio::test]
async fn a_bad_record_in_front_of_damage_has_its_member() {
    let session = Session::new();
    // The last record that came whole is bad; it is looked at when the archive is given up.
    let csv = "1,x,1\n2,y,two\n3,z,3\n";
    for (format, content) in [("csv", csv), ("json", "{\"a\": 1}\n{\"a\": \"two\"}\n{\"a\": 3}\n")] {
        let mut archive = tar([("a", content)]);
        archive.truncate(BLOCK_LEN + content.len() - 4);
        session.bucket("policy", [("2.tar", archive)]).await;
        let failure = session.error(&query(format, &[("on_error", "skip")])).await;
        assert_eq!(
            (failure.kind, failure.member.as_deref(), failure.offset),
            ("record", Some("a"), Some(0)),
            "{format}"
        );
        failure.says(&["record 2", "on_bad_row = 'skip' or 'null' reads on"]);
        let answer = session.ok(&query(format, &[("on_error", "skip"), ("on_bad_row", "skip")])).await;
        assert_eq!((answer.row_count(), answer.run.scan.bad_rows, answer.run.scan.errors), (1, 1, 1), "{format}");
    }
}

#[tokio::test]
async fn apple_double_members_are_left_out_and_counted() {
    let session = Session::new();
    session.bucket("policy", [("1.tar", tar([("._a", "\0\x05\x16\x07"), ("a", "1,x,1\n"), ("d/._b", "?")]))]).await;
    let answer = session.ok(&query("csv", &[])).await;
    assert_eq!((answer.row_count(), answer.run.scan.members_skipped, answer.run.scan.errors), (1, 2, 0));
    assert_eq!(session.rows("SELECT * FROM tarsql_errors()").await, Vec::<String>::new());
}

#[test]
fn exit_statuses_say_what_was_let_pass() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let archive = |fault: Fault| {
        let file = dir.path().join(format!("{fault:?}.tar"));
        std::fs::write(&file, faulty_archive(fault, "csv")).expect("a file");
        file.display().to_string()
    };
    let csv = "format = 'csv', has_header = false, columns = 'a BIGINT, b VARCHAR, c BIGINT'";
    let gone = dir.path().join("gone.tar").display().to_string();
    let whole = testdata("python/many.tar").display().to_string();
    for (table, policies, status, says) in [
        (format!("'{}', {csv}", archive(Fault::Cut)), "", 1, "tarsql: "),
        (
            format!("'{}', {csv}", archive(Fault::Cut)),
            ", on_error = 'skip'",
            3,
            "left out, in whole or in part (1 archive)",
        ),
        (format!("'{}', {csv}", archive(Fault::MemberChecksum)), ", on_error = 'skip'", 3, "(1 compression)"),
        (
            format!("'{}', {csv}", archive(Fault::Shape)),
            ", on_error = 'skip', on_unreachable = 'skip'",
            1,
            "record 2 has 1 fields",
        ),
        (format!("'{}', {csv}", archive(Fault::Shape)), ", on_bad_row = 'skip'", 0, "1 row did not fit"),
        (format!("'{}', {csv}", archive(Fault::Value)), ", on_bad_row = 'null'", 0, "1 row did not fit"),
        (format!("'{}', {csv}", archive(Fault::Text)), ", on_invalid_utf8 = 'replace'", 0, ""),
        (format!("['{whole}', '{gone}']"), ", on_error = 'skip'", 1, "gone.tar"),
        (format!("['{whole}', '{gone}']"), ", on_unreachable = 'skip'", 3, "(1 unreachable)"),
    ] {
        for quiet in [&[][..], &["-q"]] {
            let sql = format!("SELECT * FROM read_tar({table}{policies})");
            let output = Tarsql::sql(&sql).args(quiet).run();
            assert_eq!(output.status, Some(status), "{sql}: {}", output.stderr);
            assert!(output.stderr.contains(says), "{sql}: '{says}' is missing: {}", output.stderr);
            assert_eq!(output.stderr.is_empty(), says.is_empty(), "{sql}: {}", output.stderr);
        }
    }
}
