//! Content becomes rows: one decoder per record format, all behind one small trait.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::policy::{OnBadRow, OnInvalidUtf8};
use crate::stats::Stats;

/// What a record decoder is told, whatever its format.
#[derive(Debug, Clone)]
pub(crate) struct RecordOptions {
    /// The declared or inferred columns of the table, without provenance.
    pub(crate) schema: SchemaRef,
    /// Which of them are asked for, in the order in which the batches hold them. May be empty: then only rows count.
    pub(crate) projection: Vec<usize>,
    /// Rows a batch holds at most.
    pub(crate) batch_size: usize,
    /// What a record that does not fit does.
    pub(crate) on_bad_row: OnBadRow,
    /// What bytes that are not UTF-8 do in string fields.
    pub(crate) on_invalid_utf8: OnInvalidUtf8,
    /// Bad rows are counted here.
    pub(crate) stats: Arc<Stats>,
}

/// Some records of one member.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    /// The projected columns.
    pub(crate) batch: RecordBatch,
    /// The number of each record within its member: from 1, bad records counted, headers not.
    pub(crate) row_numbers: Int64Array,
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
    fn decode(&mut self, piece: &[u8]) -> Result<()>;

    /// Says that the content is complete, so that the last record, cut or not, is known to be the last.
    ///
    /// # Errors
    /// As [`RecordDecoder::decode`]; also where the content ends inside a container or document.
    fn finish(&mut self) -> Result<()>;

    /// Takes the next finished batch, if there is one. Before `finish`, only full batches need to come out.
    fn next_records(&mut self) -> Option<Records>;
}
