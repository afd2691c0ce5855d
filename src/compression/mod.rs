//! Compressed bytes become plain bytes, without any I/O: one decompressor for each compression that an archive or a
//! member may have.
//!
//! Use `Compression::detect` on the first bytes, then an `Inflater`, and push what arrives. Every decompressor
//! reads all members (frames, streams) that follow each other, verifies every checksum that the format has, and never
//! takes a cut stream for a complete one.
//!
//! What a newcomer must know: a format file implements only `Frames::step`, which moves through one part (a header,
//! some of a body, a trailer) at a time; `Driver` repeats it, counts bytes, and decides whether the end is one.

mod bzip2;
mod cut;
mod deflate;
mod gzip;
mod inflater;
mod lz4;
mod lz4_descriptor;
mod room;
mod xz;
mod zstd;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use self::cut::{Boundary, Cut, Cutter, Segment, SegmentBounds};
pub(crate) use self::deflate::inflate;
pub(crate) use self::inflater::Inflater;
pub(crate) use self::room::Wanted;

use self::cut::Inside;
use self::room::Room;
use crate::error::{Error, ErrorKind, Result};

/// What every decompressor may take without asking: gzip's window, and the few structures that others begin with.
pub(crate) const UNASKED_BYTES: u64 = 256 << 10;

/// How bytes are compressed.
///
/// ```
/// use tarsql::Compression;
///
/// assert_eq!(Compression::parse("zstd"), Some(Compression::Zstd));
/// assert_eq!(Compression::parse("zip"), None);
/// assert_eq!(Compression::Zstd.as_str(), "zstd");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952, any number of members (BGZF is one case of it).
    Gzip,
    /// RFC 8878, any number of frames, skippable ones included.
    Zstd,
    /// Any number of streams.
    Bzip2,
    /// Any number of streams, with padding between them.
    Xz,
    /// The LZ4 frame format, any number of frames: current, legacy and skippable ones.
    Lz4,
}

impl Compression {
    /// Every compression, for tables and tests.
    pub const ALL: [Self; 6] = [Self::None, Self::Gzip, Self::Zstd, Self::Bzip2, Self::Xz, Self::Lz4];

    /// How many first bytes [`Compression::detect`] wants; it makes do with fewer. Ten tell bzip2 from text, sixteen
    /// show what follows the shortest skippable frame in use (pzstd writes them).
    pub(crate) const MAGIC_LEN_MAX: usize = 16;

    /// The value as SQL spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Lz4 => "lz4",
        }
    }

    /// The compression of that name, in any case of letters.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|compression| compression.as_str().eq_ignore_ascii_case(name))
    }

    /// Tells the compression by the first bytes. `head` may be shorter than [`Compression::MAGIC_LEN_MAX`] where the
    /// object is; a longer one lets it look behind longer skippable frames.
    pub(crate) fn detect(head: &[u8]) -> Self {
        let mut rest = head;
        // Bounded by `head`: every skippable frame takes eight bytes of it or more.
        while let Some(length) = skippable_length(rest) {
            match rest.get(length..) {
                Some(behind) if behind.len() >= 4 => rest = behind,
                // zstd and lz4 share skippable frames; only zstd's tools are known to write them first.
                _ => return Self::Zstd,
            }
        }
        match rest {
            [0x1f, 0x8b] | [0x1f, 0x8b, gzip::METHOD_DEFLATE, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', blocks @ ..] if bzip2::may_be_blocks(blocks) => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x04, 0x22, 0x4d, 0x18, ..] | [0x02, 0x21, 0x4c, 0x18, ..] => Self::Lz4,
            // Skippable frames and then neither: let zstd say what is wrong.
            _ if rest.len() < head.len() => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// The first bytes of what [`Compression::detect`] knows, as far as they tell it.
const MAGICS: [&[u8]; 7] = [
    &[0x1f, 0x8b, gzip::METHOD_DEFLATE],
    &[0x28, 0xb5, 0x2f, 0xfd],
    b"BZh",
    &[0xfd, b'7', b'z', b'X', b'Z', 0],
    &[0x04, 0x22, 0x4d, 0x18],
    &[0x02, 0x21, 0x4c, 0x18],
    &[0x50, 0x2a, 0x4d, 0x18],
];

/// Whether `head` is the beginning of a stream that was cut before its compression could be told.
pub(crate) fn may_begin(head: &[u8]) -> bool {
    !head.is_empty() && MAGICS.iter().any(|magic| magic.starts_with(head))
}

/// Length of the skippable frame (of zstd or lz4) that `bytes` begin with, if they do and show it. One that is cut
/// within its eight bytes of header is taken to end with them.
fn skippable_length(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d, ..] => {
            let content = usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX);
            Some(content.saturating_add(8))
        }
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(8),
        _ => None,
    }
}

