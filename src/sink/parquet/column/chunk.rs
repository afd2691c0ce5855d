//! One column of one row group, while it is encoded.
//!
//! A chunk begins undecided: the first values are only numbered. If many of them come again they are written as numbers of
//! values in a dictionary, and else as they are, and nothing more is looked up. A dictionary that becomes full, or slow, ends;
//! what comes after it is written plain.

use arrow::array::{Array, ArrayRef};
use arrow::buffer::BooleanBuffer;
use parquet::basic::Encoding;
use parquet::errors::Result;
use parquet::file::properties::EnabledStatistics;

use super::Settings;
use super::bounds::Bounds;
use super::cells::{Cells, Column, Kind};
use super::hybrid::put_values;
use super::levels::{Levels, put_levels};
use super::pages::{ClosedChunk, PageFacts, Pages, Scratch, compressed};
use super::plain::Plain;
use super::values::{Trial, Values};

/// Rows by which a chunk decides about its dictionary.
const TRIAL_ROWS: usize = 1 << 15;

/// What compression has to make of plain values, in hundredths, to be preferred to a dictionary that goes on growing: each look
/// into a large one takes longer than compressing the value.
const COMPRESSED_WELL: usize = 60;

/// A page is never longer than that, whatever the limits say: a reader decodes it at once.
const PAGE_ROWS_MAX: usize = 1 << 20;

/// Room for the levels of a page without NULLs before its values.
const LEVELS_ROOM: usize = 16;

pub(in super::super) struct Chunk {
    settings: Settings,
    pages: Pages,
    coding: Coding,
    /// Rows of the current page, and which of them are NULL.
    levels: Levels,
    /// Plain values of the current page.
    plain: Plain,
    /// Of the plain values of the current page.
    bounds: Option<Bounds>,
    /// Values of the current page in the dictionary; while the chunk is undecided, all values.
    numbers: Vec<u32>,
}

enum Coding {
    Undecided(Values, Trial),
    Dictionary(Values),
    Plain,
}

impl Chunk {
    pub(super) fn new(settings: Settings) -> Self {
        let coding = match settings.dictionary_bytes_max {
            0 => Coding::Plain,
            _ if settings.kind == Kind::Flags || settings.history.next_is_plain() => Coding::Plain,
            _ => Coding::Undecided(Values::new(settings.kind), Trial::default()),
        };
        Self {
            pages: Pages::new(settings.clone()),
            coding,
            levels: Levels::default(),
            plain: Plain::new(settings.kind, LEVELS_ROOM),
            bounds: None,
            numbers: Vec::new(),
            settings,
        }
    }

    /// Bytes that the chunk will have, about.
    pub(in super::super) fn bytes(&self) -> usize {
        let waiting = match &self.coding {
            Coding::Undecided(_, trial) => trial.plain_bytes,
            Coding::Dictionary(values) => values.plain.len() + self.numbers.len() * usize::from(values.bit_width()) / 8,
            Coding::Plain => self.plain.len(),
        };
        self.pages.len() + waiting
    }

    pub(in super::super) fn memory(&self) -> usize {
        let dictionary = match &self.coding {
            Coding::Undecided(values, _) | Coding::Dictionary(values) => values.memory(),
            Coding::Plain => 0,
        };
        self.pages.memory() + self.plain.memory() + self.numbers.capacity() * size_of::<u32>() + dictionary
    }

    pub(in super::super) fn write(&mut self, array: &ArrayRef, scratch: &mut Scratch) -> Result<()> {
        let column = Column::new(array, std::mem::take(&mut scratch.cells))?;
        let validity = array.nulls().filter(|nulls| nulls.null_count() > 0).map(arrow::buffer::NullBuffer::inner);
        let written = column.with_buffers(|cells| self.write_cells(cells, validity, array.len(), scratch));
        scratch.cells = column.into_cells();
        written
    }

    fn write_cells(
        &mut self,
        cells: Cells<'_>,
        validity: Option<&BooleanBuffer>,
        rows: usize,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let (mut row, mut cell) = (0, 0);
        while row < rows {
            let (end, cell_end) = self.step(cells, validity, (row, cell), rows);
            let some = cells.range(cell, cell_end);
            if !self.has_room(some) {
                // Something is ended: a trial, a dictionary, or a page.
                self.make_room(scratch)?;
                continue;
            }
            self.put(some);
            self.levels.append(validity.map(|validity| validity.slice(row, end - row)), end - row);
            (row, cell) = (end, cell_end);
            self.end_page_if_full(scratch)?;
        }
        Ok(())
    }

