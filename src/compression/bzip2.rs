//! bzip2: streams in a row (`pbzip2` and `lbzip2` write many), each with a checksum of its own and one for each block.
//!
//! Zero bytes between and behind streams are skipped, as for gzip.

use bzip2::{Decompress, Error as LibraryError, Status};

use super::{Frames, Place, Progress, Room};
use crate::error::{Error, Result};

/// What a decoder of the largest blocks holds; smaller ones are rare.
const DECODER_BYTES: u64 = 4 << 20;

/// The first bytes behind the stream header: of a block, and of the trailer of an empty stream.
const BLOCK_MAGIC: [u8; 6] = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
const TRAILER_MAGIC: [u8; 6] = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90];

/// Whether the bytes behind `BZh9`, of which there may be too few to be sure, can be bzip2's.
pub(super) fn may_be_blocks(bytes: &[u8]) -> bool {
    let length = bytes.len().min(BLOCK_MAGIC.len());
    [BLOCK_MAGIC, TRAILER_MAGIC].iter().any(|magic| magic[..length] == bytes[..length])
}

/// The streams of one bzip2 file.
pub(super) struct Streams {
    part: Part,
    streams: u64,
    /// See [`Frames::step`].
    fault: Option<Error>,
}

enum Part {
    /// Between streams: padding, or the next one.
    Between,
    Stream {
        start: u64,
        decoder: Decompress,
    },
}

impl Streams {
    /// For what stands behind so many streams.
    pub(super) fn behind(streams: u64) -> Self {
        Self { part: Part::Between, streams, fault: None }
    }
}

impl Frames for Streams {
    fn step(&mut self, place: Place, input: &[u8], output: &mut [u8], room: &mut Room) -> Result<Progress> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        if let Part::Between = self.part {
            let zeros = if self.streams == 0 { 0 } else { input.iter().take_while(|byte| **byte == 0).count() };
            if zeros < input.len() {
                if !room.fits(place.after(zeros), "decoder", DECODER_BYTES)? {
                    return Ok(Progress { consumed: zeros, written: 0 });
                }
                self.part = Part::Stream { start: place.after(zeros).offset, decoder: Decompress::new(false) };
            }
            if zeros > 0 {
                return Ok(Progress { consumed: zeros, written: 0 });
            }
        }
        let Part::Stream { start, decoder } = &mut self.part else { return Ok(Progress::default()) };
        let before = (decoder.total_in(), decoder.total_out());
        let status = decoder.decompress(input, output);
        let progress = Progress::between(before, (decoder.total_in(), decoder.total_out()));
        match status {
            Ok(Status::StreamEnd) => {
                self.streams += 1;
                self.part = Part::Between;
            }
            Ok(Status::MemNeeded) => return Err(place.damaged("the decoder could not get memory")),
            Ok(_) => {}
            Err(error @ LibraryError::DataMagic) => return Err(place.at(*start).no_magic().caused_by(error)),
            Err(error) => {
                let fault = place.after(progress.consumed).damaged("invalid data or checksum").caused_by(error);
                return progress.before(fault, &mut self.fault);
            }
        }
        Ok(progress)
    }

    fn is_complete(&self) -> bool {
        self.streams > 0 && self.is_between()
    }

    fn is_between(&self) -> bool {
        matches!(self.part, Part::Between)
    }
}
