//! [`Line`]: what the way to a store is like, as its answers tell, and how much to ask for at once because of it.
//!
//! All readers of a scan share one. The rule: a range is at least as long as [`BODY_LATENCIES`] times what one connection brings
//! while an answer is waited for, so that waiting is a small part of reading; a skip of less than that is read
//! through; and there are as many requests under way as fill [`LINE_BYTES_PER_SEC`] at what one of them was seen to
//! bring, but few where answers come at once. Where they are few, ranges are longer, and longest for a reader that is alone and
//! waits. On a loopback that is three ranges of 32 MiB for such a reader, and four of 8 MiB for two that have enough to do; at 50 ms
//! and 25 MB/s it is some thirty of four.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::FetchSettings;

/// A body lasts so many times as long as its request waits for it.
const BODY_LATENCIES: u64 = 4;

/// What a machine's line carries: 10 Gbit/s. More connections than fill it are of no use.
const LINE_BYTES_PER_SEC: u64 = 1 << 30;

/// Requests under way once the window is open, however fast one is: while one is read, others come.
const REQUESTS_MIN: u64 = 4;

/// The same for a reader that is alone and waits: fewer and longer ones are sooner there.
const REQUESTS_MIN_WAITING: u64 = 3;

/// Beyond that servers answer that they are busy.
const REQUESTS_MAX: u64 = 32;

/// For each millisecond that an answer takes at least, one more request suits. Where answers come at once, connections are slow since
/// they share a disk or a processor, and more of them only get in each other's way.
const NANOS_PER_REQUEST: u64 = 1_000_000;

/// Where there are many readers, each has at least one request under way beside the one that it waits for.
pub(super) const REQUESTS_READER_MIN: u64 = 2;

/// Smaller ranges cost more to ask for than they save.
const RANGE_BYTES_MIN: u64 = 2 << 20;

/// Ranges may be so long however many requests are under way.
const RANGE_BYTES_ANYWAY: u64 = 8 << 20;

/// Longer ones save nothing: for ranges of 32 MiB a SeaweedFS takes no more of a processor than for whole objects, for 16 MiB a tenth more,
/// for 8 MiB a quarter, for 2 MiB three times as much.
pub(super) const RANGE_BYTES_MAX: u64 = 32 << 20;

/// Smaller skips aren't worth a request of their own, not even of a file.
const HOP_BYTES_MIN: u64 = 64 << 10;

/// Bytes that all readers together may have under way or waiting where the network is fast.
const READ_AHEAD_BYTES: u64 = 64 << 20;

/// The same for a reader that is alone and waits.
const READ_AHEAD_BYTES_WAITING: u64 = 96 << 20;

/// The same where latency times bandwidth wants more.
pub(super) const READ_AHEAD_BYTES_MAX: u64 = 128 << 20;

/// What each of them may have at least, or it would wait for every range.
const READER_BYTES_MIN: u64 = 2 << 20;

/// Shorter bodies come out of buffers on the way, and don't tell how fast it is.
const RATE_BYTES_MIN: u64 = 256 << 10;

/// Part of the way that an estimate moves towards a worse sample; half of it towards a better one.
const RARELY: u64 = 32;

/// All pieces: how many of them were waited for is told as a part of this.
const ALL_PIECES: u64 = 1 << 10;

/// Part of the way that one piece moves that.
const PER_PIECE: u64 = 8;

/// How much to ask for, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// The largest range.
    pub(super) range_bytes: u64,
    /// What one reader may have under way or waiting.
    pub(super) window_bytes: u64,
    /// A skip of fewer bytes is read through.
    pub(super) hop_bytes_min: u64,
}

/// The way to a store, shared by the readers of a scan.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// From a request to its answer; 0 before the first one.
    latency_nanos: AtomicU64,
    /// What one request brought, its latency included; 0 before the first one.
    bytes_per_sec: AtomicU64,
    readers: AtomicU64,
    /// The shortest time from a request to its answer; 0 before the first one.
    quickest_nanos: AtomicU64,
    /// Pieces that readers waited for of late, in parts of [`ALL_PIECES`].
    waited: AtomicU64,
}

