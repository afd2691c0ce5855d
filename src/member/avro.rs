//! `format = 'avro'`: a row is a record of an Avro object container file.
//!
//! The container is ours ([`container`], [`codec`]): it comes in pieces, may be damaged anywhere, and claims lengths.
//! Records with nothing but flat fields are ours, too ([`flat`]), as long as nothing is wrong with them. All others are
//! arrow-avro's, whose reader gets the records of whole blocks as a container of one block. Small blocks are joined, as a
//! reader costs more to make than they to read; if that fails they are read one by one, so that what is in front of the
//! damage comes out.
//!
//! A block whose count and bytes disagree must not reach arrow-avro as it is: behind the last record its reader would look
//! for the rest forever. It is told of more records than there can be instead, takes as many as the block has by its size
//! of a batch, and has to find nothing then.
//!
//! Damage is the container's, so no policy for rows applies; values that the table's types can't hold are such rows.

mod codec;
mod columns;
mod container;
mod cut;
mod flat;
mod schema;
#[cfg(test)]
mod tests;
mod texts;

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_avro::reader::ReaderBuilder;
use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};
use crate::member::avro::columns::Columns;
use crate::member::avro::container::{BLOCK_BYTES_MAX, BlockHead, Codec, Header};
use crate::member::avro::cut::BlockCutter;
use crate::member::avro::flat::FlatRecords;
use crate::member::{Before, Cutter, RecordDecoder, RecordOptions, Records};
use crate::memory::Allowance;
use crate::policy::OnInvalidUtf8;
use crate::report::BadRows;

/// Blocks are joined up to so many bytes.
const JOINED_BYTES: usize = 1 << 20;

/// Part of a limited memory that one block of each partition may unfold to: it is held twice more while it is decoded.
const BLOCKS_SHARE: u64 = 4;

/// What it may unfold to in any case.
const BLOCK_BYTES_MIN: u64 = 1 << 20;

/// Batches of one block that are made at once; a block of twenty bytes may claim millions of records.
const READY_BATCHES_MAX: usize = 16;

/// How often blocks are held while they become batches: decompressed, decoded, and converted to the columns' types.
const DECODED_COPIES: usize = 3;

/// The columns of the container whose beginning `sample` is, all of which may be NULL.
///
/// # Errors
/// What is no container or holds no records, and a sample that ends inside the header.
pub(crate) fn infer(sample: &[u8]) -> Result<Schema> {
    let (mut header, _) = Header::parse(sample)?.ok_or_else(|| {
        let what =
            format!("the header of the Avro container has more than the {} bytes that were looked at", sample.len());
        Error::new(ErrorKind::Schema, what)
    })?;
    let schema = writer_schema(&mut header)?;
    Ok(Schema::new(schema.fields().iter().map(|field| columns::plain(field)).collect::<Vec<_>>()))
}

/// The fields of the records as arrow-avro has them; the schema of `header` becomes one that it can read.
fn writer_schema(header: &mut Header) -> Result<SchemaRef> {
    let refused = |cause: Box<dyn StdError + Send + Sync>| {
        Error::new(ErrorKind::Member, "the schema of the Avro container can't be read").caused_by(cause)
    };
    header.schema = schema::without_references(&header.schema).map_err(|cause| refused(cause.into()))?;
    let container = container::header_bytes(header);
    let reader = ReaderBuilder::new().build(container.as_slice()).map_err(|cause| refused(cause.into()))?;
    Ok(reader.schema())
}

/// Turns a container into rows.
pub(crate) struct AvroDecoder {
    options: RecordOptions,
    /// Bytes of which the header or the blocks were not taken yet, and those in front of them.
    pending: Vec<u8>,
    /// How many were.
    taken: usize,
    /// There may be a whole block behind them: it is taken when what came of those in front was given out. A piece may hold
    /// thousands of blocks, each of which unfolds to a thousand times its size.
    has_more: bool,
    /// How many bytes of the member are in front of `pending`.
    offset: u64,
    open: Option<Arc<Open>>,
    blocks: Blocks,
    /// Records in front of the blocks that wait.
    records: i64,
    /// Records that only have to be counted: a block of twenty bytes may claim millions.
    counting: usize,
    ready: VecDeque<Records>,
    /// Decoded records behind those that are ready: nulls take nothing before they become values of a column's type.
    later: VecDeque<RecordBatch>,
    /// What came of one of them.
    failure: Option<Error>,
}

/// What the header told.
struct Open {
    header: Header,
    writer: SchemaRef,
    columns: Columns,
    /// Reads the records, where all of their fields are flat.
    flat: Option<FlatRecords>,
}

