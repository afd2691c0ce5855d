//! Members become rows: a header alone, a header with its content in a cell, or many records of one content.
//!
//! [`MemberRows`] is driven by the scan: it says of each member whether it wants the content, takes it piece by piece,
//! and gives batches out as they fill up.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::future::BoxFuture;

use crate::archive::ContentView;
use crate::batch::{HeaderBuilder, batch_bytes_max, internal};
use crate::error::Result;
use crate::memory::{Allowance, Reservation, Shortage};
use crate::schema::HeaderColumn;
use crate::tar::Member;

mod cells;
mod decoding;
mod merged;
mod records;
mod sheaves;
#[cfg(test)]
mod tests;

pub(crate) use self::cells::{Cell, CellRows};
pub(crate) use self::records::{Decoders, RecordColumn, RecordRows};

/// Turns members into batches of one schema.
pub(crate) trait MemberRows: Send {
    /// Takes a member whose content lies in one piece, if that is all there is to do about it for now; false where it has
    /// to [`begin`](Self::begin). Only after `next_batch` has returned `None`.
    fn append_whole(&mut self, _member: &Member, _content: ContentView<'_>) -> Result<bool> {
        Ok(false)
    }

    /// A member begins; says whether its content is wanted.
    fn begin(&mut self, member: &Member) -> Result<bool>;

    /// Gives the next piece of the wanted content. Only after `next_batch` has returned `None`.
    fn push(&mut self, content: Bytes);

    /// The wanted content is complete.
    fn end(&mut self);

    /// The wanted content is damaged from here on: whole records stay, one that was cut does not come out. Where they
    /// [are behind](Self::is_behind), it is that of the member that failed.
    fn abandon(&mut self) -> Result<()>;

    /// Works on what was given until a batch is full; `None` when there is nothing left to work on.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>>;

    /// The archive has ended, or memory is scarce: the rows that are complete become a batch.
    fn flush(&mut self) -> Result<Option<RecordBatch>>;

    /// Whether the last error was about a member before the one that was begun last.
    fn is_behind(&self) -> bool {
        false
    }

    /// What was given is to be worked on until nothing is left of it, whoever works on it: nothing follows it for now.
    fn catch_up(&mut self) {}

    /// Where `next_batch` brings nothing because others are at work for it: ends when it is worth another try.
    fn pending(&mut self) -> Option<BoxFuture<'_, ()>> {
        None
    }

    /// The memory without which `next_batch` brings nothing more.
    fn shortage(&mut self) -> Option<Shortage<'_>> {
        None
    }
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(internal)
}

/// One row a member, of its header alone.
pub(crate) struct HeaderRows {
    schema: SchemaRef,
    header: HeaderBuilder,
    batch_size: usize,
    batch_bytes_max: usize,
    memory: Reservation,
}

impl HeaderRows {
    /// `schema` has exactly `columns`.
    pub(crate) fn new(archive: Arc<str>, schema: SchemaRef, columns: &[HeaderColumn], batch_size: usize) -> Self {
        let header = HeaderBuilder::new(archive, columns);
        let allowance = Allowance::unlimited();
        let (batch_bytes_max, memory) = (batch_bytes_max(&allowance), allowance.reservation());
        Self { schema, header, batch_size, batch_bytes_max, memory }
    }

    /// Takes its memory from `allowance`.
    #[must_use]
    pub(crate) fn within(self, allowance: &Allowance) -> Self {
        Self { batch_bytes_max: batch_bytes_max(allowance), memory: allowance.reservation(), ..self }
    }
}

impl MemberRows for HeaderRows {
    fn begin(&mut self, member: &Member) -> Result<bool> {
        self.header.append(member).map(|()| false)
    }

    fn push(&mut self, _content: Bytes) {}

    fn end(&mut self) {}

    fn abandon(&mut self) -> Result<()> {
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let is_full = self.header.rows() >= self.batch_size || self.header.bytes() >= self.batch_bytes_max;
        let held = self.header.held_bytes() as u64;
        if is_full || !self.memory.try_soft(held) { self.flush() } else { Ok(None) }
    }

    fn flush(&mut self) -> Result<Option<RecordBatch>> {
        let rows = self.header.rows();
        if rows == 0 {
            return Ok(None);
        }
        let batch = batch(&self.schema, self.header.finish()?, rows)?;
        // Whoever takes the batch accounts it.
        self.memory.shrink_to(0);
        Ok(Some(batch))
    }
}
