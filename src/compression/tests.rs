//! Every format, at every chunk size, whole, cut, and with flipped bits.

use std::io::Write;

use bytes::Bytes;

use super::{Compression, Decompressor, Inflater, Progress, decompressor};
use crate::error::{Error, ErrorKind};

const INPUT_SIZES: [usize; 9] = [1, 2, 3, 5, 7, 64, 511, 4096, usize::MAX];
const OUTPUT_SIZES: [usize; 4] = [1, 7, 4096, 1 << 20];
const MEMORY_BYTES_MAX: u64 = 256 << 20;

/// Feeds pieces of `input_size` bytes, with room for `output_size`.
fn decompress(
    decompressor: &mut dyn Decompressor,
    compressed: &[u8],
    input_size: usize,
    output_size: usize,
) -> Result<Vec<u8>, Error> {
    let mut room = vec![0; output_size];
    let mut plain = Vec::new();
    for mut piece in compressed.chunks(input_size.min(compressed.len().max(1))) {
        while !piece.is_empty() {
            let progress = decompressor.decompress(piece, &mut room)?;
            assert_ne!(progress, Progress::default(), "stands still with {} bytes to go", piece.len());
            piece = &piece[progress.consumed..];
            plain.extend_from_slice(&room[..progress.written]);
        }
    }
    loop {
        match decompressor.finish(&mut room)? {
            0 => return Ok(plain),
            written => plain.extend_from_slice(&room[..written]),
        }
    }
}

fn decompress_all(compression: Compression, compressed: &[u8]) -> Result<Vec<u8>, Error> {
    decompress(&mut *decompressor(compression, MEMORY_BYTES_MAX)?, compressed, usize::MAX, 1 << 16)
}

fn check(name: &str, compression: Compression, compressed: &[u8], expected: &[u8]) {
    // Byte by byte is for small cases: large ones are about what crosses blocks.
    let smallest = if compressed.len().max(expected.len()) > 100_000 { 511 } else { 1 };
    assert_eq!(Compression::detect(&compressed[..compressed.len().min(64)]), compression, "{name}");
    for input_size in INPUT_SIZES.into_iter().filter(|size| *size >= smallest) {
        for output_size in OUTPUT_SIZES.into_iter().filter(|size| *size >= smallest) {
            let mut decompressor = decompressor(compression, MEMORY_BYTES_MAX).unwrap();
            let plain = decompress(&mut *decompressor, compressed, input_size, output_size)
                .unwrap_or_else(|error| panic!("{name} in {input_size} out {output_size}: {error}"));
            assert!(plain == expected, "{name} in {input_size} out {output_size}: {} bytes", plain.len());
        }
    }
}

fn error_of(compression: Compression, compressed: &[u8]) -> String {
    let whole = decompress_all(compression, compressed).unwrap_err();
    let mut by_byte = decompressor(compression, MEMORY_BYTES_MAX).unwrap();
    let by_byte = decompress(&mut *by_byte, compressed, 1, 3).unwrap_err();
    assert_eq!(whole.to_string(), by_byte.to_string(), "the same, however it is fed");
    whole.to_string()
}

/// Text that compresses, but not to nothing; the same for the same length.
fn text(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let mut text = Vec::with_capacity(length + 16);
    while text.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend_from_slice(format!("{},{:x},", state >> 28, state >> 16).as_bytes());
    }
    text.truncate(length);
    text
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// A member with every optional field; `header_crc` spoils its checksum where it is not zero.
fn gzip_with_fields(plain: &[u8], header_crc: u8) -> Vec<u8> {
    let mut member = vec![0x1f, 0x8b, 8, 0b1_1110, 1, 2, 3, 4, 0, 255];
    member.extend_from_slice(b"\x06\x00BC\x02\x00\xff\xff");
    member.extend_from_slice(b"name.csv\0comment \xfc\0");
    let mut crc = flate2::Crc::new();
    crc.update(&member);
    let [low, high, ..] = crc.sum().to_le_bytes();
    member.extend_from_slice(&[low ^ header_crc, high]);
    member.extend_from_slice(&gzip(plain)[10..]);
    member
}

