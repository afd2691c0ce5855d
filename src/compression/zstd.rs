//! zstd (RFC 8878): frames in a row, skippable ones included, with windows as long as the memory limit allows.
//!
//! The library decodes; the first bytes of each frame are looked at here too, before it sees them, because it neither
//! says how long a window it would have needed, nor which dictionary, nor where a frame began.
//!
//! Nor does it say, when it meets damage, how much it had written in that call. So it is given one part of a frame at a
//! time (a header, a block, a checksum): then all blocks in front of the damaged one have come out, whatever the pieces
//! that the stream arrives in.

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::{Place, Progress, Room};
use crate::error::{Error, ErrorKind, Result};

const MAGIC: u32 = 0xfd2f_b528;
const MAGIC_SKIPPABLE: u32 = 0x184d_2a50;

/// Magic, descriptor, window descriptor, dictionary id (0 to 4) and content size (0 to 8).
pub(super) const HEADER_LEN_MAX: usize = 18;

/// What the library holds beside the window: a block as it comes in, two as they go out, and its tables.
const BUFFERS_BYTES: u64 = 640 << 10;

/// The window logarithms that the library knows.
const WINDOW_LOG_MIN: u32 = 10;
/// Bytes of the header in front of each block. What the library asks for next is the rest of a block and the header of
/// the next one.
pub(super) const BLOCK_HEADER_LEN: usize = 3;
const WINDOW_LOG_MAX: u32 = if usize::BITS == 64 { 31 } else { 30 };

/// The frames of one zstd stream.
pub(super) struct Frames {
    decoder: Decoder<'static>,
    window_bytes_max: u64,
    part: Part,
    /// Where the frame began that is being read.
    start: u64,
    frames: u64,
    /// Bytes that the library asked for last.
    asked: usize,
    /// The output was full: there may be more before anything else is read.
    is_full: bool,
}

enum Part {
    Between,
    /// In a frame, the beginning of which is still looked at.
    Header {
        head: [u8; HEADER_LEN_MAX],
        length: usize,
    },
    Body,
}

impl Frames {
    /// For what stands behind so many frames.
    pub(super) fn behind(frames: u64, memory_bytes_max: u64) -> Result<Self> {
        let window_log_max = memory_bytes_max.checked_ilog2().unwrap_or_default().clamp(WINDOW_LOG_MIN, WINDOW_LOG_MAX);
        let no_decoder = |error| Error::new(ErrorKind::Limit, "zstd decoder could not be set up").caused_by(error);
        let mut decoder = Decoder::new().map_err(no_decoder)?;
        decoder.set_parameter(DParameter::WindowLogMax(window_log_max)).map_err(no_decoder)?;
        Ok(Self {
            decoder,
            window_bytes_max: 1 << window_log_max,
            part: Part::Between,
            start: 0,
            frames,
            asked: 0,
            is_full: false,
        })
    }

    fn run(&mut self, place: Place, input: &[u8], output: &mut [u8]) -> Result<Progress> {
        let mut from = InBuffer::around(input);
        let mut to = OutBuffer::around(output);
        // Returns at the end of a frame at the latest, with 0 once all of it is written.
        let result = self.decoder.run(&mut from, &mut to);
        let progress = Progress { consumed: from.pos(), written: to.pos() };
        self.asked = result.map_err(|error| {
            let what = format_args!("invalid data or checksum there or behind it, in the frame from {}", self.start);
            place.damaged(what).caused_by(error)
        })?;
        self.is_full = progress.written == output.len();
        if self.asked == 0 {
            self.frames += 1;
            self.part = Part::Between;
        }
        Ok(progress)
    }

