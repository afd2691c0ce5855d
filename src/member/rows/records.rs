//! [`RecordRows`]: many records of one content become rows, with what the member's header adds to each.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, poll_fn};

use super::decoding::{Decoder, Decoding};
use super::sheaves::{Header, MemberRecords, Sheaves, SmallMember};
use super::{MemberRows, batch};
use crate::archive::ContentView;
use crate::batch::{HeaderBuilder, batch_bytes_max, repeat};
use crate::crew::Crew;
use crate::error::Result;
use crate::member::RecordDecoder;
use crate::memory::{Allowance, Shortage};
use crate::report::BadRows;
use crate::schema::HeaderColumn;
use crate::stats::Stats;
use crate::tar::Member;

/// Makes a decoder that tells of bad rows there.
pub(crate) type MakeDecoder = Box<dyn Fn(BadRows) -> Result<Box<dyn RecordDecoder>> + Send + Sync>;

/// Where the decoder of a member tells of bad rows, by its path and the offset of its header.
pub(crate) type BadRowsOf = Box<dyn Fn(&str, u64) -> BadRows + Send + Sync>;

/// Makes the decoders of members.
pub(crate) struct Decoders {
    pub(crate) make: MakeDecoder,
    pub(crate) bad_rows: BadRowsOf,
    /// Rows of a batch that holds the records of several members.
    pub(crate) batch_size: usize,
}

impl Decoders {
    /// The decoder of a member.
    pub(super) fn of(&self, path: &str, offset: u64) -> Result<Decoder> {
        let bad_rows = (self.bad_rows)(path, offset);
        Ok(Decoder { records: (self.make)(bad_rows.clone())?, bad_rows })
    }
}

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

/// Contents that are shorter leave most of the block unused in which they lie.
const SMALL_BYTES: u64 = 512 << 10;

/// Many rows a member: what a decoder makes of its content.
pub(crate) struct RecordRows {
    schema: SchemaRef,
    columns: Vec<RecordColumn>,
    header: HeaderBuilder,
    decoders: Arc<Decoders>,
    stats: Arc<Stats>,
    /// Small members before the one that is open.
    sheaves: Sheaves,
    open: Option<OpenRecords>,
    /// The content of a small one so far, which comes in several pieces: with all of it, it is no longer open.
    small: Option<(SmallMember, Vec<u8>)>,
    /// A batch has been given out.
    has_given: bool,
    /// What of the last records did not fit its batch.
    rest: Option<MemberRecords>,
    allowance: Allowance,
    crew: Crew,
}

struct OpenRecords {
    header: Arc<Header>,
    /// It has fewer than [`SMALL_BYTES`].
    is_small: bool,
    decoding: Decoding,
}

impl RecordRows {
    /// `schema` has one field for each of `columns`; `header_columns` are what [`RecordColumn::Header`] counts in.
    pub(crate) fn new(
        archive: Arc<str>,
        schema: SchemaRef,
        columns: Vec<RecordColumn>,
        header_columns: &[HeaderColumn],
        decoders: Decoders,
        stats: Arc<Stats>,
    ) -> Self {
        let header = HeaderBuilder::new(archive, header_columns);
        let (allowance, crew, decoders) = (Allowance::unlimited(), Crew::alone(), Arc::new(decoders));
        let sheaves = Sheaves::new(&decoders, &crew, &stats);
        Self {
            schema,
            columns,
            header,
            decoders,
            stats,
            sheaves,
            open: None,
            small: None,
            has_given: false,
            rest: None,
            allowance,
            crew,
        }
    }

    /// Takes its memory from `allowance`.
    #[must_use]
    pub(crate) fn within(self, allowance: &Allowance) -> Self {
        Self { allowance: allowance.clone(), ..self }
    }

    /// Has what it can't do at once done by `crew`.
    #[must_use]
    pub(crate) fn with_crew(self, crew: &Crew) -> Self {
        let sheaves = Sheaves::new(&self.decoders, crew, &self.stats);
        Self { crew: crew.clone(), sheaves, ..self }
    }

    /// The columns of one member's header, and the bytes for which they are reckoned with.
    fn header_of(&mut self, member: &Member) -> Result<(Arc<Header>, usize)> {
        self.header.append(member)?;
        let batch_bytes_max = batch_bytes_max(&self.allowance);
        let bytes = self.header.bytes().saturating_mul(HEADER_REPEATS).min(2 * batch_bytes_max);
        let rows_max = (batch_bytes_max / self.header.bytes().max(1)).max(1);
        Ok((Arc::new(Header { columns: self.header.finish()?, rows_max, is_of_each: false }), bytes))
    }

