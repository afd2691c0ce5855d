//! A row group while it is encoded, apart from any file.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{ArrowNativeType, ByteViewType, DataType, FieldRef, SchemaRef};
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_plan::metrics::Time;

use super::column::{ColumnEncoder, EncodedChunk, Scratch};

/// Columns that are being written.
pub(super) struct RowGroup {
    schema: SchemaRef,
    columns: Vec<ColumnEncoder>,
    pub(super) rows: usize,
    /// Bytes that it will have, about: those of the pages, and what is not in a page yet as it is.
    pub(super) bytes: usize,
    /// Bytes that it takes in memory.
    pub(super) memory: usize,
}

/// Columns that are written, and wait for their place in a file.
pub(super) struct ClosedRowGroup {
    pub(super) columns: Vec<EncodedChunk>,
    pub(super) rows: usize,
}

impl RowGroup {
    pub(super) fn new(columns: Vec<ColumnEncoder>, schema: SchemaRef) -> Self {
        Self { schema, columns, rows: 0, bytes: 0, memory: 0 }
    }

    /// Encodes `batch`, with its columns dealt to as many tasks as there is memory to work in. With one, it happens here.
    pub(super) async fn write(mut self, batch: &RecordBatch, scratches: &mut [Scratch], time: &Time) -> Result<Self> {
        self.rows += batch.num_rows();
        if let [scratch] = scratches {
            let _timer = time.timer();
            let columns = self.columns.iter_mut().zip(self.schema.fields()).zip(batch.columns());
            for ((column, field), array) in columns {
                column.write(field, array, scratch)?;
            }
        } else {
            self.columns = write_in_lanes(self.columns, &self.schema, batch, scratches, time).await?;
        }
        self.bytes = self.columns.iter().map(ColumnEncoder::bytes).sum();
        self.memory = self.columns.iter().map(ColumnEncoder::memory).sum();
        // Encoding waits for nothing by itself, and others want to run too.
        tokio::task::yield_now().await;
        Ok(self)
    }

    /// Ends the last page of each column.
    pub(super) fn close(self, scratch: &mut Scratch, time: &Time) -> Result<ClosedRowGroup> {
        let _timer = time.timer();
        let mut columns = Vec::with_capacity(self.columns.len());
        for column in self.columns {
            columns.extend(column.close(scratch)?);
        }
        Ok(ClosedRowGroup { columns, rows: self.rows })
    }
}

/// A column, and what to write to it.
type Lane = Vec<(ColumnEncoder, FieldRef, ArrayRef)>;

async fn write_in_lanes(
    columns: Vec<ColumnEncoder>,
    schema: &SchemaRef,
    batch: &RecordBatch,
    scratches: &mut [Scratch],
    time: &Time,
) -> Result<Vec<ColumnEncoder>> {
    let lanes = scratches.len();
    let mut dealt: Vec<Lane> = (0..lanes).map(|_| Vec::new()).collect();
    let arrays = schema.fields().iter().zip(batch.columns());
    for (index, (column, (field, array))) in columns.into_iter().zip(arrays).enumerate() {
        dealt[index % lanes].push((column, Arc::clone(field), Arc::clone(array)));
    }
    let tasks = dealt.into_iter().zip(scratches.iter_mut()).map(|(lane, scratch)| {
        let (time, mut scratch) = (time.clone(), std::mem::take(scratch));
        SpawnedTask::spawn(async move {
            let _timer = time.timer();
            write_columns(lane, &mut scratch).map(|columns| (columns, scratch))
        })
    });
    // All of them are spawned before the first is waited for.
    let tasks: Vec<_> = tasks.collect();
    let mut written = Vec::with_capacity(lanes);
    for (task, scratch) in tasks.into_iter().zip(scratches) {
        let lane = task.join_unwind().await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??;
        written.push(lane.0.into_iter());
        *scratch = lane.1;
    }
    let mut columns = Vec::new();
    while let Some(column) = written[columns.len() % lanes].next() {
        columns.push(column);
    }
    Ok(columns)
}

fn write_columns(lane: Lane, scratch: &mut Scratch) -> Result<Vec<ColumnEncoder>> {
    let written = lane.into_iter().map(|(mut column, field, array)| {
        column.write(&field, &array, scratch)?;
        Ok(column)
    });
    written.collect()
}

/// Rows, and the bytes that they are: each value is looked at for that, so it is done once.
pub(super) struct Piece {
    pub(super) batch: RecordBatch,
    pub(super) bytes: usize,
}

impl Piece {
    pub(super) fn of(batch: RecordBatch) -> Self {
        Self { bytes: batch_bytes(&batch), batch }
    }

    /// Cuts it into pieces of at most `bytes_max` each, or of one row.
    pub(super) fn cut(self, bytes_max: usize) -> Vec<Self> {
        let rows = self.batch.num_rows();
        if rows <= 1 || self.bytes <= bytes_max {
            return vec![self];
        }
        // Halving finds the few large rows among many small ones.
        let (first, second) = (self.batch.slice(0, rows / 2), self.batch.slice(rows / 2, rows - rows / 2));
        let mut cut = Self::of(first).cut(bytes_max);
        cut.extend(Self::of(second).cut(bytes_max));
        cut
    }

