//! Whatever a stream is and however it is fed: both ways of decoding give the same, and what zlib-rs gives.

use std::io::Write;

use super::*;

/// Bytes of input and of room that a stream is fed by.
const PIECES: [(usize, usize); 7] =
    [(usize::MAX, 1 << 20), (usize::MAX, 400), (1, 1), (1, 1 << 16), (9, 300), (1000, 7), (4096, 1 << 15)];

/// What came out, and what was wrong behind that: its words, and where it began.
type Outcome = (Vec<u8>, Option<(&'static str, u64)>, bool);

fn fed(stream: &[u8], (input_bytes, room_bytes): (usize, usize)) -> Outcome {
    let (mut inflate, mut out, mut at) = (Inflate::new(), Vec::new(), 0);
    let mut room = vec![0; room_bytes];
    loop {
        let input = &stream[at..];
        let step = inflate.inflate(&input[..input.len().min(input_bytes)], &mut room);
        out.extend_from_slice(&room[..step.written]);
        at += step.consumed;
        assert_eq!(inflate.total_out(), out.len() as u64);
        if let Some(Fault { what, bytes }) = step.fault {
            return (out, Some((what, at as u64 - bytes)), false);
        }
        if inflate.is_done() || (step.consumed == 0 && step.written == 0) {
            return (out, None, inflate.is_done());
        }
    }
}

/// What zlib-rs makes of it: bytes, if it comes to an end.
fn by_library(stream: &[u8]) -> Option<Vec<u8>> {
    let (mut inflate, mut out) = (flate2::Decompress::new(false), Vec::new());
    loop {
        out.reserve(1 << 16);
        let before = (inflate.total_in(), inflate.total_out());
        let rest = &stream[usize::try_from(before.0).unwrap()..];
        match inflate.decompress_vec(rest, &mut out, flate2::FlushDecompress::None) {
            Ok(flate2::Status::StreamEnd) => return Some(out),
            Ok(_) if before != (inflate.total_in(), inflate.total_out()) => {}
            _ => return None,
        }
    }
}

/// The outcome, which is the same for all [`PIECES`], and the library's where that has one.
fn check(stream: &[u8]) -> Outcome {
    let outcome = fed(stream, PIECES[0]);
    for pieces in &PIECES[1..] {
        let other = fed(stream, *pieces);
        assert_eq!((outcome.1, outcome.2, outcome.0.len()), (other.1, other.2, other.0.len()), "{pieces:?}");
        assert!(outcome.0 == other.0, "the same bytes by {pieces:?}");
    }
    let library = by_library(stream);
    assert_eq!(library.is_some(), outcome.2, "{:?}", outcome.1);
    assert!(library.is_none_or(|library| library == outcome.0), "the library's bytes");
    outcome
}

fn deflated(plain: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// Numbers without a pattern.
fn random(seed: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(seed | 1), |state| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1)))
        .map(|state| state >> 33)
}

/// Lines of numbers, as in a CSV file.
fn lines(bytes: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for (row, number) in random(7).enumerate().take_while(|(row, _)| *row < bytes / 20) {
        writeln!(text, "{},{:06x},{}.{},", 1_656_288_000 + row / 40, number % 97, number % 90, number % 100_003)
            .unwrap();
    }
    text
}

/// Bytes of which each is half as frequent as the one before: their codes are as long as codes may be.
fn skewed(bytes: usize) -> Vec<u8> {
    let rare = |number: u64| u8::try_from((number | 1 << 24).trailing_zeros() * 3 + (number >> 29 & 1) as u32).unwrap();
    random(3).map(rare).take(bytes).collect()
}

#[test]
fn whatever_was_compressed_comes_out() {
    let noise: Vec<u8> = random(5).map(|number| number.to_le_bytes()[1]).take(70_000).collect();
    let far = [&noise[..32_768], &noise[..33_000], &[b'a'; 1000], b"abcabcabcabc", &noise[..10]].concat();
    for plain in [b"".to_vec(), b"a".to_vec(), vec![0; 100_000], lines(200_000), skewed(300_000), noise, far] {
        for level in [0, 1, 4, 6, 9] {
            let stream = deflated(&plain, level);
            let (out, fault, is_done) = check(&stream);
            assert!(out == plain && fault.is_none() && is_done, "{} bytes at level {level}", plain.len());
        }
    }
}

#[test]
fn nothing_behind_a_stream_is_consumed() {
    for plain in [lines(50), lines(5_000), vec![7; 3]] {
        let mut stream = deflated(&plain, 6);
        let length = stream.len();
        stream.extend_from_slice(&[0xff; 20]);
        for (input_bytes, room_bytes) in PIECES {
            let (mut inflate, mut at, mut room) = (Inflate::new(), 0, vec![0; room_bytes]);
            while !inflate.is_done() {
                let input = &stream[at..];
                at += inflate.inflate(&input[..input.len().min(input_bytes)], &mut room).consumed;
            }
            assert_eq!(at, length);
        }
    }
}

