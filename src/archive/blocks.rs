//! [`Blocks`]: the buffers that a decompressor fills, used again once nobody looks at what was in them.
//!
//! A fresh buffer costs a page fault and a cleared page for every 4 KiB, more than some decompressors take to fill it.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::memory::{Allowance, Piece};

/// What a block shrinks to where memory is scarce.
const BLOCK_BYTES_MIN: usize = 64 << 10;

/// Buffers that are kept. Consumers seldom hold more blocks at a time than make one batch.
const SPARE_BLOCKS_MAX: usize = 8;

/// Buffers of one size. Clones share those to spare.
#[derive(Clone)]
pub(super) struct Blocks {
    block_bytes: usize,
    allowance: Allowance,
    spare: Spare,
}

type Spare = Arc<Mutex<Vec<Vec<u8>>>>;

/// A buffer to be filled.
pub(super) enum Block {
    Recycled(Recycled),
    /// Where memory is limited, none is kept for later.
    Accounted(Piece),
}

impl Blocks {
    pub(super) fn new(block_bytes: usize, allowance: &Allowance) -> Self {
        Self { block_bytes, allowance: allowance.clone(), spare: Spare::default() }
    }

    pub(super) fn take(&self) -> Block {
        if self.allowance.is_limited() {
            return Block::Accounted(self.allowance.zeroed(self.block_bytes, BLOCK_BYTES_MIN.min(self.block_bytes)));
        }
        let buffer = self.spare.lock().pop().unwrap_or_else(|| vec![0; self.block_bytes]);
        Block::Recycled(Recycled { length: buffer.len(), buffer, spare: Arc::clone(&self.spare) })
    }
}

impl Block {
    /// All of it; what it holds is of no meaning.
    pub(super) fn buffer(&mut self) -> &mut [u8] {
        match self {
            Self::Recycled(block) => &mut block.buffer,
            Self::Accounted(piece) => &mut piece.buffer,
        }
    }

    /// Its first `length` bytes.
    pub(super) fn freeze(self, length: usize) -> Bytes {
        match self {
            Self::Recycled(mut block) => {
                block.length = length;
                Bytes::from_owner(block)
            }
            Self::Accounted(piece) => piece.freeze(length),
        }
    }
}

/// A buffer that goes back where it came from.
pub(super) struct Recycled {
    buffer: Vec<u8>,
    length: usize,
    spare: Spare,
}

impl AsRef<[u8]> for Recycled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Recycled {
    fn drop(&mut self) {
        let mut spare = self.spare.lock();
        if spare.len() < SPARE_BLOCKS_MAX {
            spare.push(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_its_last_slice() {
        let blocks = Blocks::new(10, &Allowance::unlimited());
        let mut block = blocks.take();
        block.buffer().copy_from_slice(b"0123456789");
        let bytes = block.freeze(4);
        let slice = bytes.slice(1..3);
        assert_eq!((&bytes[..], &slice[..]), (&b"0123"[..], &b"12"[..]));
        drop(bytes);
        assert_eq!(blocks.spare.lock().len(), 0);
        drop(slice);
        assert_eq!(blocks.spare.lock().len(), 1);
        assert_eq!(blocks.clone().take().buffer().len(), 10);
        let many: Vec<Bytes> = (0..20).map(|_| blocks.take().freeze(10)).collect();
        drop(many);
        assert_eq!(blocks.spare.lock().len(), SPARE_BLOCKS_MAX);
    }
}
