//! Builds the header columns of member rows, and repeats them for formats that make many rows of one member.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, GenericByteViewArray, Int32Builder, Int64Builder, MapBuilder, RecordBatch, RecordBatchOptions,
    StringBuilder, StringViewArray, StringViewBuilder, TimestampMicrosecondBuilder, UInt32Array,
};
use arrow::buffer::Buffer;
use arrow::compute::take;
use arrow::datatypes::{ByteViewType, DataType};
use arrow::error::ArrowError;

use crate::error::{Error, ErrorKind, Result};
use crate::memory::Allowance;
use crate::schema::HeaderColumn;
use crate::tar::Member;

/// Bytes of content and headers after which a batch is closed, however few rows it has.
pub(crate) const BATCH_BYTES_MAX: usize = 16 << 20;

/// Part of a limited memory that the batches under construction of a whole scan may take.
const BATCHES_SHARE: u64 = 8;

/// A batch of fewer bytes is not worth its overhead, whatever the limit.
const BATCH_BYTES_MIN: u64 = 256 << 10;

/// [`BATCH_BYTES_MAX`], or what is less of `allowance`'s share.
pub(crate) fn batch_bytes_max(allowance: &Allowance) -> usize {
    let share = allowance.share(BATCHES_SHARE, BATCH_BYTES_MIN, BATCH_BYTES_MAX as u64);
    usize::try_from(share).unwrap_or(BATCH_BYTES_MAX)
}

/// Bytes that one cell can hold: Arrow's views and Parquet's pages count them in 31 bits.
pub(crate) const CELL_BYTES_MAX: u64 = i32::MAX as u64;

/// A number or a view, and the room that builders keep for growth.
const CELL_OVERHEAD_BYTES: usize = 32;

/// Builds the asked-for header columns, one row a member.
pub(crate) struct HeaderBuilder {
    archive: Arc<str>,
    columns: Vec<ColumnBuilder>,
    rows: usize,
    bytes: usize,
}

enum ColumnBuilder {
    /// The same in all rows.
    Archive,
    Type(StringViewBuilder),
    /// Of other columns than `path` an empty one is NULL.
    Text(HeaderColumn, StringViewBuilder),
    Int64(HeaderColumn, Int64Builder),
    Mode(Int32Builder),
    Mtime(TimestampMicrosecondBuilder),
    Pax(Box<MapBuilder<StringBuilder, StringBuilder>>),
}

impl HeaderBuilder {
    pub(crate) fn new(archive: Arc<str>, columns: &[HeaderColumn]) -> Self {
        Self { archive, columns: columns.iter().copied().map(ColumnBuilder::new).collect(), rows: 0, bytes: 0 }
    }

    /// Rows appended since the last `finish`.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of names and pax records appended since the last `finish`: a member may have a MiB of them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the rows so far take, roughly.
    pub(crate) fn held_bytes(&self) -> usize {
        self.rows * self.columns.len() * CELL_OVERHEAD_BYTES + self.bytes
    }

    /// Appends the row of `member`.
    ///
    /// # Errors
    /// A size or offset beyond `i64`, which no real archive has.
    pub(crate) fn append(&mut self, member: &Member) -> Result<()> {
        for column in &mut self.columns {
            self.bytes += column.append(member)?;
        }
        self.rows += 1;
        Ok(())
    }

    /// The columns of the rows so far; the builder begins anew.
    pub(crate) fn finish(&mut self) -> Result<Vec<ArrayRef>> {
        let rows = self.rows;
        (self.rows, self.bytes) = (0, 0);
        self.columns.iter_mut().map(|column| column.finish(&self.archive, rows)).collect()
    }
}

