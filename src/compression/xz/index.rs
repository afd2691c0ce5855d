//! What stands behind the blocks of an xz stream (the .xz file format 1.2.1, sections 4 and 2.1.2): the Index, with the
//! length of each block, and the Stream Footer.
//!
//! The library verifies both where it has read the stream from its beginning. Where it has not, use [`Ending`], which
//! refuses what the library refuses, at the same byte; and [`ending_of`] makes one that the library verifies.

use std::hash::{DefaultHasher, Hash, Hasher};

use crc32fast::hash as crc32;
use liblzma::stream::Error as LibraryError;

/// Length of a Stream Header, and of a Stream Footer.
pub(in super::super) const STREAM_HEADER_LEN: usize = 12;

/// Where the Stream Flags are in a Stream Header. A footer has the same ones.
const FLAGS: std::ops::Range<usize> = 6..8;

const FOOTER_MAGIC: [u8; 2] = *b"YZ";

/// Numbers have seven bits in a byte, and 63 at most.
const NUMBER_LEN_MAX: u32 = 9;

/// What a record may say of a block without its padding, as the library has it.
const UNPADDED_BYTES: std::ops::RangeInclusive<u64> = 5..=(1 << 63) - 4;

/// How long a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in super::super) struct Record {
    /// With its header and check, but without padding.
    pub(in super::super) unpadded_bytes: u64,
    pub(in super::super) plain_bytes: u64,
}

/// Whether a Stream Header is whole.
pub(in super::super) fn is_sealed(header: &[u8; STREAM_HEADER_LEN]) -> bool {
    header[FLAGS.end..] == crc32(&header[FLAGS]).to_le_bytes()
}

/// Blocks in a row, as much of them as it takes to know their Index again: there may be any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) struct Records {
    count: u64,
    stored_bytes: u64,
    plain_bytes: u64,
    /// Length of the records as the Index has them.
    list_len: u64,
    /// Of all records in this order; both halves are made in the same way from other beginnings.
    digest: [u64; 2],
}

impl Records {
    pub(in super::super) fn push(&mut self, record: Record) {
        self.count += 1;
        // What saturates is more than any file has, and equals nothing that is there.
        self.stored_bytes = self.stored_bytes.saturating_add(record.unpadded_bytes.next_multiple_of(4));
        self.plain_bytes = self.plain_bytes.saturating_add(record.plain_bytes);
        self.list_len += number_len(record.unpadded_bytes) + number_len(record.plain_bytes);
        for (half, digest) in self.digest.iter_mut().enumerate() {
            let mut hasher = DefaultHasher::new();
            (half, *digest, record).hash(&mut hasher);
            *digest = hasher.finish();
        }
    }

    /// Length of their Index up to its checksum, without padding.
    fn unpadded_len(&self) -> u64 {
        1 + number_len(self.count) + self.list_len
    }

    fn index_len(&self) -> u64 {
        self.unpadded_len().next_multiple_of(4) + 4
    }

    /// Whether there is more of anything than in `other`.
    fn exceeds(&self, other: &Self) -> bool {
        self.stored_bytes > other.stored_bytes || self.plain_bytes > other.plain_bytes || self.list_len > other.list_len
    }
}

/// An Index and a footer, for a stream that begins with `header` and has these blocks.
pub(in super::super) fn ending_of(header: &[u8; STREAM_HEADER_LEN], records: &[Record]) -> Vec<u8> {
    let mut ending = vec![0];
    write_number(&mut ending, records.len() as u64);
    for record in records {
        write_number(&mut ending, record.unpadded_bytes);
        write_number(&mut ending, record.plain_bytes);
    }
    ending.resize(ending.len().next_multiple_of(4), 0);
    ending.extend_from_slice(&crc32(&ending).to_le_bytes());
    let backward = u32::try_from(ending.len() / 4 - 1).expect("an index of the blocks that are in memory");
    let sealed = [&backward.to_le_bytes()[..], &header[FLAGS]].concat();
    ending.extend_from_slice(&crc32(&sealed).to_le_bytes());
    ending.extend_from_slice(&sealed);
    ending.extend_from_slice(&FOOTER_MAGIC);
    ending
}

/// The Index and the footer of a stream, as they arrive.
pub(in super::super) struct Ending {
    flags: [u8; 2],
    blocks: Records,
    /// Those of the Index so far.
    records: Records,
    field: Field,
    number: Number,
    crc: crc32fast::Hasher,
}

#[derive(Debug, Clone, Copy)]
enum Field {
    Indicator,
    Count,
    /// With so many records to come, this one included.
    Unpadded {
        records: u64,
    },
    Plain {
        records: u64,
        unpadded_bytes: u64,
    },
    Padding {
        bytes: u64,
    },
    Checksum {
        at: usize,
    },
    Footer {
        bytes: [u8; STREAM_HEADER_LEN],
        at: usize,
    },
}

impl Ending {
    /// Behind those `blocks` of a stream that begins with `header`.
    pub(in super::super) fn of(header: &[u8; STREAM_HEADER_LEN], blocks: Records) -> Self {
        let flags = [header[FLAGS.start], header[FLAGS.start + 1]];
        let (records, number, crc) = (Records::default(), Number::default(), crc32fast::Hasher::new());
        Self { flags, blocks, records, field: Field::Indicator, number, crc }
    }

