//! Members become rows: a header alone, a header with its content in a cell, or many records of one content.
//!
//! [`MemberRows`] is driven by the scan: it says of each member whether it wants the content, takes it piece by piece,
//! and gives batches out as they fill up.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringViewBuilder};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use crate::batch::{BATCH_BYTES_MAX, CELL_BYTES_MAX, ContentBuilder, HeaderBuilder, cell_too_large, internal, repeat};
use crate::error::Result;
use crate::member::content::MemberContent;
use crate::member::{RecordDecoder, Records, utf8};
use crate::policy::OnInvalidUtf8;
use crate::schema::HeaderColumn;
use crate::stats::Stats;
use crate::tar::{Member, MemberType};

#[cfg(test)]
mod tests;

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

    /// The archive has ended: what is left becomes a last batch.
    fn flush(&mut self) -> Result<Option<RecordBatch>>;
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
}

impl HeaderRows {
    /// `schema` has exactly `columns`.
    pub(crate) fn new(archive: Arc<str>, schema: SchemaRef, columns: &[HeaderColumn], batch_size: usize) -> Self {
        Self { schema, header: HeaderBuilder::new(archive, columns), batch_size }
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
        let full = self.header.rows() >= self.batch_size || self.header.bytes() >= BATCH_BYTES_MAX;
        if full { self.flush() } else { Ok(None) }
    }

    fn flush(&mut self) -> Result<Option<RecordBatch>> {
        let rows = self.header.rows();
        if rows == 0 {
            return Ok(None);
        }
        batch(&self.schema, self.header.finish(), rows).map(Some)
    }
}

/// What a cell of [`CellRows`] is made of.
pub(crate) enum Cell {
    /// The stored bytes: `content`.
    Content(ContentBuilder),
    /// The decompressed bytes as text: `text`.
    Text { builder: Box<StringViewBuilder>, bytes: usize, policy: OnInvalidUtf8 },
}

impl Cell {
    pub(crate) fn content() -> Self {
        Self::Content(ContentBuilder::new())
    }

    pub(crate) fn text(policy: OnInvalidUtf8) -> Self {
        Self::Text { builder: Box::new(StringViewBuilder::new().with_fixed_block_size(1 << 20)), bytes: 0, policy }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Content(builder) => builder.bytes(),
            Self::Text { bytes, .. } => *bytes,
        }
    }

    fn append(&mut self, content: Vec<u8>) -> Result<()> {
        match self {
            Self::Content(builder) => builder.append(content),
            Self::Text { builder, bytes, policy } => {
                let text = utf8::decode(&content, *policy)?;
                // A character that replaces a byte takes three.
                let length = text.as_ref().map_or(0, |text| text.len());
                if length as u64 > CELL_BYTES_MAX {
                    return Err(cell_too_large(length as u64));
                }
                *bytes += length;
                builder.append_option(text);
                Ok(())
            }
        }
    }

    fn append_null(&mut self) {
        match self {
            Self::Content(builder) => builder.append_null(),
            Self::Text { builder, .. } => builder.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Content(builder) => builder.finish(),
            Self::Text { builder, bytes, .. } => {
                *bytes = 0;
                Arc::new(builder.finish())
            }
        }
    }
}

/// One row a member, with its content in the last column.
pub(crate) struct CellRows {
    schema: SchemaRef,
    header: HeaderBuilder,
    cell: Cell,
    batch_size: usize,
    stats: Arc<Stats>,
    open: Option<OpenCell>,
}

/// The content that is being gathered. The header is appended when it is complete, so that a damaged one leaves no row.
struct OpenCell {
    member: Member,
    gathered: Vec<u8>,
    /// Decompresses, for text.
    content: Option<MemberContent>,
    pushed: Bytes,
    ended: bool,
}

impl CellRows {
    /// `schema` has exactly `columns` and the cell.
    pub(crate) fn new(
        archive: Arc<str>,
        schema: SchemaRef,
        columns: &[HeaderColumn],
        cell: Cell,
        batch_size: usize,
        stats: Arc<Stats>,
    ) -> Self {
        Self { schema, header: HeaderBuilder::new(archive, columns), cell, batch_size, stats, open: None }
    }

