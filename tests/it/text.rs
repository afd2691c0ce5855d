//! Members as text and as lines, the names that choose them, and bytes that are not UTF-8.

use crate::archive::{gzip, tar};
use crate::session::{Session, url};
use crate::testdata::testdata;

fn read(locator: &str, options: &str) -> String {
    format!("read_tar('{}', {options})", testdata(locator).display())
}

#[track_caller]
fn check(session: &Session, sql: &str, expected: &[&str]) -> impl Future<Output = ()> {
    let answer = session.ok(sql);
    async move {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(answer.await.sorted(), expected, "{sql}");
    }
}

#[tokio::test]
async fn text_is_a_row_a_file_and_lines_are_a_row_a_line() {
    let session = Session::new();
    let text = read("text/lines.tar", "format = 'text'");
    let texts = [
        r"unix.txt|14|one\ntwo\n\nfour\n",
        r"windows.txt|10|one\r\ntwo\r\n",
        r"no-newline.txt|7|one\ntwo",
        "empty.txt|0|",
        // Of the stored bytes, not of the text.
        r"packed.txt.gz|37|packed one\npacked two\n",
    ];
    check(&session, &format!("SELECT path, size, text FROM {text}"), &texts).await;
    // Whether the text is asked for or not, the rows are the same.
    let paths = ["unix.txt", "windows.txt", "no-newline.txt", "empty.txt", "packed.txt.gz"];
    check(&session, &format!("SELECT path FROM {text}"), &paths).await;
    check(&session, &format!("SELECT path FROM {text} WHERE text LIKE '%two%' AND size < 12"), &paths[1..3]).await;

    let lines = read("text/lines.tar", "format = 'lines'");
    let numbered = [
        "unix.txt|1|one",
        "unix.txt|2|two",
        "unix.txt|3|",
        "unix.txt|4|four",
        "windows.txt|1|one",
        "windows.txt|2|two",
        "no-newline.txt|1|one",
        "no-newline.txt|2|two",
        "packed.txt.gz|1|packed one",
        "packed.txt.gz|2|packed two",
    ];
    check(&session, &format!("SELECT path, line_number, line FROM {lines}"), &numbered).await;
    check(&session, &format!("SELECT count(*), sum(line_number) FROM {lines}"), &["10|19"]).await;
    check(
        &session,
        &format!("SELECT line FROM {lines} WHERE line_number = 2 AND mode = 420 AND line <> 'two'"),
        &["packed two"],
    )
    .await;
}

#[tokio::test]
async fn bytes_that_are_not_utf8() {
    let session = Session::new();
    let objects = [
        ("csv.tar", tar([("m.csv", &b"id,name\n1,caf\xe9 noir\n2,ok\n"[..])])),
        ("json.tar", tar([("m.json", &b"{\"id\":1,\"name\":\"caf\xe9 noir\"}\n{\"id\":2,\"name\":\"ok\"}\n"[..])])),
        ("gz.tar", tar([("m.csv.gz", gzip(b"id,name\n1,caf\xe9 noir\n2,ok\n"))])),
    ];
    session.bucket("latin1", objects).await;
    let records = |name: &str, format: &str| {
        (
            format!("read_tar('s3://latin1/{name}.tar', format = '{format}', columns = 'id BIGINT, name VARCHAR'"),
            "id, name",
            name.to_owned(),
        )
    };
    let old = |format: &str, columns: &'static str| {
        let table = format!("read_tar('{}', format = '{format}'", testdata("text/old.tar").display());
        (table, columns, "text/old".to_owned())
    };
    for ((table, columns, archive), replace, ignore, null) in [
        (
            old("text", "path, text"),
            &[r"latin1.txt|Z�rich\nGen�ve\n", r"utf8.txt|Zürich\nGenève\n"][..],
            &[r"latin1.txt|Zrich\nGenve\n", r"utf8.txt|Zürich\nGenève\n"][..],
            &[r"latin1.txt|NULL", r"utf8.txt|Zürich\nGenève\n"][..],
        ),
        (
            old("lines", "path, line_number, line"),
            &["latin1.txt|1|Z�rich", "latin1.txt|2|Gen�ve", "utf8.txt|1|Zürich", "utf8.txt|2|Genève"],
            &["latin1.txt|1|Zrich", "latin1.txt|2|Genve", "utf8.txt|1|Zürich", "utf8.txt|2|Genève"],
            &["latin1.txt|1|NULL", "latin1.txt|2|NULL", "utf8.txt|1|Zürich", "utf8.txt|2|Genève"],
        ),
        (records("csv", "csv"), &["1|caf� noir", "2|ok"], &["1|caf noir", "2|ok"], &["1|NULL", "2|ok"]),
        (records("json", "json"), &["1|caf� noir", "2|ok"], &["1|caf noir", "2|ok"], &["1|NULL", "2|ok"]),
        (records("gz", "csv"), &["1|caf� noir", "2|ok"], &["1|caf noir", "2|ok"], &["1|NULL", "2|ok"]),
    ] {
        for (policy, expected) in [("replace", replace), ("ignore", ignore), ("null", null)] {
            let sql = format!("SELECT {columns} FROM {table}, on_invalid_utf8 = '{policy}')");
            check(&session, &sql, expected).await;
        }
        let failure = session.error(&format!("SELECT {columns} FROM {table})")).await;
        assert_eq!(failure.kind, "record", "{}", failure.text);
        failure.says(&[&archive, "member '", "is not UTF-8 (0x", "on_invalid_utf8"]);
    }
}

