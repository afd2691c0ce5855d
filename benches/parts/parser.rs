//! The tar parser: an archive of many small members, of which only headers are asked for.

use std::hint::black_box;

use criterion::Criterion;

use crate::inputs::tar_of_many;
use crate::workbench::{Cores, Workbench, bench_copy, group};

const MEMBERS: usize = 30_000;

pub(crate) fn bench(criterion: &mut Criterion) {
    let archive = tar_of_many(MEMBERS, 200..2000);
    let mut group = group(criterion, "tar parser", archive.len());
    bench_copy(&mut group, &archive);
    group.bench_function("other: the tar crate", |bencher| {
        bencher.iter(|| {
            let mut reader = tar::Archive::new(archive.as_slice());
            let entries = reader.entries().expect("a fresh reader");
            black_box(entries.map(|entry| entry.expect("a sound archive").size()).sum::<u64>())
        });
    });
    for (name, cores) in Cores::NAMED {
        group.bench_function(name, |bencher| {
            let bench = Workbench::with(cores, "many.tar", &archive);
            bencher.iter(|| bench.rows("SELECT count(*), sum(size) FROM read_tar('s3://bench/many.tar')"));
        });
    }
    group.finish();
}
