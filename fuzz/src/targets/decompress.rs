//! Compressed streams: the input is one, damaged or not; or the plain bytes of one that is whole.

mod lz4;
mod reference;

use std::fmt;

use bytes::Bytes;

pub(super) use self::reference::compress;

use crate::allocation::{heap_bytes, peak_of};
use crate::chunks::Chunks;
use crate::compression::{Compression, Inflater};
use crate::error::ErrorKind;
use crate::mutate::Dice;

/// What a stream may take for its window, dictionary or blocks: less than any, some, and most of them ask for.
pub(super) const MEMORY_BYTES_MAX: [u64; 3] = [64 << 10, 1 << 20, 8 << 20];

/// Plain bytes that are looked at: a few hundred bytes of bzip2 may become gigabytes.
pub(super) const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// How a stream was read.
#[derive(PartialEq)]
pub(super) struct Outcome {
    pub(super) bytes: Vec<u8>,
    pub(super) end: End,
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = &self.bytes[self.bytes.len().saturating_sub(20)..];
        write!(f, "{} bytes (the last '{}'), {:?}", self.bytes.len(), last.escape_ascii(), self.end)
    }
}

impl Outcome {
    /// Whether both came as far, and for the same reason not further. At which byte exactly a library finds damage
    /// depends on how much of the stream it has seen by then.
    fn agrees_with(&self, other: &Self, compression: Compression) -> bool {
        let (End::Failed(kind, message), End::Failed(other_kind, other_message)) = (&self.end, &other.end) else {
            return self == other;
        };
        let without_place = |message: &str| message.chars().filter(|char| !char.is_ascii_digit()).collect::<String>();
        let same_message = match compression {
            Compression::None | Compression::Gzip | Compression::Lz4 => message == other_message,
            Compression::Zstd | Compression::Bzip2 | Compression::Xz => {
                without_place(message) == without_place(other_message)
            }
        };
        let same_bytes = match compression {
            // Of a block that turns out to be damaged libbz2 gives what it had room for, or nothing.
            Compression::Bzip2 => self.bytes.starts_with(&other.bytes) || other.bytes.starts_with(&self.bytes),
            _ => self.bytes == other.bytes,
        };
        kind == other_kind && same_message && same_bytes
    }
}

#[derive(Debug, PartialEq)]
pub(super) enum End {
    Whole,
    /// Only so many bytes were looked at.
    TooLong,
    Failed(ErrorKind, String),
}

pub(super) fn check(compression: Compression, data: &[u8]) {
    let mut chunks = Chunks::of_tail(data);
    let mut dice = Dice::new(data.len() as u64 ^ data.last().map_or(0, |&byte| u64::from(byte)) << 32);
    let limit = MEMORY_BYTES_MAX[dice.below(3)];
    check_memory(compression, limit, data);
    let outcome = inflate(compression, limit, data, &mut Chunks::whole(), &mut Chunks::whole());
    let cut = inflate(compression, limit, data, &mut chunks.another(), &mut chunks);
    assert!(cut.agrees_with(&outcome, compression), "in pieces: {cut:?}; whole: {outcome:?}");
    reference::compare(compression, data, &outcome);
    // A round trip costs more, most of all where the encoder sets up large tables.
    if data.len() < 4096 && dice.below(4) == 0 {
        round_trip(compression, data, &mut dice);
    }
    match compression {
        Compression::Gzip => reference::raw_deflate(data),
        Compression::Lz4 => lz4::check(data),
        _ => {}
    }
}

/// Reads a stream, in pieces of `input` into blocks of `output`.
pub(super) fn inflate(
    compression: Compression,
    limit: u64,
    data: &[u8],
    input: &mut Chunks,
    output: &mut Chunks,
) -> Outcome {
    let stream = Bytes::copy_from_slice(data);
    let mut bytes = vec![0; OUTPUT_BYTES_MAX];
    let (len, end) = drive(compression, limit, stream, &mut bytes, (input, output), |_| {});
    bytes.truncate(len);
    Outcome { bytes, end }
}