/// Blocks that wait to be decoded, decompressed and one behind the other.
#[derive(Default)]
struct Blocks {
    bytes: Vec<u8>,
    blocks: Vec<Block>,
}

struct Block {
    /// Where in the member it begins.
    offset: u64,
    records: usize,
    bytes: Range<usize>,
}

impl Blocks {
    fn records(&self) -> usize {
        self.blocks.iter().map(|block| block.records).sum()
    }

    /// Enough for a batch.
    fn suffice(&self, batch_size: usize) -> bool {
        self.bytes.len() >= JOINED_BYTES || self.records() >= batch_size
    }
}

impl AvroDecoder {
    /// The columns are looked for when the header is there.
    pub(crate) fn new(options: RecordOptions) -> Self {
        Self {
            options,
            pending: Vec::new(),
            taken: 0,
            has_more: false,
            offset: 0,
            open: None,
            blocks: Blocks::default(),
            records: 0,
            counting: 0,
            ready: VecDeque::new(),
            later: VecDeque::new(),
            failure: None,
        }
    }

    /// Takes what is complete off `pending`, until there is something to give out.
    fn take_complete(&mut self) -> Result<()> {
        if self.open.is_none() {
            let Some((mut header, bytes)) = Header::parse(&self.pending)? else { return Ok(()) };
            let writer = writer_schema(&mut header)?;
            let columns = Columns::new(&self.options, &writer)?;
            let flat = FlatRecords::new(&header.schema, &writer, &columns.needed);
            self.open = Some(Arc::new(Open { header, writer, columns, flat }));
            self.taken = bytes;
        }
        self.take_blocks(|decoder| decoder.ready.is_empty() && decoder.later.is_empty())
    }

    /// Takes all that is complete.
    fn take_rest(&mut self) -> Result<()> {
        if self.has_more {
            self.take_blocks(|_| true)?;
        }
        self.decode_blocks()
    }

    /// Takes whole blocks as long as `goes_on` says so.
    fn take_blocks(&mut self, goes_on: fn(&Self) -> bool) -> Result<()> {
        let result = loop {
            self.has_more = !goes_on(self);
            if self.has_more {
                return Ok(());
            }
            match self.take_block(self.taken) {
                Ok(0) => break Ok(()),
                Ok(bytes) => self.taken += bytes,
                Err(error) => break Err(error),
            }
        };
        self.pending.drain(..self.taken);
        self.offset += std::mem::take(&mut self.taken) as u64;
        match result {
            Ok(()) => Ok(()),
            // The blocks in front of the damage are whole.
            Err(error) => self.decode_blocks().and(Err(error)),
        }
    }

    /// Takes the block at `start` of `pending`; says how many bytes it has, 0 if it isn't complete.
    fn take_block(&mut self, start: usize) -> Result<usize> {
        let Some(open) = &self.open else { return Ok(0) };
        let offset = self.offset + start as u64;
        let rest = &self.pending[start..];
        let Some(head) = BlockHead::parse(rest).map_err(|what| bad_block(offset, &what))? else { return Ok(0) };
        let Some(block) = rest.get(..head.block_bytes()) else { return Ok(0) };
        let (block, sync) = block[head.head_bytes..].split_at(head.bytes);
        if sync != open.header.sync {
            return Err(bad_block(offset, "the sync marker behind it is not that of the header"));
        }
        let records = head.records;
        let start = self.blocks.bytes.len();
        if open.columns.needed.is_empty() {
            // Counting takes no more than the count; only what is plainly impossible is refused.
            if open.header.codec == Codec::Null && records > head.bytes && !open.only_nulls() {
                return Err(bad_block(offset, &format!("{} bytes are less than {records} records", head.bytes)));
            }
        } else {
            codec::decompress(
                open.header.codec,
                block,
                block_bytes_max(&self.options.allowance),
                &mut self.blocks.bytes,
            )
            .map_err(|what| bad_block(offset, &what))?;
        }
        let bytes = start..self.blocks.bytes.len();
        self.blocks.blocks.push(Block { offset, records, bytes });
        if self.blocks.suffice(self.options.batch_size) {
            self.decode_blocks()?;
        }
        Ok(head.block_bytes())
    }

