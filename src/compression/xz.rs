//! xz: streams in a row, each verified by the check that it names, with stream padding between and behind them.
//!
//! The library could read streams in a row by itself; read one by one, an error knows at which byte a stream began.
//!
//! What a newcomer must know: reading may also begin between two blocks of a stream. Then the library gets the stream's
//! header and the blocks from there on, and what stands behind them, which it could not verify, is verified here.

pub(super) mod index;
pub(super) mod track;

use liblzma::stream::{Action, Error as LibraryError, Status, Stream, TELL_UNSUPPORTED_CHECK};

use self::index::{Ending, Records, STREAM_HEADER_LEN};
use self::track::Track;
use super::{Frames, Place, Progress, Room};
use crate::error::{Error, Result};

/// Stream padding is zero bytes, a multiple of four (the .xz file format 1.2.1, section 2.2).
pub(super) const PADDING_UNIT: u64 = 4;

/// The least by which the memory for a stream is raised.
const LIMIT_STEP_BYTES: u64 = 64 << 10;

pub(super) const MAGIC: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];

/// The streams of one xz file.
pub(super) struct Streams {
    part: Part,
    streams: u64,
    memory_bytes_max: u64,
    /// See [`Frames::step`].
    fault: Option<Error>,
}

/// What is known of a stream between two of its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InStream {
    pub(super) header: [u8; STREAM_HEADER_LEN],
    /// The blocks so far.
    pub(super) records: Records,
}

enum Part {
    /// Between streams, behind so many bytes of padding.
    Between {
        padding: u64,
    },
    /// In the middle of one that nobody has read the beginning of.
    Within(InStream),
    Stream(Reading),
    /// Behind the blocks of one that was not read from its beginning.
    Ending(Ending),
}

/// A stream that is being read.
struct Reading {
    start: u64,
    decoder: Stream,
    /// Where between its blocks it is, if it was not read from its beginning.
    track: Option<Track>,
    /// The library holds nothing back.
    is_drained: bool,
}

impl Streams {
    /// For what stands behind so many streams.
    pub(super) fn behind(streams: u64, memory_bytes_max: u64) -> Self {
        Self { part: Part::Between { padding: 0 }, streams, memory_bytes_max, fault: None }
    }

    /// For what stands behind some blocks of a stream.
    pub(super) fn within(stream: InStream, memory_bytes_max: u64) -> Self {
        Self { part: Part::Within(stream), streams: 1, memory_bytes_max, fault: None }
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
        self.part = Part::Stream(Reading::new(start, room, None)?);
        Ok(zeros)
    }

    /// Reads what stands behind the blocks of a stream.
    fn read_ending(&mut self, place: Place, input: &[u8]) -> Result<Progress> {
        let Part::Ending(ending) = &mut self.part else { return Ok(Progress::default()) };
        let mut consumed = 0;
        match ending.read(input, &mut consumed) {
            Ok(true) => {
                self.streams += 1;
                self.part = Part::Between { padding: 0 };
            }
            Ok(false) => {}
            Err(error) => return Err(fault_of(place.after(consumed), error)),
        }
        Ok(Progress { consumed, written: 0 })
    }
}

impl Reading {
    /// With `room` bytes at first.
    fn new(start: Place, room: u64, track: Option<Track>) -> Result<Self> {
        // Without the flag the library would skip a check that it does not know in silence.
        let decoder = Stream::new_stream_decoder(room.max(1), TELL_UNSUPPORTED_CHECK)
            .map_err(|error| start.damaged("the decoder could not be set up").caused_by(error))?;
        Ok(Self { start: start.offset, decoder, track, is_drained: true })
    }

    /// From between two blocks of `stream`.
    fn within(stream: InStream, place: Place, room: u64) -> Result<Self> {
        let mut reading = Self::new(place, room, Some(Track::within(stream)))?;
        reading.process(&stream.header, &mut []).map_err(|error| fault_of(place, error))?;
        Ok(reading)
    }

