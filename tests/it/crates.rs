//! Archives of real life, as many as this machine has: the `.crate` files in cargo's cache, compared with Python's
//! tarfile.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::program::Tarsql;
use crate::python::run_script;

/// How many have their content compared too.
const SAMPLE: usize = 40;

/// The `.crate` files of cargo's cache. Cargo has built these tests, so there are some.
pub(crate) fn cargo_cache() -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).expect("cargo has a home");
    let list = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        entries.map(|entry| entry.expect("a folder can be read").path()).collect()
    };
    let registries = list(&home.join("registry/cache"));
    let mut crates: Vec<_> = registries.iter().flat_map(|registry| list(registry)).collect();
    crates.retain(|file| file.extension().is_some_and(|extension| extension == "crate"));
    crates.sort();
    assert!(!crates.is_empty(), "no .crate file below {}", home.display());
    crates
}

/// What tarfile says of crates, by their paths; of the first [`SAMPLE`] with hashes.
pub(crate) fn tarfile(crates: &[PathBuf]) -> BTreeMap<String, Value> {
    let args = [SAMPLE.to_string().into()].into_iter().chain(crates.iter().map(|path| path.clone().into_os_string()));
    serde_json::from_str(&run_script("crates.py", args, &[])).expect("the script prints JSON")
}

/// The locators of files, as an array of SQL.
fn array(files: &[PathBuf]) -> String {
    let quoted = files.iter().map(|file| format!("'{}'", file.display().to_string().replace('\'', "''")));
    format!("[{}]", quoted.collect::<Vec<_>>().join(", "))
}

fn nd_json(sql: &str) -> Vec<Value> {
    let stdout = Tarsql::new().args(["--format", "nd-json"]).args(["-c", sql]).ok();
    stdout.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn path_of(row: &Value) -> &str {
    let archive = row["archive"].as_str().expect("a URL");
    archive.strip_prefix("file://").expect("a file")
}

#[test]
fn every_crate_is_read_as_tarfile_reads_it() {
    let mut crates = cargo_cache();
    // The sample comes first, and from everywhere.
    let stride = crates.len().div_ceil(SAMPLE);
    let mut n = 0;
    crates.sort_by_cached_key(|_| {
        n += 1;
        (n % stride != 0, n)
    });
    let expected = tarfile(&crates);
    assert_eq!(expected.len(), crates.len());

    let rows = nd_json(&format!(
        "SELECT archive, count(*) AS members, sum(size) AS bytes FROM read_tar({}) GROUP BY archive",
        array(&crates)
    ));
    assert_eq!(rows.len(), crates.len());
    for row in &rows {
        let path = path_of(row);
        let tarfile = expected.get(path).unwrap_or_else(|| panic!("{path} is not in the cache"));
        assert_eq!((&row["members"], &row["bytes"]), (&tarfile["members"], &tarfile["bytes"]), "{path}");
    }

    let sample = &crates[..SAMPLE.min(crates.len())];
    let rows = nd_json(&format!(
        "SELECT archive, path, encode(sha256(content), 'hex') AS hash FROM read_tar({}) WHERE type = 'file'",
        array(sample)
    ));
    let mut hashes: BTreeMap<&str, Vec<[&Value; 2]>> = BTreeMap::new();
    for row in &rows {
        hashes.entry(path_of(row)).or_default().push([&row["path"], &row["hash"]]);
    }
    assert_eq!(hashes.len(), sample.len());
    for (path, mut hashes) in hashes {
        hashes.sort_by_key(|[path, _]| path.as_str());
        assert_eq!(serde_json::json!(hashes), expected[path]["hashes"], "{path}");
    }
}
