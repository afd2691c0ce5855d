//! Reading one object from its begin to its end, with hops: the only way in which archives' bytes come in.
//!
//! [`ObjectReader`] asks for bounded ranges, several at a time, each read at full speed inside a task of its own, so
//! that a slow consumer never holds a response open. Every range carries the object's ETag and resumes at the byte where
//! it broke off. How far it reads ahead grows with every piece that is waited for, and starts small again after a hop
//! ([`window`]): a `LIMIT 5` or a listing of headers fetches little. How large ranges get, how many are under way, and
//! what is worth a hop follows from latency and bandwidth as they are measured ([`line`]). Dropping the reader cancels
//! everything.
//!
//! A web server that can't serve ranges, or does not know how long the object is, is read in one go instead; hops are
//! then read and dropped, and a body that breaks off can't be resumed.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::runtime::Handle;

use self::line::{Line, RANGE_BYTES_MAX, READ_AHEAD_BYTES_MAX, Sizes};
use self::range::Object;
use self::sequence::Sequence;
use self::window::Window;
use super::fault::{RetryFailure, describe, fault};
use super::http::UNKNOWN_SIZE;
use super::retry::RetryPolicy;
use crate::error::{Error, ErrorKind, Result};
use crate::locator::redacted;
use crate::memory::{Allowance, Spare};
use crate::stats::Stats;

mod line;
mod range;
mod sequence;
#[cfg(test)]
mod tests;
mod window;

/// Part of a limited memory that all readers of a scan together may read ahead into.
const PREFETCH_SHARE: u64 = 4;

/// What a range shrinks to where memory is scarce, before it is taken anyway: without it nothing goes on.
const RANGE_BYTES_MIN: u64 = 64 << 10;

/// The largest range of a local file: smaller pieces cost nothing there, and stay close to the processor.
const FILE_RANGE_BYTES: u64 = 2 << 20;

/// Buffers of ranges that wait for the next ones. Few do: as soon as one is taken, another one is asked for.
const SPARE_RANGES_MAX: usize = 4;

/// Those of shorter ranges, which only readers begin with, aren't kept.
const SPARE_RANGE_BYTES_MIN: usize = 1 << 20;

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
    /// What the line is like, shared by all readers of a scan: ranges, window and hops follow it, within the bounds above.
    /// Without it they are as large as the bounds say.
    pub line: Option<Arc<Line>>,
    /// Where the buffers of ranges come from and go to; without it, or where memory has a limit, each is a new one.
    pub spare: Option<Spare>,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            first_range_bytes: 256 << 10,
            hop_range_bytes: 16 << 10,
            range_bytes: 8 << 20,
            prefetch_bytes: 32 << 20,
            hop_bytes_min: 1 << 20,
            retry: RetryPolicy::default(),
            runtime: None,
            line: None,
            spare: None,
        }
    }
}

impl FetchSettings {
    /// For the readers of one scan, which measure the line that they share.
    pub(crate) fn measured() -> Self {
        Self {
            range_bytes: RANGE_BYTES_MAX,
            prefetch_bytes: READ_AHEAD_BYTES_MAX,
            line: Some(Arc::default()),
            spare: Some(Spare::of(SPARE_RANGES_MAX, SPARE_RANGE_BYTES_MIN)),
            ..Self::default()
        }
    }

    /// How much to ask for now.
    fn sizes(&self) -> Sizes {
        match &self.line {
            Some(line) => line.sizes(self),
            None => Sizes {
                range_bytes: self.range_bytes,
                window_bytes: self.prefetch_bytes,
                hop_bytes_min: self.hop_bytes_min,
            },
        }
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
    /// A reader at the begin of the object, which holds no more than `allowance` lets it: what it reads is accounted until
    /// its last slice is gone. The first request is sent by the first [`next`](Self::next).
    pub(crate) fn new(
        mut target: FetchTarget,
        mut settings: FetchSettings,
        allowance: Allowance,
        stats: Arc<Stats>,
    ) -> Self {
        settings.prefetch_bytes = allowance.share(PREFETCH_SHARE, settings.first_range_bytes, settings.prefetch_bytes);
        if target.url.starts_with("file:") {
            settings.range_bytes = settings.range_bytes.min(FILE_RANGE_BYTES);
        }
        settings.spare = settings.spare.filter(|_| !allowance.is_limited());
        for bytes in [&mut settings.range_bytes, &mut settings.prefetch_bytes, &mut settings.first_range_bytes] {
            *bytes = (*bytes).max(1);
        }
        target.size = target.size.filter(|size| *size != UNKNOWN_SIZE);
        let window = Window::new(target.size, &settings, allowance.clone());
        let object = Arc::new(Object::new(target, settings, stats));
        Self { object, source: Source::Ranges(window), position: 0, allowance }
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

    /// Says that the next `n` bytes will be asked for: they are fetched at once, and what is behind them with restraint.
    pub(crate) fn want(&mut self, n: u64) {
        if let Source::Ranges(window) = &mut self.source {
            let next_header = self.object.settings.hop_range_bytes;
            window.want_to(self.position.saturating_add(n).saturating_add(next_header));
        }
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
        let _wait = Wait { started: Instant::now(), stats: Arc::clone(&self.object.stats) };
        let piece = self.next_piece().await;
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
                    self.object.stats.bytes_read.add(len_of(&piece));
                    return Ok(Some(piece));
                }
                // All of it was skipped.
                _ => {}
            }
        }
    }
}

/// A wait for bytes; it counts wherever it ends, since whoever has something else to do drops it in the middle.
struct Wait {
    started: Instant,
    stats: Arc<Stats>,
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.stats.fetch_wait_nanos.add_elapsed(self.started);
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
