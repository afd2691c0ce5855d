//! gzip (RFC 1952): members in a row, each a header, a deflate stream, and a trailer with checksum and length.
//!
//! The header and trailer are read here and not by the library, so that every fault has its offset and its numbers. Zero
//! bytes between and behind members (tapes and block devices pad with them) are skipped.

use crc32fast::Hasher;

use super::deflate::{Fault, Inflate};
use super::{Frames, Place, Progress, Room};
use crate::error::{Error, Result};

/// The only method of RFC 1952.
pub(super) const METHOD_DEFLATE: u8 = 8;

pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];
const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
pub(super) const FLAGS_RESERVED: u8 = 0b1110_0000;

/// What every header has: magic, method, flags, time, extra flags and system.
pub(super) const HEADER_LEN_MIN: usize = 10;

/// CRC-32 and length, four bytes each.
pub(super) const TRAILER_LEN: usize = 8;

/// The members of one gzip stream.
pub(super) struct Members {
    part: Part,
    members: u64,
    inflate: Inflate,
    /// Of the content of this member.
    crc: Hasher,
    /// See [`Frames::step`].
    fault: Option<Error>,
}

enum Part {
    /// Between members: padding, or the next one.
    Between,
    Header(Header),
    Body,
    Trailer {
        bytes: [u8; TRAILER_LEN],
        length: usize,
    },
}

impl Members {
    /// For what stands behind so many members.
    pub(super) fn behind(members: u64) -> Self {
        Self { part: Part::Between, members, inflate: Inflate::new(), crc: Hasher::new(), fault: None }
    }

    /// Skips padding (but not in front of the first member) up to the first byte of a member.
    fn skip_padding(&mut self, place: Place, input: &[u8]) -> Progress {
        let zeros = if self.members == 0 { 0 } else { input.iter().take_while(|byte| **byte == 0).count() };
        if zeros < input.len() {
            self.part = Part::Header(Header::new(place.after(zeros)));
        }
        Progress { consumed: zeros, written: 0 }
    }

    fn inflate(&mut self, place: Place, input: &[u8], output: &mut [u8]) -> Result<Progress> {
        let step = self.inflate.inflate(input, output);
        let progress = Progress { consumed: step.consumed, written: step.written };
        self.crc.update(&output[..step.written]);
        if let Some(Fault { what, bytes }) = step.fault {
            let place = place.at(place.offset + step.consumed as u64 - bytes);
            return progress.before(place.damaged(format_args!("invalid deflate data: {what}")), &mut self.fault);
        }
        if self.inflate.is_done() {
            self.part = Part::Trailer { bytes: [0; TRAILER_LEN], length: 0 };
        }
        Ok(progress)
    }

    fn trailer(&mut self, place: Place, input: &[u8]) -> Result<Progress> {
        let Part::Trailer { bytes, length } = &mut self.part else { return Ok(Progress::default()) };
        let consumed = super::copy_some(input, &mut bytes[*length..]);
        *length += consumed;
        if *length == TRAILER_LEN {
            let trailer = *bytes;
            self.check_trailer(place.after(consumed), trailer)?;
        }
        Ok(Progress { consumed, written: 0 })
    }

    fn check_trailer(&mut self, place: Place, trailer: [u8; TRAILER_LEN]) -> Result<()> {
        let [a, b, c, d, e, f, g, h] = trailer;
        let (crc, length) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        let computed = self.crc.clone().finalize();
        if crc != computed {
            return Err(place.checksum_mismatch("crc32", crc, computed));
        }
        // The trailer has the length modulo 2^32.
        let inflated = self.inflate.total_out();
        if u64::from(length) != inflated & u64::from(u32::MAX) {
            return Err(place.damaged(format_args!("length mismatch (stored {length}, inflated {inflated})")));
        }
        self.members += 1;
        self.part = Part::Between;
        Ok(())
    }
}

impl Frames for Members {
    fn step(&mut self, place: Place, input: &[u8], output: &mut [u8], _room: &mut Room) -> Result<Progress> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        if let Part::Between = self.part
            && !input.is_empty()
        {
            let padding = self.skip_padding(place, input);
            if padding.consumed > 0 {
                return Ok(padding);
            }
        }
        match &mut self.part {
            Part::Between => Ok(Progress::default()),
            Part::Header(header) => {
                let consumed = header.read(place, input)?;
                if header.is_complete() {
                    self.inflate.reset();
                    self.crc.reset();
                    self.part = Part::Body;
                }
                Ok(Progress { consumed, written: 0 })
            }
            Part::Body => {
                let progress = self.inflate(place, input, output)?;
                // The end of the deflate stream may lie in bits that were read long ago.
                let is_silent_end = progress.is_none() && matches!(self.part, Part::Trailer { .. });
                if is_silent_end { self.trailer(place, input) } else { Ok(progress) }
            }
            Part::Trailer { .. } => self.trailer(place, input),
        }
    }

    fn is_complete(&self) -> bool {
        self.members > 0 && self.is_between()
    }

    fn is_between(&self) -> bool {
        matches!(self.part, Part::Between)
    }
}

