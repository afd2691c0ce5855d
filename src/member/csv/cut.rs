//! Finds where CSV records end without splitting them into fields.
//!
//! Where values may not have newlines every newline ends a record, whatever is quoted: [`Splitter`](super::split) says
//! so. Where they may, quotes have to be followed from the beginning, exactly as `csv-core` does: one opens a value
//! only where a field begins, and is a character like any other in the midst of one, or in a comment.

use memchr::{memchr, memchr2, memrchr2};

use super::CsvOptions;
use super::split::MARK;
use crate::member::Cutter;

/// The cutter of one member.
#[derive(Debug)]
pub(super) struct CsvCutter {
    delimiter: u8,
    quote: u8,
    comment: Option<u8>,
    newlines_in_values: bool,
    place: Place,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// The very start of the text, with so many bytes of a byte order mark seen.
    Mark(usize),
    /// It begins a record, unless it is another newline.
    Record,
    /// It begins a field that is not the first.
    Field,
    /// A field in which quotes mean nothing.
    Unquoted,
    Comment,
    Quoted,
    /// Behind a quote inside quotes, which closes them unless it is the first of two.
    Closing,
}

impl CsvCutter {
    /// The cutter for a member with these options, if there can be one.
    pub(super) fn new(csv: &CsvOptions) -> Option<Self> {
        // Following escapes, too, would be worth it only if such files were common.
        let is_simple = csv.escape.is_none() || !csv.newlines_in_values;
        is_simple.then_some(Self {
            delimiter: csv.delimiter,
            quote: csv.quote,
            comment: csv.comment,
            newlines_in_values: csv.newlines_in_values,
            place: Place::Mark(0),
        })
    }

    /// Follows text without quotes, of which `first` is the first byte. Gives the bytes before the last record in it.
    fn follow(&mut self, text: &[u8]) -> Option<usize> {
        let cut = memrchr2(b'\r', b'\n', text).map(|newline| newline + 1);
        let rest = &text[cut.unwrap_or(0)..];
        self.place = match (rest.first(), rest.last()) {
            (None, _) | (_, None) => Place::Record,
            (first, _) if cut.is_some() && self.comment == first.copied() => Place::Comment,
            (_, Some(last)) if *last == self.delimiter => Place::Field,
            _ => Place::Unquoted,
        };
        cut
    }
}

impl Cutter for CsvCutter {
    fn cut(&mut self, piece: &[u8]) -> Option<usize> {
        if !self.newlines_in_values {
            return memrchr2(b'\r', b'\n', piece).map(|newline| newline + 1);
        }
        let (mut at, mut cut) = (0, None);
        while let Some(&byte) = piece.get(at) {
            match self.place {
                Place::Mark(seen) if byte == MARK[seen] => {
                    at += 1;
                    self.place = if seen + 1 == MARK.len() { Place::Record } else { Place::Mark(seen + 1) };
                }
                Place::Mark(0) => self.place = Place::Record,
                Place::Mark(_) => self.place = Place::Unquoted,
                Place::Record if self.comment == Some(byte) => self.place = Place::Comment,
                Place::Comment => {
                    let Some(newline) = memchr2(b'\r', b'\n', &piece[at..]) else { return cut };
                    at += newline + 1;
                    cut = Some(at);
                    self.place = Place::Record;
                }
                Place::Quoted => {
                    let Some(quote) = memchr(self.quote, &piece[at..]) else { return cut };
                    at += quote + 1;
                    self.place = Place::Closing;
                }
                Place::Record | Place::Field | Place::Closing if byte == self.quote => {
                    at += 1;
                    self.place = Place::Quoted;
                }
                Place::Unquoted if byte == self.quote => at += 1,
                Place::Record | Place::Field | Place::Closing | Place::Unquoted => {
                    let length = memchr(self.quote, &piece[at..]).unwrap_or(piece.len() - at);
                    if let Some(behind) = self.follow(&piece[at..at + length]) {
                        cut = Some(at + behind);
                    }
                    at += length;
                }
            }
        }
        cut
    }
}
