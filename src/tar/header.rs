//! One header block: 512 bytes, their checksum, and the fields in them.
//!
//! Fields are read here to the letter of POSIX and of the GNU manual: numbers are octal or base-256, a name ends at its
//! first NUL or fills its field, and which fields exist at all is decided by the magic.

use std::ops::Range;

use memchr::memchr;

use super::{BLOCK_LEN, Block, SIZE_MAX};
use crate::error::{Error, ErrorKind, Result};

const NAME: Range<usize> = 0..100;
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const TYPEFLAG: usize = 156;
const LINKNAME: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..263;
const UNAME: Range<usize> = 265..297;
const GNAME: Range<usize> = 297..329;
const PREFIX: Range<usize> = 345..500;
const GNU_SPARSE: Range<usize> = 386..482;
const GNU_IS_EXTENDED: usize = 482;
const GNU_REAL_SIZE: Range<usize> = 483..495;
const EXTENSION_SPARSE: Range<usize> = 0..504;
const EXTENSION_IS_EXTENDED: usize = 504;

/// Bytes of one (offset, length) pair in a GNU sparse header: two numbers of twelve.
const SPARSE_ENTRY_LEN: usize = 24;

/// Whether `block` begins with a header: 512 bytes with a valid checksum, not all of them zero.
pub(crate) fn is_header(block: &[u8]) -> bool {
    block.first_chunk().is_some_and(|block| Header::new(block, sum(block)).is_ok())
}

/// Whether `block` begins with 512 zero bytes, as an archive without members does.
pub(crate) fn is_zero_block(block: &[u8]) -> bool {
    block.first_chunk() == Some(&[0; BLOCK_LEN])
}

/// Which fields lie behind the first 257 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Nothing.
    V7,
    /// Names of user and group, and a prefix of the path. Pax and star have it too: star ends its shorter prefix by a
    /// NUL, so that its times behind it are never taken for a name.
    Ustar,
    /// Names of user and group; the bytes of the prefix are times and the sparse map.
    Gnu,
}

/// A block with a valid checksum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header<'a> {
    block: &'a Block,
    pub(super) layout: Layout,
}

impl<'a> Header<'a> {
    /// `Err` has the message for a block whose checksum does not fit; `sum` is its [`sum`].
    pub(super) fn new(block: &'a Block, sum: u64) -> Result<Self, String> {
        verify_checksum(block, sum)?;
        // Some writers put NULs or blanks for the version, so that only the magic decides. GNU's has a blank where
        // POSIX has the NUL.
        let layout = match &block[MAGIC] {
            b"ustar " => Layout::Gnu,
            magic if magic.starts_with(b"ustar") => Layout::Ustar,
            _ => Layout::V7,
        };
        Ok(Self { block, layout })
    }

    pub(super) fn typeflag(&self) -> u8 {
        self.block[TYPEFLAG]
    }

    /// Appends the path to `path`.
    pub(super) fn append_path(&self, path: &mut Vec<u8>) {
        if self.layout == Layout::Ustar && self.block[PREFIX.start] != 0 {
            path.extend_from_slice(until_nul(&self.block[PREFIX]));
            path.push(b'/');
        }
        path.extend_from_slice(until_nul(&self.block[NAME]));
    }

    pub(super) fn linkname(&self) -> &'a [u8] {
        until_nul(&self.block[LINKNAME])
    }

    pub(super) fn uname(&self) -> &'a [u8] {
        if self.layout == Layout::V7 { b"" } else { until_nul(&self.block[UNAME]) }
    }

    pub(super) fn gname(&self) -> &'a [u8] {
        if self.layout == Layout::V7 { b"" } else { until_nul(&self.block[GNAME]) }
    }

    pub(super) fn size(&self) -> Result<u64> {
        size("size", &self.block[SIZE])
    }

    /// Some writers put the type of the file, or a negative number, into the high bits.
    pub(super) fn mode(&self) -> Result<u32> {
        let mode = named_number("mode", &self.block[MODE])? & 0o7777;
        Ok(u32::try_from(mode).expect("twelve bits fit"))
    }

    pub(super) fn uid(&self) -> Result<i64> {
        named_number("uid", &self.block[UID])
    }

    pub(super) fn gid(&self) -> Result<i64> {
        named_number("gid", &self.block[GID])
    }

    /// `None` where the field is no number: a lost time is no reason to refuse a member.
    pub(super) fn mtime_seconds(&self) -> Option<i64> {
        number(&self.block[MTIME]).ok()
    }

    /// The first part of an old GNU sparse map, and the size of the file with its holes.
    pub(super) fn gnu_sparse(&self) -> Result<(SparseEntries<'a>, u64)> {
        let entries =
            SparseEntries { bytes: &self.block[GNU_SPARSE], is_extended: is_extended(self.block[GNU_IS_EXTENDED]) };
        Ok((entries, size("real size of a sparse member", &self.block[GNU_REAL_SIZE])?))
    }
}

