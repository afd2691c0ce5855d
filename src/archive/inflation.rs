//! A decompressor, the memory that it holds, and the blocks that it fills.

use std::time::Instant;

use bytes::Bytes;

use crate::compression::{Compression, Inflater, UNASKED_BYTES};
use crate::error::Result;
use crate::memory::{Allowance, Piece, Reservation, Shortage};
use crate::stats::Stats;

/// Memory that one decompressor may take for its window and dictionaries where nobody says how much there is: xz -9
/// wants 65 MiB, zstd --long=27 128 MiB.
const DECOMPRESSOR_BYTES_MAX: u64 = 1 << 30;

/// What it may take where it has to ask: the largest that a format knows.
const DECOMPRESSOR_BYTES_MOST: u64 = 5 << 30;

/// What a block shrinks to where memory is scarce.
const BLOCK_BYTES_MIN: usize = 64 << 10;

/// Turns one compressed stream, fed piece by piece, into blocks.
pub(crate) struct Inflation {
    inflater: Inflater,
    memory: Reservation,
    allowance: Allowance,
    /// Kept while there is nothing to fill it with.
    block: Option<Piece>,
}

impl Inflation {
    /// # Errors
    /// A library can't set its decoder up.
    pub(crate) fn new(compression: Compression, allowance: &Allowance) -> Result<Self> {
        let bytes_max = if allowance.is_limited() { DECOMPRESSOR_BYTES_MOST } else { DECOMPRESSOR_BYTES_MAX };
        let inflater = Inflater::new(compression, bytes_max)?.asking();
        let mut memory = allowance.reservation();
        memory.force(UNASKED_BYTES);
        Ok(Self { inflater, memory, allowance: allowance.clone(), block: None })
    }

    /// Whether all that was pushed is read, and more may come.
    pub(crate) fn wants_input(&self) -> bool {
        self.inflater.wants_input()
    }

    /// Gives the next piece of the stream. Only when it [`wants_input`](Self::wants_input).
    pub(crate) fn push(&mut self, input: Bytes) {
        self.inflater.push(input);
    }

    /// Says that the whole stream was pushed.
    pub(crate) fn end(&mut self) {
        self.inflater.end();
    }

    /// The next block, of at most `block_bytes`; `None` where there is nothing to be had from what was pushed, or too
    /// little memory: then there is a [`shortage`](Self::shortage).
    ///
    /// # Errors
    /// The stream is damaged, or needs more memory than a decompressor gets.
    pub(crate) fn next_block(&mut self, block_bytes: usize, stats: &Stats) -> Result<Option<Bytes>> {
        let start = Instant::now();
        let mut block =
            self.block.take().unwrap_or_else(|| self.allowance.zeroed(block_bytes, BLOCK_BYTES_MIN.min(block_bytes)));
        let mut written = self.inflater.fill(&mut block.buffer)?;
        if written == 0
            && let Some(wanted) = self.inflater.wanted()
            && self.memory.try_hard(wanted.bytes)
        {
            self.inflater.allow(wanted.bytes);
            written = self.inflater.fill(&mut block.buffer)?;
        }
        stats.decompress_nanos.add_elapsed(start);
        if written == 0 {
            self.block = Some(block);
            return Ok(None);
        }
        stats.bytes_decompressed.add(written as u64);
        Ok(Some(block.freeze(written)))
    }

    /// The memory without which there is no further block.
    pub(crate) fn shortage(&mut self) -> Option<Shortage<'_>> {
        let wanted = self.inflater.wanted().filter(|wanted| !self.memory.has(wanted.bytes))?;
        Some(Shortage { reservation: &mut self.memory, bytes: wanted.bytes, what: wanted.to_string() })
    }
}
