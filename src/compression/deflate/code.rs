//! A prefix code, as RFC 1951 3.2.2 builds it from the lengths of its codes.

use super::Result;
use super::bits::{Bits, Input};

/// The longest code, in bits.
pub(super) const CODE_BITS_MAX: u32 = 15;

/// How many codes there are of each length, and the symbols in the order of their codes.
#[derive(Debug, Clone)]
pub(super) struct Code<const SYMBOLS: usize> {
    pub(super) counts: [u16; CODE_BITS_MAX as usize + 1],
    pub(super) symbols: [u16; SYMBOLS],
}

impl<const SYMBOLS: usize> Code<SYMBOLS> {
    /// No codes at all.
    pub(super) const EMPTY: Self = Self { counts: [0; CODE_BITS_MAX as usize + 1], symbols: [0; SYMBOLS] };

    /// The code in which symbol *i* has `lengths[i]` bits, none if that is zero. `None` where two codes would begin alike,
    /// or some bits would begin none.
    pub(super) fn new(lengths: &[u8]) -> Option<Self> {
        let code = Self::counted(lengths);
        (code.missing() == 0).then(|| code.with_symbols(lengths))
    }

    /// The same, or a code of a single symbol, or of none: blocks with few matches have such for distances.
    pub(super) fn new_or_single(lengths: &[u8]) -> Option<Self> {
        let code = Self::counted(lengths);
        let missing = code.missing();
        let is_single = code.counts[2..].iter().all(|count| *count == 0);
        (missing == 0 || (missing > 0 && is_single)).then(|| code.with_symbols(lengths))
    }

    fn counted(lengths: &[u8]) -> Self {
        let mut code = Self::EMPTY;
        for length in lengths.iter().filter(|length| **length > 0) {
            code.counts[usize::from(*length)] += 1;
        }
        code
    }

    /// Sequences of the longest codes' bits that begin with no code. Less than nothing if two codes begin alike.
    fn missing(&self) -> i32 {
        self.counts[1..].iter().fold(1, |left, count| 2 * left - i32::from(*count))
    }

    #[expect(clippy::cast_possible_truncation, reason = "there are at most 288 symbols")]
    fn with_symbols(mut self, lengths: &[u8]) -> Self {
        let mut next = [0; CODE_BITS_MAX as usize + 2];
        for (length, count) in self.counts.iter().enumerate() {
            next[length + 1] = next[length] + usize::from(*count);
        }
        for (symbol, length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
            let place = &mut next[usize::from(*length)];
            self.symbols[*place] = symbol as u16;
            *place += 1;
        }
        self
    }

    /// The next symbol, bit by bit; nothing where the input ends.
    ///
    /// # Errors
    /// No symbol has a code that begins so.
    pub(super) fn decode(&self, bits: &mut Bits, input: &mut Input<'_>) -> Result<Option<u16>> {
        // Codes of one length are numbers in a row, and behind them come the beginnings of longer ones.
        let (mut code, mut first, mut place) = (0, 0, 0);
        for count in &self.counts[1..] {
            let Some(bit) = bits.take(1, input) else { return Ok(None) };
            code |= bit;
            let count = u32::from(*count);
            if code < first + count {
                return Ok(Some(self.symbols[(place + code - first) as usize]));
            }
            place += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err("unknown code")
    }
}
