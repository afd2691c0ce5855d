//! `format = 'json'`: a row is a JSON object.
//!
//! The objects stand one on a line, one behind the other, or in lists ([`documents`] tells how). Columns are matched by
//! the exact name of the key; a key that is missing is NULL, one that is no column is ignored, and of one that comes twice
//! the last counts. Where a column is text, numbers, `true` and `false` come as they are written, and objects and lists as
//! their JSON. The whole document has to be UTF-8, or is mended as `on_invalid_utf8` says.
//!
//! There are two ways, which give the same rows. Lines of documents with columns of common types go straight into
//! [`columns`], as long as nothing about them is odd. Behind a line that is, and in any other layout, documents are
//! collected until they fill a batch, which arrow-json then decodes in one go. Only if that fails are they looked at more
//! closely ([`rows`]).

mod columns;
mod cut;
mod documents;
mod infer;
mod integers;
mod line;
mod rewrite;
mod rows;
#[cfg(test)]
mod tests;
mod value;

use std::collections::VecDeque;
use std::mem;
use std::ops::Range;

use arrow::array::Int64Array;
use bytes::Bytes;

pub(crate) use infer::{has_records, infer};

use crate::batch::{batch_bytes_max, internal};
use crate::error::{Error, ErrorKind, Result};
use crate::member::json::columns::Columns;
use crate::member::json::cut::DocumentCutter;
use crate::member::json::documents::{Event, Splitter};
use crate::member::json::rows::Rows;
use crate::member::{Before, Cutter, RecordDecoder, RecordOptions, Records};
use crate::policy::OnBadRow;
use crate::report::BadRows;

/// A document is held whole, and once more while it is decoded; one that is longer than this is refused.
const DOCUMENT_BYTES_MAX: usize = 64 << 20;

/// How often documents are held while they become a batch: as the decoder's texts and marks, and as values.
const DECODED_COPIES: usize = 3;

/// A line of which no end has come within so many bytes is not kept for its columns.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Documents that are complete, one behind the other.
#[derive(Debug, Default)]
struct Documents {
    /// Behind the last end there may be the beginning of one that is not complete.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// The number of each within its member.
    numbers: Vec<i64>,
}

impl Documents {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn complete_bytes(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn partial(&self) -> &[u8] {
        &self.bytes[self.complete_bytes()..]
    }

    fn complete(&self) -> &[u8] {
        &self.bytes[..self.complete_bytes()]
    }

    fn document(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[at]]
    }

    fn range(&self) -> Range<usize> {
        0..self.len()
    }

    fn push(&mut self, number: i64, document: &[u8]) {
        self.bytes.extend_from_slice(document);
        self.complete_partial(number);
    }

    fn complete_partial(&mut self, number: i64) {
        self.ends.push(self.bytes.len());
        self.numbers.push(number);
    }

    fn drop_partial(&mut self) {
        self.bytes.truncate(self.complete_bytes());
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.numbers.clear();
    }
}

/// Turns JSON into rows.
pub(crate) struct JsonDecoder {
    options: RecordOptions,
    splitter: Splitter,
    documents: Documents,
    batch_bytes_max: usize,
    rows: Rows,
    /// Takes lines, where all columns have common types.
    columns: Option<Columns>,
    /// The beginning of a line for them.
    line: Vec<u8>,
    /// They refused a line; the documents behind it are collected until they fill a batch.
    refused: bool,
    /// Records so far, bad ones and those in front of the stretch too.
    number: i64,
    /// Bytes taken so far, and those in front of the stretch.
    taken: u64,
    ready: VecDeque<Records>,
}

impl JsonDecoder {
    /// # Errors
    /// A column whose type can't be read from JSON.
    pub(crate) fn new(options: RecordOptions) -> Result<Self> {
        let rows = Rows::new(&options)?;
        rows.check_types()?;
        Ok(Self::of(rows, options))
    }

