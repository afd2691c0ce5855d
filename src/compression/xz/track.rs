//! [`Track`]: where in an xz stream its blocks end, found without decompressing them.
//!
//! A block header may say how long the block is, and many don't. But every block is LZMA2, the only compression that the
//! format has, and that comes in chunks which say how long they are. Filters before it change no length.
//!
//! What a newcomer must know: nothing is verified here. A library decompresses the same bytes, and says whether they are
//! right; if it does, what was found is.

use super::index::{Number, Record};
use super::{InStream, MAGIC};

const HAS_STORED_BYTES: u8 = 0x40;
const HAS_PLAIN_BYTES: u8 = 0x80;

/// Follows one stream, from between two of its blocks up to its Index.
pub(in super::super) struct Track {
    part: Part,
    /// What is there of the header at hand.
    head: Vec<u8>,
    stream: InStream,
    block: Block,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Or the first byte of the Index.
    BlockHeader,
    ChunkHeader,
    /// So many bytes of a chunk.
    Chunk(usize),
    /// So many bytes of padding and check.
    BlockEnd(usize),
    /// Behind the blocks, or what is no block.
    Lost,
}

/// The block at hand.
#[derive(Debug, Default)]
struct Block {
    header_len: u64,
    /// Of its chunks so far.
    stored_bytes: u64,
    plain_bytes: u64,
    /// What its header says of all.
    stored_bytes_said: u64,
    plain_bytes_said: u64,
}

impl Track {
    /// From there on.
    pub(in super::super) fn within(stream: InStream) -> Self {
        let part = if stream.check_len().is_some() { Part::BlockHeader } else { Part::Lost };
        Self { part, head: Vec::new(), stream, block: Block::default() }
    }

    /// Between which blocks it is, if it is.
    pub(in super::super) fn between(&self) -> Option<InStream> {
        (self.part == Part::BlockHeader && self.head.is_empty()).then_some(self.stream)
    }

    pub(in super::super) fn is_lost(&self) -> bool {
        self.part == Part::Lost
    }

    /// What the header of the block at hand, which is whole, says of all its bytes, stored and plain; 0 where it says
    /// nothing.
    pub(in super::super) fn block_bytes(&self) -> (u64, u64) {
        (self.block.stored_bytes_said, self.block.plain_bytes_said)
    }

    /// Whether it is in a block, behind the header.
    pub(in super::super) fn is_in_block(&self) -> bool {
        matches!(self.part, Part::ChunkHeader | Part::Chunk(_) | Part::BlockEnd(_))
    }

    /// Whether what comes is not looked at.
    pub(in super::super) fn is_content(&self) -> bool {
        matches!(self.part, Part::Chunk(_) | Part::BlockEnd(_))
    }

    /// How many bytes it takes at a time, at most: none of them lies behind the end of a block.
    pub(in super::super) fn bytes_max(&self) -> usize {
        let head_len = match (self.part, self.head.first()) {
            (Part::Chunk(left) | Part::BlockEnd(left), _) => return left,
            (Part::Lost, _) => return usize::MAX,
            (Part::BlockHeader, Some(size)) => (usize::from(*size) + 1) * 4,
            (Part::ChunkHeader, Some(1 | 2)) => 3,
            (Part::ChunkHeader, Some(_)) => 5,
            (Part::BlockHeader | Part::ChunkHeader, None) => 1,
        };
        head_len - self.head.len()
    }

    /// Follows some bytes of [content](Self::is_content); says which block ends with them.
    pub(in super::super) fn skip(&mut self, bytes: usize) -> Option<Record> {
        match &mut self.part {
            Part::Chunk(left) => {
                *left -= bytes;
                self.block.stored_bytes += bytes as u64;
                if *left == 0 {
                    self.part = Part::ChunkHeader;
                }
            }
            Part::BlockEnd(left) => {
                *left -= bytes;
                if *left == 0 {
                    return Some(self.end_block());
                }
            }
            Part::Lost | Part::BlockHeader | Part::ChunkHeader => {}
        }
        None
    }

