//! Cuts the text of a CSV member into records and fields, whatever pieces it comes in.
//!
//! A line without quotes that lies in one piece is cut where it lies, at its delimiters. Everything else (quotes,
//! lines that two pieces share) goes through `csv-core`, which remembers where it was and copies the unquoted fields
//! into a scratch. Both give the same fields: feeding single bytes takes only the second way, so tests compare them.
//!
//! Blank lines, comments and the byte order mark are dropped here, before `csv-core` sees them: it ends a comment only
//! at `\n`, so a member with `\r` line ends would vanish in its first comment, and it sees a mark only in one piece.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::CsvOptions;

/// Bytes that one record may have. A quote that nobody closes would otherwise collect the rest of the member.
pub(super) const RECORD_BYTES_MAX: usize = 64 << 20;

/// Fields that a header, or the first record of a member without one, may have.
pub(super) const FIELDS_MAX: usize = 1 << 20;

/// The UTF-8 byte order mark.
pub(super) const MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// The fields of one record, unquoted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    ends: &'a [usize],
    /// Bytes between the end of a field and the start of the next.
    gap: usize,
    count: usize,
}

impl<'a> Fields<'a> {
    /// So many fields, of which none is kept.
    pub(super) fn counted(count: usize) -> Self {
        Self { bytes: &[], ends: &[], gap: 0, count }
    }

    /// How many fields the record has, kept or not.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Field `index`, which is below both the count and the `fields_max` of the splitter.
    pub(super) fn get(&self, index: usize) -> &'a [u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] + self.gap };
        &self.bytes[start..self.ends[index]]
    }
}

/// What a stretch of the text turned out to be.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// A record.
    Record(Fields<'a>),
    /// A line that ends inside quotes, where values may not have newlines. The next record starts on the next line.
    QuotedNewline,
    /// The text ends inside quotes.
    Unterminated,
    /// The record has more than [`RECORD_BYTES_MAX`] bytes. What follows makes no sense any more.
    TooLong,
}

/// Where in the text the splitter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At its very start, with so many bytes of a byte order mark seen.
    Mark(usize),
    /// Between two records.
    Between,
    /// In a comment.
    Comment,
    /// In a record that `csv-core` has begun.
    Record,
}

/// The splitter of one member.
#[derive(Debug)]
pub(super) struct Splitter {
    delimiter: u8,
    quote: u8,
    comment: Option<u8>,
    newlines_in_values: bool,
    record_bytes_max: usize,
    fields_max: usize,
    place: Place,
    reader: Reader,
    /// Unquoted fields of the record under way, `used` bytes of them.
    scratch: Vec<u8>,
    used: usize,
    /// Where its fields end, as far as they are kept: `count` may be more.
    ends: Vec<usize>,
    count: usize,
    /// Bytes of the record under way, quotes and delimiters included.
    length: usize,
}

impl Splitter {
    /// A splitter that keeps the ends of the first [`FIELDS_MAX`] fields of each record.
    pub(super) fn new(csv: &CsvOptions) -> Self {
        let mut builder = ReaderBuilder::new();
        builder.delimiter(csv.delimiter).quote(csv.quote).escape(csv.escape);
        let mut splitter = Self {
            delimiter: csv.delimiter,
            quote: csv.quote,
            comment: csv.comment,
            newlines_in_values: csv.newlines_in_values,
            record_bytes_max: RECORD_BYTES_MAX,
            fields_max: FIELDS_MAX,
            place: Place::Mark(0),
            reader: builder.build(),
            scratch: vec![0; 4096],
            used: 0,
            ends: vec![0; 64],
            count: 0,
            length: 0,
        };
        splitter.restart();
        splitter
    }

    /// A splitter for text that begins between two records of a member.
    pub(super) fn between_records(csv: &CsvOptions) -> Self {
        Self { place: Place::Between, ..Self::new(csv) }
    }

    /// From now on only the first `fields` fields of a record are kept; the others are counted.
    pub(super) fn keep(&mut self, fields: usize) {
        self.fields_max = fields.clamp(1, FIELDS_MAX);
    }

    /// Whether the next byte begins a record, unless it begins a line that is none.
    pub(super) fn is_between_records(&self) -> bool {
        self.place == Place::Between
    }

    /// Bytes that a record may have.
    pub(super) fn record_bytes_max(&self) -> usize {
        self.record_bytes_max
    }

    /// Bytes that the record under way takes, and may take while its room doubles.
    pub(super) fn bytes_wanted(&self) -> usize {
        3 * self.scratch.len() + (self.ends.len() + self.count) * size_of::<usize>()
    }

    #[cfg(test)]
    pub(super) fn limit_record_bytes(&mut self, bytes: usize) {
        self.record_bytes_max = bytes;
    }

