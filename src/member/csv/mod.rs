//! CSV and TSV: records of delimited fields, with a header or without.
//!
//! Arrow's own CSV decoder can neither drop a record with another number of fields, nor make NULL of a value that does
//! not parse, nor count either. So records are split here, by [`Splitter`], and the texts of a batch are cast column
//! by column, by [`TextCast`]: one path whatever the policies.

mod header;
mod infer;
mod split;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use regex::Regex;

pub(crate) use self::infer::infer;
use self::split::{Event, RECORD_BYTES_MAX, Splitter};
use super::column::{TextCast, Texts, Verdicts, quoted};
use super::{RecordDecoder, RecordOptions, Records};
use crate::batch::batch_bytes_max;
use crate::error::{Error, ErrorKind, Result};
use crate::policy::OnBadRow;

/// How often fields are held while they become a batch: as texts, with the room for the next ones, and as values.
const CAST_COPIES: usize = 3;

/// How the text is to be read.
#[derive(Debug, Clone)]
pub(crate) struct CsvOptions {
    /// The first record names the columns.
    pub(crate) has_header: bool,
    /// The byte between two fields.
    pub(crate) delimiter: u8,
    /// The byte around fields that contain delimiters, quotes or newlines; inside, two of them are one.
    pub(crate) quote: u8,
    /// The byte that makes the next one literal, inside quotes.
    pub(crate) escape: Option<u8>,
    /// A line that starts with this byte is no record.
    pub(crate) comment: Option<u8>,
    /// A field is NULL where this matches, instead of where it is empty. Made by [`null_regex`].
    pub(crate) null_regex: Option<Regex>,
    /// A quoted field may have newlines. Otherwise one makes its record a bad row, and the next line is a new record.
    pub(crate) newlines_in_values: bool,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            has_header: true,
            delimiter: b',',
            quote: b'"',
            escape: None,
            comment: None,
            null_regex: None,
            newlines_in_values: false,
        }
    }
}

impl CsvOptions {
    /// The options of `tsv`.
    pub(crate) fn tsv() -> Self {
        Self { delimiter: b'\t', ..Self::default() }
    }

    /// The options as the splitter wants them, if they make sense.
    fn checked(mut self) -> Result<Self> {
        // Many dialects say that quotes are escaped by quotes; that is so without an escape.
        self.escape = self.escape.filter(|escape| *escape != self.quote);
        let special = [Some(self.delimiter), Some(self.quote), self.escape, self.comment];
        let names = ["delimiter", "quote", "escape", "comment"];
        for (place, (byte, name)) in special.iter().zip(names).enumerate() {
            let Some(byte) = *byte else { continue };
            let shown = byte.escape_ascii();
            if !byte.is_ascii() || matches!(byte, b'\r' | b'\n') {
                let what = format!("option '{name}' can't be '{shown}': it is one ASCII character, and no newline");
                return Err(Error::new(ErrorKind::Option, what));
            }
            if let Some(other) = special[..place].iter().position(|other| *other == Some(byte)) {
                let what = format!("options '{}' and '{name}' can't both be '{shown}'", names[other]);
                return Err(Error::new(ErrorKind::Option, what));
            }
        }
        Ok(self)
    }
}

/// The regular expression that matches where `pattern` matches the whole of a field: `NA` is not found in `CANADA`.
///
/// # Errors
/// A pattern that is no regular expression.
pub(crate) fn null_regex(pattern: &str) -> Result<Regex> {
    // The pattern alone comes first, so that one with a stray parenthesis is refused.
    let whole = Regex::new(pattern).and_then(|_| Regex::new(&format!(r"\A(?:{pattern})\z")));
    whole.map_err(|error| {
        Error::new(ErrorKind::Option, format!("option 'null_regex' can't be '{}'", quoted(pattern))).caused_by(error)
    })
}

