//! Sparse maps: the input says which extents a file has and in which of GNU tar's four encodings; or it is the map itself.
//!
//! A well-formed map is compared with the file that it plainly describes, every other one has to be refused.

use crate::chunks::Chunks;
use crate::reading::{self, FILE_BYTES_MAX, LIMITS};

/// Content that is written behind a map; a map that wants more describes a cut archive.
const STORED_BYTES_MAX: u64 = 8 << 10;

pub(super) fn check(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    match first % 6 {
        0 => structured(rest, old_gnu),
        1 => structured(rest, pax_0_0),
        2 => structured(rest, pax_0_1),
        3 => structured(rest, pax_1_0),
        4 => raw_text(rest),
        _ => raw_blocks(rest),
    }
}

/// What a map says.
struct Map {
    extents: Vec<(u64, u64)>,
    size: u64,
}

impl Map {
    /// Numbers one after the other; the first is what the file is longer than its last extent.
    fn read(mut bytes: &[u8]) -> Self {
        let behind = number(&mut bytes);
        let mut end = 0_u64;
        let mut extents = Vec::new();
        while !bytes.is_empty() && extents.len() < 300 {
            // Mostly in order: from the end of the last one.
            let is_absolute = bytes[0] == 0xff;
            let offset = number(&mut bytes).wrapping_add(if is_absolute { 0 } else { end });
            let len = number(&mut bytes);
            extents.push((offset, len));
            end = offset.wrapping_add(len);
        }
        let size = if behind == 0xff { number(&mut bytes) } else { end.wrapping_add(behind) };
        Self { extents, size }
    }

    /// Bytes of content, where they can be added up.
    fn stored_size(&self) -> Option<u64> {
        self.extents.iter().try_fold(0_u64, |sum, (_, len)| sum.checked_add(*len))
    }

    fn is_valid(&self) -> bool {
        let mut end = 0;
        let ordered = self.extents.iter().all(|&(offset, len)| {
            let is_behind = offset >= end;
            end = offset.saturating_add(len);
            is_behind && offset.checked_add(len).is_some_and(|end| end <= self.size)
        });
        ordered && self.size <= i64::MAX.unsigned_abs() && self.extents.len() <= LIMITS.sparse_extents_max
    }

    fn content(&self) -> Vec<u8> {
        let len = self.stored_size().map_or(0, |len| len.min(STORED_BYTES_MAX));
        (0..len).map(|at| (at % 251) as u8 + 1).collect()
    }

    fn file(&self) -> Vec<u8> {
        let mut file = vec![0; self.size as usize];
        let content = self.content();
        let mut left = content.as_slice();
        for &(offset, len) in &self.extents {
            let (data, rest) = left.split_at(len as usize);
            file[offset as usize..][..data.len()].copy_from_slice(data);
            left = rest;
        }
        file
    }
}

/// A small number in one byte, any in nine, and those at the edges in two.
fn number(bytes: &mut &[u8]) -> u64 {
    let Some((&first, rest)) = bytes.split_first() else { return 0 };
    *bytes = rest;
    if first < 0xf0 {
        return u64::from(first);
    }
    let wide = rest.first_chunk().copied().map_or(0, u64::from_le_bytes);
    *bytes = &rest[rest.len().min(if first >= 0xfe { 8 } else { 1 })..];
    match first {
        0xfe.. => wide,
        _ => {
            let edges = [512, 513, 4096, 8192, 1 << 33, 1 << 36, i64::MAX.unsigned_abs(), 1 << 63, u64::MAX];
            edges[wide as u8 as usize % edges.len()].wrapping_sub(u64::from(first & 1))
        }
    }
}

/// An archive of one sparse file, and the length of its longest extension header.
struct Written {
    archive: Vec<u8>,
    extension_len: usize,
}

fn structured(bytes: &[u8], write: fn(&Map) -> Written) {
    let map = Map::read(bytes);
    let Written { mut archive, extension_len } = write(&map);
    archive.extend(map.content());
    let is_whole = map.stored_size().is_some_and(|size| size <= STORED_BYTES_MAX);
    if is_whole {
        archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    }
    let facts = reading::check(&archive);
    let within_limits = extension_len as u64 <= LIMITS.extension_bytes_max;
    if !(is_whole && within_limits && map.is_valid()) {
        assert!(facts.end.is_err() && facts.members.is_empty(), "{:?} {} is refused", map.extents, map.size);
        return;
    }
    let [(member, content)] = facts.members.as_slice() else { panic!("{:?}: {:?}", map.extents, facts.end) };
    assert_eq!((member.size, Some(member.stored_size)), (map.size, map.stored_size()));
    if map.size <= FILE_BYTES_MAX {
        let file = reading::file(member, content, &mut Chunks::of_tail(bytes));
        assert!(file.is_some_and(|file| file == map.file()), "{:?} {}", map.extents, map.size);
    }
}

