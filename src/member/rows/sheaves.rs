//! Small members, decoded by the sheaf.
//!
//! One huge archive may hold a million small members. None of them is worth handing out; so, where the crew has a hand
//! free, they are gathered until they are, and a task decodes them all while the archive is read on.
//!
//! What a newcomer must know: as with the stretches of one large member (see `decoding`), what a task made counts only if
//! nothing was odd about it. Else its members are decoded again in place, one by one, when their turn has come: only then are
//! errors and bad rows told, and so they are those of somebody who never gathers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::ArrayRef;
use bytes::Bytes;

use super::decoding::{Decoder, Decoding, Made};
use super::merged::merged;
use super::records::Decoders;
use crate::compression::Compression;
use crate::crew::{Crew, Hand, Task, Trade};
use crate::error::{Error, Result};
use crate::member::Records;
use crate::memory::Allowance;
use crate::report::BadRows;
use crate::stats::Stats;
use crate::tar::Member;

/// What a member is reckoned with besides its content: the columns of its header, and making a decoder.
const MEMBER_BYTES: usize = 1 << 10;

/// How often a compressed content counts: about as much text is usual.
const COMPRESSED_WEIGHT: usize = 8;

/// What a member's header adds to each of its rows.
pub(super) struct Header {
    pub(super) columns: Vec<ArrayRef>,
    /// Rows of a batch, each of which repeats the header.
    pub(super) rows_max: usize,
    /// The columns have a row for each record, and not one that is the same for all.
    pub(super) is_of_each: bool,
}

/// Rows of one member, or of several small ones.
pub(super) type MemberRecords = (Arc<Header>, Records);

/// A member with all its content.
#[derive(Clone)]
pub(super) struct SmallMember {
    pub(super) header: Arc<Header>,
    pub(super) path: String,
    pub(super) offset: u64,
    pub(super) content: Bytes,
}

/// Members on their way to become rows, in order.
pub(super) struct Sheaves {
    decoders: Arc<Decoders>,
    crew: Crew,
    stats: Arc<Stats>,
    /// Of the first task that was done.
    ready: VecDeque<MemberRecords>,
    /// The member that is decoded in place, and those that follow it there.
    open: Option<Open>,
    in_place: VecDeque<SmallMember>,
    tasks: VecDeque<Sheaf>,
    gathered: Vec<SmallMember>,
    gathered_bytes: usize,
    /// For what is being gathered.
    hand: Option<Hand>,
    /// Nothing more is gathered before all are given out.
    catching_up: bool,
    waits: bool,
}

struct Sheaf {
    members: Vec<SmallMember>,
    task: Task<Outcome>,
}

/// What a task made of its members.
struct Outcome {
    records: Vec<MemberRecords>,
    stats: Stats,
    failed: bool,
}

struct Open {
    member: SmallMember,
    decoding: Decoding,
}

impl Sheaves {
    pub(super) fn new(decoders: &Arc<Decoders>, crew: &Crew, stats: &Arc<Stats>) -> Self {
        Self {
            decoders: Arc::clone(decoders),
            crew: crew.clone(),
            stats: Arc::clone(stats),
            ready: VecDeque::new(),
            open: None,
            in_place: VecDeque::new(),
            tasks: VecDeque::new(),
            gathered: Vec::new(),
            gathered_bytes: 0,
            hand: None,
            catching_up: false,
            waits: false,
        }
    }

    /// Whether a member may be [added](Self::add) whose content has so many bytes, and begins with `head`.
    pub(super) fn takes(&mut self, bytes: usize, head: &[u8]) -> bool {
        if weight(bytes, head) > self.crew.work_bytes() {
            return false;
        }
        self.hand = self.hand.take().or_else(|| self.crew.hand(Trade::Decode));
        self.hand.is_some() || !self.tasks.is_empty()
    }

    /// Gathers a member. Only where the last [`next`](Self::next) has given nothing, and does not [wait](Self::waits).
    pub(super) fn add(&mut self, member: SmallMember) {
        self.gathered_bytes += weight(member.content.len(), &member.content) + MEMBER_BYTES;
        self.gathered.push(member);
    }

    /// Has `next` give out all that was gathered.
    pub(super) fn catch_up(&mut self) {
        self.catching_up = true;
    }

    /// The next records. None where there is nothing to give out yet, or where that [waits](Self::waits).
    ///
    /// # Errors
    /// Whatever a decoder meets, with its member.
    pub(super) fn next(&mut self) -> Result<Option<MemberRecords>> {
        loop {
            if let Some(records) = self.ready.pop_front() {
                return Ok(Some(records));
            }
            if let Some(open) = &mut self.open {
                match open.decoding.next_records() {
                    Ok(Some(records)) => return Ok(Some((Arc::clone(&open.member.header), records))),
                    Ok(None) => self.open = None,
                    Err(error) => return Err(open.member.locate(error)),
                }
            } else if let Some(member) = self.in_place.front() {
                let decoder = self.decoders.of(&member.path, member.offset).map_err(|error| member.locate(error))?;
                let decoding = member.decoding(decoder, &self.stats);
                self.open = self.in_place.pop_front().map(|member| Open { member, decoding });
            } else if !self.step() {
                return Ok(None);
            }
        }
    }