/// A reader's place on the line.
#[derive(Debug)]
pub(super) struct Seat(Arc<Line>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Line {
    /// A place for one more reader.
    pub(super) fn sit(self: &Arc<Self>) -> Seat {
        self.readers.fetch_add(1, Ordering::Relaxed);
        Seat(Arc::clone(self))
    }

    /// Notes how long a request waited for its answer. A long wait may be for a core of this machine or of the server, a
    /// short one is never by chance: it counts for more.
    pub(super) fn answered(&self, after: Duration) {
        let (nanos, before) = (nanos(after), self.latency_nanos.load(Ordering::Relaxed));
        let quickest = self.quickest_nanos.load(Ordering::Relaxed);
        if !(1..=nanos).contains(&quickest) {
            self.quickest_nanos.store(nanos, Ordering::Relaxed);
        }
        let smoothed = match before {
            0 => nanos,
            _ if nanos < before => before - (before - nanos) / 2,
            _ => before + (nanos - before) / RARELY,
        };
        // Of two at the same time one is lost, and there will be more.
        self.latency_nanos.store(smoothed, Ordering::Relaxed);
    }

    /// Notes that a whole request brought `bytes`. Here fast ones count for more.
    pub(super) fn brought(&self, bytes: u64, after: Duration) {
        if bytes < RATE_BYTES_MIN {
            return;
        }
        let (rate, before) = (per_sec(bytes, nanos(after)), self.bytes_per_sec.load(Ordering::Relaxed));
        let smoothed = match before {
            0 => rate,
            _ if rate > before => before + (rate - before) / 2,
            _ => before - (before - rate) / RARELY,
        };
        self.bytes_per_sec.store(smoothed.max(1), Ordering::Relaxed);
    }

    /// Notes whether a piece was waited for.
    pub(super) fn took(&self, has_waited: bool) {
        let before = self.waited.load(Ordering::Relaxed);
        let waited = if has_waited { before + (ALL_PIECES - before) / PER_PIECE } else { before - before / PER_PIECE };
        self.waited.store(waited, Ordering::Relaxed);
    }

    /// What suits the line now; never more than `settings` say, and what they say where nothing is known yet.
    pub(super) fn sizes(&self, settings: &FetchSettings) -> Sizes {
        let latency_nanos = self.latency_nanos.load(Ordering::Relaxed);
        let bytes_per_sec = self.bytes_per_sec.load(Ordering::Relaxed);
        let readers = self.readers.load(Ordering::Relaxed).max(1);
        let is_waiting = self.waited.load(Ordering::Relaxed) > ALL_PIECES / 2;
        let (requests_min, read_ahead_bytes) = match readers {
            1 if is_waiting => (REQUESTS_MIN_WAITING, READ_AHEAD_BYTES_WAITING),
            _ => (REQUESTS_MIN, READ_AHEAD_BYTES),
        };
        let (reach, requests) = match (latency_nanos, bytes_per_sec) {
            (0, _) | (_, 0) => (settings.hop_bytes_min, requests_min),
            _ => {
                let bytes = u128::from(bytes_per_sec) * u128::from(BODY_LATENCIES * latency_nanos) / NANOS_PER_SEC;
                let reach = u64::try_from(bytes).unwrap_or(u64::MAX);
                let requests_max = requests_min + self.quickest_nanos.load(Ordering::Relaxed) / NANOS_PER_REQUEST;
                (reach, (LINE_BYTES_PER_SEC / bytes_per_sec).clamp(requests_min, requests_max.min(REQUESTS_MAX)))
            }
        };
        // Long ranges cost servers least. Where many requests suit, there is no room for as many long ones.
        let roomy = read_ahead_bytes / (requests * readers);
        let range_bytes_max = roomy.max(RANGE_BYTES_ANYWAY).min(settings.range_bytes);
        let range_bytes = reach.max(roomy).max(RANGE_BYTES_MIN).min(range_bytes_max);
        let all = requests.saturating_mul(range_bytes).clamp(read_ahead_bytes, READ_AHEAD_BYTES_MAX);
        let requests = if readers == 1 { requests } else { (requests / readers).max(REQUESTS_READER_MIN) };
        let share = (all / readers).max(READER_BYTES_MIN).min(requests.saturating_mul(range_bytes));
        // Reading through more than may be under way takes several answers, one after the other; a hop takes one.
        let hop_bytes_most = range_bytes_max.min(settings.prefetch_bytes).max(HOP_BYTES_MIN);
        Sizes {
            range_bytes,
            window_bytes: share.min(settings.prefetch_bytes),
            hop_bytes_min: reach.clamp(HOP_BYTES_MIN, hop_bytes_most),
        }
    }
}

const NANOS_PER_SEC: u128 = 1_000_000_000;

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1)
}