fn zstd_frame(plain: &[u8], edit: impl FnOnce(&mut zstd::Encoder<'_, Vec<u8>>)) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    edit(&mut encoder);
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd_frame(plain, |encoder| encoder.include_checksum(true).unwrap())
}

fn skippable(low: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_le_bytes();
    [&[0x50 + low, 0x2a, 0x4d, 0x18], &length[..], content].concat()
}

fn bzip2(plain: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(1));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn xz_with(plain: &[u8], check: liblzma::stream::Check) -> Vec<u8> {
    let stream = liblzma::stream::Stream::new_easy_encoder(1, check).unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn xz(plain: &[u8]) -> Vec<u8> {
    xz_with(plain, liblzma::stream::Check::Crc64)
}

/// What a test's LZ4 frame is like.
#[derive(Clone, Copy, Default)]
struct Lz4 {
    linked: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_len: Option<u64>,
    /// Stores blocks as they are.
    plain: bool,
}

impl Lz4 {
    /// A frame with blocks of 64 KiB at most.
    fn frame(self, blocks: &[&[u8]]) -> Vec<u8> {
        let flag = |is_set: bool, bit: u32| u8::from(is_set) << bit;
        let flags = 0x40
            | flag(!self.linked, 5)
            | flag(self.block_checksums, 4)
            | flag(self.content_len.is_some(), 3)
            | flag(self.content_checksum, 2);
        let mut frame = vec![4, 0x22, 0x4d, 0x18, flags, 0x40];
        frame.extend(self.content_len.map(u64::to_le_bytes).into_iter().flatten());
        frame.push(twox_hash::XxHash32::oneshot(0, &frame[4..]).to_le_bytes()[1]);
        let mut before = Vec::new();
        for block in blocks {
            let history = if self.linked { &before[before.len().saturating_sub(64 << 10)..] } else { &[][..] };
            let stored = match self.plain {
                true => block.to_vec(),
                false => lz4_flex::block::compress_with_dict(block, history),
            };
            let length = u32::try_from(stored.len()).unwrap() | u32::from(self.plain) << 31;
            frame.extend_from_slice(&length.to_le_bytes());
            frame.extend_from_slice(&stored);
            if self.block_checksums {
                frame.extend_from_slice(&twox_hash::XxHash32::oneshot(0, &stored).to_le_bytes());
            }
            before.extend_from_slice(block);
        }
        frame.extend_from_slice(&[0; 4]);
        if self.content_checksum {
            frame.extend_from_slice(&twox_hash::XxHash32::oneshot(0, &before).to_le_bytes());
        }
        frame
    }
}

fn lz4(plain: &[u8]) -> Vec<u8> {
    let shape = Lz4 { content_checksum: true, block_checksums: true, ..Lz4::default() };
    shape.frame(&plain.chunks(1500).collect::<Vec<_>>())
}

fn lz4_legacy(blocks: &[&[u8]]) -> Vec<u8> {
    let mut frame = vec![2, 0x21, 0x4c, 0x18];
    for block in blocks {
        let stored = lz4_flex::block::compress(block);
        frame.extend_from_slice(&u32::try_from(stored.len()).unwrap().to_le_bytes());
        frame.extend_from_slice(&stored);
    }
    frame
}

/// One member (frame, stream) with all checksums that the format has.
pub(crate) type Compress = fn(&[u8]) -> Vec<u8>;

/// Every compression, and something that does it.
pub(crate) const FORMATS: [(Compression, Compress); 5] = [
    (Compression::Gzip, gzip),
    (Compression::Zstd, zstd),
    (Compression::Bzip2, bzip2),
    (Compression::Xz, xz),
    (Compression::Lz4, lz4),
];

#[test]
fn every_format_in_one_and_in_many_members() {
    for (compression, compress) in FORMATS {
        let name = compression.as_str();
        let plain = text(20_000);
        check(name, compression, &compress(&plain), &plain);
        check("empty", compression, &compress(b""), b"");
        let (one, two) = plain.split_at(7_000);
        let many = [compress(b""), compress(one), compress(b""), compress(two), compress(b"")].concat();
        check("many", compression, &many, &plain);
        let large = text(400_000);
        check("large", compression, &compress(&large), &large);
    }
}

#[test]
fn what_only_one_format_has() {
    let (plain, large) = (text(5_000), text(300_000));
    let both = [&plain[..], &plain].concat();
    check("fields", Compression::Gzip, &[gzip_with_fields(&plain, 0), gzip(&plain)].concat(), &both);
    check("tape", Compression::Gzip, &[gzip(&plain), vec![0; 1000]].concat(), &plain);
    check("between", Compression::Gzip, &[gzip(&plain), vec![0; 100], gzip(&plain)].concat(), &both);
    check("tape", Compression::Bzip2, &[bzip2(&plain), vec![0; 1000]].concat(), &plain);
    check("padding", Compression::Xz, &[xz(&plain), vec![0; 8], xz(&plain), vec![0; 4]].concat(), &both);
    for check_kind in [liblzma::stream::Check::None, liblzma::stream::Check::Crc32, liblzma::stream::Check::Sha256] {
        check("check", Compression::Xz, &xz_with(&plain, check_kind), &plain);
    }

    let skipped =
        [skippable(0, b""), zstd(&plain), skippable(3, &[9; 100]), zstd(&plain), skippable(15, b"x")].concat();
    check("skippable", Compression::Zstd, &skipped, &both);
    let sized = zstd::bulk::compress(&large, 1).unwrap();
    check("single segment", Compression::Zstd, &sized, &large);
    let long = zstd_frame(&large, |encoder| encoder.window_log(27).unwrap());
    check("long", Compression::Zstd, &long, &large);

    let skipped = [skippable(0, b""), lz4(&plain), skippable(7, &[9; 100]), lz4(&plain), skippable(1, b"")].concat();
    check("skippable", Compression::Lz4, &skipped, &both);
    let legacy = [lz4_legacy(&[&plain, &plain]), lz4(&plain), lz4_legacy(&[]), lz4_legacy(&[&plain])].concat();
    check("legacy", Compression::Lz4, &legacy, &[&both[..], &both].concat());
    let length = Some(large.len() as u64);
    let shapes = [
        Lz4 { linked: true, content_checksum: true, ..Lz4::default() },
        Lz4 { linked: true, plain: true, block_checksums: true, ..Lz4::default() },
        Lz4 { content_len: length, ..Lz4::default() },
        Lz4 { linked: true, block_checksums: true, content_checksum: true, content_len: length, plain: false },
    ];
    for shape in shapes {
        for block_len in [3_000, 40_000, 64 << 10] {
            check("shape", Compression::Lz4, &shape.frame(&large.chunks(block_len).collect::<Vec<_>>()), &large);
        }
    }
    let hollow = Lz4 { plain: true, ..Lz4::default() }.frame(&[b"", &plain, b""]);
    check("hollow blocks", Compression::Lz4, &hollow, &plain);
}

/// A gzip trailer has the length modulo 2^32. The same deflate block over and over makes a member of more.
#[test]
fn a_gzip_member_of_more_than_4_gib() {
    const BLOCK_LEN: usize = 1 << 20;
    const BLOCKS: u64 = 4097;
    let zeros = vec![0; BLOCK_LEN];
    let mut deflate = flate2::Compress::new(flate2::Compression::default(), false);
    let mut block = Vec::with_capacity(BLOCK_LEN);
    // Flushed so that it ends with a byte and refers to nothing before it.
    deflate.compress_vec(&zeros, &mut block, flate2::FlushCompress::Full).unwrap();
    let (mut crc_of_block, mut crc) = (flate2::Crc::new(), flate2::Crc::new());
    crc_of_block.update(&zeros);
    (0..BLOCKS).for_each(|_| crc.combine(&crc_of_block));
    let mut member = gzip(b"")[..10].to_vec();
    (0..BLOCKS).for_each(|_| member.extend_from_slice(&block));
    // An empty last block.
    member.extend_from_slice(&[3, 0]);
    member.extend_from_slice(&crc.sum().to_le_bytes());
    member.extend_from_slice(&u32::try_from(BLOCK_LEN).unwrap().to_le_bytes());

    let mut decompressor = decompressor(Compression::Gzip, MEMORY_BYTES_MAX).unwrap();
    let (mut room, mut rest, mut length) = (zeros, member.as_slice(), 0);
    while !rest.is_empty() {
        let progress = decompressor.decompress(rest, &mut room).unwrap();
        rest = &rest[progress.consumed..];
        length += progress.written as u64;
    }
    assert_eq!((decompressor.finish(&mut room).unwrap(), length), (0, BLOCKS << 20));
}

#[test]
fn a_cut_stream_is_never_a_whole_one() {
    let plain = text(700);
    for (compression, compress) in FORMATS {
        let mut whole = compress(&plain);
        let first = whole.len();
        whole.extend(compress(&plain[..40]));
        for length in (0..whole.len()).filter(|length| *length != first) {
            let message = error_of(compression, &whole[..length]);
            let expected = format!("{} stream is truncated after {length} compressed bytes", compression.as_str());
            assert_eq!(message, expected);
        }
        assert!(decompress_all(compression, &whole[..first]).unwrap() == plain, "{}", compression.as_str());
    }
    // Only a legacy lz4 frame may also end between two blocks.
    let legacy = lz4_legacy(&[&plain[..20], &plain[..20]]);
    let ends: Vec<usize> =
        (0..=legacy.len()).filter(|n| decompress_all(Compression::Lz4, &legacy[..*n]).is_ok()).collect();
    assert_eq!(ends, [4, 4 + (legacy.len() - 4) / 2, legacy.len()]);
}

#[test]
fn a_flipped_bit_is_an_error_or_changes_nothing() {
    let plain = text(600);
    for (compression, compress) in FORMATS {
        let whole = [compress(&plain), compress(&plain[..50])].concat();
        let expected = [&plain[..], &plain[..50]].concat();
        let mut refused = 0;
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            match decompress_all(compression, &damaged) {
                Ok(content) => assert!(content == expected, "{} bit {bit}", compression.as_str()),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > whole.len() * 7, "{} refused {refused}", compression.as_str());
    }
}

/// The bytes in front of the damage, and whether there was an error.
fn decompress_damaged(compression: Compression, damaged: &[u8], piece: usize, room: usize) -> (Vec<u8>, bool) {
    let mut inflater = Inflater::new(compression, MEMORY_BYTES_MAX).unwrap();
    let (mut plain, mut block) = (Vec::new(), vec![0; room]);
    let mut pieces = damaged.chunks(piece).map(Bytes::copy_from_slice);
    loop {
        if inflater.wants_input() {
            match pieces.next() {
                Some(piece) => inflater.push(piece),
                None => inflater.end(),
            }
        }
        match inflater.fill(&mut block) {
            Ok(0) if !inflater.wants_input() => return (plain, false),
            Ok(written) => plain.extend_from_slice(&block[..written]),
            Err(_) => return (plain, true),
        }
    }
}

#[test]
fn what_stands_before_damage_comes_out_however_it_arrives() {
    let plain = text(2_000);
    let blocks = |plain: &[u8]| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.include_checksum(true).unwrap();
        for block in plain.chunks(100) {
            encoder.write_all(block).unwrap();
            encoder.flush().unwrap();
        }
        encoder.finish().unwrap()
    };
    let mut streams: Vec<(Compression, Vec<u8>)> =
        FORMATS.into_iter().map(|(compression, compress)| (compression, compress(&plain))).collect();
    streams.push((Compression::Zstd, blocks(&plain)));
    for (compression, whole) in streams {
        for at in (0..whole.len()).step_by(3) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            let expected = decompress_damaged(compression, &damaged, 1, 4096);
            for (piece, room) in [(1, 1), (2, 64), (7, 33), (64, 1), (usize::MAX, 100), (usize::MAX, 4096)] {
                let found = decompress_damaged(compression, &damaged, piece, room);
                let how = format!("{} damaged at {at}, pieces of {piece}, room of {room}", compression.as_str());
                assert_eq!(found.1, expected.1, "{how}");
                if compression == Compression::Bzip2 {
                    // Its library does not say how much it had written of a block that it finds to be broken.
                    let common = found.0.len().min(expected.0.len());
                    assert!(found.0[..common] == expected.0[..common], "{how}");
                } else {
                    assert_eq!(found.0.len(), expected.0.len(), "{how}");
                    assert!(found.0 == expected.0, "{how}");
                }
            }
        }
    }
    // A last block that is stored as it is, in a frame that announces one byte more: all but that block's last byte.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x20, 9, 0x41, 0, 0];
    frame.extend_from_slice(b"abcdefgh");
    for piece in 1..=frame.len() {
        let found = decompress_damaged(Compression::Zstd, &frame, piece, 4096);
        assert_eq!(found, (b"abcdefg".to_vec(), true), "pieces of {piece}");
    }
    // Damage in the last block, in front of its checksum.
    let mut damaged = blocks(&plain);
    let at = damaged.len() - 8;
    damaged[at] ^= 0x55;
    let (before, error) = decompress_damaged(Compression::Zstd, &damaged, usize::MAX, 1 << 20);
    assert!(error && before.len() >= 1_900 && plain.starts_with(&before[..1_900]), "{}", before.len());
}

