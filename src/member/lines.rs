//! `format = 'lines'`: a row is a line of a member.
//!
//! Lines end with `\n` or `\r\n`; the last one needs no end. An empty member has no line. Lines are views into the pieces
//! of the content, but for those that two pieces share, and those of a batch that would use little of its pieces.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringViewBuilder};
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use crate::batch::{batch_bytes_max, compacted, held_bytes, internal};
use crate::error::{Error, ErrorKind, Result};
use crate::member::{Before, Cutter, RecordDecoder, RecordOptions, Records, utf8};
use crate::report::BadRows;

/// A line is held whole; one that is longer than this is refused.
const LINE_BYTES_MAX: usize = 256 << 20;

/// A view holds so many bytes itself.
const INLINE_BYTES_MAX: usize = 12;

/// What lines that are copied share: there is about one in each piece, and so one of these between two pieces.
const COPY_BLOCK_BYTES: u32 = 4 << 10;

/// Splits content into lines. The batches have one column, the line, or none where it isn't asked for.
pub(crate) struct LinesDecoder {
    options: RecordOptions,
    schema: SchemaRef,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    lines: StringViewBuilder,
    batch_bytes_max: usize,
    /// Bytes of lines that are views, and of those that were copied.
    viewed: usize,
    copied: usize,
    /// What the views look into, used or not.
    pinned: usize,
    rows: usize,
    /// Lines given out in batches so far, and those in front of the stretch.
    emitted: i64,
    /// Bytes taken so far, and those in front of the stretch.
    taken: u64,
    ready: VecDeque<Records>,
}

/// A piece that lines look into.
struct Piece {
    bytes: Bytes,
    /// Its number among the blocks of the batch under construction, and what of it comes before the block.
    block: Option<(u32, usize)>,
}

impl LinesDecoder {
    /// `options.schema` has the one text column.
    pub(crate) fn new(options: RecordOptions) -> Result<Self> {
        let schema = Arc::new(options.schema.project(&options.projection).map_err(internal)?);
        Ok(Self {
            batch_bytes_max: batch_bytes_max(&options.allowance),
            options,
            schema,
            partial: Vec::new(),
            lines: StringViewBuilder::new().with_fixed_block_size(COPY_BLOCK_BYTES),
            viewed: 0,
            copied: 0,
            pinned: 0,
            rows: 0,
            emitted: 0,
            taken: 0,
            ready: VecDeque::new(),
        })
    }

    fn view(&mut self, piece: &mut Piece, range: Range<usize>) -> Result<()> {
        let length = without_return(&piece.bytes[range.clone()]).len();
        let line = range.start..range.start + length;
        let is_whole = length <= INLINE_BYTES_MAX || self.options.projection.is_empty();
        let emitted = if !is_whole && self.append_view(piece, line.clone()) {
            self.viewed += length;
            self.added()?
        } else {
            self.line(&piece.bytes[line])?
        };
        if emitted {
            piece.block = None;
        }
        Ok(())
    }

    /// Appends a view of `line`; false where it isn't UTF-8.
    fn append_view(&mut self, piece: &mut Piece, line: Range<usize>) -> bool {
        let (block, start) = *piece.block.get_or_insert_with(|| {
            let bytes = piece.bytes.slice(line.start..);
            self.pinned += bytes.len();
            (self.lines.append_block(Buffer::from(bytes)), line.start)
        });
        let (Ok(offset), Ok(length)) = (u32::try_from(line.start - start), u32::try_from(line.len())) else {
            return false;
        };
        self.lines.try_append_view(block, offset, length).is_ok()
    }

    /// Appends `line` by itself; says whether that made a batch.
    fn line(&mut self, line: &[u8]) -> Result<bool> {
        if !self.options.projection.is_empty() {
            let number = self.emitted + i64::try_from(self.rows).unwrap_or(i64::MAX) + 1;
            let text = utf8::decode(line, self.options.on_invalid_utf8)
                .map_err(|error| Error::new(ErrorKind::Record, format!("line {number}: {}", error.message())))?;
            self.copied += line.len();
            self.lines.append_option(text);
        }
        self.added()
    }

