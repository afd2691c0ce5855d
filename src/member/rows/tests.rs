//! Batches stay small, whatever the headers of their members hold.

use super::*;
use crate::member::RecordDecoder;
use crate::member::lines::LinesDecoder;
use crate::member::{MissingColumn, RecordOptions};
use crate::policy::{OnBadRow, OnInvalidUtf8};
use crate::report::BadRows;
use crate::schema::{lines_schema, members_schema};
use crate::stats::Stats;
use crate::tar::MemberType;

/// A file whose header has a MiB.
fn member() -> Member {
    Member {
        offset: 0,
        data_offset: 0,
        path: b"f".to_vec(),
        member_type: MemberType::File,
        size: 0,
        stored_size: 0,
        mode: 0,
        uid: 0,
        gid: 0,
        mtime_micros: None,
        uname: Vec::new(),
        gname: Vec::new(),
        linkname: Vec::new(),
        pax: vec![("k".to_owned(), "x".repeat(1 << 20))],
        sparse: None,
    }
}

#[test]
fn long_headers_make_short_batches() {
    let stats = Arc::<Stats>::default();
    let archive = || Arc::from("a.tar");
    let pax = || Arc::new(members_schema().project(&[11]).unwrap());
    let pax_and_content = Arc::new(members_schema().project(&[11, 13]).unwrap());
    let header = HeaderRows::new(archive(), pax(), &[HeaderColumn::Pax], 8192);
    let columns = &[HeaderColumn::Pax];
    let cell = CellRows::new(archive(), pax_and_content, columns, Cell::content(), 8192, Arc::clone(&stats));
    let cases = [(Box::new(header) as Box<dyn MemberRows>, vec![16, 16, 8]), (Box::new(cell), vec![4; 10])];
    for (mut rows, expected) in cases {
        let mut batches = Vec::new();
        for _ in 0..40 {
            if rows.begin(&member()).unwrap() {
                rows.end();
            }
            batches.extend(rows.next_batch().unwrap());
        }
        batches.extend(rows.flush().unwrap());
        assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn lines_of_a_member_with_a_long_header_come_in_short_batches() {
    let schema = lines_schema();
    let make = |bad_rows| {
        let options = RecordOptions {
            schema: Arc::new(lines_schema().project(&[14]).unwrap()),
            projection: vec![0],
            missing_column: MissingColumn::Fail,
            batch_size: 8192,
            on_bad_row: OnBadRow::Fail,
            on_invalid_utf8: OnInvalidUtf8::Fail,
            bad_rows,
            allowance: Allowance::unlimited(),
        };
        Ok(Box::new(LinesDecoder::new(options)?) as Box<dyn RecordDecoder>)
    };
    let decoders = Decoders { make: Box::new(make), bad_rows: Box::new(|_, _| BadRows::default()), batch_size: 8192 };
    let columns = vec![RecordColumn::Header(0), RecordColumn::RowNumber, RecordColumn::Decoded(0)];
    let schema = Arc::new(schema.project(&[11, 13, 14]).unwrap());
    let header = [HeaderColumn::Pax];
    let mut rows = RecordRows::new(Arc::from("a.tar"), schema, columns, &header, decoders, Arc::default());
    assert!(rows.begin(&member()).unwrap());
    rows.push(Bytes::from("x\n".repeat(40)));
    rows.end();
    let batches: Vec<_> = std::iter::from_fn(|| rows.next_batch().unwrap()).collect();
    let numbers = |batch: &RecordBatch| {
        let numbers = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(batch.column(1)).values();
        (numbers[0], numbers.len())
    };
    // A byte of the key makes it a little more than a MiB.
    assert_eq!(batches.iter().map(numbers).collect::<Vec<_>>(), [(1, 15), (16, 15), (31, 10)]);
}
