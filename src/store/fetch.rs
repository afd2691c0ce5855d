//! Reading one object from its begin to its end, with hops: the only way in which archives' bytes come in.
//!
//! [`ObjectReader`] asks for bounded ranges, several at a time, each read at full speed inside a task of its own, so
//! that a slow consumer never holds a response open. Every range carries the object's ETag and resumes at the byte where
//! it broke off. How far it reads ahead grows with every piece that is taken, and starts small again after a hop: a
//! `LIMIT 5` or a listing of headers fetches little. Dropping the reader cancels everything.
//!
//! A web server that can't serve ranges, or does not know how long the object is, is read in one go instead; hops are
//! then read and dropped, and a body that breaks off can't be resumed.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use self::range::Object;
use self::sequence::Sequence;
use super::fault::{RetryFailure, describe, fault};
use super::http::UNKNOWN_SIZE;
use super::retry::RetryPolicy;
use crate::error::{Error, ErrorKind, Result};
use crate::locator::redacted;
use crate::memory::{Allowance, Reservation, accounted};
use crate::stats::Stats;

mod range;
mod sequence;
#[cfg(test)]
mod tests;

/// How much more is read ahead with every piece that is taken: from one small range to the whole window in four steps.
const WINDOW_GROWTH: u64 = 4;

/// Requests under way once the window is open; one connection alone seldom fills the line.
const REQUESTS_AHEAD: u64 = 4;

/// Bytes that all readers of a scan together may have under way or waiting.
const PREFETCH_BYTES_ALL: u64 = 128 << 20;

/// What each of them may have at least, or it would wait for every range.
const PREFETCH_BYTES_MIN: u64 = 2 << 20;

/// Part of a limited memory that all readers of a scan together may read ahead into.
const PREFETCH_SHARE: u64 = 4;

/// What a range shrinks to where memory is scarce, before it is taken anyway: without it nothing goes on.
const RANGE_BYTES_MIN: u64 = 64 << 10;

/// The object to read.
#[derive(Clone)]
pub(crate) struct FetchTarget {
    /// Where it is.
    pub store: Arc<dyn ObjectStore>,
    /// Its key.
    pub location: Path,
    /// Its URL, for errors.
    pub url: String,
    /// Its length in bytes, where it is known.
    pub size: Option<u64>,
    /// Its ETag, where it is known: what the listing said.
    pub e_tag: Option<String>,
    /// Its version, where one is asked for.
    pub version: Option<String>,
}

/// How to read it.
#[derive(Debug, Clone)]
pub(crate) struct FetchSettings {
    /// Size of the first range.
    pub first_range_bytes: u64,
    /// Size of the first range after a hop: enough for the header of a member.
    pub hop_range_bytes: u64,
    /// The largest range.
    pub range_bytes: u64,
    /// Bytes that may be under way or waiting to be taken.
    pub prefetch_bytes: u64,
    /// A skip of fewer bytes is read through, since a request of its own would take longer.
    pub hop_bytes_min: u64,
    /// How often and how long a range is repeated.
    pub retry: RetryPolicy,
    /// Where requests run; by default on the runtime that reads.
    pub runtime: Option<Handle>,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            first_range_bytes: 256 << 10,
            hop_range_bytes: 64 << 10,
            range_bytes: 8 << 20,
            prefetch_bytes: 32 << 20,
            hop_bytes_min: 1 << 20,
            retry: RetryPolicy::default(),
            runtime: None,
        }
    }
}

impl FetchSettings {
    /// Narrows the window so that `readers` of them at once stay within a bound.
    pub(crate) fn share_between(&mut self, readers: usize) {
        let share = PREFETCH_BYTES_ALL / (readers.max(1) as u64);
        self.prefetch_bytes = self.prefetch_bytes.min(share.max(PREFETCH_BYTES_MIN));
    }

    /// For files, where a hop costs next to nothing.
    pub(crate) fn local() -> Self {
        Self { hop_bytes_min: 64 << 10, prefetch_bytes: 16 << 20, ..Self::default() }
    }
}

/// Reads one object in order. Not a `Stream`, since a consumer may [`skip`](Self::skip).
pub(crate) struct ObjectReader {
    object: Arc<Object>,
    source: Source,
    /// Of the next byte that is returned.
    position: u64,
    allowance: Allowance,
}

/// Where pieces come from.
enum Source {
    Ranges(Window),
    Sequence(Sequence),
    /// After an error nothing follows: a gap must not look like an end.
    Failed,
}