    fn of(rows: Rows, options: RecordOptions) -> Self {
        Self {
            columns: Columns::new(rows.schema()),
            rows,
            batch_bytes_max: batch_bytes_max(&options.allowance),
            options,
            splitter: Splitter::new(),
            documents: Documents::default(),
            line: Vec::new(),
            refused: false,
            number: 0,
            taken: 0,
            ready: VecDeque::new(),
        }
    }

    /// Whether lines may go into columns: nothing that was collected is in front of them.
    fn prefers_lines(&self) -> bool {
        self.columns.is_some() && !self.refused && self.documents.bytes.is_empty()
    }

    /// Takes the line in front of `rest`, or what there is of it. Says how many bytes are done with.
    fn take_line(&mut self, rest: &[u8]) -> Result<usize> {
        let Some(end) = memchr::memchr(b'\n', rest) else {
            if self.line.len() + rest.len() > LINE_BYTES_MAX {
                self.refuse_line()?;
                return Ok(0);
            }
            self.line.extend_from_slice(rest);
            return Ok(rest.len());
        };
        if self.line.is_empty() {
            if self.append_line(&rest[..end])? {
                return Ok(end + 1);
            }
            self.refuse_line()?;
            return Ok(0);
        }
        self.line.extend_from_slice(&rest[..end]);
        Ok(if self.take_kept_line()? { end + 1 } else { end })
    }

    /// The line that was kept is complete; says whether it was appended.
    fn take_kept_line(&mut self) -> Result<bool> {
        let mut line = mem::take(&mut self.line);
        let appended = self.append_line(&line)?;
        if appended {
            line.clear();
        }
        self.line = line;
        if !appended {
            self.refuse_line()?;
        }
        Ok(appended)
    }

    /// Appends what is a document, or no more than white space.
    fn append_line(&mut self, line: &[u8]) -> Result<bool> {
        let Some(columns) = &mut self.columns else { return Ok(false) };
        let is_fresh = self.splitter.is_fresh();
        // What tells nothing of the layout is not for us to judge.
        if is_fresh && line.trim_ascii() == b"{}" || !columns.take(line) {
            return Ok(!is_fresh && line.iter().all(|byte| b" \t\r".contains(byte)));
        }
        if is_fresh {
            self.splitter = Splitter::behind_cut();
        }
        self.number += 1;
        if columns.rows() >= self.options.batch_size.max(1) || columns.bytes() >= self.batch_bytes_max {
            self.emit_columns()?;
        }
        Ok(true)
    }

    /// Leaves the line, and those that follow, to [`Rows`].
    fn refuse_line(&mut self) -> Result<()> {
        self.emit_columns()?;
        self.refused = true;
        let line = mem::take(&mut self.line);
        let mut rest = line.as_slice();
        while !rest.is_empty() {
            rest = &rest[self.collect(rest)?..];
        }
        Ok(())
    }

    fn emit_columns(&mut self) -> Result<()> {
        let Some(columns) = self.columns.as_mut().filter(|columns| columns.rows() > 0) else { return Ok(()) };
        let first = self.number + 1 - i64::try_from(columns.rows()).unwrap_or(i64::MAX);
        let batch = columns.finish().map_err(internal)?;
        self.ready.push_back(Records { batch, row_numbers: Int64Array::from_iter_values(first..=self.number) });
        Ok(())
    }

