//! What a crew makes of a stream is what one decompressor makes of it.

use std::io::Write;

use bytes::Bytes;
use liblzma::stream::Check;

use super::*;
use crate::compression::tests::FORMATS;

/// Small enough that short streams have many segments.
fn bounds(compression: Compression) -> SegmentBounds {
    match compression {
        // Its smallest blocks are longer.
        Compression::Bzip2 => SegmentBounds { stored_bytes_max: 100_000, plain_bytes_max: 200_000, ..SMALL },
        // What is cut out has a header of its own.
        Compression::Xz => SegmentBounds { stored_bytes: 1_000, stored_bytes_max: 5_000, ..SMALL },
        _ => SMALL,
    }
}

const SMALL: SegmentBounds = SegmentBounds {
    stored_bytes: 300,
    plain_bytes: 4_000,
    stored_bytes_max: 2_000,
    plain_bytes_max: 20_000,
    memory_bytes_max: 32 << 20,
};

const BLOCK_LEN: usize = 1_000;

/// What came out: bytes, the error, and the counter; and how it came.
struct Outcome {
    plain: Vec<u8>,
    error: Option<String>,
    counted: u64,
    how: How,
}

/// Segments that were taken, and those that turned out to be none.
#[derive(Debug, Default, Clone, Copy)]
struct How {
    segments: u32,
    failures: u32,
}

async fn inflate(compression: Compression, stream: &[u8], piece: usize, crew: &Crew) -> Outcome {
    let stats = Stats::default();
    let mut inflation =
        Inflation::in_segments(compression, BLOCK_LEN, &Allowance::unlimited(), crew, bounds(compression)).unwrap();
    let mut pieces = stream.chunks(piece).map(Bytes::copy_from_slice);
    let (mut plain, mut error) = (Vec::new(), None);
    loop {
        match inflation.next_block(&stats) {
            Ok(Some(block)) => {
                assert!(!block.is_empty() && block.len() <= BLOCK_LEN);
                plain.extend_from_slice(&block);
            }
            Err(fault) => {
                error = Some(fault.to_string());
                break;
            }
            Ok(None) if inflation.wants_input() => match pieces.next() {
                Some(piece) => inflation.push(piece),
                None => inflation.end(),
            },
            Ok(None) if inflation.is_waiting() => inflation.wait().await,
            Ok(None) => break,
        }
    }
    let how = How { segments: inflation.segments, failures: inflation.failures };
    Outcome { plain, error, counted: stats.bytes_decompressed.value(), how }
}

fn without_byte(error: &Option<String>) -> Option<String> {
    error.as_ref().map(|error| match error.contains("is damaged at") {
        true => error.replace(|char: char| char.is_ascii_digit(), ""),
        false => error.clone(),
    })
}

/// Compares what a crew makes of `stream` with what one does alone, in pieces of many sizes.
async fn check(name: &str, compression: Compression, stream: &[u8]) -> How {
    let mut sum = How::default();
    let crew = Crew::of(2);
    for piece in [1, 250, 5_000, usize::MAX] {
        if piece == 1 && stream.len() > 5_000 {
            continue;
        }
        let serial = inflate(compression, stream, piece, &Crew::alone()).await;
        let parallel = inflate(compression, stream, piece, &crew).await;
        assert_eq!(serial.how.segments, 0);
        sum.segments += parallel.how.segments;
        sum.failures += parallel.how.failures;
        let how = format!("{name}: {} in pieces of {piece}", compression.as_str());
        // What the libraries of these two say of the byte depends on how their input was cut: zstd's says only that the
        // damage is there or behind it, and bzip2's reads eight bytes at a time where it has as many.
        match compression {
            Compression::Zstd => assert_eq!(serial.error.is_some(), parallel.error.is_some(), "{how}"),
            Compression::Bzip2 => assert_eq!(without_byte(&serial.error), without_byte(&parallel.error), "{how}"),
            _ => assert_eq!(serial.error, parallel.error, "{how}"),
        }
        assert_eq!(parallel.counted, parallel.plain.len() as u64, "{how}");
        if compression == Compression::Bzip2 && serial.error.is_some() {
            // Its library does not say how much it had written of a block that it finds to be broken.
            let common = serial.plain.len().min(parallel.plain.len());
            assert!(serial.plain[..common] == parallel.plain[..common], "{how}");
        } else {
            assert!(serial.plain == parallel.plain, "{how}: {} and {}", serial.plain.len(), parallel.plain.len());
        }
    }
    sum
}

