//! Tables that tell several symbols at once by the next bits.

use super::code::{CODE_BITS_MAX, Code};
use super::{END_OF_BLOCK, MATCH_BYTES_MAX};

/// The bits by which literals and lengths are looked up: two literals most often fit in, or a literal and a length.
const LITERAL_BITS: u32 = 11;

/// The bits by which distances are looked up.
const DISTANCE_BITS: u32 = 9;

/// RFC 1951 3.2.5: lengths from 3 to 258, in 29 codes; those that differ in extra bits share one.
pub(super) const LENGTH_BASES: [u16; 29] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227,
    LENGTH_MAX,
];
pub(super) const LENGTH_EXTRAS: [u32; 29] =
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const LENGTH_MIN: u16 = LENGTH_BASES[0];
const LENGTH_MAX: u16 = 258;
const _: () = assert!(LENGTH_MAX as usize == MATCH_BYTES_MAX, "one constant for both");

/// The same for distances, from 1 to 32 Ki.
pub(super) const DISTANCE_BASES: [u16; 30] = [
    1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145,
    8193, 12289, 16385, 24577,
];
pub(super) const DISTANCE_EXTRAS: [u32; 30] =
    [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];

/// The bits that a length or a distance can take altogether, so that whoever looks up knows how many there have to be.
pub(super) const LENGTH_BITS_MAX: u32 = CODE_BITS_MAX + 5;
pub(super) const DISTANCE_BITS_MAX: u32 = CODE_BITS_MAX + 13;

/// The same for what one look tells: one or two literals; a length, maybe behind a literal.
pub(super) const LITERALS_BITS_MAX: u32 = LITERAL_BITS;
pub(super) const TOLD_LENGTH_BITS_MAX: u32 = LITERAL_BITS + 5;

/// What the next bits are.
///
/// From the lowest bit: 5 bits with the number of bits that it takes altogether, 4 with how many of them are codes (the rest
/// are extra bits of a length or distance; in a link, how many bits the next table is looked up by), 2 with the number of
/// literals, then the flags. The upper half is two literals, or a literal and a length less 3, or a distance, or where
/// the next table begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(u32);

const BITS: u32 = 0b1_1111;
const CODE_BITS_AT: u32 = 5;
const LITERALS_AT: u32 = 9;
const ONE_LITERAL: u32 = 1 << LITERALS_AT;
const HAS_LENGTH: u32 = 1 << 11;
/// Neither literals nor a length nor a distance: a link, an end, or nothing.
const IS_ODD: u32 = 1 << 12;
const IS_LINK: u32 = 1 << 13;
const IS_END: u32 = 1 << 14;
const VALUE_AT: u32 = 16;
const SECOND_AT: u32 = 24;
const FIRST: u32 = 0x00ff_0000;
const SECOND: u32 = 0xff00_0000;

impl Entry {
    /// No code begins with these bits.
    const NOTHING: Self = Self(IS_ODD);

    /// Of a literal, a length, or the end.
    fn literal(symbol: u16, bits: u32) -> Self {
        let codes = bits << CODE_BITS_AT;
        if symbol < END_OF_BLOCK {
            return Self(u32::from(symbol) << VALUE_AT | ONE_LITERAL | codes | bits);
        }
        if symbol == END_OF_BLOCK {
            return Self(IS_ODD | IS_END | codes | bits);
        }
        let index = usize::from(symbol - END_OF_BLOCK - 1);
        LENGTH_BASES.get(index).map_or(Self::NOTHING, |base| {
            let length = u32::from(base - LENGTH_MIN) << SECOND_AT;
            Self(length | HAS_LENGTH | codes | (bits + LENGTH_EXTRAS[index]))
        })
    }

    fn distance(symbol: u16, bits: u32) -> Self {
        let index = usize::from(symbol);
        DISTANCE_BASES.get(index).map_or(Self::NOTHING, |base| {
            Self(u32::from(*base) << VALUE_AT | bits << CODE_BITS_AT | (bits + DISTANCE_EXTRAS[index]))
        })
    }

