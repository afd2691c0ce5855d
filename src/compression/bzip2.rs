//! bzip2: streams in a row (`pbzip2` and `lbzip2` write many), each with a checksum of its own and one for each block.
//!
//! Zero bytes between and behind streams are skipped, as for gzip.

use bzip2::{Action, Compress, Compression, Decompress, Error as LibraryError, Status};

use super::{Frames, Place, Progress, Room};
use crate::error::{Error, Result};

/// What a decoder of the largest blocks holds; smaller ones are rare.
const DECODER_BYTES: u64 = 4 << 20;

/// The first bytes behind the stream header: of a block, and of the trailer of an empty stream.
pub(super) const BLOCK_MAGIC: [u8; 6] = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
pub(super) const TRAILER_MAGIC: [u8; 6] = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90];

/// Whether the bytes behind `BZh9`, of which there may be too few to be sure, can be bzip2's.
pub(super) fn may_be_blocks(bytes: &[u8]) -> bool {
    let length = bytes.len().min(BLOCK_MAGIC.len());
    [BLOCK_MAGIC, TRAILER_MAGIC].iter().any(|magic| magic[..length] == bytes[..length])
}

/// The streams of one bzip2 file.
pub(super) struct Streams {
    part: Part,
    streams: u64,
    /// See [`Frames::step`].
    fault: Option<Error>,
}

enum Part {
    /// Between streams: padding, or the next one.
    Between,
    Stream {
        start: u64,
        decoder: Decompress,
    },
    /// In the middle of one that nobody has read the beginning of.
    Within(InStream),
}

impl Streams {
    /// For what stands behind so many streams.
    pub(super) fn behind(streams: u64) -> Self {
        Self { part: Part::Between, streams, fault: None }
    }

    /// For what stands behind a block.
    pub(super) fn within(stream: InStream) -> Self {
        Self { part: Part::Within(stream), streams: 1, fault: None }
    }
}

impl Frames for Streams {
    fn step(&mut self, place: Place, input: &[u8], output: &mut [u8], room: &mut Room) -> Result<Progress> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        if let Part::Within(stream) = self.part {
            let Some(shared) = stream.shared_byte(input) else { return Ok(Progress::default()) };
            if !room.fits(place, "decoder", DECODER_BYTES)? {
                return Ok(Progress::default());
            }
            let decoder = stream.enter(shared).ok_or_else(|| place.damaged("the decoder could not be set up"))?;
            self.part = Part::Stream { start: stream.start, decoder };
            if stream.bits > 0 {
                return Ok(Progress { consumed: 1, written: 0 });
            }
        }
        if let Part::Between = self.part {
            let zeros = if self.streams == 0 { 0 } else { input.iter().take_while(|byte| **byte == 0).count() };
            if zeros < input.len() {
                if !room.fits(place.after(zeros), "decoder", DECODER_BYTES)? {
                    return Ok(Progress { consumed: zeros, written: 0 });
                }
                self.part = Part::Stream { start: place.after(zeros).offset, decoder: Decompress::new(false) };
            }
            if zeros > 0 {
                return Ok(Progress { consumed: zeros, written: 0 });
            }
        }
        let Part::Stream { start, decoder } = &mut self.part else { return Ok(Progress::default()) };
        let before = (decoder.total_in(), decoder.total_out());
        let status = decoder.decompress(input, output);
        let progress = Progress::between(before, (decoder.total_in(), decoder.total_out()));
        match status {
            Ok(Status::StreamEnd) => {
                self.streams += 1;
                self.part = Part::Between;
            }
            Ok(Status::MemNeeded) => return Err(place.damaged("the decoder could not get memory")),
            Ok(_) => {}
            Err(error @ LibraryError::DataMagic) => return Err(place.at(*start).no_magic().caused_by(error)),
            Err(error) => {
                let fault = place.after(progress.consumed).damaged("invalid data or checksum").caused_by(error);
                return progress.before(fault, &mut self.fault);
            }
        }
        Ok(progress)
    }

    fn is_complete(&self) -> bool {
        self.streams > 0 && self.is_between()
    }

    fn is_between(&self) -> bool {
        matches!(self.part, Part::Between)
    }
}

/// What is known of a stream between two of its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InStream {
    /// Where it began.
    pub(super) start: u64,
    /// The digit in its header: how large its blocks are.
    pub(super) level: u8,
    /// Of the blocks so far.
    pub(super) combined_crc: u32,
    /// Bits of the next byte that belong to the block before.
    pub(super) bits: u8,
}

/// Bytes of the block that stands in for those before: some to try, and some that give it its checksum.
const STAND_IN_LEN: usize = 6;