/// How far one call came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Progress {
    /// Bytes taken from the input.
    consumed: usize,
    /// Bytes put into the output.
    written: usize,
}

impl Progress {
    /// Of a call that had no input.
    const fn flushed(written: usize) -> Self {
        Self { consumed: 0, written }
    }

    /// From the running totals of a library's decoder, before and after one call.
    fn between(before: (u64, u64), after: (u64, u64)) -> Self {
        let moved = |from: u64, to: u64| usize::try_from(to - from).expect("no more than the slice that was given");
        Self { consumed: moved(before.0, after.0), written: moved(before.1, after.1) }
    }

    fn is_none(self) -> bool {
        self.consumed == 0 && self.written == 0
    }

    /// What was written goes out before `fault`, which is kept for later.
    fn before(self, fault: Error, later: &mut Option<Error>) -> Result<Self> {
        if self.written == 0 {
            return Err(fault);
        }
        *later = Some(fault);
        Ok(self)
    }
}

/// Turns one compressed stream, fed piece by piece, into plain bytes.
///
/// Feed a piece until it is consumed, with room in `output`; after the last piece call `finish` until it writes
/// nothing. After an error a decompressor is of no further use.
trait Decompressor: Send {
    /// Moves bytes from `input` to `output`, until one of the two is used up. Bytes may stay inside: the next call, or
    /// `finish`, brings them.
    ///
    /// # Errors
    /// [`ErrorKind::Compression`] for damaged data or a wrong checksum, with the number of the compressed byte;
    /// [`ErrorKind::Limit`] for a stream that needs more memory than was allowed.
    fn decompress(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress>;

    /// Says that all input was given, and flushes what is left: returns bytes written, 0 when all is out. `output` must
    /// not be empty.
    ///
    /// # Errors
    /// As [`Decompressor::decompress`]; also [`ErrorKind::Compression`] if the stream is cut. No bytes at all are a cut
    /// stream: whoever made a decompressor has seen a magic.
    fn finish(&mut self, output: &mut [u8]) -> Result<usize>;

    /// What it holds memory in, if it holds any.
    fn room(&mut self) -> Option<&mut Room> {
        None
    }

    /// How many compressed bytes it has read, where that is all up to the end of a member: a new one that starts there
    /// would bring the same.
    fn boundary(&self) -> Option<u64> {
        None
    }

    /// Makes it pause at the first [`boundary`](Self::boundary) that it comes to at `offset` or behind it.
    fn pause_from(&mut self, _offset: u64) {}
}

/// A decompressor for a stream of that compression; [`Compression::None`] copies.
///
/// `memory_bytes_max` bounds what a stream may make it hold: the window of zstd, the dictionary of xz, the blocks of
/// lz4. gzip (under 100 kB) and bzip2 (under 4 MB) take little, and always the same.
///
/// # Errors
/// [`ErrorKind::Limit`] if a library can't set its decoder up.
#[cfg(test)]
fn decompressor(compression: Compression, memory_bytes_max: u64) -> Result<Box<dyn Decompressor>> {
    decompressor_at(compression, &Boundary::START, memory_bytes_max)
}

/// The same for what stands behind `boundary`.
fn decompressor_at(compression: Compression, at: &Boundary, memory_bytes_max: u64) -> Result<Box<dyn Decompressor>> {
    let (place, room) = (Place { compression, offset: at.offset }, Room::new(memory_bytes_max));
    // The first member has to begin with its magic; behind it there may be padding, or nothing.
    let before = u64::from(at.offset > 0);
    Ok(match compression {
        Compression::None => Box::new(Copy),
        Compression::Gzip => Box::new(Driver::new(place, gzip::Members::behind(before), room)),
        Compression::Zstd => Box::new(Driver::new(place, zstd::Frames::behind(before, memory_bytes_max)?, room)),
        Compression::Bzip2 => {
            let streams = match &at.inside {
                Inside::Bzip2(stream) => bzip2::Streams::within(*stream),
                _ => bzip2::Streams::behind(before),
            };
            Box::new(Driver::new(place, streams, room))
        }
        Compression::Xz => {
            let streams = match &at.inside {
                Inside::Xz(stream) => xz::Streams::within(**stream, memory_bytes_max),
                _ => xz::Streams::behind(before, memory_bytes_max),
            };
            Box::new(Driver::new(place, streams, room))
        }
        Compression::Lz4 => Box::new(Driver::new(place, lz4::Frames::behind(before), room)),
    })
}

/// What is not compressed passes through.
struct Copy;

impl Decompressor for Copy {
    fn decompress(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress> {
        let written = copy_some(input, output);
        Ok(Progress { consumed: written, written })
    }

    fn finish(&mut self, _output: &mut [u8]) -> Result<usize> {
        Ok(0)
    }
}

/// Copies as much as there is and fits; returns how much.
fn copy_some(from: &[u8], to: &mut [u8]) -> usize {
    let length = from.len().min(to.len());
    to[..length].copy_from_slice(&from[..length]);
    length
}

/// A format whose streams are members (frames, streams) in a row.
trait Frames: Send {
    /// Moves through one part of the stream at most, from `place` on. No progress means that it needs more input, or
    /// more of one of the rooms. An error waits for the next step if this one wrote something.
    fn step(&mut self, place: Place, input: &[u8], output: &mut [u8], room: &mut Room) -> Result<Progress>;

