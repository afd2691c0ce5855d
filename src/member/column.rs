//! Texts become a column: one type, one rule for what is NULL, and the policies for what does not fit.
//!
//! Arrow's cast kernels do the parsing and leave a null where a text does not parse; that null, where the text was
//! none, is how a misfit is found. So a text means here what it means to `CAST` in a query: `t`, `yes`, `on` and `1`
//! are true, white space around numbers is dropped, a time zone in a timestamp is heeded.

use std::str;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, StringArray, StringBuilder, new_empty_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{CastOptions, cast, cast_with_options, filter, nullif};
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;
use regex::Regex;

use super::utf8;
use crate::error::{Error, ErrorKind, Result};
use crate::policy::{OnBadRow, OnInvalidUtf8};

/// Characters of a value that an error message quotes.
const QUOTED_CHARS_MAX: usize = 64;

/// The texts of one column, one behind the other, not yet known to be UTF-8.
#[derive(Debug)]
pub(crate) struct Texts {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
}

impl Default for Texts {
    fn default() -> Self {
        Self { bytes: Vec::new(), offsets: vec![0] }
    }
}

impl Texts {
    /// Appends a text.
    pub(crate) fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.offsets.push(i32::try_from(self.bytes.len()).expect("decoders flush long before a column has 2 GiB"));
    }

    /// Takes the texts out, and leaves room for as many again.
    pub(crate) fn take(&mut self) -> Self {
        let mut next = Self { bytes: Vec::with_capacity(self.bytes.len()), offsets: Vec::new() };
        next.offsets.reserve(self.offsets.len());
        next.offsets.push(0);
        std::mem::replace(self, next)
    }

    fn into_array(self) -> BinaryArray {
        BinaryArray::new(OffsetBuffer::new(ScalarBuffer::from(self.offsets)), Buffer::from_vec(self.bytes), None)
    }
}

/// How the texts of one column become its values.
#[derive(Debug, Clone)]
pub(crate) struct TextCast {
    field: FieldRef,
    null_regex: Option<Regex>,
    on_invalid_utf8: OnInvalidUtf8,
}

impl TextCast {
    /// A cast to the type of `field`. A text is NULL where `null_regex` matches it, or without one where it is empty.
    /// `on_invalid_utf8` counts for string types; elsewhere such bytes don't parse, and binary takes them as they are.
    ///
    /// # Errors
    /// A type that no text can become: a nested one, say, or a timestamp in a time zone that nobody knows.
    pub(crate) fn new(field: FieldRef, null_regex: Option<Regex>, on_invalid_utf8: OnInvalidUtf8) -> Result<Self> {
        let to = field.data_type();
        let refused = |cause: ArrowError| {
            let what = format!("column '{}' can't be {to} here: no text can be read as it", field.name());
            Error::new(ErrorKind::Schema, what).caused_by(cause)
        };
        if to.is_nested() || matches!(to, DataType::RunEndEncoded(..)) {
            return Err(refused(ArrowError::NotYetImplemented("nested types".to_owned())));
        }
        cast(&new_empty_array(&DataType::Utf8), to).map_err(refused)?;
        Ok(Self { field, null_regex, on_invalid_utf8 })
    }

    /// Casts the texts of a batch, and tells `verdicts` about those that don't fit.
    ///
    /// # Errors
    /// None that a text could cause: misfits go to `verdicts`, whatever the policy.
    pub(crate) fn cast(&self, texts: Texts, verdicts: &mut Verdicts<'_>) -> Result<ArrayRef> {
        let (name, to) = (quoted(self.field.name()), self.field.data_type());
        let bytes = texts.into_array();
        let values = if is_binary(to) {
            let bytes = with_nulls(&bytes, |row| self.is_null(bytes.value(row)));
            bytes.and_then(|bytes| cast(&bytes, to)).map(|values| (None, values))
        } else {
            let strings = match StringArray::try_from_binary(bytes.clone()) {
                Ok(strings) => strings,
                Err(_) => self.mended(&bytes, verdicts),
            };
            let strings = with_nulls(&strings, |row| self.is_null(strings.value(row).as_bytes()));
            let options = CastOptions { safe: true, ..CastOptions::default() };
            strings.and_then(|strings| cast_with_options(&strings, to, &options).map(|values| (Some(strings), values)))
        };
        let (strings, values) = values.map_err(|error| {
            Error::new(ErrorKind::Record, format!("column '{name}' can't be made {to}")).caused_by(error)
        })?;
        self.judge(strings.as_deref().map(AsArray::as_string), &values, verdicts);
        Ok(values)
    }

