//! A decompressor, the memory that it holds, and the blocks that it fills.
//!
//! One after the other is how every stream begins. Where its members (frames, blocks) can be told apart and the crew has
//! hands, they are cut into segments, which others decompress; what they make is given out in order, once it is proven
//! that each segment ends where the next one begins. Whatever does not fit goes on in place, from the last boundary that
//! was proven, and so errors, bytes and offsets are those of one decompressor that reads it all.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::blocks::{Block, Blocks};
use crate::compression::{Boundary, Compression, Cut, Cutter, Inflater, Segment, SegmentBounds, UNASKED_BYTES};
use crate::crew::{Crew, Task, Trade};
use crate::error::Result;
use crate::memory::{Allowance, Reservation, Shortage};
use crate::stats::Stats;

#[cfg(test)]
mod tests;

/// Memory that one decompressor may take for its window and dictionaries where nobody says how much there is: xz -9
/// wants 65 MiB, zstd --long=27 128 MiB.
const DECOMPRESSOR_BYTES_MAX: u64 = 1 << 30;

/// What it may take where it has to ask: the largest that a format knows.
const DECOMPRESSOR_BYTES_MOST: u64 = 5 << 30;

/// Segments that turned out to be none, after which a stream is read in one go: one in a million magics is chance, many
/// are a stream that was made so.
const FAILURES_MAX: u32 = 8;

/// Turns one compressed stream, fed piece by piece, into blocks.
pub(crate) struct Inflation {
    compression: Compression,
    bytes_max: u64,
    memory: Reservation,
    allowance: Allowance,
    crew: Crew,
    blocks: Blocks,
    /// Kept while there is nothing to fill it with.
    block: Option<Block>,
    /// In place; none while segments are cut.
    inflater: Option<Inflater>,
    /// What it reads before anything that is pushed.
    backlog: VecDeque<Bytes>,
    has_ended: bool,
    bounds: SegmentBounds,
    cutter: Option<Cutter>,
    /// The cutter needs more to find the next segment, and there is a hand for it.
    wants_more: bool,
    /// In order.
    flights: VecDeque<Flight>,
    /// Of segments that are proven.
    ready: VecDeque<Bytes>,
    /// Segments that were taken.
    #[cfg(test)]
    segments: u32,
    failures: u32,
}

/// A segment that somebody decompresses.
struct Flight {
    segment: Segment,
    work: Work,
}

enum Work {
    Elsewhere(Task<Option<Unfolded>>),
    /// Nothing where it is none.
    Done(Option<Unfolded>),
}

impl Work {
    fn poll_done(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Elsewhere(task) => task.poll_done(context),
            Self::Done(_) => Poll::Ready(()),
        }
    }

    fn is_done(&mut self) -> bool {
        match self {
            Self::Elsewhere(task) => task.is_done(),
            Self::Done(_) => true,
        }
    }

    /// What was made, once it is done.
    fn take(self) -> Option<Unfolded> {
        match self {
            Self::Elsewhere(task) => task.take().flatten(),
            Self::Done(made) => made,
        }
    }
}

/// What was in a segment.
struct Unfolded {
    blocks: Vec<Bytes>,
    took: Duration,
}

impl Inflation {
    /// Gives out blocks of at most `block_bytes`, with the help of `crew`.
    ///
    /// # Errors
    /// A library can't set its decoder up.
    pub(crate) fn new(
        compression: Compression,
        block_bytes: usize,
        allowance: &Allowance,
        crew: &Crew,
    ) -> Result<Self> {
        Self::in_segments(compression, block_bytes, allowance, crew, SegmentBounds::of(compression))
    }

    fn in_segments(
        compression: Compression,
        block_bytes: usize,
        allowance: &Allowance,
        crew: &Crew,
        bounds: SegmentBounds,
    ) -> Result<Self> {
        let bytes_max = if allowance.is_limited() { DECOMPRESSOR_BYTES_MOST } else { DECOMPRESSOR_BYTES_MAX };
        let mut inflater = Inflater::new(compression, bytes_max)?.asking();
        let cutter = if crew.is_alone() { None } else { Cutter::new(compression, bounds) };
        inflater.pause_from(if cutter.is_some() { bounds.stored_bytes as u64 } else { u64::MAX });
        let sees_inside = cutter.as_ref().is_some_and(Cutter::sees_inside);
        let mut memory = allowance.reservation();
        memory.force(UNASKED_BYTES);
        Ok(Self {
            compression,
            bytes_max,
            memory,
            allowance: allowance.clone(),
            crew: crew.clone(),
            blocks: Blocks::new(block_bytes, allowance),
            block: None,
            inflater: Some(inflater).filter(|_| !sees_inside),
            backlog: VecDeque::new(),
            has_ended: false,
            bounds,
            cutter,
            wants_more: sees_inside,
            flights: VecDeque::new(),
            ready: VecDeque::new(),
            #[cfg(test)]
            segments: 0,
            failures: 0,
        })
    }

