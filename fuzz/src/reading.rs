//! A tar stream as the parser sees it, in pieces of any size, with everything asserted on the way that must be true of
//! every stream.

use crate::allocation::peak_of;
use crate::chunks::Chunks;
use crate::error::{Error, ErrorKind, Result};
use crate::tar::{BLOCK_SIZE, Expander, Limits, Member, MemberType, Parser, Piece, Step, Trailer};

/// Small, so that inputs of a few kilobytes reach them.
pub(crate) const LIMITS: Limits =
    Limits { extension_bytes_max: 8 << 10, sparse_extents_max: 256, extension_headers_max: 6 };

/// What one byte of an extension header may cost at most: the shortest pax record has 5 bytes, and takes two ranges (32
/// bytes), a place among the others (32) and two owned strings (48, and two allocations), while vectors double.
const EXPANSION_MAX: u64 = 48;

/// What the parser takes whatever it reads: buffers of a block, maps, the text of an error.
const PARSER_BYTES: u64 = 16 << 10;

/// Files up to this size are expanded and compared byte by byte.
pub(crate) const FILE_BYTES_MAX: u64 = 256 << 10;

/// What a caller sees of a stream.
#[derive(Debug, PartialEq)]
pub(crate) struct Facts {
    /// With their stored content.
    pub(crate) members: Vec<(Member, Vec<u8>)>,
    /// `Err` ended the stream early; with its kind.
    pub(crate) end: Result<Trailer, (ErrorKind, String)>,
}

/// Reads `data` cut by `chunks`.
pub(crate) fn read(data: &[u8], chunks: &mut Chunks, limits: Limits) -> Facts {
    let mut members = Vec::new();
    let end = walk(data, chunks, limits, |member, content| members.push((member, content.to_vec())));
    Facts { members, end: end.map_err(|error| (error.kind(), error.to_string())) }
}

/// Reads it in every way that is worth it, asserts that all give the same, and what must be true of it.
pub(crate) fn check(data: &[u8]) -> Facts {
    let mut chunks = Chunks::of_tail(data);
    let facts = read(data, &mut Chunks::whole(), LIMITS);
    let cut = read(data, &mut chunks, LIMITS);
    assert_eq!(cut, facts, "in pieces");
    facts.members.iter().for_each(|(member, content)| check_member(member, content));
    check_memory(data);
    check_truncation(data, &facts, &mut chunks.another());
    facts
}

fn check_memory(data: &[u8]) {
    let (_, peak) = peak_of(|| drop(walk(data, &mut Chunks::whole(), LIMITS, |member, _| drop(member))));
    let max = PARSER_BYTES
        + EXPANSION_MAX * LIMITS.extension_bytes_max
        // A vector that doubles, and a copy of the extents.
        + 4 * 16 * LIMITS.sparse_extents_max as u64;
    assert!(peak <= max, "{peak} bytes were held, where {max} are allowed");
}

/// A stream that is cut anywhere never seems to be whole and have fewer members.
fn check_truncation(data: &[u8], whole: &Facts, chunks: &mut Chunks) {
    if data.is_empty() {
        return;
    }
    let cut = chunks.next(data.len());
    let facts = read(&data[..cut], chunks, LIMITS);
    let same = facts.members.len();
    assert_eq!(facts.members, whole.members[..same], "cut at {cut}");
    let Ok(trailer) = facts.end else { return };
    // Garbage behind an end marker is counted and warned of: a cut header there can't be told from any.
    let behind = whole.members.get(same).filter(|_| trailer.garbage_offset.is_none());
    let lost = behind.and_then(|(member, _)| data.get(usize::try_from(member.offset).ok()?..cut));
    assert!(lost.is_none_or(|bytes| bytes.iter().all(|&byte| byte == 0)), "cut at {cut}: a member is lost in silence");
}

