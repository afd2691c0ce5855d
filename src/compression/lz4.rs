//! LZ4 frames in a row: current, legacy and skippable ones, with every checksum that they have.
//!
//! Only the block decoder is the library's: its frame decoder wants a blocking reader. A block is gathered whole (its
//! length is checked against the frame's limit first), decoded into `window`, and drained from there.

use std::hash::Hasher;

use twox_hash::XxHash32;

use super::lz4_descriptor::Descriptor;
use super::{Place, Progress, Room};
use crate::error::Result;

pub(super) const MAGIC: u32 = 0x184d_2204;
const MAGIC_LEGACY: u32 = 0x184c_2102;
pub(super) const MAGIC_SKIPPABLE: u32 = 0x184d_2a50;

/// How far back a block may reach into the blocks before it.
const HISTORY_LEN: usize = 64 << 10;

/// Every block of a legacy frame but the last holds exactly this much.
const LEGACY_BLOCK_LEN_MAX: usize = 8 << 20;

/// The longest that a compressed legacy block may be: incompressible data grows by one in 255 bytes.
const LEGACY_STORED_LEN_MAX: usize = LEGACY_BLOCK_LEN_MAX + LEGACY_BLOCK_LEN_MAX / 255 + 16;

/// The bit of a block's length that says that it is stored as it is.
pub(super) const BLOCK_IS_PLAIN: u32 = 1 << 31;

/// The frames of one lz4 file.
pub(super) struct Frames {
    part: Part,
    frames: u64,
    /// Of the frame that is being read.
    frame: Frame,
    /// The part that is being read, until it is whole. Grows with the bytes that arrive, never ahead of them.
    gathered: Vec<u8>,
    /// `HISTORY_LEN` bytes, the last `history` of which the next block may refer to, and then one decoded block.
    window: Vec<u8>,
    history: usize,
    /// What of `window` is still to be written out.
    pending: std::ops::Range<usize>,
}

#[derive(Default)]
struct Frame {
    descriptor: Descriptor,
    content_hash: XxHash32,
    content_len: u64,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Magic,
    SkippableLength,
    Skippable {
        left: u32,
    },
    /// Flags and block size first: they tell how long the whole descriptor is.
    DescriptorStart,
    Descriptor {
        start: [u8; Descriptor::START_LEN],
    },
    /// A frame whose blocks want as much room, from its beginning; `legacy` ones have headers of their own.
    Room {
        start: Place,
        block_len_max: usize,
        legacy: bool,
    },
    BlockLength,
    Block {
        length: usize,
        is_plain: bool,
    },
    ContentChecksum,
    LegacyBlockLength,
    LegacyBlock {
        length: usize,
    },
}

impl Part {
    /// Bytes to gather before it can be read.
    fn length(self, descriptor: &Descriptor) -> usize {
        match self {
            Self::Magic | Self::SkippableLength | Self::BlockLength | Self::ContentChecksum => 4,
            Self::LegacyBlockLength => 4,
            Self::Skippable { .. } | Self::Room { .. } => 0,
            Self::DescriptorStart => Descriptor::START_LEN,
            Self::Descriptor { start } => Descriptor::rest_len(start),
            Self::LegacyBlock { length } => length,
            Self::Block { length, .. } => length + if descriptor.block_checksums { 4 } else { 0 },
        }
    }
}

impl Frames {
    /// For what stands behind so many frames.
    pub(super) fn behind(frames: u64) -> Self {
        Self {
            part: Part::Magic,
            frames,
            frame: Frame::default(),
            gathered: Vec::new(),
            window: Vec::new(),
            history: 0,
            pending: 0..0,
        }
    }

