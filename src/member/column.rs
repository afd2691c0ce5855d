//! Texts become a column: one type, one rule for what is NULL, and the policies for what does not fit.
//!
//! Arrow's cast kernels do the parsing and leave a null where a text does not parse; that null, where the text was
//! none, is how a misfit is found. So a text means here what it means to `CAST` in a query: `t`, `yes`, `on` and `1`
//! are true, white space around numbers is dropped, a time zone in a timestamp is heeded.

mod numbers;
mod verdicts;

use std::str;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, BooleanBufferBuilder, StringArray, StringBuilder,
    new_empty_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{CastOptions, cast, cast_with_options, nullif};
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;
use regex::Regex;

use self::numbers::{Numbers, numbers};
pub(crate) use self::verdicts::Verdicts;
use super::room::Room;
use super::utf8;
use crate::error::{Error, ErrorKind, Result};
use crate::policy::OnInvalidUtf8;

/// Characters of a value that an error message quotes.
const QUOTED_CHARS_MAX: usize = 64;

/// Bytes that are copied of most texts, however short they are.
const WIDE_BYTES: usize = 32;

/// Texts of one column that lie in a block of text, a row behind the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spans<'a> {
    /// The block; it may go on behind the texts.
    pub(crate) block: &'a [u8],
    /// Where the fields of all rows start in it. A byte lies between two of them.
    pub(crate) starts: &'a [u32],
    /// The first field of each row among them.
    pub(crate) firsts: &'a [u32],
    /// Which field of a row it is.
    pub(crate) place: usize,
}

impl<'a> Spans<'a> {
    fn len(&self) -> usize {
        self.firsts.len()
    }

    /// Where each text starts and ends.
    #[inline]
    fn bounds(self) -> impl Iterator<Item = (usize, usize)> {
        self.firsts.iter().map(move |first| {
            let field = *first as usize + self.place;
            let starts = &self.starts[field..field + 2];
            (starts[0] as usize, starts[1] as usize - 1)
        })
    }

    #[inline]
    fn texts(self) -> impl Iterator<Item = &'a [u8]> {
        self.bounds().map(move |(start, end)| &self.block[start..end])
    }
}

/// One column while its rows come in.
#[derive(Debug)]
pub(crate) struct Column {
    cast: Arc<TextCast>,
    gathered: Gathered,
}

#[derive(Debug)]
enum Gathered {
    /// Cast when the batch ends.
    Texts(Texts),
    /// Parsed as they come.
    Numbers(Box<dyn Numbers>),
}

impl Column {
    /// An empty column that gets its values by `cast`.
    pub(crate) fn new(cast: Arc<TextCast>) -> Self {
        let numbers = numbers(cast.field.data_type()).map(Gathered::Numbers);
        Self { cast, gathered: numbers.unwrap_or_else(|| Gathered::Texts(Texts::default())) }
    }

    /// An empty column of the same kind.
    pub(crate) fn fork(&self) -> Self {
        let gathered = match &self.gathered {
            Gathered::Texts(texts) => Gathered::Texts(texts.fork()),
            Gathered::Numbers(numbers) => Gathered::Numbers(numbers.fork()),
        };
        Self { cast: Arc::clone(&self.cast), gathered }
    }

    /// Appends a row. Gives the bytes that it takes.
    pub(crate) fn push(&mut self, text: &[u8]) -> usize {
        match &mut self.gathered {
            Gathered::Texts(texts) => texts.push(text),
            Gathered::Numbers(numbers) => numbers.push(text, &self.cast),
        }
    }

    /// Appends rows. Gives the bytes that they take.
    pub(crate) fn extend(&mut self, spans: Spans<'_>) -> usize {
        match &mut self.gathered {
            Gathered::Texts(texts) => texts.extend(spans),
            Gathered::Numbers(numbers) => numbers.extend(spans, &self.cast),
        }
    }

    /// Takes the values out, and tells `verdicts` about those that don't fit.
    ///
    /// # Errors
    /// None that a text could cause: misfits go to `verdicts`, whatever the policy.
    pub(crate) fn finish(&mut self, verdicts: &mut Verdicts<'_>) -> Result<ArrayRef> {
        match &mut self.gathered {
            Gathered::Texts(texts) => self.cast.cast(texts.take(), verdicts),
            Gathered::Numbers(numbers) => numbers.finish(&self.cast, verdicts),
        }
    }
}

/// The texts of one column, one behind the other, not yet known to be UTF-8.
#[derive(Debug, Default)]
struct Texts {
    bytes: Vec<u8>,
    /// Where each text begins and the last one ends; empty without texts.
    offsets: Vec<i32>,
    rooms: [Room; 2],
}

impl Texts {
    /// None, with room for as many.
    fn fork(&self) -> Self {
        Self { rooms: self.rooms.clone(), ..Self::default() }
    }

    /// Gets ready for the first text.
    fn open(&mut self) {
        if self.offsets.is_empty() {
            self.rooms[0].open(&mut self.bytes);
            self.rooms[1].open(&mut self.offsets);
            self.offsets.push(0);
        }
    }

    /// Appends a text. Gives the bytes that it takes.
    fn push(&mut self, text: &[u8]) -> usize {
        self.open();
        self.bytes.extend_from_slice(text);
        self.end_text();
        text.len() + size_of::<i32>()
    }

