//! Blocks of bzip2: each begins with a magic of 48 bits, at any bit, and is decompressed by itself.

use super::rope::Rope;
use super::{Boundary, Feed, FindBoundary, Found, Held, Inside};
use crate::compression::bzip2::{BLOCK_MAGIC, BitWriter, InStream, TRAILER_MAGIC};

const MAGIC_BITS: usize = 48;
const CRC_BITS: usize = 32;
const STREAM_HEADER_LEN: usize = 4;

const MAGIC_MASK: u64 = (1 << MAGIC_BITS) - 1;
const BLOCK: u64 = number(BLOCK_MAGIC);
const TRAILER: u64 = number(TRAILER_MAGIC);

const fn number(magic: [u8; 6]) -> u64 {
    let [a, b, c, d, e, f] = magic;
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// Boundaries between the blocks of a bzip2 file.
pub(super) struct Blocks {
    /// Of the first byte at hand in the file.
    offset: u64,
    /// Of the next header (of a stream, a block or a trailer) among the bytes at hand.
    bit: usize,
    stream: Option<InStream>,
    /// No magic of the next block begins before that.
    searched_bits: usize,
}

impl Blocks {
    pub(super) fn new() -> Self {
        Self { offset: 0, bit: 0, stream: None, searched_bits: 0 }
    }

    /// Moves on from between two streams, to the first block; `Err` where that can't be done.
    fn enter_stream(&mut self, held: &Held<'_>) -> Result<(), Found> {
        let mut at = self.bit / 8;
        // Padding, but not in front of the first stream.
        while self.offset + at as u64 > 0 && held.rope.get(at) == Some([0]) {
            at += 1;
        }
        self.bit = at * 8;
        if at == held.rope.len() && held.has_ended && at > 0 {
            return Err(Found::Cut { length: at, feed: Feed::Nothing, inside: Inside::Nothing });
        }
        let Some(header) = held.rope.get::<STREAM_HEADER_LEN>(at) else { return Err(held.too_short()) };
        let [b'B', b'Z', b'h', level @ b'1'..=b'9'] = header else { return Err(Found::Nothing) };
        self.stream = Some(InStream { start: self.offset + at as u64, level, combined_crc: 0, bits: 0 });
        self.bit += STREAM_HEADER_LEN * 8;
        Ok(())
    }

    /// The block at hand, up to the next magic.
    fn find_block(&mut self, held: &Held<'_>, stream: InStream) -> Found {
        let header_end = self.bit + MAGIC_BITS + CRC_BITS;
        let from = header_end.max(self.searched_bits);
        let Some(end) = find_magic(held.rope, from) else {
            self.searched_bits = from.max((held.rope.len() * 8).saturating_sub(MAGIC_BITS));
            return held.too_short();
        };
        let Some(crc) = bits(held.rope, self.bit + MAGIC_BITS, CRC_BITS) else { return held.too_short() };
        let crc = u32::try_from(crc).expect("as many bits as it has");
        let last = held.rope.get(end / 8).map_or(0, |[byte]| byte);
        let feed = Feed::Bzip2 { level: stream.level, crc, bits: self.bit..end, last };
        let combined_crc = stream.combined_crc.rotate_left(1) ^ crc;
        let bits = u8::try_from(end % 8).expect("less than 8");
        let behind = InStream { combined_crc, bits, ..stream };
        self.offset += (end / 8) as u64;
        (self.bit, self.stream, self.searched_bits) = (end % 8, Some(behind), 0);
        // Where no byte is shared with what is behind, and none of it is known to be wrong, it is a place like others.
        Found::Cut { length: end / 8, feed, inside: Inside::Bzip2(behind) }
    }
}

impl FindBoundary for Blocks {
    fn find(&mut self, held: &Held<'_>) -> Found {
        // Ends: every round moves on in the bytes at hand.
        loop {
            let Some(stream) = self.stream else {
                match self.enter_stream(held) {
                    Ok(()) => continue,
                    Err(Found::Cut { length, feed, inside }) => {
                        self.offset += length as u64;
                        self.bit = 0;
                        return Found::Cut { length, feed, inside };
                    }
                    Err(found) => return found,
                }
            };
            let Some(magic) = bits(held.rope, self.bit, MAGIC_BITS) else { return held.too_short() };
            match magic {
                BLOCK => return self.find_block(held, stream),
                TRAILER => {
                    let Some(crc) = bits(held.rope, self.bit + MAGIC_BITS, CRC_BITS) else { return held.too_short() };
                    // The error is the decompressor's to give.
                    if crc != u64::from(stream.combined_crc) {
                        return Found::Nothing;
                    }
                    self.stream = None;
                    self.bit = (self.bit + MAGIC_BITS + CRC_BITS).next_multiple_of(8);
                }
                _ => return Found::Nothing,
            }
        }
    }

    fn restart(&mut self, boundary: &Boundary) {
        *self = Self { offset: boundary.offset, ..Self::new() };
        if let Inside::Bzip2(stream) = &boundary.inside {
            (self.bit, self.stream) = (stream.bits.into(), Some(*stream));
        }
    }
}

/// At most 56 bits from bit `at` on, if they are there.
fn bits(rope: &Rope, at: usize, count: usize) -> Option<u64> {
    let mut bytes = [0; 8];
    let length = (at % 8 + count).div_ceil(8);
    let there = rope.copy_to(at / 8, &mut bytes[..length]);
    let number = u64::from_be_bytes(bytes) << (at % 8) >> (64 - count);
    (there == length).then_some(number)
}

/// The bit at which the next magic begins, at `from` or behind it.
fn find_magic(rope: &Rope, from: usize) -> Option<usize> {
    let (mut register, mut read) = (0_u64, from / 8 * 8);
    for byte in rope.from(from / 8).flatten() {
        register = register << 8 | u64::from(*byte);
        read += 8;
        let middle = register >> 16 & 0xffff;
        if MIDDLES[middle as usize / 64] >> (middle % 64) & 1 == 0 {
            continue;
        }
        // The one that begins first is in the highest bits.
        for shift in (0..8).rev() {
            let is_magic = matches!(register >> shift & MAGIC_MASK, BLOCK | TRAILER);
            if is_magic && read >= from + MAGIC_BITS + shift {
                return Some(read - MAGIC_BITS - shift);
            }
        }
    }
    None
}

/// One bit for each sixteen that can stand in the middle of a register with a magic in it.
static MIDDLES: [u64; 1024] = {
    let mut middles = [0; 1024];
    let mut shift = 0;
    while shift < 8 {
        let (block, trailer) = ((BLOCK >> (16 - shift)) & 0xffff, (TRAILER >> (16 - shift)) & 0xffff);
        middles[(block / 64) as usize] |= 1 << (block % 64);
        middles[(trailer / 64) as usize] |= 1 << (trailer % 64);
        shift += 1;
    }
    middles
};

/// A stream of that one block, so that the library decompresses and verifies it: it has to end where the trailer that is
/// put behind it begins.
pub(super) fn stream_of(
    level: u8,
    crc: u32,
    pieces: &[bytes::Bytes],
    bits: std::ops::Range<usize>,
    last: u8,
) -> Vec<u8> {
    let mut stream = BitWriter::with_capacity(bits.len() / 8 + 32);
    [b'B', b'Z', b'h', level].into_iter().for_each(|byte| stream.write(byte.into(), 8));
    let bytes = pieces.iter().flatten().copied().chain([last]).skip(bits.start / 8);
    let (mut skipped, mut left) = (bits.start % 8, bits.len());
    for byte in bytes {
        let count = left.min(8 - skipped);
        stream.write(u64::from(byte) >> (8 - skipped - count), count);
        (skipped, left) = (0, left - count);
    }
    stream.write(TRAILER, MAGIC_BITS);
    stream.write(crc.into(), CRC_BITS);
    stream.finish()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_magic_is_found_at_every_bit() {
        for (magic, from) in [(BLOCK, 0), (TRAILER, 0), (BLOCK, 19)] {
            for at in 0..100 {
                let mut bits = BitWriter::with_capacity(40);
                (0..at).for_each(|bit| bits.write(u64::from(bit % 3 == 0), 1));
                bits.write(magic, MAGIC_BITS);
                bits.write(0b1011, 4);
                let bytes = bits.finish();
                for size in [1, 3, 100] {
                    let mut rope = Rope::default();
                    bytes.chunks(size).for_each(|piece| rope.push(Bytes::copy_from_slice(piece)));
                    let expected = (at >= from).then_some(at);
                    assert_eq!(find_magic(&rope, from), expected, "{at} from {from} in pieces of {size}");
                    assert_eq!(super::bits(&rope, at, MAGIC_BITS), Some(magic));
                }
            }
        }
    }
}
