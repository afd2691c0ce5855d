//! The way from the input's partitions to the encoders: bounded queues, and for a partitioned target the splitting of
//! batches.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::StreamExt;
use object_store::path::Path;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::partition::Partitioning;
use super::row_group::batch_bytes;

/// What a permit of the queues' budget stands for: permits are counted in 32 bits.
const PERMIT_BYTES: usize = 1 << 10;

/// Rows on their way to a folder.
pub(super) struct Parcel {
    pub(super) folder: Path,
    pub(super) batch: RecordBatch,
    queued: Queued,
}

impl Parcel {
    /// Bytes that its rows are.
    pub(super) fn bytes(&self) -> usize {
        self.queued.bytes
    }
}

/// A parcel's share of the budget, until it is encoded.
struct Queued {
    _permit: Option<OwnedSemaphorePermit>,
    bytes: usize,
    memory: Arc<MemoryReservation>,
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.memory.shrink(self.bytes);
    }
}

/// Where an encoder takes its parcels; several may share one.
pub(super) type Queue = Arc<tokio::sync::Mutex<mpsc::Receiver<Parcel>>>;

/// What deals batches out to encoders.
pub(super) struct Feed {
    folder: Path,
    partitioning: Option<Partitioning>,
    queues: Vec<mpsc::Sender<Parcel>>,
    /// Which queue a folder's rows go to: always the same, so that it does not get a file from every encoder.
    routes: Mutex<HashMap<Path, usize>>,
    budget: Arc<Semaphore>,
    budget_permits: usize,
    memory: Arc<MemoryReservation>,
}

impl Feed {
    /// One queue for all encoders, or one for each where rows have folders of their own. A queue holds `batches` for each
    /// of its encoders, and all of them hold `bytes`, or one batch that has more.
    pub(super) fn new(
        folder: Path,
        partitioning: Option<Partitioning>,
        encoders: usize,
        batches: usize,
        bytes: usize,
        memory: Arc<MemoryReservation>,
    ) -> (Arc<Self>, Vec<Queue>) {
        let queues = if partitioning.is_some() { encoders } else { 1 };
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..queues).map(|_| mpsc::channel(batches.max(1) * encoders / queues)).unzip();
        let receivers: Vec<Queue> = receivers.into_iter().map(|queue| Arc::new(queue.into())).collect();
        let budget_permits = (bytes / PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let feed = Self {
            folder,
            partitioning,
            queues: senders,
            routes: Mutex::default(),
            budget: Arc::new(Semaphore::new(budget_permits)),
            budget_permits,
            memory,
        };
        (Arc::new(feed), (0..encoders).map(|encoder| Arc::clone(&receivers[encoder % queues])).collect())
    }

    /// Sends everything that `input` gives. An encoder that takes no more has failed, and says so itself.
    pub(super) async fn run(self: Arc<Self>, mut input: SendableRecordBatchStream) -> Result<()> {
        while let Some(batch) = input.next().await.transpose()? {
            if batch.num_rows() == 0 {
                continue;
            }
            let parts = match &self.partitioning {
                None => vec![(self.folder.clone(), batch)],
                Some(partitioning) => partitioning.split(&self.folder, &batch)?,
            };
            for (folder, batch) in parts {
                if self.send(folder, batch).await.is_none() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn send(&self, folder: Path, batch: RecordBatch) -> Option<()> {
        let bytes = batch_bytes(&batch);
        let permits = (bytes / PERMIT_BYTES).min(self.budget_permits);
        let permit = Arc::clone(&self.budget).acquire_many_owned(u32::try_from(permits).ok()?).await.ok();
        self.memory.grow(bytes);
        let queued = Queued { _permit: permit, bytes, memory: Arc::clone(&self.memory) };
        let queue = self.route(&folder);
        self.queues[queue].send(Parcel { folder, batch, queued }).await.ok()
    }

    /// New folders take turns.
    fn route(&self, folder: &Path) -> usize {
        if self.queues.len() == 1 {
            return 0;
        }
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let next = routes.len() % self.queues.len();
        match routes.entry(folder.clone()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => *new.insert(next),
        }
    }
}