/// Text that compresses, but not to nothing.
fn text(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut text = Vec::with_capacity(length + 16);
    while text.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend_from_slice(format!("{},{:x},", state >> 28, state >> 16).as_bytes());
    }
    text.truncate(length);
    text
}

/// A stream of blocks of so many plain bytes, each with its lengths in its header, as several threads write it.
fn xz_blocks(plain: &[u8], length: usize, check: Check) -> Vec<u8> {
    let (mut stream, mut records) = (Vec::new(), Vec::new());
    for part in plain.chunks(length) {
        let mut encoder = liblzma::stream::Stream::new_easy_encoder(1, check).unwrap();
        let mut whole = Vec::with_capacity(2 * part.len() + 1_000);
        let status = encoder.process_vec(part, &mut whole, liblzma::stream::Action::Finish).unwrap();
        assert_eq!(status, liblzma::stream::Status::StreamEnd);
        let (header, block) = whole.split_at(12);
        if stream.is_empty() {
            stream.extend_from_slice(header);
        }
        // The Index begins behind the block; the footer says how long it is.
        let backward = u32::from_le_bytes(block[block.len() - 8..block.len() - 4].try_into().unwrap());
        let block = &block[..block.len() - 12 - (backward as usize + 1) * 4];
        let (old, rest) = block.split_at((usize::from(block[0]) + 1) * 4);
        let check_len = match check {
            Check::None => 0,
            Check::Crc32 => 4,
            Check::Crc64 => 8,
            Check::Sha256 => 32,
        };
        let chunks_len = lzma2_len(rest);
        // Both numbers in as many bytes as they need, and then the filters as they were.
        let mut new = vec![0, old[1] | 0xc0];
        number(chunks_len, &mut new);
        number(part.len(), &mut new);
        new.extend_from_slice(&old[2..old.len() - 4]);
        new.resize(new.len().next_multiple_of(4), 0);
        new[0] = u8::try_from(new.len() / 4).unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(&new);
        new.extend_from_slice(&crc.sum().to_le_bytes());
        records.push((new.len() + chunks_len + check_len, part.len()));
        stream.extend([&new[..], rest].concat());
    }
    let mut index = vec![0];
    number(records.len(), &mut index);
    for (unpadded, plain) in records {
        number(unpadded, &mut index);
        number(plain, &mut index);
    }
    index.resize(index.len().next_multiple_of(4), 0);
    let crc32 = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_le_bytes()
    };
    let sum = crc32(&index);
    index.extend(sum);
    let backward = u32::try_from(index.len() / 4 - 1).unwrap().to_le_bytes();
    let sealed = [&backward[..], &stream[6..8]].concat();
    stream.extend([&index[..], &crc32(&sealed), &sealed, b"YZ"].concat());
    stream
}

/// Length of the chunks that `block` begins with.
fn lzma2_len(block: &[u8]) -> usize {
    let number = |at: usize| usize::from(u16::from_be_bytes([block[at], block[at + 1]])) + 1;
    let mut at = 0;
    while block[at] != 0 {
        at += match block[at] {
            control @ 0x80.. => 5 + usize::from(control >= 0xc0) + number(at + 3),
            _ => 3 + number(at + 1),
        };
    }
    at + 1
}

