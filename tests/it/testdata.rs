//! The bundled archives, what is in them, and the names that an archive may have.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Names that must reach the store as they are. Not files of the repository: Windows could not check them out.
pub(crate) const WEIRD_NAMES: [&str; 12] = [
    "with space.tar",
    "a+b.tar",
    "100%.tar",
    "%41.tar",
    "a#b.tar",
    "a?b.tar",
    "é.tar",
    "[x].tar",
    "{y,z}.tar",
    "star*.tar",
    "a::b.tar",
    "quote'.tar",
];

/// A file or folder of `testdata/`.
pub(crate) fn testdata(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(path)
}

/// A JSON file of `testdata/`: `expected.json`, `opensky/manifest.json`.
pub(crate) fn json(path: &str) -> serde_json::Value {
    let file = testdata(path);
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// SHA-256 of some content, in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A folder with the same small tar under each of [`WEIRD_NAMES`], and below a folder whose name begins with a dot.
pub(crate) fn weird_names() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let hidden = dir.path().join(".2022-06-27");
    fs::create_dir(&hidden).expect("a folder");
    for name in WEIRD_NAMES {
        fs::copy(testdata("compressed/plain.tar"), dir.path().join(name)).expect("a copy");
        fs::copy(testdata("compressed/plain.tar"), hidden.join(name)).expect("a copy");
    }
    dir
}