    fn process(&mut self, input: &[u8], output: &mut [u8]) -> std::result::Result<Status, LibraryError> {
        let written = self.decoder.total_out();
        let status = self.decoder.process(input, output, Action::Run);
        self.is_drained = self.decoder.total_out() - written < output.len() as u64;
        status
    }

    fn progress(&self) -> (u64, u64) {
        (self.decoder.total_in(), self.decoder.total_out())
    }

    /// What has to be verified here, if `input` begins with what stands behind the last block.
    fn ending(&self, input: &[u8]) -> Option<Ending> {
        let stream = self.track.as_ref()?.between().filter(|_| input.first() == Some(&0))?;
        Some(Ending::of(&stream.header, stream.records))
    }

    /// Notes what was read of `input`.
    fn followed(&mut self, progress: Progress, input: &[u8]) -> Progress {
        if let Some(track) = &mut self.track {
            track.read(&input[..progress.consumed]);
        }
        progress
    }

    /// As much of `input` as may be read at once.
    fn readable<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        self.track.as_ref().map_or(input, |track| &input[..input.len().min(track.bytes_max())])
    }
}

fn fault_of(place: Place, error: LibraryError) -> Error {
    let what = match error {
        LibraryError::UnsupportedCheck => "its kind of check can't be verified",
        _ => "invalid data or checksum",
    };
    place.damaged(what).caused_by(error)
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
        if let Part::Within(stream) = self.part {
            self.part = Part::Stream(Reading::within(stream, place, room.allowed())?);
        }
        let Part::Stream(reading) = &mut self.part else { return self.read_ending(place, input) };
        let before = reading.progress();
        // The library looks at the magic only once it has the whole header: short garbage would seem a cut stream.
        let magic = MAGIC.get(usize::try_from(before.0).unwrap_or(usize::MAX)..).unwrap_or_default();
        if magic.iter().zip(input).any(|(expected, byte)| expected != byte) {
            return Err(place.at(reading.start).no_magic());
        }
        if let Some(ending) = reading.ending(input) {
            if !reading.is_drained {
                reading.process(&[], output).map_err(|error| fault_of(place, error))?;
                let progress = Progress::between(before, reading.progress());
                if !progress.is_none() {
                    return Ok(progress);
                }
            }
            self.part = Part::Ending(ending);
            return self.read_ending(place, input);
        }
        let input = reading.readable(input);
        // Ends: the limit grows up to its own.
        let (status, progress) = loop {
            if !room.fits(place, "block", reading.decoder.memlimit())? {
                return Ok(Progress::default());
            }
            let status = reading.process(input, output);
            let progress = Progress::between(before, reading.progress());
            let is_refused = matches!(status, Err(LibraryError::MemLimit));
            if !(is_refused && raise_limit(&mut reading.decoder, self.memory_bytes_max)) {
                break (status, progress);
            }
            if !progress.is_none() {
                return Ok(reading.followed(progress, input));
            }
        };
        let progress = reading.followed(progress, input);
        let place = place.after(progress.consumed);
        match status {
            Ok(Status::StreamEnd) => {
                self.streams += 1;
                self.part = Part::Between { padding: 0 };
            }
            // `MemNeeded` is the crate's word for "no progress is possible".
            Ok(_) => {}
            Err(error @ LibraryError::MemLimit) => {
                let fault = place.over_limit("block", None, self.memory_bytes_max).caused_by(error);
                return progress.before(fault, &mut self.fault);
            }
            Err(error) => return progress.before(fault_of(place, error), &mut self.fault),
        }
        Ok(progress)
    }

    fn is_complete(&self) -> bool {
        match self.part {
            Part::Between { padding } => self.streams > 0 && padding.is_multiple_of(PADDING_UNIT),
            Part::Within(_) | Part::Stream(_) | Part::Ending(_) => false,
        }
    }

    fn is_between(&self) -> bool {
        matches!(self.part, Part::Between { padding: 0 })
    }
}
