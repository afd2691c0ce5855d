//! An encoder: takes rows from its queue, encodes row groups of its own, and appends each to a file once it is full.
//!
//! Encoders of one file share it and take turns at appending; those of a directory have files of their own, and for a
//! partitioned target one for each folder. What they hold is reserved: when the pool has no more, the largest row group
//! is closed early, and after that the largest file.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::metrics::{Count, Time};
use object_store::path::Path;
use parquet::arrow::arrow_writer::ArrowRowGroupWriterFactory;
use tokio::sync::Mutex;

use super::column::Scratch;
use super::feed::Queue;
use super::file::{ParquetFile, Uploads};
use super::properties::Properties;
use super::row_group::{Piece, RowGroup};
use crate::error::{Error, ErrorKind};

/// Rows are encoded in pieces of at most this many bytes: it bounds by how much a row group may exceed its size, and
/// memory its reservation.
pub(super) const PIECE_BYTES_MAX: usize = 4 << 20;

/// A piece is a fraction of a row group, so that small limits hold too.
const PIECES_PER_GROUP: usize = 4;

/// Folders that one encoder has open. Each costs an upload and buffers for every column, filled or not.
const OPEN_FOLDERS_MAX: usize = 1_000;

/// When a row group or a file is closed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) group_rows: usize,
    pub(super) group_bytes: usize,
    pub(super) file_rows: usize,
    pub(super) file_bytes: u64,
    /// Memory that one encoder takes at most, however much there is: what feeds it needs some too.
    pub(super) held_bytes: usize,
}

/// Names of the files of one job. They sort as the files were begun.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) id: String,
    pub(super) extension: String,
    pub(super) next: AtomicUsize,
}

impl Names {
    fn next(&self) -> String {
        format!("{}_{:05}.{}", self.id, self.next.fetch_add(1, Ordering::Relaxed), self.extension)
    }
}

/// What the encoders of one sink share.
pub(super) struct Shared {
    pub(super) properties: Properties,
    /// For columns that we don't encode ourselves.
    pub(super) library: ArrowRowGroupWriterFactory,
    pub(super) uploads: Arc<Uploads>,
    pub(super) limits: Limits,
    /// None if all is one file.
    pub(super) names: Option<Names>,
    pub(super) target: Arc<str>,
    pub(super) rows_written: Count,
    pub(super) files_written: Count,
    pub(super) encode_time: Time,
}

impl Shared {
    /// Begins a file in `folder`, or the one file.
    pub(super) fn begin(&self, folder: &Path) -> Result<ParquetFile> {
        let path = match &self.names {
            Some(names) => folder.clone().join(names.next()),
            None => folder.clone(),
        };
        ParquetFile::begin(&self.properties, &self.uploads, path)
    }

    fn row_group(&self) -> Result<RowGroup> {
        Ok(RowGroup::new(self.properties.columns(&self.library)?, Arc::clone(&self.properties.schema)))
    }

    pub(super) async fn finish(&self, file: ParquetFile) -> Result<()> {
        file.finish().await?;
        self.files_written.add(1);
        Ok(())
    }
}

/// A file that may be shared.
pub(super) type Slot = Arc<Mutex<Option<ParquetFile>>>;

/// What is open for one folder.
#[derive(Default)]
struct Open {
    group: Option<RowGroup>,
    slot: Slot,
    file_rows: usize,
    /// Bytes of the file that are no part yet.
    file_memory: usize,
}

impl Open {
    fn memory(&self) -> usize {
        self.group_memory() + self.file_memory
    }

    fn group_memory(&self) -> usize {
        self.group.as_ref().map_or(0, |group| group.memory)
    }
}

pub(super) struct Encoder {
    shared: Arc<Shared>,
    queue: Queue,
    /// The file that all encoders append to, if there is only one.
    one_file: Option<Slot>,
    open: HashMap<Path, Open>,
    /// One for each of the threads that the columns of a batch are dealt to.
    scratches: Vec<Scratch>,
    /// Memory of all that is open.
    held: usize,
    reservation: MemoryReservation,
}

impl Encoder {
    pub(super) fn new(
        shared: Arc<Shared>,
        queue: Queue,
        one_file: Option<Slot>,
        lanes: usize,
        reservation: MemoryReservation,
    ) -> Self {
        let scratches = (0..lanes.max(1)).map(|_| Scratch::default()).collect();
        Self { shared, queue, one_file, open: HashMap::new(), scratches, held: 0, reservation }
    }

    /// Encodes until there is nothing more to come, and finishes files that are its own.
    pub(super) async fn run(mut self) -> Result<()> {
        let piece_bytes = (self.shared.limits.group_bytes / PIECES_PER_GROUP).clamp(1, PIECE_BYTES_MAX);
        loop {
            let parcel = self.queue.lock().await.recv().await;
            let Some(parcel) = parcel else { break };
            let all = Piece { batch: parcel.batch.clone(), bytes: parcel.bytes() };
            for piece in all.cut(piece_bytes) {
                self.write(&parcel.folder, piece).await?;
            }
        }
        let folders: Vec<_> = self.open.keys().cloned().collect();
        for folder in folders {
            self.finish(&folder).await?;
        }
        Ok(())
    }

