//! A column of a row group while it is encoded: by us where it is flat and nothing special is asked for, and by the Parquet
//! library where it is not.

mod bounds;
mod cells;
mod chunk;
mod dictionary;
mod history;
mod hybrid;
mod levels;
mod pages;
mod pieces;
mod plain;
mod snappy;
mod values;

use std::io::Write;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, compute_leaves};
use parquet::basic::{Compression, ConvertedType, LogicalType, Type};
use parquet::errors::Result;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::writer::SerializedRowGroupWriter;
use parquet::schema::types::ColumnDescPtr;

use self::bounds::{Cut, Order};
use self::cells::Kind;
use self::chunk::Chunk;
use self::history::History;
use self::pages::ClosedChunk;
pub(super) use self::pages::Scratch;

/// Rows that are encoded in one go: it is after them that limits are looked at.
const STEP_ROWS_MAX: usize = 1 << 10;

/// No page is filled beyond that, whatever the limits say: its size has to fit into 31 bits.
const PAGE_BYTES_MAX: usize = 1 << 30;

/// How a column is written that we encode.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    column: ColumnDescPtr,
    kind: Kind,
    compression: Compression,
    statistics: EnabledStatistics,
    cut: Cut,
    /// Bytes of a text in the statistics of a chunk, and in the index of its pages.
    statistics_length: Option<usize>,
    index_length: Option<usize>,
    has_offset_index: bool,
    /// Zero if there shall be none.
    dictionary_bytes_max: usize,
    page_bytes_max: usize,
    page_rows_max: usize,
    step_rows: usize,
    history: Arc<History>,
}

impl Settings {
    /// None for a column that the Parquet library has to encode.
    pub(super) fn new(field: &Field, column: &ColumnDescPtr, properties: &WriterProperties) -> Option<Self> {
        let (kind, path) = (Kind::of(field.data_type())?, column.path());
        let is_plain_type = match (kind, column.physical_type()) {
            (Kind::Texts, Type::BYTE_ARRAY) => {
                matches!(column.logical_type_ref(), None | Some(LogicalType::String))
                    && matches!(column.converted_type(), ConvertedType::NONE | ConvertedType::UTF8)
            }
            (Kind::Flags, Type::BOOLEAN) => true,
            (Kind::Numbers(Order::Int32), Type::INT32) | (Kind::Numbers(Order::Int64), Type::INT64) => true,
            (Kind::Numbers(Order::Float), Type::FLOAT) | (Kind::Numbers(Order::Double), Type::DOUBLE) => true,
            _ => false,
        };
        let compression = properties.compression(path);
        let is_known = matches!(compression, Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_));
        let is_special = column.max_rep_level() > 0
            || column.max_def_level() > 1
            || properties.writer_version() != WriterVersion::PARQUET_1_0
            || properties.encoding(path).is_some()
            || properties.bloom_filter_properties(path).is_some()
            || properties.write_page_header_statistics(path);
        if !is_plain_type || !is_known || is_special {
            return None;
        }
        let is_cut = |_: &usize| kind == Kind::Texts;
        let statistics_length = properties.statistics_truncate_length().filter(is_cut);
        let index_length = properties.column_index_truncate_length().filter(is_cut);
        let dictionary_bytes_max = properties.column_dictionary_page_size_limit(path).min(PAGE_BYTES_MAX);
        Some(Self {
            column: Arc::clone(column),
            kind,
            compression,
            statistics: properties.statistics_enabled(path),
            cut: Cut::new(column, [statistics_length, index_length]),
            statistics_length,
            index_length,
            has_offset_index: !properties.offset_index_disabled(),
            dictionary_bytes_max: if properties.dictionary_enabled(path) { dictionary_bytes_max } else { 0 },
            page_bytes_max: properties.column_data_page_size_limit(path).min(PAGE_BYTES_MAX),
            page_rows_max: properties.data_page_row_count_limit(),
            step_rows: properties.write_batch_size().clamp(1, STEP_ROWS_MAX),
            history: Arc::default(),
        })
    }
}

/// A column while it is encoded.
pub(super) enum ColumnEncoder {
    Ours(Box<Chunk>),
    /// One for each leaf.
    Theirs(Vec<ArrowColumnWriter>),
}

impl ColumnEncoder {
    pub(super) fn ours(settings: Settings) -> Self {
        Self::Ours(Box::new(Chunk::new(settings)))
    }

    pub(super) fn write(&mut self, field: &Field, array: &ArrayRef, scratch: &mut Scratch) -> Result<()> {
        match self {
            Self::Ours(chunk) => chunk.write(array, scratch),
            Self::Theirs(writers) => {
                let leaves = compute_leaves(field, array)?;
                writers.iter_mut().zip(&leaves).try_for_each(|(writer, leaf)| writer.write(leaf))
            }
        }
    }

    /// Bytes that it will have in the file, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Ours(chunk) => chunk.bytes(),
            Self::Theirs(writers) => writers.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum(),
        }
    }

    /// Bytes that it takes in memory.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Ours(chunk) => chunk.memory(),
            Self::Theirs(writers) => writers.iter().map(ArrowColumnWriter::memory_size).sum(),
        }
    }

    /// Ends its last page.
    pub(super) fn close(self, scratch: &mut Scratch) -> Result<Vec<EncodedChunk>> {
        match self {
            Self::Ours(chunk) => Ok(vec![EncodedChunk::Ours(chunk.close(scratch)?)]),
            Self::Theirs(writers) => {
                writers.into_iter().map(|writer| Ok(EncodedChunk::Theirs(writer.close()?))).collect()
            }
        }
    }
}

/// A column chunk that waits for its place in a file.
pub(super) enum EncodedChunk {
    Ours(ClosedChunk),
    Theirs(ArrowColumnChunk),
}

impl EncodedChunk {
    pub(super) fn append<W: Write + Send>(self, row_group: &mut SerializedRowGroupWriter<'_, W>) -> Result<()> {
        match self {
            Self::Ours(chunk) => row_group.append_column(&chunk.pages, chunk.close),
            Self::Theirs(chunk) => chunk.append_to_row_group(row_group),
        }
    }
}

#[cfg(test)]
mod tests;
