//! Sparse members: files whose holes are not in the archive.
//!
//! [`SparseMap`] says where the stored bytes belong, and [`Expander`] turns stored bytes into the file's own, piece by
//! piece: a hole of a terabyte costs a number. [`MapReader`] collects a map that spans several blocks.
//!
//! GNU tar has four encodings, and all end up here: the old one (type `S`, pairs of numbers in the header and in
//! extension blocks behind it), and three in pax records: 0.0 (a record for each number), 0.1 (one record for all) and
//! 1.0 (decimal lines in front of the content, counted in its size).

use std::mem;

use super::header::SparseEntries;
use super::pax::{SparseRecords, bad_value, decimal, size};
use super::{BLOCK_SIZE, Block, Limits, Member, SIZE_MAX};
use crate::error::{Error, ErrorKind, Result};

/// A piece of data in a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Where it begins in the file.
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// Which parts of a file are stored. The rest is holes, which read as zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SparseMap {
    /// In order, none of them empty.
    extents: Vec<Extent>,
    size: u64,
}

impl SparseMap {
    /// Bytes that its extents take.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.extents.capacity() * size_of::<Extent>()
    }

    /// Checks that the extents come in order, don't overlap, lie within `size`, and are `stored_size` bytes together.
    pub(crate) fn new(mut extents: Vec<Extent>, size: u64, stored_size: u64) -> Result<Self> {
        let mut end = 0;
        let mut stored = 0;
        for &Extent { offset, len } in &extents {
            if offset < end {
                return Err(damaged(format!("extent at {offset} begins before the end of the last one at {end}")));
            }
            end = offset.checked_add(len).filter(|&end| end <= size).ok_or_else(|| {
                damaged(format!("extent of {len} bytes at {offset} ends behind the file's {size} bytes"))
            })?;
            // Within `size`, since they don't overlap.
            stored += len;
        }
        if stored != stored_size {
            return Err(damaged(format!("extents of {stored} bytes for {stored_size} stored bytes")));
        }
        // GNU tar ends a map by an empty extent at the file's end.
        extents.retain(|extent| extent.len > 0);
        Ok(Self { extents, size })
    }
}

/// What comes next in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// So many zeros.
    Hole(u64),
    /// So many stored bytes.
    Data(u64),
    End,
}

/// Walks a sparse file from its beginning: [`next`](Self::next) says what comes, and [`advance`](Self::advance) how much
/// of that the caller has dealt with, be it a part only.
///
/// ```text
/// loop {
///     match expander.next() {
///         Piece::Hole(len) => expander.advance(out.write_zeros(len)),
///         Piece::Data(len) => expander.advance(out.copy_from(stored, len)),
///         Piece::End => break,
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub(crate) struct Expander {
    map: SparseMap,
    /// Index of the extent that `position` is in or before.
    extent: usize,
    position: u64,
}

impl Expander {
    pub(crate) fn new(map: SparseMap) -> Self {
        Self { map, extent: 0, position: 0 }
    }

    /// The piece at the current position; never an empty one.
    pub(crate) fn next(&self) -> Piece {
        match self.map.extents.get(self.extent) {
            Some(extent) if self.position < extent.offset => Piece::Hole(extent.offset - self.position),
            Some(extent) => Piece::Data(extent.offset + extent.len - self.position),
            None if self.position < self.map.size => Piece::Hole(self.map.size - self.position),
            None => Piece::End,
        }
    }

    /// Steps over the first `len` bytes of the current piece.
    pub(crate) fn advance(&mut self, len: u64) {
        let piece = self.next();
        let (Piece::Hole(left) | Piece::Data(left)) = piece else {
            assert!(len == 0, "nothing is left to step over");
            return;
        };
        assert!(len <= left, "a step must not leave its piece");
        self.position += len;
        if piece == Piece::Data(len) {
            self.extent += 1;
        }
    }
}

/// How the map of a member is known so far.
#[derive(Debug)]
pub(super) enum SparseState {
    /// All of it.
    Known(Vec<Extent>),
    /// The rest is in the blocks that follow.
    Reading(MapReader),
}

/// A map whose blocks are being read.
#[derive(Debug)]
pub(super) enum MapReader {
    /// Old GNU: blocks between the header and the content.
    Blocks(Vec<Extent>),
    /// Pax 1.0: blocks that are the beginning of the content.
    Text(MapText),
}