fn number(mut number: usize, to: &mut Vec<u8>) {
    while number > 0x7f {
        to.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    to.push(number.to_le_bytes()[0]);
}

fn bgzf(plain: &[u8], length: usize) -> Vec<u8> {
    let mut stream = Vec::new();
    for part in plain.chunks(length).chain([&[][..]]) {
        let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        deflate.write_all(part).unwrap();
        let deflate = deflate.finish().unwrap();
        let size = u16::try_from(deflate.len() + 25).unwrap();
        stream.extend_from_slice(&[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 6, 0, b'B', b'C', 2, 0]);
        stream.extend_from_slice(&size.to_le_bytes());
        stream.extend_from_slice(&deflate);
        let mut crc = flate2::Crc::new();
        crc.update(part);
        stream.extend_from_slice(&crc.sum().to_le_bytes());
        stream.extend_from_slice(&u32::try_from(part.len()).unwrap().to_le_bytes());
    }
    stream
}

/// Members of many lengths in a row, some of them empty.
fn many(compress: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let lengths = [700, 0, 1, 1_500, 30, 2_900, 2_900, 40, 0, 5_000, 800, 800, 800, 9_000, 100, 60_000, 50, 1_200];
    lengths.iter().zip(1..).flat_map(|(length, seed)| compress(&text(*length, seed))).collect()
}

fn streams() -> Vec<(&'static str, Compression, Vec<u8>)> {
    let mut streams: Vec<_> =
        FORMATS.into_iter().map(|(compression, compress)| ("many", compression, many(compress))).collect();
    let gzip = FORMATS[0].1;
    streams.push(("bgzf", Compression::Gzip, bgzf(&text(60_000, 3), 900)));
    streams.push((
        "mixed",
        Compression::Gzip,
        [bgzf(&text(9_000, 3), 500), many(gzip), bgzf(&text(9_000, 3), 500)].concat(),
    ));
    streams.push(("single", Compression::Gzip, gzip(&text(30_000, 9))));
    let (bzip2, longer) = (FORMATS[2].1, text(250_000, 9));
    streams.push(("blocks", Compression::Bzip2, bzip2(&longer)));
    streams.push(("padded", Compression::Bzip2, [bzip2(&longer), vec![0; 70], many(bzip2), vec![0; 30]].concat()));
    for (name, check) in
        [("none", Check::None), ("crc32", Check::Crc32), ("blocks", Check::Crc64), ("sha", Check::Sha256)]
    {
        streams.push((name, Compression::Xz, xz_blocks(&text(60_000, 7), 3_000, check)));
    }
    let (xz, blocks) = (FORMATS[3].1, xz_blocks(&text(30_000, 5), 2_000, Check::Crc64));
    streams.push(("single", Compression::Xz, xz(&text(30_000, 9))));
    // The middle one has a block that does not say how long it is, and the last one blocks that are too long.
    let longer = xz_blocks(&text(90_000, 5), 30_000, Check::Crc32);
    streams.push((
        "padded",
        Compression::Xz,
        [&blocks[..], &[0; 8], &blocks, &xz(&text(900, 3)), &[0; 4], &blocks, &longer, &blocks, &[0; 12]].concat(),
    ));
    streams.push(("padded", Compression::Gzip, [many(gzip), vec![0; 700], many(gzip), vec![0; 3_000]].concat()));
    streams
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_streams_are_read_in_segments() {
    for (name, compression, stream) in streams() {
        let how = check(name, compression, &stream).await;
        assert_eq!(how.segments > 0, name != "single", "{name} {}: {how:?}", compression.as_str());
        if name == "blocks" && compression == Compression::Xz {
            assert!(how.segments > 20, "{how:?}");
        }
        // One member of "many" is longer than a segment may be.
        assert!(how.failures <= 4, "{name} {}: {how:?}", compression.as_str());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_and_spoiled_streams() {
    for (name, compression, stream) in streams() {
        for step in 0..12 {
            let at = (step * 7_919 + 501) % stream.len();
            check(&format!("{name} cut at {at}"), compression, &stream[..at]).await;
            let mut flipped = stream.clone();
            flipped[at] ^= 1 << (step % 8);
            check(&format!("{name} flipped at {at}"), compression, &flipped).await;
            // Also what looks like the next block.
            for garbage in [&b"garbage"[..], b"\x1f\x8b\x08\0\0\0\0\0\0\x03", b"1AY&SY", b"\x17rE8P\x90"] {
                let spoiled = [&stream[..at], garbage, &stream[at..]].concat();
                check(&format!("{name} garbage at {at}"), compression, &spoiled).await;
            }
        }
        check(&format!("{name} garbage"), compression, &[&stream[..], b"garbage"].concat()).await;
    }
}

/// Whatever is wrong with the headers, the Index or the footer of a stream is told by those who read its blocks apart, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_blocks_of_xz_spoiled_all_over() {
    let blocks = |check| xz_blocks(&text(2_400, 5), 400, check);
    let stream = [&blocks(Check::Crc32)[..], &[0; 4], &blocks(Check::Crc64)].concat();
    for at in (0..stream.len()).step_by(11) {
        check(&format!("cut at {at}"), Compression::Xz, &stream[..at]).await;
        let mut flipped = stream.clone();
        flipped[at] ^= 1 << (at % 8);
        check(&format!("flipped at {at}"), Compression::Xz, &flipped).await;
    }
}

/// What looks like a boundary and is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn false_boundaries() {
    let gzip = FORMATS[0].1;
    let stored = |plain: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    };
    let few: Vec<u8> = (1..9).flat_map(|seed| gzip(&text(700, seed))).collect();
    // A member with a whole gzip stream in it, as it is.
    let nested = [&few[..], &stored(&few), &few, &stored(&few), &many(gzip)].concat();
    let how = check("nested", Compression::Gzip, &nested).await;
    assert!(how.failures > 0 && how.segments > 0, "{how:?}");
    // More of them than a stream may have by chance.
    let many_nested = [&few[..], &stored(&few).repeat(20), &few].concat();
    let how = check("many nested", Compression::Gzip, &many_nested).await;
    assert!(how.failures >= FAILURES_MAX, "{how:?}");
    // A BGZF header whose length is another's.
    let mut wrong = bgzf(&text(30_000, 3), 900);
    let at = wrong.len() / 2;
    let header = at + memchr::memmem::find(&wrong[at..], b"\x1f\x8b\x08\x04").unwrap();
    wrong[header + 16] ^= 1;
    check("wrong length", Compression::Gzip, &wrong).await;
    // A frame within a skippable one.
    for (compression, compress) in [FORMATS[1], FORMATS[4]] {
        let frame = compress(&text(900, 5));
        let length = u32::try_from(frame.len()).unwrap().to_le_bytes();
        let skippable = [&[0x5a, 0x2a, 0x4d, 0x18], &length[..], &frame].concat();
        let how = check("skippable", compression, &[frame, skippable].concat().repeat(20)).await;
        assert!(how.segments > 0 && how.failures == 0, "{how:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_comes_out_in_place() {
    for (name, compression, stream) in streams() {
        for at in (0..stream.len()).step_by(stream.len() / 7 + 1) {
            let stats = Stats::default();
            let crew = Crew::of(2);
            let mut inflation =
                Inflation::in_segments(compression, BLOCK_LEN, &Allowance::unlimited(), &crew, bounds(compression))
                    .unwrap();
            let mut plain = Vec::new();
            for piece in stream[..at].chunks(400) {
                while !inflation.wants_input() {
                    match inflation.next_block(&stats).unwrap() {
                        Some(block) => plain.extend_from_slice(&block),
                        None if inflation.is_waiting() => inflation.wait().await,
                        None => {}
                    }
                }
                inflation.push(Bytes::copy_from_slice(piece));
            }
            inflation.catch_up().unwrap();
            while let Some(block) = inflation.next_block(&stats).unwrap() {
                plain.extend_from_slice(&block);
            }
            assert!(inflation.wants_input() && !inflation.is_waiting());
            let expected = inflate(compression, &stream[..at], 400, &Crew::alone()).await;
            assert!(plain == expected.plain, "{name} {} up to {at}", compression.as_str());
        }
    }
}
