//! What the readers that come with the libraries make of a stream. Of gzip and lz4 the frames are read by code of ours,
//! of the others by the same library in another way.

use std::io::{Read, Write};

use liblzma::stream::{CONCATENATED, Stream};

use super::{Chunks, Compression, End, ErrorKind, OUTPUT_BYTES_MAX, Outcome, inflate};

/// Asserts that both accept the same streams, and make the same of them, but for the differences listed here.
pub(super) fn compare(compression: Compression, data: &[u8], ours: &Outcome) {
    match (read(compression, data), &ours.end) {
        // Of lz4 it reads the first frame.
        (Ok(theirs), End::Whole) if compression == Compression::Lz4 => assert!(ours.bytes.starts_with(&theirs)),
        (Ok(theirs), End::Whole) => assert!(theirs == ours.bytes, "it reads {} bytes, we {ours:?}", theirs.len()),
        (Ok(_), End::TooLong) if compression == Compression::Lz4 => {}
        (Ok(theirs), End::TooLong) => assert!(theirs.len() > OUTPUT_BYTES_MAX),
        (Ok(_), End::Failed(kind, message)) => {
            assert!(may_refuse(compression, data, *kind, message), "only we refuse it: {message}");
        }
        (Err(message), End::Whole) => assert!(may_accept(compression, data, &message), "only we accept it: {message}"),
        (Err(_), _) => {}
    }
}

/// Why we refuse what the library reads.
fn may_refuse(compression: Compression, data: &[u8], kind: ErrorKind, message: &str) -> bool {
    // The limits here are small on purpose; and nothing is not a stream.
    if kind == ErrorKind::Limit || data.is_empty() {
        return true;
    }
    match compression {
        // RFC 1952 wants it so: a field that nobody knows could be anywhere. flate2 goes on.
        Compression::Gzip => message.contains("reserved flags"),
        // The library leaves a check that it doesn't know out in silence.
        Compression::Xz => message.contains("can't be verified"),
        // It takes a frame that is cut for one that ends there, and three bytes of anything for nothing.
        Compression::Lz4 => true,
        _ => false,
    }
}

/// Why we read what the library refuses.
fn may_accept(compression: Compression, data: &[u8], _message: &str) -> bool {
    match compression {
        // Zeros between and behind members; tapes are padded so.
        Compression::Gzip | Compression::Bzip2 => {
            data.last() == Some(&0) || data.windows(2).any(|pair| pair == [0, 0x1f])
        }
        // It knows neither skippable frames nor empty blocks.
        Compression::Lz4 => true,
        _ => false,
    }
}

fn read(compression: Compression, data: &[u8]) -> Result<Vec<u8>, String> {
    let reader: Box<dyn Read + '_> = match compression {
        Compression::None => Box::new(data),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(data)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(data).map_err(|e| e.to_string())?),
        Compression::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(data)),
        Compression::Xz => {
            let stream = Stream::new_stream_decoder(u64::MAX, CONCATENATED).map_err(|error| error.to_string())?;
            Box::new(liblzma::read::XzDecoder::new_stream(data, stream))
        }
        Compression::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(data)),
    };
    let mut bytes = Vec::new();
    reader.take(OUTPUT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// Appends a whole stream with every checksum that the format has.
pub(in crate::targets) fn compress(compression: Compression, plain: &[u8], stream: &mut Vec<u8>) {
    const WRITES: &str = "a vector takes everything";
    match compression {
        Compression::None => stream.extend(plain),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(stream, flate2::Compression::new(6));
            encoder.write_all(plain).and_then(|()| encoder.finish().map(drop)).expect(WRITES);
        }
        Compression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(stream, 1).expect(WRITES);
            encoder.include_checksum(true).expect(WRITES);
            encoder.write_all(plain).and_then(|()| encoder.finish().map(drop)).expect(WRITES);
        }
        Compression::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(stream, bzip2::Compression::new(1));
            encoder.write_all(plain).and_then(|()| encoder.finish().map(drop)).expect(WRITES);
        }
        Compression::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(stream, 0);
            encoder.write_all(plain).and_then(|()| encoder.finish().map(drop)).expect(WRITES);
        }
        Compression::Lz4 => {
            let info = lz4_flex::frame::FrameInfo::new().block_checksums(true).content_checksum(true);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, stream);
            encoder.write_all(plain).expect(WRITES);
            encoder.finish().expect(WRITES);
        }
    }
}

/// Takes the input for a bare deflate stream, and puts a header and the right trailer around it: a fuzzer never finds a
/// checksum.
pub(super) fn raw_deflate(data: &[u8]) {
    let mut inflate_raw = flate2::Decompress::new(false);
    let mut plain = vec![0; 64 << 10];
    let status = inflate_raw.decompress(data, &mut plain, flate2::FlushDecompress::Finish);
    if !matches!(status, Ok(flate2::Status::StreamEnd)) {
        return;
    }
    plain.truncate(inflate_raw.total_out() as usize);
    let mut crc = flate2::Crc::new();
    crc.update(&plain);
    let mut stream = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    stream.extend(&data[..inflate_raw.total_in() as usize]);
    stream.extend(crc.sum().to_le_bytes());
    stream.extend((plain.len() as u32).to_le_bytes());
    let mut chunks = Chunks::of_tail(data);
    let ours = inflate(Compression::Gzip, 0, &stream, &mut chunks.another(), &mut chunks);
    assert_eq!(ours, Outcome { bytes: plain, end: End::Whole }, "a deflate stream with its checksum");
}