    fn decode_blocks(&mut self) -> Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        let Blocks { mut bytes, blocks } = std::mem::take(&mut self.blocks);
        let records = blocks.iter().map(|block| block.records).sum();
        let result = match open.decode(&bytes, records) {
            Ok(batch) => self.emit(batch.as_ref(), records),
            Err(_) => self.decode_one_by_one(&bytes, &blocks),
        };
        bytes.clear();
        self.blocks.bytes = bytes;
        result
    }

    fn decode_one_by_one(&mut self, bytes: &[u8], blocks: &[Block]) -> Result<()> {
        for block in blocks {
            let Some(open) = &self.open else { return Ok(()) };
            let bytes = &bytes[block.bytes.clone()];
            let batch = match open.decode(bytes, block.records) {
                Ok(batch) => batch,
                Err(cause) => {
                    let mended =
                        open.decode_texts(bytes, block.records, self.records + 1, self.options.on_invalid_utf8);
                    let damaged = || bad_block(block.offset, "its records can't be read").caused_by(cause);
                    Some(mended.ok_or_else(damaged)??)
                }
            };
            self.emit(batch.as_ref(), block.records)?;
        }
        Ok(())
    }

    /// Cuts what was decoded into batches of about the same size; `None` is records of which nothing is needed.
    fn emit(&mut self, decoded: Option<&RecordBatch>, records: usize) -> Result<()> {
        let (Some(open), Some(decoded)) = (&self.open, decoded) else {
            self.counting += records;
            return Ok(());
        };
        let batches = records.div_ceil(self.options.batch_size.max(1));
        if !self.later.is_empty() {
            self.later.push_back(decoded.clone());
            return Ok(());
        }
        for batch in 0..batches {
            if batch == READY_BATCHES_MAX {
                let start = records * batch / batches;
                self.later.push_back(decoded.slice(start, records - start));
                break;
            }
            let (start, end) = (records * batch / batches, records * (batch + 1) / batches);
            let first = self.records + 1;
            self.records += i64::try_from(end - start).unwrap_or(i64::MAX);
            let records = open.columns.convert(&decoded.slice(start, end - start), first, &self.options)?;
            if records.batch.num_rows() > 0 {
                self.ready.push_back(records);
            }
        }
        Ok(())
    }

    /// A batch of the records that were decoded and not converted.
    fn convert_later(&mut self) -> Option<Records> {
        let open = self.open.as_ref()?;
        while let Some(decoded) = self.later.pop_front() {
            let rows = decoded.num_rows().min(self.options.batch_size.max(1));
            if rows < decoded.num_rows() {
                self.later.push_front(decoded.slice(rows, decoded.num_rows() - rows));
            }
            let first = self.records + 1;
            self.records += i64::try_from(rows).unwrap_or(i64::MAX);
            match open.columns.convert(&decoded.slice(0, rows), first, &self.options) {
                Ok(records) if records.batch.num_rows() > 0 => return Some(records),
                Ok(_) => {}
                Err(error) => {
                    self.failure = Some(error);
                    self.has_more = false;
                    self.later.clear();
                }
            }
        }
        None
    }

    /// A batch of the records of which nothing is needed.
    fn count(&mut self) -> Option<Records> {
        let open = self.open.as_ref().filter(|_| self.counting > 0)?;
        let rows = self.counting.min(self.options.batch_size.max(1));
        let row_numbers = Int64Array::from_iter_values((self.records + 1..).take(rows));
        self.counting -= rows;
        self.records += i64::try_from(rows).unwrap_or(i64::MAX);
        Some(Records { batch: open.columns.nulls(rows), row_numbers })
    }
}

impl RecordDecoder for AvroDecoder {
    fn decode(&mut self, piece: Bytes) -> Result<()> {
        self.pending.extend_from_slice(&piece);
        self.take_complete()
    }

    fn finish(&mut self) -> Result<()> {
        self.take_rest()?;
        match &self.open {
            None => Err(Error::new(ErrorKind::Member, "the content ends inside the header of the Avro container")),
            Some(_) if self.pending.is_empty() => Ok(()),
            Some(_) => Err(bad_block(self.offset, "the content ends inside it")),
        }
    }

    fn abandon(&mut self) -> Result<()> {
        self.take_rest()
    }

    fn next_records(&mut self) -> Option<Records> {
        loop {
            let records = self.ready.pop_front().or_else(|| self.convert_later()).or_else(|| self.count());
            if records.is_some() || !self.has_more {
                return records;
            }
            if let Err(error) = self.take_complete() {
                self.failure.get_or_insert(error);
            }
        }
    }

    fn failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    fn bytes_wanted(&self, piece_bytes: usize) -> usize {
        let (held, room) = (self.pending.len() + piece_bytes, self.pending.capacity());
        let moved = if held > room { (2 * room).max(held) } else { 0 };
        room + moved + DECODED_COPIES * (held + self.blocks.bytes.capacity())
    }