impl MapReader {
    /// Takes the next block of the map of `member`; whether it was the last one, and `member` has its map now.
    pub(super) fn block(&mut self, block: &Block, member: &mut Member, limits: &Limits) -> Result<bool> {
        let (extents, is_last) = match self {
            Self::Blocks(extents) => {
                let entries = SparseEntries::in_extension(block);
                add_entries(extents, &entries, limits)?;
                (extents, !entries.is_extended)
            }
            Self::Text(text) => {
                // Such a map is the beginning of the content.
                member.stored_size = member.stored_size.checked_sub(BLOCK_SIZE).ok_or_else(|| {
                    damaged(format!("longer than the content ({} bytes are left)", member.stored_size))
                })?;
                let is_last = text.block(block, limits)?;
                (&mut text.extents, is_last)
            }
        };
        if is_last {
            member.sparse = Some(SparseMap::new(mem::take(extents), member.size, member.stored_size)?);
        }
        Ok(is_last)
    }
}

/// What an old GNU header says.
pub(super) fn from_gnu(entries: &SparseEntries<'_>, limits: &Limits) -> Result<SparseState> {
    let mut extents = Vec::new();
    add_entries(&mut extents, entries, limits)?;
    Ok(if entries.is_extended { SparseState::Reading(MapReader::Blocks(extents)) } else { SparseState::Known(extents) })
}

/// What pax records say: the map, and the size of the file with its holes. `None` if it has none.
pub(super) fn from_pax(records: &SparseRecords<'_>, limits: &Limits) -> Result<Option<(SparseState, u64)>> {
    let state = match (records.major.unwrap_or(b"0"), records.minor.unwrap_or(b"0")) {
        (b"1", b"0") => SparseState::Reading(MapReader::Text(MapText::default())),
        (b"0", b"0" | b"1") => match known_extents(records, limits)? {
            Some(extents) => SparseState::Known(extents),
            None => return Ok(None),
        },
        (major, minor) => {
            let (major, minor) = (major.escape_ascii(), minor.escape_ascii());
            return Err(Error::new(ErrorKind::NotYet, format!("sparse format {major}.{minor} is not known")));
        }
    };
    let Some(real_size) = records.size else {
        return Err(damaged("the size of the file is missing".to_owned()));
    };
    Ok(Some((state, size("real size of a sparse member", real_size)?)))
}

/// The maps of versions 0.1 and 0.0.
fn known_extents(records: &SparseRecords<'_>, limits: &Limits) -> Result<Option<Vec<Extent>>> {
    let mut extents = Vec::new();
    let mut add = |offset, len| {
        let extent = Extent { offset: map_number(offset)?, len: map_number(len)? };
        push(&mut extents, extent, limits)
    };
    if let Some(map) = records.map {
        let mut numbers = map.split(|&byte| byte == b',');
        while let Some(offset) = numbers.next() {
            let len = numbers.next().ok_or_else(|| damaged("an odd count of numbers".to_owned()))?;
            add(offset, len)?;
        }
    } else {
        let (offsets, lens) = (records.offsets.len(), records.lens.len());
        if offsets != lens {
            return Err(damaged(format!("{offsets} offsets and {lens} lengths")));
        }
        for (offset, len) in records.offsets.iter().zip(&records.lens) {
            add(offset, len)?;
        }
    }
    // A file that is one hole has a count of 0 and neither map nor offsets; an ordinary one has no count.
    match records.numblocks {
        None if extents.is_empty() => Ok(None),
        None => Ok(Some(extents)),
        Some(count) if map_number(count)? == extents.len() as u64 => Ok(Some(extents)),
        Some(count) => Err(damaged(format!("{} extents where {} are announced", extents.len(), count.escape_ascii()))),
    }
}

/// The decimal lines of a pax 1.0 map: the count of extents, then offset and length of each. The last block is filled
/// up with NULs.
#[derive(Debug, Default)]
pub(super) struct MapText {
    /// The line so far; `None` before its first digit.
    line: Option<u64>,
    /// Extents still to come; `None` before the count.
    left: Option<u64>,
    offset: Option<u64>,
    extents: Vec<Extent>,
}

