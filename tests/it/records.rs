//! Members become records: CSV, TSV, JSON and Avro, with what does not fit.

use serde_json::Value;

use crate::archive::tar;
use crate::session::{Session, url};
use crate::testdata::{json, testdata};

/// `read_tar(…)` over an archive (or a pattern with a member glob) of `testdata/`.
fn read(locator: &str, options: &str) -> String {
    format!("read_tar('{}', {options})", testdata(locator).display())
}

/// Rows come out, in any order; and so many records were bad.
#[track_caller]
fn check(session: &Session, sql: &str, expected: &[&str], bad_rows: u64) -> impl Future<Output = ()> {
    let answer = session.ok(sql);
    async move {
        let answer = answer.await;
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(answer.sorted(), expected, "{sql}");
        assert_eq!(answer.run.scan.bad_rows, bad_rows, "{sql}");
        assert_eq!((answer.run.scan.errors, answer.run.completeness), (0, Some(1.0)), "{sql}");
    }
}

#[tokio::test]
async fn csv_dialects() {
    let session = Session::new();
    for (locator, options, expected) in [
        (
            "csv/quotes.tar",
            "format = 'csv', newlines_in_values = true",
            &[r#"1|Smith, J.|said "hi""#, "2|NULL|plain", "3|NULL|NULL", r"4|two\nlines|a\r\nb", "5|last|row"][..],
        ),
        (
            "csv/quotes.tar",
            "format = 'csv', newlines_in_values = true, null_regex = 'plain|r.w'",
            &[r#"1|Smith, J.|said "hi""#, "2||NULL", "3||", r"4|two\nlines|a\r\nb", "5|last|NULL"],
        ),
        ("csv/bom.tar", "format = 'csv'", &["1|one", "2|two", "3|three", "4|four"]),
        ("csv/semicolon.tar", "format = 'csv', delimiter = ';', comment = '#'", &["1|9,95|Zürich", "2|10,00|Genève"]),
        ("csv/tabs.tar", "format = 'tsv'", &["1|one|q", "2|two|NULL"]),
        ("csv/tabs.tar", r"format = 'csv', delimiter = '\t'", &["1|one|q", "2|two|NULL"]),
        (
            "csv/tabs.tar",
            "format = 'tsv', quote = '~', has_header = false, columns = 'x VARCHAR, y VARCHAR, z VARCHAR'",
            &["id|name|note", "1|one|\"q\"", "2|two|NULL"],
        ),
        ("csv/columns-move.tar", "format = 'csv'", &["1|x|1.5", "2|y|2.5", "3|z|3.5", "4|w|4.5"]),
        (
            "csv/columns-move.tar",
            "format = 'csv', columns = 'c DOUBLE, \"B\" VARCHAR'",
            &["1.5|x", "2.5|y", "3.5|z", "4.5|w"],
        ),
        ("csv/header-only.tar", "format = 'csv', columns = 'a BIGINT, b BIGINT'", &["1|2"]),
        ("csv/header-only.tar", "format = 'csv'", &["1|2"]),
        ("python/macos.tar", "format = 'csv'", &["1|2", "3|4", "5|6"]),
    ] {
        check(&session, &format!("SELECT * FROM {}", read(locator, options)), expected, 0).await;
    }
}

#[tokio::test]
async fn csv_without_a_header_and_with_escapes() {
    let session = Session::new();
    let objects = [
        ("plain.tar", tar([("1.csv", "x,1\ny,2\n"), ("2.csv", "z,3")])),
        ("escape.tar", tar([("1.csv", r"'it\'s',1")])),
        ("twice.tar", tar([("1.csv", "a,a,\n1,2,3\n")])),
    ];
    session.bucket("csv", objects).await;
    for (archive, select, options, expected) in [
        ("plain", "*", "has_header = false", &["x|1", "y|2", "z|3"][..]),
        ("plain", "column_2", "has_header = false", &["1", "2", "3"]),
        ("plain", "n, s", "has_header = false, columns = 's VARCHAR, n BIGINT'", &["1|x", "2|y", "3|z"]),
        ("escape", "*", r"has_header = false, quote = '''', escape = '\'", &["it's|1"]),
        // Names are told apart, and a field without one has its number.
        ("twice", "a, a_1, column_3", "has_header = true", &["1|2|3"]),
    ] {
        let sql = format!("SELECT {select} FROM read_tar('s3://csv/{archive}.tar', format = 'csv', {options})");
        check(&session, &sql, expected, 0).await;
    }
}

#[tokio::test]
async fn types_are_inferred_over_archives() {
    let session = Session::new();
    let objects =
        [("1.tar", tar([("1.csv", "id,x\n1,1\n2,2\n3,three\n")])), ("2.tar", tar([("1.csv", "id,y\n4,true\n")]))];
    session.bucket("mem", objects).await;
    let memory = |options: &str| format!("read_tar('s3://mem/*.tar', format = 'csv'{options})");
    let types = "DISTINCT arrow_typeof(a), arrow_typeof(b)";
    for (select, from, expected) in [
        (types, read("csv/types-widen.tar", "format = 'csv'"), &["Int64|Int64"][..]),
        (types, read("csv/types-widen-2.tar", "format = 'csv'"), &["Float64|Utf8View"]),
        (types, read("csv/types-widen*.tar", "format = 'csv'"), &["Float64|Utf8View"]),
        ("a, b", read("csv/types-widen*.tar", "format = 'csv'"), &["1.0|1", "2.0|2", "1.5|x", "2.0|y"]),
        // What an archive lacks is NULL there.
        ("*", memory(""), &["1|1|NULL", "2|2|NULL", "3|three|NULL", "4|NULL|true"]),
        ("DISTINCT arrow_typeof(y)", memory(""), &["Boolean"]),
    ] {
        check(&session, &format!("SELECT {select} FROM {from}"), expected, 0).await;
    }
    // Two records say that x is a number; the third says otherwise when it is read.
    let sql = format!("SELECT x FROM {}", memory(", schema_infer_max_records = 2"));
    session.error(&sql).await.says(&["s3://mem/1.tar: member '1.csv'", "record 3, column 'x': 'three'", "Int64"]);
}

#[tokio::test]
async fn what_does_not_fit_fails_is_skipped_or_null() {
    let session = Session::new();
    let objects = [
        ("csv.tar", tar([("m.csv", "a,b\n1,x\n2\nthree,y\n4,z,!\n5,w\n")])),
        ("not-null.tar", tar([("m.csv", "a,b\n1,x\n,y\n3,z\n")])),
    ];
    session.bucket("mem", objects).await;
    let csv = |options: &str| {
        format!("SELECT * FROM read_tar('s3://mem/csv.tar', format = 'csv', columns = 'a BIGINT, b VARCHAR'{options})")
    };
    check(&session, &csv(", on_bad_row = 'skip'"), &["1|x", "5|w"], 3).await;
    check(&session, &csv(", on_bad_row = 'null'"), &["1|x", "NULL|y", "5|w"], 3).await;
    let failure = session.error(&csv("")).await;
    assert_eq!((failure.kind, failure.member.as_deref()), ("record", Some("m.csv")));
    failure.says(&["s3://mem/csv.tar: member 'm.csv'", "record 2 has 1 fields instead of 2"]);
    failure.says(&["on_bad_row = 'skip' or 'null' reads on", "name those behind ' :: '"]);

    let not_null = |options: &str| {
        let columns = "columns = 'a BIGINT NOT NULL, b VARCHAR'";
        format!("SELECT * FROM read_tar('s3://mem/not-null.tar', format = 'csv', {columns}{options})")
    };
    check(&session, &not_null(", on_bad_row = 'null'"), &["1|x", "3|z"], 1).await;
    session.error(&not_null("")).await.says(&["record 2, column 'a' is NOT NULL"]);

    // A newline inside quotes makes a bad row of each line that it leaves.
    let quotes = |options: &str| format!("SELECT id FROM {}", read("csv/quotes.tar", options));
    let columns = "format = 'csv', columns = 'id BIGINT, name VARCHAR, note VARCHAR'";
    check(&session, &quotes(&format!("{columns}, on_bad_row = 'skip'")), &["1", "2", "3", "5"], 3).await;
    let failure = session.error(&quotes(columns)).await;
    failure.says(&[&url("csv/quotes.tar"), "member 'quotes.csv'", "record 4 has a quote", "newlines_in_values"]);
}

#[tokio::test]
async fn a_column_that_no_header_has_is_an_error() {
    let session = Session::new();
    let sql =
        format!("SELECT a FROM {}", read("csv/columns-move.tar", "format = 'csv', columns = 'a BIGINT, d VARCHAR'"));
    let failure = session.error(&sql).await;
    failure.says(&[&url("csv/columns-move.tar"), "member '1.csv'", "column 'd' is not among the 3 columns", "a, b, c"]);
}

#[tokio::test]
async fn provenance_counts_records_bad_ones_too() {
    let session = Session::new();
    let archive = url("json/bad.tar");
    let bad = read("json/bad.tar", "format = 'json', columns = 'a BIGINT', on_bad_row = 'null', provenance = true");
    let rows = ["1|1", "3|3", "4|NULL"].map(|row| format!("{archive}|bad.jsonl|{row}"));
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    check(&session, &format!("SELECT _archive, _path, _row, a FROM {bad}"), &rows, 2).await;
    let numbers = ["1|1|1", "2|1|2", "3|2|1", "4|2|2"];
    let bom = read("csv/bom.tar", "format = 'csv', provenance = true");
    let sql = format!("SELECT id, CASE _path WHEN 'bom.csv' THEN 1 ELSE 2 END, _row FROM {bom}");
    check(&session, &sql, &numbers, 0).await;
    // A column of a member table is no column of these.
    let error = session.sql(&format!("SELECT path FROM {bom}")).await.expect_err("there is no such column");
    assert!(error.to_string().contains("No field named path"), "{error}");
}

#[tokio::test]
async fn json_documents_of_every_shape() {
    let session = Session::new();
    let logs = read("json/logs.tar", "format = 'json', provenance = true");
    // What Python's tarfile and json say.
    let expected = [
        "logs/part-0.jsonl|200|64056|5937.725|987632|46",
        "logs/part-1.jsonl.gz|200|68788|7361.268|975106|53",
        "logs/part-2.jsonl.zst|200|62807|7029.077|1105892|40",
        "logs/part-3.jsonl.xz|200|62845|7401.864|1001013|45",
        "logs/part-4.jsonl.bz2|200|65427|6306.936|1041187|46",
    ];
    let sums = "count(*), sum(status), round(sum(latency_ms), 3), sum(\"user\"['id']), \
                count(*) FILTER (WHERE level = 'error')";
    check(&session, &format!("SELECT _path, {sums} FROM {logs} GROUP BY _path"), &expected, 0).await;
    let first = format!("SELECT msg, \"user\"['tags'] FROM {logs} WHERE _row = 1 AND _path LIKE '%jsonl'");
    check(&session, &first, &["request 0 doné|[c, a]"], 0).await;

    let shapes = read("json/shapes.tar", "format = 'json', provenance = true");
    let expected = [
        "array.json|30|30",
        "array-pretty.json|30|30",
        "document.json|1|1",
        "lines.ndjson|30|30",
        "no-newline.json|30|30",
    ];
    check(&session, &format!("SELECT _path, count(*), max(_row) FROM {shapes} GROUP BY _path"), &expected, 0).await;
}

#[tokio::test]
async fn json_that_does_not_fit() {
    let session = Session::new();
    let bad =
        |options: &str| format!("SELECT a, b FROM {}", read("json/bad.tar", &format!("format = 'json'{options}")));
    let columns = ", columns = 'a BIGINT, b VARCHAR'";
    check(&session, &bad(&format!("{columns}, on_bad_row = 'skip'")), &["1|x", "3|z"], 2).await;
    check(&session, &bad(&format!("{columns}, on_bad_row = 'null'")), &["1|x", "3|z", "NULL|w"], 2).await;
    // Inferred, `a` is text, and only the line that is no JSON is left out.
    check(&session, &bad(", on_bad_row = 'skip'"), &["1|x", "3|z", "four|w"], 1).await;
    for options in [columns, ""] {
        let failure = session.error(&bad(options)).await;
        failure.says(&[&url("json/bad.tar"), "member 'bad.jsonl'", "record 2"]);
    }
}

#[tokio::test]
async fn opensky_sums_are_those_of_the_manifest() {
    let session = Session::new();
    let manifest = json("opensky/manifest.json");
    for (archive, expected) in manifest.as_object().expect("a map of archives") {
        let format = if archive.ends_with(".avro.tar") { "avro" } else { "csv" };
        let glob = if format == "avro" { "*.avro" } else { "*.csv.gz" };
        let columns = if format == "avro" { String::new() } else { format!(", columns = '{COLUMNS}'") };
        let table = |on_bad_row: &str| {
            let options = format!("format = '{format}'{columns}, on_bad_row = '{on_bad_row}'");
            read(&format!("opensky/{archive} :: {glob}"), &options)
        };
        for (on_bad_row, expected_sums) in [("null", expected), ("skip", &expected["skip"])] {
            let sql = format!("{SUMS} FROM {}", table(on_bad_row));
            let answer = session.ok(&sql).await;
            let rows = answer.rows();
            let found: Vec<f64> = rows[0].split('|').map(|sum| sum.parse().expect("a number")).collect();
            for (found, name) in found.iter().zip(NAMES) {
                let expected = expected_sums[name].as_f64().expect("a number");
                assert!((found - expected).abs() <= expected * 1e-12, "{sql}: {name}: {found} instead of {expected}");
            }
            assert_eq!(Value::from(answer.run.scan.bad_rows), expected["bad_rows"], "{sql}");
        }
        let sql = format!("{SUMS} FROM {}", table("fail"));
        if format == "csv" {
            // The first row with a field that is no number.
            session
                .error(&sql)
                .await
                .says(&[&url(&format!("opensky/{archive}")), "record 71, column 'velocity': 'bad'"]);
        } else {
            session.ok(&sql).await;
        }
    }
}

const SUMS: &str = "SELECT count(*), count(velocity), sum(velocity), \
    count(geoaltitude) FILTER (WHERE velocity IS NOT NULL), sum(geoaltitude) FILTER (WHERE velocity IS NOT NULL)";

/// What the manifest calls them.
const NAMES: [&str; 5] = [
    "rows",
    "rows_with_velocity",
    "sum_velocity",
    "rows_with_velocity_and_geoaltitude",
    "sum_geoaltitude_with_velocity",
];

/// As the OpenSky Network describes its state vectors.
const COLUMNS: &str = "time BIGINT, icao24 VARCHAR, lat DOUBLE, lon DOUBLE, velocity DOUBLE, heading DOUBLE, \
    vertrate DOUBLE, callsign VARCHAR, onground BOOLEAN, alert BOOLEAN, spi BOOLEAN, squawk VARCHAR, \
    baroaltitude DOUBLE, geoaltitude DOUBLE, lastposupdate DOUBLE, lastcontact DOUBLE";

#[tokio::test]
async fn opensky_csv_and_avro_have_the_same_columns() {
    let session = Session::new();
    let avro = read("opensky/states/**/*.avro.tar :: *.avro", "format = 'avro'");
    let csv = read("opensky/states/**/*.csv.tar :: *.csv.gz", "format = 'csv', on_bad_row = 'skip'");
    let describe = async |table: &str| session.ok(&format!("SELECT * FROM {table} LIMIT 1")).await;
    let schema = |answer: crate::session::Answer| -> Vec<String> {
        let fields = answer.plan.schema().fields().clone();
        fields.iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect()
    };
    let avro = schema(describe(&avro).await);
    assert_eq!(
        avro[..6],
        ["time Int64", "icao24 Utf8View", "lat Float64", "lon Float64", "velocity Float64", "heading Float64"]
    );
    let names = |schema: &[String]| -> Vec<String> {
        schema.iter().filter_map(|field| Some(field.split_once(' ')?.0.to_owned())).collect()
    };
    assert_eq!(names(&schema(describe(&csv).await)), names(&avro));
}

#[tokio::test]
async fn avro_columns_can_be_declared() {
    let session = Session::new();
    let avro = |columns: &str| {
        let options = format!("format = 'avro', columns = '{columns}'");
        format!("SELECT * FROM {} LIMIT 1", read("opensky/states/**/*.avro.tar :: *.avro", &options))
    };
    let declared = session.ok(&avro("velocity DOUBLE, time BIGINT, icao24 VARCHAR")).await;
    let inferred = read("opensky/states/**/*.avro.tar :: *.avro", "format = 'avro'");
    let inferred = session.rows(&format!("SELECT velocity, time, icao24 FROM {inferred} LIMIT 1")).await;
    assert_eq!(declared.rows(), inferred);
    session.error(&avro("time BIGINT, altitude DOUBLE")).await.says(&["states_2022-06-27-03.avro", "'altitude'"]);
}

#[tokio::test]
async fn a_schema_wants_a_member() {
    let session = Session::new();
    let nothing = read("opensky/states/**/*.tar :: *.parquet", "format = 'csv'");
    let failure = session.error(&format!("SELECT * FROM {nothing}")).await;
    assert_eq!(failure.kind, "schema");
    failure.says(&["no member is '*.parquet' in the first 4 archives", "option 'columns'"]);
    // With one, no member matching is no row.
    let declared = read("opensky/states/**/*.tar :: *.parquet", "format = 'csv', columns = 'a BIGINT'");
    check(&session, &format!("SELECT * FROM {declared}"), &[], 0).await;
}

#[tokio::test]
async fn an_empty_projection_counts_rows() {
    let session = Session::new();
    for (table, expected) in [
        (read("csv/bom.tar", "format = 'csv'"), "4"),
        (read("csv/tabs.tar", "format = 'tsv'"), "2"),
        (read("json/logs.tar", "format = 'json'"), "1000"),
        (read("opensky/states/**/*.avro.tar :: *.avro", "format = 'avro'"), "1100"),
        (read("opensky/states/**/*.csv.tar :: *.csv.gz", "format = 'csv', on_bad_row = 'skip'"), "3681"),
    ] {
        assert_eq!(session.rows(&format!("SELECT count(*) FROM {table}")).await, [expected], "{table}");
    }
}
