//! A Parquet file: row groups are appended to it, and its bytes go out in parts as they come.

use std::io::{self, Write};
use std::sync::Arc;

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
use super::row_group::{ClosedRowGroup, blocking};

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
}

/// A file that is being written.
pub(super) struct ParquetFile {
    writer: SerializedFileWriter<Parts>,
    uploader: SpawnedTask<Result<()>>,
    pub(super) rows: usize,
}

impl ParquetFile {
    /// Begins it; nobody sees it before it is finished.
    pub(super) fn begin(properties: &Properties, uploads: &Arc<Uploads>, path: Path) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(PARTS_WAITING);
        let uploader = SpawnedTask::spawn(upload(Arc::clone(uploads), path, receiver));
        let parts = Parts { filling: Vec::new(), part_bytes: uploads.part_bytes, sender };
        Ok(Self { writer: properties.file(parts)?, uploader, rows: 0 })
    }

    /// Bytes that it has so far.
    pub(super) fn bytes(&self) -> u64 {
        self.writer.bytes_written() as u64
    }

    /// Bytes that are in memory, since they are no part yet.
    pub(super) fn memory(&self) -> usize {
        self.writer.inner().filling.len()
    }

    pub(super) async fn append(mut self, group: ClosedRowGroup, time: &Time) -> Result<Self> {
        self.rows += group.rows;
        let mut writer = self.writer;
        let appended = blocking(time, move || {
            let mut row_group = writer.next_row_group()?;
            for column in group.columns {
                column.append_to_row_group(&mut row_group)?;
            }
            row_group.close()?;
            Ok(writer)
        });
        match appended.await {
            Ok(writer) => Ok(Self { writer, ..self }),
            Err(error) => Err(reason(error, self.uploader).await),
        }
    }

    /// Writes the footer and waits for the last part.
    pub(super) async fn finish(self, time: &Time) -> Result<()> {
        let writer = self.writer;
        let finished = blocking(time, move || {
            let mut parts = writer.into_inner()?;
            let last = std::mem::take(&mut parts.filling);
            parts.send(last)?;
            Ok(())
        });
        match finished.await {
            Ok(()) => join(self.uploader).await,
            Err(error) => Err(reason(error, self.uploader).await),
        }
    }
}

async fn join(task: SpawnedTask<Result<()>>) -> Result<()> {
    task.join_unwind().await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?
}

/// Why a file can't be written: a writer that finds its parts not taken only knows that.
async fn reason(error: DataFusionError, uploader: SpawnedTask<Result<()>>) -> DataFusionError {
    join(uploader).await.err().unwrap_or(error)
}

/// Gathers what is written into parts, and waits while none is taken. Not for threads that must not wait.
struct Parts {
    filling: Vec<u8>,
    part_bytes: usize,
    sender: mpsc::Sender<Bytes>,
}

impl Parts {
    fn send(&self, part: Vec<u8>) -> io::Result<()> {
        if part.is_empty() {
            return Ok(());
        }
        self.sender.blocking_send(part.into()).map_err(|_| io::Error::other("the upload has failed"))
    }
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.part_bytes - self.filling.len());
        if self.filling.len() > self.part_bytes / GROWTH_SHARE {
            // A large file fills its parts, so that doubling on and on would end beyond one.
            self.filling.reserve_exact(self.part_bytes - self.filling.len());
        }
        self.filling.extend_from_slice(&bytes[..taken]);
        if self.filling.len() == self.part_bytes {
            let part = std::mem::take(&mut self.filling);
            self.send(part)?;
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
