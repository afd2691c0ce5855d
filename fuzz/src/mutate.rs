//! Random numbers that are always the same, and mutations that know what a tar is: without them hardly an input would
//! get past the checksum of its first header.

use crate::tar::{BLOCK_LEN, Limits, Parser, Step, is_header, is_zero_block};

/// A generator of numbers (xorshift64*): the same seed, the same numbers, anywhere.
#[derive(Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        // Seeds that differ in few bits begin alike.
        for _ in 0..4 {
            dice.next();
        }
        dice
    }

    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() >> 11) as usize % bound }
    }
}

/// Changes a few bytes, the way a fuzzer without feedback would.
pub fn bytes(data: &mut Vec<u8>, dice: &mut Dice, len_max: usize) {
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(data.len());
        let run = 1 + dice.below(64).min(dice.below(64));
        let end = data.len().min(at + run);
        match dice.below(9) {
            _ if data.is_empty() => data.push(dice.next() as u8),
            0 => data[at] ^= 1 << dice.below(8),
            1 => data[at] = dice.next() as u8,
            2 => data[at] = data[at].wrapping_add(1).wrapping_sub(2 * dice.below(2) as u8),
            3 => drop(data.drain(at..end)),
            4 => data[at..end].fill([0, 0xff, b' ', b'0', b'7'][dice.below(5)]),
            5 => data.truncate(at),
            6 => {
                let copy = data[at..end].to_vec();
                let to = dice.below(data.len());
                data.splice(to..to, copy);
            }
            7 => {
                let copy = data[at..end].to_vec();
                let to = dice.below(data.len() - copy.len() + 1);
                data[to..to + copy.len()].copy_from_slice(&copy);
            }
            _ => data.extend_from_slice(&dice.next().to_le_bytes()),
        }
    }
    data.truncate(len_max);
}

/// Offsets of the fields of a header, and what is worth to be written there.
const FIELDS: [(usize, &[&[u8]]); 9] = [
    (0, &[b"dir/", b"a\0", b"\0", b"../x\0", b"PaxHeader/x\0"]),
    (100, &[b"0000644\0", b"\xff\xff\xff\xff\xff\xff\xff\xff", b"-1\0"]),
    (108, &[b"0001750\0", b"\x80\0\0\0\0\0\x01\0", b"\xff\xff\xff\xff\xff\xff\xff\xfe", b"9\0"]),
    (
        124,
        &[
            b"00000000000\0",
            b"00000000001\0",
            b"00000000777\0",
            b"00000001000\0",
            b"00000001001\0",
            b"77777777777\0",
            b"777777777777",
            b"\x80\0\0\0\0\0\0\0\0\0\x02\0",
            b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"            ",
            b"\0\0\0\0\0\0\0\0\0\0\0\0",
        ],
    ),
    (136, &[b"00000000000\0", b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", b"xyz\0"]),
    (
        156,
        &[b"\0", b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"D", b"g", b"x", b"X", b"L", b"K", b"S", b"V", b"M"],
    ),
    (257, &[b"ustar\x0000", b"ustar  \0", b"ustar\0  ", b"\0\0\0\0\0\0\0\0"]),
    (345, &[b"prefix\0", b"\0"]),
    (482, &[b"\0", b"\x01", b"0"]),
];

/// Changes blocks and fields of an archive, and makes most checksums right again.
pub fn archive(data: &mut Vec<u8>, dice: &mut Dice, len_max: usize) {
    match dice.below(6) {
        0 | 1 => bytes(data, dice, len_max),
        _ => blocks(data, dice),
    }
    data.truncate(len_max);
    if dice.below(8) > 0 {
        mend(data);
    }
}

fn blocks(data: &mut Vec<u8>, dice: &mut Dice) {
    let count = data.len() / BLOCK_LEN;
    if count == 0 {
        return data.resize(BLOCK_LEN, b'x');
    }
    let at = dice.below(count) * BLOCK_LEN;
    let other = dice.below(count) * BLOCK_LEN;
    match dice.below(6) {
        0 => drop(data.drain(at..at + BLOCK_LEN)),
        1 => data.copy_within(other..other + BLOCK_LEN, at),
        2 => {
            let copy = data[other..other + BLOCK_LEN].to_vec();
            data.splice(at..at, copy);
        }
        3 => data[at..at + BLOCK_LEN].fill(0),
        _ => {
            let (field, values) = FIELDS[dice.below(FIELDS.len())];
            let value = values[dice.below(values.len())];
            // Most blocks are content; a header is worth more.
            let at = (0..8).map(|_| dice.below(count) * BLOCK_LEN).find(|&at| is_header(&data[at..])).unwrap_or(at);
            data[at + field..at + field + value.len()].copy_from_slice(value);
        }
    }
}

/// Headers that get a checksum at a time, at most.
const MENDED_MAX: usize = 16;

/// Gives every block where the parser wants a header a valid checksum.
pub fn mend(data: &mut [u8]) {
    for _ in 0..MENDED_MAX {
        let Some(at) = first_bad_header(data) else { return };
        write_checksum(&mut data[at..at + BLOCK_LEN]);
    }
}

fn first_bad_header(data: &[u8]) -> Option<usize> {
    let mut parser = Parser::new(Limits::default());
    let mut at = 0;
    while at < data.len() {
        match parser.parse(&data[at..]) {
            Ok((consumed, Step::NeedsData)) => at += consumed,
            Ok((_, Step::Member(member))) => {
                let end = member.data_offset.checked_add(member.stored_size)?.checked_add(member.padding())?;
                at = usize::try_from(end).ok()?;
            }
            Err(error) => {
                let at = usize::try_from(error.offset()?).ok()?;
                let block = data.get(at..at.checked_add(BLOCK_LEN)?)?;
                return (!is_header(block) && !is_zero_block(block)).then_some(at);
            }
        }
    }
    None
}

/// Over a block of 512 bytes.
pub(crate) fn write_checksum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Our mutations and libFuzzer's own, in turn; what it tells of a tar by its name for the target.
#[cfg(feature = "targets")]
pub fn for_libfuzzer(target: &crate::Target, data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut dice = Dice::new(u64::from(seed));
    if dice.below(2) == 0 {
        let size = libfuzzer_sys::fuzzer_mutate(data, size, max_size);
        if target.mends_headers && dice.below(4) > 0 {
            mend(&mut data[..size]);
        }
        return size;
    }
    let mut changed = data[..size].to_vec();
    (target.mutate)(&mut changed, &mut dice, max_size);
    data[..changed.len()].copy_from_slice(&changed);
    changed.len()
}