    /// Takes the first `rows` rows off it.
    pub(super) fn take(&mut self, rows: usize) -> Self {
        let rest = self.batch.num_rows() - rows;
        if rest == 0 {
            return std::mem::replace(self, Self { batch: self.batch.slice(0, 0), bytes: 0 });
        }
        let first = Self::of(self.batch.slice(0, rows));
        *self = Self { batch: self.batch.slice(rows, rest), bytes: self.bytes.saturating_sub(first.bytes) };
        first
    }
}

/// Bytes that the rows of a batch are, not those of the buffers that they look into.
pub(super) fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| array_bytes(column.as_ref())).sum()
}

fn array_bytes(array: &dyn Array) -> usize {
    match array.data_type() {
        DataType::Utf8View => view_bytes(array.as_string_view()),
        DataType::BinaryView => view_bytes(array.as_binary_view()),
        DataType::List(_) => nested_bytes(array.as_list::<i32>().values(), array.as_list::<i32>().value_offsets()),
        DataType::LargeList(_) => nested_bytes(array.as_list::<i64>().values(), array.as_list::<i64>().value_offsets()),
        DataType::Map(..) => nested_bytes(array.as_map().entries(), array.as_map().value_offsets()),
        DataType::FixedSizeList(..) => array_bytes(array.as_fixed_size_list().values()),
        DataType::Struct(_) => array.as_struct().columns().iter().map(|column| array_bytes(column)).sum(),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let values = dictionary.values();
            array_bytes(dictionary.keys()) + array_bytes(values) / values.len().max(1) * array.len()
        }
        _ => array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size()),
    }
}

/// What a slice of a nested column looks at: slicing leaves the values below it whole.
fn nested_bytes<O: ArrowNativeType>(values: &dyn Array, offsets: &[O]) -> usize {
    let (from, to) = (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize());
    array_bytes(values.slice(from, to - from).as_ref()) + size_of_val(offsets)
}

fn view_bytes<T: ByteViewType + ?Sized>(array: &arrow::array::GenericByteViewArray<T>) -> usize {
    // The lower half of a view's first word is the length.
    let lengths = array.views().iter().map(|view| (view & u128::from(u32::MAX)) as usize);
    lengths.sum::<usize>() + array.len() * size_of::<u128>()
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryViewArray, DictionaryArray, Int64Array, ListArray};
    use arrow::datatypes::{Int32Type, Int64Type};

    use super::*;

    #[test]
    fn a_batch_is_cut_by_bytes() {
        let cell = |row: usize| vec![7_u8; if row == 5 { 10_000 } else { 100 }];
        let content = BinaryViewArray::from_iter_values((0..64).map(cell));
        let number = Int64Array::from_iter_values(0..64);
        let batch = RecordBatch::try_from_iter([
            ("number", Arc::new(number) as Arc<dyn Array>),
            ("content", Arc::new(content) as _),
        ])
        .unwrap();
        assert_eq!(batch_bytes(&batch), 63 * 100 + 10_000 + 64 * (16 + 8));
        for bytes_max in [1, 500, 2_000, 1 << 20] {
            let cut = Piece::of(batch.clone()).cut(bytes_max);
            assert!(cut.iter().all(|piece| piece.bytes == batch_bytes(&piece.batch)), "{bytes_max}");
            assert!(cut.iter().all(|piece| piece.batch.num_rows() == 1 || piece.bytes <= bytes_max), "{bytes_max}");
            let batches: Vec<_> = cut.into_iter().map(|piece| piece.batch).collect();
            assert_eq!(arrow::compute::concat_batches(&batch.schema(), &batches).unwrap(), batch);
        }
        let mut piece = Piece::of(batch.clone());
        assert_eq!(piece.take(10).batch, batch.slice(0, 10));
        assert_eq!(piece.bytes, batch_bytes(&batch.slice(10, 54)));
        assert_eq!(piece.take(54).batch, batch.slice(10, 54));
        assert_eq!((piece.batch.num_rows(), piece.bytes), (0, 0));
        assert_eq!(Piece::of(batch).cut(1 << 20).len(), 1);
    }

    #[test]
    fn a_slice_of_a_nested_column_weighs_what_it_looks_at() {
        let rows = (0..64).map(|row| Some((0..100).map(move |n| Some(i64::from(row * n)))));
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>(rows);
        let texts: DictionaryArray<Int32Type> = (0..64).map(|row| Some(["one", "two"][row % 2])).collect();
        let columns = [Arc::new(list) as Arc<dyn Array>, Arc::new(texts)];
        for column in columns {
            let whole = array_bytes(&column);
            let halves = array_bytes(&column.slice(0, 32)) + array_bytes(&column.slice(32, 32));
            assert!(halves <= whole + 16 && whole >= 64 * 4, "{halves} of {whole}");
        }
    }
}
