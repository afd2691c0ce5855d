//! Each compression of an archive, next to the library that does the work; bytes are those that come out.

use std::hint::black_box;
use std::io::{Read, Write};

use criterion::Criterion;

use crate::inputs::{STATES, tar};
use crate::workbench::{Cores, Workbench, group};

/// How much of the state vectors is compressed: bzip2 and xz take a good part of a second for each 16 MiB.
const ARCHIVE_BYTES: usize = 16 << 20;
/// What the bare library fills at a time.
const ROOM_BYTES: usize = 128 << 10;

/// A library's reader of what it undoes.
type Open = fn(&[u8]) -> std::io::Result<Box<dyn Read + '_>>;

/// A compression: how an archive gets it, and the library that undoes it.
struct Compression {
    name: &'static str,
    compress: fn(&[u8]) -> std::io::Result<Vec<u8>>,
    library: (&'static str, Open),
}

const COMPRESSIONS: [Compression; 5] = [
    Compression {
        name: "gzip",
        compress: |bytes| {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            writer.write_all(bytes)?;
            writer.finish()
        },
        library: ("other: flate2 with zlib-rs", |bytes| Ok(Box::new(flate2::read::MultiGzDecoder::new(bytes)))),
    },
    Compression {
        name: "zstd",
        compress: |bytes| zstd::encode_all(bytes, 3),
        library: ("limit: zstd", |bytes| Ok(Box::new(zstd::Decoder::with_buffer(bytes)?))),
    },
    Compression {
        name: "bzip2",
        compress: |bytes| {
            let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(9));
            writer.write_all(bytes)?;
            writer.finish()
        },
        library: ("limit: bzip2 with libbz2-rs", |bytes| Ok(Box::new(bzip2::read::MultiBzDecoder::new(bytes)))),
    },
    Compression {
        name: "xz",
        compress: |bytes| {
            // The level that compresses fastest: what is measured is the way back.
            let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 1);
            writer.write_all(bytes)?;
            writer.finish()
        },
        library: ("limit: liblzma", |bytes| Ok(Box::new(liblzma::read::XzDecoder::new_multi_decoder(bytes)))),
    },
    Compression {
        name: "lz4",
        compress: |bytes| {
            let mut writer = lz4_flex::frame::FrameEncoder::new(Vec::new());
            writer.write_all(bytes)?;
            Ok(writer.finish()?)
        },
        library: ("limit: lz4_flex", |bytes| Ok(Box::new(lz4_flex::frame::FrameDecoder::new(bytes)))),
    },
];

pub(crate) fn bench(criterion: &mut Criterion) {
    let archive = tar([("states.csv", &STATES.as_bytes()[..ARCHIVE_BYTES])]);
    for Compression { name, compress, library: (library, open) } in COMPRESSIONS {
        let compressed = std::cell::LazyCell::new(|| compress(&archive).expect("memory can be written to"));
        let mut group = group(criterion, name, archive.len());
        group.bench_function(library, |bencher| {
            let mut room = vec![0; ROOM_BYTES];
            bencher.iter(|| {
                let mut reader = open(&compressed).expect("a sound stream");
                while reader.read(&mut room).expect("a sound stream") > 0 {
                    black_box(&room);
                }
            });
        });
        for (line, cores) in Cores::NAMED {
            group.bench_function(line, |bencher| {
                let bench = Workbench::with(cores, "archive", &compressed);
                bencher.iter(|| bench.rows("SELECT count(*), sum(size) FROM read_tar('s3://bench/archive')"));
            });
        }
        group.finish();
    }
}