fn old_gnu(map: &Map) -> Written {
    let mut header = header(b'S', map.stored_size().unwrap_or(u64::MAX));
    let pairs: Vec<_> = map.extents.iter().flat_map(|&(offset, len)| [field(offset), field(len)]).collect();
    let (inner, outer) = pairs.split_at(pairs.len().min(8));
    let block = header.as_mut_bytes();
    block[386..386 + inner.len() * 12].copy_from_slice(inner.as_flattened());
    block[482] = u8::from(!outer.is_empty());
    block[483..495].copy_from_slice(&field(map.size));
    header.set_cksum();
    let mut archive = header.as_bytes().to_vec();
    let blocks = outer.chunks(42);
    let last = blocks.len().saturating_sub(1);
    for (at, pairs) in blocks.enumerate() {
        let mut block = [0; 512];
        block[..pairs.len() * 12].copy_from_slice(pairs.as_flattened());
        block[504] = u8::from(at < last);
        archive.extend(block);
    }
    Written { archive, extension_len: 0 }
}

fn pax_0_0(map: &Map) -> Written {
    let mut records = vec![("size", map.size.to_string()), ("numblocks", map.extents.len().to_string())];
    for (offset, len) in &map.extents {
        records.push(("offset", offset.to_string()));
        records.push(("numbytes", len.to_string()));
    }
    pax(&records, map.stored_size())
}

fn pax_0_1(map: &Map) -> Written {
    let numbers: Vec<_> = map.extents.iter().map(|(offset, len)| format!("{offset},{len}")).collect();
    let count = map.extents.len().to_string();
    pax(&[("size", map.size.to_string()), ("numblocks", count), ("map", numbers.join(","))], map.stored_size())
}

fn pax_1_0(map: &Map) -> Written {
    let lines = map.extents.iter().map(|(offset, len)| format!("{offset}\n{len}\n"));
    let mut text = format!("{}\n{}", map.extents.len(), lines.collect::<String>()).into_bytes();
    text.resize(text.len().next_multiple_of(512), 0);
    with_text(&text, map.size, map.stored_size())
}

fn with_text(text: &[u8], size: u64, stored_size: Option<u64>) -> Written {
    let records = [("major", "1".to_owned()), ("minor", "0".to_owned()), ("realsize", size.to_string())];
    let mut written = pax(&records, stored_size.and_then(|size| size.checked_add(text.len() as u64)));
    written.archive.extend(text);
    written
}

/// A pax header and that of a file.
fn pax(records: &[(&str, String)], size: Option<u64>) -> Written {
    let mut body = Vec::new();
    for (key, value) in records {
        let text = format!(" GNU.sparse.{key}={value}\n");
        let mut len = text.len() + 1;
        while len.to_string().len() + text.len() != len {
            len += 1;
        }
        body.extend(format!("{len}{text}").into_bytes());
    }
    let mut archive = header(b'x', body.len() as u64).as_bytes().to_vec();
    archive.extend(&body);
    archive.resize(archive.len().next_multiple_of(512), 0);
    archive.extend(header(b'0', size.unwrap_or(u64::MAX)).as_bytes());
    Written { archive, extension_len: body.len() }
}

fn header(kind: u8, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.as_mut_bytes()[..6].copy_from_slice(b"sparse");
    header.as_mut_bytes()[124..136].copy_from_slice(&field(size));
    header.set_cksum();
    header
}

/// Octal as long as it fits, base-256 behind that.
fn field(value: u64) -> [u8; 12] {
    let mut field = [0; 12];
    if value < 1 << 33 {
        field[..11].copy_from_slice(format!("{value:011o}").as_bytes());
    } else {
        field[0] = 0x80;
        field[4..].copy_from_slice(&value.to_be_bytes());
    }
    field
}

/// The text of a 1.0 map, whatever it says.
fn raw_text(bytes: &[u8]) {
    let mut bytes = bytes;
    let (size, stored) = (number(&mut bytes), number(&mut bytes));
    let mut text = bytes.to_vec();
    text.resize(text.len().next_multiple_of(512), 0);
    let mut archive = with_text(&text, size, Some(stored)).archive;
    archive.resize(archive.len() + 4096, 0);
    reading::check(&archive);
}

/// The blocks behind an old GNU header, whatever they say.
fn raw_blocks(bytes: &[u8]) {
    let mut bytes = bytes;
    let (size, stored) = (number(&mut bytes), number(&mut bytes));
    let mut header = header(b'S', stored);
    let block = header.as_mut_bytes();
    let (inner, outer) = bytes.split_at(bytes.len().min(97));
    block[386..386 + inner.len()].copy_from_slice(inner);
    block[483..495].copy_from_slice(&field(size));
    header.set_cksum();
    let mut archive = header.as_bytes().to_vec();
    archive.extend(outer);
    archive.resize(archive.len().next_multiple_of(512) + 4096, 0);
    reading::check(&archive);
}