/// One member's header, read byte by byte: names and comments have any length, so nothing of them is kept.
struct Header {
    start: Place,
    field: Field,
    flags: u8,
    crc: Hasher,
}

#[derive(Clone, Copy)]
enum Field {
    /// Magic, method, flags, time, extra flags and system; the index of the next byte.
    Fixed(u8),
    ExtraLength(Option<u8>),
    Extra(u16),
    Name,
    Comment,
    HeaderCrc(Option<u8>),
    End,
}

impl Header {
    fn new(start: Place) -> Self {
        Self { start, field: Field::Fixed(0), flags: 0, crc: Hasher::new() }
    }

    fn is_complete(&self) -> bool {
        matches!(self.field, Field::End)
    }

    /// Reads up to the end of the header; returns how many bytes that took.
    fn read(&mut self, place: Place, input: &[u8]) -> Result<usize> {
        for (index, byte) in input.iter().enumerate() {
            if self.is_complete() {
                return Ok(index);
            }
            self.read_byte(place.after(index), *byte)?;
        }
        Ok(input.len())
    }

    fn read_byte(&mut self, place: Place, byte: u8) -> Result<()> {
        let is_crc = matches!(self.field, Field::HeaderCrc(_));
        self.field = match self.field {
            Field::Fixed(index) => self.read_fixed(place, index, byte)?,
            Field::ExtraLength(None) => Field::ExtraLength(Some(byte)),
            Field::ExtraLength(Some(low)) => match u16::from_le_bytes([low, byte]) {
                0 => self.field_behind(FLAG_EXTRA),
                length => Field::Extra(length),
            },
            Field::Extra(1) => self.field_behind(FLAG_EXTRA),
            Field::Extra(length) => Field::Extra(length - 1),
            Field::Name if byte == 0 => self.field_behind(FLAG_NAME),
            Field::Comment if byte == 0 => self.field_behind(FLAG_COMMENT),
            Field::HeaderCrc(None) => Field::HeaderCrc(Some(byte)),
            Field::HeaderCrc(Some(low)) => {
                let (stored, computed) =
                    (u32::from(u16::from_le_bytes([low, byte])), self.crc.clone().finalize() & 0xffff);
                if stored != computed {
                    return Err(place.checksum_mismatch("header crc16", stored, computed));
                }
                Field::End
            }
            same @ (Field::Name | Field::Comment | Field::End) => same,
        };
        if !is_crc {
            self.crc.update(&[byte]);
        }
        Ok(())
    }

    fn read_fixed(&mut self, place: Place, index: u8, byte: u8) -> Result<Field> {
        match index {
            0 | 1 if byte != MAGIC[usize::from(index)] => return Err(self.start.no_magic()),
            2 if byte != METHOD_DEFLATE => return Err(place.damaged(format_args!("unknown method {byte}"))),
            // RFC 1952 2.3.1.2: they may announce fields that nobody could skip.
            3 if byte & FLAGS_RESERVED != 0 => {
                return Err(place.damaged(format_args!("reserved flags are set ({byte:#04x})")));
            }
            3 => self.flags = byte,
            9 => return Ok(self.field_behind(0)),
            _ => {}
        }
        Ok(Field::Fixed(index + 1))
    }

    /// The next optional field that this header has, behind the one with that flag.
    fn field_behind(&self, flag: u8) -> Field {
        // In the order in which they are stored, which is not that of the flags.
        let order = [
            (FLAG_EXTRA, Field::ExtraLength(None)),
            (FLAG_NAME, Field::Name),
            (FLAG_COMMENT, Field::Comment),
            (FLAG_HEADER_CRC, Field::HeaderCrc(None)),
        ];
        let from = order.iter().position(|(this, _)| *this == flag).map_or(0, |index| index + 1);
        order[from..].iter().find(|(this, _)| self.flags & this != 0).map_or(Field::End, |(_, field)| *field)
    }
}