    /// Judges as much of the frame header as `input` adds. False where there is no room for its window.
    fn look(&mut self, place: Place, input: &[u8], room: &mut Room) -> Result<bool> {
        if let Part::Between = self.part {
            self.part = Part::Header { head: [0; HEADER_LEN_MAX], length: 0 };
            self.start = place.offset;
        }
        let Part::Header { head, length } = &mut self.part else { return Ok(true) };
        let before = *length;
        *length += super::copy_some(input, &mut head[*length..]);
        let start = place.at(self.start);
        match FrameHeader::read(&head[..*length]) {
            FrameHeader::Unknown => Ok(true),
            FrameHeader::NoFrame => Err(start.no_magic()),
            FrameHeader::Skippable => {
                self.part = Part::Body;
                Ok(true)
            }
            FrameHeader::Frame { window_bytes, dictionary_id } => {
                if window_bytes > self.window_bytes_max {
                    return Err(start.over_limit("window of the frame", Some(window_bytes), self.window_bytes_max));
                }
                if dictionary_id != 0 {
                    let what = format!("its frame needs dictionary {dictionary_id}, and tarsql has no dictionaries");
                    return Err(start.damaged(what));
                }
                if !room.fits(start, "window of the frame", window_bytes.saturating_add(BUFFERS_BYTES))? {
                    // The same bytes come again when there is.
                    *length = before;
                    return Ok(false);
                }
                self.part = Part::Body;
                Ok(true)
            }
        }
    }
}

impl super::Frames for Frames {
    fn step(&mut self, place: Place, input: &[u8], output: &mut [u8], room: &mut Room) -> Result<Progress> {
        let between = matches!(self.part, Part::Between);
        if between && input.is_empty() {
            return Ok(Progress::default());
        }
        if std::mem::take(&mut self.is_full) {
            let flushed = self.run(place, &[], output)?;
            if flushed.written > 0 {
                return Ok(flushed);
            }
        }
        let part = match self.asked {
            // The first bytes of a frame that tell its kind.
            0 => BLOCK_HEADER_LEN,
            // The last bytes of a frame one by one: a length that does not fit takes back what the call has written.
            asked => asked.saturating_sub(BLOCK_HEADER_LEN).max(1),
        };
        let input = &input[..part.min(input.len())];
        if !self.look(place, input, room)? {
            return Ok(Progress::default());
        }
        self.run(place, input, output)
    }

    fn is_complete(&self) -> bool {
        self.frames > 0 && self.is_between()
    }

    fn is_between(&self) -> bool {
        matches!(self.part, Part::Between)
    }
}

/// What the first bytes of a frame say (RFC 8878, 3.1.1.1).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FrameHeader {
    /// Too few bytes so far.
    Unknown,
    NoFrame,
    Skippable,
    Frame {
        window_bytes: u64,
        dictionary_id: u64,
    },
}

impl FrameHeader {
    pub(super) fn read(head: &[u8]) -> Self {
        let Some((magic, rest)) = head.split_first_chunk() else {
            let begins = |magic: u32| magic.to_le_bytes()[..head.len()] == *head;
            let may_be = begins(MAGIC) || (0..16).any(|low| begins(MAGIC_SKIPPABLE + low));
            return if may_be { Self::Unknown } else { Self::NoFrame };
        };
        match u32::from_le_bytes(*magic) {
            MAGIC => Self::read_descriptor(rest).unwrap_or(Self::Unknown),
            magic if magic & !0xf == MAGIC_SKIPPABLE => Self::Skippable,
            _ => Self::NoFrame,
        }
    }

    /// Of a frame with that descriptor.
    pub(super) fn length(descriptor: u8) -> usize {
        let single_segment = descriptor & 0b10_0000 != 0;
        let window = if single_segment { 0 } else { 1 };
        let size = [window ^ 1, 2, 4, 8][usize::from(descriptor >> 6)];
        5 + window + [0, 1, 2, 4][usize::from(descriptor & 0b11)] + size
    }

    fn read_descriptor(bytes: &[u8]) -> Option<Self> {
        let (descriptor, mut rest) = bytes.split_first()?;
        let single_segment = descriptor & 0b10_0000 != 0;
        let mut window_bytes = 0;
        if !single_segment {
            let (window, behind) = rest.split_first()?;
            let base = 1_u64 << (10 + (window >> 3));
            window_bytes = base + base / 8 * u64::from(window & 0b111);
            rest = behind;
        }
        let dictionary_id = take_number(&mut rest, [0, 1, 2, 4][usize::from(descriptor & 0b11)])?;
        if single_segment {
            // The content is its own window. Two-byte sizes are stored less 256.
            let length = [1, 2, 4, 8][usize::from(descriptor >> 6)];
            window_bytes = take_number(&mut rest, length)?.saturating_add(if length == 2 { 256 } else { 0 });
        }
        Some(Self::Frame { window_bytes, dictionary_id })
    }
}

/// Takes a little-endian number of up to eight bytes.
fn take_number(bytes: &mut &[u8], length: usize) -> Option<u64> {
    let (number, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(number.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}