fn per_sec(bytes: u64, nanos: u64) -> u64 {
    u64::try_from(u128::from(bytes) * NANOS_PER_SEC / u128::from(nanos)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// What readers settle at on a line of so many microseconds of latency and bytes a second for each connection.
    fn settled(latency_micros: u64, bytes_per_sec: u64, readers: usize) -> Sizes {
        let (line, settings) = (Arc::new(Line::default()), FetchSettings::measured());
        let _seats: Vec<Seat> = (0..readers).map(|_| line.sit()).collect();
        let latency = Duration::from_micros(latency_micros);
        let mut range_bytes = settings.first_range_bytes;
        for _ in 0..1_000 {
            line.answered(latency);
            let body = Duration::from_nanos(range_bytes * 1_000_000_000 / bytes_per_sec);
            line.brought(range_bytes, latency + body);
            range_bytes = line.sizes(&settings).range_bytes;
        }
        line.sizes(&settings)
    }

    #[test]
    fn ranges_and_requests_suit_the_line() {
        // Microseconds, bytes a second and connection, readers: range and window.
        for (latency, rate, readers, want) in [
            // A file, and a loopback.
            (20, 8 << 30, 1, (16 * MIB, 64 * MIB)),
            (500, 1 << 30, 1, (16 * MIB, 64 * MIB)),
            (500, 1 << 30, 2, (8 * MIB, 16 * MIB)),
            (500, 1 << 30, 16, (2 * MIB, 4 * MIB)),
            // Slow connections, of which many are needed.
            (50_000, 26_214_400, 1, (3_932_000, 125_800_000)),
            (50_000, 26_214_400, 8, (3_932_000, 15_728_000)),
            // A bucket in the same region, and one far away.
            (20_000, 90 << 20, 1, (5_662_000, 84_934_000)),
            (150_000, 30 << 20, 1, (8 * MIB, 128 * MIB)),
            (150_000, 30 << 20, 16, (8 * MIB, 8 * MIB)),
            // A disk or a processor that all connections share.
            (1_000, 100 << 20, 1, (13_421_000, 64 * MIB)),
            (3_000, 100 << 20, 2, (4_793_000, 14_380_000)),
            // A telephone.
            (100_000, 1 << 20, 1, (2 * MIB, 64 * MIB)),
        ] {
            let sizes = settled(latency, rate, readers);
            let about = |is: u64, want: u64| is.abs_diff(want) <= want / 50;
            let (range_bytes, window_bytes) = want;
            assert!(
                about(sizes.range_bytes, range_bytes) && about(sizes.window_bytes, window_bytes),
                "{latency} {rate} {readers}: {sizes:?}"
            );
        }
    }

    #[test]
    fn a_reader_that_is_alone_and_waits_gets_longer_ranges() {
        let (line, settings) = (Arc::new(Line::default()), FetchSettings::measured());
        line.answered(Duration::from_micros(500));
        line.brought(8 << 20, Duration::from_millis(8));
        let sizes = || line.sizes(&settings);
        let seat = line.sit();
        assert_eq!((sizes().range_bytes, sizes().window_bytes), (16 * MIB, 64 * MIB));
        (0..10).for_each(|_| line.took(true));
        assert_eq!((sizes().range_bytes, sizes().window_bytes), (32 * MIB, 96 * MIB));
        let other = line.sit();
        assert_eq!((sizes().range_bytes, sizes().window_bytes), (8 * MIB, 16 * MIB));
        drop(other);
        (0..10).for_each(|_| line.took(false));
        assert_eq!((sizes().range_bytes, sizes().window_bytes), (16 * MIB, 64 * MIB));
        drop(seat);
    }

    #[test]
    fn small_skips_are_read_through_where_answers_take_long() {
        for (latency, rate, want) in [(5, 8 << 30, 168_000), (500, 1 << 30, 2_081_000), (50_000, 26_214_400, 3_932_000)]
        {
            let sizes = settled(latency, rate, 1);
            assert!(sizes.hop_bytes_min.abs_diff(want) <= want / 10, "{latency}: {sizes:?}");
        }
    }

    #[test]
    fn no_more_is_read_through_than_may_be_under_way() {
        for (prefetch_bytes, want) in [(128 * MIB, 8 * MIB), (MIB, MIB), (300 << 10, 300 << 10), (1, HOP_BYTES_MIN)] {
            let (line, settings) = (Line::default(), FetchSettings { prefetch_bytes, ..FetchSettings::measured() });
            for _ in 0..2 {
                let known = line.sizes(&settings);
                assert!(known.hop_bytes_min <= want, "{prefetch_bytes}: {known:?}");
                line.answered(Duration::from_millis(150));
                line.brought(8 << 20, Duration::from_millis(400));
            }
            assert_eq!(line.sizes(&settings).hop_bytes_min, want, "{prefetch_bytes}");
        }
    }

    /// Every third request has to wait for a core, 20 ms each time.
    #[test]
    fn a_busy_machine_is_no_slow_line() {
        let (line, settings) = (Arc::new(Line::default()), FetchSettings::measured());
        for request in 0..1_000 {
            let busy = Duration::from_millis(if request % 3 == 0 { 20 } else { 0 });
            let answer = Duration::from_micros(300) + busy;
            line.answered(answer);
            line.brought(1 << 20, answer + Duration::from_millis(1) + busy);
        }
        let sizes = line.sizes(&settings);
        assert!(sizes.window_bytes / sizes.range_bytes <= 6 && sizes.window_bytes <= 64 * MIB, "{sizes:?}");
    }

    #[test]
    fn nothing_is_known_before_the_first_answer() {
        let (line, settings) = (Line::default(), FetchSettings::measured());
        let sizes = line.sizes(&settings);
        assert_eq!((sizes.range_bytes, sizes.hop_bytes_min), (16 * MIB, settings.hop_bytes_min));
        // Headers alone don't tell how fast bodies come.
        line.answered(Duration::from_millis(50));
        line.brought(16 << 10, Duration::from_millis(50));
        assert_eq!(line.sizes(&settings), sizes);
    }

    #[test]
    fn a_reader_that_leaves_gives_its_share_to_the_others() {
        let (line, settings) = (Arc::new(Line::default()), FetchSettings::measured());
        for _ in 0..200 {
            line.answered(Duration::from_millis(150));
            line.brought(8 << 20, Duration::from_millis(400));
        }
        let windows: Vec<u64> = (0..4)
            .scan(Vec::new(), |seats, _| {
                seats.push(line.sit());
                Some(line.sizes(&settings).window_bytes)
            })
            .collect();
        assert_eq!(windows, [128 * MIB, 64 * MIB, 42 * MIB + 699_050, 32 * MIB].map(|bytes| bytes.min(128 * MIB)));
        assert_eq!(line.sizes(&settings).window_bytes, 128 * MIB);
    }
}
