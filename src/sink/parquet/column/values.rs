//! The values of a chunk by their numbers in a dictionary, and whether that pays.

use parquet::file::properties::EnabledStatistics;

use super::Settings;
use super::bounds::Bounds;
use super::cells::{Cells, Kind, is_long, length, low64};
use super::dictionary::{Dictionary, GUESSES};
use super::hybrid::bit_width;
use super::plain::Plain;

/// A dictionary has to last for as many rows, or what it saves at the beginning of a chunk is not worth its cost.
const DICTIONARY_ROWS_MIN: usize = 1 << 18;

/// Values that still come anew at the end of a trial, as one row in so many: with more of them the dictionary becomes large.
const ROWS_FOR_NEW_MIN: usize = 8;

/// A dictionary and its values.
pub(super) struct Values {
    kind: Kind,
    pub(super) dictionary: Dictionary,
    pub(super) plain: Plain,
    /// Where a text begins among the plain values.
    begins: Vec<u32>,
}

impl Values {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, dictionary: Dictionary::new(), plain: Plain::new(kind, 0), begins: Vec::new() }
    }

    pub(super) fn memory(&self) -> usize {
        self.dictionary.memory() + self.plain.memory() + self.begins.capacity() * size_of::<u32>()
    }

    pub(super) fn bit_width(&self) -> u8 {
        bit_width(self.dictionary.cells.len())
    }

    /// Numbers all of `cells`.
    pub(super) fn number_all(&mut self, cells: Cells<'_>, numbers: &mut Vec<u32>) {
        numbers.reserve(cells.cells.len());
        for some in cells.cells.chunks(GUESSES) {
            // Many columns have the same value in row after row.
            if let Some(&number) = numbers.last()
                && let last = self.dictionary.cells[number as usize]
                && some.iter().all(|&cell| cell == last)
                && !self.is_long(last)
            {
                numbers.resize(numbers.len() + some.len(), number);
                continue;
            }
            let guesses = self.dictionary.guess(some);
            for (&cell, guess) in some.iter().zip(guesses) {
                let number = match guess {
                    Some(number) if !self.is_long(cell) => number,
                    _ => self.number(cells, cell),
                };
                numbers.push(number);
            }
        }
    }

    fn is_long(&self, cell: u128) -> bool {
        self.kind == Kind::Texts && is_long(cell)
    }

    fn number(&mut self, cells: Cells<'_>, cell: u128) -> u32 {
        let Self { dictionary, plain, begins, .. } = self;
        let begin = plain.len();
        let (number, is_new) = if self.kind == Kind::Texts && is_long(cell) {
            let text = cells.long(cell);
            let long_cell = dictionary.long_cell(cell, text);
            dictionary.number(long_cell, |number| plain.text(begins[number as usize] as usize, text.len()) == text)
        } else {
            dictionary.number(cell, |_| true)
        };
        if is_new {
            plain.put(Cells { cells: &[cell], ..cells });
            if self.kind == Kind::Texts {
                begins.push(u32::try_from(begin).expect("a dictionary is smaller than PAGE_BYTES_MAX"));
            }
        }
        number
    }

    /// A value as a cell that points into the plain values, if it points anywhere.
    pub(super) fn cell(&self, number: u32) -> u128 {
        let cell = self.dictionary.cells[number as usize];
        if !self.is_long(cell) {
            return cell;
        }
        // Behind the length.
        let begin = u128::from(self.begins[number as usize]) + size_of::<u32>() as u128;
        u128::from(low64(cell)) | begin << 96
    }

    pub(super) fn text_bytes(&self, numbers: &[u32]) -> usize {
        numbers.iter().map(|&number| length(self.dictionary.cells[number as usize])).sum()
    }

    /// The least and the greatest of the values with `numbers`: each value is looked at once.
    pub(super) fn bounds(&self, numbers: &[u32], settings: &Settings) -> Option<Bounds> {
        if settings.statistics == EnabledStatistics::None {
            return None;
        }
        let mut seen = vec![false; self.dictionary.cells.len()];
        numbers.iter().for_each(|&number| seen[number as usize] = true);
        let some = (0_u32..).zip(&seen).filter(|(_, is_seen)| **is_seen).map(|(number, _)| self.cell(number));
        let some: Vec<_> = some.collect();
        let buffers = [self.plain.bytes()];
        let cells = Cells { cells: &some, buffers: &buffers };
        let (least, greatest) = cells.bounds(self.kind)?;
        let bytes = [least.to_le_bytes(), greatest.to_le_bytes()];
        let value = |cell, bytes| cells.value(cell, self.kind, bytes, settings.cut.kept).to_vec();
        Some(Bounds { least: value(least, &bytes[0]), greatest: value(greatest, &bytes[1]) })
    }

    /// Whether the dictionary won't be full too soon, if it goes on growing as it has done in the second half of its trial.
    pub(super) fn last(&self, trial: &Trial, rows: usize, bytes_max: usize) -> bool {
        let (half_rows, half_bytes, _) = trial.half.unwrap_or_default();
        let (new_rows, new_bytes) = (rows - half_rows, self.plain.len() - half_bytes);
        let rows_left = bytes_max.saturating_sub(self.plain.len()).saturating_mul(new_rows) / new_bytes.max(1);
        rows.saturating_add(rows_left) >= DICTIONARY_ROWS_MIN
    }

    /// Whether new values keep coming, so that the dictionary becomes large, and each look into it slow.
    pub(super) fn grow(&self, trial: &Trial, rows: usize) -> bool {
        let (half_rows, _, half_values) = trial.half.unwrap_or_default();
        (self.dictionary.cells.len() - half_values) * ROWS_FOR_NEW_MIN > rows - half_rows
    }
}

/// What is known of the values of an undecided chunk.
#[derive(Debug, Default)]
pub(super) struct Trial {
    pub(super) plain_bytes: usize,
    /// Rows, and bytes and values of the dictionary, at half of the trial.
    pub(super) half: Option<(usize, usize, usize)>,
}
