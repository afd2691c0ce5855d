//! Memory for printing: a large value is held several times while it becomes text.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::array::{GenericByteArray, GenericByteViewArray};
use datafusion::arrow::datatypes::{ByteArrayType, ByteViewType, DataType, GenericBinaryType, GenericStringType};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};

/// Smaller values are printed without asking.
const VALUE_BYTES_MIN: usize = 1 << 20;

/// How much a value takes while it is printed, beside itself: two hex digits a byte, in the writer's text and in its
/// record, each with the room that it doubled to.
const COPIES: usize = 9;

/// Takes the memory that printing `batch` needs.
///
/// # Errors
/// There is not as much.
pub(crate) fn reserve(pool: &Arc<dyn MemoryPool>, batch: &RecordBatch) -> Result<MemoryReservation> {
    let reservation = MemoryConsumer::new("printing").register(pool);
    let largest = batch.columns().iter().map(largest).max().unwrap_or(0);
    if largest >= VALUE_BYTES_MIN {
        reservation.try_grow(COPIES * largest).map_err(|_| {
            DataFusionError::ResourcesExhausted(format!(
                "printing a value of {largest} bytes needs {} bytes, which do not fit the memory limit: write it with \
                 COPY, or raise --memory-limit",
                COPIES * largest
            ))
        })?;
    }
    Ok(reservation)
}

/// Bytes of the largest value, where values may be large.
fn largest(column: &ArrayRef) -> usize {
    match column.data_type() {
        DataType::BinaryView => of_views(column.as_binary_view()),
        DataType::Utf8View => of_views(column.as_string_view()),
        DataType::Binary => of_bytes::<GenericBinaryType<i32>>(column.as_bytes()),
        DataType::LargeBinary => of_bytes::<GenericBinaryType<i64>>(column.as_bytes()),
        DataType::Utf8 => of_bytes::<GenericStringType<i32>>(column.as_bytes()),
        DataType::LargeUtf8 => of_bytes::<GenericStringType<i64>>(column.as_bytes()),
        _ => 0,
    }
}

fn of_views<T: ByteViewType>(column: &GenericByteViewArray<T>) -> usize {
    column.lengths().max().map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX))
}

fn of_bytes<T: ByteArrayType>(column: &GenericByteArray<T>) -> usize {
    column.offsets().lengths().max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{BinaryViewArray, StringArray};
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

    #[test]
    fn large_values_need_room() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(10 << 20));
        let value = |bytes: usize| "x".repeat(bytes);
        let check = |column: ArrayRef| {
            let batch = RecordBatch::try_from_iter([("column", column)]).unwrap();
            reserve(&pool, &batch).map(|reservation| reservation.size()).map_err(|error| error.to_string())
        };
        assert_eq!(check(Arc::new(StringArray::from(vec![value(1000); 2000]))), Ok(0));
        assert_eq!(check(Arc::new(BinaryViewArray::from_iter_values([value(1 << 20)]))), Ok(9 << 20));
        let error = check(Arc::new(StringArray::from(vec![value(2 << 20)]))).unwrap_err();
        assert!(error.contains("printing a value of 2097152 bytes needs 18874368 bytes"), "{error}");
        assert_eq!(pool.reserved(), 0);
    }
}