    /// Whether the stream may end here: one member or more was read, and none is begun.
    fn is_complete(&self) -> bool;

    /// Whether no member is begun, nor anything else that what follows depends on.
    fn is_between(&self) -> bool;
}

/// Repeats the steps of a format, and knows where in the compressed bytes it is.
struct Driver<F> {
    place: Place,
    frames: F,
    room: Room,
    /// What came behind the bytes that were given out last: how far a damaged stream can be read must not depend on how
    /// its bytes arrive.
    fault: Option<Error>,
    /// See [`Decompressor::pause_from`].
    pause_from: u64,
}

impl<F: Frames> Driver<F> {
    fn new(place: Place, frames: F, room: Room) -> Self {
        Self { place, frames, room, fault: None, pause_from: u64::MAX }
    }

    fn run(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let mut sum = Progress::default();
        // Ends: each round moves a byte or changes nothing, and both slices are finite.
        while sum.written < output.len() {
            let (rest, free) = (&input[sum.consumed..], &mut output[sum.written..]);
            let step = match self.frames.step(self.place, rest, free, &mut self.room) {
                Ok(step) => step,
                Err(fault) if sum.is_none() => return Err(fault),
                Err(fault) => {
                    self.fault = Some(fault);
                    break;
                }
            };
            sum.consumed += step.consumed;
            sum.written += step.written;
            self.place = self.place.after(step.consumed);
            let is_at_pause = self.place.offset >= self.pause_from && self.frames.is_between();
            if step.is_none() || is_at_pause {
                break;
            }
        }
        Ok(sum)
    }
}

impl<F: Frames> Decompressor for Driver<F> {
    fn decompress(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress> {
        self.run(input, output)
    }

    fn finish(&mut self, output: &mut [u8]) -> Result<usize> {
        let written = self.run(&[], output)?.written;
        if written == 0 && self.room.wanted().is_none() && !self.frames.is_complete() {
            return Err(self.place.truncated());
        }
        Ok(written)
    }

    fn room(&mut self) -> Option<&mut Room> {
        Some(&mut self.room)
    }

    fn boundary(&self) -> Option<u64> {
        (self.fault.is_none() && self.frames.is_between()).then_some(self.place.offset)
    }

    fn pause_from(&mut self, offset: u64) {
        self.pause_from = offset;
    }
}

/// Which compressed stream, and which byte of it: what every error here has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    compression: Compression,
    offset: u64,
}

impl Place {
    fn after(self, bytes: usize) -> Self {
        Self { offset: self.offset + bytes as u64, ..self }
    }

    fn at(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    fn name(self) -> &'static str {
        self.compression.as_str()
    }

    fn damaged(self, what: impl std::fmt::Display) -> Error {
        let message = format!("{} stream is damaged at compressed byte {}: {what}", self.name(), self.offset);
        Error::new(ErrorKind::Compression, message)
    }

    fn checksum_mismatch(self, of: &str, stored: u32, computed: u32) -> Error {
        self.damaged(format_args!("{of} mismatch (stored {stored:08x}, computed {computed:08x})"))
    }

    /// Bytes that can't begin a member: at the very start they are no such stream, later they are garbage.
    fn no_magic(self) -> Error {
        let (name, offset) = (self.name(), self.offset);
        let message = match offset {
            0 => format!("not a {name} stream: its first bytes are not {name}'s"),
            _ => format!("garbage at compressed byte {offset}, behind a complete {name} stream"),
        };
        Error::new(ErrorKind::Compression, message)
    }

    fn truncated(self) -> Error {
        let message = format!("{} stream is truncated after {} compressed bytes", self.name(), self.offset);
        Error::new(ErrorKind::Compression, message)
    }

    /// `needed` is unknown where the library does not tell.
    fn over_limit(self, what: &str, needed: Option<u64>, memory_bytes_max: u64) -> Error {
        let needs = needed.map_or_else(|| "more memory".to_string(), |bytes| format!("{bytes} bytes of memory"));
        let message = format!(
            "{} {what} at compressed byte {} needs {needs}, and the limit is {memory_bytes_max}: raise the memory limit, \
             --memory-limit (embedded: the session's memory pool)",
            self.name(),
            self.offset
        );
        Error::new(ErrorKind::Limit, message)
    }
}
