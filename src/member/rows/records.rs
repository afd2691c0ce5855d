//! [`RecordRows`]: many records of one content become rows, with what the member's header adds to each.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, poll_fn};

use super::decoding::{Decoder, Decoding};
use super::{MemberRows, batch};
use crate::batch::{HeaderBuilder, batch_bytes_max, repeat};
use crate::crew::Crew;
use crate::error::Result;
use crate::member::Records;
use crate::memory::{Allowance, Shortage};
use crate::schema::HeaderColumn;
use crate::stats::Stats;
use crate::tar::Member;

/// Makes the decoder of a member.
pub(crate) type MakeDecoder = Box<dyn Fn(&Member) -> Result<Decoder> + Send>;

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
    crew: Crew,
}

struct OpenRecords {
    header: Vec<ArrayRef>,
    /// Rows of a batch, each of which repeats the header.
    rows_max: usize,
    /// What of the last records did not fit its batch.
    rest: Option<Records>,
    decoding: Decoding,
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
        let (allowance, crew) = (Allowance::unlimited(), Crew::alone());
        Self { schema, columns, header, make_decoder, stats, open: None, allowance, crew }
    }

    /// Takes its memory from `allowance`.
    #[must_use]
    pub(crate) fn within(self, allowance: &Allowance) -> Self {
        Self { allowance: allowance.clone(), ..self }
    }

    /// Has what it can't do at once done by `crew`.
    #[must_use]
    pub(crate) fn with_crew(self, crew: &Crew) -> Self {
        Self { crew: crew.clone(), ..self }
    }
}

impl MemberRows for RecordRows {
    fn begin(&mut self, member: &Member) -> Result<bool> {
        self.header.append(member)?;
        let batch_bytes_max = batch_bytes_max(&self.allowance);
        let header_bytes = self.header.bytes().saturating_mul(HEADER_REPEATS).min(2 * batch_bytes_max);
        let rows_max = (batch_bytes_max / self.header.bytes().max(1)).max(1);
        let header = self.header.finish()?;
        let decoder = (self.make_decoder)(member)?;
        let decoding = Decoding::new(decoder, &self.crew, &self.stats, &self.allowance).with_extra(header_bytes);
        self.open = Some(OpenRecords { header, rows_max, rest: None, decoding });
        Ok(true)
    }

    fn push(&mut self, content: Bytes) {
        if let Some(open) = &mut self.open {
            open.decoding.push(content);
        }
    }

    fn end(&mut self) {
        if let Some(open) = &mut self.open {
            open.decoding.end();
        }
    }

    fn abandon(&mut self) -> Result<()> {
        self.open.as_mut().map_or(Ok(()), |open| open.decoding.abandon())
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let Some(open) = &mut self.open else { return Ok(None) };
        let records = match open.rest.take() {
            Some(rest) => Some(rest),
            None => open.decoding.next_records()?,
        };
        let Some(records) = records else {
            if open.decoding.is_finished() {
                self.open = None;
            }
            return Ok(None);
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

    fn catch_up(&mut self) {
        if let Some(open) = &mut self.open {
            open.decoding.catch_up();
        }
    }

    fn pending(&mut self) -> Option<BoxFuture<'_, ()>> {
        let decoding = &mut self.open.as_mut()?.decoding;
        decoding.is_waiting().then(move || poll_fn(move |context| decoding.poll_waiting(context)).boxed())
    }

    fn shortage(&mut self) -> Option<Shortage<'_>> {
        self.open.as_mut()?.decoding.shortage()
    }
}
