//! What earlier chunks of a column have come to: the next ones are most often alike, and trials cost.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use parquet::basic::Encoding;

use super::snappy::Habit;

/// Chunks that are written plain without a trial, after one that clearly found no use for a dictionary.
const CHUNKS_PER_TRIAL: usize = 16;

/// Of one column, in all row groups of a sink.
#[derive(Debug, Default)]
pub(super) struct History {
    /// So many chunks need no trial.
    plain_chunks: AtomicUsize,
    /// How pages of plain values are compressed, and those of numbers of values.
    habits: Mutex<(Habit, Habit)>,
}

impl History {
    /// Whether the next chunk is written plain without a trial.
    pub(super) fn next_is_plain(&self) -> bool {
        self.plain_chunks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Notes that most values of a trial were different ones.
    pub(super) fn found_no_use(&self) {
        self.plain_chunks.store(CHUNKS_PER_TRIAL - 1, Ordering::Relaxed);
    }

    /// How pages of that encoding are compressed.
    pub(super) fn habit(&self, encoding: Encoding) -> Habit {
        let (plain, numbers) = *self.habits.lock();
        if encoding == Encoding::PLAIN { plain } else { numbers }
    }

    /// Of what two encoders note at the same time one is lost, and there will be more.
    pub(super) fn keep_habit(&self, encoding: Encoding, habit: Habit) {
        let (plain, numbers) = &mut *self.habits.lock();
        *(if encoding == Encoding::PLAIN { plain } else { numbers }) = habit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_counts_for_some_chunks() {
        let history = History::default();
        assert!(!history.next_is_plain());
        for _ in 0..3 {
            history.found_no_use();
            let plain = (0..100).take_while(|_| history.next_is_plain()).count();
            assert_eq!(plain, CHUNKS_PER_TRIAL - 1);
        }
    }
}
