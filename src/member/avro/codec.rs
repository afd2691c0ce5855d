//! The blocks of a container, decompressed within limits.
//!
//! arrow-avro could do this too, but holds whatever a block unfolds to; a few KiB can be gigabytes.

use std::io::{self, Read};

use crate::compression::inflate;
use crate::member::avro::container::{BLOCK_BYTES_MAX, Codec};

/// What an xz stream may take as its dictionary; `xz -9` wants 64 MiB.
const XZ_MEMORY_MAX: u64 = 256 << 20;

/// Bytes that snappy can at most make of one: a copy of 64 bytes takes three.
const SNAPPY_RATIO_MAX: usize = 32;

/// Appends the records of a block to `out`.
///
/// # Errors
/// What does not decompress, or becomes larger than a block may be; `out` is then as before.
pub(super) fn decompress(codec: Codec, block: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let before = out.len();
    let read = match codec {
        Codec::Null => {
            out.extend_from_slice(block);
            Ok(0)
        }
        Codec::Snappy => return snappy(block, bytes_max, out),
        Codec::Deflate => inflate(block, bytes_max.saturating_add(1), out).map_err(io::Error::other),
        Codec::Zstandard => zstd::Decoder::with_buffer(block).and_then(|reader| read(reader, bytes_max, out)),
        Codec::Bzip2 => read(bzip2::bufread::BzDecoder::new(block), bytes_max, out),
        Codec::Xz => liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_MAX, 0)
            .map_err(io::Error::from)
            .and_then(|stream| read(liblzma::bufread::XzDecoder::new_stream(block, stream), bytes_max, out)),
    };
    let result = match read {
        Err(error) => Err(format!("it does not decompress: {error}")),
        Ok(_) => check_length(out.len() - before, bytes_max),
    };
    if result.is_err() {
        out.truncate(before);
    }
    result
}

fn check_length(length: usize, bytes_max: usize) -> Result<(), String> {
    if length > BLOCK_BYTES_MAX {
        return Err(format!("it has more than {BLOCK_BYTES_MAX} bytes decompressed"));
    }
    if length > bytes_max {
        return Err(format!(
            "it has more than the {bytes_max} bytes decompressed that a block may take of the memory limit: raise \
             --memory-limit (embedded: the session's memory pool)"
        ));
    }
    Ok(())
}

fn read(reader: impl Read, bytes_max: usize, out: &mut Vec<u8>) -> io::Result<usize> {
    reader.take(bytes_max as u64 + 1).read_to_end(out)
}

/// Snappy says in front how much it unfolds to, and Avro adds a checksum behind.
fn snappy(block: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let damaged = |error: snap::Error| format!("it does not decompress: {error}");
    let Some((body, checksum)) = block.split_last_chunk::<4>() else {
        return Err(format!("{} bytes are no block of snappy", block.len()));
    };
    let length = snap::raw::decompress_len(body).map_err(damaged)?;
    let possible = body.len() * SNAPPY_RATIO_MAX;
    if length > possible {
        return Err(format!("it claims {length} bytes decompressed, {possible} are possible"));
    }
    check_length(length, bytes_max)?;
    let before = out.len();
    out.resize(before + length, 0);
    let result = snap::raw::Decoder::new().decompress(body, &mut out[before..]).map_err(damaged);
    let computed = crc32fast::hash(&out[before..]);
    let result = match (result, u32::from_be_bytes(*checksum)) {
        (Ok(_), stored) if stored != computed => {
            Err(format!("its checksum does not match (stored {stored}, computed {computed})"))
        }
        (result, _) => result.map(|_| ()),
    };
    if result.is_err() {
        out.truncate(before);
    }
    result
}
