//! Cuts a compressed stream into [`Segment`]s that can be decompressed apart from each other.
//!
//! Use it where there is more than one to decompress: a [`Cutter`] is pushed what arrives and gives out segments in
//! order, an [`Unfolding`] makes plain bytes of one of them, with every check that the [`Inflater`] has, since it is one.
//!
//! What a newcomer must know: where a segment ends is only a guess. It is proven by the segment itself, if decompressing
//! exactly its bytes comes to the end of a member with nothing left and nothing wrong; then the next one's beginning is
//! proven, too. Whatever else happens (damage, a magic in the middle of compressed data, a segment that unfolds to too
//! much), an `Inflater` goes on from the beginning of that segment, and what it says holds.

mod bzip2;
mod gzip;
mod lz4;
mod rope;
mod walk;
mod xz;
mod zstd;

use std::collections::VecDeque;

use bytes::Bytes;

use self::rope::Rope;
use self::walk::Walk;
use super::copy_some;
use super::xz::index::{Record, STREAM_HEADER_LEN};
use super::{Compression, Inflater, UNASKED_BYTES};

/// How large segments become.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SegmentBounds {
    /// Compressed bytes from which on a segment is long enough to be worth a task.
    pub(crate) stored_bytes: usize,
    /// The same for plain bytes, where they are known before.
    pub(crate) plain_bytes: usize,
    /// Compressed bytes that are looked through for a boundary, and held meanwhile.
    pub(crate) stored_bytes_max: usize,
    /// Plain bytes that a segment may hold until it is its turn.
    pub(crate) plain_bytes_max: usize,
    /// Memory that the decompressor of one may take.
    pub(crate) memory_bytes_max: u64,
}

/// A few milliseconds of work each. Two of them hold no more than a decompressor of a large window does.
const SEGMENTS: SegmentBounds = SegmentBounds {
    stored_bytes: 512 << 10,
    plain_bytes: 2 << 20,
    stored_bytes_max: 4 << 20,
    plain_bytes_max: 16 << 20,
    memory_bytes_max: 32 << 20,
};

/// A block of `xz --threads` has 24 MiB, unless it is told otherwise.
const SEGMENTS_OF_XZ: SegmentBounds =
    SegmentBounds { stored_bytes_max: 16 << 20, plain_bytes_max: 32 << 20, ..SEGMENTS };

impl SegmentBounds {
    /// Those that suit a format.
    pub(crate) fn of(compression: Compression) -> Self {
        if compression == Compression::Xz { SEGMENTS_OF_XZ } else { SEGMENTS }
    }

    /// What one segment takes.
    fn bytes_max(&self, compression: Compression) -> u64 {
        let decompressor = match compression {
            Compression::None | Compression::Gzip => UNASKED_BYTES,
            _ => self.memory_bytes_max,
        };
        decompressor + self.plain_bytes_max as u64
    }
}

/// A place in a compressed stream at which a decompressor can start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Boundary {
    /// Compressed bytes before it.
    pub(crate) offset: u64,
    /// What has to be known of what stands before.
    pub(super) inside: Inside,
}

/// Where between its members (frames, streams) a stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Inside {
    /// Between two of them.
    Nothing,
    /// Between two blocks.
    Bzip2(super::bzip2::InStream),
    /// The same.
    Xz(Box<super::xz::InStream>),
}

impl Boundary {
    pub(crate) const START: Self = Self { offset: 0, inside: Inside::Nothing };

    /// Between two members (frames, streams).
    pub(crate) fn between(offset: u64) -> Self {
        Self { offset, inside: Inside::Nothing }
    }
}

/// What a decompressor has to be fed for a segment.
#[derive(Debug, Clone)]
enum Feed {
    /// Its bytes.
    Bytes,
    /// Nothing: all of it was looked at.
    Nothing,
    /// A block of so many of its bits; `last` is the byte behind its bytes.
    Bzip2 { level: u8, crc: u32, bits: std::ops::Range<usize>, last: u8 },
    /// Blocks of a stream with that header, behind so many of its bytes.
    Xz { header: [u8; STREAM_HEADER_LEN], begin: usize, records: Vec<Record> },
}

/// A part of a compressed stream: whole members or blocks, as far as can be told by looking.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    compression: Compression,
    bounds: SegmentBounds,
    start: Boundary,
    bytes: Vec<Bytes>,
    feed: Feed,
}

impl Segment {
    /// Where it begins.
    pub(crate) fn start(&self) -> &Boundary {
        &self.start
    }

    /// Compressed bytes before its end.
    pub(crate) fn end_offset(&self) -> u64 {
        self.start.offset + self.bytes.iter().map(|piece| piece.len() as u64).sum::<u64>()
    }

    /// Memory that it takes to decompress it, with what comes out.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bounds.bytes_max(self.compression)
    }

    /// Its bytes, as they were pushed.
    pub(crate) fn into_bytes(self) -> Vec<Bytes> {
        self.bytes
    }

    /// Begins to decompress it; `None` where a library can't.
    pub(crate) fn unfold(&self) -> Option<Unfolding> {
        let bytes_max = self.bounds.memory_bytes_max;
        let (inflater, bytes) = match &self.feed {
            Feed::Bytes => (Inflater::at(self.compression, &self.start, bytes_max), self.bytes.clone().into()),
            Feed::Nothing => (Inflater::new(Compression::None, bytes_max), VecDeque::new()),
            Feed::Bzip2 { level, crc, bits, last } => {
                let stream = bzip2::stream_of(*level, *crc, &self.bytes, bits.clone(), *last);
                (Inflater::new(self.compression, bytes_max), VecDeque::from([stream.into()]))
            }
            Feed::Xz { header, begin, records } => {
                let stream = xz::stream_with(*header, records, &self.bytes, *begin);
                (Inflater::new(self.compression, bytes_max), stream.collect())
            }
        };
        Some(Unfolding { inflater: inflater.ok()?, bytes, plain_bytes_left: self.bounds.plain_bytes_max })
    }
}