#[test]
fn random_bytes_never_panic() {
    let mut state = 7_u64;
    for (compression, compress) in FORMATS {
        let whole = compress(&text(5_000));
        for _ in 0..400 {
            let mut damaged = whole.clone();
            for _ in 0..4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = usize::try_from(state >> 33).unwrap() % damaged.len();
                damaged[at] = state.to_le_bytes()[3];
            }
            let _ = decompress_all(compression, &damaged);
        }
    }
}

#[test]
fn errors_say_what_and_where() {
    let plain = text(500);
    let edit = |mut bytes: Vec<u8>, from_end: usize| {
        let at = bytes.len() - from_end;
        bytes[at] ^= 0xff;
        bytes
    };
    let garbage = |compress: Compress| [compress(&plain), b"garbage".to_vec()].concat();
    for (compression, compress) in FORMATS {
        let (name, length) = (compression.as_str(), compress(&plain).len());
        let message = error_of(compression, &garbage(compress));
        let expected = format!("garbage at compressed byte {length}, behind a complete {name} stream");
        assert!(message.starts_with(&expected), "{message}");
        let message = error_of(compression, b"<html>not found</html>");
        assert!(message.starts_with(&format!("not a {name} stream: its first bytes are not {name}'s")), "{message}");
    }
    let cases: [(Compression, Vec<u8>, &str); 9] = [
        (Compression::Gzip, edit(gzip(&plain), 8), "crc32 mismatch (stored "),
        (Compression::Gzip, edit(gzip(&plain), 4), "length mismatch (stored 267, inflated 500)"),
        (Compression::Gzip, gzip_with_fields(&plain, 1), "header crc16 mismatch"),
        (Compression::Gzip, b"\x1f\x8b\x07".to_vec(), "damaged at compressed byte 2: unknown method 7"),
        (
            Compression::Gzip,
            b"\x1f\x8b\x08\x80".to_vec(),
            "damaged at compressed byte 3: reserved flags are set (0x80)",
        ),
        (Compression::Bzip2, edit(bzip2(&plain), 20), "invalid data or checksum: bzip2: invalid data"),
        (
            Compression::Xz,
            [xz(&plain), vec![0; 3], xz(&plain)].concat(),
            "stream padding of 3 bytes is no multiple of four",
        ),
        (Compression::Lz4, edit(lz4(&plain), 1), "content checksum mismatch"),
        (Compression::Lz4, edit(lz4(&plain), 9), "block checksum mismatch"),
    ];
    for (compression, compressed, expected) in cases {
        let message = error_of(compression, &compressed);
        assert!(message.contains(expected), "{message}");
    }
    // The library of zstd does not tell the byte, so that this depends on the pieces.
    let message = decompress_all(Compression::Zstd, &edit(zstd(&plain), 1)).unwrap_err().to_string();
    assert!(message.contains("in the frame from 0: Restored data doesn't match checksum"), "{message}");
    let short = Lz4 { content_len: Some(499), ..Lz4::default() }.frame(&[&plain]);
    assert!(error_of(Compression::Lz4, &short).contains("length mismatch (stored 499, decoded 500)"));
    let mut dictionary = Lz4 { content_len: Some(0), ..Lz4::default() }.frame(&[]);
    dictionary.splice(4.., *b"\x61\x40\x01\x02\x03\x04");
    dictionary.push(twox_hash::XxHash32::oneshot(0, &dictionary[4..]).to_le_bytes()[1]);
    assert!(error_of(Compression::Lz4, &dictionary).contains("needs a dictionary"));
    let with_dictionary = b"\x28\xb5\x2f\xfd\x01\x00\x07\x01\x00\x00".to_vec();
    assert!(error_of(Compression::Zstd, &with_dictionary).contains("dictionary 7"));
}

