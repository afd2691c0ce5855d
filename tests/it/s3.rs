//! Reading from and writing to a real S3 server: pages of a listing, ranges of an object, keys of every kind, COPY.

use bytes::Bytes;
use serde_json::json;

use crate::archive::tar;
use crate::measured::Metrics;
use crate::program::Tarsql;
use crate::python::parquet;
use crate::testdata::{WEIRD_NAMES, json as manifest_of, sha256, testdata};
use crate::weed::weed;

/// More than the 1,000 keys that a page of a listing holds.
const MANY: usize = 1_150;

fn sql(sql: &str) -> Tarsql {
    Tarsql::sql(sql).env(weed().env())
}

/// The lines of a result, less the header.
fn rows(stdout: &str) -> Vec<&str> {
    stdout.lines().skip(1).collect()
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[test]
fn every_page_of_a_listing_is_followed() {
    let key = |n: usize| format!("pages/part-{n:05}.tar");
    let archives: Vec<(String, Bytes)> =
        (0..MANY).map(|n| (key(n), tar([(format!("{n}.txt"), n.to_string())]).into())).collect();
    let size = archives[0].1.len();
    weed().put_all("tar", archives);
    // Beside them, what must not be found.
    let decoy: Bytes = tar([("decoy.txt", "-1")]).into();
    let decoys = ["pages-other/part-1.tar", "pages/part-1.txt", "pages/sub/part-1.tar", "pages/other-1.tar"];
    weed().put_all("tar", decoys.map(|key| (key, decoy.clone())));

    let read = "read_tar('s3://tar/pages/part-*.tar', format = 'text')";
    let (stdout, metrics) = sql(&format!(
        "SELECT count(*) AS members, count(DISTINCT archive) AS archives, sum(CAST(text AS BIGINT)) AS total FROM {read}"
    ))
    .measured_ok();
    assert_eq!(rows(&stdout), [format!("{MANY},{MANY},{}", MANY * (MANY - 1) / 2)]);
    assert_eq!(metrics.count("FileCount"), MANY as u64);
    assert_eq!(metrics.count("ListedBytes"), (MANY * size) as u64);

    // One partition reads its archives one after the other, and equally large ones in the order of the listing.
    let in_order = format!("SET tarsql.max_partitions = 1; SELECT archive FROM {read}");
    let archives = sql(&in_order).ok();
    assert_eq!(rows(&archives), (0..MANY).map(|n| format!("s3://tar/{}", key(n))).collect::<Vec<_>>());
    assert_eq!(sql(&in_order).ok(), archives);
}

#[test]
fn a_member_that_nobody_wants_is_not_fetched() {
    let big = |seed: u8| (0..8_u32 << 20).map(|n| (n % 251) as u8 ^ seed).collect::<Vec<u8>>();
    let last = b"the last one".to_vec();
    let members = [("a.bin", big(1)), ("b.bin", big(2)), ("c.bin", big(3)), ("z.txt", last.clone())];
    let archive = tar(members.clone());
    let size = archive.len() as u64;
    weed().put("tar", "big/big.tar", archive);
    let measured = |columns: &str| -> (String, Metrics) {
        sql(&format!("SELECT {columns} FROM 's3://tar/big/big.tar' ORDER BY data_offset")).measured_ok()
    };

    let (stdout, metrics) = measured("path, size");
    assert_eq!(
        rows(&stdout),
        members.iter().map(|(path, bytes)| format!("{path},{}", bytes.len())).collect::<Vec<_>>()
    );
    assert!(metrics.count("BytesFetched") < size / 8, "{} of {size}", metrics.count("BytesFetched"));

    let hash = "path, encode(sha256(content), 'hex')";
    let (stdout, metrics) = measured(hash);
    assert_eq!(
        rows(&stdout),
        members.iter().map(|(path, bytes)| format!("{path},{}", sha256(bytes))).collect::<Vec<_>>()
    );
    assert_eq!(metrics.count("BytesFetched"), size);
    assert!(metrics.count("Requests") > 3, "ranges of at most 8 MiB");

    // The predicate is on a column of the header, so the content of the others is hopped over.
    let (stdout, metrics) =
        sql(&format!("SELECT {hash} FROM 's3://tar/big/big.tar' WHERE path = 'z.txt'")).measured_ok();
    assert_eq!(rows(&stdout), [format!("z.txt,{}", sha256(&last))]);
    assert!(metrics.count("BytesFetched") < size / 8, "{} of {size}", metrics.count("BytesFetched"));
    assert_eq!(metrics.value("Completeness"), 1.0);
}

#[test]
fn keys_are_taken_as_they_are() {
    let plain: Bytes = std::fs::read(testdata("compressed/plain.tar")).expect("test data can be read").into();
    let url = |prefix: &str, name: &str| format!("s3://tar/{prefix}/{name}");
    for prefix in ["weird", "weird/.2022-06-27", "weird/sp ace+%41#é"] {
        weed().put_all("tar", WEIRD_NAMES.map(|name| (format!("{prefix}/{name}"), plain.clone())));
        // Literally: also those that hold glob characters, since an object with exactly that name wins.
        for name in WEIRD_NAMES {
            let archive = url(prefix, name);
            let expected: Vec<_> = ["one.txt", "two.bin", "three.txt"].map(|path| format!("{archive}|{path}")).to_vec();
            for from in [format!("read_tar({})", quoted(&archive)), quoted(&archive)] {
                let stdout = sql(&format!("SELECT archive || '|' || path FROM {from}")).args(["--format", "tsv"]).ok();
                assert_eq!(rows(&stdout), expected, "{from}");
            }
        }
        // By a pattern.
        let pattern = quoted(&url(prefix, "*.tar"));
        let stdout = sql(&format!("SELECT DISTINCT archive FROM read_tar({pattern})")).args(["--format", "tsv"]).ok();
        let mut found = rows(&stdout);
        found.sort_unstable();
        let mut expected = WEIRD_NAMES.map(|name| url(prefix, name));
        expected.sort_unstable();
        assert_eq!(found, expected, "{pattern}");
    }
    for (pattern, expected) in [
        ("s3://tar/weird/[[]x].tar", "s3://tar/weird/[x].tar"),
        ("s3://tar/weird/[{]y,z}.t*", "s3://tar/weird/{y,z}.tar"),
        ("s3://tar/weird/star[*].t*", "s3://tar/weird/star*.tar"),
        ("s3://tar/weird/.2022-*/%41.tar", "s3://tar/weird/.2022-06-27/%41.tar"),
        ("s3a://tar/weird/**/.2022-06-27/100[%].tar", "s3://tar/weird/.2022-06-27/100%.tar"),
    ] {
        let stdout =
            sql(&format!("SELECT DISTINCT archive FROM read_tar({})", quoted(pattern))).args(["--format", "tsv"]);
        assert_eq!(rows(&stdout.ok()), [expected], "{pattern}");
    }
}

#[test]
fn copy_to_s3_reads_back() {
    let read = format!(
        "SELECT time, icao24, velocity, CASE WHEN onground THEN 'ground' ELSE 'air' END AS place
         FROM read_tar('{}/opensky/states/.2022-06-27/*/*.csv.tar :: *.csv.gz', format = 'csv', on_bad_row = 'null',
           columns = 'time BIGINT, icao24 VARCHAR, velocity DOUBLE, onground BOOLEAN')",
        testdata("").display()
    );
    let manifest = manifest_of("opensky/manifest.json");
    let csv = manifest.as_object().expect("archives by key").iter().filter(|(key, _)| key.ends_with(".csv.tar"));
    let (lines, velocity) = csv.fold((0, 0.0), |(lines, velocity), (_, archive)| {
        (
            lines + archive["rows"].as_u64().expect("a count"),
            velocity + archive["sum_velocity"].as_f64().expect("a sum"),
        )
    });
    for (target, clause, from) in [
        ("copies/one.parquet", "", "'s3://tar/copies/one.parquet'"),
        ("copies/several/", "STORED AS PARQUET", "'s3://tar/copies/several/'"),
        ("copies/by-place/", "STORED AS PARQUET PARTITIONED BY (place)", "'s3://tar/copies/by-place/'"),
    ] {
        let (_, metrics) = sql(&format!("COPY ({read}) TO 's3://tar/{target}' {clause}")).measured_ok();
        assert_eq!((metrics.count("WrittenRows"), metrics.count("RowCount")), (lines, lines), "{target}");
        let keys = weed().keys("tar", target.trim_end_matches('/').trim_end_matches("/one.parquet"));
        let keys: Vec<_> = keys.into_iter().filter(|key| key.starts_with(target)).collect();
        assert_eq!(keys.contains(&format!("{target}_SUCCESS")), target.ends_with('/'), "{keys:?}");
        let keys: Vec<_> = keys.into_iter().filter(|key| !key.ends_with("/_SUCCESS")).collect();
        assert_eq!(metrics.count("WrittenFiles"), keys.len() as u64, "{target}");
        let bytes: usize = keys.iter().map(|key| weed().get("tar", key).len()).sum();
        assert_eq!(metrics.count("WrittenBytes"), bytes as u64, "{target}");
        if clause.contains("PARTITIONED") {
            let folders =
                |place: &str| keys.iter().filter(|key| key.starts_with(&format!("{target}place={place}/"))).count();
            assert!(
                folders("air") > 0 && folders("ground") > 0 && folders("air") + folders("ground") == keys.len(),
                "{keys:?}"
            );
        }

        let seen = parquet(format!("s3://tar/{target}"), &weed().env());
        assert_eq!((&seen["files"], &seen["rows"]), (&json!(keys.len()), &json!(lines)), "{target}");
        let sum = seen["sums"]["velocity"].as_f64().expect("a sum");
        assert!((sum - velocity).abs() < 1e-6, "{target}: {sum} for {velocity}");
        let stdout = sql(&format!("SELECT count(*), round(sum(velocity), 3) FROM {from}")).ok();
        assert_eq!(rows(&stdout), [format!("{lines},{}", (velocity * 1e3).round() / 1e3)], "{target}");
    }
}