/// The part of an old GNU sparse map that one block holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct SparseEntries<'a> {
    bytes: &'a [u8],
    /// Whether another block of the map follows.
    pub(super) is_extended: bool,
}

impl<'a> SparseEntries<'a> {
    /// The part in an extension block, which is no header: it has no checksum.
    pub(super) fn in_extension(block: &'a Block) -> Self {
        Self { bytes: &block[EXTENSION_SPARSE], is_extended: is_extended(block[EXTENSION_IS_EXTENDED]) }
    }

    /// Offset and length of each piece of data. The first blank entry ends the list.
    pub(super) fn pairs(&self) -> impl Iterator<Item = Result<(u64, u64)>> {
        self.bytes.chunks_exact(SPARSE_ENTRY_LEN).take_while(|entry| entry.iter().any(|&byte| byte != 0)).map(|entry| {
            let (offset, len) = entry.split_at(SPARSE_ENTRY_LEN / 2);
            Ok((size("offset in a sparse map", offset)?, size("length in a sparse map", len)?))
        })
    }
}

/// GNU tar writes 1 here, others a digit.
fn is_extended(flag: u8) -> bool {
    !matches!(flag, 0 | b'0')
}

/// The sum of all bytes: 0 for a block of zeros, and for no other.
pub(super) fn sum(block: &Block) -> u64 {
    // Four sums side by side, of 16 bits each: 128 bytes for one are below 2^15.
    const EVEN: u64 = 0x00ff_00ff_00ff_00ff;
    let (words, _) = block.as_chunks();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    let sums = words.fold(0, |sums, word| sums + (word & EVEN) + ((word >> 8) & EVEN));
    (0..4).map(|at| (sums >> (16 * at)) & 0xffff).sum()
}

/// The checksum is the sum of all bytes, its own field taken for blanks. Old writers summed signed bytes; both count.
fn verify_checksum(block: &Block, sum: u64) -> Result<(), String> {
    const BLANKS: i64 = 8 * b' ' as i64;
    let own: i64 = block[CHECKSUM].iter().map(|&byte| i64::from(byte)).sum();
    let computed = sum.cast_signed() - own + BLANKS;
    let Some(stored) = octal(&block[CHECKSUM]) else {
        let field = block[CHECKSUM].escape_ascii();
        return Err(format!("header checksum is no number (stored '{field}', computed {computed})"));
    };
    if stored == computed || stored == computed - signed_excess(block) {
        return Ok(());
    }
    Err(format!("header checksum mismatch (stored {stored}, computed {computed})"))
}

/// By how much the unsigned sum is above the signed one.
fn signed_excess(block: &Block) -> i64 {
    let is_negative = |bytes: &[u8]| bytes.iter().map(|&byte| i64::from(byte >> 7)).sum::<i64>();
    256 * (is_negative(block) - is_negative(&block[CHECKSUM]))
}

/// The bytes before the first NUL, or all of them.
pub(super) fn until_nul(field: &[u8]) -> &[u8] {
    &field[..memchr(0, field).unwrap_or(field.len())]
}

fn size(name: &str, field: &[u8]) -> Result<u64> {
    let number = named_number(name, field)?;
    match u64::try_from(number) {
        Ok(size) => Ok(size),
        Err(_) => Err(Error::new(ErrorKind::Archive, format!("{name} is negative ({number})"))),
    }
}

fn named_number(name: &str, field: &[u8]) -> Result<i64> {
    number(field).map_err(|reason| {
        Error::new(ErrorKind::Archive, format!("{name} in a header {reason} (stored '{}')", field.escape_ascii()))
    })
}

/// The number in a field. `Err` is what is wrong with it.
#[inline]
fn number(field: &[u8]) -> Result<i64, String> {
    if field.first().is_some_and(|byte| byte & 0x80 != 0) {
        base256(field).ok_or_else(|| format!("is not within ±{SIZE_MAX}"))
    } else {
        octal(field).ok_or_else(|| "is no number".to_owned())
    }
}

/// At most twelve digits, so that it always fits.
#[inline]
fn octal(field: &[u8]) -> Option<i64> {
    let usual = (1..=2).find_map(|rest| usual_octal(field, rest));
    usual.or_else(|| any_octal(field))
}