    /// Whether nothing comes out before more is pushed, or sooner if more is.
    pub(crate) fn wants_input(&self) -> bool {
        let wants_input = match &self.inflater {
            Some(inflater) => inflater.wants_input() && self.backlog.is_empty(),
            None => self.wants_more && self.ready.is_empty(),
        };
        wants_input && !self.has_ended
    }

    /// Gives the next piece of the stream. Only when it [`wants_input`](Self::wants_input).
    pub(crate) fn push(&mut self, input: Bytes) {
        match (&mut self.inflater, &mut self.cutter) {
            (None, Some(cutter)) => {
                cutter.push(input);
                self.wants_more = false;
            }
            _ => self.backlog.push_back(input),
        }
    }

    /// Says that the whole stream was pushed.
    pub(crate) fn end(&mut self) {
        self.has_ended = true;
        if let Some(cutter) = &mut self.cutter {
            cutter.end();
        }
    }

    /// Whether the next block is being made elsewhere.
    pub(crate) fn is_waiting(&self) -> bool {
        self.inflater.is_none() && self.ready.is_empty() && !self.flights.is_empty()
    }

    /// Waits until [`next_block`](Self::next_block) may have one, if it [is waiting](Self::is_waiting). It may be dropped
    /// meanwhile.
    pub(crate) async fn wait(&mut self) {
        std::future::poll_fn(|context| self.poll_waiting(context)).await;
    }

    /// The same.
    pub(crate) fn poll_waiting(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.flights.front_mut().map_or(Poll::Ready(()), |flight| flight.work.poll_done(context))
    }

    /// Has all that was pushed decompressed in place, so that nobody waits for it.
    pub(crate) fn catch_up(&mut self) -> Result<()> {
        if self.inflater.is_none() {
            self.go_on_in_place(u64::MAX)?;
        }
        self.cutter = None;
        Ok(())
    }

    /// The next block; `None` where there is nothing to be had from what was pushed, or too little memory: then there is
    /// a [`shortage`](Self::shortage); or where it [is waiting](Self::is_waiting).
    ///
    /// # Errors
    /// The stream is damaged, or needs more memory than a decompressor gets.
    pub(crate) fn next_block(&mut self, stats: &Stats) -> Result<Option<Bytes>> {
        // Ends: every round takes a segment, or reads on.
        loop {
            if let Some(block) = self.ready.pop_front() {
                stats.bytes_decompressed.add(block.len() as u64);
                return Ok(Some(block));
            }
            let goes_on = match &self.inflater {
                Some(inflater) => match inflater.paused() {
                    Some(boundary) => {
                        self.cut_from(boundary);
                        true
                    }
                    None => self.inflate(stats)?,
                },
                None => self.take_segment(stats)?,
            };
            if !goes_on {
                return Ok(self.ready.pop_front().inspect(|block| stats.bytes_decompressed.add(block.len() as u64)));
            }
        }
    }

