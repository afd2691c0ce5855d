//! The different values of a column, numbered as they come.
//!
//! A value is known by its *cell*, 128 bits: a number as it is, a short text as the view that holds it. Only a long text has
//! to be looked at; its cell has a hash of it.

use std::hash::{BuildHasher, RandomState};

use super::cells::{low32, low64};

/// Slots that may be looked at for one value. More of them never happens by chance with half of the slots free, but somebody
/// might find values that make it happen.
const STEPS_MAX: usize = 256;

/// Slots that a dictionary begins with.
const SLOTS_MIN: usize = 1 << 10;

/// Values that are looked up at once: so many that their ways to memory overlap.
pub(super) const GUESSES: usize = 32;

pub(super) struct Dictionary {
    /// The number of a value plus one, or zero. Their count is a power of two, and at least half of them are free.
    slots: Vec<u32>,
    pub(super) cells: Vec<u128>,
    seeds: [u64; 2],
    /// The values are such that looking them up has become slow.
    pub(super) is_crowded: bool,
}

impl Dictionary {
    pub(super) fn new() -> Self {
        let random = RandomState::new();
        Self {
            slots: vec![0; SLOTS_MIN],
            cells: Vec::new(),
            seeds: [random.hash_one(0) | 1, random.hash_one(1) | 1],
            is_crowded: false,
        }
    }

    /// The numbers of at most `GUESSES` values, where the first slot looked at tells them. Nothing here depends on what was
    /// found a moment before, so that a large dictionary is waited for once, and not for every value.
    pub(super) fn guess(&self, cells: &[u128]) -> [Option<u32>; GUESSES] {
        let mask = self.slots.len() - 1;
        let mut taken = [0; GUESSES];
        for (taken, &cell) in taken.iter_mut().zip(cells) {
            *taken = self.slots[self.hash(cell) & mask];
        }
        let mut guesses = [None; GUESSES];
        for ((guess, taken), &cell) in guesses.iter_mut().zip(taken).zip(cells) {
            let number = taken.wrapping_sub(1);
            *guess = self.cells.get(number as usize).filter(|&&known| known == cell).map(|_| number);
        }
        guesses
    }

    /// The number of the value with `cell`, and whether it is a new one. Values with one cell are the same if `is_same`
    /// says so of their number.
    pub(super) fn number(&mut self, cell: u128, is_same: impl Fn(u32) -> bool) -> (u32, bool) {
        let mask = self.slots.len() - 1;
        let mut slot = self.hash(cell) & mask;
        for step in 0.. {
            let taken = self.slots[slot];
            if taken == 0 {
                break;
            }
            if self.cells[taken as usize - 1] == cell && is_same(taken - 1) {
                return (taken - 1, false);
            }
            self.is_crowded |= step >= STEPS_MAX;
            slot = (slot + 1) & mask;
        }
        self.cells.push(cell);
        // A dictionary page holds a number of values that has 31 bits.
        let next = u32::try_from(self.cells.len()).unwrap_or(u32::MAX);
        self.slots[slot] = next;
        if self.cells.len() * 2 > self.slots.len() {
            self.grow();
        }
        (next - 1, true)
    }

    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        self.slots = vec![0; mask + 1];
        for (number, &cell) in (1..).zip(&self.cells) {
            let mut slot = self.hash(cell) & mask;
            while self.slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = number;
        }
    }

    /// Where the search for a cell begins.
    fn hash(&self, cell: u128) -> usize {
        let hash = folded(low64(cell) ^ self.seeds[0], low64(cell >> 64) ^ self.seeds[1]);
        // Of a hash any part is one.
        low32(hash.into()) as usize
    }

    /// The cell of a text that is longer than a view can hold: its length and beginning, as in a view, and a hash.
    pub(super) fn long_cell(&self, view: u128, text: &[u8]) -> u128 {
        let mut hash = self.seeds[0];
        let mut pieces = text.chunks_exact(16);
        for piece in pieces.by_ref() {
            hash = folded(word(&piece[..8]) ^ hash, word(&piece[8..]) ^ self.seeds[1]);
        }
        let (low, high) = pieces.remainder().split_at(pieces.remainder().len().min(8));
        hash = folded(word(low) ^ hash, word(high) ^ self.seeds[1]);
        u128::from(low64(view)) | u128::from(hash) << 64
    }

    pub(super) fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<u32>() + self.cells.capacity() * size_of::<u128>()
    }
}

/// The halves of a product, which depend on all bits of both factors.
fn folded(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    low64(product) ^ low64(product >> 64)
}

/// At most eight bytes as a number.
fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_numbers() {
        let mut dictionary = Dictionary::new();
        for round in 0..2 {
            for value in 0..10_000_u32 {
                let cell = u128::from(value) | u128::from(value % 7) << 90;
                assert_eq!(dictionary.number(cell | 1 << 120, |_| true), (value, round == 0));
            }
        }
        assert!(!dictionary.is_crowded);
        // Two values of one cell are two values.
        let cell = dictionary.cells[7];
        assert_eq!(dictionary.number(cell, |number| number != 7), (10_000, true));
        assert_eq!(dictionary.number(cell, |number| number != 7), (10_000, false));
    }

    #[test]
    fn the_same_cell_again_and_again_is_noticed() {
        let mut dictionary = Dictionary::new();
        for _ in 0..2 * STEPS_MAX {
            dictionary.number(1, |_| false);
        }
        assert!(dictionary.is_crowded);
    }

    #[test]
    fn a_long_cell_depends_on_every_byte() {
        let dictionary = Dictionary::new();
        let text = [7_u8; 45];
        let cell = dictionary.long_cell(45, &text);
        assert_eq!(cell, dictionary.long_cell(45, &text));
        for at in 0..text.len() {
            let mut other = text;
            other[at] += 1;
            assert_ne!(cell, dictionary.long_cell(45, &other));
        }
    }
}
