//! How much memory a decompressor may hold, and what it asks for when that is too little.
//!
//! A decompressor that is refused makes no progress, and leaves its [`Wanted`] here; whoever drives it finds the memory
//! and says so, or gives up.

use super::Place;
use crate::error::{Error, Result};

/// Memory that a decompressor needs before it can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// All that it will hold then, in bytes.
    pub(crate) bytes: u64,
    place: Place,
    what: &'static str,
}

impl Wanted {
    /// The error that it is more than `limit`.
    pub(super) fn over_limit(self, limit: u64) -> Error {
        self.place.over_limit(self.what, Some(self.bytes), limit)
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the {} {} at compressed byte {}", self.place.name(), self.what, self.place.offset)
    }
}

/// What one decompressor may hold.
#[derive(Debug)]
pub(super) struct Room {
    /// Nobody gets more, whatever the memory there is.
    max: u64,
    /// What was found so far.
    allowed: u64,
    wanted: Option<Wanted>,
}

impl Room {
    /// Room for `max` bytes, for none of which anybody is asked.
    pub(super) fn new(max: u64) -> Self {
        Self { max, allowed: max, wanted: None }
    }

    /// Lets it have no more than `bytes` without asking. Before anything is decompressed.
    pub(super) fn ask_beyond(&mut self, bytes: u64) {
        self.allowed = bytes;
    }

    /// Whether there are `bytes` for `what`, which the stream at `place` needs. Where not, they are wanted from then on.
    ///
    /// # Errors
    /// Nobody gets as much.
    pub(super) fn fits(&mut self, place: Place, what: &'static str, bytes: u64) -> Result<bool> {
        let wanted = Wanted { bytes, place, what };
        if bytes > self.max {
            return Err(wanted.over_limit(self.max));
        }
        self.wanted = (bytes > self.allowed).then_some(wanted);
        Ok(self.wanted.is_none())
    }

    /// Bytes that need no asking.
    pub(super) fn allowed(&self) -> u64 {
        self.allowed.min(self.max)
    }

    pub(super) fn wanted(&self) -> Option<Wanted> {
        self.wanted
    }

    /// Says that there are `bytes` now.
    pub(super) fn allow(&mut self, bytes: u64) {
        self.allowed = self.allowed.max(bytes);
        self.wanted = self.wanted.filter(|wanted| wanted.bytes > self.allowed);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::compression::tests::FORMATS;
    use crate::compression::{Compression, Inflater};

    /// What comes out, and what was wanted on the way, where `granted` bytes are what there is.
    fn inflate(compression: Compression, stream: &[u8], piece: usize, granted: u64) -> (Vec<u8>, Vec<u64>) {
        let mut inflater = Inflater::new(compression, 1 << 30).unwrap().asking();
        let (mut plain, mut wanted, mut block) = (Vec::new(), Vec::new(), vec![0; 1000]);
        let mut pieces = stream.chunks(piece).map(Bytes::copy_from_slice);
        loop {
            if inflater.wants_input() {
                match pieces.next() {
                    Some(piece) => inflater.push(piece),
                    None => inflater.end(),
                }
            }
            let written = inflater.fill(&mut block).unwrap();
            plain.extend_from_slice(&block[..written]);
            match inflater.wanted() {
                Some(_) if written > 0 => {}
                Some(need) if need.bytes > granted => {
                    wanted.push(need.bytes);
                    return (plain, wanted);
                }
                Some(need) => {
                    wanted.push(need.bytes);
                    inflater.allow(need.bytes);
                }
                None if written == 0 && !inflater.wants_input() => return (plain, wanted),
                None => {}
            }
        }
    }

    #[test]
    fn large_blocks_of_lz4_are_asked_for() {
        let plain = [7; 100_000];
        let block = lz4_flex::block::compress(&plain);
        let legacy =
            [&[0x02, 0x21, 0x4c, 0x18], &u32::try_from(block.len()).unwrap().to_le_bytes()[..], &block].concat();
        for piece in [1, usize::MAX] {
            let (out, wanted) = inflate(Compression::Lz4, &legacy, piece, u64::MAX);
            assert_eq!((out.len(), wanted), (plain.len(), vec![(16 << 20) + (64 << 10)]));
            assert_eq!(inflate(Compression::Lz4, &legacy, piece, 1 << 20).0, Vec::<u8>::new());
        }
    }

    #[test]
    fn what_is_wanted_is_asked_for_once() {
        let plain: Vec<u8> = (0..3_000_000_u32).map(|n| u8::try_from(n.wrapping_mul(n) % 251).unwrap()).collect();
        for (compression, compress) in FORMATS {
            // Two in a row: the second finds what the first was given.
            let stream = [compress(&plain), compress(&plain)].concat();
            for piece in [1, 1000, usize::MAX] {
                let (out, wanted) = inflate(compression, &stream, piece, u64::MAX);
                let name = compression.as_str();
                assert!(out == [&plain[..], &plain[..]].concat(), "{name} in pieces of {piece}");
                // gzip's window is small, and so are the blocks of these frames of lz4.
                let asks = if matches!(compression, Compression::Gzip | Compression::Lz4) { 0 } else { 1 };
                assert_eq!(wanted.len(), asks, "{name} in pieces of {piece} wants {wanted:?}");
                if let Some(&bytes) = wanted.first() {
                    assert!((512 << 10..100 << 20).contains(&bytes), "{name} wants {bytes}");
                    // Refused, nothing comes out, and nothing is an error.
                    assert_eq!(inflate(compression, &stream, piece, bytes - 1), (Vec::new(), wanted), "{name}");
                }
            }
        }
    }
}