    /// Finds the rows whose value is NULL and should not be. `strings` are what the values were parsed from.
    fn judge(&self, strings: Option<&StringArray>, values: &ArrayRef, verdicts: &mut Verdicts<'_>) {
        let nullable = self.field.is_nullable();
        let nulls = if nullable { strings.map_or(values.null_count(), Array::null_count) } else { 0 };
        if values.null_count() == nulls {
            return;
        }
        let (name, to) = (quoted(self.field.name()), self.field.data_type());
        for row in (0..values.len()).filter(|row| values.is_null(*row)) {
            let goes_on = match strings.filter(|strings| strings.is_valid(row)) {
                Some(strings) => verdicts.misfit(row, nullable, || {
                    format!("column '{name}': '{}' does not parse as {to}", quoted(strings.value(row)))
                }),
                None if nullable => true,
                None => {
                    verdicts.misfit(row, nullable, || format!("column '{name}' is NOT NULL, but the value is NULL"))
                }
            };
            if !goes_on {
                return;
            }
        }
    }

    fn is_null(&self, text: &[u8]) -> bool {
        match &self.null_regex {
            None => text.is_empty(),
            Some(regex) => str::from_utf8(text).is_ok_and(|text| regex.is_match(text)),
        }
    }

    /// The texts as strings, each that is not UTF-8 as `on_invalid_utf8` wants it.
    fn mended(&self, texts: &BinaryArray, verdicts: &mut Verdicts<'_>) -> StringArray {
        let name = quoted(self.field.name());
        // What is not UTF-8 is no number and no date either; replaced, it doesn't parse, and the message can show it.
        let policy = if is_string(self.field.data_type()) { self.on_invalid_utf8 } else { OnInvalidUtf8::Replace };
        let mut strings = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
        for row in 0..texts.len() {
            match utf8::decode(texts.value(row), policy) {
                Ok(text) => strings.append_option(text),
                Err(error) => {
                    verdicts.fatal(row, || format!("column '{name}': {}", error.message()));
                    strings.append_null();
                }
            }
        }
        strings.finish()
    }
}

/// `array` with NULL in the rows that `is_null` names.
fn with_nulls(array: &dyn Array, is_null: impl FnMut(usize) -> bool) -> Result<ArrayRef, ArrowError> {
    nullif(array, &BooleanArray::new(BooleanBuffer::collect_bool(array.len(), is_null), None))
}

/// What becomes of the rows of one batch whose values don't fit.
#[derive(Debug)]
pub(crate) struct Verdicts<'a> {
    /// The record number of each row.
    numbers: &'a [i64],
    on_bad_row: OnBadRow,
    /// One for each row, as soon as the first is not `Fits`.
    marks: Vec<Mark>,
    /// What is wrong with the first rows of those that don't fit, column by column.
    problems: Vec<(usize, String)>,
    /// How many of them are wanted.
    problems_max: usize,
    /// The first row that ends the query.
    end: Option<(usize, Error)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Fits,
    /// It stays, with a NULL.
    Mended,
    Dropped,
}

