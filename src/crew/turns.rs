//! [`Turns`]: who may begin to read a large archive.
//!
//! An archive that is open holds what was read ahead of it, a decompressor and a batch, and more of them than there are
//! cores are no faster. So each waits for its turn. That is no promise to anybody, since a consumer may want the rows of
//! one partition before it takes those of another: who waits while nothing moves goes ahead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// An archive below that holds little, and most of the time that it takes it may be waiting for a server.
const LARGE_BYTES: u64 = 4 << 20;

/// How long nothing may move until somebody goes ahead. A batch takes a few milliseconds.
const STANDSTILL: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Turns {
    free: Arc<Semaphore>,
    /// Counts batches that were made, and bytes that came.
    moves: AtomicU64,
}

/// The permission to have an archive open. Dropping it lets the next one begin.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// Turns for as many archives at a time.
    pub(super) fn of(archives: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(archives)), moves: AtomicU64::new(0) }
    }

    /// Says that somebody who has an archive open gets on with it.
    pub(super) fn move_on(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until an archive of `bytes` may be opened.
    pub(super) async fn next(&self, bytes: Option<u64>) -> Turn {
        if bytes.is_some_and(|bytes| bytes < LARGE_BYTES) {
            return Turn::default();
        }
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Turn { _permit: Some(permit) };
        }
        let mut permit = std::pin::pin!(Arc::clone(&self.free).acquire_owned());
        loop {
            let moves = self.moves.load(Ordering::Relaxed);
            if let Ok(permit) = tokio::time::timeout(STANDSTILL, &mut permit).await {
                return Turn { _permit: permit.ok() };
            }
            if self.moves.load(Ordering::Relaxed) == moves {
                self.move_on();
                return Turn::default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn large_archives_take_turns_and_small_ones_do_not() {
        let turns = Turns::of(2);
        let first = turns.next(None).await;
        let _second = turns.next(Some(LARGE_BYTES)).await;
        let mut third = Box::pin(turns.next(None));
        assert!((&mut third).now_or_never().is_none());
        assert!(turns.next(Some(LARGE_BYTES - 1)).now_or_never().is_some());
        drop(first);
        assert!(third.now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_goes_ahead_only_where_nothing_moves() {
        let turns = Turns::of(1);
        let _first = turns.next(None).await;
        let start = Instant::now();
        let moving = async {
            for _ in 0..20 {
                sleep(STANDSTILL / 2).await;
                turns.move_on();
            }
        };
        let (_second, ()) = tokio::join!(turns.next(None), moving);
        let waited = start.elapsed();
        assert!(waited >= STANDSTILL * 10 && waited <= STANDSTILL * 13, "{waited:?}");
        // One at a time: the next one waits for what it does.
        let start = Instant::now();
        let (_third, _fourth) = tokio::join!(turns.next(None), turns.next(None));
        assert!(start.elapsed() >= STANDSTILL && start.elapsed() <= STANDSTILL * 3, "{:?}", start.elapsed());
    }
}
