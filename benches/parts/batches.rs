//! Batches of the member table: all that headers say, and the cells of contents, which are views rather than copies.

use criterion::Criterion;

use crate::inputs::tar_of_many;
use crate::workbench::{Cores, Workbench, bench_copy, group};

/// What is asked for, of how many members of which sizes.
const CASES: [(&str, &str, usize, std::ops::Range<usize>); 3] = [
    (
        "batches of headers",
        "archive, path, type, size, mtime, mode, uid, gid, uname, gname, linkname, pax, data_offset",
        30_000,
        100..500,
    ),
    ("batches of small contents", "path, content", 30_000, 200..2000),
    ("batches of large contents", "path, content", 64, 200_000..800_000),
];

pub(crate) fn bench(criterion: &mut Criterion) {
    for (name, columns, members, sizes) in CASES {
        let archive = tar_of_many(members, sizes);
        let mut group = group(criterion, name, archive.len());
        bench_copy(&mut group, &archive);
        for (line, cores) in Cores::NAMED {
            group.bench_function(line, |bencher| {
                let bench = Workbench::with(cores, "members.tar", &archive);
                let sql = format!("SELECT {columns} FROM read_tar('s3://bench/members.tar')");
                bencher.iter(|| assert_eq!(bench.rows(&sql), members));
            });
        }
        group.finish();
    }
}
