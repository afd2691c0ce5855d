//! Blocks of xz: each is decompressed by itself, if its header says how long it is. Those who compress with several threads
//! write that; others mostly make one block of all.

use bytes::Bytes;

use super::{Boundary, Feed, FindBoundary, Found, Held, Inside};
use crate::compression::xz::index::{Ending, Record, Records, STREAM_HEADER_LEN, ending_of, is_sealed};
use crate::compression::xz::track::Track;
use crate::compression::xz::{InStream, PADDING_UNIT};

/// The longest header of a block.
const HEADER_LEN_MAX: usize = 1 << 10;

/// Boundaries between the blocks of an xz file.
pub(super) struct Blocks {
    /// Of the first byte at hand in the file.
    offset: u64,
    stream: Option<InStream>,
}

impl Blocks {
    pub(super) fn new() -> Self {
        Self { offset: 0, stream: None }
    }

    /// The stream that the bytes at hand are in, or begin with, and where among them its blocks go on.
    fn stream(&self, held: &Held<'_>) -> Result<(InStream, usize), Found> {
        if let Some(stream) = self.stream {
            return Ok((stream, 0));
        }
        // Padding, but not in front of the first stream.
        let zeros = held.rope.from(0).flatten().take_while(|byte| **byte == 0).count();
        let at = if self.offset > 0 { zeros } else { 0 };
        if !(at as u64).is_multiple_of(PADDING_UNIT) && at < held.rope.len() {
            return Err(Found::Nothing);
        }
        if at == held.rope.len() && held.has_ended && at > 0 && (at as u64).is_multiple_of(PADDING_UNIT) {
            return Err(Found::Cut { length: at, feed: Feed::Nothing, inside: Inside::Nothing });
        }
        let Some(header) = held.rope.get::<STREAM_HEADER_LEN>(at) else { return Err(held.too_short()) };
        let stream = InStream { header, records: Records::default() };
        // Where there is no block, nobody else looks at it.
        if stream.check_len().is_none() || !is_sealed(&header) {
            return Err(Found::Nothing);
        }
        Ok((stream, at + STREAM_HEADER_LEN))
    }

    /// The Index and the footer, which begin at `at`.
    fn find_ending(held: &Held<'_>, stream: &InStream, mut at: usize) -> Found {
        let mut ending = Ending::of(&stream.header, stream.records);
        for piece in held.rope.from(at) {
            let mut consumed = 0;
            match ending.read(piece, &mut consumed) {
                Ok(true) => {
                    return Found::Cut { length: at + consumed, feed: Feed::Nothing, inside: Inside::Nothing };
                }
                Ok(false) => at += piece.len(),
                // The error is the decompressor's to give.
                Err(_) => return Found::Nothing,
            }
        }
        held.too_short()
    }

    fn look(&self, held: &Held<'_>) -> Found {
        let (stream, begin) = match self.stream(held) {
            Ok(found) => found,
            Err(found) => return found,
        };
        let mut run = Run { stream, begin, end: begin, records: Vec::new(), plain_bytes: 0 };
        let (mut track, mut at) = (Track::within(stream), begin);
        // Ends: every round moves on in the bytes at hand.
        loop {
            if track.between().is_some() && held.rope.get(at) == Some([0]) {
                return if run.records.is_empty() { Self::find_ending(held, &stream, at) } else { run.cut() };
            }
            let length = track.bytes_max();
            let block = if track.is_content() {
                if held.rope.len() - at < length {
                    break;
                }
                track.skip(length)
            } else {
                let mut head = [0; HEADER_LEN_MAX];
                let Some(head) = head.get_mut(..length) else { return run.cut() };
                if held.rope.copy_to(at, head) < length {
                    break;
                }
                track.read(head)
            };
            at += length;
            if track.is_lost() || !run.has_room_for(&track, held) {
                return run.cut();
            }
            if let Some(record) = block {
                run.push(record, at);
                if at >= held.bounds.stored_bytes || run.plain_bytes >= held.bounds.plain_bytes as u64 {
                    return run.cut();
                }
            }
        }
        match held.too_short() {
            Found::More => Found::More,
            _ => run.cut(),
        }
    }
}

/// Blocks in a row.
struct Run {
    /// Before them.
    stream: InStream,
    begin: usize,
    end: usize,
    records: Vec<Record>,
    plain_bytes: u64,
}

impl Run {
    fn push(&mut self, record: Record, end: usize) {
        self.plain_bytes = self.plain_bytes.saturating_add(record.plain_bytes);
        self.records.push(record);
        self.end = end;
    }

    /// Whether the block at hand, once its header is there, says how long it is, and fits.
    fn has_room_for(&self, track: &Track, held: &Held<'_>) -> bool {
        if !track.is_in_block() {
            return true;
        }
        let (stored_bytes, plain_bytes) = track.block_bytes();
        let is_said = stored_bytes > 0 && plain_bytes > 0;
        let fits = stored_bytes.saturating_add(self.end as u64) <= held.bounds.stored_bytes_max as u64
            && plain_bytes.saturating_add(self.plain_bytes) <= held.bounds.plain_bytes_max as u64;
        is_said && fits
    }

    fn cut(self) -> Found {
        if self.records.is_empty() {
            return Found::Nothing;
        }
        let mut behind = self.stream;
        self.records.iter().for_each(|record| behind.records.push(*record));
        let feed = Feed::Xz { header: behind.header, begin: self.begin, records: self.records };
        Found::Cut { length: self.end, feed, inside: Inside::Xz(Box::new(behind)) }
    }
}

impl FindBoundary for Blocks {
    fn find(&mut self, held: &Held<'_>) -> Found {
        let found = self.look(held);
        if let Found::Cut { length, inside, .. } = &found {
            self.offset += *length as u64;
            self.stream = stream_of(inside);
        }
        found
    }

    fn restart(&mut self, boundary: &Boundary) {
        *self = Self { offset: boundary.offset, stream: stream_of(&boundary.inside) };
    }
}

fn stream_of(inside: &Inside) -> Option<InStream> {
    match inside {
        Inside::Xz(stream) => Some(**stream),
        _ => None,
    }
}

/// A stream of some blocks, which begin behind so many bytes of `pieces`, so that the library decompresses and verifies
/// them.
pub(super) fn stream_with(
    header: [u8; STREAM_HEADER_LEN],
    records: &[Record],
    pieces: &[Bytes],
    begin: usize,
) -> impl Iterator<Item = Bytes> {
    let mut before = begin;
    let blocks = pieces.iter().map(move |piece| {
        let skipped = before.min(piece.len());
        before -= skipped;
        piece.slice(skipped..)
    });
    let (header, ending) = (Bytes::copy_from_slice(&header), Bytes::from(ending_of(&header, records)));
    std::iter::once(header).chain(blocks.filter(|piece| !piece.is_empty())).chain([ending])
}
