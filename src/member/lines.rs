//! `format = 'lines'`: a row is a line of a member.
//!
//! Lines end with `\n` or `\r\n`; the last one needs no end. An empty member has no line.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringViewBuilder};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use crate::batch::{batch_bytes_max, block_bytes, held_bytes, internal};
use crate::error::{Error, ErrorKind, Result};
use crate::member::{Before, Cutter, RecordDecoder, RecordOptions, Records, utf8};
use crate::report::BadRows;

/// A line is held whole; one that is longer than this is refused.
const LINE_BYTES_MAX: usize = 256 << 20;

/// Splits content into lines. The batches have one column, the line, or none where it isn't asked for.
pub(crate) struct LinesDecoder {
    options: RecordOptions,
    schema: SchemaRef,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    lines: StringViewBuilder,
    block_bytes: usize,
    batch_bytes_max: usize,
    bytes: usize,
    rows: usize,
    /// Lines given out in batches so far, and those in front of the stretch.
    emitted: i64,
    /// Bytes taken so far, and those in front of the stretch.
    taken: u64,
    ready: VecDeque<Records>,
}

impl LinesDecoder {
    /// `options.schema` has the one text column.
    pub(crate) fn new(options: RecordOptions) -> Result<Self> {
        let schema = Arc::new(options.schema.project(&options.projection).map_err(internal)?);
        let batch_bytes_max = batch_bytes_max(&options.allowance);
        let block_bytes = block_bytes(batch_bytes_max / 4);
        let blocks_of = u32::try_from(block_bytes).unwrap_or(u32::MAX);
        Ok(Self {
            options,
            schema,
            partial: Vec::new(),
            lines: StringViewBuilder::new().with_fixed_block_size(blocks_of),
            block_bytes,
            batch_bytes_max,
            bytes: 0,
            rows: 0,
            emitted: 0,
            taken: 0,
            ready: VecDeque::new(),
        })
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !self.options.projection.is_empty() {
            let number = self.emitted + i64::try_from(self.rows).unwrap_or(i64::MAX) + 1;
            let text = utf8::decode(line, self.options.on_invalid_utf8)
                .map_err(|error| Error::new(ErrorKind::Record, format!("line {number}: {}", error.message())))?;
            self.bytes += line.len();
            self.lines.append_option(text);
        }
        self.rows += 1;
        if self.rows >= self.options.batch_size || self.bytes >= self.batch_bytes_max {
            self.emit()?;
        }
        Ok(())
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
        self.ready.push_back(Records { batch, row_numbers });
        (self.emitted, self.rows, self.bytes) = (next, 0, 0);
        Ok(())
    }
}

impl RecordDecoder for LinesDecoder {
    fn decode(&mut self, piece: Bytes) -> Result<()> {
        self.taken += piece.len() as u64;
        let mut rest = piece.as_ref();
        while let Some(end) = memchr::memchr(b'\n', rest) {
            if self.partial.is_empty() {
                self.line(&rest[..end])?;
            } else {
                let mut line = std::mem::take(&mut self.partial);
                line.extend_from_slice(&rest[..end]);
                self.line(&line)?;
            }
            rest = &rest[end + 1..];
        }
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
            self.line(&line)?;
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
        room + moved + held + held_bytes(self.rows, self.bytes, self.block_bytes) + piece_bytes
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

/// Cuts behind every `\n`.
struct LineCutter;

impl Cutter for LineCutter {
    fn cut(&mut self, piece: &[u8]) -> Option<usize> {
        memchr::memrchr(b'\n', piece).map(|end| end + 1)
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::member::MissingColumn;
    use crate::member::tests::{End, check_cuts, in_one_go};
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
        let contents: [&[u8]; 6] = [
            b"",
            b"\n",
            b"a\r\nbb\n\n\r\na line of more than twelve bytes\nthe last one has no end",
            b"a line of more than twelve bytes\r",
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
        let error = outcome(contents[4]).error.unwrap();
        assert!(error.starts_with("line 1: byte 3 is not UTF-8 (0xe9)"), "{error}");
    }
}
