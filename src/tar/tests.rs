//! Bytes to members. Every case is parsed whole and in pieces of several sizes, and has to give the same.

mod bundled;
mod ends;
mod extensions;
mod headers;
mod second_opinion;
mod sparse;

use super::builder::{Archive, HeaderBuilder, pax_body};
use super::*;
use crate::error::{Error, ErrorKind, Result};

const CHUNK_SIZES: [usize; 8] = [usize::MAX, 1, 3, 7, 511, 512, 513, 1000];

/// What a caller sees of an archive.
#[derive(Debug, PartialEq)]
struct Found {
    /// With their stored content.
    members: Vec<(Member, Vec<u8>)>,
    /// `Err` ended the archive early.
    trailer: Result<Trailer, String>,
}

fn read(bytes: &[u8], chunk_size: usize, limits: Limits) -> Found {
    let mut members = Vec::new();
    let trailer = read_into(&mut members, bytes, chunk_size, limits).map_err(|error| error.to_string());
    Found { members, trailer }
}

fn read_into(members: &mut Vec<(Member, Vec<u8>)>, bytes: &[u8], chunk_size: usize, limits: Limits) -> Result<Trailer> {
    let mut parser = Parser::new(limits);
    let mut at = 0;
    while at < bytes.len() {
        let chunk = &bytes[at..bytes.len().min(at.saturating_add(chunk_size))];
        let (consumed, step) = parser.parse(chunk)?;
        at += consumed;
        match step {
            Step::NeedsData => assert_eq!(consumed, chunk.len()),
            Step::Member(member) => {
                assert_eq!(member.data_offset, at as u64);
                assert_eq!(member.offset % BLOCK_SIZE, 0);
                let end = usize::try_from(member.data_offset + member.stored_size).unwrap();
                let content = bytes.get(at..end);
                at = end + usize::try_from(member.padding()).unwrap();
                let content = content.filter(|_| at <= bytes.len());
                let content = content.ok_or_else(|| Error::new(ErrorKind::Archive, "truncated in content"))?;
                members.push((Member::clone(&member), content.to_vec()));
                parser.recycle(member);
            }
        }
        assert_eq!(parser.offset(), at as u64);
    }
    parser.finish()
}

/// The archive at every chunk size.
fn read_all(bytes: &[u8], limits: Limits) -> Found {
    let whole = read(bytes, CHUNK_SIZES[0], limits);
    for chunk_size in CHUNK_SIZES {
        assert_eq!(read(bytes, chunk_size, limits), whole, "chunks of {chunk_size}");
    }
    whole
}

/// One line for each member and one for the end. A member is its type, path and size, then whatever differs from what
/// the builder writes unasked.
fn lines(bytes: &[u8], limits: Limits) -> Vec<String> {
    let Found { members, trailer } = read_all(bytes, limits);
    let mut lines: Vec<String> = members.iter().map(|(member, content)| line(member, content)).collect();
    lines.push(match trailer {
        Ok(Trailer { garbage_offset: Some(offset), garbage_bytes, .. }) => {
            format!("garbage {garbage_bytes} at {offset}")
        }
        Ok(Trailer { end_marker: true, padding_bytes, .. }) => format!("end {padding_bytes}"),
        Ok(_) => "no end".to_owned(),
        Err(error) => error,
    });
    lines
}

fn line(member: &Member, content: &[u8]) -> String {
    let mut line = format!("{} {} {}", member.member_type.as_str(), member.path.escape_ascii(), member.size);
    let content = member.sparse.clone().map_or(content.to_vec(), |map| expand(map, content));
    if !content.is_empty() && content.len() <= 64 {
        line += &format!(" = {}", content.escape_ascii());
    }
    if !member.linkname.is_empty() {
        line += &format!(" -> {}", member.linkname.escape_ascii());
    }
    if member.mode != 0o644 {
        line += &format!(" mode={:o}", member.mode);
    }
    if (member.uid, member.gid) != (1000, 100) {
        line += &format!(" {}:{}", member.uid, member.gid);
    }
    if (member.uname.as_slice(), member.gname.as_slice()) != (b"user", b"group") {
        line += &format!(" {}:{}", member.uname.escape_ascii(), member.gname.escape_ascii());
    }
    if member.mtime_micros != Some(1_700_000_000 * MICROS) {
        line += &format!(" mtime={:?}", member.mtime_micros);
    }
    for (key, value) in &member.pax {
        line += &format!(" {key}={value}");
    }
    line
}

/// Holes are dots.
fn expand(map: SparseMap, mut stored: &[u8]) -> Vec<u8> {
    let mut expander = Expander::new(map);
    let mut file = Vec::new();
    loop {
        match expander.next() {
            Piece::Hole(len) => {
                file.resize(file.len() + usize::try_from(len).unwrap(), b'.');
                expander.advance(len);
            }
            Piece::Data(len) => {
                let (data, rest) = stored.split_at(usize::try_from(len).unwrap());
                file.extend(data);
                stored = rest;
                expander.advance(len);
            }
            Piece::End => return file,
        }
    }
}

fn check(name: &str, archive: Archive, expected: &[&str]) {
    assert_eq!(lines(&archive.build(), Limits::default()), expected, "{name}");
}

fn file(name: &str, size: u64) -> HeaderBuilder {
    HeaderBuilder::file(name, size)
}

fn of_type(typeflag: u8, name: &str, size: u64) -> HeaderBuilder {
    HeaderBuilder::new(name, typeflag, size)
}

/// The numbers of an old GNU sparse map.
fn gnu_map(pairs: &[(u64, u64)]) -> String {
    pairs.iter().map(|(offset, len)| format!("{offset:011o}\0{len:011o}\0")).collect()
}