impl InStream {
    /// The byte that the block before and the one behind share, if they do; `None` where it is not there yet.
    fn shared_byte(&self, input: &[u8]) -> Option<u8> {
        if self.bits == 0 { Some(0) } else { input.first().copied() }
    }

    /// A decoder as it would be behind all blocks so far and `shared`.
    ///
    /// The library can't be told a state, but be brought into it: by a stream with one small block that has the combined
    /// checksum for its own, and ends at the same bit of a byte.
    fn enter(&self, shared: u8) -> Option<Decompress> {
        let mut stream = (0..=u16::MAX).find_map(|attempt| self.stand_in(attempt))?;
        if self.bits > 0 {
            let last = stream.last_mut()?;
            *last = *last & !(0xff >> self.bits) | shared & (0xff >> self.bits);
        }
        let (mut decoder, mut plain) = (Decompress::new(false), [0; STAND_IN_LEN + 1]);
        decoder.decompress(&stream, &mut plain).ok()?;
        let moved = (decoder.total_in(), decoder.total_out());
        (moved == (stream.len() as u64, STAND_IN_LEN as u64)).then_some(decoder)
    }

    /// A stream up to the end of its only block, if that ends at the right bit.
    fn stand_in(&self, attempt: u16) -> Option<Vec<u8>> {
        let mut plain = Vec::from(attempt.to_be_bytes());
        let crc = plain.iter().fold(u32::MAX, |crc, byte| crc_forward(crc ^ u32::from(*byte) << 24, 8));
        plain.extend_from_slice(&(crc ^ crc_backward(!self.combined_crc, 32)).to_be_bytes());
        let mut stream = Vec::with_capacity(1_000);
        Compress::new(Compression::fast(), 0).compress_vec(&plain, &mut stream, Action::Finish).ok()?;
        // The trailer has 80 bits, and ends within the last byte.
        let end = (stream.len() * 8 - 80 - 7..=stream.len() * 8 - 80).find(|end| {
            let magic = (0..48).map(|bit| stream[(end + bit) / 8] >> (7 - (end + bit) % 8) & 1);
            magic.eq((0..48).map(|bit| TRAILER_MAGIC[bit / 8] >> (7 - bit % 8) & 1))
        })?;
        stream.truncate(end.div_ceil(8));
        stream[3] = self.level;
        (end % 8 == usize::from(self.bits)).then_some(stream)
    }
}

/// The polynomial of bzip2's checksums, which take the high bit first.
const POLYNOMIAL: u32 = 0x04c1_1db7;

fn crc_forward(crc: u32, bits: u32) -> u32 {
    (0..bits).fold(crc, |crc, _| crc << 1 ^ if crc >> 31 == 1 { POLYNOMIAL } else { 0 })
}

/// What `crc` was so many zero bits before.
fn crc_backward(crc: u32, bits: u32) -> u32 {
    (0..bits).fold(crc, |crc, _| match crc & 1 {
        1 => (crc ^ POLYNOMIAL) >> 1 | 1 << 31,
        _ => crc >> 1,
    })
}

/// Bits in a row, the high one first.
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Those that don't fill a byte yet, the last one lowest.
    rest: u64,
    rest_bits: usize,
}

impl BitWriter {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), rest: 0, rest_bits: 0 }
    }

    /// Writes the low `count` bits of `number`, at most 56.
    pub(super) fn write(&mut self, number: u64, count: usize) {
        self.rest = self.rest << count | number & ((1 << count) - 1);
        self.rest_bits += count;
        while self.rest_bits >= 8 {
            self.rest_bits -= 8;
            self.bytes.push((self.rest >> self.rest_bits).to_le_bytes()[0]);
        }
    }

    /// All of them, with zeros up to the end of a byte.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.write(0, (8 - self.rest_bits) % 8);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_is_brought_into_every_state() {
        for combined_crc in [0, 1, u32::MAX, 0x1234_5678, 0xdead_beef] {
            for bits in 0..8 {
                let stream = InStream { start: 0, level: b'9', combined_crc, bits };
                // A trailer with that checksum is the end of the stream.
                let mut rest = BitWriter::with_capacity(20);
                rest.write(0, bits.into());
                rest.write(u64::from_be_bytes([0, 0, 0x17, 0x72, 0x45, 0x38, 0x50, 0x90]), 48);
                rest.write(combined_crc.into(), 32);
                let rest = rest.finish();
                let mut decoder = stream.enter(rest[0]).unwrap();
                let status = decoder.decompress(&rest[usize::from(bits > 0)..], &mut [0]);
                assert_eq!(status, Ok(Status::StreamEnd), "{stream:?}");
                let mut decoder = InStream { combined_crc: combined_crc ^ 4, ..stream }.enter(rest[0]).unwrap();
                decoder.decompress(&rest[usize::from(bits > 0)..], &mut [0]).unwrap_err();
            }
        }
    }
}
