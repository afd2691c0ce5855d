//! The blocks of a container, decompressed within limits.
//!
//! arrow-avro could do this too, but holds whatever a block unfolds to; a few KiB can be gigabytes.

use std::io::{self, Read};

use crate::member::avro::container::{BLOCK_BYTES_MAX, Codec};

/// What an xz stream may take as its dictionary; `xz -9` wants 64 MiB.
const XZ_MEMORY_MAX: u64 = 256 << 20;

/// Bytes that snappy can at most make of one.
const SNAPPY_RATIO_MAX: usize = 32;

/// Appends the records of a block to `out`.
///
/// # Errors
/// What does not decompress, or becomes larger than a block may be; `out` is then as before.
pub(super) fn decompress(codec: Codec, block: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let before = out.len();
    let read = match codec {
        Codec::Null | Codec::Snappy => {
            out.extend_from_slice(block);
            Ok(0)
        }
        Codec::Deflate => read(flate2::read::DeflateDecoder::new(block), bytes_max, out),
        Codec::Zstandard => zstd::Decoder::new(block).and_then(|reader| read(reader, bytes_max, out)),
        Codec::Bzip2 => read(bzip2::read::BzDecoder::new(block), bytes_max, out),
        Codec::Xz => liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_MAX, 0)
            .map_err(io::Error::from)
            .and_then(|stream| read(liblzma::read::XzDecoder::new_stream(block, stream), bytes_max, out)),
    };
    let result = match read {
        Err(error) => Err(format!("it does not decompress: {error}")),
        Ok(_) if out.len() - before > BLOCK_BYTES_MAX => {
            Err(format!("it has more than {BLOCK_BYTES_MAX} bytes decompressed"))
        }
        Ok(_) if out.len() - before > bytes_max => Err(format!(
            "it has more than the {bytes_max} bytes decompressed that a block may take of the memory limit: raise \
             --memory-limit (embedded: the session's memory pool)"
        )),
        Ok(_) if codec == Codec::Snappy => check_snappy(block),
        Ok(_) => Ok(()),
    };
    if result.is_err() {
        out.truncate(before);
    }
    result
}

fn read(reader: impl Read, bytes_max: usize, out: &mut Vec<u8>) -> io::Result<usize> {
    reader.take(bytes_max as u64 + 1).read_to_end(out)
}

/// arrow-avro decompresses snappy, which believes the length in front of a block, and takes for granted that there is a
/// checksum of four bytes behind it.
fn check_snappy(block: &[u8]) -> Result<(), String> {
    let body = block.len().checked_sub(4).map(|length| &block[..length]).filter(|body| !body.is_empty());
    let body = body.ok_or_else(|| format!("{} bytes are no block of snappy", block.len()))?;
    let mut length = 0_u64;
    for (place, &byte) in body.iter().take(5).enumerate() {
        length |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            break;
        }
    }
    let max = (body.len() * SNAPPY_RATIO_MAX).min(BLOCK_BYTES_MAX) as u64;
    if length <= max { Ok(()) } else { Err(format!("it claims {length} bytes decompressed, {max} are possible")) }
}