#[test]
fn memory_is_limited() {
    let plain = text(3_000_000);
    let cases: [(Compression, Vec<u8>, u64, &str); 4] = [
        (
            Compression::Zstd,
            zstd_frame(&plain, |encoder| encoder.window_log(27).unwrap()),
            100 << 20,
            "zstd window of the frame at compressed byte 0 needs 134217728 bytes of memory, and the limit is 67108864",
        ),
        (Compression::Xz, xz(&plain), 1 << 20, "xz block at compressed byte "),
        (Compression::Lz4, lz4(&plain), 100_000, "lz4 frame at compressed byte 6 needs 196608 bytes of memory"),
        (Compression::Lz4, lz4_legacy(&[&plain]), 1 << 20, "lz4 frame at compressed byte 0 needs "),
    ];
    for (compression, compressed, memory_bytes_max, expected) in cases {
        let mut limited = decompressor(compression, memory_bytes_max).unwrap();
        let error = decompress(&mut *limited, &compressed, 4096, 4096).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(error.to_string().contains("raise the memory limit"), "{error}");
        assert!(decompress_all(compression, &compressed).unwrap() == plain);
    }
}

#[test]
fn detection() {
    let long_skippable = [skippable(0, &[1; 40]), lz4(b"")].concat();
    let cases: [(&[u8], Compression); 17] = [
        (b"", Compression::None),
        (b"\x1f", Compression::None),
        (b"\x1f\x8b", Compression::Gzip),
        (b"\x1f\x8b\x08\x00", Compression::Gzip),
        (b"\x1f\x8b\x09\x00", Compression::None),
        (b"BZh", Compression::None),
        (b"BZh9", Compression::Bzip2),
        (b"BZh91AY&SY\x00", Compression::Bzip2),
        (b"BZh9\x17\x72\x45\x38\x50\x90", Compression::Bzip2),
        (b"BZh9 is the name of a file", Compression::None),
        (b"\xfd7zXZ\0", Compression::Xz),
        (b"\xfd7zX", Compression::None),
        (b"\x28\xb5\x2f\xfd", Compression::Zstd),
        (b"\x02\x21\x4c\x18", Compression::Lz4),
        (b"\x51\x2a\x4d\x18", Compression::Zstd),
        (&long_skippable[..Compression::MAGIC_LEN_MAX], Compression::Zstd),
        (&long_skippable, Compression::Lz4),
    ];
    for (head, expected) in cases {
        assert_eq!(Compression::detect(head), expected, "{}", head.escape_ascii());
    }
    for compression in Compression::ALL {
        assert_eq!(Compression::parse(&compression.as_str().to_uppercase()), Some(compression));
    }
    assert_eq!(Compression::parse("auto"), None);
}

#[test]
fn no_compression_copies() {
    let mut copy = decompressor(Compression::None, 0).unwrap();
    assert_eq!(decompress(&mut *copy, b"as it is", 3, 2).unwrap(), b"as it is");
}
