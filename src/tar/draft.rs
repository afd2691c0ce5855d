//! A member as its headers describe it: what extension headers have said ([`Pending`]) and what its own header says,
//! put together ([`Draft`]).
//!
//! Of the places that may name one thing, a sparse record wins over a pax record, a local one over a global one, pax over
//! a GNU long-name header, and all of them over the field of the header, as in GNU tar.

use super::header::{Header, Layout};
use super::pax::{Globals, Overrides, Records};
use super::sparse::{SparseState, from_gnu, from_pax};
use super::{Limits, MICROS, MTIME_MICROS, Member, MemberType};
use crate::error::Result;

/// What extension headers have said about the next member. Of several of a kind the last one counts, as in GNU tar and
/// Go, and nothing of it touches the headers in between: a pax size in particular is that of the member, never that of a
/// long-name header before it.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Of the first of them that is not global.
    pub(super) offset: Option<u64>,
    /// Of them, global ones included.
    pub(super) headers: u32,
    pub(super) records: Records,
    pub(super) long_name: Option<Vec<u8>>,
    pub(super) long_link: Option<Vec<u8>>,
}

impl Pending {
    /// Forgets everything but the buffers of the records.
    pub(super) fn clear(&mut self) {
        let mut records = std::mem::take(&mut self.records);
        records.clear();
        *self = Self { records, ..Self::default() };
    }
}

/// A member whose sparse map may still be missing. Its `data_offset` is not known yet.
pub(super) struct Draft {
    pub(super) member: Box<Member>,
    pub(super) sparse: Option<SparseState>,
    /// Bytes of content that the header claims for what is no file. They may be in the stream or not: see
    /// [`has_content`].
    pub(super) unclaimed: u64,
}

impl Draft {
    /// `offset` is that of `header`.
    pub(super) fn new(
        header: &Header<'_>,
        offset: u64,
        pending: &Pending,
        globals: &Globals,
        limits: &Limits,
    ) -> Result<Self> {
        let overrides = Overrides::new(globals, &pending.records);
        let path = path(header, pending, &overrides);
        let mut draft = Self::without_path(header, pending, overrides, &path, limits)
            .map_err(|error| error.in_member(String::from_utf8_lossy(&path)))?;
        draft.member.path = path;
        draft.member.offset = pending.offset.unwrap_or(offset);
        Ok(draft)
    }

    fn without_path(
        header: &Header<'_>,
        pending: &Pending,
        overrides: Overrides<'_>,
        path: &[u8],
        limits: &Limits,
    ) -> Result<Self> {
        let member_type = member_type(header, path);
        let claimed = overrides.size()?.map_or_else(|| header.size(), Ok)?;
        let stored_size = if has_content(header, member_type) { claimed } else { 0 };
        let (sparse, size) = match (member_type, sparse(header, &overrides, limits)?) {
            (MemberType::File, Some((state, size))) => (Some(state), size),
            // Of no use here, but what GNU tar says of a type that it doesn't know, as of a file.
            (MemberType::Other(_), Some((_, size))) => (None, size),
            (MemberType::File | MemberType::Other(_), None) => (None, stored_size),
            _ => (None, 0),
        };
        let member = Box::new(Member {
            offset: 0,
            data_offset: 0,
            path: Vec::new(),
            member_type,
            size,
            stored_size,
            mode: header.mode()?,
            uid: overrides.uid()?.map_or_else(|| header.uid(), Ok)?,
            gid: overrides.gid()?.map_or_else(|| header.gid(), Ok)?,
            mtime_micros: overrides.mtime_micros().unwrap_or_else(|| mtime_micros(header)),
            uname: overrides.uname.unwrap_or_else(|| header.uname()).to_vec(),
            gname: overrides.gname.unwrap_or_else(|| header.gname()).to_vec(),
            linkname: match member_type {
                MemberType::Symlink | MemberType::Hardlink => linkname(header, pending, &overrides),
                _ => Vec::new(),
            },
            pax: overrides.into_others(),
            sparse: None,
        });
        Ok(Self { member, sparse, unclaimed: claimed - stored_size })
    }
}

/// A NUL in a pax record is kept: paths go to no C library here, and a path that is cut there could be another member's.
fn path(header: &Header<'_>, pending: &Pending, overrides: &Overrides<'_>) -> Vec<u8> {
    match overrides.sparse.name.or(overrides.path).or(pending.long_name.as_deref()) {
        Some(path) => path.to_vec(),
        None => header.path(),
    }
}

fn linkname(header: &Header<'_>, pending: &Pending, overrides: &Overrides<'_>) -> Vec<u8> {
    overrides.linkpath.or(pending.long_link.as_deref()).unwrap_or_else(|| header.linkname()).to_vec()
}

/// Before POSIX there was no type for directories, and a `/` at the end of the path told them; GNU tar and libarchive
/// go by it in later formats as well. GNU's `D` is a directory whose content lists what was in it.
fn mtime_micros(header: &Header<'_>) -> Option<i64> {
    header.mtime_seconds()?.checked_mul(MICROS).filter(|micros| MTIME_MICROS.contains(micros))
}

fn member_type(header: &Header<'_>, path: &[u8]) -> MemberType {
    match header.typeflag() {
        0 | b'0' if path.ends_with(b"/") => MemberType::Directory,
        0 | b'0' | b'7' => MemberType::File,
        b'S' if header.layout == Layout::Gnu => MemberType::File,
        b'1' => MemberType::Hardlink,
        b'2' => MemberType::Symlink,
        b'3' => MemberType::Character,
        b'4' => MemberType::Block,
        b'5' | b'D' => MemberType::Directory,
        b'6' => MemberType::Fifo,
        other => MemberType::Other(other),
    }
}

/// Whether as many bytes as the header's size says follow it for sure.
///
/// They do behind a file and, as POSIX has it, behind what has an unknown type. For links, directories and the like the
/// world is split: old writers put a size there and no content, POSIX allows hard links with content in pax archives,
/// GNU tar steps over the content of a directory but not of a hard link, Go and CPython over neither. To obey the size
/// where there is no content loses members in silence. So what comes next decides: a valid header or a zero block is
/// taken for what it looks like, which is what most readers see; anything else is that content, and is skipped.
fn has_content(header: &Header<'_>, member_type: MemberType) -> bool {
    match member_type {
        MemberType::File | MemberType::Other(_) => true,
        MemberType::Directory => header.typeflag() == b'D',
        _ => false,
    }
}

/// The map of a sparse file as far as its headers have it, and the size of the file with its holes.
fn sparse(header: &Header<'_>, overrides: &Overrides<'_>, limits: &Limits) -> Result<Option<(SparseState, u64)>> {
    if header.typeflag() == b'S' && header.layout == Layout::Gnu {
        let (entries, size) = header.gnu_sparse()?;
        return Ok(Some((from_gnu(&entries, limits)?, size)));
    }
    from_pax(&overrides.sparse, limits)
}