/// Decodes one CSV member.
///
/// Only the columns that are asked for are parsed: a value elsewhere that does not fit is not seen. Under
/// `on_bad_row = 'skip'`, where that would be another row, all have to be asked for. What a record is, its number of
/// fields and its record number never depend on the projection.
///
/// After an error, `next_records` still gives the rows before the record at fault.
#[derive(Debug)]
pub(crate) struct CsvDecoder {
    splitter: Splitter,
    rows: Rows,
}

impl CsvDecoder {
    /// A decoder for one member.
    ///
    /// # Errors
    /// Options that contradict each other; a column of a type that text can't become.
    pub(crate) fn new(options: RecordOptions, csv: CsvOptions) -> Result<Self> {
        let csv = csv.checked()?;
        let mut splitter = Splitter::new(&csv);
        let (rows, kept) = Rows::new(options, csv)?;
        if let Some(kept) = kept {
            splitter.keep(kept);
        }
        Ok(Self { splitter, rows })
    }
}

impl RecordDecoder for CsvDecoder {
    fn decode(&mut self, piece: Bytes) -> Result<()> {
        let mut rest = piece.as_ref();
        while let Some(event) = self.splitter.next(&mut rest) {
            if let Some(kept) = self.rows.take(event)? {
                self.splitter.keep(kept);
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        if let Some(event) = self.splitter.finish() {
            self.rows.take(event)?;
        }
        self.rows.flush()
    }

    fn abandon(&mut self) -> Result<()> {
        // The splitter keeps the record that was cut.
        self.rows.flush()
    }

    fn next_records(&mut self) -> Option<Records> {
        self.rows.finished.pop_front()
    }

    fn bytes_wanted(&self, piece_bytes: usize) -> usize {
        self.splitter.bytes_wanted() + CAST_COPIES * (self.rows.buffered + piece_bytes)
    }
}

/// What a record has to look like.
#[derive(Debug)]
struct Layout {
    /// Fields that each record has.
    fields: usize,
    /// Which of them are asked for; none where the member lacks a column.
    places: Vec<Option<usize>>,
}

impl Layout {
    /// How many fields of a record have to be kept.
    fn kept(&self) -> usize {
        self.places.iter().flatten().max().map_or(0, |last| last + 1)
    }
}

/// Collects records into batches.
#[derive(Debug)]
struct Rows {
    options: RecordOptions,
    projected: SchemaRef,
    casts: Vec<TextCast>,
    /// With a header, not known before it.
    layout: Option<Layout>,
    /// Fields of the batch under way, column by column.
    texts: Vec<Texts>,
    /// Record numbers of the batch under way.
    numbers: Vec<i64>,
    /// Bytes of both.
    buffered: usize,
    /// A batch is handed on when its fields take this many bytes, however few its rows.
    batch_bytes_max: usize,
    /// Records so far, good or bad.
    records: i64,
    finished: VecDeque<Records>,
}

impl Rows {
    /// No rows yet. Also says how many fields of each record are needed, if that is known.
    fn new(options: RecordOptions, csv: CsvOptions) -> Result<(Self, Option<usize>)> {
        let cast = |field: &Arc<_>| TextCast::new(Arc::clone(field), csv.null_regex.clone(), options.on_invalid_utf8);
        let casts = options.schema.fields().iter().map(cast).collect::<Result<Vec<_>>>()?;
        let projected = options.schema.project(&options.projection).map_err(|error| {
            Error::new(ErrorKind::Schema, "the projection does not fit the columns").caused_by(error)
        })?;
        let layout = (!csv.has_header).then(|| Layout {
            fields: options.schema.fields().len(),
            places: options.projection.iter().copied().map(Some).collect(),
        });
        let kept = layout.as_ref().map(Layout::kept);
        let rows = Self {
            projected: Arc::new(projected),
            casts: options.projection.iter().map(|place| casts[*place].clone()).collect(),
            layout,
            texts: options.projection.iter().map(|_| Texts::default()).collect(),
            numbers: Vec::new(),
            buffered: 0,
            batch_bytes_max: batch_bytes_max(&options.allowance),
            records: 0,
            finished: VecDeque::new(),
            options,
        };
        Ok((rows, kept))
    }

    /// Takes the header or a record. The header tells how many fields of each record are needed.
    fn take(&mut self, event: Event<'_>) -> Result<Option<usize>> {
        let Some(layout) = &self.layout else {
            let names = header::names(&event)?;
            let places = header::places(&names, &self.options)?;
            let layout = self.layout.insert(Layout { fields: names.len(), places });
            return Ok(Some(layout.kept()));
        };
        self.records += 1;
        match event {
            Event::Record(fields) if fields.count() == layout.fields => {
                for (place, texts) in layout.places.iter().zip(&mut self.texts) {
                    let Some(place) = place else { continue };
                    let text = fields.get(*place);
                    texts.push(text);
                    self.buffered += text.len() + size_of::<i32>();
                }
                self.numbers.push(self.records);
                self.buffered += size_of::<i64>();
                if self.numbers.len() >= self.options.batch_size || self.buffered >= self.batch_bytes_max {
                    self.flush()?;
                }
            }
            Event::TooLong => {
                self.flush()?;
                return Err(too_long(&format!("record {}", self.records)));
            }
            misfit if self.options.on_bad_row != OnBadRow::Fail => {
                let problem = || format!("record {} {}", self.records, misfit_of(&misfit, layout.fields));
                self.options.bad_rows.add(problem);
            }
            misfit => {
                let problem = misfit_of(&misfit, layout.fields);
                // A value in an earlier record may be at fault first.
                self.flush()?;
                return Err(Error::new(ErrorKind::Record, format!("record {} {problem}", self.records)));
            }
        }
        Ok(None)
    }

    /// Makes a batch of the rows so far.
    fn flush(&mut self) -> Result<()> {
        if self.numbers.is_empty() {
            return Ok(());
        }
        self.buffered = 0;
        let capacity = self.numbers.len();
        let numbers = mem::replace(&mut self.numbers, Vec::with_capacity(capacity));
        let mut verdicts = Verdicts::new(&numbers, self.options.on_bad_row, self.options.bad_rows.room());
        let places = self.layout.iter().flat_map(|layout| &layout.places);
        let columns = places.zip(&self.casts).zip(&mut self.texts).zip(self.projected.fields());
        let columns = columns.map(|(((place, cast), texts), field)| match place {
            Some(_) => cast.cast(texts.take(), &mut verdicts),
            None => Ok(new_null_array(field.data_type(), numbers.len())),
        });
        let columns = columns.collect::<Result<_>>()?;
        let settled = verdicts.settle(columns)?;
        self.options.bad_rows.add_all(settled.bad_rows, settled.problems);
        if !settled.numbers.is_empty() {
            let rows = RecordBatchOptions::new().with_row_count(Some(settled.numbers.len()));
            let batch = RecordBatch::try_new_with_options(Arc::clone(&self.projected), settled.columns, &rows);
            let batch =
                batch.map_err(|error| Error::new(ErrorKind::Record, "the rows make no batch").caused_by(error))?;
            self.finished.push_back(Records { batch, row_numbers: settled.numbers });
        }
        settled.end.map_or(Ok(()), Err)
    }
}

/// What is wrong with a record of another shape than `fields` fields.
fn misfit_of(event: &Event<'_>, fields: usize) -> String {
    match event {
        Event::Record(found) => format!("has {} fields instead of {fields}", found.count()),
        Event::QuotedNewline => {
            "has a quote that is not closed on its line; set newlines_in_values if values have newlines".to_owned()
        }
        Event::Unterminated => "has a quote that is not closed before the end".to_owned(),
        Event::TooLong => format!("has more than {RECORD_BYTES_MAX} bytes"),
    }
}

fn too_long(what: &str) -> Error {
    let message =
        format!("{what} has more than {RECORD_BYTES_MAX} bytes, the limit; is there a quote that nobody closes?");
    Error::new(ErrorKind::Limit, message)
}
