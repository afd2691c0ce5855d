//! xz: streams in a row, each verified by the check that it names, with stream padding between and behind them.
//!
//! The library could read streams in a row by itself; read one by one, an error knows at which byte a stream began.

use liblzma::stream::{Action, Error as LibraryError, Status, Stream, TELL_UNSUPPORTED_CHECK};

use super::{Frames, Place, Progress, Room};
use crate::error::{Error, Result};

/// Stream padding is zero bytes, a multiple of four (the .xz file format 1.2.1, section 2.2).
const PADDING_UNIT: u64 = 4;

/// The least by which the memory for a stream is raised.
const LIMIT_STEP_BYTES: u64 = 64 << 10;

const MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];

/// The streams of one xz file.
pub(super) struct Streams {
    part: Part,
    streams: u64,
    memory_bytes_max: u64,
    /// See [`Frames::step`].
    fault: Option<Error>,
}

enum Part {
    /// Between streams, behind so many bytes of padding.
    Between {
        padding: u64,
    },
    Stream {
        start: u64,
        decoder: Stream,
    },
}

impl Streams {
    /// For what stands behind so many streams.
    pub(super) fn behind(streams: u64, memory_bytes_max: u64) -> Self {
        Self { part: Part::Between { padding: 0 }, streams, memory_bytes_max, fault: None }
    }

    /// Skips padding (but not in front of the first stream) and opens the stream behind it, with `room` bytes at first.
    fn skip_padding(&mut self, place: Place, input: &[u8], room: u64) -> Result<usize> {
        let Part::Between { padding } = &mut self.part else { return Ok(0) };
        let zeros = if self.streams == 0 { 0 } else { input.iter().take_while(|byte| **byte == 0).count() };
        *padding += zeros as u64;
        if zeros == input.len() {
            return Ok(zeros);
        }
        let start = place.after(zeros);
        if !padding.is_multiple_of(PADDING_UNIT) {
            return Err(start.damaged(format_args!("stream padding of {padding} bytes is no multiple of four")));
        }
        // Without the flag the library would skip a check that it does not know in silence.
        let decoder = Stream::new_stream_decoder(room.max(1), TELL_UNSUPPORTED_CHECK)
            .map_err(|error| start.damaged("the decoder could not be set up").caused_by(error))?;
        self.part = Part::Stream { start: start.offset, decoder };
        Ok(zeros)
    }
}

/// Finds out how much memory `decoder`, which was refused, needs: the library does not tell. False where `max` is too
/// little.
fn raise_limit(decoder: &mut Stream, max: u64) -> bool {
    let mut limit = decoder.memlimit();
    // A few dozen steps at most: each adds a quarter.
    while limit < max {
        limit = (limit + (limit / 4).max(LIMIT_STEP_BYTES)).min(max);
        if decoder.set_memlimit(limit).is_ok() {
            return true;
        }
    }
    false
}

impl Frames for Streams {
    fn step(&mut self, place: Place, input: &[u8], output: &mut [u8], room: &mut Room) -> Result<Progress> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let consumed = self.skip_padding(place, input, room.allowed())?;
        if consumed > 0 {
            return Ok(Progress { consumed, written: 0 });
        }
        let Part::Stream { start, decoder } = &mut self.part else { return Ok(Progress::default()) };
        let before = (decoder.total_in(), decoder.total_out());
        // The library looks at the magic only once it has the whole header: short garbage would seem a cut stream.
        let magic = MAGIC.get(usize::try_from(before.0).unwrap_or(usize::MAX)..).unwrap_or_default();
        if magic.iter().zip(input).any(|(expected, byte)| expected != byte) {
            return Err(place.at(*start).no_magic());
        }
        // Ends: the limit grows up to its own.
        let (status, progress) = loop {
            if !room.fits(place, "block", decoder.memlimit())? {
                return Ok(Progress::default());
            }
            let status = decoder.process(input, output, Action::Run);
            let progress = Progress::between(before, (decoder.total_in(), decoder.total_out()));
            let is_refused = matches!(status, Err(LibraryError::MemLimit));
            if !(is_refused && raise_limit(decoder, self.memory_bytes_max)) {
                break (status, progress);
            }
            if !progress.is_none() {
                return Ok(progress);
            }
        };
        let place = place.after(progress.consumed);
        match status {
            Ok(Status::StreamEnd) => {
                self.streams += 1;
                self.part = Part::Between { padding: 0 };
            }
            // `MemNeeded` is the crate's word for "no progress is possible".
            Ok(_) => {}
            Err(error) => {
                let fault = match error {
                    LibraryError::MemLimit => place.over_limit("block", None, self.memory_bytes_max),
                    LibraryError::UnsupportedCheck => place.damaged("its kind of check can't be verified"),
                    _ => place.damaged("invalid data or checksum"),
                }
                .caused_by(error);
                return progress.before(fault, &mut self.fault);
            }
        }
        Ok(progress)
    }

    fn is_complete(&self) -> bool {
        match self.part {
            Part::Between { padding } => self.streams > 0 && padding.is_multiple_of(PADDING_UNIT),
            Part::Stream { .. } => false,
        }
    }

    fn is_between(&self) -> bool {
        matches!(self.part, Part::Between { padding: 0 })
    }
}
