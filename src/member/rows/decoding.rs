//! The content of one member becomes records, in order: in place, or in stretches that the crew decodes.
//!
//! In place is how every member begins, and how most end: pieces go to the member's decoder one by one. Where the crew
//! has a hand free, the decoder is ended at a cut, and what follows is gathered up to a later cut and handed out, while
//! this task goes on fetching, decompressing and cutting.
//!
//! What a newcomer must know: a task decodes its stretch as if nothing came before it. What it made counts only if
//! nothing was odd about it; else the stretch is decoded again in place, when its turn has come, by a decoder that knows
//! what came before. So numbers, messages and policies are those of a single decoder, at the cost of doing the odd
//! stretches twice. Before anybody is told of damage or a shortage, everything in front of it is decoded and given out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use arrow::array::Array;
use bytes::Bytes;

use crate::crew::{Crew, Hand, Task, Trade};
use crate::error::{Error, ErrorKind, Result};
use crate::member::content::{MemberContent, PIECE_BYTES_MAX};
use crate::member::{Before, Cutter, RecordDecoder, Records};
use crate::memory::{Allowance, Reservation, Shortage};
use crate::report::BadRows;
use crate::stats::Stats;

#[cfg(test)]
mod tests;

/// Stretches that are gathered without a cut among them, at most: a value of many MiB is decoded in place, where it is
/// held once.
const UNCUT_STRETCHES_MAX: usize = 4;

/// How often a stretch is held while a task decodes it: as bytes, as fields, and as batches with the room to grow.
const STRETCH_COPIES: usize = 5;

/// Bytes of batches that a task may make: a few times its text. Whose records are larger than that (many columns that
/// the text does not have, say, or blocks that decompress to a thousand times their size) decodes them in place.
const MADE_BYTES_MAX: usize = 5 << 20;

/// The content of one member and whoever decodes it.
pub(super) struct Decoding {
    content: MemberContent,
    /// All content was pushed.
    ended: bool,
    finished: bool,
    /// What befell the content, behind all that was pulled.
    trouble: Option<Error>,
    /// What was pulled is to be given out before anything else happens.
    catching_up: bool,
    /// Decodes in place. All records in front of its own have been given out.
    decoder: Box<dyn RecordDecoder>,
    /// The decoder takes what comes next. Otherwise it was ended at a cut.
    is_open: bool,
    /// What the decoder takes before anything else.
    backlog: VecDeque<Bytes>,
    /// Behind the backlog is a cut, at which the decoder ends.
    ends_at_cut: bool,
    /// What came before the first task, or before the gathered pieces.
    before: Before,
    /// Bytes of content that were pulled.
    pulled: u64,
    bad_rows: BadRows,
    cutter: Option<Box<dyn Cutter>>,
    tasks: VecDeque<Stretch>,
    gathered: Gathered,
    /// For what is being gathered.
    helper: Option<Helper>,
    /// Of the task that was taken last.
    ready: VecDeque<Records>,
    ready_memory: Option<Reservation>,
    /// Nothing goes on before the first task is done.
    waits: bool,
    /// Or before more content is.
    waits_for_content: bool,
    /// What was pushed is to be pulled before all is given out.
    drains: bool,
    crew: Crew,
    stats: Arc<Stats>,
    allowance: Allowance,
    /// Of the decoder, and of what it makes of the next piece.
    memory: Reservation,
    /// What it would have to be.
    wanted: Option<u64>,
    /// Bytes that whoever takes the records adds to each batch.
    extra_bytes: usize,
}

/// What a task has made so far: it waits in memory for its turn.
#[derive(Debug, Default)]
pub(super) struct Made {
    bytes: usize,
}

/// A part of the content that ends at a cut, and what becomes of it.
struct Stretch {
    pieces: Vec<Bytes>,
    task: Task<Outcome>,
    memory: Reservation,
}

/// Somebody who could decode a stretch, and the memory for it.
struct Helper {
    hand: Hand,
    memory: Reservation,
    decoder: Box<dyn RecordDecoder>,
    /// Where its bad rows are counted.
    counted: Arc<Stats>,
}