    /// Appends texts. Gives the bytes that they take.
    fn extend(&mut self, spans: Spans<'_>) -> usize {
        self.open();
        let before = self.bytes.len();
        self.offsets.reserve(spans.len());
        for (start, end) in spans.bounds() {
            append_text(&mut self.bytes, &spans.block[start..], end - start);
            self.end_text();
        }
        self.bytes.len() - before + spans.len() * size_of::<i32>()
    }

    #[inline]
    fn end_text(&mut self) {
        self.offsets.push(i32::try_from(self.bytes.len()).expect("decoders flush long before a column has 2 GiB"));
    }

    /// Takes the texts out.
    fn take(&mut self) -> Self {
        let [bytes, offsets] = &self.rooms;
        Self { bytes: bytes.take(&mut self.bytes), offsets: offsets.take(&mut self.offsets), rooms: Default::default() }
    }

    fn into_array(mut self) -> BinaryArray {
        self.open();
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
    fn cast(&self, texts: Texts, verdicts: &mut Verdicts<'_>) -> Result<ArrayRef> {
        if is_binary(self.field.data_type()) {
            let bytes = texts.into_array();
            let nulls = self.nulls(bytes.len(), |row| bytes.value(row));
            let values = cast(&bytes, self.field.data_type()).and_then(|values| without(values, nulls.as_ref()));
            let values = values.map_err(|error| self.failed(error))?;
            self.judge(&values, values.null_count(), verdicts, |_| None);
            return Ok(values);
        }
        let (strings, values) = self.parse(texts, verdicts)?;
        self.judge(&values, strings.null_count(), verdicts, |row| strings.is_valid(row).then(|| strings.value(row)));
        Ok(values)
    }

    /// What texts are as strings, and what becomes of them.
    fn parse(&self, texts: Texts, verdicts: &mut Verdicts<'_>) -> Result<(StringArray, ArrayRef)> {
        let bytes = texts.into_array();
        let strings = match StringArray::try_from_binary(bytes.clone()) {
            Ok(strings) => strings,
            Err(_) => self.mended(&bytes, verdicts),
        };
        let nulls = self.nulls(strings.len(), |row| strings.value(row).as_bytes());
        // A cast of texts to texts is faster where none is NULL yet.
        let is_late = is_string(self.field.data_type());
        let (early, late) = if is_late { (None, nulls.as_ref()) } else { (nulls.as_ref(), None) };
        let options = CastOptions { safe: true, ..CastOptions::default() };
        let strings: ArrayRef = Arc::new(strings);
        let values = without(Arc::clone(&strings), early)
            .and_then(|strings| cast_with_options(&strings, self.field.data_type(), &options))
            .and_then(|values| without(values, late));
        let strings = without(strings, nulls.as_ref());
        let parsed = strings.and_then(|strings| Ok((strings.as_string().clone(), values?)));
        parsed.map_err(|error| self.failed(error))
    }

    fn failed(&self, cause: ArrowError) -> Error {
        let (name, to) = (quoted(self.field.name()), self.field.data_type());
        Error::new(ErrorKind::Record, format!("column '{name}' can't be made {to}")).caused_by(cause)
    }

    /// Finds the rows whose value is NULL and should not be: more than `nulls`, where NULL is a value. `text` gives what
    /// the value of a row was parsed from.
    fn judge<'a>(
        &self,
        values: &ArrayRef,
        nulls: usize,
        verdicts: &mut Verdicts<'_>,
        text: impl Fn(usize) -> Option<&'a str>,
    ) {
        let nullable = self.field.is_nullable();
        if values.null_count() == if nullable { nulls } else { 0 } {
            return;
        }
        let (name, to) = (quoted(self.field.name()), self.field.data_type());
        for row in (0..values.len()).filter(|row| values.is_null(*row)) {
            let goes_on = match text(row) {
                Some(text) => verdicts
                    .misfit(row, nullable, || format!("column '{name}': '{}' does not parse as {to}", quoted(text))),
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

    /// The rows whose text is none, if there are any. `text` gives the text of a row.
    fn nulls<'a>(&self, rows: usize, text: impl Fn(usize) -> &'a [u8]) -> Option<BooleanArray> {
        let is_null = match &self.null_regex {
            None => BooleanBuffer::collect_bool(rows, |row| text(row).is_empty()),
            Some(_) => BooleanBuffer::collect_bool(rows, |row| self.is_null(text(row))),
        };
        is_null.has_true().then(|| BooleanArray::new(is_null, None))
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

/// Appends the first `length` bytes of `from`.
#[inline]
pub(crate) fn append_text(bytes: &mut Vec<u8>, from: &[u8], length: usize) {
    match from.first_chunk::<WIDE_BYTES>() {
        // A copy of constant length is an instruction or two; what is too much goes again.
        Some(wide) if length <= WIDE_BYTES => {
            let end = bytes.len() + length;
            bytes.extend_from_slice(wide);
            bytes.truncate(end);
        }
        _ => bytes.extend_from_slice(&from[..length]),
    }
}

/// Which of so many rows have a value: all but `nulls`.
pub(crate) fn valid_but(rows: usize, nulls: &[usize]) -> Option<NullBuffer> {
    if nulls.is_empty() {
        return None;
    }
    let mut valid = BooleanBufferBuilder::new(rows);
    valid.append_n(rows, true);
    for row in nulls {
        valid.set_bit(*row, false);
    }
    Some(valid.finish().into())
}

/// `values`, NULL where `nulls` says so.
fn without(values: ArrayRef, nulls: Option<&BooleanArray>) -> Result<ArrayRef, ArrowError> {
    match nulls {
        Some(nulls) => nullif(&values, nulls),
        None => Ok(values),
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
