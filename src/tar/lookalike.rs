//! What an object that is no tar archive seems to be, by its first bytes: for the message that refuses it.
//!
//! A wrong guess costs nothing, since it comes after a header was looked for and not found.

/// Formats by their first bytes, what to call them, and what to do about them.
#[rustfmt::skip]
const MAGICS: [(&[u8], &str, &str); 28] = [
    (b"\x1f\x9d", "data compressed by compress (.Z)", RECOMPRESS),
    (b"\x1f\xa0", "data compressed by compress -H", RECOMPRESS),
    (b"LZIP", "data compressed by lzip", RECOMPRESS),
    (b"\x5d\0\0", "data compressed by lzma", RECOMPRESS),
    (b"\x89LZO\0\r\n\x1a\n", "data compressed by lzop", RECOMPRESS),
    (b"LRZI", "data compressed by lrzip", RECOMPRESS),
    (b"\xff\x06\0\0sNaPpY", "data compressed by snappy", RECOMPRESS),
    (b"\x1f\x8b", "gzip data", COMPRESSED),
    (b"\x28\xb5\x2f\xfd", "zstd data", COMPRESSED),
    (b"BZh", "bzip2 data", COMPRESSED),
    (b"\xfd7zXZ\0", "xz data", COMPRESSED),
    (b"\x04\x22\x4d\x18", "lz4 data", COMPRESSED),
    (b"\x02\x21\x4c\x18", "lz4 data", COMPRESSED),
    (b"PK\x03\x04", "a zip archive", REPACK),
    (b"PK\x05\x06", "an empty zip archive", REPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", REPACK),
    (b"Rar!\x1a\x07", "a RAR archive", REPACK),
    (b"070701", "a cpio archive", REPACK),
    (b"070702", "a cpio archive", REPACK),
    (b"070707", "a cpio archive", REPACK),
    (b"MSCF", "a cabinet archive", REPACK),
    (b"!<arch>\ndebian-binary", "a Debian package", "take the data.tar out of it: ar x"),
    (b"!<arch>\n", "an ar archive", REPACK),
    (b"\xed\xab\xee\xdb", "an RPM package", "take its content out of it: rpm2archive"),
    (b"PAR1", "a Parquet file", "read it as one: STORED AS PARQUET"),
    (b"ARROW1\0\0", "an Arrow file", "read it as one: STORED AS ARROW"),
    (b"Obj\x01", "an Avro file", "read it as one: STORED AS AVRO"),
    (b"%PDF-", "a PDF file", WRONG),
];

const RECOMPRESS: &str = "decompress it first, or compress it with gzip, zstd, bzip2, xz or lz4";
const COMPRESSED: &str = "it may be compressed twice, or another archive_compression than it has was asked for";
const REPACK: &str = "unpack it, and pack it as tar";
const WRONG: &str = "check the locator";
const ANSWER: &str = "it may be what a server answers instead of the archive: check the URL and the credentials";

/// Such as in `not a tar archive, but a zip archive: unpack it, and pack it as tar`.
pub(super) fn lookalike(head: &[u8]) -> Option<String> {
    let magic = MAGICS.iter().find(|(magic, ..)| head.starts_with(magic)).map(|&(_, what, remedy)| (what, remedy));
    let (what, remedy) = magic.or_else(|| text(head))?;
    Some(format!("{what}: {remedy}"))
}

/// Text that servers answer, and any other of more than one line.
fn text(head: &[u8]) -> Option<(&'static str, &'static str)> {
    // The last character may be cut.
    let text = match str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => str::from_utf8(&head[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return None;
    }
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let begins = |word: &str| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if begins("<!doctype html") || begins("<html") {
        return Some(("an HTML page", ANSWER));
    }
    match text.as_bytes() {
        [b'<', ..] => Some(("an XML document", ANSWER)),
        [b'{' | b'[', ..] => Some(("a JSON document", ANSWER)),
        _ => text.contains('\n').then_some(("text", WRONG)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks() {
        let cases: [(&[u8], Option<&str>); 12] = [
            (b"", None),
            (b"PK\x03\x04\x14\0", Some("a zip archive")),
            (b"\r\n <HTML lang=\"en\">", Some("an HTML page")),
            (b"\xef\xbb\xbf<!DOCTYPE html>", Some("an HTML page")),
            (b"<?xml version=\"1.0\"?>", Some("an XML document")),
            (b"[1, 2]", Some("a JSON document")),
            (b"a,b\n1,2\n", Some("text")),
            (b"a,\xc3\xa9\n\xc3", Some("text")),
            (b"a,\xc3\n", None),
            (b"one line", None),
            (b"text\n\0", None),
            (b"\x5d\0\0\x80", Some("data compressed by lzma")),
        ];
        for (head, expected) in cases {
            let found = lookalike(head);
            assert_eq!(
                found.as_deref().and_then(|found| found.split(": ").next()),
                expected,
                "{}",
                head.escape_ascii()
            );
        }
    }
}
