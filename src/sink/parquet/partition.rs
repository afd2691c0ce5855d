//! `PARTITIONED BY`: the folder of each row, hive-style (`year=2022/month=6`).

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{CastOptions, cast_with_options, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::error::Result;
use object_store::path::Path;

use crate::error::{Error, ErrorKind};

/// What stands for NULL in a folder's name.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The columns that make folders.
#[derive(Debug, Clone)]
pub(super) struct Partitioning {
    /// Name and index in the input.
    columns: Vec<(String, usize)>,
    /// Columns of the input that the files keep.
    kept: Vec<usize>,
}

impl Partitioning {
    /// # Errors
    /// A column is not there, or no column would be left to write.
    pub(super) fn try_new(schema: &SchemaRef, columns: &[String], keeps: bool) -> Result<Self> {
        let columns = columns
            .iter()
            .map(|name| Ok((name.clone(), schema.index_of(name)?)))
            .collect::<Result<Vec<_>, arrow::error::ArrowError>>()?;
        let is_kept = |index: &usize| keeps || !columns.iter().any(|(_, column)| column == index);
        let kept: Vec<_> = (0..schema.fields().len()).filter(is_kept).collect();
        if kept.is_empty() {
            let message = "PARTITIONED BY names all columns, so that none is left for the files";
            return Err(Error::new(ErrorKind::Option, message).into());
        }
        Ok(Self { columns, kept })
    }

    /// The schema of the files.
    pub(super) fn schema(&self, input: &SchemaRef) -> Result<SchemaRef> {
        Ok(input.project(&self.kept)?.into())
    }

    pub(super) fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The rows of `batch` by the folder below `base` that they belong to, in the order in which folders come up.
    pub(super) fn split(&self, base: &Path, batch: &RecordBatch) -> Result<Vec<(Path, RecordBatch)>> {
        let values = self.values(batch)?;
        let key = |row: usize| -> Vec<Option<&str>> {
            values.iter().map(|column| column.is_valid(row).then(|| column.value(row))).collect()
        };
        let mut numbers: HashMap<Vec<Option<&str>>, usize> = HashMap::new();
        let mut folders: Vec<(Vec<Option<&str>>, Vec<u32>)> = Vec::new();
        let mut current = None;
        for row in 0..batch.num_rows() {
            let index = u32::try_from(row).map_err(|_| arrow::error::ArrowError::OffsetOverflowError(row))?;
            // Rows of a folder often come one after the other.
            let same = current.filter(|_| row > 0 && values.iter().all(|column| is_equal(column, row - 1, row)));
            let number = same.unwrap_or_else(|| {
                let key = key(row);
                *numbers.entry(key.clone()).or_insert_with(|| {
                    folders.push((key, Vec::new()));
                    folders.len() - 1
                })
            });
            folders[number].1.push(index);
            current = Some(number);
        }
        let files = batch.project(&self.kept)?;
        let parts = folders.into_iter().map(|(key, rows)| {
            let whole = rows.len() == batch.num_rows();
            let part = if whole { files.clone() } else { take_record_batch(&files, &UInt32Array::from(rows))? };
            Ok((self.folder(base, &key), part))
        });
        parts.collect()
    }

    /// The values of the partition columns as text.
    fn values(&self, batch: &RecordBatch) -> Result<Vec<StringArray>> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let cast = |(_, index): &(String, usize)| {
            let text = cast_with_options(batch.column(*index), &DataType::Utf8, &options)?;
            Ok(text.as_string::<i32>().clone())
        };
        self.columns.iter().map(cast).collect()
    }

    /// Each value becomes one segment, whatever it holds: slashes and the like are percent-encoded.
    fn folder(&self, base: &Path, key: &[Option<&str>]) -> Path {
        let segments = self.columns.iter().zip(key);
        segments
            .fold(base.clone(), |folder, ((name, _), value)| folder.join(format!("{name}={}", value.unwrap_or(NULL))))
    }
}

fn is_equal(column: &StringArray, one: usize, other: usize) -> bool {
    column.is_null(one) == column.is_null(other) && (column.is_null(one) || column.value(one) == column.value(other))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Date32Array, Int64Array};

    use super::*;

    #[test]
    fn rows_go_to_their_folders() {
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("day", Arc::new(Date32Array::from(vec![0, 0, 1, 0, 1])) as ArrayRef, true),
            ("n", Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5])) as _, true),
            ("k", Arc::new(StringArray::from(vec![Some("a"), Some("../../x"), None, Some("a"), Some("")])) as _, true),
        ])
        .unwrap();
        let columns = ["day".to_owned(), "k".to_owned()];
        let partitioning = Partitioning::try_new(&batch.schema(), &columns, false).unwrap();
        let split = partitioning.split(&Path::from("out"), &batch).unwrap();
        let seen: Vec<_> = split
            .iter()
            .map(|(folder, rows)| {
                assert_eq!(rows.schema(), partitioning.schema(&batch.schema()).unwrap());
                (folder.to_string(), rows["n"].as_primitive::<arrow::datatypes::Int64Type>().values().to_vec())
            })
            .collect();
        let seen: Vec<_> = seen.iter().map(|(folder, rows)| (folder.as_str(), rows.as_slice())).collect();
        assert_eq!(
            seen,
            [
                ("out/day=1970-01-01/k=a", &[1, 4][..]),
                ("out/day=1970-01-01/k=..%2F..%2Fx", &[2]),
                ("out/day=1970-01-02/k=__HIVE_DEFAULT_PARTITION__", &[3]),
                ("out/day=1970-01-02/k=", &[5]),
            ]
        );
        let kept = Partitioning::try_new(&batch.schema(), &columns, true).unwrap();
        assert_eq!(kept.schema(&batch.schema()).unwrap(), batch.schema());
        let all = ["day".to_owned(), "k".to_owned(), "n".to_owned()];
        assert!(Partitioning::try_new(&batch.schema(), &all, false).is_err());
    }
}
