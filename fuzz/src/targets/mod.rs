//! One file for each thing that is fuzzed: a function from bytes that panics where a promise is broken.

mod decompress;
mod parser;
mod pax;
mod sparse;

use crate::compression::Compression;
use crate::mutate::{self, Dice};

/// Something that is fuzzed.
pub struct Target {
    /// That of its program, too.
    pub name: &'static str,
    /// Panics where a promise is broken.
    pub check: fn(&[u8]),
    /// Changes an input to a likely one of at most so many bytes.
    pub mutate: fn(&mut Vec<u8>, &mut Dice, usize),
    /// What ends the names of files in `testdata/` that are seeds.
    pub seeds: &'static [&'static str],
    /// Longer seeds are cut.
    pub len_max: usize,
    /// Whether inputs are tar streams.
    pub mends_headers: bool,
}

/// Every target.
pub const TARGETS: [Target; 8] = [
    Target { name: "parser", check: parser::check, mutate: mutate::archive, seeds: &[".tar"], len_max: 32 << 10, mends_headers: true },
    Target { name: "pax", check: pax::check, mutate: pax::mutate, seeds: &[".tar"], len_max: 4 << 10, mends_headers: false },
    Target { name: "sparse", check: sparse::check, mutate: mutate::bytes, seeds: &[".tar"], len_max: 2 << 10, mends_headers: false },
    decompressor("gzip", |data| decompress::check(Compression::Gzip, data), &["gz", "tgz"]),
    decompressor("zstd", |data| decompress::check(Compression::Zstd, data), &["zst"]),
    decompressor("bzip2", |data| decompress::check(Compression::Bzip2, data), &["bz2", "no-extension"]),
    decompressor("xz", |data| decompress::check(Compression::Xz, data), &["xz"]),
    decompressor("lz4", |data| decompress::check(Compression::Lz4, data), &["lz4"]),
];

const fn decompressor(name: &'static str, check: fn(&[u8]), seeds: &'static [&'static str]) -> Target {
    Target { name, check, mutate: mutate::bytes, seeds, len_max: 16 << 10, mends_headers: false }
}

/// The target of that name.
///
/// # Panics
/// There is none.
pub fn named(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).expect("the name of a target")
}
