//! The metrics file as tests want it: numbers by name, run by run.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::program::{Output, Tarsql};

/// The records of a metrics file, or of one run in it.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) records: Vec<Value>,
}

impl Metrics {
    pub(crate) fn read(file: impl AsRef<Path>) -> Self {
        let file = file.as_ref();
        let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let records = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        Self { records }
    }

    /// Run by run, in the order of the file.
    pub(crate) fn runs(&self) -> Vec<Self> {
        let same_run = |a: &Value, b: &Value| a["run_id"] == b["run_id"];
        self.records.chunk_by(same_run).map(|records| Self { records: records.to_vec() }).collect()
    }

    /// The names, as often as they are there.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.records.iter().map(|record| text(record, "metric")).collect()
    }

    pub(crate) fn of<'a>(&'a self, metric: &str) -> Vec<&'a Value> {
        self.records.iter().filter(|record| record["metric"] == metric).collect()
    }

    /// The value of a metric that is there once.
    #[track_caller]
    pub(crate) fn value(&self, metric: &str) -> f64 {
        let found = self.of(metric);
        assert_eq!(found.len(), 1, "{metric} is there once: {found:?}");
        found[0]["value"].as_f64().expect("a number")
    }

    /// The same for what is counted.
    #[track_caller]
    pub(crate) fn count(&self, metric: &str) -> u64 {
        whole(self.value(metric))
    }

    /// The sum over all records of a metric of counts.
    pub(crate) fn sum(&self, metric: &str) -> u64 {
        self.of(metric).iter().map(|record| whole(record["value"].as_f64().expect("a number"))).sum()
    }
}

/// A number of JSON is a float; that of a count has no fraction.
fn whole(value: f64) -> u64 {
    value.to_string().parse().unwrap_or_else(|_| panic!("{value} is no count"))
}

pub(crate) fn text<'a>(record: &'a Value, key: &str) -> &'a str {
    record[key].as_str().unwrap_or_else(|| panic!("'{key}' is no text: {record}"))
}

impl Tarsql {
    /// Runs it with a metrics file of its own, and returns that too.
    #[track_caller]
    pub(crate) fn measured(self) -> (Output, Metrics) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let file = dir.path().join("metrics.json");
        let output = self.args(["--metrics".as_ref(), file.as_os_str()]).run();
        let metrics = if file.exists() { Metrics::read(&file) } else { Metrics { records: Vec::new() } };
        (output, metrics)
    }

    /// The same, for what has to work: stdout and what was measured.
    #[track_caller]
    pub(crate) fn measured_ok(self) -> (String, Metrics) {
        let what = format!("{self:?}");
        let (output, metrics) = self.measured();
        assert_eq!(output.status, Some(0), "{what}\nstdout: {}\nstderr: {}", output.stdout, output.stderr);
        (output.stdout, metrics)
    }
}
