//! A program outside the crate embeds the library: it builds with the library's features only, and answers.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::testdata::testdata;

#[test]
fn a_program_of_somebody_else_reads_archives() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let embed = package.join("tests/embed");
    // Our versions and our target folder: DataFusion is there already and need not be built again.
    fs::copy(package.join("Cargo.lock"), embed.join("Cargo.lock")).expect("our Cargo.lock can be copied");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the folder for tests is in the target folder");
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--manifest-path"]).arg(embed.join("Cargo.toml"));
    command.arg("--target-dir").arg(target).arg("--").arg(testdata("python/types.tar"));
    let output = command.output().expect("cargo starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    let expected = "block,1,0\ncharacter,1,0\ndirectory,1,0\nfifo,1,0\nfile,4,24\nhardlink,1,0\nsymlink,1,0\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}