    /// Reads one part that is whole; `place` is where it begins.
    fn read(&mut self, place: Place, bytes: &[u8]) -> Result<Part> {
        match self.part {
            Part::Magic => self.read_magic(place, number(bytes)),
            Part::SkippableLength => Ok(self.skip(number(bytes))),
            Part::Skippable { .. } | Part::Room { .. } => Ok(self.part),
            Part::DescriptorStart => {
                let start = *bytes.first_chunk().expect("as many as `Part::length` says");
                Ok(Part::Descriptor { start })
            }
            Part::Descriptor { start } => {
                let descriptor = Descriptor::read(place, start, bytes)?;
                let block_len_max = descriptor.block_len_max;
                self.frame = Frame { descriptor, ..Frame::default() };
                Ok(Part::Room { start: place, block_len_max, legacy: false })
            }
            Part::BlockLength => self.read_block_length(place, number(bytes)),
            Part::Block { length, is_plain } => {
                self.read_block(place, bytes.split_at(length), is_plain)?;
                Ok(Part::BlockLength)
            }
            Part::ContentChecksum => {
                let (stored, computed) = (number(bytes), self.frame.content_hash.finish_32());
                if stored != computed {
                    return Err(place.checksum_mismatch("content checksum", stored, computed));
                }
                Ok(self.end_frame())
            }
            Part::LegacyBlockLength => self.read_legacy_block_length(place, number(bytes)),
            Part::LegacyBlock { .. } => {
                self.decode(place, bytes)?;
                Ok(Part::LegacyBlockLength)
            }
        }
    }

    fn read_magic(&mut self, place: Place, magic: u32) -> Result<Part> {
        match magic {
            MAGIC => Ok(Part::DescriptorStart),
            MAGIC_LEGACY => {
                self.frame = Frame::default();
                Ok(Part::Room { start: place, block_len_max: LEGACY_BLOCK_LEN_MAX, legacy: true })
            }
            magic if magic & !0xf == MAGIC_SKIPPABLE => Ok(Part::SkippableLength),
            _ => Err(place.no_magic()),
        }
    }

    fn skip(&mut self, left: u32) -> Part {
        if left == 0 { self.end_frame() } else { Part::Skippable { left } }
    }

    fn end_frame(&mut self) -> Part {
        self.frames += 1;
        Part::Magic
    }

    /// Makes room for the blocks of a frame; false where there is none.
    fn make_room(&mut self, place: Place, block_len_max: usize, room: &mut Room) -> Result<bool> {
        // The window, and the gathered block at its longest.
        let fits = room.fits(place, "frame", (HISTORY_LEN + block_len_max + block_len_max) as u64)?;
        if fits {
            self.window.resize(HISTORY_LEN + block_len_max, 0);
            self.pending = HISTORY_LEN..HISTORY_LEN;
            self.history = 0;
        }
        Ok(fits)
    }

    fn read_block_length(&mut self, place: Place, word: u32) -> Result<Part> {
        let descriptor = &self.frame.descriptor;
        if word != 0 {
            let is_plain = word & BLOCK_IS_PLAIN != 0;
            let length = word & !BLOCK_IS_PLAIN;
            return match usize::try_from(length) {
                // Every part takes a byte at least, or nothing would seem to move.
                Ok(0) if !descriptor.block_checksums => Ok(Part::BlockLength),
                Ok(length) if length <= descriptor.block_len_max => Ok(Part::Block { length, is_plain }),
                _ => {
                    let max = descriptor.block_len_max;
                    Err(place.damaged(format_args!("block of {length} bytes is longer than the frame's {max}")))
                }
            };
        }
        if let Some(stored) = descriptor.content_len.filter(|length| *length != self.frame.content_len) {
            let decoded = self.frame.content_len;
            return Err(place.damaged(format_args!("length mismatch (stored {stored}, decoded {decoded})")));
        }
        Ok(if descriptor.content_checksum { Part::ContentChecksum } else { self.end_frame() })
    }

    fn read_legacy_block_length(&mut self, place: Place, word: u32) -> Result<Part> {
        // A legacy frame has no end mark. It ends with the file, or where a length would be another frame's magic.
        if matches!(word, MAGIC | MAGIC_LEGACY) || word & !0xf == MAGIC_SKIPPABLE {
            self.end_frame();
            return self.read_magic(place, word);
        }
        match usize::try_from(word) {
            Ok(length) if (1..=LEGACY_STORED_LEN_MAX).contains(&length) => Ok(Part::LegacyBlock { length }),
            _ => {
                Err(place.damaged(format_args!("legacy block of {word} bytes, where {LEGACY_STORED_LEN_MAX} are most")))
            }
        }
    }

