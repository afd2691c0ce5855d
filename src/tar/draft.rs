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
    /// Writes into `member`, whose names make room for those of the next one.
    pub(super) fn new(
        member: Box<Member>,
        header: &Header<'_>,
        pending: &Pending,
        globals: &Globals,
        limits: &Limits,
    ) -> Result<Self> {
        let overrides = Overrides::new(globals, &pending.records);
        let mut draft = Self { member, sparse: None, unclaimed: 0 };
        set(&mut draft.member.path, path(pending, &overrides), |path| header.append_path(path));
        match draft.fill(header, pending, overrides, limits) {
            Ok(()) => Ok(draft),
            Err(error) => Err(error.in_member(draft.member.path_lossy())),
        }
    }

    /// Everything but the path, which is known.
    fn fill(
        &mut self,
        header: &Header<'_>,
        pending: &Pending,
        overrides: Overrides<'_>,
        limits: &Limits,
    ) -> Result<()> {
        let member_type = member_type(header, &self.member.path);
        let claimed = overrides.size()?.map_or_else(|| header.size(), Ok)?;
        let stored_size = if has_content(header, member_type) { claimed } else { 0 };
        let (sparse, size) = match (member_type, sparse(header, &overrides, limits)?) {
            (MemberType::File, Some((state, size))) => (Some(state), size),
            // Of no use here, but what GNU tar says of a type that it doesn't know, as of a file.
            (MemberType::Other(_), Some((_, size))) => (None, size),
            (MemberType::File | MemberType::Other(_), None) => (None, stored_size),
            _ => (None, 0),
        };
        (self.sparse, self.unclaimed) = (sparse, claimed - stored_size);
        let member = &mut *self.member;
        (member.member_type, member.size, member.stored_size) = (member_type, size, stored_size);
        member.mode = header.mode()?;
        member.uid = overrides.uid()?.map_or_else(|| header.uid(), Ok)?;
        member.gid = overrides.gid()?.map_or_else(|| header.gid(), Ok)?;
        member.mtime_micros = overrides.mtime_micros().unwrap_or_else(|| mtime_micros(header));
        set(&mut member.uname, overrides.uname, |name| name.extend_from_slice(header.uname()));
        set(&mut member.gname, overrides.gname, |name| name.extend_from_slice(header.gname()));
        member.linkname.clear();
        if matches!(member_type, MemberType::Symlink | MemberType::Hardlink) {
            let linkname = overrides.linkpath.or(pending.long_link.as_deref());
            set(&mut member.linkname, linkname, |name| name.extend_from_slice(header.linkname()));
        }
        member.pax = overrides.into_others();
        member.sparse = None;
        Ok(())
    }
}

/// Makes `field` what `value` says, or what `otherwise` appends.
fn set(field: &mut Vec<u8>, value: Option<&[u8]>, otherwise: impl FnOnce(&mut Vec<u8>)) {
    field.clear();
    match value {
        Some(value) => field.extend_from_slice(value),
        None => otherwise(field),
    }
}

/// A NUL in a pax record is kept: paths go to no C library here, and a path that is cut there could be another member's.
fn path<'a>(pending: &'a Pending, overrides: &Overrides<'a>) -> Option<&'a [u8]> {
    overrides.sparse.name.or(overrides.path).or(pending.long_name.as_deref())
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