    /// Whether a member of so many bytes, which begin with `head`, may go to the sheaves.
    fn takes(&mut self, bytes: u64, head: &[u8]) -> bool {
        // Nobody may want more than the first rows. And under a limit what is gathered would have to be accounted, and given
        // back where memory is scarce.
        let may_gather = self.has_given && !self.allowance.is_limited();
        may_gather && usize::try_from(bytes).is_ok_and(|bytes| self.sheaves.takes(bytes, head))
    }

    /// The member that is open is decoded as far as its content came, small or not.
    fn keep_open(&mut self) {
        if let (Some((_, bytes)), Some(open)) = (self.small.take(), &mut self.open) {
            self.sheaves.catch_up();
            open.decoding.push(bytes.into());
        }
    }

    /// The next records, in order.
    fn next_records(&mut self) -> Result<Option<MemberRecords>> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        if let Some(records) = self.sheaves.next()? {
            return Ok(Some(records));
        }
        let Some(open) = self.open.as_mut().filter(|_| !self.sheaves.waits()) else { return Ok(None) };
        let records = open.decoding.next_records()?;
        if records.is_none() && open.decoding.is_finished() {
            self.open = None;
            return Ok(None);
        }
        Ok(records.map(|records| (Arc::clone(&open.header), records)))
    }
}

impl MemberRows for RecordRows {
    fn append_whole(&mut self, member: &Member, content: ContentView<'_>) -> Result<bool> {
        if !self.takes(content.range.len() as u64, content.bytes()) {
            return Ok(false);
        }
        let (header, _) = self.header_of(member)?;
        // A copy, since lines stay views into it: they would keep the whole block.
        let member = SmallMember::new(member, &header, Bytes::copy_from_slice(content.bytes()));
        self.sheaves.add(member);
        Ok(true)
    }

    fn begin(&mut self, member: &Member) -> Result<bool> {
        let (header, header_bytes) = self.header_of(member)?;
        let decoder = self.decoders.of(&member.path_lossy(), member.offset)?;
        let decoding = Decoding::new(decoder, &self.crew, &self.stats, &self.allowance).with_extra(header_bytes);
        self.small =
            self.takes(member.size, &[]).then(|| (SmallMember::new(member, &header, Bytes::new()), Vec::new()));
        self.open = Some(OpenRecords { header, decoding, is_small: member.size < SMALL_BYTES });
        if self.small.is_none() {
            self.sheaves.catch_up();
        }
        Ok(true)
    }

    fn push(&mut self, content: Bytes) {
        match (&mut self.small, &mut self.open) {
            (Some((_, bytes)), _) => bytes.extend_from_slice(&content),
            // A copy of what is less than half of a block: lines stay views into it, and would keep all of it.
            (None, Some(open)) if open.is_small => open.decoding.push(Bytes::copy_from_slice(&content)),
            (None, Some(open)) => open.decoding.push(content),
            (None, None) => {}
        }
    }

    fn end(&mut self) {
        if let Some((member, bytes)) = self.small.take() {
            self.open = None;
            self.sheaves.add(SmallMember { content: bytes.into(), ..member });
        } else if let Some(open) = &mut self.open {
            open.decoding.end();
        }
    }

    fn abandon(&mut self) -> Result<()> {
        if self.sheaves.is_at_fault() {
            return self.sheaves.abandon();
        }
        self.keep_open();
        self.open.as_mut().map_or(Ok(()), |open| open.decoding.abandon())
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let Some((header, records)) = self.next_records()? else { return Ok(None) };
        self.has_given = true;
        let rows = records.batch.num_rows().min(header.rows_max);
        let (records, rest) = records.split_at(rows);
        self.rest = rest.map(|rest| (Arc::clone(&header), rest));
        let header = if header.is_of_each { header.columns.clone() } else { repeat(&header.columns, rows)? };
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

    fn is_behind(&self) -> bool {
        self.sheaves.is_at_fault()
    }

    fn catch_up(&mut self) {
        self.keep_open();
        self.sheaves.catch_up();
        if let Some(open) = &mut self.open {
            open.decoding.catch_up();
        }
    }

    fn pending(&mut self) -> Option<BoxFuture<'_, ()>> {
        if self.sheaves.waits() {
            return Some(poll_fn(|context| self.sheaves.poll_waiting(context)).boxed());
        }
        let decoding = &mut self.open.as_mut()?.decoding;
        decoding.is_waiting().then(move || poll_fn(move |context| decoding.poll_waiting(context)).boxed())
    }

    fn shortage(&mut self) -> Option<Shortage<'_>> {
        self.open.as_mut()?.decoding.shortage()
    }
}