/// The rows of a batch that are left.
#[derive(Debug)]
pub(crate) struct Settled {
    /// Their values.
    pub(crate) columns: Vec<ArrayRef>,
    /// Their record numbers.
    pub(crate) numbers: Int64Array,
    /// How many rows were mended or dropped.
    pub(crate) bad_rows: u64,
    /// What is wrong with some of them.
    pub(crate) problems: Vec<String>,
    /// The record behind them that ends the query.
    pub(crate) end: Option<Error>,
}

impl<'a> Verdicts<'a> {
    /// No verdict yet about rows of these record numbers. No more than `problems_max` of those that are mended or
    /// dropped get words.
    pub(crate) fn new(numbers: &'a [i64], on_bad_row: OnBadRow, problems_max: usize) -> Self {
        Self { numbers, on_bad_row, marks: Vec::new(), problems: Vec::new(), problems_max, end: None }
    }

    /// A value of `row` does not fit, and NULL may stand in its place only if `nullable`. False when later rows don't
    /// matter any more.
    pub(crate) fn misfit(&mut self, row: usize, nullable: bool, problem: impl FnOnce() -> String) -> bool {
        let mark = match self.on_bad_row {
            OnBadRow::Fail => {
                self.fatal(row, problem);
                return false;
            }
            OnBadRow::Null if nullable => Mark::Mended,
            OnBadRow::Null | OnBadRow::Skip => Mark::Dropped,
        };
        if self.marks.is_empty() {
            self.marks.resize(self.numbers.len(), Mark::Fits);
        }
        if self.marks[row] == Mark::Fits && self.problems.len() < self.problems_max {
            self.problems.push((row, format!("record {}, {}", self.numbers[row], problem())));
        }
        if self.marks[row] != Mark::Dropped {
            self.marks[row] = mark;
        }
        true
    }

    /// `row` ends the query, unless an earlier one does.
    pub(crate) fn fatal(&mut self, row: usize, problem: impl FnOnce() -> String) {
        if self.end.as_ref().is_none_or(|(first, _)| row < *first) {
            let message = format!("record {}, {}", self.numbers[row], problem());
            self.end = Some((row, Error::new(ErrorKind::Record, message)));
        }
    }

    /// Leaves out the rows that have to go: those that are dropped, and all from the one that ends the query.
    ///
    /// # Errors
    /// None that a text could cause.
    pub(crate) fn settle(mut self, columns: Vec<ArrayRef>) -> Result<Settled> {
        let rows = self.end.as_ref().map_or(self.numbers.len(), |(row, _)| *row);
        self.problems.sort_unstable_by_key(|(row, _)| *row);
        let problems =
            self.problems.into_iter().take_while(|(row, _)| *row < rows).map(|(_, problem)| problem).collect();
        let numbers = Int64Array::from(self.numbers[..rows].to_vec());
        let end = self.end.map(|(_, error)| error);
        let columns: Vec<_> = columns.iter().map(|column| column.slice(0, rows)).collect();
        let marks = self.marks.get(..rows).unwrap_or(&[]);
        let bad_rows = marks.iter().filter(|mark| **mark != Mark::Fits).count() as u64;
        if !marks.contains(&Mark::Dropped) {
            return Ok(Settled { columns, numbers, bad_rows, problems, end });
        }
        let stays: BooleanArray = marks.iter().map(|mark| Some(*mark != Mark::Dropped)).collect();
        let keep = |array: &dyn Array| {
            filter(array, &stays)
                .map_err(|error| Error::new(ErrorKind::Record, "rows can't be dropped").caused_by(error))
        };
        let columns = columns.iter().map(|column| keep(column)).collect::<Result<_>>()?;
        let numbers = Int64Array::from(keep(&numbers)?.to_data());
        Ok(Settled { columns, numbers, bad_rows, problems, end })
    }
}

fn is_binary(to: &DataType) -> bool {
    matches!(to, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

fn is_string(to: &DataType) -> bool {
    match to {
        DataType::Dictionary(_, values) => is_string(values),
        _ => to.is_string(),
    }
}

/// A text from outside as messages show it: on one line, and not too long.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTED_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(QUOTED_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}
