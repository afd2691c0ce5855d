//! `format = 'json'`: a row is a JSON object.
//!
//! The objects stand one on a line, one behind the other, or in lists ([`documents`] tells how). Columns are matched by
//! the exact name of the key; a key that is missing is NULL, one that is no column is ignored, and of one that comes twice
//! the last counts. Where a column is text, numbers, `true` and `false` come as they are written, and objects and lists as
//! their JSON. The whole document has to be UTF-8, or is mended as `on_invalid_utf8` says.
//!
//! Documents are collected until they fill a batch, which arrow-json then decodes in one go. Only if that fails are they
//! looked at more closely ([`rows`]).

mod documents;
mod infer;
mod integers;
mod rewrite;
mod rows;
#[cfg(test)]
mod tests;
mod value;

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

pub(crate) use infer::{has_records, infer};

use crate::batch::batch_bytes_max;
use crate::error::{Error, ErrorKind, Result};
use crate::member::json::documents::{Event, Splitter};
use crate::member::json::rows::Rows;
use crate::member::{RecordDecoder, RecordOptions, Records};
use crate::policy::OnBadRow;

/// A document is held whole, and once more while it is decoded; one that is longer than this is refused.
const DOCUMENT_BYTES_MAX: usize = 64 << 20;

/// How often documents are held while they become a batch: as the decoder's texts and marks, and as values.
const DECODED_COPIES: usize = 3;

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
    /// Records so far, bad ones too.
    number: i64,
    ready: VecDeque<Records>,
}

impl JsonDecoder {
    /// # Errors
    /// A column whose type can't be read from JSON.
    pub(crate) fn new(options: RecordOptions) -> Result<Self> {
        let batch_bytes_max = batch_bytes_max(&options.allowance);
        Ok(Self {
            rows: Rows::new(&options)?,
            options,
            splitter: Splitter::new(),
            documents: Documents::default(),
            batch_bytes_max,
            number: 0,
            ready: VecDeque::new(),
        })
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

    fn emit(&mut self) -> Result<()> {
        if self.documents.len() > 0 {
            let result = self.rows.decode(&self.documents, &mut self.ready);
            self.documents.clear();
            return result;
        }
        Ok(())
    }
}

impl RecordDecoder for JsonDecoder {
    fn decode(&mut self, piece: Bytes) -> Result<()> {
        let mut piece = piece.as_ref();
        while !piece.is_empty() {
            let (used, event) = self.splitter.split(piece, &mut self.documents.bytes);
            piece = &piece[used..];
            let bytes = self.documents.partial().len();
            if bytes > DOCUMENT_BYTES_MAX {
                return Err(Error::new(
                    ErrorKind::Limit,
                    format!("record {}: the document has more than {DOCUMENT_BYTES_MAX} bytes", self.number + 1),
                ));
            }
            self.event(event)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.event(self.splitter.finish())?;
        self.emit()
    }

    fn abandon(&mut self) -> Result<()> {
        self.documents.drop_partial();
        self.emit()
    }

    fn next_records(&mut self) -> Option<Records> {
        self.ready.pop_front()
    }

    fn bytes_wanted(&self, piece_bytes: usize) -> usize {
        let (held, room) = (self.documents.bytes.len() + piece_bytes, self.documents.bytes.capacity());
        let moved = if held > room { (2 * room).max(held) } else { 0 };
        room + moved + DECODED_COPIES * held
    }

    fn what_grows(&self) -> &'static str {
        "a document of the member"
    }
}

/// The error that a record is, where it can't be anything else.
fn bad_record(number: impl std::fmt::Display, what: &str) -> Error {
    Error::new(ErrorKind::Record, problem_of(number, what))
}

fn problem_of(number: impl std::fmt::Display, what: &str) -> String {
    format!("record {number}: {what}")
}
