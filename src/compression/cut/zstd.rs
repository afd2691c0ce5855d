//! Frames of zstd: each block says how long it is.

use super::rope::Rope;
use super::walk::{self, Hop, NoHeader};
use crate::compression::zstd::{BLOCK_HEADER_LEN, FrameHeader, HEADER_LEN_MAX};

/// What a block holds at most (RFC 8878, 3.1.1.2.4).
const BLOCK_PLAIN_BYTES_MAX: u64 = 128 << 10;

const CHECKSUM_LEN: usize = 4;

/// Headers of frames and blocks.
#[derive(Default)]
pub(super) struct Headers {
    frame: Option<Frame>,
}

struct Frame {
    has_checksum: bool,
    block_plain_bytes_max: u64,
}

impl walk::Headers for Headers {
    fn read(&mut self, rope: &Rope, at: usize) -> Result<Option<Hop>, NoHeader> {
        match &self.frame {
            None => self.read_frame(rope, at),
            Some(frame) => {
                let Some(header) = rope.get::<BLOCK_HEADER_LEN>(at) else { return Ok(None) };
                let hop = frame.read_block(header)?;
                if hop.is_end {
                    self.frame = None;
                }
                Ok(Some(hop))
            }
        }
    }
}

impl Headers {
    fn read_frame(&mut self, rope: &Rope, at: usize) -> Result<Option<Hop>, NoHeader> {
        let mut header = [0; HEADER_LEN_MAX];
        let length = rope.copy_to(at, &mut header);
        let window_bytes = match FrameHeader::read(&header[..length]) {
            FrameHeader::Unknown => return Ok(None),
            FrameHeader::Skippable => return Ok(walk::skippable(rope, at)),
            FrameHeader::Frame { window_bytes, dictionary_id: 0 } => window_bytes,
            FrameHeader::NoFrame | FrameHeader::Frame { .. } => return Err(NoHeader),
        };
        let descriptor = header[4];
        self.frame = Some(Frame {
            has_checksum: descriptor & 0b100 != 0,
            block_plain_bytes_max: window_bytes.min(BLOCK_PLAIN_BYTES_MAX),
        });
        let length = FrameHeader::length(descriptor);
        Ok(Some(Hop { length, plain_bytes: 0, is_end: false }))
    }
}

impl Frame {
    fn read_block(&self, [a, b, c]: [u8; BLOCK_HEADER_LEN]) -> Result<Hop, NoHeader> {
        let header = u32::from_le_bytes([a, b, c, 0]);
        let (is_last, size) = (header & 1 != 0, header >> 3);
        let stored = usize::try_from(size).unwrap_or(usize::MAX);
        let (stored, plain_bytes) = match header >> 1 & 0b11 {
            0 => (stored, u64::from(size)),
            // One byte over and over.
            1 => (1, u64::from(size)),
            2 => (stored, self.block_plain_bytes_max),
            _ => return Err(NoHeader),
        };
        let checksum = if is_last && self.has_checksum { CHECKSUM_LEN } else { 0 };
        Ok(Hop { length: BLOCK_HEADER_LEN + stored + checksum, plain_bytes, is_end: is_last })
    }
}