    /// Gathers what was pushed; true once the content is complete.
    fn gather(&mut self) -> Result<bool> {
        let Some(open) = &mut self.open else { return Ok(false) };
        match &mut open.content {
            None => {
                let piece = std::mem::take(&mut open.pushed);
                extend(&mut open.gathered, &piece)?;
            }
            Some(content) => {
                if !open.pushed.is_empty() {
                    content.push(std::mem::take(&mut open.pushed));
                }
                if open.ended {
                    content.end();
                }
                while let Some(piece) = content.pull()? {
                    extend(&mut open.gathered, &piece)?;
                }
            }
        }
        Ok(open.ended)
    }

    fn append(&mut self) -> Result<()> {
        if let Some(open) = self.open.take() {
            self.cell.append(open.gathered)?;
            self.header.append(&open.member)?;
        }
        Ok(())
    }
}

/// Appends `piece`, within what a cell can hold.
fn extend(gathered: &mut Vec<u8>, piece: &[u8]) -> Result<()> {
    let bytes = gathered.len() as u64 + piece.len() as u64;
    if bytes > CELL_BYTES_MAX {
        return Err(cell_too_large(bytes));
    }
    gathered.extend_from_slice(piece);
    Ok(())
}

impl MemberRows for CellRows {
    fn begin(&mut self, member: &Member) -> Result<bool> {
        if member.member_type != MemberType::File {
            self.cell.append_null();
            self.header.append(member)?;
            return Ok(false);
        }
        let text = matches!(self.cell, Cell::Text { .. });
        // A text may be stored compressed, but what is so large even then has no room either.
        if member.size > CELL_BYTES_MAX {
            return Err(cell_too_large(member.size));
        }
        self.open = Some(OpenCell {
            member: member.clone(),
            gathered: Vec::new(),
            content: text.then(|| MemberContent::new(Arc::clone(&self.stats))),
            pushed: Bytes::new(),
            ended: false,
        });
        Ok(true)
    }

    fn push(&mut self, content: Bytes) {
        if let Some(open) = &mut self.open {
            open.pushed = content;
        }
    }

    fn end(&mut self) {
        if let Some(open) = &mut self.open {
            open.ended = true;
        }
    }

    fn abandon(&mut self) -> Result<()> {
        self.open = None;
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let start = Instant::now();
        if self.gather()? {
            self.append()?;
        }
        self.stats.decode_nanos.add_elapsed(start);
        let bytes = self.header.bytes() + self.cell.bytes();
        let full = self.header.rows() >= self.batch_size || bytes >= BATCH_BYTES_MAX;
        if full { self.flush() } else { Ok(None) }
    }

    fn flush(&mut self) -> Result<Option<RecordBatch>> {
        let cell = self.cell.finish();
        let rows = cell.len();
        if rows == 0 {
            return Ok(None);
        }
        let mut columns = self.header.finish();
        columns.push(cell);
        batch(&self.schema, columns, rows).map(Some)
    }
}

/// Makes the decoder of a member.
pub(crate) type MakeDecoder = Box<dyn Fn() -> Result<Box<dyn RecordDecoder>> + Send>;

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

/// Many rows a member: what a decoder makes of its content.
pub(crate) struct RecordRows {
    schema: SchemaRef,
    columns: Vec<RecordColumn>,
    header: HeaderBuilder,
    make_decoder: MakeDecoder,
    stats: Arc<Stats>,
    open: Option<OpenRecords>,
}

struct OpenRecords {
    header: Vec<ArrayRef>,
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
        Self { schema, columns, header, make_decoder, stats, open: None }
    }

    /// Feeds the decoder until it has a batch; false when there is nothing to feed.
    fn feed(open: &mut OpenRecords, stats: &Stats) -> Result<bool> {
        match open.content.pull()? {
            Some(piece) => {
                let start = Instant::now();
                open.decoder.decode(&piece)?;
                stats.decode_nanos.add_elapsed(start);
                Ok(true)
            }
            None if open.ended && !open.finished => {
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
        self.open = Some(OpenRecords {
            rows_max: (BATCH_BYTES_MAX / self.header.bytes().max(1)).max(1),
            rest: None,
            header: self.header.finish(),
            content: MemberContent::new(Arc::clone(&self.stats)),
            decoder: (self.make_decoder)()?,
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
            open.content = MemberContent::new(Arc::clone(&self.stats));
            open.decoder.abandon()?;
        }
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let Some(open) = &mut self.open else { return Ok(None) };
        let records = loop {
            if let Some(records) = open.rest.take().or_else(|| open.decoder.next_records()) {
                break records;
            }
            if !Self::feed(open, &self.stats)? {
                if open.finished {
                    self.open = None;
                }
                return Ok(None);
            }
        };
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
}
