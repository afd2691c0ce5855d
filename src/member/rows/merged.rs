//! Records of many small members in one batch.
//!
//! A member with a single record would make a batch of one row, and whoever takes batches does much for each.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{concat, concat_batches, take};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::sheaves::{Header, MemberRecords};
use crate::member::Records;

/// Records that fill as large a part of a batch, one in so many, are left as they are.
const LARGE_PART: usize = 4;

/// `records`, in order, where small ones become batches of at most `rows_max` rows.
///
/// # Errors
/// Arrow's, which have no cause here.
pub(super) fn merged(records: Vec<MemberRecords>, rows_max: usize) -> Result<Vec<MemberRecords>, ArrowError> {
    let (mut merged, mut run) = (Vec::new(), Run { records: Vec::new(), rows: 0, rows_max });
    for (header, records) in records {
        let (rows, most) = (records.batch.num_rows(), run.rows_max.min(header.rows_max));
        if run.rows + rows > most || rows > rows_max / LARGE_PART {
            merged.extend(run.end(rows_max)?);
        }
        run.rows_max = run.rows_max.min(header.rows_max);
        run.rows += rows;
        run.records.push((header, records));
    }
    merged.extend(run.end(rows_max)?);
    Ok(merged)
}

/// Records that become one batch.
struct Run {
    records: Vec<MemberRecords>,
    rows: usize,
    /// What all of their headers allow.
    rows_max: usize,
}

impl Run {
    /// What has come so far; the next one begins anew.
    fn end(&mut self, rows_max: usize) -> Result<Option<MemberRecords>, ArrowError> {
        let Self { mut records, rows, .. } = std::mem::replace(self, Self { records: Vec::new(), rows: 0, rows_max });
        if records.len() < 2 {
            return Ok(records.pop());
        }
        let mut members = Vec::with_capacity(rows);
        for (member, (_, records)) in (0_u32..).zip(&records) {
            members.extend(std::iter::repeat_n(member, records.batch.num_rows()));
        }
        let members = UInt32Array::from(members);
        let columns = (0..records[0].0.columns.len()).map(|column| {
            let headers: Vec<_> = records.iter().map(|(header, _)| header.columns[column].as_ref()).collect();
            take(&in_one_block(&concat(&headers)?), &members, None)
        });
        let header = Header { columns: columns.collect::<Result<_, _>>()?, rows_max: usize::MAX, is_of_each: true };
        let numbers: Vec<_> = records.iter().map(|(_, records)| &records.row_numbers as &dyn Array).collect();
        let row_numbers = concat(&numbers)?.as_primitive().clone();
        let batch = concat_batches(&records[0].1.batch.schema(), records.iter().map(|(_, records)| &records.batch))?;
        let columns = batch.columns().iter().map(in_one_block).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(batch.schema(), columns, &options)?;
        Ok(Some((Arc::new(header), Records { batch, row_numbers })))
    }
}

/// Views that look into a block for each member look into one that has all they need.
fn in_one_block(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => Arc::clone(column),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringViewArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    /// What a batch shows of members with so many records each, whose headers allow so many rows of a batch.
    fn check(members: &[(usize, usize)], rows_max: usize, expected: &[&str]) {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8View, true)]));
        let texts = |texts: Vec<String>| Arc::new(StringViewArray::from_iter_values(texts)) as ArrayRef;
        let member = |(member, &(rows, rows_max)): (usize, &(usize, usize))| {
            let columns = vec![texts(vec![format!("a member with the number {member}")])];
            let records = texts((0..rows).map(|row| format!("the record {member}.{row}")).collect());
            let batch = RecordBatch::try_new(Arc::clone(&schema), vec![records]).unwrap();
            let row_numbers = Int64Array::from_iter_values((1..).take(rows));
            (Arc::new(Header { columns, rows_max, is_of_each: false }), Records { batch, row_numbers })
        };
        let merged = merged(members.iter().enumerate().map(member).collect(), rows_max).unwrap();
        let shown = |(header, records): &MemberRecords| {
            let (path, text) = (header.columns[0].as_string_view(), records.batch.column(0).as_string_view());
            assert_eq!(path.len(), if header.is_of_each { text.len() } else { 1 });
            assert!(!header.is_of_each || text.data_buffers().len() <= 1);
            let rows = (0..text.len()).map(|row| {
                let path = path.value(if header.is_of_each { row } else { 0 });
                let number = records.row_numbers.value(row);
                assert_eq!(text.value(row), format!("the record {}.{}", &path[25..], number - 1));
                text.value(row)[11..].to_owned()
            });
            rows.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(merged.iter().map(shown).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn small_members_share_batches() {
        check(&[], 8, &[]);
        check(&[(1, 9)], 8, &["0.0"]);
        check(&[(1, 9), (2, 9), (0, 9), (1, 9)], 8, &["0.0 1.0 1.1 3.0"]);
        check(&[(1, 9); 10], 8, &["0.0 1.0 2.0 3.0 4.0 5.0 6.0 7.0", "8.0 9.0"]);
        // One that is large begins a batch, which small ones may follow.
        check(&[(1, 9), (3, 9), (1, 9)], 8, &["0.0", "1.0 1.1 1.2 2.0"]);
        check(&[(8, 9), (1, 9)], 8, &["0.0 0.1 0.2 0.3 0.4 0.5 0.6 0.7", "1.0"]);
        // A header that is long allows few rows.
        check(&[(1, 9), (1, 2), (1, 9)], 8, &["0.0 1.0", "2.0"]);
        check(&[(1, 9), (1, 9), (1, 2)], 8, &["0.0 1.0", "2.0"]);
    }
}