impl MapText {
    /// Whether this was the last block.
    fn block(&mut self, block: &Block, limits: &Limits) -> Result<bool> {
        for &byte in block {
            if byte != b'\n' {
                let line = self.line.unwrap_or(0);
                let digit =
                    decimal(&[byte]).ok_or_else(|| damaged(format!("byte {byte:#04x} where a digit is due")))?;
                let longer = line.checked_mul(10).and_then(|line| line.checked_add(digit));
                self.line = Some(
                    longer
                        .filter(|&line| line <= SIZE_MAX)
                        .ok_or_else(|| damaged(format!("a number is over {SIZE_MAX}")))?,
                );
                continue;
            }
            let number = self.line.take().ok_or_else(|| damaged("an empty line".to_owned()))?;
            if self.line(number, limits)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether this was the last line.
    fn line(&mut self, number: u64, limits: &Limits) -> Result<bool> {
        let Some(left) = self.left else {
            // Early, before any of them is read.
            check_count(number, limits)?;
            self.left = Some(number);
            return Ok(number == 0);
        };
        let Some(offset) = self.offset.take() else {
            self.offset = Some(number);
            return Ok(false);
        };
        push(&mut self.extents, Extent { offset, len: number }, limits)?;
        self.left = Some(left - 1);
        Ok(left == 1)
    }
}

fn add_entries(extents: &mut Vec<Extent>, entries: &SparseEntries<'_>, limits: &Limits) -> Result<()> {
    for pair in entries.pairs() {
        let (offset, len) = pair?;
        push(extents, Extent { offset, len }, limits)?;
    }
    Ok(())
}

fn push(extents: &mut Vec<Extent>, extent: Extent, limits: &Limits) -> Result<()> {
    check_count(extents.len() as u64 + 1, limits)?;
    extents.push(extent);
    Ok(())
}

fn check_count(count: u64, limits: &Limits) -> Result<()> {
    let max = limits.sparse_extents_max;
    if count <= max as u64 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Limit, format!("sparse map of {count} or more extents is over the limit of {max}")))
}

fn map_number(value: &[u8]) -> Result<u64> {
    decimal(value).ok_or_else(|| bad_value("number of a sparse map", value))
}

fn damaged(reason: String) -> Error {
    Error::new(ErrorKind::Archive, format!("damaged sparse map: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extents(pairs: &[(u64, u64)]) -> Vec<Extent> {
        pairs.iter().map(|&(offset, len)| Extent { offset, len }).collect()
    }

    #[test]
    fn maps_are_checked() {
        const HUGE: u64 = i64::MAX.unsigned_abs();
        type Case = (&'static [(u64, u64)], u64, u64, bool);
        let cases: &[Case] = &[
            (&[], 0, 0, true),
            (&[], 100, 0, true),
            (&[(0, 10)], 10, 10, true),
            (&[(0, 10), (10, 5), (20, 0)], 20, 15, true),
            (&[(HUGE - 1, 1)], HUGE, 1, true),
            (&[(0, 10)], 10, 9, false),
            (&[(0, 10)], 9, 10, false),
            (&[(5, 5), (0, 5)], 10, 10, false),
            (&[(0, 6), (5, 5)], 10, 11, false),
            (&[(11, 0)], 10, 0, false),
            (&[(u64::MAX, 1)], 10, 1, false),
            (&[(1, u64::MAX)], 10, u64::MAX, false),
        ];
        for &(pairs, size, stored, is_valid) in cases {
            assert_eq!(SparseMap::new(extents(pairs), size, stored).is_ok(), is_valid, "{pairs:?} {size} {stored}");
        }
    }

    #[test]
    fn expanding_in_any_steps_gives_the_same_file() {
        let map = SparseMap::new(extents(&[(3, 4), (7, 2), (12, 0), (15, 5)]), 25, 11).unwrap();
        let stored = b"abcdefghijk";
        for step in 1..=25 {
            let mut expander = Expander::new(map.clone());
            let mut file = Vec::new();
            let mut left = stored.as_slice();
            loop {
                match expander.next() {
                    Piece::Hole(len) => {
                        let len = len.min(step);
                        file.resize(file.len() + usize::try_from(len).unwrap(), b'.');
                        expander.advance(len);
                    }
                    Piece::Data(len) => {
                        let (data, rest) = left.split_at(usize::try_from(len.min(step)).unwrap());
                        file.extend(data);
                        left = rest;
                        expander.advance(data.len() as u64);
                    }
                    Piece::End => break,
                }
            }
            assert_eq!(file, b"...abcdef......ghijk.....", "step {step}");
            assert!(left.is_empty());
        }
    }

    #[test]
    fn an_empty_file_has_no_pieces() {
        assert_eq!(Expander::new(SparseMap::new(Vec::new(), 0, 0).unwrap()).next(), Piece::End);
    }
}
