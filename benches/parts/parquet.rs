//! Parquet writing: `COPY` of batches in memory, next to arrow's stock writer on one core. Bytes are those of the batches.

use std::hint::black_box;

use arrow::array::RecordBatch;
use criterion::Criterion;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use tarsql::TarOptions;

use crate::inputs::{STATES, STATES_AS_TEXT, STATES_TYPED, tar, tar_of_many};
use crate::workbench::{Cores, Workbench, bench_copy, group};

const COPY: &str = "COPY (SELECT * FROM batches) TO 's3://bench/written.parquet' STORED AS PARQUET \
    OPTIONS ('format.compression' 'snappy')";

pub(crate) fn bench(criterion: &mut Criterion) {
    for (name, columns) in [("parquet of text", STATES_AS_TEXT), ("parquet of typed columns", STATES_TYPED)] {
        bench_batches(criterion, name, STATES.len(), &states(columns));
    }
    let archive = tar_of_many(1000, 1000..40_000);
    let bench = Workbench::with(Cores::One, "members.tar", &archive);
    let batches = bench.batches("SELECT path, content FROM read_tar('s3://bench/members.tar')");
    bench_batches(criterion, "parquet of contents", archive.len(), &batches);
}

fn states(columns: &str) -> Vec<RecordBatch> {
    let bench = Workbench::with(Cores::One, "states.tar", &tar([("states.csv", STATES.as_bytes())]));
    let mut options = TarOptions::csv();
    options.set("columns", columns).expect("columns as CREATE TABLE has them");
    bench.table("s3://bench/states.tar", options);
    bench.batches("SELECT * FROM records")
}

/// `bytes` is what the batches were made of, so that the lines can be held against those of the decoders.
fn bench_batches(criterion: &mut Criterion, name: &str, bytes: usize, batches: &[RecordBatch]) {
    let mut group = group(criterion, name, bytes);
    bench_copy(&mut group, &vec![1; bytes]);
    group.bench_function("other: arrow's ArrowWriter", |bencher| {
        bencher.iter(|| black_box(written(batches).len()));
    });
    for (line, cores) in Cores::NAMED {
        group.bench_function(line, |bencher| {
            let bench = Workbench::new(cores);
            bench.memory_table(cores, batches);
            bencher.iter(|| bench.rows(COPY));
        });
    }
    group.finish();
}

fn written(batches: &[RecordBatch]) -> Vec<u8> {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batches[0].schema(), Some(properties))
        .expect("a schema that Parquet can have");
    for batch in batches {
        writer.write(batch).expect("memory can be written to");
    }
    writer.into_inner().expect("memory can be written to")
}
