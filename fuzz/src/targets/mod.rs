//! One file for each thing that is fuzzed: a function from bytes that panics where a promise is broken.

mod archive;
mod decompress;
mod parser;
mod pax;
mod sparse;

use crate::compression::Compression;
use crate::member;
use crate::mutate::{self, Dice};

/// Something that is fuzzed.
pub struct Target {
    /// That of its program, too.
    pub name: &'static str,
    /// Panics where a promise is broken.
    pub check: fn(&[u8]),
    /// Changes an input to a likely one of at most so many bytes.
    pub mutate: Mutate,
    /// What ends the names of files in `testdata/` that are seeds.
    pub seeds: &'static [&'static str],
    /// Whether not the files are the seeds, but what the archives hold.
    pub of_members: bool,
    /// Longer seeds are cut.
    pub len_max: usize,
    /// Whether inputs are tar streams.
    pub mends_headers: bool,
}

/// Every target.
pub const TARGETS: [Target; 12] = [
    Target { mends_headers: true, ..target("parser", parser::check, mutate::archive, 32 << 10, &[".tar"]) },
    target("pax", pax::check, pax::mutate, 4 << 10, &[".tar"]),
    target("sparse", sparse::check, mutate::bytes, 2 << 10, &[".tar"]),
    decompressor("gzip", |data| decompress::check(Compression::Gzip, data), &["gz", "tgz"]),
    decompressor("zstd", |data| decompress::check(Compression::Zstd, data), &["zst"]),
    decompressor("bzip2", |data| decompress::check(Compression::Bzip2, data), &["bz2", "no-extension"]),
    decompressor("xz", |data| decompress::check(Compression::Xz, data), &["xz"]),
    decompressor("lz4", |data| decompress::check(Compression::Lz4, data), &["lz4"]),
    Target { mends_headers: true, ..target("archive", archive::check, archive::mutate, 16 << 10, ARCHIVES) },
    record("json", member::json::check::check, &["logs.tar", "shapes.tar", "bad.tar"]),
    record("csv", member::csv::check::check, &["bom.tar", "quotes.tar", "semicolon.tar", "header-only.tar"]),
    record("avro", member::avro::check::check, &["avro.tar"]),
];

const ARCHIVES: &[&str] = &["tar", "gz", "tgz", "zst", "bz2", "no-extension", "xz", "lz4"];

type Mutate = fn(&mut Vec<u8>, &mut Dice, usize);

const fn target(
    name: &'static str,
    check: fn(&[u8]),
    mutate: Mutate,
    len_max: usize,
    seeds: &'static [&'static str],
) -> Target {
    Target { name, check, mutate, seeds, of_members: false, len_max, mends_headers: false }
}

const fn record(name: &'static str, check: fn(&[u8]), seeds: &'static [&'static str]) -> Target {
    Target { of_members: true, ..target(name, check, mutate::bytes, 4 << 10, seeds) }
}

const fn decompressor(name: &'static str, check: fn(&[u8]), seeds: &'static [&'static str]) -> Target {
    target(name, check, mutate::bytes, 16 << 10, seeds)
}

/// The target of that name.
///
/// # Panics
/// There is none.
pub fn named(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).expect("the name of a target")
}