    /// Where a step from a row and its cell ends: as many rows as may be looked at in one go.
    fn step(
        &self,
        cells: Cells<'_>,
        validity: Option<&BooleanBuffer>,
        (row, cell): (usize, usize),
        rows: usize,
    ) -> (usize, usize) {
        let mut most = self.settings.step_rows.min(rows - row);
        if !matches!(self.coding, Coding::Undecided(..)) {
            most = most.min(self.page_rows_max() - self.levels.rows);
        }
        loop {
            let values = validity.map_or(most, |validity| validity.slice(row, most).count_set_bits());
            let step = cells.range(cell, cell + values);
            if most == 1 || step.plain_bytes(self.settings.kind) <= self.step_bytes_max() {
                return (row + most, cell + values);
            }
            most /= 2;
        }
    }

    fn page_rows_max(&self) -> usize {
        self.settings.page_rows_max.clamp(1, PAGE_ROWS_MAX)
    }

    /// A step is a fraction of what it has to fit into.
    fn step_bytes_max(&self) -> usize {
        let limit = match self.coding {
            Coding::Undecided(..) | Coding::Dictionary(_) => self.settings.dictionary_bytes_max,
            Coding::Plain => self.settings.page_bytes_max,
        };
        limit / 16
    }

    /// Whether the values surely fit where they would be put.
    fn has_room(&self, cells: Cells<'_>) -> bool {
        let bytes = cells.plain_bytes(self.settings.kind);
        match &self.coding {
            Coding::Undecided(values, _) => {
                self.levels.rows < TRIAL_ROWS && values.plain.len() + bytes <= self.settings.dictionary_bytes_max
            }
            Coding::Dictionary(values) => {
                !values.dictionary.is_crowded && values.plain.len() + bytes <= self.settings.dictionary_bytes_max
            }
            Coding::Plain => self.levels.rows == 0 || self.plain.len() + bytes <= self.settings.page_bytes_max,
        }
    }

    fn make_room(&mut self, scratch: &mut Scratch) -> Result<()> {
        match &self.coding {
            Coding::Undecided(..) => self.decide(false, scratch),
            Coding::Dictionary(_) => self.end_dictionary(scratch),
            Coding::Plain => self.end_page(scratch),
        }
    }

    fn put(&mut self, cells: Cells<'_>) {
        match &mut self.coding {
            Coding::Undecided(values, trial) => {
                values.number_all(cells, &mut self.numbers);
                trial.plain_bytes += cells.plain_bytes(self.settings.kind);
                if trial.half.is_none() && self.levels.rows >= TRIAL_ROWS / 2 {
                    trial.half = Some((self.levels.rows, values.plain.len(), values.dictionary.cells.len()));
                }
            }
            Coding::Dictionary(values) => values.number_all(cells, &mut self.numbers),
            Coding::Plain => {
                self.plain.put(cells);
                if self.settings.statistics != EnabledStatistics::None {
                    let Settings { kind, cut, .. } = self.settings;
                    if let Some((least, greatest)) = cells.bounds(kind) {
                        let bytes = [least.to_le_bytes(), greatest.to_le_bytes()];
                        let least = cells.value(least, kind, &bytes[0], cut.kept);
                        let greatest = cells.value(greatest, kind, &bytes[1], cut.kept);
                        Bounds::widen(&mut self.bounds, kind.order(), least, greatest);
                    }
                }
            }
        }
    }

    fn end_page_if_full(&mut self, scratch: &mut Scratch) -> Result<()> {
        let bytes = match &self.coding {
            Coding::Undecided(..) => return Ok(()),
            Coding::Dictionary(values) => self.numbers.len() * usize::from(values.bit_width()) / 8,
            Coding::Plain => self.plain.len(),
        };
        if bytes >= self.settings.page_bytes_max || self.levels.rows >= self.page_rows_max() {
            self.end_page(scratch)?;
        }
        Ok(())
    }

    /// Ends the trial, and writes what has come so far. If that is all, nothing has to last.
    fn decide(&mut self, is_all: bool, scratch: &mut Scratch) -> Result<()> {
        let (values, trial) = match std::mem::replace(&mut self.coding, Coding::Plain) {
            Coding::Undecided(values, trial) => (values, trial),
            decided => {
                self.coding = decided;
                return Ok(());
            }
        };
        let (numbers, levels) = (std::mem::take(&mut self.numbers), std::mem::take(&mut self.levels));
        let (rows, validity) = (levels.rows, levels.into_validity());
        let is_smaller = values.plain.len() + numbers.len() * usize::from(values.bit_width()) / 8 < trial.plain_bytes;
        let lasts = is_all || values.last(&trial, rows, self.settings.dictionary_bytes_max);
        let is_dictionary = is_smaller && lasts && !values.dictionary.is_crowded;
        if is_dictionary && (is_all || !values.grow(&trial, rows)) {
            self.coding = Coding::Dictionary(values);
            return self.write_numbers(&numbers, validity.as_ref(), rows, scratch);
        }
        let mut cells = std::mem::take(&mut scratch.cells);
        cells.clear();
        cells.extend(numbers.iter().map(|&number| values.cell(number)));
        let plain = Cells { cells: &cells, buffers: &[values.plain.bytes()] };
        let is_dictionary = is_dictionary && !self.is_compressed_well(plain, scratch)?;
        // Where it was close, the next row group may decide otherwise.
        if !is_dictionary && !is_all && 2 * values.dictionary.cells.len() > numbers.len() {
            self.settings.history.found_no_use();
        }
        let written = if is_dictionary {
            self.coding = Coding::Dictionary(values);
            self.write_numbers(&numbers, validity.as_ref(), rows, scratch)
        } else {
            self.write_cells(plain, validity.as_ref(), rows, scratch)
        };
        scratch.cells = cells;
        written
    }