impl ColumnBuilder {
    fn new(column: HeaderColumn) -> Self {
        use HeaderColumn as C;
        match column {
            C::Archive => Self::Archive,
            C::Type => Self::Type(StringViewBuilder::new()),
            // Few different values in many rows: views into one copy of each.
            C::Uname | C::Gname => Self::Text(column, StringViewBuilder::new().with_deduplicate_strings()),
            C::Path | C::Linkname => Self::Text(column, StringViewBuilder::new()),
            C::Size | C::Uid | C::Gid | C::DataOffset => Self::Int64(column, Int64Builder::new()),
            C::Mode => Self::Mode(Int32Builder::new()),
            C::Mtime => Self::Mtime(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            C::Pax => Self::Pax(Box::new(MapBuilder::new(None, StringBuilder::new(), StringBuilder::new()))),
        }
    }

    /// Gives the bytes that `member` adds, where that has no small bound.
    fn append(&mut self, member: &Member) -> Result<usize> {
        use HeaderColumn as C;
        match self {
            Self::Archive => {}
            Self::Type(builder) => builder.append_value(member.member_type.as_str()),
            Self::Text(column, builder) => {
                let bytes = match column {
                    C::Path => &member.path,
                    C::Uname => &member.uname,
                    C::Gname => &member.gname,
                    _ => &member.linkname,
                };
                match str::from_utf8(bytes) {
                    Ok("") if *column != C::Path => builder.append_null(),
                    Ok(text) => builder.append_value(text),
                    Err(_) => builder.append_value(String::from_utf8_lossy(bytes)),
                }
                return Ok(bytes.len());
            }
            Self::Int64(column, builder) => builder.append_value(match column {
                C::Size => to_i64(member.size, "size")?,
                C::DataOffset => to_i64(member.data_offset, "data offset")?,
                C::Uid => member.uid,
                _ => member.gid,
            }),
            Self::Mode(builder) => builder.append_value(i32::try_from(member.mode).unwrap_or(i32::MAX)),
            Self::Mtime(builder) => builder.append_option(member.mtime_micros),
            Self::Pax(builder) => {
                for (key, value) in &member.pax {
                    builder.keys().append_value(key);
                    builder.values().append_value(value);
                }
                builder.append(!member.pax.is_empty()).map_err(internal)?;
                return Ok(member.pax.iter().map(|(key, value)| key.len() + value.len()).sum());
            }
        }
        Ok(0)
    }

    /// The column of so many rows.
    fn finish(&mut self, archive: &str, rows: usize) -> Result<ArrayRef> {
        Ok(match self {
            Self::Archive => {
                let one: ArrayRef = Arc::new(StringViewArray::from_iter_values([archive]));
                take(&one, &UInt32Array::from(vec![0; rows]), None).map_err(internal)?
            }
            Self::Type(builder) | Self::Text(_, builder) => Arc::new(builder.finish()),
            Self::Int64(_, builder) => Arc::new(builder.finish()),
            Self::Mode(builder) => Arc::new(builder.finish()),
            Self::Mtime(builder) => Arc::new(builder.finish()),
            Self::Pax(builder) => Arc::new(builder.finish()),
        })
    }
}

/// Small contents share blocks of this size.
const SHARED_BLOCK_BYTES: usize = 1 << 20;

/// Content from this size on gets a block of its own instead of a copy into a shared one.
pub(crate) const OWN_BLOCK_BYTES_MIN: usize = 64 << 10;

/// A size for the blocks that small values share, where `bytes` would be good.
pub(crate) fn block_bytes(bytes: usize) -> usize {
    bytes.clamp(OWN_BLOCK_BYTES_MIN, SHARED_BLOCK_BYTES)
}

/// What so many views of `bytes` together take, with a shared block that is not full.
pub(crate) fn held_bytes(values: usize, bytes: usize, block_bytes: usize) -> usize {
    values * CELL_OVERHEAD_BYTES + bytes + if bytes > 0 { block_bytes } else { 0 }
}

/// Fewer bytes of blocks are not worth looking at the views.
const WASTE_BYTES_MIN: usize = 4 << 10;

/// The error for a value that no cell can hold.
pub(crate) fn cell_too_large(bytes: u64) -> Error {
    Error::new(
        ErrorKind::Limit,
        format!(
            "{bytes} bytes don't fit one value ({CELL_BYTES_MAX} bytes at most): leave the content out of the query"
        ),
    )
}

/// `batch` without blocks of which it uses less than half: a view of a few bytes would keep a whole block, and whatever
/// writes views to a disk or a network writes the blocks.
pub(crate) fn compacted(batch: RecordBatch) -> Result<RecordBatch> {
    let is_sparse = |column: &ArrayRef| match column.data_type() {
        DataType::Utf8View => wastes_blocks(column.as_string_view()),
        DataType::BinaryView => wastes_blocks(column.as_binary_view()),
        _ => false,
    };
    if !batch.columns().iter().any(is_sparse) {
        return Ok(batch);
    }
    let compact = |column: &ArrayRef| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View if is_sparse(column) => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView if is_sparse(column) => Arc::new(column.as_binary_view().gc()),
            _ => Arc::clone(column),
        }
    };
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = batch.columns().iter().map(compact).collect();
    RecordBatch::try_new_with_options(batch.schema(), columns, &rows).map_err(internal)
}

fn wastes_blocks<T: ByteViewType>(column: &GenericByteViewArray<T>) -> bool {
    let blocks: usize = column.data_buffers().iter().map(Buffer::capacity).sum();
    blocks >= WASTE_BYTES_MIN && column.total_buffer_bytes_used() < blocks / 2
}

/// Repeats the only row of each column `rows` times.
pub(crate) fn repeat(columns: &[ArrayRef], rows: usize) -> Result<Vec<ArrayRef>> {
    let indices = UInt32Array::from(vec![0; rows]);
    columns.iter().map(|column| take(column, &indices, None).map_err(internal)).collect()
}

fn to_i64(value: u64, what: &str) -> Result<i64> {
    i64::try_from(value).map_err(|_| Error::new(ErrorKind::Limit, format!("{what} {value} is beyond 2^63")))
}

/// An arrow error that our own calls can't provoke; kept as an error all the same.
pub(crate) fn internal(error: ArrowError) -> Error {
    Error::new(ErrorKind::Member, "building a batch failed").caused_by(error)
}
