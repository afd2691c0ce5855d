//! Pax records: the input is the bodies of a global and a local header, in front of one file.

use crate::mutate::{self, Dice};
use crate::{reading, second_opinion};

/// What is in front of the body of the first header; between that and the second; and behind both.
const SEPARATOR: &[u8] = b"\0\0";

/// What the file holds, unless a record says otherwise.
const CONTENT: &[u8] = b"content";

pub(super) fn check(data: &[u8]) {
    let split = data.windows(SEPARATOR.len()).position(|bytes| bytes == SEPARATOR);
    let (global, local) = match split {
        Some(at) => (Some(&data[..at]), &data[at + SEPARATOR.len()..]),
        None => (None, data),
    };
    let mut archive = Vec::new();
    if let Some(global) = global {
        append(&mut archive, b'g', global);
    }
    append(&mut archive, b'x', local);
    append(&mut archive, b'0', CONTENT);
    archive.resize(archive.len() + 1024, 0);
    let facts = reading::check(&archive);
    second_opinion::compare(&archive, &facts);
    check_records(global.unwrap_or_default(), local, &facts);
}

fn append(archive: &mut Vec<u8>, kind: u8, body: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_size(body.len() as u64);
    header.set_mode(0o644);
    header.set_uid(1);
    header.set_gid(2);
    header.set_mtime(3);
    header.as_mut_bytes()[..4].copy_from_slice(b"name");
    header.set_cksum();
    archive.extend(header.as_bytes());
    archive.extend(body);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

/// Whether every record of well-formed bodies is where it belongs, by the plainest reading of POSIX.
fn check_records(global: &[u8], local: &[u8], facts: &reading::Facts) {
    let (Some(global), Some(local)) = (records(global), records(local)) else {
        assert!(facts.end.is_err(), "a malformed record is refused");
        return;
    };
    let Some((member, _)) = facts.members.first() else { return };
    let last = |key: &[u8]| {
        let found = local.iter().rev().chain(global.iter().rev()).find(|(this, _)| *this == key);
        found.map(|(_, value)| *value).filter(|value| !value.is_empty())
    };
    if last(b"GNU.sparse.name").is_none() {
        assert_eq!(member.path, last(b"path").unwrap_or(b"name"));
    }
    for (key, value) in &member.pax {
        if key.contains('\u{fffd}') || key == "mtime" {
            continue;
        }
        let stored = last(key.as_bytes()).map(String::from_utf8_lossy);
        assert_eq!(stored.as_deref(), Some(value.as_str()), "{key}");
    }
    let others = local.iter().chain(&global).filter(|(key, _)| is_other(key) && last(key).is_some());
    for (key, _) in others {
        let key = String::from_utf8_lossy(key);
        assert!(member.pax.iter().any(|(this, _)| *this == key), "{key} is lost");
    }
}

/// Whether no field of a member holds it.
fn is_other(key: &[u8]) -> bool {
    let fields: [&[u8]; 8] = [b"path", b"linkpath", b"uname", b"gname", b"size", b"mtime", b"uid", b"gid"];
    !fields.contains(&key) && !key.starts_with(b"GNU.sparse.")
}

/// The records of a body; `None` if it is malformed.
fn records(mut body: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while body.iter().any(|&byte| byte != 0) {
        let blank = body.iter().position(|&byte| byte == b' ')?;
        let digits = str::from_utf8(&body[..blank]).ok()?;
        let len: usize = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
        let (record, rest) = body.split_at_checked(len)?;
        let text = record.get(blank + 1..)?.strip_suffix(b"\n")?;
        let equals = text.iter().position(|&byte| byte == b'=')?;
        if equals == 0 {
            return None;
        }
        records.push((&text[..equals], &text[equals + 1..]));
        body = rest;
    }
    Some(records)
}

const KEYS: [&str; 23] = [
    "",
    "path",
    "linkpath",
    "size",
    "uid",
    "gid",
    "uname",
    "gname",
    "mtime",
    "atime",
    "comment",
    "hdrcharset",
    "GNU.sparse.major",
    "GNU.sparse.minor",
    "GNU.sparse.name",
    "GNU.sparse.size",
    "GNU.sparse.realsize",
    "GNU.sparse.numblocks",
    "GNU.sparse.map",
    "GNU.sparse.offset",
    "GNU.sparse.numbytes",
    "SCHILY.xattr.user.a",
    "LIBARCHIVE.creationtime",
];

const VALUES: [&str; 16] = [
    "",
    "0",
    "1",
    "7",
    "8",
    "0,7",
    "0,3,4,3",
    "1700000000.123456789",
    "-1.5",
    "9223372036854775807",
    "18446744073709551616",
    "-1",
    "a/b",
    "d/",
    "a\nb",
    "=",
];

/// Puts a record anywhere, mostly a well-formed one, or changes bytes.
pub(super) fn mutate(data: &mut Vec<u8>, dice: &mut Dice, len_max: usize) {
    if dice.below(3) == 0 {
        return mutate::bytes(data, dice, len_max);
    }
    let text = format!(" {}={}\n", KEYS[dice.below(KEYS.len())], VALUES[dice.below(VALUES.len())]);
    let mut len = text.len() + 1;
    while len.to_string().len() + text.len() != len {
        len += 1;
    }
    if dice.below(16) == 0 {
        // One that ends before or behind its newline.
        len = (len + dice.below(3)).saturating_sub(1);
    }
    let separator = if dice.below(8) == 0 { "\0\0" } else { "" };
    let record = format!("{len}{text}{separator}").into_bytes();
    let ends: Vec<_> = (0..data.len()).filter(|&at| data[at] == b'\n').map(|at| at + 1).collect();
    let at = if ends.is_empty() || dice.below(4) == 0 { 0 } else { ends[dice.below(ends.len())] };
    if dice.below(4) == 0 {
        data.clear();
    }
    let at = at.min(data.len());
    data.splice(at..at, record);
    data.truncate(len_max);
}