/// What nearly all writers write: digits up to a terminator, the first of the last `rest` bytes. Without a branch for
/// each digit, since a member has six such fields.
#[inline]
fn usual_octal(field: &[u8], rest: usize) -> Option<i64> {
    let (digits, rest) = field.split_at_checked(field.len().checked_sub(rest)?)?;
    let digit = |byte: &u8| byte ^ b'0';
    let others = digits.iter().fold(0, |others, byte| others | digit(byte));
    let value = digits.iter().fold(0, |value, byte| (value << 3) | i64::from(digit(byte)));
    (others < 8 && matches!(rest.first(), Some(b' ' | 0))).then_some(value)
}

/// Blanks and NULs lead and end it; nothing but them is zero.
fn any_octal(field: &[u8]) -> Option<i64> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !is_blank(byte)).unwrap_or(field.len());
    let mut value = 0;
    for byte in &field[start..] {
        match byte {
            b'0'..=b'7' => value = (value << 3) | i64::from(byte - b'0'),
            // Old writers leave whatever was in memory behind the terminator.
            _ if is_blank(byte) => break,
            _ => return None,
        }
    }
    Some(value)
}

/// Big-endian two's complement over the whole field, less the top bit, which marks it as base-256: GNU's leading 0x80
/// and 0xff are the usual cases.
fn base256(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    let head = i8::from_ne_bytes([first << 1]) >> 1;
    // 95 bits at most, so that the shift loses none.
    let value = rest.iter().fold(i128::from(head), |value, &byte| (value << 8) | i128::from(byte));
    i64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::builder::HeaderBuilder;

    #[test]
    fn numbers() {
        let base256 = |head: u8, tail: &[u8]| {
            let mut field = vec![if head & 0x40 == 0 { 0 } else { 0xff }; 12];
            field[0] = head;
            field[12 - tail.len()..].copy_from_slice(tail);
            field
        };
        let max = i64::MAX.to_be_bytes();
        let min = i64::MIN.to_be_bytes();
        #[rustfmt::skip]
        let cases: &[(&[u8], Option<i64>)] = &[
            (b"00000000017\0", Some(15)),
            (b"00000000017 ", Some(15)),
            (b"         17\0", Some(15)),
            (b"000000000017", Some(15)),
            (b"777777777777", Some((1 << 36) - 1)),
            (b"17\0\0\0\0\0\0\0\0\0\0", Some(15)),
            (b"17 rubbish\0\0", Some(15)),
            (b"\0\0\0\x0017\0\0\0\0\0\0", Some(15)),
            (b"\0\0\0\0\0\0\0\0\0\0\0\0", Some(0)),
            (b"            ", Some(0)),
            (b"", Some(0)),
            (b"00000000018\0", None),
            (b"-0000000017\0", None),
            (b"17x\0\0\0\0\0\0\0\0\0", None),
            (b"nan\0\0\0\0\0\0\0\0\0", None),
            (&base256(0x80, &[1, 0]), Some(256)),
            (&base256(0xff, &[0xff]), Some(-1)),
            (&base256(0xff, &[0xfe, 0]), Some(-512)),
            (&base256(0x80, &max), Some(i64::MAX)),
            (&base256(0xff, &min), Some(i64::MIN)),
            (&base256(0x80, &min), None),
            (&base256(0xff, &max), None),
            (&base256(0x81, &[0]), None),
            (&[0xbf; 12], None),
            (&[0x80, 0, 0, 0, 0, 0, 0x1, 0x2], Some(258)),
            (&[0xff; 8], Some(-1)),
        ];
        for (field, expected) in cases {
            assert_eq!(number(field).ok(), *expected, "'{}'", field.escape_ascii());
        }
    }

    #[test]
    fn both_checksums_count() {
        let block = HeaderBuilder::file("caf\u{e9}\u{e9}", 0).build();
        assert!(is_header(&block));
        let mut signed = block;
        let sum = octal(&block[CHECKSUM]).unwrap() - signed_excess(&block);
        signed[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert_ne!(block, signed);
        assert!(is_header(&signed));
        for at in 0..BLOCK_LEN {
            let mut damaged = block;
            damaged[at] ^= 0x04;
            // Behind its terminator the checksum field may hold anything.
            assert_eq!(is_header(&damaged), at == CHECKSUM.end - 1, "byte {at}");
        }
    }

    #[test]
    fn zeros_and_fragments_are_no_header() {
        assert!(!is_header(&[0; 512]));
        assert!(is_zero_block(&[0; 600]));
        assert!(!is_zero_block(&[0; 511]));
        assert!(!is_header(&HeaderBuilder::file("a", 0).build()[..511]));
    }
}