    /// A line was added; says whether that made a batch.
    fn added(&mut self) -> Result<bool> {
        self.rows += 1;
        let is_full = self.rows >= self.options.batch_size || self.viewed + self.copied >= self.batch_bytes_max;
        // Long lines among short ones look into much and use little.
        let is_full = is_full || self.pinned >= 2 * self.batch_bytes_max;
        if is_full {
            self.emit()?;
        }
        Ok(is_full)
    }

    fn emit(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let columns: Vec<ArrayRef> =
            if self.schema.fields().is_empty() { vec![] } else { vec![Arc::new(self.lines.finish())] };
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(internal)?;
        let next = self.emitted + i64::try_from(self.rows).unwrap_or(i64::MAX);
        let row_numbers = Int64Array::from_iter_values(self.emitted + 1..=next);
        self.ready.push_back(Records { batch: compacted(batch)?, row_numbers });
        (self.emitted, self.rows) = (next, 0);
        (self.viewed, self.copied, self.pinned) = (0, 0, 0);
        Ok(())
    }
}

impl RecordDecoder for LinesDecoder {
    fn decode(&mut self, piece: Bytes) -> Result<()> {
        self.taken += piece.len() as u64;
        let mut start = 0;
        if !self.partial.is_empty()
            && let Some(end) = memchr::memchr(b'\n', &piece)
        {
            let mut line = std::mem::take(&mut self.partial);
            line.extend_from_slice(&piece[..end]);
            self.line(without_return(&line))?;
            start = end + 1;
        }
        if self.partial.is_empty() {
            let mut viewed = Piece { bytes: piece.clone(), block: None };
            let first = start;
            for end in memchr::memchr_iter(b'\n', &piece[first..]) {
                self.view(&mut viewed, start..first + end)?;
                start = first + end + 1;
            }
        }
        let rest = &piece[start..];
        if self.partial.len() + rest.len() > LINE_BYTES_MAX {
            let number = self.emitted + i64::try_from(self.rows).unwrap_or(i64::MAX) + 1;
            return Err(Error::new(
                ErrorKind::Limit,
                format!("line {number} is longer than {LINE_BYTES_MAX} bytes: read this member as 'text' or 'members'"),
            ));
        }
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        if !self.partial.is_empty() {
            let line = std::mem::take(&mut self.partial);
            self.line(without_return(&line))?;
        }
        self.emit()
    }

    fn abandon(&mut self) -> Result<()> {
        self.partial.clear();
        self.emit()
    }

    fn next_records(&mut self) -> Option<Records> {
        self.ready.pop_front()
    }

    fn bytes_wanted(&self, piece_bytes: usize) -> usize {
        let (held, room) = (self.partial.len() + piece_bytes, self.partial.capacity());
        // Its room doubles, and while it moves both are there; the whole line is copied once.
        let moved = if held > room { (2 * room).max(held) } else { 0 };
        // Where little is used of what is held, that is copied when it becomes a batch.
        let lines = self.pinned + self.copied;
        room + moved + held + held_bytes(self.rows, lines, lines / 2) + piece_bytes
    }

