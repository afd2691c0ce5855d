//! Record decoders: a plain member in a plain archive becomes batches, next to arrow's own decoders of the same bytes, and
//! to what only finds the ends of lines or fields.

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use tarsql::TarOptions;

use crate::inputs::{LOG, STATES, STATES_AS_TEXT, STATES_TYPED, tar};
use crate::workbench::{Cores, Workbench, bench_copy, group};

/// Rows of arrow's batches: as many as DataFusion asks for.
const BATCH_ROWS: usize = 8192;

/// One kind of records.
struct Records<'a> {
    name: &'a str,
    bytes: &'a [u8],
    options: &'a dyn Fn() -> TarOptions,
    arrow: (&'a str, &'a dyn Fn(SchemaRef) -> usize),
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let states = STATES.as_bytes();
    for (name, columns) in [("csv as text", STATES_AS_TEXT), ("csv typed", STATES_TYPED)] {
        let options = || csv(columns);
        let decode = |schema| {
            let reader = arrow::csv::ReaderBuilder::new(schema).with_header(true).with_batch_size(BATCH_ROWS);
            rows(reader.build_buffered(states).expect("a header"))
        };
        let records = Records { name, bytes: states, options: &options, arrow: ("other: arrow-csv", &decode) };
        bench_records(criterion, &records, bench_splitting);
    }

    let log = LOG.as_bytes();
    let decode = |schema| {
        let reader = arrow::json::ReaderBuilder::new(schema).with_batch_size(BATCH_ROWS);
        rows(reader.build(log).expect("a schema that JSON can have"))
    };
    let records =
        Records { name: "json lines", bytes: log, options: &TarOptions::json, arrow: ("other: arrow-json", &decode) };
    bench_records(criterion, &records, bench_lines);

    let avro = avro();
    let decode = |_| {
        let reader = arrow_avro::reader::ReaderBuilder::new().with_batch_size(BATCH_ROWS);
        rows(reader.build(avro.as_slice()).expect("a container's header"))
    };
    let records =
        Records { name: "avro", bytes: &avro, options: &TarOptions::avro, arrow: ("other: arrow-avro", &decode) };
    bench_records(criterion, &records, bench_copy);
}

fn bench_records(
    criterion: &mut Criterion,
    records: &Records<'_>,
    limits: fn(&mut BenchmarkGroup<'_, WallTime>, &[u8]),
) {
    let Records { name, bytes, options, arrow: (arrow, decode) } = records;
    let archive = tar([("records", bytes)]);
    let open = |cores| {
        let bench = Workbench::with(cores, "records.tar", &archive);
        let schema = bench.table("s3://bench/records.tar", options());
        (bench, schema)
    };
    let mut group = group(criterion, name, bytes.len());
    limits(&mut group, bytes);
    group.bench_function(*arrow, |bencher| {
        let (bench, schema) = open(Cores::One);
        assert_eq!(bench.rows("SELECT * FROM records"), decode(Arc::clone(&schema)), "both see the same rows");
        bencher.iter(|| decode(Arc::clone(&schema)));
    });
    for (line, cores) in Cores::NAMED {
        group.bench_function(line, |bencher| {
            let (bench, _) = open(cores);
            bencher.iter(|| bench.rows("SELECT * FROM records"));
        });
    }
    group.finish();
}

/// What has to look at every byte, and does nothing else.
fn bench_lines(group: &mut BenchmarkGroup<'_, WallTime>, bytes: &[u8]) {
    group.bench_function("limit: memchr, line ends", |bencher| {
        bencher.iter(|| black_box(memchr::memchr_iter(b'\n', bytes).count()));
    });
}

/// And what finds every field, and does nothing with it.
fn bench_splitting(group: &mut BenchmarkGroup<'_, WallTime>, bytes: &[u8]) {
    bench_lines(group, bytes);
    group.bench_function("limit: simd-csv, fields", |bencher| {
        bencher.iter(|| {
            let mut reader = simd_csv::ZeroCopyReaderBuilder::with_capacity(1 << 20).from_reader(bytes);
            let mut fields = 0;
            while let Some(record) = reader.read_byte_record().expect("sound records") {
                fields += record.iter().len();
            }
            black_box(fields)
        });
    });
}

fn csv(columns: &str) -> TarOptions {
    let mut options = TarOptions::csv();
    options.set("columns", columns).expect("columns as CREATE TABLE has them");
    options
}

fn rows(batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>) -> usize {
    batches.map(|batch| black_box(batch.expect("sound records")).num_rows()).sum()
}

/// The typed state vectors as an Avro container, not compressed.
fn avro() -> Vec<u8> {
    let bench = Workbench::with(Cores::One, "states.tar", &tar([("states.csv", STATES.as_bytes())]));
    let schema = bench.table("s3://bench/states.tar", csv(STATES_TYPED));
    let mut writer = arrow_avro::writer::AvroWriter::new(Vec::new(), schema.as_ref().clone()).expect("an Avro schema");
    for batch in bench.batches("SELECT * FROM records") {
        writer.write(&batch).expect("memory can be written to");
    }
    writer.finish().expect("memory can be written to");
    writer.into_inner()
}