#[tokio::test]
async fn member_globs_choose_members() {
    let session = Session::new();
    for (locator, expected) in [
        ("python/dot-slash.tar :: a.txt", &["./a.txt"][..]),
        // Without a slash it is the base name, at any depth.
        ("python/dot-slash.tar :: *.txt", &["./a.txt", "./d/b.txt", "/absolute.txt", "../up.txt"]),
        ("python/dot-slash.tar :: d/*", &["./d/b.txt"]),
        ("python/dot-slash.tar :: absolute.txt", &["/absolute.txt"]),
        ("python/dot-slash.tar :: [ab].txt", &["./a.txt", "./d/b.txt"]),
        ("python/types.tar :: d/{file,setuid}*", &["d/file.txt", "d/setuid"]),
        ("python/types.tar :: d", &["d/"]),
        ("python/types.tar :: D*", &[]),
        ("python/macos.tar :: *.csv", &["./._data.csv", "./data.csv", "./sub/._more.csv", "./sub/more.csv"]),
        ("opensky/states/**/00/*.tar :: {LICENSE,README}.txt", &["LICENSE.txt", "README.txt"]),
    ] {
        let sql = format!("SELECT path FROM {}", read(locator, "format = 'members'"));
        check(&session, &sql, expected).await;
        // Members that were left out are counted.
        let answer = session.ok(&sql).await;
        let scanned = answer.run.scan.members_scanned;
        assert_eq!(answer.run.scan.members_skipped, scanned - expected.len() as u64, "{sql}");
    }
}

#[tokio::test]
async fn metadata_of_macos_is_no_record_but_a_member() {
    let session = Session::new();
    let csv = session.ok(&format!("SELECT a, b FROM {}", read("python/macos.tar", "format = 'csv'"))).await;
    assert_eq!(csv.sorted(), ["1|2", "3|4", "5|6"]);
    assert_eq!((csv.run.scan.members_scanned, csv.run.scan.members_skipped), (4, 2));
    for options in ["format = 'members'", "format = 'text', on_invalid_utf8 = 'replace'"] {
        let table = read("python/macos.tar", options);
        check(&session, &format!("SELECT count(*) FROM {table}"), &["4"]).await;
    }
    assert_eq!(csv.run.listing.bytes, std::fs::metadata(testdata("python/macos.tar")).expect("it is there").len());
    let slowest: Vec<_> = csv.run.archives.iter().map(|archive| archive.archive.as_str()).collect();
    assert_eq!(slowest, [url("python/macos.tar")]);
}