    fn read_block(&mut self, place: Place, (block, checksum): (&[u8], &[u8]), is_plain: bool) -> Result<()> {
        if self.frame.descriptor.block_checksums {
            let (stored, computed) = (number(checksum), XxHash32::oneshot(0, block));
            if stored != computed {
                return Err(place.checksum_mismatch("block checksum", stored, computed));
            }
        }
        self.roll_history();
        if is_plain {
            let end = HISTORY_LEN + block.len();
            self.window[HISTORY_LEN..end].copy_from_slice(block);
            self.pending = HISTORY_LEN..end;
        } else {
            self.decode(place, block)?;
        }
        let content = &self.window[self.pending.clone()];
        self.frame.content_len += content.len() as u64;
        if self.frame.descriptor.content_checksum {
            self.frame.content_hash.write(content);
        }
        Ok(())
    }

    fn decode(&mut self, place: Place, block: &[u8]) -> Result<()> {
        let (before, room) = self.window.split_at_mut(HISTORY_LEN);
        let history = &before[HISTORY_LEN - self.history..];
        let length = if history.is_empty() {
            lz4_flex::block::decompress_into(block, room)
        } else {
            lz4_flex::block::decompress_into_with_dict(block, room, history)
        }
        .map_err(|error| place.damaged("invalid block").caused_by(error))?;
        self.pending = HISTORY_LEN..HISTORY_LEN + length;
        Ok(())
    }

    /// Makes the block decoded last part of what the next one may refer to, where blocks are linked.
    fn roll_history(&mut self) {
        if !self.frame.descriptor.linked_blocks {
            return;
        }
        // All of that block has been written out, so `pending` is empty, at its end.
        let end = self.pending.end;
        self.history = (self.history + end - HISTORY_LEN).min(HISTORY_LEN);
        self.window.copy_within(end - self.history..end, HISTORY_LEN - self.history);
    }
}

impl super::Frames for Frames {
    fn step(&mut self, place: Place, input: &[u8], output: &mut [u8], room: &mut Room) -> Result<Progress> {
        if !self.pending.is_empty() {
            let written = super::copy_some(&self.window[self.pending.clone()], output);
            self.pending.start += written;
            return Ok(Progress { consumed: 0, written });
        }
        if let Part::Room { start, block_len_max, legacy } = self.part {
            if !self.make_room(start, block_len_max, room)? {
                return Ok(Progress::default());
            }
            self.part = if legacy { Part::LegacyBlockLength } else { Part::BlockLength };
        }
        if let Part::Skippable { left } = self.part {
            let skipped = u32::try_from(input.len()).map_or(left, |length| left.min(length));
            self.part = self.skip(left - skipped);
            return Ok(Progress { consumed: skipped as usize, written: 0 });
        }
        let length = self.part.length(&self.frame.descriptor);
        let missing = length - self.gathered.len();
        if input.len() < missing {
            self.gathered.extend_from_slice(input);
            return Ok(Progress { consumed: input.len(), written: 0 });
        }
        // Whole in the input, as almost every block is, it is read from there.
        let start = place.at(place.offset - self.gathered.len() as u64);
        let mut gathered = std::mem::take(&mut self.gathered);
        let read = if gathered.is_empty() {
            self.read(start, &input[..missing])
        } else {
            gathered.extend_from_slice(&input[..missing]);
            self.read(start, &gathered)
        };
        gathered.clear();
        self.gathered = gathered;
        self.part = read?;
        Ok(Progress { consumed: missing, written: 0 })
    }

    fn is_complete(&self) -> bool {
        match self.part {
            Part::Magic => self.frames > 0 && self.is_between(),
            // Nothing tells a legacy frame cut between two blocks from a whole one.
            Part::LegacyBlockLength => self.gathered.is_empty() && self.pending.is_empty(),
            _ => false,
        }
    }

    fn is_between(&self) -> bool {
        self.part == Part::Magic && self.gathered.is_empty() && self.pending.is_empty()
    }
}

/// The little-endian number in four gathered bytes.
fn number(bytes: &[u8]) -> u32 {
    let bytes = bytes.first_chunk().expect("parts that are numbers are four bytes long");
    u32::from_le_bytes(*bytes)
}