    fn what_grows(&self) -> &'static str {
        "an Avro block of the member"
    }

    fn cutter(&self) -> Option<Box<dyn Cutter>> {
        Some(Box::new(BlockCutter::new()))
    }

    fn fork(&self, before: Before, bad_rows: BadRows) -> Option<Box<dyn RecordDecoder>> {
        let open = Some(Arc::clone(self.open.as_ref()?));
        let fork = Self::new(RecordOptions { bad_rows, ..self.options.clone() });
        Some(Box::new(Self { open, records: before.records, offset: before.bytes, ..fork }))
    }

    fn read_so_far(&self) -> Before {
        let later: usize = self.later.iter().map(RecordBatch::num_rows).sum();
        let waiting = i64::try_from(later + self.counting + self.blocks.records()).unwrap_or(i64::MAX);
        Before { records: self.records + waiting, bytes: self.offset + self.pending.len() as u64 }
    }
}

impl Open {
    /// The needed fields of `records` records that `bytes` hold, no more and no less; `None` if none is needed.
    fn decode(&self, bytes: &[u8], records: usize) -> Result<Option<RecordBatch>, ArrowError> {
        if self.columns.needed.is_empty() {
            return Ok(None);
        }
        if let Some(batch) = self.flat.as_ref().and_then(|flat| flat.decode(bytes, records)) {
            return Ok(Some(batch));
        }
        self.decode_as(&self.header, bytes, records).map(Some)
    }

    /// As [`Open::decode`], with texts that are not UTF-8 mended, or refused, as `policy` says; `None` where something
    /// else is wrong. The first record is number `first`.
    fn decode_texts(
        &self,
        bytes: &[u8],
        records: usize,
        first: i64,
        policy: OnInvalidUtf8,
    ) -> Option<Result<RecordBatch>> {
        let schema = texts::as_bytes(&self.header.schema)?;
        let header = Header { schema, ..self.header.clone() };
        let batch = self.decode_as(&header, bytes, records).ok()?;
        let writer = self.writer.project(&self.columns.needed).ok()?;
        Some(texts::from_bytes(&batch, &writer, first, policy))
    }

    fn decode_as(&self, header: &Header, bytes: &[u8], records: usize) -> Result<RecordBatch, ArrowError> {
        let needed = &self.columns.needed;
        if bytes.is_empty() || records == 0 {
            return self.decode_nothing(bytes, records);
        }
        let prefix = container::prefix(header, bytes.len());
        let source = || prefix.as_slice().chain(bytes).chain(header.sync.as_slice());
        let builder = || ReaderBuilder::new().with_batch_size(records);
        let all = needed.len() == self.writer.fields().len();
        let projected = if all { None } else { builder().with_projection(needed.clone()).build(source()).ok() };
        let (mut reader, all) = match projected {
            Some(reader) => (reader, false),
            // A type that is named in a field that is left out is missing where another field uses it.
            None => (builder().build(source())?, true),
        };
        let batch = reader.next().transpose()?.filter(|batch| batch.num_rows() == records);
        let batch = batch.ok_or_else(|| ArrowError::AvroError(format!("there are less than {records} records")))?;
        if reader.next().is_some() {
            return Err(ArrowError::AvroError(format!("there are more than {records} records")));
        }
        if all { batch.project(needed) } else { Ok(batch) }
    }

    /// Whether records take no bytes.
    fn only_nulls(&self) -> bool {
        self.writer.fields().iter().all(|field| *field.data_type() == DataType::Null)
    }

    /// Without bytes there is nothing but nulls, and without records there must be no bytes.
    fn decode_nothing(&self, bytes: &[u8], records: usize) -> Result<RecordBatch, ArrowError> {
        if !bytes.is_empty() || (records > 0 && !self.only_nulls()) {
            return Err(ArrowError::AvroError(format!("{records} records don't have {} bytes", bytes.len())));
        }
        let schema = Arc::new(self.writer.project(&self.columns.needed)?);
        let nulls = |field: &Arc<arrow::datatypes::Field>| new_null_array(field.data_type(), records);
        let columns: Vec<ArrayRef> = schema.fields().iter().map(nulls).collect();
        let count = RecordBatchOptions::new().with_row_count(Some(records));
        RecordBatch::try_new_with_options(schema, columns, &count)
    }
}

/// What a block may unfold to, by the format's limit or by what there is.
fn block_bytes_max(allowance: &Allowance) -> usize {
    let share = allowance.share(BLOCKS_SHARE, BLOCK_BYTES_MIN, BLOCK_BYTES_MAX as u64);
    usize::try_from(share).unwrap_or(BLOCK_BYTES_MAX)
}

fn bad_block(offset: u64, what: &str) -> Error {
    Error::new(ErrorKind::Member, format!("the Avro block at byte {offset} of the member: {what}"))
}
