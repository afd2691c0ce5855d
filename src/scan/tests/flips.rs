//! Archives with one wrong byte, at every place: an error or a warning, or the same members. Only the content of a plain
//! tar can change unnoticed, since tar has no checksum of it, and what pax records say, since theirs covers the header alone.

use super::*;
use crate::tar::builder::Archive;

/// Files, a directory, a link, an extended header and a sparse file.
fn sample() -> Bytes {
    let sparse = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "10")];
    let archive = Archive::new()
        .file("a.txt", "some text\nof two lines\n")
        .directory("d/")
        .pax(&[("path", "d/b.txt"), ("mtime", "1.5"), ("size", "5")])
        .file("short", "12345")
        .pax(&sparse)
        .file("s", format!("{:\0<512}de", "1\n4\n2\n"))
        .file("last.txt", "last\n")
        .end();
    archive.build().into()
}

/// A row without what a flip in content or in pax records may change.
fn kept(row: &str) -> &str {
    row.split(' ').next().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_byte_is_told_or_changes_no_member() {
    let plain = sample();
    let mut counts = [0; 3];
    for reading in [Reading::members(), Reading { content: false, ..Reading::members() }, Reading::lines()] {
        let right = reading.read(&plain).await;
        assert!(right.incidents.is_empty(), "{right:?}");
        // Without content, what is inside a compression is read the same way.
        let wrappings = if reading.content { FORMATS.len() + 1 } else { 1 };
        for (wrapping, bytes) in wrapped(&plain).take(wrappings) {
            for (at, flip) in (0..bytes.len()).flat_map(|at| [(at, 0x01), (at, 0xff)]) {
                let mut wrong = bytes.to_vec();
                wrong[at] ^= flip;
                let found = reading.read(&wrong.into()).await;
                let what =
                    format!("{:?}, {wrapping}, byte {at} of {} xor {flip:#x}: {found:#?}", reading.format, bytes.len());
                if !found.incidents.is_empty() {
                    assert_eq!(found.incidents.len(), 1, "{what}");
                    counts[0] += 1;
                    continue;
                }
                assert_eq!((found.members, found.accounted), (right.members, right.accounted), "{what}");
                if wrapping == "plain" && reading.format == MemberFormat::Members {
                    assert!(
                        found.rows.iter().map(|row| kept(row)).eq(right.rows.iter().map(|row| kept(row))),
                        "{what}"
                    );
                } else if wrapping != "plain" {
                    assert_eq!(found.rows, right.rows, "{what}");
                }
                counts[if found.rows == right.rows { 1 } else { 2 }] += 1;
            }
        }
    }
    let [told, same, changed] = counts;
    assert!(told > same && changed > 0, "{told} told, {same} without consequence, {changed} other contents");
}