impl ObjectReader {
    /// A reader at the begin of the object. The first request is sent by the first [`next`](Self::next).
    pub(crate) fn new(mut target: FetchTarget, mut settings: FetchSettings, stats: Arc<Stats>) -> Self {
        for bytes in [&mut settings.range_bytes, &mut settings.prefetch_bytes, &mut settings.first_range_bytes] {
            *bytes = (*bytes).max(1);
        }
        target.size = target.size.filter(|size| *size != UNKNOWN_SIZE);
        let window = Window::new(target.size, &settings, Allowance::unlimited());
        let object = Arc::new(Object::new(target, settings, stats));
        Self { object, source: Source::Ranges(window), position: 0, allowance: Allowance::unlimited() }
    }

    /// A reader that holds no more than `allowance` lets it. What it reads is accounted until its last slice is gone.
    pub(crate) fn within(
        allowance: Allowance,
        target: FetchTarget,
        mut settings: FetchSettings,
        stats: Arc<Stats>,
    ) -> Self {
        let least = settings.first_range_bytes;
        settings.prefetch_bytes = allowance.share(PREFETCH_SHARE, least, settings.prefetch_bytes);
        let mut reader = Self::new(target, settings, stats);
        if let Source::Ranges(window) = &mut reader.source {
            window.allowance = allowance.clone();
        }
        Self { allowance, ..reader }
    }

    /// What it takes memory from.
    pub(crate) fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// Offset of the next byte that [`next`](Self::next) returns. A skip past the end is not noticed before that.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Length of the object, where it is known.
    pub(crate) fn size(&self) -> Option<u64> {
        self.object.target.size
    }

    /// Leaves out the next `n` bytes. What is already under way for them is cancelled or read through, by
    /// [`next`](Self::next), whichever is cheaper.
    pub(crate) fn skip(&mut self, n: u64) {
        self.position = self.position.saturating_add(n);
    }

    /// The next piece, without copying: what one range brought, less what was skipped. `None` at the end, and then
    /// [`position`](Self::position) is the object's length even if a skip went past it.
    ///
    /// It may be dropped while it waits, and called again.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        let started = Instant::now();
        let piece = self.next_piece().await;
        self.object.stats.fetch_wait_nanos.add_elapsed(started);
        if piece.is_err() {
            self.source = Source::Failed;
        }
        piece
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>> {
        loop {
            let piece = match &mut self.source {
                Source::Ranges(window) => match window.next(&self.object, self.position).await {
                    Ok(piece) => piece,
                    Err(failure) if !window.is_answered && range::no_ranges(&failure.error) => {
                        self.source = Source::Sequence(Sequence::start(Arc::clone(&self.object), &self.allowance));
                        continue;
                    }
                    Err(failure) => return Err(describe(&failure, &self.object.target.url)),
                },
                Source::Sequence(sequence) => sequence.next().await?,
                Source::Failed => {
                    let message = "the read was given up after an error";
                    return Err(
                        Error::new(ErrorKind::Unreachable, message).in_archive(redacted(&self.object.target.url))
                    );
                }
            };
            let (start, mut bytes) = match piece {
                Piece::Bytes { start, bytes } => (start, bytes),
                Piece::End { size } => {
                    self.position = self.position.min(size);
                    return Ok(None);
                }
            };
            match usize::try_from(self.position.saturating_sub(start)) {
                Ok(skipped) if skipped < bytes.len() => {
                    let piece = bytes.split_off(skipped);
                    self.position += len_of(&piece);
                    return Ok(Some(piece));
                }
                // All of it was skipped.
                _ => {}
            }
        }
    }
}

/// What a source gives next.
enum Piece {
    Bytes { start: u64, bytes: Bytes },
    End { size: u64 },
}

/// Lengths of slices fit 64 bits on every platform that there is.
fn len_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("usize has at most 64 bits")
}

/// Ranges under way, in order and without gaps between them.
struct Window {
    /// Known from the begin, or from the first response.
    size: Option<u64>,
    ahead: VecDeque<Fetch>,
    /// Where the next request begins.
    next_start: u64,
    /// End of the last piece that was given out, or where a hop went: skips are measured from here.
    given: u64,
    /// How many bytes may be under way now.
    window_bytes: u64,
    /// A range was answered, so the server has ranges.
    is_answered: bool,
    /// Nothing is read ahead before a second piece is asked for: the first may be all that is wanted.
    is_cold: bool,
    allowance: Allowance,
}