/// What a task made of its stretch.
struct Outcome {
    records: Vec<Records>,
    read: Before,
    bad_rows: u64,
    failed: bool,
}

/// Pieces behind the tasks.
#[derive(Default)]
struct Gathered {
    /// Those up to the last cut.
    cut: Vec<Bytes>,
    cut_bytes: usize,
    /// Those behind it.
    tail: Vec<Bytes>,
    tail_bytes: usize,
}

/// The decoder of a member, and where it tells of bad rows.
pub(crate) struct Decoder {
    pub(crate) records: Box<dyn RecordDecoder>,
    pub(crate) bad_rows: BadRows,
}

impl Decoding {
    /// The decoding of a member of which nothing was read.
    pub(super) fn new(decoder: Decoder, crew: &Crew, stats: &Arc<Stats>, allowance: &Allowance) -> Self {
        let Decoder { records: decoder, bad_rows } = decoder;
        Self {
            content: MemberContent::new(Arc::clone(stats)).within(allowance).with_crew(crew),
            ended: false,
            finished: false,
            trouble: None,
            catching_up: false,
            cutter: if crew.is_alone() { None } else { decoder.cutter() },
            decoder,
            is_open: true,
            backlog: VecDeque::new(),
            ends_at_cut: false,
            before: Before::default(),
            pulled: 0,
            bad_rows,
            tasks: VecDeque::new(),
            gathered: Gathered::default(),
            helper: None,
            ready: VecDeque::new(),
            ready_memory: None,
            waits: false,
            waits_for_content: false,
            drains: false,
            crew: crew.clone(),
            stats: Arc::clone(stats),
            allowance: allowance.clone(),
            memory: allowance.reservation(),
            wanted: None,
            extra_bytes: 0,
        }
    }

    /// Reckons with so many bytes that each batch gets on top.
    #[must_use]
    pub(super) fn with_extra(self, extra_bytes: usize) -> Self {
        Self { extra_bytes, ..self }
    }

    /// Gives the next piece of stored content. Only after `next_records` has given nothing, and not while it
    /// [waits](Self::is_waiting).
    pub(super) fn push(&mut self, content: Bytes) {
        self.content.push(content);
    }

    /// All content was pushed.
    pub(super) fn end(&mut self) {
        self.ended = true;
        self.content.end();
    }

    /// All records have been given out.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Has `next_records` give out all records of what was pushed.
    pub(super) fn catch_up(&mut self) {
        (self.catching_up, self.drains) = (true, true);
        self.trouble = self.trouble.take().or(self.content.catch_up().err());
    }

    /// The content is damaged from here on: complete records come out, a record that was cut does not.
    pub(super) fn abandon(&mut self) -> Result<()> {
        (self.ended, self.finished) = (true, true);
        (self.wanted, self.trouble, self.helper) = (None, None, None);
        self.drains = false;
        self.tasks.clear();
        self.backlog.clear();
        self.gathered = Gathered::default();
        let rest = self.content.cut();
        self.content = MemberContent::new(Arc::clone(&self.stats)).within(&self.allowance);
        if !self.is_open {
            return Ok(());
        }
        if let Some(rest) = rest {
            self.decoder.decode(rest)?;
        }
        self.decoder.abandon()
    }

    /// The next records, in order. None where content has to be pushed, where there [is a shortage](Self::shortage),
    /// where it [waits](Self::is_waiting) for the crew, and at the end.
    ///
    /// # Errors
    /// Whatever a single decoder meets, when all records in front of it have been given out.
    pub(super) fn next_records(&mut self) -> Result<Option<Records>> {
        (self.waits, self.waits_for_content) = (false, false);
        loop {
            if let Some(records) = self.ready.pop_front().or_else(|| self.decoder.next_records()) {
                return Ok(Some(records));
            }
            self.ready_memory = None;
            if let Some(error) = self.decoder.failure() {
                return Err(error);
            }
            if self.finished || !self.step()? {
                return Ok(None);
            }
        }
    }

