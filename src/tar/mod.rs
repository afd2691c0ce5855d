//! The tar format, pure: bytes in, members out.
//!
//! [`Parser`] takes an uncompressed tar stream in pieces of any size and says where each member's content lies. It
//! never holds content, never waits and knows neither stores nor compression. It reads v7, ustar, old GNU, pax and star
//! archives, long names, global and local pax records, and the four sparse encodings of GNU tar.
//!
//! What a newcomer must know: a member's facts are scattered over several headers, and readers of the world disagree
//! about the odd ones. Where they do, the decision and its reason stand beside the code that takes it.

#[cfg(test)]
pub(crate) mod builder;
mod draft;
mod header;
mod lookalike;
mod parser;
mod pax;
mod sparse;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::RangeInclusive;

pub(crate) use header::{is_header, is_zero_block};
pub(crate) use parser::Parser;
pub(crate) use sparse::{Expander, Piece, SparseMap};

/// Bytes in a block: headers take one each, and content is padded to whole ones.
pub(crate) const BLOCK_SIZE: u64 = 512;

/// [`BLOCK_SIZE`] for slices.
pub(crate) const BLOCK_LEN: usize = 512;

/// Sizes and offsets stay within SQL's BIGINT, which is where they end up.
const SIZE_MAX: u64 = i64::MAX.unsigned_abs();

/// In a second.
const MICROS: i64 = 1_000_000;

/// The times that a member can have, in microseconds: the years -262143 to 262142. 63 bits hold a few more, but the
/// calendar by which Arrow shows times does not, and would show the text of an error for them.
const MTIME_MICROS: RangeInclusive<i64> = -8_334_601_228_800_000_000..=8_210_266_876_799_999_999;

type Block = [u8; BLOCK_LEN];

/// What a member is, in the words of POSIX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum MemberType {
    File,
    Directory,
    Symlink,
    Hardlink,
    Character,
    Block,
    Fifo,
    /// A type flag that is not in POSIX: a GNU volume label, a Solaris ACL, a continued file of a multi-volume archive.
    Other(u8),
}

impl MemberType {
    /// The value of the `type` column.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Hardlink => "hardlink",
            Self::Character => "character",
            Self::Block => "block",
            Self::Fifo => "fifo",
            Self::Other(_) => "other",
        }
    }
}

/// One member of an archive: everything that its headers say, and where its content lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Where its first header block is in the uncompressed stream, its own extension headers included.
    pub(crate) offset: u64,
    /// Where its stored content begins in the uncompressed stream, behind any sparse map.
    pub(crate) data_offset: u64,
    /// As stored; no byte of it is trusted.
    pub(crate) path: Vec<u8>,
    pub(crate) member_type: MemberType,
    /// Bytes of content as a reader of the file sees them, holes included; 0 for what is
    /// known to be no file.
    pub(crate) size: u64,
    /// Bytes that follow `data_offset` in the stream, padding excluded. May be more than 0 for what is no file: a GNU
    /// directory listing, say, that the caller steps over.
    pub(crate) stored_size: u64,
    /// Permission bits, `& 0o7777`.
    pub(crate) mode: u32,
    pub(crate) uid: i64,
    pub(crate) gid: i64,
    /// Microseconds since 1970, within [`MTIME_MICROS`]; `None` where it is no number or does not fit.
    pub(crate) mtime_micros: Option<i64>,
    pub(crate) uname: Vec<u8>,
    pub(crate) gname: Vec<u8>,
    /// Empty for what is no link.
    pub(crate) linkname: Vec<u8>,
    /// Pax records that no other field holds, sorted by key, invalid UTF-8 replaced.
    pub(crate) pax: Vec<(String, String)>,
    /// Where the stored bytes belong in the file; `None` for a file without holes.
    pub(crate) sparse: Option<SparseMap>,
}

/// A file without a name: what the parser fills in.
impl Default for Member {
    fn default() -> Self {
        Self {
            offset: 0,
            data_offset: 0,
            path: Vec::new(),
            member_type: MemberType::File,
            size: 0,
            stored_size: 0,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime_micros: None,
            uname: Vec::new(),
            gname: Vec::new(),
            linkname: Vec::new(),
            pax: Vec::new(),
            sparse: None,
        }
    }
}

impl Member {
    /// The path as text, for messages and for the `path` column.
    pub(crate) fn path_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.path)
    }

    /// Bytes that its names, pax records and sparse map take: all that has no small bound.
    pub(crate) fn heap_bytes(&self) -> u64 {
        let names = [&self.path, &self.uname, &self.gname, &self.linkname].map(Vec::capacity).iter().sum::<usize>();
        let pax: usize = self.pax.iter().map(|(key, value)| key.capacity() + value.capacity()).sum();
        (names + pax + self.sparse.as_ref().map_or(0, SparseMap::heap_bytes)) as u64
    }

    /// Whether it is the rest of a file that began in another volume, as GNU tar writes it: in its own format by a type,
    /// in pax by a name and a record (which is global, and so stands at later members too).
    pub(crate) fn is_continuation(&self) -> bool {
        let is_part = || self.path_lossy().split('/').any(|name| name.starts_with("GNUFileParts"));
        let has_offset = || self.pax.iter().any(|(key, _)| key == "GNU.volume.offset");
        self.member_type == MemberType::Other(b'M') || has_offset() && is_part()
    }

    /// Zero bytes between the end of the stored content and the next block.
    pub(crate) fn padding(&self) -> u64 {
        padding(self.stored_size)
    }
}

/// What one call of [`Parser::parse`] has learnt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// All input was consumed, and the next member isn't known yet.
    NeedsData,
    /// A member; its content comes next in the stream.
    Member(Box<Member>),
}

/// How an archive ended. Bytes are counted behind the last member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trailer {
    /// Whether at least one zero block closed it.
    pub(crate) end_marker: bool,
    /// Zero bytes, the end marker's own included.
    pub(crate) padding_bytes: u64,
    /// Bytes from the first one behind the end marker that is neither zero nor a header, up to the end of the stream.
    pub(crate) garbage_bytes: u64,
    /// Where those begin.
    pub(crate) garbage_offset: Option<u64>,
}

/// What an archive may make the parser hold in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes in the body of one pax or long-name header, and in all global pax records together.
    pub(crate) extension_bytes_max: u64,
    /// Pieces of data in one sparse member.
    pub(crate) sparse_extents_max: usize,
    /// Extension headers in a row without a member behind them.
    pub(crate) extension_headers_max: u32,
}

impl Default for Limits {
    /// Far above what writers produce, far below what hurts: 1 MiB is where libarchive and Go stop too, an extent takes
    /// 16 bytes, and a member needs four extension headers at most (a global one, its own, a long name, a long link).
    fn default() -> Self {
        Self { extension_bytes_max: 1 << 20, sparse_extents_max: 1 << 18, extension_headers_max: 16 }
    }
}

/// Bytes that round `size` up to whole blocks.
const fn padding(size: u64) -> u64 {
    (BLOCK_SIZE - size % BLOCK_SIZE) % BLOCK_SIZE
}
