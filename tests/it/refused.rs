//! What the doors can't do is refused, with its name and a remedy, on one line.

use crate::archive::tar;
use crate::session::Session;
use crate::testdata::testdata;

const SEMICOLON: &str = "csv/semicolon.tar";

fn path(archive: &str) -> String {
    testdata(archive).display().to_string()
}

#[tokio::test]
async fn every_wrong_call_is_refused_by_name() {
    let session = Session::new();
    let archive = path(SEMICOLON);
    for (arguments, says) in [
        (format!("'{archive}', delimeter = ';'"), &["unknown option 'delimeter'", "did you mean 'delimiter'?"][..]),
        (format!("'{archive}', colour = 'red'"), &["unknown option 'colour'", "there are format, archive_compression"]),
        (
            format!("'{archive}', format = 'xml'"),
            &["option 'format' can't be 'xml'", "'members', 'text', 'lines', 'csv'"],
        ),
        (format!("'{archive}', format = 'parquet'"), &["format 'parquet' can't be read yet", "'csv'"]),
        (format!("'{archive}', format = 'arrow'"), &["format 'arrow' can't be read yet"]),
        (format!("'{archive}', format = 'webdataset'"), &["format 'webdataset' can't be read yet"]),
        (
            format!("'{archive}', format = 'json', has_header = true"),
            &["option 'has_header'", "'csv' or 'tsv', not with 'json'"],
        ),
        (
            format!("'{archive}', columns = 'a BIGINT'"),
            &["option 'columns' goes with a record format", "not with 'members'"],
        ),
        (
            format!("'{archive}', format = 'csv', has_header = 'maybe'"),
            &["option 'has_header' can't be 'maybe'", "true or false"],
        ),
        (
            format!("'{archive}', format = 'csv', delimiter = '--'"),
            &["option 'delimiter' can't be '--'", "one ASCII character"],
        ),
        (format!("'{archive}', format = 'csv', quote = ','"), &["options 'delimiter' and 'quote' can't both be ','"]),
        (
            format!("'{archive}', format = 'csv', columns = 'a NOTATYPE'"),
            &["option 'columns' can't be read", "'time BIGINT"],
        ),
        (format!("'{archive}', format = 'csv', columns = 'a BIGINT, a BIGINT'"), &["option 'columns'", "a"]),
        (format!("'{archive}', format = 'csv', null_regex = '('"), &["option 'null_regex' can't be '('"]),
        (format!("'{archive}', repeat = 0"), &["option 'repeat' can't be '0'", "between 1 and"]),
        (format!("'{archive}', repeat = -1"), &["option 'repeat' can't be '-1'"]),
        (
            format!("'{archive}', archive_compression = 'zip'"),
            &["option 'archive_compression' can't be 'zip'", "'gzip'"],
        ),
        (
            format!("'{archive}', partitioning = 'rows'"),
            &["option 'partitioning' can't be 'rows'", "'auto', 'archive'"],
        ),
        (format!("'{archive}', on_error = 'ignore'"), &["option 'on_error' can't be 'ignore'", "'fail', 'skip'"]),
        (
            format!("'{archive}', on_unreachable = 'null'"),
            &["option 'on_unreachable' can't be 'null'", "'fail', 'skip'"],
        ),
        (format!("'{archive}', format = 'csv', format = 'csv'"), &["option 'format' is given twice"]),
        (format!("'{archive}', format = 'csv', FORMAT => 'csv'"), &["option 'format' is given twice"]),
        (format!("'{archive}', format = lower('CSV')"), &["'format' of read_tar is a constant", "lower('CSV')"]),
        (format!("concat('{archive}', '')"), &["'locator' of read_tar is a constant"]),
        ("'a' || 'b'".to_owned(), &["'locator' of read_tar is a constant"]),
        (
            format!("'{archive}', 'csv'"),
            &["read_tar takes one locator, or an array", "format = 'csv'", "'csv' is neither"],
        ),
        ("format = 'csv'".to_owned(), &["read_tar wants a locator first", "read_tar('s3://"]),
        (String::new(), &["read_tar wants a locator first"]),
        ("[]".to_owned(), &["read_tar wants a locator first"]),
        ("*".to_owned(), &["read_tar can't take * as an argument"]),
        ("NULL".to_owned(), &["'locator' of read_tar is a constant"]),
        (format!("'{archive}', aws.nonsense = '1'"), &["aws.nonsense"]),
    ] {
        let failure = session.error(&format!("SELECT * FROM read_tar({arguments})")).await;
        failure.says(says);
        assert!(matches!(failure.kind, "option" | "locator" | "not_yet"), "{}", failure.text);
    }
}

