//! Archives that a test makes up: written by the crate `tar`, compressed as everybody does it.

use std::hash::Hasher;
use std::io::{Read, Write};

use flate2::read::GzEncoder;
use twox_hash::XxHash32;

/// Tar ends with two of these, and pads with parts of them.
pub(crate) const BLOCK_LEN: usize = 512;

/// A plain tar of files.
pub(crate) fn tar<P: AsRef<str>, C: AsRef<[u8]>>(members: impl IntoIterator<Item = (P, C)>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in members {
        let (path, content) = (path.as_ref(), content.as_ref());
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_656_288_000);
        builder.append_data(&mut header, path, content).expect("a path that ustar can hold");
    }
    builder.into_inner().expect("memory can be written to")
}

/// A name and what it does.
pub(crate) type Wrapping = (&'static str, fn(&[u8]) -> Vec<u8>);

/// Every compression that an archive may have, and none.
pub(crate) const WRAPPINGS: [Wrapping; 6] =
    [("tar", <[u8]>::to_vec), ("gz", gzip), ("zst", zstandard), ("bz2", bz2), ("xz", xz), ("lz4", lz4)];

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    read(GzEncoder::new(bytes, flate2::Compression::default()))
}

fn zstandard(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).expect("a known level");
    encoder.include_checksum(true).expect("a known option");
    encoder.write_all(bytes).expect("memory can be written to");
    encoder.finish().expect("memory can be written to")
}

fn bz2(bytes: &[u8]) -> Vec<u8> {
    read(bzip2::read::BzEncoder::new(bytes, bzip2::Compression::best()))
}

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    read(liblzma::read::XzEncoder::new(bytes, 6))
}

/// One frame of one block, with a checksum of its content: `lz4_flex` is built without its frames.
fn lz4(bytes: &[u8]) -> Vec<u8> {
    let block = lz4_flex::block::compress(bytes);
    let descriptor = [0x64, 0x40];
    let mut frame = 0x184d_2204_u32.to_le_bytes().to_vec();
    frame.extend(descriptor);
    frame.push(xxh32(&descriptor).to_le_bytes()[1]);
    frame.extend(u32::try_from(block.len()).expect("a small archive").to_le_bytes());
    frame.extend(block);
    frame.extend([0; 4]);
    frame.extend(xxh32(bytes).to_le_bytes());
    frame
}

fn xxh32(bytes: &[u8]) -> u32 {
    let mut hasher = XxHash32::with_seed(0);
    hasher.write(bytes);
    u32::try_from(hasher.finish()).expect("32 bits")
}

fn read(mut encoder: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    encoder.read_to_end(&mut bytes).expect("memory can be read");
    bytes
}