    /// Does what comes next; false where that can't be done now.
    fn step(&mut self) -> Result<bool> {
        if self.is_open && !self.make_room() {
            return Ok(false);
        }
        if !self.backlog.is_empty() || self.ends_at_cut {
            return self.decode_in_place().map(|()| true);
        }
        if self.tasks.front_mut().is_some_and(|stretch| stretch.task.is_done()) {
            return self.take_first().map(|()| true);
        }
        if self.catching_up || self.trouble.is_some() {
            return if self.drains { Ok(self.drain()) } else { self.settle() };
        }
        if self.is_ripe() {
            return self.hand_out();
        }
        match self.content.pull() {
            Ok(Some(piece)) => self.sort_in(piece),
            Ok(None) if self.content.shortage().is_some() => {
                // A wait for memory must not hold what others may be waiting for.
                self.catching_up = !self.is_caught_up();
                return Ok(self.catching_up);
            }
            Ok(None) if self.content.is_waiting() => {
                (self.waits, self.waits_for_content) = (true, true);
                return Ok(false);
            }
            Ok(None) if self.ended => return self.close(),
            Ok(None) => return Ok(false),
            Err(error) => self.trouble = Some(error),
        }
        Ok(true)
    }

    /// Pulls what is left of what was pushed; false where that takes more memory.
    fn drain(&mut self) -> bool {
        match self.content.pull() {
            Ok(Some(piece)) => {
                self.pulled += piece.len() as u64;
                match self.is_open {
                    true => self.backlog.push_back(piece),
                    false => self.gathered.add(piece, None),
                }
            }
            Ok(None) if self.content.shortage().is_some() => return false,
            Ok(None) => self.drains = false,
            Err(error) => (self.drains, self.trouble) = (false, Some(error)),
        }
        true
    }

    /// Makes room for what the decoder holds, and for what it makes of another piece; false where there is too little.
    fn make_room(&mut self) -> bool {
        let bytes = (self.decoder.bytes_wanted(PIECE_BYTES_MAX) + self.extra_bytes) as u64;
        let has_room = self.memory.try_hard(bytes) || (self.take_back() && self.memory.try_hard(bytes));
        self.memory.shrink_to(bytes);
        self.wanted = (!has_room).then_some(bytes);
        has_room
    }

    /// Goes on in place with all that was handed out or gathered behind what is open; false where that frees nothing.
    /// Tasks are taken in order, so a decoder in front of them that waited for memory would wait for theirs, too.
    fn take_back(&mut self) -> bool {
        if self.helper.take().is_none() && self.tasks.is_empty() {
            return false;
        }
        self.backlog.extend(self.tasks.drain(..).flat_map(|stretch| stretch.pieces));
        self.backlog.extend(self.gathered.take_all());
        self.ends_at_cut = false;
        true
    }

    fn decode_in_place(&mut self) -> Result<()> {
        let start = Instant::now();
        match self.backlog.pop_front() {
            Some(piece) => self.decoder.decode(piece)?,
            None => {
                self.ends_at_cut = false;
                self.decoder.finish()?;
                self.before = self.decoder.read_so_far();
                self.is_open = false;
            }
        }
        self.stats.decode_nanos.add_elapsed(start);
        Ok(())
    }

    /// Puts a piece where it belongs.
    fn sort_in(&mut self, mut piece: Bytes) {
        let cut = self.cutter.as_mut().and_then(|cutter| cutter.cut(&piece));
        let start = self.pulled;
        self.pulled += piece.len() as u64;
        match cut {
            _ if !self.is_open => self.gathered.add(piece, cut),
            Some(cut) if self.finds_helper(start + cut as u64) => {
                self.gathered.add(piece.split_off(cut), None);
                self.backlog.push_back(piece);
                self.ends_at_cut = true;
            }
            _ => self.backlog.push_back(piece),
        }
    }

