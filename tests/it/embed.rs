//! A program outside the crate embeds the library: it builds with the library's features only, and answers.

use std::process::Command;

use crate::testdata::testdata;

#[test]
fn a_program_of_somebody_else_reads_archives() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/embed/Cargo.toml");
    // Below our own target folder, but not in it: this test runs while cargo may hold that one's lock.
    let target = concat!(env!("CARGO_TARGET_TMPDIR"), "/embed");
    let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock");
    // The same versions as ours: what cargo then adds or drops is only this program's own entry.
    let copy = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/embed/Cargo.lock");
    std::fs::copy(lock, copy).expect("our Cargo.lock can be copied");
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--manifest-path", manifest, "--target-dir", target, "--"]);
    command.arg(testdata("python/types.tar"));
    let output = command.output().expect("cargo starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    let expected = "block,1,0\ncharacter,1,0\ndirectory,1,0\nfifo,1,0\nfile,4,24\nhardlink,1,0\nsymlink,1,0\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}
