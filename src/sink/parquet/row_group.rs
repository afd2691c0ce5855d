//! A row group while it is encoded, apart from any file.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{ArrowNativeType, ByteViewType, DataType, SchemaRef};
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_plan::metrics::Time;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowLeafColumn, ArrowRowGroupWriterFactory, compute_leaves,
};

/// Columns that are being written.
pub(super) struct RowGroup {
    schema: SchemaRef,
    columns: Vec<ArrowColumnWriter>,
    pub(super) rows: usize,
    /// Bytes that it will have, about: those of the pages, and what is not in a page yet as it is.
    pub(super) bytes: usize,
    /// Bytes that it takes in memory.
    pub(super) memory: usize,
}

/// Columns that are written, and wait for their place in a file.
pub(super) struct ClosedRowGroup {
    pub(super) columns: Vec<ArrowColumnChunk>,
    pub(super) rows: usize,
}

impl RowGroup {
    pub(super) fn new(factory: &ArrowRowGroupWriterFactory, schema: SchemaRef) -> Result<Self> {
        // The index only matters to encryption.
        Ok(Self { schema, columns: factory.create_column_writers(0)?, rows: 0, bytes: 0, memory: 0 })
    }

    /// Encodes `batch`, with its columns dealt to `lanes` tasks.
    pub(super) async fn write(mut self, batch: &RecordBatch, lanes: usize, time: &Time) -> Result<Self> {
        self.rows += batch.num_rows();
        let leaves = leaves(&self.schema, batch)?;
        let lanes = lanes.clamp(1, leaves.len().max(1));
        if lanes == 1 {
            let _timer = time.timer();
            self.columns.iter_mut().zip(&leaves).try_for_each(|(column, leaf)| column.write(leaf))?;
        } else {
            self.columns = write_in_lanes(self.columns, leaves, lanes, time).await?;
        }
        self.bytes = self.columns.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum();
        self.memory = self.columns.iter().map(ArrowColumnWriter::memory_size).sum();
        // Encoding waits for nothing by itself, and others want to run too.
        tokio::task::yield_now().await;
        Ok(self)
    }

    /// Ends the last page of each column.
    pub(super) fn close(self, time: &Time) -> Result<ClosedRowGroup> {
        let _timer = time.timer();
        let columns = self.columns.into_iter().map(ArrowColumnWriter::close).collect::<Result<_, _>>()?;
        Ok(ClosedRowGroup { columns, rows: self.rows })
    }
}

async fn write_in_lanes(
    columns: Vec<ArrowColumnWriter>,
    leaves: Vec<ArrowLeafColumn>,
    lanes: usize,
    time: &Time,
) -> Result<Vec<ArrowColumnWriter>> {
    let mut dealt: Vec<Vec<(ArrowColumnWriter, ArrowLeafColumn)>> = (0..lanes).map(|_| Vec::new()).collect();
    for (index, column) in columns.into_iter().zip(leaves).enumerate() {
        dealt[index % lanes].push(column);
    }
    let tasks = dealt.into_iter().map(|lane| {
        let time = time.clone();
        SpawnedTask::spawn(async move {
            let _timer = time.timer();
            write_columns(lane)
        })
    });
    // All of them are spawned before the first is waited for.
    let tasks: Vec<_> = tasks.collect();
    let mut written = Vec::with_capacity(lanes);
    for task in tasks {
        let lane = task.join_unwind().await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??;
        written.push(lane.into_iter());
    }
    let mut columns = Vec::new();
    while let Some(column) = written[columns.len() % lanes].next() {
        columns.push(column);
    }
    Ok(columns)
}

fn leaves(schema: &SchemaRef, batch: &RecordBatch) -> Result<Vec<ArrowLeafColumn>> {
    let mut leaves = Vec::with_capacity(batch.num_columns());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        leaves.extend(compute_leaves(field, column)?);
    }
    Ok(leaves)
}

fn write_columns(lane: Vec<(ArrowColumnWriter, ArrowLeafColumn)>) -> Result<Vec<ArrowColumnWriter>> {
    let written = lane.into_iter().map(|(mut writer, leaf)| {
        writer.write(&leaf)?;
        Ok(writer)
    });
    written.collect()
}

/// Cuts `batch` into pieces of at most `bytes_max` each, or of one row.
pub(super) fn pieces(batch: RecordBatch, bytes_max: usize) -> Vec<RecordBatch> {
    let rows = batch.num_rows();
    if rows <= 1 || batch_bytes(&batch) <= bytes_max {
        return vec![batch];
    }
    // Halving finds the few large rows among many small ones.
    let (first, second) = (batch.slice(0, rows / 2), batch.slice(rows / 2, rows - rows / 2));
    let mut cut = pieces(first, bytes_max);
    cut.extend(pieces(second, bytes_max));
    cut
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

    use std::sync::Arc;

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
            let cut = pieces(batch.clone(), bytes_max);
            assert_eq!(arrow::compute::concat_batches(&batch.schema(), &cut).unwrap(), batch);
            assert!(cut.iter().all(|piece| piece.num_rows() == 1 || batch_bytes(piece) <= bytes_max), "{bytes_max}");
        }
        assert_eq!(pieces(batch, 1 << 20).len(), 1);
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
