//! Where a stream is cut into pieces: chosen by the fuzzer, through the last bytes of its input.

use crate::mutate::Dice;

/// Sizes of the pieces that a stream comes in.
#[derive(Clone)]
pub(crate) struct Chunks {
    dice: Dice,
    style: Style,
}

#[derive(Clone, Copy)]
enum Style {
    Whole,
    Fixed(usize),
    Ones,
    Small,
    Blocks,
    Mixed,
}

impl Chunks {
    /// One piece.
    pub(crate) fn whole() -> Self {
        Self { dice: Dice::new(0), style: Style::Whole }
    }

    /// Pieces of that size.
    pub(crate) fn of(size: usize) -> Self {
        Self { dice: Dice::new(0), style: Style::Fixed(size) }
    }

    /// As the last eight bytes say. They belong to the stream as well: so every archive is a seed as it is, and what the
    /// fuzzer appends to one cuts it differently.
    pub(crate) fn of_tail(data: &[u8]) -> Self {
        let tail = &data[data.len().saturating_sub(8)..];
        let seed = tail.iter().fold(data.len() as u64, |sum, &byte| sum << 8 ^ sum >> 56 ^ u64::from(byte));
        let mut dice = Dice::new(seed);
        let style = [Style::Ones, Style::Small, Style::Blocks, Style::Mixed][dice.below(4)];
        Self { dice, style }
    }

    /// Another way of cutting, from the same bytes.
    pub(crate) fn another(&mut self) -> Self {
        let style = [Style::Whole, Style::Ones, Style::Small, Style::Blocks, Style::Mixed][self.dice.below(5)];
        Self { dice: Dice::new(self.dice.next()), style }
    }

    /// The next piece of at most `left` bytes, which are not 0.
    pub(crate) fn next(&mut self, left: usize) -> usize {
        let size = match self.style {
            Style::Whole => left,
            Style::Fixed(size) => size,
            Style::Ones => 1,
            Style::Small => 1 + self.dice.below(16),
            Style::Blocks => [511, 512, 513, 1024, 1000][self.dice.below(5)],
            Style::Mixed => match self.dice.below(4) {
                0 => 1,
                1 => 1 + self.dice.below(600),
                2 => 1 + self.dice.below(5000),
                _ => left,
            },
        };
        size.min(left)
    }
}