    /// Whether `next` gave nothing because the crew is not done.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// Ready when `next` can go on.
    pub(super) fn poll_waiting(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.tasks.front_mut().map_or(Poll::Ready(()), |sheaf| sheaf.task.poll_done(context))
    }

    /// Whether it was one of these members that failed.
    pub(super) fn is_at_fault(&self) -> bool {
        self.open.is_some() || !self.in_place.is_empty()
    }

    /// Leaves out the rest of the member that failed.
    pub(super) fn abandon(&mut self) -> Result<()> {
        match &mut self.open {
            Some(open) => open.decoding.abandon().map_err(|error| open.member.locate(error)),
            None => {
                self.in_place.pop_front();
                Ok(())
            }
        }
    }

    /// Takes what a task made, or hands out what was gathered; false where that can't be done now.
    fn step(&mut self) -> bool {
        self.waits = false;
        if self.tasks.front_mut().is_some_and(|sheaf| sheaf.task.is_done()) {
            self.take_first();
            return true;
        }
        let is_enough = self.gathered_bytes >= self.crew.work_bytes();
        let is_ripe = !self.gathered.is_empty() && (is_enough || self.catching_up);
        if is_ripe {
            if let Some(hand) = self.hand.take().or_else(|| self.crew.hand(Trade::Decode)) {
                self.hand_out(hand);
                return true;
            }
            if self.tasks.is_empty() {
                let members = self.take_gathered();
                self.in_place.extend(members);
                return true;
            }
        }
        self.waits = !self.tasks.is_empty() && (is_ripe || self.catching_up);
        if !self.waits && self.catching_up {
            // Others may need it before something is gathered again.
            (self.catching_up, self.hand) = (false, None);
        }
        false
    }

    fn hand_out(&mut self, hand: Hand) {
        let members = self.take_gathered();
        let (decoders, work) = (Arc::clone(&self.decoders), members.clone());
        let task = hand.run(move || Outcome::of(&work, &decoders));
        self.tasks.push_back(Sheaf { members, task });
    }

    fn take_gathered(&mut self) -> Vec<SmallMember> {
        self.gathered_bytes = 0;
        std::mem::take(&mut self.gathered)
    }

    fn take_first(&mut self) {
        let Some(Sheaf { members, task }) = self.tasks.pop_front() else { return };
        // As long as bad rows are worth words, they are told by a decoder that knows whose they are.
        let has_room =
            || members.first().is_some_and(|first| (self.decoders.bad_rows)(&first.path, first.offset).room() > 0);
        let is_odd = |outcome: &Outcome| outcome.failed || (outcome.stats.bad_rows.value() > 0 && has_room());
        match task.take().filter(|outcome| !is_odd(outcome)) {
            Some(outcome) => {
                self.stats.merge(&outcome.stats);
                self.ready.extend(outcome.records);
            }
            None => self.in_place.extend(members),
        }
    }
}

/// What a content of so many bytes counts that begins with `head`.
fn weight(bytes: usize, head: &[u8]) -> usize {
    if Compression::detect(head) == Compression::None { bytes } else { bytes.saturating_mul(COMPRESSED_WEIGHT) }
}

impl Outcome {
    fn of(members: &[SmallMember], decoders: &Decoders) -> Self {
        let stats = Arc::<Stats>::default();
        let (mut records, mut made) = (Vec::new(), Made::default());
        let read = members.iter().try_for_each(|member| {
            let bad_rows = BadRows::counted(Arc::clone(&stats));
            let decoder = Decoder { records: (decoders.make)(bad_rows.clone())?, bad_rows };
            let mut decoding = member.decoding(decoder, &stats);
            made.take_all(|| decoding.next_records(), |made| records.push((Arc::clone(&member.header), made)))
        });
        let counted = Stats::default();
        counted.merge(&stats);
        match read.map(|()| merged(records, decoders.batch_size)) {
            Ok(Ok(records)) => Self { records, stats: counted, failed: false },
            _ => Self { records: Vec::new(), stats: counted, failed: true },
        }
    }
}

impl SmallMember {
    pub(super) fn new(member: &Member, header: &Arc<Header>, content: Bytes) -> Self {
        let (path, offset) = (member.path_lossy().into_owned(), member.offset);
        Self { header: Arc::clone(header), path, offset, content }
    }

    /// Its content, for `decoder`, without anybody's help.
    fn decoding(&self, decoder: Decoder, stats: &Arc<Stats>) -> Decoding {
        let mut decoding = Decoding::new(decoder, &Crew::alone(), stats, &Allowance::unlimited());
        decoding.push(Bytes::clone(&self.content));
        decoding.end();
        decoding
    }

    fn locate(&self, error: Error) -> Error {
        error.in_member(self.path.as_str()).at(self.offset)
    }
}