#[tokio::test]
async fn every_wrong_locator_is_refused_by_name() {
    let session = Session::new();
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(dir.path().join("empty.tar"), b"").expect("a file");
    let dir = dir.path().display();
    for (locator, kind, says) in [
        (format!("{dir}/*.tgz"), "locator", &["no file matches", "*.tgz", "check the pattern"][..]),
        (format!("{dir}/missing.tar"), "unreachable", &["there is no file", "missing.tar", "check the name"]),
        (format!("{dir}"), "locator", &["is a directory: name the archives in it", "/*.tar"]),
        (format!("{dir}/"), "locator", &["is a directory", "/*.tar"]),
        (format!("{dir}/empty.tar"), "archive", &["empty.tar", "0 bytes"]),
        ("s3://".to_owned(), "locator", &["the bucket is missing"]),
        ("s3://b*/x.tar".to_owned(), "locator", &["the bucket 'b*' can't be a pattern"]),
        ("ftp://host/x.tar".to_owned(), "locator", &["unknown scheme 'ftp'", "s3"]),
        ("s3://key:secret@bucket/x.tar".to_owned(), "locator", &["hold no user and no password"]),
        (String::new(), "locator", &["locator"]),
        (format!("{dir}/empty.tar :: "), "locator", &["member"]),
        (format!("{dir}/[.tar"), "unreachable", &["[.tar"]),
    ] {
        let failure = session.error(&format!("SELECT * FROM read_tar('{locator}')")).await;
        assert_eq!(failure.kind, kind, "{locator}: {}", failure.text);
        failure.says(says);
        assert!(!failure.text.contains("secret"), "{}", failure.text);
    }
}

#[tokio::test]
async fn every_wrong_table_is_refused_by_name() {
    let session = Session::new();
    let location = format!("LOCATION '{}'", path(SEMICOLON));
    for (sql, says) in [
        (
            format!("TABLE t (id BIGINT) STORED AS TAR WITH ORDER (id) {location} OPTIONS ('format' 'csv')"),
            &["WITH ORDER", "no order of rows"][..],
        ),
        (
            format!("TABLE t (id BIGINT, PRIMARY KEY (id)) STORED AS TAR {location} OPTIONS ('format' 'csv')"),
            &["a constraint", "nothing would enforce it"],
        ),
        (
            format!("TABLE t (id BIGINT DEFAULT 5) STORED AS TAR {location} OPTIONS ('format' 'csv')"),
            &["DEFAULT", "nothing is inserted"],
        ),
        (
            format!("TABLE t (id BIGINT) STORED AS TAR {location} OPTIONS ('format' 'csv', 'columns' 'id BIGINT')"),
            &["columns are declared twice"],
        ),
        (format!("TABLE t (id BIGINT) STORED AS TAR {location}"), &["option 'columns' goes with a record format"]),
        (
            format!("TABLE t STORED AS TAR {location} OPTIONS ('format' 'csv', 'delimeter' ';')"),
            &["unknown option 'delimeter'", "did you mean 'delimiter'?"],
        ),
        (
            format!("TABLE t STORED AS TAR {location} OPTIONS ('format' 'parquet')"),
            &["format 'parquet' can't be read yet"],
        ),
        (
            format!("TABLE t STORED AS TAR {location} OPTIONS ('format' 'json', 'quote' '~')"),
            &["option 'quote' goes with format 'csv'"],
        ),
        (
            format!("TABLE t STORED AS TAR {location} OPTIONS ('compression' 'gzip')"),
            &["unknown option 'compression'", "archive_compression"],
        ),
        (format!("TABLE t STORED AS TAR PARTITIONED BY (path) {location}"), &["there are two columns 'path'"]),
        ("TABLE t STORED AS TAR LOCATION 'ftp://x/y.tar'".to_owned(), &["unknown scheme 'ftp'"]),
        (
            "TABLE t STORED AS TAR LOCATION 'nowhere.tar' OPTIONS ('format' 'csv')".to_owned(),
            &["nowhere.tar", "there is no file"],
        ),
    ] {
        session.error(&format!("CREATE EXTERNAL {sql}")).await.says(says);
    }
    let unbounded = format!("CREATE UNBOUNDED EXTERNAL TABLE t STORED AS TAR {location}");
    session.error(&unbounded).await.says(&["UNBOUNDED", "an archive has an end"]);
    // Two columns of one name: of a JSON key and of what provenance appends.
    session.bucket("mem", [("x.tar", tar([("m.json", "{\"_row\": 1}\n")]))]).await;
    let sql = "SELECT * FROM read_tar('s3://mem/x.tar', format = 'json', provenance = true)";
    session.error(sql).await.says(&["there are two columns '_row'", "declare the columns"]);
}
