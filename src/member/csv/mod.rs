//! CSV and TSV: records of delimited fields, with a header or without.
//!
//! Arrow's own CSV decoder can neither drop a record with another number of fields, nor make NULL of a value that does
//! not parse, nor count either. So records are split here, by [`Splitter`], and the texts of a batch are cast column
//! by column, by [`TextCast`]: one path whatever the policies.

mod cut;
mod header;
mod index;
mod infer;
mod rows;
mod split;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use memchr::{memchr, memrchr2};
use regex::Regex;

use self::cut::CsvCutter;
use self::index::{BLOCK_BYTES, Index};
pub(crate) use self::infer::infer;
use self::rows::Rows;
use self::split::{Event, RECORD_BYTES_MAX, Splitter};
use super::column::quoted;
use super::{Before, Cutter, RecordDecoder, RecordOptions, Records};
use crate::error::{Error, ErrorKind, Result};
use crate::report::BadRows;

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
    csv: CsvOptions,
    splitter: Splitter,
    index: Index,
    rows: Rows,
    /// Bytes of the member so far.
    bytes: u64,
}

impl CsvDecoder {
    /// A decoder for one member.
    ///
    /// # Errors
    /// Options that contradict each other; a column of a type that text can't become.
    pub(crate) fn new(options: RecordOptions, csv: CsvOptions) -> Result<Self> {
        let csv = csv.checked()?;
        let mut splitter = Splitter::new(&csv);
        let (rows, kept) = Rows::new(options, &csv)?;
        if let Some(kept) = kept {
            splitter.keep(kept);
        }
        Ok(Self { index: Index::new(csv.delimiter), csv, splitter, rows, bytes: 0 })
    }

    /// Takes plain lines off the front of `input`, as many as are worth looking at together. Gives the bytes that they
    /// have: none, where the next record needs the splitter.
    fn take_lines(&mut self, input: &[u8]) -> Result<usize> {
        let block_bytes = BLOCK_BYTES.min(self.splitter.record_bytes_max());
        if !self.splitter.is_between_records() || !self.rows.has_layout() {
            return Ok(0);
        }
        let block = &input[..input.len().min(block_bytes)];
        let plain = memchr(self.csv.quote, block).map_or(block, |quote| &block[..quote]);
        let Some(newline) = memrchr2(b'\r', b'\n', plain) else { return Ok(0) };
        self.index.read(&input[..=newline]);
        self.rows.take_lines(input, &self.index)?;
        Ok(newline + 1)
    }
}

impl RecordDecoder for CsvDecoder {
    fn decode(&mut self, piece: Bytes) -> Result<()> {
        self.bytes += piece.len() as u64;
        let mut rest = piece.as_ref();
        while !rest.is_empty() {
            let taken = self.take_lines(rest)?;
            rest = &rest[taken..];
            if let Some(event) = self.splitter.next(&mut rest)
                && let Some(kept) = self.rows.take(event)?
            {
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
        self.rows.next_records()
    }

    fn bytes_wanted(&self, piece_bytes: usize) -> usize {
        self.splitter.bytes_wanted() + self.index.bytes() + CAST_COPIES * (self.rows.bytes() + piece_bytes)
    }

    fn cutter(&self) -> Option<Box<dyn Cutter>> {
        CsvCutter::new(&self.csv).map(|cutter| Box::new(cutter) as Box<dyn Cutter>)
    }

    fn fork(&self, before: Before, bad_rows: BadRows) -> Option<Box<dyn RecordDecoder>> {
        let mut splitter = Splitter::between_records(&self.csv);
        splitter.keep(self.rows.kept()?);
        let (csv, index) = (self.csv.clone(), Index::new(self.csv.delimiter));
        let rows = self.rows.fork(before.records, bad_rows);
        Some(Box::new(Self { csv, splitter, index, rows, bytes: before.bytes }))
    }

    fn read_so_far(&self) -> Before {
        Before { records: self.rows.records(), bytes: self.bytes }
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
