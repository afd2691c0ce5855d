//! What the `tar` crate makes of an archive, and where it may differ.
//!
//! Both read what POSIX and GNU tar write. Outside of that each has its way; [`differences`] lists the constructs about
//! which the two disagree knowingly, each with the reason for ours, and an archive with one of them isn't compared.

use std::io::Read;

use crate::reading::Facts;
use crate::tar::{Member, MemberType};

/// Asserts that the `tar` crate sees the same members, where it reads the archive to its end.
pub(crate) fn compare(data: &[u8], facts: &Facts) {
    if facts.end.is_err() || differences(data).is_some() {
        return;
    }
    let Some(theirs) = read(data) else { return };
    let ours: Vec<_> = facts.members.iter().map(|(member, content)| Entry::of(member, content)).collect();
    assert_eq!(ours, theirs, "ours, and that of the tar crate");
}

#[derive(PartialEq)]
struct Entry {
    path: Vec<u8>,
    kind: &'static str,
    size: u64,
    data_offset: u64,
    linkname: Vec<u8>,
    content: Vec<u8>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, kind, size, data_offset, linkname, content } = self;
        let (path, linkname) = (path.escape_ascii(), linkname.escape_ascii());
        write!(f, "{kind} '{path}' {size} at {data_offset} -> '{linkname}' = '{}'", content.escape_ascii())
    }
}

impl Entry {
    fn of(member: &Member, content: &[u8]) -> Self {
        Self {
            path: member.path.clone(),
            kind: member.member_type.as_str(),
            size: member.size,
            data_offset: member.data_offset,
            linkname: member.linkname.clone(),
            content: content.to_vec(),
        }
    }
}

/// `None` where the crate finds fault with the archive.
fn read(data: &[u8]) -> Option<Vec<Entry>> {
    let mut archive = tar::Archive::new(data);
    // Archives put one behind the other are one archive.
    archive.set_ignore_zeros(true);
    let mut entries = Vec::new();
    for entry in archive.entries().ok()? {
        let mut entry = entry.ok()?;
        let kind = kind(entry.header().entry_type());
        let mut content = Vec::new();
        entry.read_to_end(&mut content).ok()?;
        if content.len() as u64 != entry.size() {
            // It takes what a cut archive has for the content; we don't.
            return None;
        }
        let is_link = matches!(kind, "symlink" | "hardlink");
        let linkname = entry.link_name_bytes().filter(|_| is_link).unwrap_or_default().into_owned();
        entries.push(Entry {
            path: entry.path_bytes().into_owned(),
            kind,
            size: entry.size(),
            data_offset: entry.raw_file_position(),
            linkname,
            content,
        });
    }
    Some(entries)
}

fn kind(kind: tar::EntryType) -> &'static str {
    match kind.as_byte() {
        0 | b'0' | b'7' => MemberType::File,
        b'1' => MemberType::Hardlink,
        b'2' => MemberType::Symlink,
        b'3' => MemberType::Character,
        b'4' => MemberType::Block,
        b'5' => MemberType::Directory,
        b'6' => MemberType::Fifo,
        other => MemberType::Other(other),
    }
    .as_str()
}

/// Why the two may differ about this archive; `None` if they may not.
fn differences(data: &[u8]) -> Option<&'static str> {
    let mut archive = tar::Archive::new(data);
    archive.set_ignore_zeros(true);
    let (mut has_long_name, mut has_pax) = (false, false);
    let mut pax_size = None;
    for entry in archive.entries().ok()?.raw(true) {
        let Ok(mut entry) = entry else { return Some("it has a damaged header, or garbage behind its end") };
        let header = entry.header().clone();
        let size = entry.size();
        let type_byte = header.entry_type().as_byte();
        if header.as_bytes()[257..].starts_with(b"ustar") && header.as_gnu().is_none() && header.as_ustar().is_none() {
            return Some("it wants a version behind the magic; some writers put NULs or blanks there");
        }
        let is_extension = matches!(type_byte, b'x' | b'L' | b'K');
        if is_extension && header.as_gnu().is_none() && header.as_ustar().is_none() {
            return Some("it takes an extension header without magic for a member; we, as GNU tar, don't");
        }
        match type_byte {
            b'g' => return Some("it doesn't apply global records; GNU tar and CPython do"),
            b'X' => return Some("it doesn't know the type of Solaris's pax headers"),
            b'S' => return Some("it wants the data of sparse files aligned, and gives their content with holes"),
            b'D' => return Some("it takes GNU's directory listing for a member of its own type"),
            b'L' | b'K' => {
                let mut name = Vec::new();
                entry.read_to_end(&mut name).ok()?;
                let until_nul = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
                if until_nul + 1 < name.len() {
                    return Some("it keeps what stands behind a NUL in a long name, where C would end it");
                }
                has_long_name = true;
            }
            b'x' => {
                let mut body = Vec::new();
                entry.read_to_end(&mut body).ok()?;
                if let Some(difference) = pax_differences(&body) {
                    return Some(difference);
                }
                pax_size = size_record(&body);
                has_pax = true;
            }
            _ if pax_size.take().is_some_and(|pax_size| pax_size != size) => {
                return Some(
                    "the headers that this list is made of are its raw ones, without the sizes in pax records",
                );
            }
            0 | b'0' | b'7' => {
                if path_ends_with_slash(&entry) {
                    return Some("it doesn't take a path that ends in a slash for a directory, as POSIX has it");
                }
                (has_long_name, has_pax) = (false, false);
            }
            b'1'..=b'6' if size > 0 => {
                return Some("it obeys the size of what is no file; we look what comes next, as most readers do");
            }
            _ => (has_long_name, has_pax) = (false, false),
        }
        if has_long_name && has_pax {
            return Some("it prefers a GNU long name to a pax path; GNU tar, Go and CPython don't");
        }
    }
    None
}

fn path_ends_with_slash(entry: &tar::Entry<'_, &[u8]>) -> bool {
    entry.path_bytes().ends_with(b"/")
}

fn size_record(body: &[u8]) -> Option<u64> {
    let mut records = tar::PaxExtensions::new(body).flatten();
    records.find(|record| record.key_bytes() == b"size")?.value().ok()?.parse().ok()
}

/// It splits pax records at newlines, stops in silence at a malformed one, and takes the first of several.
fn pax_differences(body: &[u8]) -> Option<&'static str> {
    let mut keys = Vec::new();
    for record in tar::PaxExtensions::new(body) {
        let Ok(record) = record else { return Some("it skips a malformed pax record; we refuse it") };
        let key = record.key_bytes();
        if key.starts_with(b"GNU.sparse.") {
            return Some("it doesn't know the sparse files of pax");
        }
        if record.value_bytes().is_empty() {
            return Some("it doesn't take a record back by an empty one, as POSIX has it");
        }
        if key == b"size" && record.value().ok().and_then(|value| value.parse::<u64>().ok()).is_none() {
            return Some("it ignores a size that is no number; we refuse it");
        }
        if key == b"path" && record.value_bytes().ends_with(b"/") {
            return Some("it doesn't take a path that ends in a slash for a directory, as POSIX has it");
        }
        if keys.contains(&key) {
            return Some("it takes the first of several records for one key; POSIX has the last");
        }
        keys.push(key);
    }
    if body.windows(2).any(|pair| pair == b"\n\n") || body.starts_with(b"\n") {
        return Some("it stops at an empty line; a value may have one");
    }
    None
}