    /// Goes on with `piece` to the end of a document. Says how many bytes are done with.
    fn collect(&mut self, mut piece: &[u8]) -> Result<usize> {
        if self.prefers_lines() && self.splitter.is_in_lines() {
            // Behind this line the columns take over.
            piece = memchr::memchr(b'\n', piece).map_or(piece, |end| &piece[..=end]);
        }
        let (used, event) = self.splitter.split(piece, &mut self.documents.bytes);
        let bytes = self.documents.partial().len();
        if bytes > DOCUMENT_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::Limit,
                format!("record {}: the document has more than {DOCUMENT_BYTES_MAX} bytes", self.number + 1),
            ));
        }
        self.event(event)?;
        Ok(used)
    }

    fn event(&mut self, event: Event) -> Result<()> {
        match event {
            Event::More => return Ok(()),
            Event::Document if self.documents.partial().starts_with(b"{") => {
                self.number += 1;
                self.documents.complete_partial(self.number);
            }
            Event::Document => self.bad_record("the document is no object")?,
            Event::Flaw(what) => self.bad_record(what)?,
        }
        let full = self.documents.len() >= self.options.batch_size.max(1);
        if full || self.documents.complete_bytes() >= self.batch_bytes_max { self.emit() } else { Ok(()) }
    }

    fn bad_record(&mut self, what: &str) -> Result<()> {
        self.number += 1;
        self.documents.drop_partial();
        match self.options.on_bad_row {
            OnBadRow::Fail => {
                // What is in front of it is still good, or bad by itself and then to be reported first.
                self.emit()?;
                Err(bad_record(self.number, what))
            }
            OnBadRow::Skip | OnBadRow::Null => {
                self.options.bad_rows.add(|| problem_of(self.number, what));
                Ok(())
            }
        }
    }

    /// Makes a batch of what was collected.
    fn emit(&mut self) -> Result<()> {
        if self.documents.len() > 0 {
            let result = self.rows.decode(&self.documents, &mut self.ready);
            self.documents.clear();
            self.refused = false;
            return result;
        }
        Ok(())
    }
}

impl RecordDecoder for JsonDecoder {
    fn decode(&mut self, piece: Bytes) -> Result<()> {
        self.taken += piece.len() as u64;
        let mut rest = piece.as_ref();
        while !rest.is_empty() {
            let at_line = self.splitter.is_at_line() || self.splitter.is_fresh();
            let used = if at_line && self.prefers_lines() { self.take_line(rest)? } else { self.collect(rest)? };
            rest = &rest[used..];
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        if !self.line.is_empty() {
            self.take_kept_line()?;
        }
        self.emit_columns()?;
        self.event(self.splitter.finish())?;
        self.emit()
    }

    fn abandon(&mut self) -> Result<()> {
        if !self.line.is_empty() {
            // A document that is complete doesn't need the end of its line.
            self.take_kept_line()?;
        }
        self.emit_columns()?;
        self.documents.drop_partial();
        self.emit()
    }

    fn next_records(&mut self) -> Option<Records> {
        self.ready.pop_front()
    }

    fn bytes_wanted(&self, piece_bytes: usize) -> usize {
        let (held, room) = (self.documents.bytes.len() + piece_bytes, self.documents.bytes.capacity());
        let moved = if held > room { (2 * room).max(held) } else { 0 };
        let columns = self.columns.as_ref().map_or(0, Columns::held_bytes);
        room + moved + self.line.capacity() + columns + DECODED_COPIES * (held + self.line.len())
    }

    fn what_grows(&self) -> &'static str {
        "a document of the member"
    }

    fn cutter(&self) -> Option<Box<dyn Cutter>> {
        Some(Box::new(DocumentCutter::new()))
    }

    fn fork(&self, before: Before, bad_rows: BadRows) -> Option<Box<dyn RecordDecoder>> {
        // Until then nothing can have been cut.
        self.splitter.is_in_lines().then_some(())?;
        let options = RecordOptions { bad_rows, ..self.options.clone() };
        let fork = Self::of(Rows::new(&options).ok()?, options);
        let splitter = Splitter::behind_cut();
        Some(Box::new(Self { splitter, number: before.records, taken: before.bytes, ..fork }))
    }

    fn read_so_far(&self) -> Before {
        Before { records: self.number, bytes: self.taken }
    }
}

/// The error that a record is, where it can't be anything else.
fn bad_record(number: impl std::fmt::Display, what: &str) -> Error {
    Error::new(ErrorKind::Record, problem_of(number, what))
}

fn problem_of(number: impl std::fmt::Display, what: &str) -> String {
    format!("record {number}: {what}")
}
