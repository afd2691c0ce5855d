//! Every plain tar of `testdata/`, hostile and damaged ones too: the same members and the same end at every chunk size.

use std::path::Path;

use super::*;

#[test]
fn every_bundled_archive_at_every_chunk_size() {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let (mut archives, mut members) = (0, 0);
    for folder in ["bsdtar", "csv", "damaged", "gnu", "hand", "hostile", "json", "python", "text"] {
        for file in std::fs::read_dir(testdata.join(folder)).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "tar") {
                archives += 1;
                members += read_all(&std::fs::read(&path).unwrap(), Limits::default()).members.len();
            }
        }
    }
    assert!(archives > 150 && members > 500, "{archives} archives, {members} members");
}