    /// Whether somebody decodes what is gathered from byte `start` on.
    fn finds_helper(&mut self, start: u64) -> bool {
        self.helper = self.helper.take().or_else(|| {
            let hand = self.crew.hand(Trade::Decode)?;
            let mut memory = self.allowance.reservation();
            let has_room = memory.try_soft((STRETCH_COPIES * self.crew.work_bytes()) as u64);
            let counted = Arc::<Stats>::default();
            // Nobody else can go on as long as the member's header was not read.
            let before = Before { records: 0, bytes: start };
            let decoder = self.decoder.fork(before, BadRows::counted(Arc::clone(&counted)))?;
            has_room.then_some(Helper { hand, memory, decoder, counted })
        });
        self.helper.is_some()
    }

    /// Whether enough is gathered for somebody to go on with it.
    fn is_ripe(&self) -> bool {
        let enough = self.crew.work_bytes();
        self.gathered.cut_bytes >= enough || self.gathered.tail_bytes >= UNCUT_STRETCHES_MAX * enough
    }

    /// Hands out what is gathered up to the last cut. Where there is no such cut, or nobody to take it, it is decoded in
    /// place; false where it has to wait for its turn.
    fn hand_out(&mut self) -> Result<bool> {
        let start = self.pulled - self.gathered.bytes() as u64;
        if !self.gathered.cut.is_empty()
            && self.finds_helper(start)
            && let Some(Helper { hand, memory, decoder, counted }) = self.helper.take()
        {
            self.memory.shrink_to(0);
            let pieces = self.gathered.take_cut();
            let work = (pieces.clone(), Arc::clone(&self.stats));
            let task = hand.run(move || Outcome::of(decoder, work.0, &counted, &work.1));
            self.tasks.push_back(Stretch { pieces, task, memory });
            return Ok(true);
        }
        self.settle()
    }

    /// Has everything that was pulled decoded and given out, in front of the trouble if there is any; false where tasks
    /// have to be waited for.
    fn settle(&mut self) -> Result<bool> {
        if !self.tasks.is_empty() {
            self.waits = true;
            return Ok(false);
        }
        if !self.gathered.is_empty() {
            let pieces = self.gathered.take_all();
            return self.reopen(pieces).map(|()| true);
        }
        self.catching_up = false;
        self.trouble.take().map_or(Ok(true), Err)
    }

    /// Goes on in place, with `pieces`.
    fn reopen(&mut self, pieces: Vec<Bytes>) -> Result<()> {
        let headless = || Error::new(ErrorKind::Member, "the member was cut before its header was read");
        self.decoder = self.decoder.fork(self.before, self.bad_rows.clone()).ok_or_else(headless)?;
        self.backlog.extend(pieces);
        (self.is_open, self.helper) = (true, None);
        Ok(())
    }

    /// Takes what the first task made, or has its stretch decoded again in place.
    fn take_first(&mut self) -> Result<()> {
        let Some(Stretch { pieces, task, memory }) = self.tasks.pop_front() else { return Ok(()) };
        // As long as bad rows are worth words, they are described by who knows their numbers.
        let is_odd = |outcome: &Outcome| outcome.failed || (outcome.bad_rows > 0 && self.bad_rows.room() > 0);
        let Some(outcome) = task.take().filter(|outcome| !is_odd(outcome)) else {
            self.ends_at_cut = true;
            return self.reopen(pieces);
        };
        self.bad_rows.add_all(outcome.bad_rows, []);
        let before = self.before.records;
        let number =
            |records: Records| Records { row_numbers: records.row_numbers.unary(|number| number + before), ..records };
        self.ready.extend(outcome.records.into_iter().map(number));
        self.ready_memory = Some(memory);
        self.before = Before { records: before + outcome.read.records, ..outcome.read };
        Ok(())
    }

    /// Ends what is under way at the end of the content; false where tasks have to be waited for.
    fn close(&mut self) -> Result<bool> {
        self.gathered.seal();
        if !self.gathered.is_empty() {
            return self.hand_out();
        }
        if !self.tasks.is_empty() {
            self.waits = true;
            return Ok(false);
        }
        self.finished = true;
        if self.is_open {
            let start = Instant::now();
            self.decoder.finish()?;
            self.stats.decode_nanos.add_elapsed(start);
        }
        Ok(true)
    }

