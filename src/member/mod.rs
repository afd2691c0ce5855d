//! Content becomes rows: one decoder per record format, all behind one small trait.

pub(crate) mod avro;
mod column;
pub(crate) mod content;
pub(crate) mod csv;
pub(crate) mod json;
pub(crate) mod lines;
mod room;
pub(crate) mod rows;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod unite;
pub(crate) mod utf8;

use std::str::FromStr;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};
use crate::memory::Allowance;
use crate::policy::{OnBadRow, OnInvalidUtf8};
use crate::report::BadRows;

/// What a row is: the values of the option `format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum MemberFormat {
    /// A row is a member, with `content`.
    #[default]
    Members,
    /// A row is a file member, with its `text`.
    Text,
    /// A row is a line of a file member.
    Lines,
    /// A row is a CSV record.
    Csv,
    /// A row is a record of tab-separated values.
    Tsv,
    /// A row is a JSON document.
    Json,
    /// A row is an Avro record.
    Avro,
}

impl MemberFormat {
    /// All formats there are.
    pub const ALL: [Self; 7] = [Self::Members, Self::Text, Self::Lines, Self::Csv, Self::Tsv, Self::Json, Self::Avro];

    /// Formats that have a name but can't be read yet.
    const NOT_YET: [&'static str; 3] = ["parquet", "arrow", "webdataset"];

    /// The value as SQL spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Text => "text",
            Self::Lines => "lines",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Json => "json",
            Self::Avro => "avro",
        }
    }

    /// True where a row is a record of a member, and the columns are the records'.
    pub const fn is_record(self) -> bool {
        matches!(self, Self::Csv | Self::Tsv | Self::Json | Self::Avro)
    }
}

impl FromStr for MemberFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let name = text.to_ascii_lowercase();
        if let Some(format) = Self::ALL.into_iter().find(|format| format.as_str() == name) {
            return Ok(format);
        }
        let known = Self::ALL.map(|format| format!("'{}'", format.as_str())).join(", ");
        if Self::NOT_YET.contains(&name.as_str()) {
            return Err(Error::new(
                ErrorKind::NotYet,
                format!("format '{name}' can't be read yet: it is one of {known}"),
            ));
        }
        Err(Error::new(ErrorKind::Option, format!("option 'format' can't be '{text}': it is one of {known}")))
    }
}

/// What a column that a member lacks is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MissingColumn {
    /// An error: somebody declared it.
    Fail,
    /// NULL: it was inferred, and other archives have it.
    Null,
}

/// What a record decoder is told, whatever its format.
#[derive(Debug, Clone)]
pub(crate) struct RecordOptions {
    /// The declared or inferred columns of the table, without provenance.
    pub(crate) schema: SchemaRef,
    /// Which of them are asked for, in the order in which the batches hold them. May be empty: then only rows count.
    pub(crate) projection: Vec<usize>,
    /// What a column is that the header of a member does not name.
    pub(crate) missing_column: MissingColumn,
    /// Rows a batch holds at most.
    pub(crate) batch_size: usize,
    /// What a record that does not fit does.
    pub(crate) on_bad_row: OnBadRow,
    /// What bytes that are not UTF-8 do in string fields.
    pub(crate) on_invalid_utf8: OnInvalidUtf8,
    /// Bounds what the decoder gathers.
    pub(crate) allowance: Allowance,
    /// Bad rows are counted and noted here.
    pub(crate) bad_rows: BadRows,
}

/// Some records of one member.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    /// The projected columns.
    pub(crate) batch: RecordBatch,
    /// The number of each record within its member: from 1, bad records counted, headers not.
    pub(crate) row_numbers: Int64Array,
}

impl Records {
    /// The first `rows`, and the others if there are any.
    pub(crate) fn split_at(self, rows: usize) -> (Self, Option<Self>) {
        let left = self.batch.num_rows() - rows;
        if left == 0 {
            return (self, None);
        }
        let slice =
            |from, rows| Self { batch: self.batch.slice(from, rows), row_numbers: self.row_numbers.slice(from, rows) };
        (slice(0, rows), Some(slice(rows, left)))
    }
}

/// Turns the content of one member, fed piece by piece, into batches.
///
/// The caller feeds pieces of at most a few hundred KiB and drains `next_records` after each: nothing else bounds what
/// the decoder holds. A decoder serves one member; every member gets a fresh one.
pub(crate) trait RecordDecoder: Send {
    /// Takes the next piece of the member's content. Splitting the content differently never changes the records.
    ///
    /// # Errors
    /// A record or container that does not fit, where the policy says `fail`; the message has the record's number.
    fn decode(&mut self, piece: Bytes) -> Result<()>;

    /// Says that the content is complete, so that the last record, cut or not, is known to be the last.
    ///
    /// # Errors
    /// As [`RecordDecoder::decode`]; also where the content ends inside a container or document.
    fn finish(&mut self) -> Result<()>;

    /// Says that the content is damaged from here on: complete records come out, a record that was cut does not.
    ///
    /// # Errors
    /// As [`RecordDecoder::decode`], for the complete records.
    fn abandon(&mut self) -> Result<()>;

    /// Takes the next finished batch, if there is one. Before `finish`, only full batches need to come out.
    fn next_records(&mut self) -> Option<Records>;

    /// What kept `next_records` from giving the next batch, if anything did. Asked for where it gives none.
    fn failure(&mut self) -> Option<Error> {
        None
    }

    /// Bytes that it holds, and may hold at most while it takes a piece of `piece_bytes` or finishes.
    fn bytes_wanted(&self, piece_bytes: usize) -> usize;

    /// What of the content makes it hold much, as an error says it.
    fn what_grows(&self) -> &'static str {
        "a record of the member"
    }

    /// Finds where records end in the content of a member that is read from its beginning; `None` where the content has
    /// to be decoded in one go. Asked of a fresh decoder.
    fn cutter(&self) -> Option<Box<dyn Cutter>> {
        None
    }

    /// A decoder for a stretch of the same member that begins behind what came before, which ended at a cut. It knows
    /// what this one has read in the member's header; `None` as long as this one hasn't. Bad rows are told to `bad_rows`.
    fn fork(&self, before: Before, bad_rows: BadRows) -> Option<Box<dyn RecordDecoder>> {
        let _ = (before, bad_rows);
        None
    }

    /// What it has read, its own `before` included. Asked for where all that was given ended at a cut.
    fn read_so_far(&self) -> Before {
        Before::default()
    }
}

/// What of a member comes before a stretch of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Before {
    /// Records, bad ones counted, headers not.
    pub(crate) records: i64,
    /// Bytes of the decompressed content.
    pub(crate) bytes: u64,
}

/// Cuts the content of a member, fed piece by piece, between records: what lies between two cuts can be decoded apart.
///
/// It is cheap beside decoding, since all content goes through one of it. A cut that it names is one for every decoder
/// of the format, whatever the bytes are: where it can't be sure, it names none.
pub(crate) trait Cutter: Send {
    /// Looks at the next piece. Says how many bytes of it come before the last cut in it, if there is one.
    fn cut(&mut self, piece: &[u8]) -> Option<usize>;
}
