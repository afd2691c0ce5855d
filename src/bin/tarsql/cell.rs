//! Columns in the shape that a text format can take: nested values as JSON, bytes as hex, nothing that moves a cursor.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, LargeStringBuilder, RecordBatch, RecordBatchOptions, StringArray, StructArray,
};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::writer::{EncoderOptions, NullableEncoder, make_encoder};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use tarsql::metrics::redact;

/// Bytes of a binary value that a table shows.
const TABLE_BINARY_BYTES_MAX: usize = 16;

type Result<T> = std::result::Result<T, ArrowError>;

/// For csv: nested columns become JSON text; everything else the csv writer can print, bytes as hex.
pub(crate) fn flat(batch: &RecordBatch) -> Result<RecordBatch> {
    with_columns(batch, |field, column| {
        if !column.data_type().is_nested() {
            return Ok(Arc::clone(column));
        }
        match make_encoder(field, column.as_ref(), &json_options()) {
            Ok(mut encoder) => json_text(&mut encoder, column.len()),
            Err(_) => text(column),
        }
    })
}

/// For json: columns that JSON has no encoding for (unions, maps whose keys are no strings) become text.
pub(crate) fn jsonable(batch: &RecordBatch) -> Result<StructArray> {
    let batch = with_columns(batch, |field, column| match make_encoder(field, column.as_ref(), &json_options()) {
        Ok(_) => Ok(Arc::clone(column)),
        Err(_) => text(column),
    })?;
    let fields = batch.schema().fields().clone();
    StructArray::try_new_with_length(fields, batch.columns().to_vec(), None, batch.num_rows())
}

/// How values become JSON: a NULL is written, so that every row has the same keys.
pub(crate) fn json_options() -> EncoderOptions {
    EncoderOptions::default().with_explicit_nulls(true)
}

/// For tables: text, with bytes cut short and control characters escaped, since an archive can contain anything and
/// would otherwise talk to the terminal. Line ends stay.
pub(crate) fn shown(batch: &RecordBatch, options: &FormatOptions<'_>) -> Result<RecordBatch> {
    with_columns(batch, |_, column| {
        let formatter = ArrayFormatter::try_new(column.as_ref(), options)?;
        let binary = column.data_type().is_binary();
        let mut text = String::new();
        let mut cells = LargeStringBuilder::new();
        for row in 0..column.len() {
            text.clear();
            formatter.value(row).write(&mut text)?;
            if binary && column.is_valid(row) {
                shorten_hex(&mut text);
            }
            cells.append_value(without_controls(&text));
        }
        Ok(Arc::new(cells.finish()))
    })
}

/// The schema that [`shown`] gives.
pub(crate) fn shown_schema(schema: &Schema) -> Schema {
    let field = |field: &FieldRef| Field::new(without_controls(field.name()), DataType::LargeUtf8, true);
    Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>())
}

/// The text with control characters other than line ends as `\u{1b}`, and those that turn the direction of writing, by
/// which a name could be read as another one; borrowed where there are none.
pub(crate) fn without_controls(text: &str) -> Cow<'_, str> {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let harmful = |c: char| (c.is_control() && c != '\n') || turns(c);
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match harmful(c) {
            true => escaped.extend(c.escape_default()),
            false => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// The rows with their secrets taken out of every text.
pub(crate) fn without_secrets(batch: &RecordBatch) -> Result<RecordBatch> {
    let schema = batch.schema();
    let columns = batch.columns().iter().map(|column| match column.as_string_opt::<i32>() {
        Some(texts) => Arc::new(StringArray::from_iter(texts.iter().map(|text| text.map(redact)))),
        None => Arc::clone(column),
    });
    let columns = columns.collect();
    RecordBatch::try_new(schema, columns)
}

fn with_columns(
    batch: &RecordBatch,
    convert: impl Fn(&FieldRef, &ArrayRef) -> Result<ArrayRef>,
) -> Result<RecordBatch> {
    let schema = batch.schema();
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let column = convert(field, column)?;
        fields.push(Field::new(field.name(), column.data_type().clone(), true));
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

fn json_text(encoder: &mut NullableEncoder<'_>, rows: usize) -> Result<ArrayRef> {
    let mut json = Vec::new();
    let mut cells = LargeStringBuilder::new();
    for row in 0..rows {
        if encoder.is_null(row) {
            cells.append_null();
            continue;
        }
        json.clear();
        encoder.encode(row, &mut json);
        cells.append_value(std::str::from_utf8(&json).map_err(|error| ArrowError::JsonError(error.to_string()))?);
    }
    Ok(Arc::new(cells.finish()))
}

fn text(column: &ArrayRef) -> Result<ArrayRef> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
    let mut cells = LargeStringBuilder::new();
    for row in 0..column.len() {
        match column.is_null(row) {
            true => cells.append_null(),
            false => cells.append_value(formatter.value(row).try_to_string()?),
        }
    }
    Ok(Arc::new(cells.finish()))
}

/// Keeps the first bytes of a value in hex, and says how many there are.
fn shorten_hex(hex: &mut String) {
    let bytes = hex.len() / 2;
    if bytes > TABLE_BINARY_BYTES_MAX {
        hex.truncate(TABLE_BINARY_BYTES_MAX * 2);
        // Writing to a String can't fail.
        let _ = write!(hex, "… ({bytes} bytes)");
    }
}
