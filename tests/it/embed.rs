//! The library in other programs: one outside the crate, built with the library's features only, and the examples.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::python::run_script;
use crate::testdata::testdata;

/// What Cargo tells the tests about their package. A build that saw it would take it for its own: build scripts that look
/// at such variables (ring's) would run again, and DataFusion be built anew, twice in each run of the tests.
const OF_THE_PACKAGE: [&str; 4] = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_"];

/// Runs `cargo run` for that manifest in our target folder, where most is built already; returns what it printed.
fn cargo_run(manifest: &Path, args: &[&OsStr]) -> String {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the folder for tests is in the target folder");
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    for (name, _) in std::env::vars_os() {
        if OF_THE_PACKAGE.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.args(["run", "--quiet", "--manifest-path"]).arg(manifest).arg("--target-dir").arg(target).args(args);
    let output = command.output().expect("cargo starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}

#[test]
fn a_program_of_somebody_else_reads_archives() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let embed = package.join("tests/embed");
    // Our versions, so that what is built in our target folder fits.
    fs::copy(package.join("Cargo.lock"), embed.join("Cargo.lock")).expect("our Cargo.lock can be copied");
    let archive = testdata("python/types.tar");
    let printed = cargo_run(&embed.join("Cargo.toml"), &["--".as_ref(), archive.as_os_str()]);
    let expected = "block,1,0\ncharacter,1,0\ndirectory,1,0\nfifo,1,0\nfile,4,24\nhardlink,1,0\nsymlink,1,0\n";
    assert_eq!(printed, expected);
}

/// What an example prints. `cargo test` has built it already.
fn example(name: &str) -> String {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    cargo_run(&manifest, &["--example".as_ref(), name.as_ref()])
}

/// The cells of a printed table, line by line.
fn cells(table: &str) -> Vec<Vec<&str>> {
    let lines = table.lines().filter(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn every_example_works() {
    let folder = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).expect("the folder is there");
    let mut names: Vec<_> = folder.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names, ["builder.rs", "register.rs"], "each example has a case");

    let printed = example("builder");
    let rows = cells(&printed);
    assert_eq!(rows[0].len(), 3, "{printed}");
    let counts: BTreeMap<String, u64> =
        rows[1..].iter().map(|row| (row[0].to_owned(), row[1].parse().expect("a count"))).collect();
    assert_eq!(counts, failures_by_level(), "{printed}");

    let printed = example("register");
    let rows = cells(&printed);
    let members = rows.iter().filter(|row| row[0].ends_with(".csv.gz") && row[1] == "file").count();
    assert_eq!((members, rows.len()), (3, 1 + 9 + 1 + 5), "{printed}");
    let fastest: Vec<f64> = rows[11..].iter().map(|row| row[1].parse().expect("a velocity")).collect();
    assert!(fastest.is_sorted_by(|a, b| a >= b) && fastest[0] > 250.0, "{printed}");
}

/// How many lines of `json/logs.tar` have a status of 400 or more, by level, as Python counts them.
fn failures_by_level() -> BTreeMap<String, u64> {
    let printed = run_script("logs.py", [testdata("json/logs.tar")], &[]);
    serde_json::from_str(&printed).expect("the script prints JSON")
}