    /// Takes what comes next off the front of `input`. Nothing, when `input` is used up.
    pub(super) fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Option<Event<'a>> {
        if !self.reach_record(input) {
            return None;
        }
        let line_end = match (self.place, self.newlines_in_values) {
            (Place::Record, true) => None,
            _ => memchr::memchr2(b'\r', b'\n', input),
        };
        if self.place == Place::Between {
            if let Some(end) = line_end
                && memchr::memchr(self.quote, &input[..end]).is_none()
            {
                let line = &input[..end];
                *input = &input[end + 1..];
                return Some(self.plain(line));
            }
            self.begin();
        }
        let bounded = line_end.is_some() && !self.newlines_in_values;
        let slice = match line_end {
            Some(end) if bounded => &input[..=end],
            _ => input,
        };
        let (taken, whole) = self.feed(slice);
        *input = &input[taken..];
        if !whole && !bounded {
            return (self.length > self.record_bytes_max).then_some(Event::TooLong);
        }
        // The terminator is not part of the record.
        if self.length - 1 > self.record_bytes_max {
            return Some(Event::TooLong);
        }
        if whole {
            return Some(self.end());
        }
        self.restart();
        self.place = Place::Between;
        Some(Event::QuotedNewline)
    }

    /// Says that the text is complete. Gives the last record where no newline ends it.
    pub(super) fn finish(&mut self) -> Option<Event<'_>> {
        if let Place::Mark(seen @ 1..) = self.place {
            self.begin();
            self.feed(&MARK[..seen]);
        }
        if self.place != Place::Record {
            return None;
        }
        // A newline tells quotes that are open, where the end of input would not.
        let (_, whole) = self.feed(b"\n");
        if !whole {
            self.place = Place::Between;
            return Some(Event::Unterminated);
        }
        Some(self.end())
    }

    /// Drops what is no record from the front of `input`. False when `input` is used up by that.
    fn reach_record(&mut self, input: &mut &[u8]) -> bool {
        while let Some(&byte) = input.first() {
            match self.place {
                Place::Record => return true,
                Place::Mark(seen) if byte == MARK[seen] => {
                    *input = &input[1..];
                    self.place = if seen + 1 == MARK.len() { Place::Between } else { Place::Mark(seen + 1) };
                }
                Place::Mark(0) => self.place = Place::Between,
                Place::Mark(seen) => {
                    self.begin();
                    self.feed(&MARK[..seen]);
                }
                Place::Between if matches!(byte, b'\r' | b'\n') => *input = &input[1..],
                Place::Between if self.comment == Some(byte) => self.place = Place::Comment,
                Place::Between => return true,
                Place::Comment => match memchr::memchr2(b'\r', b'\n', input) {
                    None => *input = &[],
                    Some(end) => {
                        *input = &input[end..];
                        self.place = Place::Between;
                    }
                },
            }
        }
        false
    }

    /// The record that a line without quotes is.
    fn plain<'a>(&'a mut self, line: &'a [u8]) -> Event<'a> {
        if line.len() > self.record_bytes_max {
            return Event::TooLong;
        }
        self.count = 0;
        for end in memchr::memchr_iter(self.delimiter, line).chain([line.len()]) {
            if self.count < self.fields_max {
                self.reserve_ends();
                self.ends[self.count] = end;
            }
            self.count += 1;
        }
        let kept = self.count.min(self.fields_max);
        Event::Record(Fields { bytes: line, ends: &self.ends[..kept], gap: 1, count: self.count })
    }

    /// Makes the reader forget that it is inside quotes. A clone kept for that would not do: csv-core 0.1.13 leaves half
    /// of its table out of clones.
    fn restart(&mut self) {
        self.reader.reset();
        // A reader that has read something looks for no byte order mark: the only one is ours.
        self.reader.read_record(b"\n", &mut [0; 1], &mut [0; 1]);
    }

    fn begin(&mut self) {
        self.place = Place::Record;
        self.used = 0;
        self.count = 0;
        self.length = 0;
    }

    fn end(&mut self) -> Event<'_> {
        self.place = Place::Between;
        let kept = self.count.min(self.fields_max);
        Event::Record(Fields { bytes: &self.scratch[..self.used], ends: &self.ends[..kept], gap: 0, count: self.count })
    }

    /// Feeds the record under way. Gives the bytes it took and whether the record is whole: else it took them all.
    fn feed(&mut self, slice: &[u8]) -> (usize, bool) {
        let mut taken = 0;
        // Where the ends of fields go that are only counted.
        let mut spare = [0; 64];
        // Never called with nothing left: that would mean the end of the text.
        while taken < slice.len() {
            if self.used == self.scratch.len() {
                self.scratch.resize(self.scratch.len() * 2, 0);
            }
            let ends = if self.count < self.fields_max {
                self.reserve_ends();
                let kept = self.ends.len().min(self.fields_max);
                &mut self.ends[self.count..kept]
            } else {
                &mut spare[..]
            };
            let (result, read, written, ended) =
                self.reader.read_record(&slice[taken..], &mut self.scratch[self.used..], ends);
            taken += read;
            self.length += read;
            self.used += written;
            self.count += ended;
            match result {
                ReadRecordResult::Record => return (taken, true),
                ReadRecordResult::InputEmpty | ReadRecordResult::End => break,
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {}
            }
        }
        (taken, false)
    }

    /// Makes room for the end of field `count`.
    fn reserve_ends(&mut self) {
        if self.count == self.ends.len() {
            self.ends.resize(self.ends.len() * 2, 0);
        }
    }
}
