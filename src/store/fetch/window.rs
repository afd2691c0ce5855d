//! [`Window`]: the ranges of one object that are under way, in order and without gaps between them.
//!
//! It opens by steps: from one small range to all that suits the line, whenever its reader had to wait for what it took.
//! A hop makes it small again. What the reader says that it wants for sure is asked for at once, however small the
//! window is; behind that, once there was a hop, only the small window reads on.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::line::{REQUESTS_READER_MIN, Seat, Sizes};
use super::range::Object;
use super::{FetchSettings, Piece, RANGE_BYTES_MIN, RetryFailure, len_of};
use crate::memory::{Allowance, Reservation, accounted};

/// How much wider the window gets with every piece that was waited for: it is open after four steps.
const WINDOW_GROWTH: u64 = 4;

/// Objects are most often uploaded in parts of so many bytes, and servers keep them so: a range that cuts two parts costs them
/// two reads, and some read whole parts only.
const PART_BYTES: u64 = 8 << 20;

/// Shorter ranges aren't cut: they are what a hop asks for, and nobody may go on behind them.
const CUT_BYTES_MIN: u64 = 1 << 20;

/// Ranges under way.
pub(super) struct Window {
    /// Known from the begin, or from the first response.
    pub(super) size: Option<u64>,
    ahead: VecDeque<Fetch>,
    /// Where the next request begins.
    next_start: u64,
    /// End of the last piece that was given out, or where a hop went: skips are measured from here.
    given: u64,
    /// How many bytes may be under way now.
    window_bytes: u64,
    /// As much at most.
    window_bytes_max: u64,
    /// Up to here everything is wanted for sure.
    wanted_to: u64,
    /// A range was answered, so the server has ranges.
    pub(super) is_answered: bool,
    /// Nothing is read ahead before a second piece is asked for: the first may be all that is wanted.
    is_cold: bool,
    /// There was a hop: what lies behind what is wanted may be hopped over, too.
    is_selective: bool,
    /// Something was wanted since then.
    has_wanted: bool,
    allowance: Allowance,
    _seat: Option<Seat>,
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
    pub(super) fn new(size: Option<u64>, settings: &FetchSettings, allowance: Allowance) -> Self {
        Self {
            size,
            ahead: VecDeque::new(),
            next_start: 0,
            given: 0,
            window_bytes: settings.first_range_bytes.min(settings.prefetch_bytes),
            window_bytes_max: settings.prefetch_bytes,
            wanted_to: 0,
            is_answered: false,
            is_cold: true,
            is_selective: false,
            has_wanted: false,
            allowance,
            _seat: settings.line.as_ref().map(|line| line.sit()),
        }
    }

    /// Says that everything up to `end` will be asked for.
    pub(super) fn want_to(&mut self, end: u64) {
        if end <= self.wanted_to {
            return;
        }
        self.wanted_to = end;
        // One after the other is wanted: so, it seems, is what comes then.
        if std::mem::replace(&mut self.has_wanted, true) {
            self.open_wider();
        }
    }

    fn open_wider(&mut self) {
        self.window_bytes = self.window_bytes.saturating_mul(WINDOW_GROWTH).min(self.window_bytes_max);
    }

    /// The piece at `position`, or one before it that the reader has to drop.
    pub(super) async fn next(&mut self, object: &Arc<Object>, position: u64) -> Result<Piece, RetryFailure> {
        let sizes = object.sizes();
        if position.saturating_sub(self.given) >= sizes.hop_bytes_min && self.size.is_some() {
            self.hop_to(object, position, &sizes);
        }
        self.fill(object, &sizes);
        let Some(front) = self.ahead.front_mut() else {
            return Ok(Piece::End { size: self.size.unwrap_or(0) });
        };
        // Whoever finds everything in place needs no more of it than long ranges, which cost everybody least.
        let has_waited = !front.task.is_finished();
        let is_slow = object.settings.line.is_none() || has_waited;
        let is_short = self.window_bytes < REQUESTS_READER_MIN.saturating_mul(sizes.range_bytes);
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
        if let Some(line) = &object.settings.line {
            line.took(has_waited);
        }
        self.given = range.start + len_of(&bytes);
        if (is_slow || is_short) && !(self.is_selective && self.given <= self.wanted_to) {
            self.open_wider();
        }
        if !std::mem::take(&mut self.is_cold) {
            self.fill(object, &sizes);
        }
        Ok(Piece::Bytes { start: range.start, bytes })
    }

    /// Sends requests until the window is full.
    fn fill(&mut self, object: &Arc<Object>, sizes: &Sizes) {
        let first_range_bytes = object.settings.first_range_bytes;
        let opened = self.window_bytes.min(sizes.window_bytes);
        // Without a size there is nothing to ask for behind the first range, however short it had to be.
        let end = self.size.unwrap_or(first_range_bytes);
        while self.next_start < end && (self.size.is_some() || self.ahead.is_empty()) {
            let start = self.next_start;
            let wanted = self.wanted_to.saturating_sub(start);
            let (window, len_max) = if wanted > opened { (sizes.window_bytes, wanted) } else { (opened, u64::MAX) };
            let smallest = window.min(first_range_bytes);
            let len = (window / REQUESTS_READER_MIN).clamp(smallest, sizes.range_bytes.max(smallest));
            let len = up_to_part(start, len.min(sizes.range_bytes)).min(len_max).clamp(1, end - start);
            let under_way = self.ahead.front().map_or(0, |front| start - front.range.start);
            if under_way > 0 && under_way + len > window {
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
    fn hop_to(&mut self, object: &Object, target: u64, sizes: &Sizes) {
        let target = target.min(self.size.unwrap_or(target));
        let mut hopped = target.saturating_sub(self.next_start);
        while self.ahead.front().is_some_and(|front| front.range.end <= target) {
            hopped += self.ahead.pop_front().map_or(0, |fetch| fetch.range.end - fetch.arrived_to());
        }
        if let Some(front) = self.ahead.front() {
            let is_near = front.arrived_to().saturating_add(sizes.hop_bytes_min) >= target;
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
        self.window_bytes = object.settings.hop_range_bytes.min(self.window_bytes_max);
        (self.is_cold, self.is_selective, self.has_wanted) = (true, true, false);
    }
}

/// How long a range of `len` bytes is that doesn't go on from one part into the next.
fn up_to_part(start: u64, len: u64) -> u64 {
    let end = (start + len) / PART_BYTES * PART_BYTES;
    if len >= CUT_BYTES_MIN && end > start { end - start } else { len }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ranges_end_where_parts_do() {
        const MIB: u64 = 1 << 20;
        for (start, len, want) in [
            (0, 8 * MIB, 8 * MIB),
            (MIB / 4, 8 * MIB, 8 * MIB - MIB / 4),
            (8 * MIB, 16 * MIB, 16 * MIB),
            (3 * MIB, 16 * MIB, 13 * MIB),
            (5 * MIB, 2 * MIB, 2 * MIB),
            (7 * MIB, 2 * MIB, MIB),
            (8 * MIB - 10, 16 << 10, 16 << 10),
        ] {
            assert_eq!(up_to_part(start, len), want, "{len} from {start}");
        }
    }
}
