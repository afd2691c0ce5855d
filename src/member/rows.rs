//! Members become rows: a header alone, a header with its content in a cell, or many records of one content.
//!
//! [`MemberRows`] is driven by the scan: it says of each member whether it wants the content, takes it piece by piece,
//! and gives batches out as they fill up.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use crate::batch::{HeaderBuilder, batch_bytes_max, internal, repeat};
use crate::error::Result;
use crate::member::content::{MemberContent, PIECE_BYTES_MAX};
use crate::member::{RecordDecoder, Records};
use crate::memory::{Allowance, Reservation, Shortage};
use crate::schema::HeaderColumn;
use crate::stats::Stats;
use crate::tar::Member;

mod cells;
#[cfg(test)]
mod tests;

pub(crate) use self::cells::{Cell, CellRows};

/// Turns members into batches of one schema.
pub(crate) trait MemberRows: Send {
    /// A member begins; says whether its content is wanted.
    fn begin(&mut self, member: &Member) -> Result<bool>;

    /// Gives the next piece of the wanted content. Only after `next_batch` has returned `None`.
    fn push(&mut self, content: Bytes);

    /// The wanted content is complete.
    fn end(&mut self);

    /// The wanted content is damaged from here on: whole records stay, one that was cut does not come out.
    fn abandon(&mut self) -> Result<()>;

    /// Works on what was given until a batch is full; `None` when there is nothing left to work on.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>>;

    /// The archive has ended, or memory is scarce: the rows that are complete become a batch.
    fn flush(&mut self) -> Result<Option<RecordBatch>>;

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
        let batch = batch(&self.schema, self.header.finish(), rows)?;
        // Whoever takes the batch accounts it.
        self.memory.shrink_to(0);
        Ok(Some(batch))
    }
}

/// Makes the decoder of a member.
pub(crate) type MakeDecoder = Box<dyn Fn(&Member) -> Result<Box<dyn RecordDecoder>> + Send>;

/// Where a column of [`RecordRows`] comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RecordColumn {
    /// The n-th column of the decoder's batches.
    Decoded(usize),
    /// The n-th of the header columns, the same for all rows of a member.
    Header(usize),
    /// The number of the row within its member.
    RowNumber,
}

/// Rows of a batch for which long header texts are reckoned with: each row repeats them only as views, but pax records as
/// they are.
const HEADER_REPEATS: usize = 64;

/// Many rows a member: what a decoder makes of its content.
pub(crate) struct RecordRows {
    schema: SchemaRef,
    columns: Vec<RecordColumn>,
    header: HeaderBuilder,
    make_decoder: MakeDecoder,
    stats: Arc<Stats>,
    open: Option<OpenRecords>,
    allowance: Allowance,
    /// Of the decoder, and of what it makes of the next piece.
    memory: Reservation,
    /// What it would have to be.
    wanted: Option<u64>,
}

struct OpenRecords {
    header: Vec<ArrayRef>,
    /// What they take in a batch.
    header_bytes: usize,
    /// Rows of a batch, each of which repeats the header.
    rows_max: usize,
    /// What of the last records did not fit its batch.
    rest: Option<Records>,
    content: MemberContent,
    decoder: Box<dyn RecordDecoder>,
    ended: bool,
    finished: bool,
}

impl RecordRows {
    /// `schema` has one field for each of `columns`; `header_columns` are what [`RecordColumn::Header`] counts in.
    pub(crate) fn new(
        archive: Arc<str>,
        schema: SchemaRef,
        columns: Vec<RecordColumn>,
        header_columns: &[HeaderColumn],
        make_decoder: MakeDecoder,
        stats: Arc<Stats>,
    ) -> Self {
        let header = HeaderBuilder::new(archive, header_columns);
        let allowance = Allowance::unlimited();
        let memory = allowance.reservation();
        Self { schema, columns, header, make_decoder, stats, open: None, allowance, memory, wanted: None }
    }

    /// Takes its memory from `allowance`.
    #[must_use]
    pub(crate) fn within(self, allowance: &Allowance) -> Self {
        Self { allowance: allowance.clone(), memory: allowance.reservation(), ..self }
    }