#[test]
fn a_cut_stream_waits() {
    let stream = deflated(&lines(600), 6);
    for end in 0..stream.len() {
        let (_, fault, is_done) = check(&stream[..end]);
        assert!(fault.is_none() && !is_done, "cut at {end}");
    }
}

/// Bits, the lowest of each number first.
fn bits(fields: &[(u32, u32)]) -> Vec<u8> {
    let all = fields.iter().flat_map(|(value, count)| (0..*count).map(move |bit| value >> bit & 1 == 1));
    let all: Vec<bool> = all.collect();
    all.chunks(8).map(|byte| byte.iter().rev().fold(0, |sum, bit| sum << 1 | u8::from(*bit))).collect()
}

/// The beginning of a dynamic block of 257 literals and lengths and one distance; lengths of codes have five bits: 1, 2, and those
/// that repeat.
const DYNAMIC: [(u32, u32); 4] = [(1, 1), (2, 2), (0, 10), (15, 4)];

#[test]
fn what_is_wrong_is_said_where_it_begins() {
    let fixed = [(1, 1), (1, 2)];
    let cases: [(&str, &str, Vec<u8>, u64); 9] = [
        ("type 3", "unknown type of block", bits(&[(1, 1), (3, 2)]), 0),
        ("stored", "the length of a stored block and its complement don't fit", vec![1, 5, 0, 0xfa, 0xfe, 1, 2], 1),
        ("30 distances", "too many codes of lengths or distances", bits(&[(1, 1), (2, 2), (0, 5), (30, 5), (0, 4)]), 0),
        ("no lengths", "the lengths of lengths make no code", bits(&[&DYNAMIC[..], &[(0, 3); 19]].concat()), 9),
        // The length of 18 and of 1 is one bit.
        ("no end", "no code ends the block", no_end(), 11),
        ("symbol 286", "unknown code of a length", bits(&[&fixed[..], &[(0b0110_0011, 8)]].concat()), 0),
        // A literal, then 'a match of 3 from distance 1' is fine, and from 4 it is not.
        (
            "too far",
            "a match begins before the stream",
            bits(&[&fixed[..], &[(0b0000_1100, 8), (0b100_0000, 7), (0b11000, 5)]].concat()),
            1,
        ),
        (
            "distance 30",
            "unknown code of a distance",
            bits(&[&fixed[..], &[(0b0000_1100, 8), (0b100_0000, 7), (0b01111, 5)]].concat()),
            1,
        ),
        ("no length to repeat", "no length to repeat", no_length_to_repeat(), 9),
    ];
    for (name, what, stream, at) in cases {
        let stream = [stream, vec![0; 30]].concat();
        let (_, fault, _) = check(&stream);
        assert_eq!(fault, Some((what, at)), "{name}");
    }
}

/// Lengths of lengths: one bit for 18 and for 1. Then zeros for all codes but one of them.
fn no_end() -> Vec<u8> {
    let lengths = (0..19).map(|place| (u32::from(place == 2 || place == 17), 3));
    let zeros = |times: u32| [(1, 1), (times - 11, 7)];
    // 138 + 118 zeros, of which the last is for the end; then the distance.
    let symbols = [zeros(138), zeros(119)].concat();
    bits(&[DYNAMIC.to_vec(), lengths.collect(), symbols, vec![(0, 1)]].concat())
}

/// The same for 16 and 1.
fn no_length_to_repeat() -> Vec<u8> {
    let lengths = (0..19).map(|place| (u32::from(place == 0 || place == 17), 3));
    bits(&[DYNAMIC.to_vec(), lengths.collect(), vec![(1, 1), (0, 2)]].concat())
}

#[test]
fn wrong_bits_are_the_same_however_they_come() {
    let streams = [deflated(&lines(3_000), 6), deflated(&skewed(4_000), 9), deflated(&lines(300), 1)];
    let (mut numbers, mut faults) = (random(11), 0);
    for round in 0..300 {
        let mut stream = streams[round % streams.len()].clone();
        let bit = usize::try_from(numbers.next().unwrap()).unwrap() % (8 * stream.len());
        stream[bit / 8] ^= 1 << (bit % 8);
        faults += usize::from(check(&stream).1.is_some());
    }
    assert!(faults > 30, "{faults} are told by deflate itself");
}

#[test]
fn a_whole_stream_is_bounded() {
    let (plain, mut out) = (lines(700_000), b"before".to_vec());
    let stream = deflated(&plain, 6);
    assert_eq!(inflate(&stream, usize::MAX, &mut out), Ok(plain.len()));
    assert!(out[6..] == plain);
    assert_eq!(inflate(&stream, 1000, &mut Vec::new()), Ok(1000));
    assert_eq!(inflate(&stream[..stream.len() - 1], usize::MAX, &mut Vec::new()), Err("the stream is cut"));
    assert_eq!(inflate(&[7, 7], usize::MAX, &mut Vec::new()), Err("unknown type of block"));
}