    /// The memory without which there is no further block.
    pub(crate) fn shortage(&mut self) -> Option<Shortage<'_>> {
        let wanted = self.inflater.as_mut()?.wanted().filter(|wanted| !self.memory.has(wanted.bytes))?;
        Some(Shortage { reservation: &mut self.memory, bytes: wanted.bytes, what: wanted.to_string() })
    }

    /// Fills a block in place. False where nothing came of it, and nothing will.
    fn inflate(&mut self, stats: &Stats) -> Result<bool> {
        let Some(inflater) = &mut self.inflater else { return Ok(false) };
        if inflater.wants_input() {
            match self.backlog.pop_front() {
                Some(input) => inflater.push(input),
                None if self.has_ended => inflater.end(),
                None => return Ok(false),
            }
        }
        let start = Instant::now();
        let mut block = self.block.take().unwrap_or_else(|| self.blocks.take());
        let mut written = inflater.fill(block.buffer())?;
        if written == 0
            && let Some(wanted) = inflater.wanted()
            && self.memory.try_hard(wanted.bytes)
        {
            inflater.allow(wanted.bytes);
            written = inflater.fill(block.buffer())?;
        }
        stats.decompress_nanos.add_elapsed(start);
        if written > 0 {
            self.ready.push_back(block.freeze(written));
            return Ok(true);
        }
        self.block = Some(block);
        let has_input = !self.backlog.is_empty() || (self.has_ended && inflater.wants_input());
        Ok(inflater.wanted().is_none() && (has_input || inflater.paused().is_some()))
    }

    /// From here on segments are cut, if there are hands for them.
    fn cut_from(&mut self, boundary: Boundary) {
        let Some(inflater) = &mut self.inflater else { return };
        match &mut self.cutter {
            Some(cutter) if self.crew.hand(Trade::Inflate).is_some() => {
                let input = inflater.take_input();
                cutter.restart_at(boundary);
                std::iter::once(input).chain(self.backlog.drain(..)).for_each(|piece| cutter.push(piece));
                self.inflater = None;
            }
            _ => inflater.pause_from(boundary.offset + self.bounds.stored_bytes as u64),
        }
    }

    /// Takes what is done of the first segment under way, and has more begun. False where it is not done, or none is.
    fn take_segment(&mut self, stats: &Stats) -> Result<bool> {
        let is_stuck = self.launch();
        let waits = self.flights.front_mut().map_or(!is_stuck, |flight| !flight.work.is_done());
        if waits {
            return Ok(false);
        }
        let Some(flight) = self.flights.pop_front() else {
            let behind = self.cutter.as_ref().map_or(0, |cutter| cutter.start().offset + 1);
            return self.go_on_in_place(behind).map(|()| true);
        };
        let end = flight.segment.end_offset();
        match flight.work.take() {
            Some(unfolded) => {
                stats.decompress_nanos.add(u64::try_from(unfolded.took.as_nanos()).unwrap_or(u64::MAX));
                self.ready.extend(unfolded.blocks);
                #[cfg(test)]
                {
                    self.segments += 1;
                }
            }
            None => {
                self.failures += 1;
                let pause_from = if self.failures < FAILURES_MAX { end } else { u64::MAX };
                self.inflate_from(flight.segment, pause_from)?;
            }
        }
        Ok(true)
    }

    /// Hands out as many segments as there are hands. True where the next bytes make none.
    fn launch(&mut self) -> bool {
        let Some(cutter) = &mut self.cutter else { return true };
        self.wants_more = false;
        loop {
            let hand = self.crew.hand(Trade::Inflate);
            // Where there are no hands, whole members are best read in place; but then nothing would end up at a boundary
            // between two blocks again.
            if hand.is_none() && !(cutter.sees_inside() && self.flights.is_empty() && self.ready.is_empty()) {
                return self.flights.is_empty();
            }
            let mut memory = self.allowance.reservation();
            if !memory.try_soft(cutter.segment_bytes_max()) {
                return true;
            }
            let segment = match cutter.cut() {
                Cut::Segment(segment) => segment,
                Cut::More => {
                    self.wants_more = true;
                    return false;
                }
                Cut::Nothing => return true,
            };
            let (work, blocks) = (segment.clone(), self.blocks.clone());
            let work = move || unfold(&work, &blocks, memory);
            let work = match hand {
                Some(hand) => Work::Elsewhere(hand.run(work)),
                None => Work::Done(work()),
            };
            self.flights.push_back(Flight { segment, work });
        }
    }

    /// Gives up the segments under way, and reads them in place.
    fn go_on_in_place(&mut self, pause_from: u64) -> Result<()> {
        match (self.flights.pop_front(), &mut self.cutter) {
            (Some(flight), _) => self.inflate_from(flight.segment, pause_from),
            (None, Some(cutter)) => {
                let start = cutter.start().clone();
                self.backlog.extend(cutter.take_held());
                self.inflate_at(&start, pause_from)
            }
            (None, None) => Ok(()),
        }
    }

    /// Reads `first` and what stands behind it in place.
    fn inflate_from(&mut self, first: Segment, pause_from: u64) -> Result<()> {
        let start = first.start().clone();
        let others = self.flights.drain(..).map(|flight| flight.segment);
        self.backlog.extend(std::iter::once(first).chain(others).flat_map(Segment::into_bytes));
        self.backlog.extend(self.cutter.iter_mut().flat_map(Cutter::take_held));
        self.inflate_at(&start, pause_from)
    }

    fn inflate_at(&mut self, start: &Boundary, pause_from: u64) -> Result<()> {
        let mut inflater = Inflater::at(self.compression, start, self.bytes_max)?.asking();
        inflater.pause_from(pause_from);
        self.inflater = Some(inflater);
        Ok(())
    }
}

/// All of a segment; nothing if it is not what it seemed to be.
fn unfold(segment: &Segment, blocks: &Blocks, mut memory: Reservation) -> Option<Unfolded> {
    let start = Instant::now();
    let mut unfolding = segment.unfold()?;
    let mut unfolded = Vec::new();
    let mut reserved = segment.bytes_max();
    loop {
        let mut block = blocks.take();
        // The block is accounted by itself.
        reserved = reserved.saturating_sub(block.buffer().len() as u64);
        memory.shrink_to(reserved);
        let written = unfolding.fill(block.buffer())?;
        if written == 0 {
            return Some(Unfolded { blocks: unfolded, took: start.elapsed() });
        }
        unfolded.push(block.freeze(written));
    }
}