fn drive(
    compression: Compression,
    limit: u64,
    mut stream: Bytes,
    bytes: &mut [u8],
    (input, output): (&mut Chunks, &mut Chunks),
    mut after_piece: impl FnMut(usize),
) -> (usize, End) {
    let failed = |error: crate::error::Error| End::Failed(error.kind(), error.to_string());
    let mut inflater = match Inflater::new(compression, limit) {
        Ok(inflater) => inflater,
        Err(error) => return (0, failed(error)),
    };
    let mut len = 0;
    while len < bytes.len() {
        if inflater.wants_input() {
            match stream.is_empty() {
                true => inflater.end(),
                false => inflater.push(stream.split_to(input.next(stream.len()))),
            }
        }
        let end = len + output.next(bytes.len() - len);
        let filled = inflater.fill(&mut bytes[len..end]);
        after_piece(len);
        match filled {
            Ok(0) if !inflater.wants_input() => return (len, End::Whole),
            Ok(written) => len += written,
            Err(error) => return (len, failed(error)),
        }
    }
    (len, End::TooLong)
}

/// A decompressor holds no more than it may, plus what its library takes for every stream alike.
fn check_memory(compression: Compression, limit: u64, data: &[u8]) {
    let max = match compression {
        Compression::None => return,
        Compression::Gzip => 100 << 10,
        Compression::Bzip2 => 4 << 20,
        // Tables, and an input and an output block of 128 KiB each beside the window.
        Compression::Zstd => limit + (640 << 10),
        Compression::Xz => limit + (64 << 10),
        Compression::Lz4 => limit + (16 << 10),
    };
    let mut bytes = vec![0; OUTPUT_BYTES_MAX];
    let stream = Bytes::copy_from_slice(data);
    let before = heap_bytes();
    let mut heap_peak = before;
    let (mut input, mut output) = (Chunks::of(4 << 10), Chunks::of(64 << 10));
    // The C libraries hold what they took until a stream ends, so that it is seen between two pieces.
    let seen = |heap: &mut u64| *heap = heap_bytes().max(*heap);
    let (_, peak) =
        peak_of(|| drive(compression, limit, stream, &mut bytes, (&mut input, &mut output), |_| seen(&mut heap_peak)));
    let peak = peak.max(heap_peak - before);
    assert!(peak <= max, "{peak} bytes were held, where {max} are allowed");
}

/// Whole streams in a row, a cut one, and one with a wrong byte.
fn round_trip(compression: Compression, data: &[u8], dice: &mut Dice) {
    let mut rest = data;
    let mut stream = Vec::new();
    // Where the stream may end, and how many plain bytes that is.
    let mut ends = Vec::new();
    for _ in 0..1 + dice.below(3) {
        let (plain, behind) = rest.split_at(dice.below(rest.len() + 1));
        reference::compress(compression, plain, &mut stream);
        rest = behind;
        ends.push((stream.len(), data.len() - rest.len()));
    }
    let plain = &data[..data.len() - rest.len()];
    let limit = MEMORY_BYTES_MAX[2];
    let mut chunks = Chunks::of_tail(data);
    let mut read = |stream: &[u8]| inflate(compression, limit, stream, &mut chunks.another(), &mut chunks);
    assert_eq!(read(&stream), Outcome { bytes: plain.to_vec(), end: End::Whole }, "a round trip");

    let at = dice.below(stream.len());
    let cut = read(&stream[..at]);
    let plain_len = ends.iter().find(|(end, _)| *end == at).map(|(_, plain_len)| *plain_len);
    assert!(plain.starts_with(&cut.bytes), "cut at {at}: what was read is right");
    assert_eq!(cut.end == End::Whole, plain_len.is_some(), "cut at {at} of {}: {:?}", stream.len(), cut.end);
    assert!(plain_len.is_none_or(|len| len == cut.bytes.len()));

    stream[at] ^= 1 << dice.below(8);
    let damaged = read(&stream);
    assert!(damaged.end != End::Whole || damaged.bytes == plain, "damage at {at} goes unnoticed");
}