    /// Makes room for what the decoder holds, and for what it makes of another piece; false where there is too little.
    fn make_room(&mut self) -> bool {
        let Some(open) = &self.open else { return true };
        let bytes = (open.decoder.bytes_wanted(PIECE_BYTES_MAX) + open.header_bytes) as u64;
        let has_room = self.memory.try_hard(bytes);
        self.memory.shrink_to(bytes);
        self.wanted = (!has_room).then_some(bytes);
        has_room
    }

    /// Feeds the decoder until it has a batch; false when there is nothing to feed.
    fn feed(open: &mut OpenRecords, stats: &Stats) -> Result<bool> {
        match open.content.pull()? {
            Some(piece) => {
                let start = Instant::now();
                open.decoder.decode(piece)?;
                stats.decode_nanos.add_elapsed(start);
                Ok(true)
            }
            None if open.ended && !open.finished && open.content.shortage().is_none() => {
                let start = Instant::now();
                open.finished = true;
                open.decoder.finish()?;
                stats.decode_nanos.add_elapsed(start);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

impl MemberRows for RecordRows {
    fn begin(&mut self, member: &Member) -> Result<bool> {
        self.header.append(member)?;
        let batch_bytes_max = batch_bytes_max(&self.allowance);
        self.open = Some(OpenRecords {
            rows_max: (batch_bytes_max / self.header.bytes().max(1)).max(1),
            header_bytes: self.header.bytes().saturating_mul(HEADER_REPEATS).min(2 * batch_bytes_max),
            rest: None,
            header: self.header.finish(),
            content: MemberContent::new(Arc::clone(&self.stats)).within(&self.allowance),
            decoder: (self.make_decoder)(member)?,
            ended: false,
            finished: false,
        });
        Ok(true)
    }

    fn push(&mut self, content: Bytes) {
        if let Some(open) = &mut self.open {
            open.content.push(content);
        }
    }

    fn end(&mut self) {
        if let Some(open) = &mut self.open {
            open.ended = true;
            open.content.end();
        }
    }

    fn abandon(&mut self) -> Result<()> {
        if let Some(open) = &mut self.open {
            (open.ended, open.finished) = (true, true);
            self.wanted = None;
            let rest = open.content.cut();
            open.content = MemberContent::new(Arc::clone(&self.stats)).within(&self.allowance);
            if let Some(rest) = rest {
                open.decoder.decode(rest)?;
            }
            open.decoder.abandon()?;
        }
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let records = loop {
            let Some(open) = &mut self.open else { return Ok(None) };
            if let Some(records) = open.rest.take().or_else(|| open.decoder.next_records()) {
                break records;
            }
            if let Some(error) = open.decoder.failure() {
                return Err(error);
            }
            if !open.finished && !self.make_room() {
                return Ok(None);
            }
            let Some(open) = &mut self.open else { return Ok(None) };
            if !Self::feed(open, &self.stats)? {
                if open.finished {
                    self.open = None;
                    self.memory.shrink_to(0);
                }
                return Ok(None);
            }
        };
        let Some(open) = &mut self.open else { return Ok(None) };
        let rows = records.batch.num_rows().min(open.rows_max);
        let (records, rest) = records.split_at(rows);
        open.rest = rest;
        let header = repeat(&open.header, rows)?;
        let row_numbers: ArrayRef = Arc::new(records.row_numbers);
        let columns = self.columns.iter().map(|column| match column {
            RecordColumn::Decoded(index) => Arc::clone(records.batch.column(*index)),
            RecordColumn::Header(index) => Arc::clone(&header[*index]),
            RecordColumn::RowNumber => Arc::clone(&row_numbers),
        });
        batch(&self.schema, columns.collect(), rows).map(Some)
    }

    fn flush(&mut self) -> Result<Option<RecordBatch>> {
        Ok(None)
    }

    fn shortage(&mut self) -> Option<Shortage<'_>> {
        let open = self.open.as_mut()?;
        if let Some(bytes) = self.wanted.filter(|bytes| !self.memory.has(*bytes)) {
            let what = open.decoder.what_grows().to_owned();
            return Some(Shortage { reservation: &mut self.memory, bytes, what });
        }
        open.content.shortage()
    }
}