/// A segment that is being decompressed.
pub(crate) struct Unfolding {
    inflater: Inflater,
    bytes: VecDeque<Bytes>,
    plain_bytes_left: usize,
}

impl Unfolding {
    /// Fills `block`, which has room; says how far. Only the last one is not filled, and behind it come 0 bytes: then
    /// the segment is proven. `None` where it is not what it seemed to be, at whatever byte: nothing of it counts then.
    pub(crate) fn fill(&mut self, block: &mut [u8]) -> Option<usize> {
        let mut written = 0;
        while written < block.len() {
            if self.inflater.wants_input() {
                match self.bytes.pop_front() {
                    Some(piece) => self.inflater.push(piece),
                    None => self.inflater.end(),
                }
            }
            let more = self.inflater.fill(&mut block[written..]).ok()?;
            written += more;
            if self.inflater.wanted().is_some() {
                return None;
            }
            if more == 0 && !self.inflater.wants_input() {
                break;
            }
        }
        self.plain_bytes_left = self.plain_bytes_left.checked_sub(written)?;
        Some(written)
    }
}

/// What a [`Cutter`] says.
#[derive(Debug)]
pub(crate) enum Cut {
    Segment(Segment),
    /// Nothing before more is pushed, or the end is said.
    More,
    /// No boundary is near, or there is nothing left.
    Nothing,
}

/// Looks for the boundaries of one stream.
pub(crate) struct Cutter {
    compression: Compression,
    bounds: SegmentBounds,
    finder: Box<dyn FindBoundary>,
    /// Of the first byte that is held.
    start: Boundary,
    held: Rope,
    has_ended: bool,
}

/// How a format finds its boundaries.
trait FindBoundary: Send {
    /// The next boundary in what is `held`, which begins at one. The same bytes may be shown again, with more behind.
    fn find(&mut self, held: &Held<'_>) -> Found;

    /// Forgets what it knows of the bytes at hand: those behind `boundary` come next.
    fn restart(&mut self, boundary: &Boundary);
}

/// What a cutter holds, and what it knows of the rest.
struct Held<'a> {
    rope: &'a Rope,
    /// Nothing follows.
    has_ended: bool,
    bounds: SegmentBounds,
}

impl Held<'_> {
    /// Where the bytes at hand are not enough to tell.
    fn too_short(&self) -> Found {
        let may_grow = !self.has_ended && self.rope.len() < self.bounds.stored_bytes_max;
        if may_grow { Found::More } else { Found::Nothing }
    }
}

/// What it found.
#[derive(Debug)]
enum Found {
    /// A boundary behind so many bytes, one at least, which lies between two members.
    At(usize),
    /// Any boundary.
    Cut {
        length: usize,
        feed: Feed,
        inside: Inside,
    },
    More,
    Nothing,
}

impl Cutter {
    /// From the beginning of a stream; `None` for formats whose boundaries aren't known.
    pub(crate) fn new(compression: Compression, bounds: SegmentBounds) -> Option<Self> {
        let finder: Box<dyn FindBoundary> = match compression {
            Compression::Gzip => Box::new(gzip::Members::new()),
            Compression::Zstd => Box::new(Walk::<zstd::Headers>::new()),
            Compression::Lz4 => Box::new(Walk::<lz4::Headers>::new()),
            Compression::Bzip2 => Box::new(bzip2::Blocks::new()),
            Compression::Xz => Box::new(xz::Blocks::new()),
            Compression::None => return None,
        };
        let (start, held) = (Boundary::START, Rope::default());
        Some(Self { compression, bounds, finder, start, held, has_ended: false })
    }

    /// Whether it has boundaries where a decompressor that reads on has none: then it has to see the stream from its
    /// beginning.
    pub(crate) fn sees_inside(&self) -> bool {
        matches!(self.compression, Compression::Bzip2 | Compression::Xz)
    }

    /// Goes on at `boundary`, without what it holds.
    pub(crate) fn restart_at(&mut self, boundary: Boundary) {
        debug_assert_eq!(self.held.len(), 0, "what it held was taken");
        self.finder.restart(&boundary);
        self.start = boundary;
    }

    /// Where what it holds begins.
    pub(crate) fn start(&self) -> &Boundary {
        &self.start
    }

    pub(crate) fn push(&mut self, input: Bytes) {
        self.held.push(input);
    }

    /// Says that the whole stream was pushed.
    pub(crate) fn end(&mut self) {
        self.has_ended = true;
    }

    /// Memory that the next segment may take.
    pub(crate) fn segment_bytes_max(&self) -> u64 {
        self.bounds.bytes_max(self.compression)
    }

    /// Takes what it holds.
    pub(crate) fn take_held(&mut self) -> Vec<Bytes> {
        self.held.split_to(self.held.len())
    }

    /// The next segment.
    pub(crate) fn cut(&mut self) -> Cut {
        let held = Held { rope: &self.held, has_ended: self.has_ended, bounds: self.bounds };
        let (length, feed, inside) = match self.finder.find(&held) {
            Found::At(length) => (length, Feed::Bytes, Inside::Nothing),
            Found::Cut { length, feed, inside } => (length, feed, inside),
            Found::More => return Cut::More,
            Found::Nothing => return Cut::Nothing,
        };
        let bytes = self.held.split_to(length);
        let behind = Boundary { offset: self.start.offset + length as u64, inside };
        let start = std::mem::replace(&mut self.start, behind);
        Cut::Segment(Segment { compression: self.compression, bounds: self.bounds, start, bytes, feed })
    }
}