    /// To a table behind `bits` bits, which is looked up by `width` more.
    #[expect(clippy::cast_possible_truncation, reason = "there are fewer than 2^16 entries")]
    fn link(begin: usize, width: u32, bits: u32) -> Self {
        Self((begin as u32) << VALUE_AT | IS_ODD | IS_LINK | width << CODE_BITS_AT | bits)
    }

    /// This literal and `next`, if both are told by [`LITERAL_BITS`].
    fn and(self, next: Self) -> Option<Self> {
        let bits = self.bits() + next.code_bits();
        if self.is_odd() || self.has_length() || next.is_odd() || bits > LITERAL_BITS {
            return None;
        }
        let (first, codes) = (self.0 & FIRST, bits << CODE_BITS_AT);
        Some(if next.has_length() {
            Self(next.0 & SECOND | first | HAS_LENGTH | ONE_LITERAL | codes | (self.bits() + next.bits()))
        } else {
            Self((next.0 & FIRST) << (SECOND_AT - VALUE_AT) | first | (2 * ONE_LITERAL) | codes | bits)
        })
    }

    #[inline]
    pub(super) fn bits(self) -> u32 {
        self.0 & BITS
    }

    #[inline]
    fn code_bits(self) -> u32 {
        self.0 >> CODE_BITS_AT & 0b1111
    }

    /// Whether it is one literal or two, and nothing else.
    #[inline]
    pub(super) fn is_literals(self) -> bool {
        self.0 & (HAS_LENGTH | IS_ODD) == 0
    }

    #[inline]
    fn has_length(self) -> bool {
        self.0 & HAS_LENGTH != 0
    }

    #[inline]
    pub(super) fn is_odd(self) -> bool {
        self.0 & IS_ODD != 0
    }

    #[inline]
    pub(super) fn is_link(self) -> bool {
        self.0 & IS_LINK != 0
    }

    #[inline]
    pub(super) fn is_end(self) -> bool {
        self.0 & IS_END != 0
    }

    /// How many literals there are.
    #[inline]
    pub(super) fn literals(self) -> usize {
        (self.0 >> LITERALS_AT & 0b11) as usize
    }

    /// Literals, and behind them anything.
    #[inline]
    pub(super) fn literal_bytes(self) -> [u8; 2] {
        let [_, _, first, second] = self.0.to_le_bytes();
        [first, second]
    }

    /// The length, of which `word` begins with this entry.
    #[inline]
    pub(super) fn length(self, word: u64) -> usize {
        usize::from(LENGTH_MIN) + (self.0 >> SECOND_AT) as usize + self.extra(word)
    }

    /// The distance, of which `word` begins with this entry.
    #[inline]
    pub(super) fn distance_in(self, word: u64) -> usize {
        (self.0 >> VALUE_AT) as usize + self.extra(word)
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "there are at most 13 extra bits")]
    fn extra(self, word: u64) -> usize {
        ((word & !(u64::MAX << self.bits())) >> self.code_bits()) as usize
    }

    /// Where in the linked tables the bits behind this link, with which `word` begins, are looked up.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a few bits are left")]
    fn linked(self, word: u64) -> usize {
        (self.0 >> VALUE_AT) as usize + (word & !(u64::MAX << self.code_bits())) as usize
    }
}

/// A table that is looked up by the next `BITS` bits, and those behind it that longer codes need.
pub(super) struct Table<const ENTRIES: usize> {
    entries: [Entry; ENTRIES],
    linked: Vec<Entry>,
}

impl<const ENTRIES: usize> Table<ENTRIES> {
    const BITS: u32 = ENTRIES.ilog2();

    const EMPTY: Self = Self { entries: [Entry::NOTHING; ENTRIES], linked: Vec::new() };

    /// What `word` begins with.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a few bits are left")]
    pub(super) fn look_up(&self, word: u64) -> Entry {
        self.entries[(word & (ENTRIES as u64 - 1)) as usize]
    }

    /// What `word`, the bits behind `link`, begins with.
    #[inline]
    pub(super) fn follow(&self, link: Entry, word: u64) -> Entry {
        self.linked[link.linked(word)]
    }

