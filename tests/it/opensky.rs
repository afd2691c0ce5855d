//! The archetype: state vectors in tar archives to Parquet with `sql/opensky.sql`, compared with `manifest.json`.

use std::path::Path;

use serde_json::{Value, json};

use crate::measured::Metrics;
use crate::program::Tarsql;
use crate::python::parquet;
use crate::testdata::{json, testdata};
use crate::weed::weed;

const PREFIX: &str = "states/.2022-06-27";

/// The 16 columns and what pyarrow calls their types.
const COLUMNS: [(&str, &str); 16] = [
    ("time", "int64"),
    ("icao24", "string_view"),
    ("lat", "double"),
    ("lon", "double"),
    ("velocity", "double"),
    ("heading", "double"),
    ("vertrate", "double"),
    ("callsign", "string_view"),
    ("onground", "bool"),
    ("alert", "bool"),
    ("spi", "bool"),
    ("squawk", "string_view"),
    ("baroaltitude", "double"),
    ("geoaltitude", "double"),
    ("lastposupdate", "double"),
    ("lastcontact", "double"),
];

/// What the manifest says of all archives whose key ends like that, summed.
struct Expected {
    archives: u64,
    totals: Value,
}

impl Expected {
    fn of(ending: &str) -> Self {
        let manifest = json("opensky/manifest.json");
        let archives: Vec<&Value> = manifest
            .as_object()
            .expect("archives by key")
            .iter()
            .filter(|(key, _)| key.ends_with(ending))
            .map(|(_, archive)| archive)
            .collect();
        let sum = |key: &str| archives.iter().map(|archive| archive[key].as_f64().expect("a number")).sum::<f64>();
        let names = ["rows", "rows_with_velocity", "rows_with_velocity_and_geoaltitude", "bad_rows", "sum_velocity"];
        let mut totals: serde_json::Map<_, _> =
            names.iter().map(|name| ((*name).to_owned(), json!(sum(name)))).collect();
        totals.insert("sum_geoaltitude".into(), json!(sum("sum_geoaltitude_with_velocity")));
        Self { archives: archives.len() as u64, totals: totals.into() }
    }

    fn count(&self, name: &str) -> u64 {
        self.totals[name].as_f64().map(|count| count.to_string()).and_then(|count| count.parse().ok()).expect("a count")
    }

    fn check(&self, found: &Value, run: &Metrics) {
        assert_eq!(found["rows"], json!(self.count("rows_with_velocity")));
        assert_eq!(found["counts"]["velocity"], found["rows"]);
        assert_eq!(found["counts"]["geoaltitude"], json!(self.count("rows_with_velocity_and_geoaltitude")));
        for (column, total) in [("velocity", "sum_velocity"), ("geoaltitude", "sum_geoaltitude")] {
            let (found, expected) =
                (found["sums"][column].as_f64().expect("a sum"), self.totals[total].as_f64().expect("a sum"));
            assert!((found - expected).abs() <= expected.abs() * 1e-9, "{column}: {found} for {expected}");
        }
        assert_eq!(run.count("FileCount"), self.archives);
        assert_eq!(run.count("RowCount"), self.count("rows"));
        assert_eq!(run.count("BadRows"), self.count("bad_rows"));
        assert_eq!(run.count("WrittenRows"), self.count("rows_with_velocity"));
        assert_eq!((run.value("Status"), run.value("Completeness")), (1.0, 1.0));
    }
}

fn check(bucket: &str, target: &str, env: &[(String, String)]) {
    let settings = [("BUCKET", bucket), ("PREFIX", PREFIX), ("TARGET", target)];
    let (stdout, metrics) = Tarsql::file("opensky.sql", &settings).env(env.iter().cloned()).measured_ok();
    assert_eq!(stdout, "", "COPY prints its count to stderr");
    let runs = metrics.runs();
    assert_eq!(runs.len(), 2, "CREATE is no run");
    for (format, run) in ["csv", "avro"].iter().zip(&runs) {
        let found = parquet(format!("{target}/{format}"), env);
        Expected::of(&format!(".{format}.tar")).check(&found, run);
        if *format == "csv" {
            let types = COLUMNS.map(|(name, of)| (name.to_owned(), json!(of)));
            assert_eq!(found["types"], Value::Object(types.into_iter().collect()));
        } else {
            assert_eq!(found["types"].as_object().map(serde_json::Map::len), Some(COLUMNS.len()));
        }
    }
}

#[test]
fn on_disk() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    check(&testdata("opensky").display().to_string(), &dir.path().display().to_string(), &[]);
}

#[test]
fn on_s3() {
    for key in json("opensky/manifest.json").as_object().expect("archives by key").keys() {
        assert!(key.starts_with(PREFIX), "{key}");
        weed().put_file("tar", key, testdata(&Path::new("opensky").join(key).display().to_string()));
    }
    check("s3://tar", "s3://tar/opensky-parquet", &weed().env());
}
