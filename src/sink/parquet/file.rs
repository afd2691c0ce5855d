//! A Parquet file: row groups are appended to it, and its bytes go out in parts as they come.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use datafusion::common::runtime::{JoinSet, SpawnedTask};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::metrics::{Count, Time};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use parquet::file::writer::SerializedFileWriter;
use tokio::sync::{Semaphore, mpsc};

use super::properties::Properties;
use super::row_group::ClosedRowGroup;
use crate::memory::Spare;

/// Parts of a file that wait to be sent: while one is sent, the next one is filled and one waits.
const PARTS_WAITING: usize = 1;

/// A part that is filled so far gets all its memory at once; a small file (there may be thousands) never comes to that.
const GROWTH_SHARE: usize = 8;

/// What all files of a sink share.
#[derive(Debug)]
pub(super) struct Uploads {
    pub(super) store: Arc<dyn ObjectStore>,
    /// Bytes of a part: stores want at least 5 MiB, and some want all parts of a file to be equal.
    pub(super) part_bytes: usize,
    /// As many parts may be sent at a time.
    pub(super) sending: Arc<Semaphore>,
    /// Accounts parts that are sent. Their number is bounded, so that this never fails.
    pub(super) memory: Arc<MemoryReservation>,
    pub(super) bytes_written: Count,
    /// Where the buffers of parts come from, and go to once they are sent.
    pub(super) spare: Spare,
}

/// A file that is being written.
pub(super) struct ParquetFile {
    writer: SerializedFileWriter<Parts>,
    parts: Parts,
    sender: mpsc::Sender<Bytes>,
    uploader: SpawnedTask<Result<()>>,
    pub(super) rows: usize,
}

impl ParquetFile {
    /// Begins it; nobody sees it before it is finished.
    pub(super) fn begin(properties: &Properties, uploads: &Arc<Uploads>, path: Path) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(PARTS_WAITING);
        let uploader = SpawnedTask::spawn(upload(Arc::clone(uploads), path, receiver));
        let parts = Parts::new(uploads.part_bytes, uploads.spare.clone());
        Ok(Self { writer: properties.file(parts.clone())?, parts, sender, uploader, rows: 0 })
    }

    /// Bytes that it has so far.
    pub(super) fn bytes(&self) -> u64 {
        self.writer.bytes_written() as u64
    }

    /// Bytes that are in memory, since they are no part yet.
    pub(super) fn memory(&self) -> usize {
        self.parts.lock().filling.len()
    }

    /// Appends a row group, and waits while its parts aren't taken.
    pub(super) async fn append(mut self, group: ClosedRowGroup, time: &Time) -> Result<Self> {
        self.rows += group.rows;
        let mut row_group = self.writer.next_row_group()?;
        for column in group.columns {
            let timer = time.timer();
            column.append(&mut row_group)?;
            timer.done();
            if !self.parts.send(&self.sender).await {
                return Err(reason(self.uploader).await);
            }
        }
        row_group.close()?;
        Ok(self)
    }

    /// Writes the footer and waits for the last part.
    pub(super) async fn finish(self) -> Result<()> {
        let Self { writer, parts, sender, uploader, .. } = self;
        writer.close()?;
        parts.lock().end();
        if !parts.send(&sender).await {
            return Err(reason(uploader).await);
        }
        drop(sender);
        join(uploader).await
    }
}

async fn join(task: SpawnedTask<Result<()>>) -> Result<()> {
    task.join_unwind().await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?
}

/// Why an uploader takes no more parts.
async fn reason(uploader: SpawnedTask<Result<()>>) -> DataFusionError {
    let ended = DataFusionError::Internal("an upload has ended before its file".to_owned());
    join(uploader).await.err().unwrap_or(ended)
}

/// Gathers what is written into parts. The writer has one end of it, the file the other.
#[derive(Clone)]
struct Parts(Arc<Mutex<Gathered>>);

struct Gathered {
    full: VecDeque<Bytes>,
    filling: Vec<u8>,
    part_bytes: usize,
    spare: Spare,
}

impl Parts {
    fn new(part_bytes: usize, spare: Spare) -> Self {
        Self(Arc::new(Mutex::new(Gathered { full: VecDeque::new(), filling: Vec::new(), part_bytes, spare })))
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the parts that are full; says whether they were taken.
    async fn send(&self, sender: &mpsc::Sender<Bytes>) -> bool {
        loop {
            let part = self.lock().full.pop_front();
            let Some(part) = part else { return true };
            if sender.send(part).await.is_err() {
                return false;
            }
        }
    }
}

impl Gathered {
    /// What there is becomes the last part.
    fn end(&mut self) {
        if !self.filling.is_empty() {
            self.full.push_back(std::mem::take(&mut self.filling).into());
        }
    }
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut gathered = self.lock();
        let Gathered { full, filling, part_bytes, spare } = &mut *gathered;
        let taken = bytes.len().min(*part_bytes - filling.len());
        if filling.len() > *part_bytes / GROWTH_SHARE && filling.capacity() < *part_bytes {
            let mut large = spare.take(*part_bytes);
            large.extend_from_slice(filling);
            *filling = large;
        }
        filling.extend_from_slice(&bytes[..taken]);
        if filling.len() == *part_bytes {
            let next = spare.take(*part_bytes);
            full.push_back(spare.lend(std::mem::replace(filling, next), *part_bytes));
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends parts until there are no more, several at a time.
async fn upload(uploads: Arc<Uploads>, path: Path, mut parts: mpsc::Receiver<Bytes>) -> Result<()> {
    let mut upload = uploads.store.put_multipart(&path).await?;
    let mut sending: JoinSet<object_store::Result<()>> = JoinSet::new();
    while let Some(part) = parts.recv().await {
        let Ok(permit) = Arc::clone(&uploads.sending).acquire_owned().await else { break };
        while let Some(sent) = sending.try_join_next() {
            sent.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??;
        }
        let (bytes, uploads) = (part.len(), Arc::clone(&uploads));
        uploads.memory.grow(bytes);
        let sent = upload.put_part(PutPayload::from_bytes(part));
        sending.spawn(async move {
            let sent = sent.await;
            uploads.memory.shrink(bytes);
            uploads.bytes_written.add(bytes);
            drop(permit);
            sent
        });
    }
    while let Some(sent) = sending.join_next().await {
        sent.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??;
    }
    upload.complete().await?;
    Ok(())
}