    /// Whether compression makes of plain values about what a large dictionary would.
    fn is_compressed_well(&self, cells: Cells<'_>, scratch: &mut Scratch) -> Result<bool> {
        let mut plain = Plain::new(self.settings.kind, 0);
        plain.put(cells);
        let texts = (self.settings.kind == Kind::Texts).then_some(0);
        let bytes = compressed(plain.bytes(), self.settings.compression, texts, scratch)?;
        Ok(bytes * 100 <= plain.len() * COMPRESSED_WELL)
    }

    /// Writes values that have their numbers, page by page.
    fn write_numbers(
        &mut self,
        numbers: &[u32],
        validity: Option<&BooleanBuffer>,
        rows: usize,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let (mut row, mut number) = (0, 0);
        while row < rows {
            let most = self.settings.step_rows.min(rows - row).min(self.page_rows_max() - self.levels.rows);
            let some = validity.map(|validity| validity.slice(row, most));
            let values = some.as_ref().map_or(most, BooleanBuffer::count_set_bits);
            self.numbers.extend_from_slice(&numbers[number..number + values]);
            self.levels.append(some, most);
            (row, number) = (row + most, number + values);
            self.end_page_if_full(scratch)?;
        }
        Ok(())
    }

    fn end_page(&mut self, scratch: &mut Scratch) -> Result<()> {
        if self.levels.rows == 0 {
            return Ok(());
        }
        let levels = std::mem::take(&mut self.levels);
        let (rows, validity) = (levels.rows, levels.into_validity());
        let nulls = validity.as_ref().map_or(0, |validity| rows - validity.count_set_bits());
        let mut head = std::mem::take(&mut scratch.levels);
        head.clear();
        if self.settings.column.max_def_level() > 0 {
            put_levels(validity.as_ref(), rows, &mut head);
        }
        let facts = |encoding, bounds, text_bytes| PageFacts { rows, nulls, encoding, bounds, text_bytes };
        let is_texts = self.settings.kind == Kind::Texts;
        let put = match &mut self.coding {
            Coding::Dictionary(values) => {
                let width = values.bit_width();
                let mut page = std::mem::take(&mut scratch.values);
                page.clear();
                page.extend_from_slice(&head);
                page.push(width);
                put_values(&self.numbers, width, &mut page);
                let text_bytes = is_texts.then(|| values.text_bytes(&self.numbers));
                let facts = facts(Encoding::RLE_DICTIONARY, values.bounds(&self.numbers, &self.settings), text_bytes);
                self.numbers.clear();
                let put = self.pages.put_data(&page, None, facts, scratch);
                scratch.values = page;
                put
            }
            _ => {
                let text_bytes = is_texts.then(|| self.plain.len() - (rows - nulls) * size_of::<u32>());
                let facts = facts(Encoding::PLAIN, self.bounds.take(), text_bytes);
                let page = self.plain.with_head(&head);
                let put = self.pages.put_data(page, is_texts.then_some(head.len()), facts, scratch);
                self.plain.clear();
                put
            }
        };
        scratch.levels = head;
        put
    }

    /// Writes the dictionary. What comes is plain.
    fn end_dictionary(&mut self, scratch: &mut Scratch) -> Result<()> {
        self.end_page(scratch)?;
        if let Coding::Dictionary(mut values) = std::mem::replace(&mut self.coding, Coding::Plain) {
            self.numbers = Vec::new();
            let count = values.dictionary.cells.len();
            self.pages.put_dictionary(values.plain.with_head(&[]), count, scratch)?;
        }
        Ok(())
    }

    pub(in super::super) fn close(mut self, scratch: &mut Scratch) -> Result<ClosedChunk> {
        self.decide(true, scratch)?;
        self.end_page(scratch)?;
        self.end_dictionary(scratch)?;
        self.pages.close()
    }
}
