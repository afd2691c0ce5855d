//! [`Ahead`]: the batches of an archive, one of them ahead of its consumer where a core is free.
//!
//! What a consumer does with a batch (aggregating, say) it does between two batches. Where fewer archives are read than
//! there are cores, the next batch is made meanwhile by a task. Nobody may ever ask for it: it counts, as does
//! what was left out on the way to it, when it is asked for.

use std::future::poll_fn;

use arrow::array::RecordBatch;
use datafusion::error::{DataFusionError, Result as DataFusionResult};

use crate::crew::{Crew, Task, Trade};
use crate::error::Result;
use crate::scan::ArchiveScan;

/// A batch is made ahead if the last one was full or had one of both: for less, a task and waking it and its consumer cost
/// more than they save.
const LARGE_ROWS: usize = 256;
const LARGE_BYTES: usize = 64 << 10;

/// An archive and who reads it now.
pub(super) struct Ahead {
    scan: Scan,
    crew: Crew,
    /// Batches that were asked for: nothing is made ahead of the second, since the first may be all that is wanted.
    asked: usize,
    /// Rows of a batch that is full.
    batch_size: usize,
}

enum Scan {
    Here(Box<ArchiveScan>),
    There(Task<Prepared>),
    /// A task broke off.
    Lost,
}

struct Prepared {
    scan: Box<ArchiveScan>,
    next: Result<Option<RecordBatch>>,
}

impl Ahead {
    /// The batches of `scan`; nothing is ahead where `crew` is alone.
    pub(super) fn new(scan: ArchiveScan, crew: Crew, batch_size: usize) -> Self {
        Self { scan: Scan::Here(Box::new(scan)), crew, asked: 0, batch_size }
    }

    /// As [`ArchiveScan::next_batch`].
    pub(super) async fn next_batch(&mut self) -> DataFusionResult<Option<RecordBatch>> {
        let Prepared { mut scan, next } = match std::mem::replace(&mut self.scan, Scan::Lost) {
            Scan::Here(mut scan) => {
                let next = scan.prepare().await;
                Prepared { scan, next }
            }
            Scan::There(mut task) => {
                poll_fn(|context| task.poll_done(context)).await;
                task.take().ok_or_else(broken)?
            }
            Scan::Lost => return Err(broken()),
        };
        let batch = scan.hand_on(next)?;
        self.asked += 1;
        let is_worth_it = self.asked > 1 && batch.as_ref().is_some_and(|batch| self.is_large(batch));
        let hand = if is_worth_it { self.crew.hand(Trade::Read) } else { None };
        self.scan = match hand {
            Some(hand) => Scan::There(hand.spawn(prepare(scan))),
            None => Scan::Here(scan),
        };
        Ok(batch)
    }

    /// Whether making a batch like that one takes longer than having it made: small members come one by one.
    fn is_large(&self, batch: &RecordBatch) -> bool {
        batch.num_rows() >= LARGE_ROWS.min(self.batch_size) || batch.get_array_memory_size() >= LARGE_BYTES
    }
}

async fn prepare(mut scan: Box<ArchiveScan>) -> Prepared {
    let next = scan.prepare_ahead().await;
    Prepared { scan, next }
}

/// The panic itself was told where it happened.
fn broken() -> DataFusionError {
    DataFusionError::Internal("the task that reads an archive broke off".to_owned())
}