    fn what_grows(&self) -> &'static str {
        "a line of the member"
    }

    fn cutter(&self) -> Option<Box<dyn Cutter>> {
        Some(Box::new(LineCutter))
    }

    fn fork(&self, before: Before, bad_rows: BadRows) -> Option<Box<dyn RecordDecoder>> {
        let fork = Self::new(RecordOptions { bad_rows, ..self.options.clone() }).ok()?;
        Some(Box::new(Self { emitted: before.records, taken: before.bytes, ..fork }))
    }

    fn read_so_far(&self) -> Before {
        Before { records: self.emitted + i64::try_from(self.rows).unwrap_or(i64::MAX), bytes: self.taken }
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Cuts behind every `\n`.
struct LineCutter;

impl Cutter for LineCutter {
    fn cut(&mut self, piece: &[u8]) -> Option<usize> {
        memchr::memrchr(b'\n', piece).map(|end| end + 1)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::member::MissingColumn;
    use crate::member::tests::{Dice, End, check_cuts, in_one_go, shown};
    use crate::memory::Allowance;
    use crate::policy::{OnBadRow, OnInvalidUtf8};

    fn decoder(batch_size: usize, on_invalid_utf8: OnInvalidUtf8, bad_rows: BadRows) -> Box<dyn RecordDecoder> {
        let options = RecordOptions {
            schema: Arc::new(Schema::new(vec![Field::new("line", DataType::Utf8View, true)])),
            projection: vec![0],
            missing_column: MissingColumn::Fail,
            batch_size,
            on_bad_row: OnBadRow::Fail,
            on_invalid_utf8,
            bad_rows,
            allowance: Allowance::unlimited(),
        };
        Box::new(LinesDecoder::new(options).unwrap())
    }

    #[test]
    fn lines_are_the_same_in_one_go_and_cut_anywhere() {
        let contents: [&[u8]; 7] = [
            b"",
            b"\n",
            b"a\r\nbb\n\n\r\na line of more than twelve bytes\nthe last one has no end",
            b"a line of more than twelve bytes\r",
            b"short\r\r\na line of more than twelve bytes\r\r\nand another long one, after which short ones come\nx\ny\n",
            b"caf\xe9 au lait, encore\nx\n\xff\n",
            b"one\ntwo\nthree\nfour\nfive\nsix\n",
        ];
        for content in contents {
            for on_invalid_utf8 in [OnInvalidUtf8::Fail, OnInvalidUtf8::Replace, OnInvalidUtf8::Null] {
                for batch_size in [1, 2, 1024] {
                    let cuts = check_cuts(&|bad_rows| decoder(batch_size, on_invalid_utf8, bad_rows), content);
                    assert_eq!(cuts, content.iter().filter(|&&byte| byte == b'\n').count());
                }
            }
        }
        let outcome =
            |content: &[u8]| in_one_go(&|bad_rows| decoder(2, OnInvalidUtf8::Fail, bad_rows), content, End::Whole);
        assert_eq!(
            outcome(contents[2]).rows,
            ["1: a", "2: bb", "3: ", "4: ", "5: a line of more than twelve bytes", "6: the last one has no end"]
        );
        let error = outcome(contents[5]).error.unwrap();
        assert!(error.starts_with("line 1: byte 3 is not UTF-8 (0xe9)"), "{error}");
    }
    /// Lines of all lengths in pieces as the scan has them, against the plainest way to split.
    #[test]
    fn views_hold_what_the_pieces_hold() {
        let mut dice = Dice(11);
        let mut content = String::new();
        for number in 0..5000 {
            let length = [0, 1, 11, 12, 13, 60, 3000][dice.next(7)];
            content += &format!("{number} {}\n", "é".repeat(length / (1 + number % 3)));
        }
        let expected: Vec<_> = (1..).zip(content.lines()).map(|(number, line)| format!("{number}: {line}")).collect();
        for (piece_size, batch_size) in [(content.len(), 1000), (64 << 10, 8192), (10_000, 7)] {
            let mut decoder = decoder(batch_size, OnInvalidUtf8::Fail, BadRows::default());
            let mut rows = Vec::new();
            for piece in content.as_bytes().chunks(piece_size) {
                decoder.decode(Bytes::copy_from_slice(piece)).unwrap();
                while let Some(records) = decoder.next_records() {
                    let lines = records.batch.column(0).as_string_view();
                    let blocks: usize = lines.data_buffers().iter().map(Buffer::capacity).sum();
                    assert!(
                        blocks < 4096 || blocks <= 2 * lines.total_buffer_bytes_used() + 1,
                        "{blocks} bytes of blocks"
                    );
                    rows.extend(shown(&records, 0));
                }
            }
            decoder.finish().unwrap();
            while let Some(records) = decoder.next_records() {
                rows.extend(shown(&records, 0));
            }
            assert!(rows == expected, "pieces of {piece_size}, batches of {batch_size}");
        }
    }
}