/// One range under way. Dropping it cancels the request.
struct Fetch {
    range: Range<u64>,
    arrived: Arc<AtomicU64>,
    task: JoinHandle<Result<Bytes, RetryFailure>>,
    memory: Reservation,
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fetch {
    fn arrived_to(&self) -> u64 {
        self.range.start + self.arrived.load(Ordering::Relaxed)
    }
}

impl Window {
    fn new(size: Option<u64>, settings: &FetchSettings, allowance: Allowance) -> Self {
        Self {
            size,
            ahead: VecDeque::new(),
            next_start: 0,
            given: 0,
            window_bytes: settings.first_range_bytes.min(settings.prefetch_bytes),
            is_answered: false,
            is_cold: true,
            allowance,
        }
    }

    /// The piece at `position`, or one before it that the reader has to drop.
    async fn next(&mut self, object: &Arc<Object>, position: u64) -> Result<Piece, RetryFailure> {
        if position.saturating_sub(self.given) >= object.settings.hop_bytes_min && self.size.is_some() {
            self.hop_to(object, position);
        }
        self.fill(object);
        let Some(front) = self.ahead.front_mut() else {
            return Ok(Piece::End { size: self.size.unwrap_or(0) });
        };
        let fetched = match (&mut front.task).await {
            Ok(fetched) => fetched,
            Err(error) => Err(RetryFailure { error: error.into(), attempts: 1, elapsed: Default::default() }),
        };
        let (range, memory) = (front.range.clone(), std::mem::take(&mut front.memory));
        self.ahead.pop_front();
        let bytes = accounted(fetched?, memory);
        self.is_answered = true;
        if self.size.is_none() {
            // The first range of an object of unknown length may be the whole object.
            self.size = object.size();
            self.next_start = range.start + len_of(&bytes);
        }
        self.given = range.start + len_of(&bytes);
        self.window_bytes = (self.window_bytes.saturating_mul(WINDOW_GROWTH)).min(object.settings.prefetch_bytes);
        if !std::mem::take(&mut self.is_cold) {
            self.fill(object);
        }
        Ok(Piece::Bytes { start: range.start, bytes })
    }

    /// Sends requests until the window is full.
    fn fill(&mut self, object: &Arc<Object>) {
        let settings = &object.settings;
        // Without a size there is nothing to ask for behind the first range, however short it had to be.
        let end = self.size.unwrap_or(settings.first_range_bytes);
        while self.next_start < end && (self.size.is_some() || self.ahead.is_empty()) {
            let start = self.next_start;
            let smallest = self.window_bytes.min(settings.first_range_bytes);
            let len = (self.window_bytes / REQUESTS_AHEAD).clamp(smallest, settings.range_bytes.max(smallest));
            let len = len.min(settings.range_bytes).clamp(1, end - start);
            let under_way = self.ahead.front().map_or(0, |front| start - front.range.start);
            if under_way > 0 && under_way + len > self.window_bytes {
                return;
            }
            let Some((len, memory)) = self.reserve(len) else { return };
            let (range, arrived) = (start..start + len, Arc::new(AtomicU64::new(0)));
            let fetch = Arc::clone(object).fetch(range.clone(), Arc::clone(&arrived));
            self.ahead.push_back(Fetch { range, arrived, task: object.spawn(fetch), memory });
            self.next_start = start + len;
        }
    }

    /// Memory for a range of `len` bytes, or of fewer where there is less; `None` where others are under way already.
    fn reserve(&self, mut len: u64) -> Option<(u64, Reservation)> {
        let mut memory = self.allowance.reservation();
        while !memory.try_soft(len) {
            if !self.ahead.is_empty() {
                return None;
            }
            if len <= RANGE_BYTES_MIN {
                memory.force(len);
                break;
            }
            len = (len / 2).max(RANGE_BYTES_MIN);
        }
        Some((len, memory))
    }

    /// Goes on at `target`, keeping what is under way there and dropping what is before it.
    fn hop_to(&mut self, object: &Object, target: u64) {
        let settings = &object.settings;
        let target = target.min(self.size.unwrap_or(target));
        let mut hopped = target.saturating_sub(self.next_start);
        while self.ahead.front().is_some_and(|front| front.range.end <= target) {
            hopped += self.ahead.pop_front().map_or(0, |fetch| fetch.range.end - fetch.arrived_to());
        }
        if let Some(front) = self.ahead.front() {
            let is_near = front.arrived_to().saturating_add(settings.hop_bytes_min) >= target;
            if !is_near {
                hopped += target - front.arrived_to();
                self.ahead.clear();
                self.next_start = target;
            }
        } else {
            self.next_start = target;
        }
        object.stats.bytes_hopped.add(hopped);
        self.given = target;
        self.window_bytes = settings.hop_range_bytes.min(settings.prefetch_bytes);
        self.is_cold = true;
    }
}
