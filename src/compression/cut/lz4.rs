//! Frames of lz4: each block says how long it is. A legacy frame does not say where it ends, and is not cut.

use super::rope::Rope;
use super::walk::{self, Hop, NoHeader};
use crate::compression::lz4::{BLOCK_IS_PLAIN, MAGIC, MAGIC_SKIPPABLE};
use crate::compression::lz4_descriptor::Descriptor;
use crate::compression::{Compression, Place};

const MAGIC_LEN: usize = 4;
const LENGTH_LEN: usize = 4;
const CHECKSUM_LEN: usize = 4;

/// Headers of frames and blocks.
#[derive(Default)]
pub(super) struct Headers {
    frame: Option<Descriptor>,
}

impl walk::Headers for Headers {
    fn read(&mut self, rope: &Rope, at: usize) -> Result<Option<Hop>, NoHeader> {
        let Some(word) = rope.get(at).map(u32::from_le_bytes) else { return Ok(None) };
        let Some(frame) = &self.frame else { return self.read_frame(rope, at, word) };
        let checksum = |is_there: bool| if is_there { CHECKSUM_LEN } else { 0 };
        if word == 0 {
            let length = LENGTH_LEN + checksum(frame.content_checksum);
            self.frame = None;
            return Ok(Some(Hop { length, plain_bytes: 0, is_end: true }));
        }
        match usize::try_from(word & !BLOCK_IS_PLAIN) {
            Ok(stored) if stored <= frame.block_len_max => {
                let length = LENGTH_LEN + stored + checksum(frame.block_checksums);
                Ok(Some(Hop { length, plain_bytes: frame.block_len_max as u64, is_end: false }))
            }
            _ => Err(NoHeader),
        }
    }
}

impl Headers {
    fn read_frame(&mut self, rope: &Rope, at: usize, magic: u32) -> Result<Option<Hop>, NoHeader> {
        match magic {
            MAGIC => {}
            magic if magic & !0xf == MAGIC_SKIPPABLE => return Ok(walk::skippable(rope, at)),
            _ => return Err(NoHeader),
        }
        let Some(start) = rope.get::<{ Descriptor::START_LEN }>(at + MAGIC_LEN) else { return Ok(None) };
        let mut rest = [0; Descriptor::REST_LEN_MAX];
        let rest = &mut rest[..Descriptor::rest_len(start)];
        if rope.copy_to(at + MAGIC_LEN + start.len(), rest) < rest.len() {
            return Ok(None);
        }
        // The error is the decompressor's to give.
        let place = Place { compression: Compression::Lz4, offset: 0 };
        self.frame = Some(Descriptor::read(place, start, rest).map_err(|_| NoHeader)?);
        let length = MAGIC_LEN + start.len() + rest.len();
        Ok(Some(Hop { length, plain_bytes: 0, is_end: false }))
    }
}