    fn fill<const SYMBOLS: usize>(&mut self, code: &Code<SYMBOLS>, entry: impl Fn(u16, u32) -> Entry) {
        let mut symbols = code.symbols.iter();
        let mut word = 0;
        self.entries[0] = Entry::NOTHING;
        // What fewer bits tell stands there once for each continuation: the filled part doubles with each bit.
        for bits in 1..=Self::BITS {
            let filled = 1 << (bits - 1);
            self.entries.copy_within(0..filled, filled);
            for symbol in symbols.by_ref().take(code.counts[bits as usize].into()) {
                self.entries[word as usize] = entry(*symbol, bits);
                word = next_word(word, bits);
            }
        }
        self.linked.clear();
        let mut table = Linked::default();
        for bits in Self::BITS + 1..=CODE_BITS_MAX {
            let count = code.counts[bits as usize];
            for (done, symbol) in (0..count).zip(symbols.by_ref()) {
                let beginning = word & !(u32::MAX << Self::BITS);
                if table.beginning != Some(beginning) {
                    let width = width_of_linked(code, Self::BITS, bits, count - done);
                    table = Linked { beginning: Some(beginning), begin: self.linked.len() };
                    self.linked.resize(table.begin + (1 << width), Entry::NOTHING);
                    self.entries[beginning as usize] = Entry::link(table.begin, width, Self::BITS);
                }
                let entry = entry(*symbol, bits - Self::BITS);
                let places = &mut self.linked[table.begin..][(word >> Self::BITS) as usize..];
                places.iter_mut().step_by(1 << (bits - Self::BITS)).for_each(|place| *place = entry);
                word = next_word(word, bits);
            }
        }
    }
}

/// A table for codes that begin alike.
#[derive(Default)]
struct Linked {
    beginning: Option<u32>,
    begin: usize,
}

/// The code behind `word` among those of `bits` bits, its first bit lowest: adds one at the highest bit, and carries down.
fn next_word(word: u32, bits: u32) -> u32 {
    let zeros = !word & !(u32::MAX << bits);
    match zeros.checked_ilog2() {
        Some(highest) => word & !(u32::MAX << highest) | 1 << highest,
        None => 0,
    }
}

/// The bits that tell all codes apart which begin like the next one, of which there are `left` with `bits` bits: as many as
/// it takes to leave no continuation out.
fn width_of_linked<const SYMBOLS: usize>(code: &Code<SYMBOLS>, beginning: u32, bits: u32, left: u16) -> u32 {
    let mut width = bits - beginning;
    let mut open = (1 << width) - i32::from(left);
    while open > 0 && beginning + width < CODE_BITS_MAX {
        width += 1;
        open = 2 * open - i32::from(code.counts[(beginning + width) as usize]);
    }
    width
}

/// The code of literals and lengths.
pub(super) struct Literals {
    pub(super) code: Code<288>,
    pub(super) table: Table<{ 1 << LITERAL_BITS }>,
}

impl Literals {
    pub(super) fn new() -> Self {
        Self { code: Code::EMPTY, table: Table::EMPTY }
    }

    /// RFC 1951 3.2.6.
    pub(super) fn set_fixed(&mut self) {
        let mut lengths = [8; 288];
        lengths[144..256].fill(9);
        lengths[256..280].fill(7);
        self.set(Code::new(&lengths).expect("a complete code"));
    }

    pub(super) fn set(&mut self, code: Code<288>) {
        self.table.fill(&code, Entry::literal);
        self.code = code;
        // A literal, and what its continuation is. From the end on, since that stands further in front, and has to be single.
        for at in (0..self.table.entries.len()).rev() {
            let entry = self.table.entries[at];
            if let Some(both) = entry.and(self.table.entries[at >> entry.bits()]) {
                self.table.entries[at] = both;
            }
        }
    }
}

/// The code of distances.
pub(super) struct Distances {
    pub(super) code: Code<32>,
    pub(super) table: Table<{ 1 << DISTANCE_BITS }>,
}

impl Distances {
    pub(super) fn new() -> Self {
        Self { code: Code::EMPTY, table: Table::EMPTY }
    }

    /// RFC 1951 3.2.6.
    pub(super) fn set_fixed(&mut self) {
        self.set(Code::new(&[5; 32]).expect("a complete code"));
    }

    pub(super) fn set(&mut self, code: Code<32>) {
        self.table.fill(&code, Entry::distance);
        self.code = code;
    }
}