    fn is_caught_up(&self) -> bool {
        self.tasks.is_empty() && self.gathered.is_empty()
    }

    /// Whether `next_records` gave nothing because the crew is not done.
    pub(super) fn is_waiting(&self) -> bool {
        self.waits
    }

    /// Ready when `next_records` can go on.
    pub(super) fn poll_waiting(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.waits_for_content && self.content.poll_waiting(context).is_ready() {
            return Poll::Ready(());
        }
        match self.tasks.front_mut() {
            Some(stretch) => stretch.task.poll_done(context),
            None if self.waits_for_content => Poll::Pending,
            None => Poll::Ready(()),
        }
    }

    /// The memory without which `next_records` brings nothing more.
    pub(super) fn shortage(&mut self) -> Option<Shortage<'_>> {
        if self.waits {
            return None;
        }
        if let Some(bytes) = self.wanted.filter(|bytes| !self.memory.has(*bytes)) {
            let what = self.decoder.what_grows().to_owned();
            return Some(Shortage { reservation: &mut self.memory, bytes, what });
        }
        self.content.shortage()
    }
}

impl Gathered {
    fn add(&mut self, mut piece: Bytes, cut: Option<usize>) {
        if let Some(cut) = cut {
            let behind = piece.split_off(cut);
            self.tail_bytes += piece.len();
            self.tail.push(piece);
            self.seal();
            piece = behind;
        }
        if !piece.is_empty() {
            self.tail_bytes += piece.len();
            self.tail.push(piece);
        }
    }

    /// Says that its end is a cut.
    fn seal(&mut self) {
        self.cut.append(&mut self.tail);
        self.cut_bytes += std::mem::take(&mut self.tail_bytes);
    }

    fn is_empty(&self) -> bool {
        self.cut.is_empty() && self.tail.is_empty()
    }

    fn bytes(&self) -> usize {
        self.cut_bytes + self.tail_bytes
    }

    fn take_cut(&mut self) -> Vec<Bytes> {
        self.cut_bytes = 0;
        std::mem::take(&mut self.cut)
    }

    fn take_all(&mut self) -> Vec<Bytes> {
        self.seal();
        self.take_cut()
    }
}

impl Made {
    /// Has `records` taken, one after the other, until there are no more.
    ///
    /// # Errors
    /// Those of `next`, and that there are too many to keep.
    pub(super) fn take_all(
        &mut self,
        mut next: impl FnMut() -> Result<Option<Records>>,
        mut take: impl FnMut(Records),
    ) -> Result<()> {
        while let Some(records) = next()? {
            self.bytes += records.batch.get_array_memory_size() + records.row_numbers.get_array_memory_size();
            if self.bytes > MADE_BYTES_MAX {
                // Nobody sees it: it is done again in place, batch by batch.
                return Err(Error::new(ErrorKind::Limit, "a task makes more than it may keep"));
            }
            take(records);
        }
        Ok(())
    }
}

impl Outcome {
    /// What `decoder` makes of `pieces`.
    fn of(mut decoder: Box<dyn RecordDecoder>, pieces: Vec<Bytes>, counted: &Stats, stats: &Stats) -> Self {
        let start = Instant::now();
        let mut records = Vec::new();
        let result = Self::decode(decoder.as_mut(), pieces, &mut records);
        stats.decode_nanos.add_elapsed(start);
        Self { records, read: decoder.read_so_far(), bad_rows: counted.bad_rows.value(), failed: result.is_err() }
    }

    fn decode(decoder: &mut dyn RecordDecoder, pieces: Vec<Bytes>, records: &mut Vec<Records>) -> Result<()> {
        let mut made = Made::default();
        for piece in pieces {
            decoder.decode(piece)?;
            made.take_all(|| Ok(decoder.next_records()), |made| records.push(made))?;
        }
        decoder.finish()?;
        made.take_all(|| Ok(decoder.next_records()), |made| records.push(made))?;
        decoder.failure().map_or(Ok(()), Err)
    }
}
