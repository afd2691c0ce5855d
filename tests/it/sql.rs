//! Every file in `sql/` is run, and what it prints and writes is compared with what is known of its input.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::crates::{cargo_cache, tarfile};
use crate::measured::{Metrics, text};
use crate::program::Tarsql;
use crate::python::parquet;
use crate::testdata::{json, testdata};

/// What `sql/crates.sql` has to do here: it reads every line.
const CRATES_MAX: usize = 60;

const HOURS: &str = "testdata/opensky/states/.2022-06-27/*/*.csv.tar";

/// The sum over the CSV archives of the manifest.
fn manifest(key: &str) -> u64 {
    let manifest = json("opensky/manifest.json");
    let archives = manifest.as_object().expect("archives by key").iter().filter(|(path, _)| path.ends_with(".csv.tar"));
    archives.map(|(_, archive)| archive[key].as_u64().expect("a count")).sum()
}

/// The headers of all results of which some are looked at, and of those that stand behind them.
const HEADERS: [&str; 10] = [
    "path,type,size,mtime",
    "time,icao24,callsign,velocity,geoaltitude",
    "rows,aircraft,mean_velocity",
    "crate,files,bytes",
    "license,crates",
    "language,crates,lines",
    "archive,members,bytes,oldest,newest",
    "type,extension,members,bytes",
    "archive,path,size,mtime",
    "archive,path,times",
];

/// The rows below `header`, in the output of a file that prints several results.
fn result<'a>(stdout: &'a str, header: &str) -> Vec<&'a str> {
    let mut lines = stdout.lines().skip_while(|line| *line != header);
    assert_eq!(lines.next(), Some(header), "{stdout}");
    lines.take_while(|line| !HEADERS.contains(line)).collect()
}

fn quickstart(dir: &Path) {
    let out = dir.join("states.parquet").display().to_string();
    let (stdout, metrics) = Tarsql::file("quickstart.sql", &[("OUT", &out)]).measured_ok();
    assert_eq!(result(&stdout, "path,type,size,mtime").len(), 9, "three archives of three members");
    let fastest: Vec<f64> = result(&stdout, "time,icao24,callsign,velocity,geoaltitude")
        .iter()
        .map(|row| row.split(',').nth(3).and_then(|velocity| velocity.parse().ok()).expect("a velocity"))
        .collect();
    assert!(fastest.len() == 5 && fastest.is_sorted_by(|a, b| a >= b) && fastest[4] > 250.0, "{fastest:?}");
    let rows = manifest("rows_with_velocity");
    let summary = result(&stdout, "rows,aircraft,mean_velocity");
    assert_eq!(summary[0].split(',').next(), Some(rows.to_string().as_str()), "{stdout}");
    assert_eq!(parquet(&out, &[])["rows"], json!(rows));
    assert_eq!(metrics.runs().len(), 4);
}

fn opensky(dir: &Path) {
    // More of it in opensky.rs.
    let target = dir.join("opensky").display().to_string();
    let settings = [("BUCKET", "testdata/opensky"), ("PREFIX", "states/.2022-06-27"), ("TARGET", target.as_str())];
    Tarsql::file("opensky.sql", &settings).ok();
    assert_eq!(parquet(format!("{target}/csv"), &[])["rows"], json!(manifest("rows_with_velocity")));
}

fn crates(dir: &Path) {
    let folder = dir.join("crates");
    fs::create_dir(&folder).expect("a folder");
    let some: Vec<_> = cargo_cache().into_iter().take(CRATES_MAX).collect();
    for file in &some {
        fs::copy(file, folder.join(file.file_name().expect("a file has a name"))).expect("a copy");
    }
    let stdout = Tarsql::file("crates.sql", &[("CRATES", &folder.display().to_string())]).ok();
    let mut largest: Vec<(u64, String)> = tarfile(&some)
        .iter()
        .map(|(path, found)| {
            let name = Path::new(path).file_stem().expect("a name").to_string_lossy();
            (found["bytes"].as_u64().expect("a size"), name.into_owned())
        })
        .collect();
    largest.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let found: Vec<_> = result(&stdout, "crate,files,bytes")
        .iter()
        .map(|row| {
            let fields: Vec<_> = row.split(',').collect();
            (fields[2].parse::<u64>().expect("a size"), fields[0].to_owned())
        })
        .collect();
    assert_eq!(found, largest[..10.min(largest.len())]);
    assert!(result(&stdout, "license,crates").iter().any(|row| row.contains("Apache-2.0")), "{stdout}");
    let rust = result(&stdout, "language,crates,lines").into_iter().find(|row| row.starts_with("rs,")).expect("Rust");
    assert!(rust.starts_with(&format!("rs,{},", some.len())), "{rust}");
}