    /// Follows some bytes; says which block ends with them.
    pub(in super::super) fn read(&mut self, bytes: &[u8]) -> Option<Record> {
        debug_assert!(bytes.len() <= self.bytes_max(), "as many as it takes");
        match &mut self.part {
            Part::Chunk(_) | Part::BlockEnd(_) => return self.skip(bytes.len()),
            Part::Lost => {}
            Part::BlockHeader | Part::ChunkHeader => {
                self.head.extend_from_slice(bytes);
                match (self.part, self.head.first()) {
                    (_, None) => {}
                    (Part::BlockHeader, Some(0)) | (Part::ChunkHeader, Some(3..0x80)) => self.part = Part::Lost,
                    (Part::ChunkHeader, Some(0)) => return self.end_chunks(),
                    _ if self.bytes_max() > 0 => {}
                    _ => {
                        self.part = self.behind_header();
                        self.head.clear();
                    }
                }
            }
        }
        None
    }

    /// What comes behind the header that is whole now.
    fn behind_header(&mut self) -> Part {
        match (self.part, self.head.as_slice()) {
            (Part::BlockHeader, head) => {
                let header_len = head.len() as u64;
                let Some((stored_bytes_said, plain_bytes_said)) = lengths_said(head) else { return Part::Lost };
                self.block = Block { header_len, stored_bytes_said, plain_bytes_said, ..Block::default() };
                Part::ChunkHeader
            }
            (_, &[control, high, low, ref packed @ ..]) => {
                let number = |high: u8, low: u8| usize::from(u16::from_be_bytes([high, low])) + 1;
                let (stored, plain) = match packed {
                    // The properties of the decoder stand before the content, if they are new.
                    &[packed_high, packed_low] => (
                        number(packed_high, packed_low) + usize::from(control >= 0xc0),
                        number(high, low) + (usize::from(control & 0x1f) << 16),
                    ),
                    _ => (number(high, low), number(high, low)),
                };
                self.block.stored_bytes += self.head.len() as u64;
                self.block.plain_bytes += plain as u64;
                Part::Chunk(stored)
            }
            _ => Part::Lost,
        }
    }

    /// Behind the byte that ends the chunks.
    fn end_chunks(&mut self) -> Option<Record> {
        self.head.clear();
        self.block.stored_bytes += 1;
        let padding = usize::try_from(self.block.stored_bytes.wrapping_neg() % 4).expect("less than four");
        match padding + self.stream.check_len().unwrap_or_default() {
            0 => Some(self.end_block()),
            left => {
                self.part = Part::BlockEnd(left);
                None
            }
        }
    }

    fn end_block(&mut self) -> Record {
        let Block { header_len, stored_bytes, plain_bytes, .. } = std::mem::take(&mut self.block);
        let check_len = self.stream.check_len().unwrap_or_default() as u64;
        let record = Record { unpadded_bytes: header_len + stored_bytes + check_len, plain_bytes };
        self.stream.records.push(record);
        self.part = Part::BlockHeader;
        record
    }
}

impl InStream {
    /// Length of the check of each block; `None` where nobody verifies it, or that is no stream's header.
    pub(in super::super) fn check_len(&self) -> Option<usize> {
        match &self.header {
            [magic @ .., 0, check, _, _, _, _] if magic == &MAGIC => match check {
                0x00 => Some(0),
                // CRC32, CRC64, SHA-256
                0x01 => Some(4),
                0x04 => Some(8),
                0x0a => Some(32),
                _ => None,
            },
            _ => None,
        }
    }
}

/// What a block header says of the block's bytes, stored and plain; 0 where it says nothing.
fn lengths_said(header: &[u8]) -> Option<(u64, u64)> {
    let flags = *header.get(1)?;
    let mut rest = header.iter().skip(2);
    let mut number = |flag: u8| {
        let mut number = Number::default();
        if flags & flag == 0 {
            return Some(0);
        }
        // Ends with the header.
        loop {
            if let Some(value) = number.read(*rest.next()?).ok()? {
                return Some(value);
            }
        }
    };
    Some((number(HAS_STORED_BYTES)?, number(HAS_PLAIN_BYTES)?))
}
