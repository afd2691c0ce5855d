//! [`Blocks`]: the buffers that a decompressor fills, used again once nobody looks at what was in them.

use bytes::Bytes;

use crate::memory::{Allowance, Piece, Spare};

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

/// A buffer to be filled.
pub(super) enum Block {
    Recycled(Vec<u8>, Spare),
    /// Where memory is limited, none is kept for later.
    Accounted(Piece),
}

impl Blocks {
    pub(super) fn new(block_bytes: usize, allowance: &Allowance) -> Self {
        Self { block_bytes, allowance: allowance.clone(), spare: Spare::of(SPARE_BLOCKS_MAX, 1) }
    }

    pub(super) fn take(&self) -> Block {
        if self.allowance.is_limited() {
            return Block::Accounted(self.allowance.zeroed(self.block_bytes, BLOCK_BYTES_MIN.min(self.block_bytes)));
        }
        let buffer = self.spare.reuse(self.block_bytes).unwrap_or_else(|| vec![0; self.block_bytes]);
        Block::Recycled(buffer, self.spare.clone())
    }
}

impl Block {
    /// All of it; what it holds is of no meaning.
    pub(super) fn buffer(&mut self) -> &mut [u8] {
        match self {
            Self::Recycled(buffer, _) => buffer,
            Self::Accounted(piece) => &mut piece.buffer,
        }
    }

    /// Its first `length` bytes.
    pub(super) fn freeze(self, length: usize) -> Bytes {
        match self {
            Self::Recycled(buffer, spare) => spare.lend(buffer, length),
            Self::Accounted(piece) => piece.freeze(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_used_again() {
        let blocks = Blocks::new(10, &Allowance::unlimited());
        let mut block = blocks.take();
        block.buffer().copy_from_slice(b"0123456789");
        let bytes = block.freeze(4);
        assert_eq!((&bytes[..], blocks.spare.len()), (&b"0123"[..], 0));
        drop(bytes);
        assert_eq!(blocks.spare.len(), 1);
        assert_eq!(blocks.clone().take().buffer(), b"0123456789");
        assert_eq!(blocks.spare.len(), 0);
    }
}