    /// Reads on; true once that was all. `consumed` grows by what was read, up to what is wrong.
    pub(in super::super) fn read(&mut self, input: &[u8], consumed: &mut usize) -> Result<bool, LibraryError> {
        for byte in input {
            if let Field::Padding { bytes: 0 } = self.field {
                if self.records != self.blocks {
                    return Err(LibraryError::Data);
                }
                self.field = Field::Checksum { at: 0 };
            }
            *consumed += 1;
            if self.read_byte(*byte)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn read_byte(&mut self, byte: u8) -> Result<bool, LibraryError> {
        if !matches!(self.field, Field::Checksum { .. } | Field::Footer { .. }) {
            self.crc.update(&[byte]);
        }
        match &mut self.field {
            Field::Indicator => self.field = Field::Count,
            Field::Count => {
                let Some(count) = self.number.read(byte)? else { return Ok(false) };
                if count != self.blocks.count {
                    return Err(LibraryError::Data);
                }
                self.field = self.behind_record(count);
            }
            Field::Unpadded { records } => {
                let Some(unpadded_bytes) = self.number.read(byte)? else { return Ok(false) };
                if !UNPADDED_BYTES.contains(&unpadded_bytes) {
                    return Err(LibraryError::Data);
                }
                self.field = Field::Plain { records: *records, unpadded_bytes };
            }
            Field::Plain { records, unpadded_bytes } => {
                let Some(plain_bytes) = self.number.read(byte)? else { return Ok(false) };
                let (left, unpadded_bytes) = (*records - 1, *unpadded_bytes);
                self.records.push(Record { unpadded_bytes, plain_bytes });
                if self.records.exceeds(&self.blocks) {
                    return Err(LibraryError::Data);
                }
                self.field = self.behind_record(left);
            }
            Field::Padding { bytes } => {
                *bytes -= 1;
                if byte != 0 {
                    return Err(LibraryError::Data);
                }
            }
            Field::Checksum { at } => {
                if byte != self.crc.clone().finalize().to_le_bytes()[*at] {
                    return Err(LibraryError::Data);
                }
                *at += 1;
                if *at == 4 {
                    self.field = Field::Footer { bytes: [0; STREAM_HEADER_LEN], at: 0 };
                }
            }
            Field::Footer { bytes, at } => {
                bytes[*at] = byte;
                *at += 1;
                if *at == STREAM_HEADER_LEN {
                    let footer = *bytes;
                    return self.verify_footer(footer).map(|()| true);
                }
            }
        }
        Ok(false)
    }

    fn behind_record(&self, left: u64) -> Field {
        match left {
            0 => {
                let length = self.records.unpadded_len();
                Field::Padding { bytes: length.next_multiple_of(4) - length }
            }
            records => Field::Unpadded { records },
        }
    }

    fn verify_footer(&self, footer: [u8; STREAM_HEADER_LEN]) -> Result<(), LibraryError> {
        let [c0, c1, c2, c3, b0, b1, b2, b3, flags @ .., m0, m1] = footer;
        let is_sealed = [m0, m1] == FOOTER_MAGIC && u32::from_le_bytes([c0, c1, c2, c3]) == crc32(&footer[4..10]);
        let index_len = (u64::from(u32::from_le_bytes([b0, b1, b2, b3])) + 1) * 4;
        match flags {
            _ if !is_sealed => Err(LibraryError::Data),
            [1..=u8::MAX, _] | [_, 0x10..=u8::MAX] => Err(LibraryError::Options),
            _ if index_len != self.blocks.index_len() || flags != self.flags => Err(LibraryError::Data),
            _ => Ok(()),
        }
    }
}

/// A number of any length, byte by byte.
#[derive(Debug, Default)]
pub(super) struct Number {
    value: u64,
    length: u32,
}

impl Number {
    /// The number once it is whole.
    pub(super) fn read(&mut self, byte: u8) -> Result<Option<u64>, LibraryError> {
        self.value |= u64::from(byte & 0x7f) << (7 * self.length);
        self.length += 1;
        let (is_last, is_filler) = (byte & 0x80 == 0, byte == 0 && self.length > 1);
        match (is_last, is_filler) {
            (true, false) => Ok(Some(std::mem::take(self).value)),
            (false, _) if self.length < NUMBER_LEN_MAX => Ok(None),
            _ => Err(LibraryError::Data),
        }
    }
}

fn write_number(to: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        to.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    to.push(number.to_le_bytes()[0]);
}

fn number_len(number: u64) -> u64 {
    u64::from((u64::BITS - number.leading_zeros()).div_ceil(7).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_as_long_as_it_is_written() {
        let powers = (0..9).flat_map(|power| [(1_u64 << (7 * power)) - 1, 1 << (7 * power), (1 << (7 * power)) + 1]);
        for number in powers.chain([(1 << 63) - 1]) {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            assert_eq!(bytes.len() as u64, number_len(number), "{number}");
            let mut reader = Number::default();
            let read: Vec<_> = bytes.iter().map(|byte| reader.read(*byte)).collect();
            assert_eq!(read.last(), Some(&Ok(Some(number))));
            assert!(read[..read.len() - 1].iter().all(|part| *part == Ok(None)));
        }
    }
}