fn walk(data: &[u8], chunks: &mut Chunks, limits: Limits, mut found: impl FnMut(Member, &[u8])) -> Result<Trailer> {
    let mut parser = Parser::new(limits);
    let mut at = 0;
    let mut after_last = 0;
    while at < data.len() {
        let chunk = &data[at..at + chunks.next(data.len() - at)];
        let (consumed, step) = parser.parse(chunk)?;
        at += consumed;
        match step {
            Step::NeedsData => assert_eq!(consumed, chunk.len(), "all of it is consumed"),
            Step::Member(member) => {
                assert_eq!(member.data_offset, at as u64, "content comes next");
                assert_eq!(member.offset % BLOCK_SIZE, 0);
                assert!(member.offset >= after_last, "members don't overlap");
                assert!(member.offset + BLOCK_SIZE <= member.data_offset);
                after_last = member.data_offset + member.stored_size + member.padding();
                let content = usize::try_from(after_last).ok().and_then(|end| data.get(at..end));
                let Some(content) = content else {
                    return Err(Error::new(ErrorKind::Archive, "truncated in content").at(member.data_offset));
                };
                at += content.len();
                let stored = content.len() - usize::try_from(member.padding()).expect("less than a block");
                found(*member, &content[..stored]);
            }
        }
        assert_eq!(parser.offset(), at as u64, "every byte counts");
    }
    let trailer = parser.finish()?;
    // What is neither garbage nor zeros lies before it.
    let behind = trailer.garbage_bytes + trailer.padding_bytes;
    assert!(after_last + behind <= data.len() as u64, "{trailer:?} behind {after_last}");
    if let Some(offset) = trailer.garbage_offset {
        assert!(trailer.end_marker && trailer.garbage_bytes > 0);
        assert_eq!(offset + trailer.garbage_bytes, data.len() as u64);
    }
    Ok(trailer)
}

fn check_member(member: &Member, content: &[u8]) {
    assert_eq!(member.stored_size, content.len() as u64);
    assert!(member.mode <= 0o7777);
    assert!(member.size <= i64::MAX.unsigned_abs());
    let is_link = matches!(member.member_type, MemberType::Symlink | MemberType::Hardlink);
    assert!(is_link || member.linkname.is_empty());
    assert!(member.pax.is_sorted_by(|a, b| a.0 < b.0) || has_replaced_keys(member), "{:?}", member.pax);
    assert!(member.pax.iter().all(|(key, value)| !key.is_empty() && !value.is_empty()));
    match (&member.sparse, member.member_type) {
        (Some(_), MemberType::File) => check_sparse(member),
        (Some(_), _) => panic!("{member:?} has a map"),
        (None, MemberType::File) => assert_eq!(member.size, member.stored_size),
        // A sparse file of a type that nobody knows has a size, but no map.
        (None, MemberType::Other(_)) => {}
        (None, _) => assert_eq!(member.size, 0),
    }
}

/// Keys that differ only in bytes that are no UTF-8 look equal.
fn has_replaced_keys(member: &Member) -> bool {
    member.pax.is_sorted_by(|a, b| a.0 < b.0 || a.0.contains('\u{fffd}') || b.0.contains('\u{fffd}'))
}

/// The pieces of a sparse file add up to it.
fn check_sparse(member: &Member) {
    let (mut size, mut stored) = (0, 0);
    for piece in pieces(member, &mut Chunks::whole()) {
        match piece {
            Piece::Hole(len) => size += len,
            Piece::Data(len) => (size, stored) = (size + len, stored + len),
            Piece::End => unreachable!("it is no piece"),
        }
    }
    assert_eq!((size, stored), (member.size, member.stored_size));
}

fn pieces(member: &Member, chunks: &mut Chunks) -> Vec<Piece> {
    let mut expander = Expander::new(member.sparse.clone().expect("it is sparse"));
    let mut pieces = Vec::new();
    loop {
        let next = expander.next();
        let (Piece::Hole(len) | Piece::Data(len)) = next else { return pieces };
        assert!(len > 0, "an empty piece would go round forever");
        let part = usize::try_from(len).map_or(len, |len| chunks.next(len) as u64);
        pieces.push(if let Piece::Hole(_) = next { Piece::Hole(part) } else { Piece::Data(part) });
        expander.advance(part);
    }
}

/// The file with its holes; `None` where it is too long.
pub(crate) fn file(member: &Member, content: &[u8], chunks: &mut Chunks) -> Option<Vec<u8>> {
    if member.size > FILE_BYTES_MAX {
        return None;
    }
    if member.sparse.is_none() {
        return Some(content.to_vec());
    }
    let mut file = Vec::new();
    let mut left = content;
    for piece in pieces(member, chunks) {
        match piece {
            Piece::Hole(len) => file.resize(file.len() + len as usize, 0),
            Piece::Data(len) => file.extend(left.split_off(..len as usize).expect("checked by the map")),
            Piece::End => unreachable!("it is no piece"),
        }
    }
    Some(file)
}