fn inventory(_dir: &Path) {
    let archives = testdata("python/*.tar").display().to_string();
    let (stdout, metrics) = Tarsql::file("inventory.sql", &[("ARCHIVES", &archives)]).measured_ok();
    let expected = json("expected.json");
    let expected: Vec<_> = expected["archives"].as_object().expect("archives by path").iter().collect();
    let expected: Vec<_> = expected.into_iter().filter(|(path, _)| path.starts_with("python/")).collect();
    let members = |archive: &Value| archive["members"].as_array().expect("a list").clone();
    // An archive without a member is in no group.
    let mut with_members: Vec<(u64, String, usize)> = expected
        .iter()
        .map(|(path, archive)| (path, members(archive)))
        .filter(|(_, members)| !members.is_empty())
        .map(|(path, members)| {
            let bytes = members.iter().map(|member| member["size"].as_u64().expect("a size")).sum();
            (bytes, crate::session::url(path), members.len())
        })
        .collect();
    with_members.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let shown: Vec<String> = result(&stdout, "archive,members,bytes,oldest,newest")
        .iter()
        .map(|row| row.splitn(4, ',').take(3).collect::<Vec<_>>().join(","))
        .collect();
    let wanted: Vec<String> = with_members.iter().map(|(bytes, url, count)| format!("{url},{count},{bytes}")).collect();
    assert_eq!(shown, wanted[..20.min(wanted.len())]);
    let twice = result(&stdout, "archive,path,times");
    assert!(twice.iter().any(|row| row.contains("/python/duplicates.tar,")), "{stdout}");
    let files = expected.iter().map(|(path, _)| fs::metadata(testdata(path)).expect("it is there").len());
    let bytes: u64 = files.sum();
    for run in metrics.runs() {
        assert_eq!((run.count("FileCount"), run.count("ListedBytes")), (expected.len() as u64, bytes));
    }
}

fn scaling(dir: &Path) {
    let (out, metrics) = (dir.join("scaling.parquet").display().to_string(), dir.join("scaling.json"));
    for scale in ["1", "10", "100"] {
        let settings = [("scale", scale), ("ARCHIVES", HOURS), ("OUT", &out)];
        let label = format!("scale {scale}");
        let more = ["--metrics", &metrics.display().to_string(), "--label", &label].map(str::to_owned);
        Tarsql::file("scaling.sql", &settings).args(more).ok();
        let factor: u64 = scale.parse().expect("a number");
        assert_eq!(parquet(&out, &[])["rows"], json!(manifest("rows_with_velocity") * factor));
    }
    let runs = Metrics::read(&metrics).runs();
    assert_eq!(runs.len(), 3);
    for (run, scale) in runs.iter().zip([1, 10, 100]) {
        assert!(run.records.iter().all(|record| text(record, "label") == format!("scale {scale}")));
        for (metric, once) in [("RowCount", "rows"), ("WrittenRows", "rows_with_velocity"), ("BadRows", "bad_rows")] {
            assert_eq!(run.count(metric), manifest(once) * scale, "{metric} at {scale}");
        }
        assert_eq!((run.count("FileCount"), run.count("MembersScanned")), (3 * scale, 9 * scale));
        assert_eq!((run.value("Status"), run.value("Completeness")), (1.0, 1.0));
    }
}

/// Runs a file, with a folder for what it writes, and looks at what it leaves.
type Check = fn(&Path);

#[test]
fn every_file_works() {
    let cases: [(&str, Check); 5] = [
        ("crates.sql", crates),
        ("inventory.sql", inventory),
        ("opensky.sql", opensky),
        ("quickstart.sql", quickstart),
        ("scaling.sql", scaling),
    ];
    let mut files: Vec<String> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("sql"))
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    assert_eq!(files, cases.map(|(file, _)| file), "each file in sql/ has a case");
    std::thread::scope(|scope| {
        for (file, check) in cases {
            scope.spawn(move || {
                let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{file}: {e}"));
                check(dir.path());
            });
        }
    });
}

#[test]
fn a_variable_that_is_not_set_stops_everything() {
    for (file, variable) in [
        ("crates", "CRATES"),
        ("inventory", "ARCHIVES"),
        ("opensky", "BUCKET"),
        ("quickstart", "OUT"),
        ("scaling", "ARCHIVES"),
    ] {
        let output = Tarsql::file(&format!("{file}.sql"), &[]).run();
        assert_eq!((output.status, output.stdout.as_str()), (Some(2), ""), "{file}");
        assert!(output.stderr.contains(&format!("sql/{file}.sql: ${{{variable}}} is not set")), "{}", output.stderr);
    }
}