    async fn write(&mut self, folder: &Path, mut rows: Piece) -> Result<()> {
        while rows.batch.num_rows() > 0 {
            self.open(folder).await?;
            let piece = rows.take(self.rows_left(folder).clamp(1, rows.batch.num_rows()));
            self.reserve(piece.bytes).await?;
            self.encode(folder, piece.batch).await?;
        }
        Ok(())
    }

    /// Rows that the folder's row group has room for.
    fn rows_left(&self, folder: &Path) -> usize {
        let limits = &self.shared.limits;
        let open = self.open.get(folder);
        let in_group = open.and_then(|open| open.group.as_ref()).map_or(0, |group| group.rows);
        let in_file = open.map_or(0, |open| open.file_rows);
        limits.group_rows.min(limits.file_rows.saturating_sub(in_file)).saturating_sub(in_group)
    }

    async fn open(&mut self, folder: &Path) -> Result<()> {
        if self.open.contains_key(folder) {
            return Ok(());
        }
        if self.open.len() >= OPEN_FOLDERS_MAX
            && let Some(largest) = self.largest(Open::memory)
        {
            self.finish(&largest).await?;
        }
        let slot = self.one_file.clone().unwrap_or_default();
        self.open.insert(folder.clone(), Open { slot, ..Open::default() });
        Ok(())
    }

    async fn encode(&mut self, folder: &Path, piece: RecordBatch) -> Result<()> {
        let Some(open) = self.open.get_mut(folder) else { return Ok(()) };
        let group = match open.group.take() {
            Some(group) => group,
            None => self.shared.row_group()?,
        };
        let before = group.memory;
        let group = group.write(&piece, &mut self.scratches, &self.shared.encode_time).await?;
        self.held = self.held + group.memory - before;
        let is_full = group.bytes >= self.shared.limits.group_bytes;
        open.group = Some(group);
        if is_full || self.rows_left(folder) == 0 {
            self.close_group(folder).await?;
        }
        Ok(())
    }

    /// Makes sure that `bytes` more may be held.
    async fn reserve(&mut self, bytes: usize) -> Result<()> {
        loop {
            let is_too_much = self.held > 0 && self.held + bytes > self.shared.limits.held_bytes;
            let error = match self.reservation.try_resize(self.held + bytes) {
                Ok(()) if !is_too_much => return Ok(()),
                Ok(()) => None,
                Err(error) => Some(error),
            };
            if let Some(largest) = self.largest(Open::group_memory) {
                self.close_group(&largest).await?;
            } else if let Some(largest) = self.largest(Open::memory).filter(|_| self.one_file.is_none()) {
                self.finish(&largest).await?;
            } else if bytes <= PIECE_BYTES_MAX {
                // Others hold all there is; they will only let go of it if somebody takes what they have.
                self.reservation.resize(self.held + bytes);
                return Ok(());
            } else {
                let message = format!("a row of {bytes} bytes does not fit into memory: raise --memory-limit");
                let cause = error.map(|error| error.strip_backtrace()).unwrap_or_default();
                return Err(Error::new(ErrorKind::Limit, message)
                    .in_archive(&*self.shared.target)
                    .caused_by(cause)
                    .into());
            }
        }
    }

    /// The folder that holds most, if any holds anything.
    fn largest(&self, memory: impl Fn(&Open) -> usize) -> Option<Path> {
        let held = self.open.iter().map(|(folder, open)| (memory(open), folder)).filter(|(memory, _)| *memory > 0);
        held.max_by_key(|(memory, _)| *memory).map(|(_, folder)| folder.clone())
    }

    /// Appends the folder's row group to its file, and finishes the file if it is full.
    async fn close_group(&mut self, folder: &Path) -> Result<()> {
        let Some(open) = self.open.get_mut(folder) else { return Ok(()) };
        let Some(group) = open.group.take() else { return Ok(()) };
        let (shared, group_memory) = (&self.shared, group.memory);
        let group = group.close(&mut self.scratches[0], &shared.encode_time)?;
        let rows = group.rows;
        let mut slot = open.slot.lock().await;
        let file = match slot.take() {
            Some(file) => file,
            None => shared.begin(folder)?,
        };
        let file = file.append(group, &shared.encode_time).await?;
        shared.rows_written.add(rows);
        self.held -= group_memory;
        if self.one_file.is_some() {
            *slot = Some(file);
        } else if file.bytes() >= shared.limits.file_bytes || file.rows >= shared.limits.file_rows {
            shared.finish(file).await?;
            self.held -= std::mem::take(&mut open.file_memory);
            open.file_rows = 0;
        } else {
            self.held = self.held + file.memory() - open.file_memory;
            (open.file_rows, open.file_memory) = (file.rows, file.memory());
            *slot = Some(file);
        }
        // What is left over is given back; it never grows here but by what a row group has become in the file.
        self.reservation.resize(self.held);
        Ok(())
    }

    /// Closes what the folder has open, but for a file that is shared.
    async fn finish(&mut self, folder: &Path) -> Result<()> {
        self.close_group(folder).await?;
        let Some(open) = self.open.remove(folder) else { return Ok(()) };
        self.held -= open.memory();
        if self.one_file.is_none()
            && let Some(file) = open.slot.lock().await.take()
        {
            self.shared.finish(file).await?;
        }
        self.reservation.resize(self.held);
        Ok(())
    }
}
