//! Strings of a container that are not UTF-8, which Avro does not allow and arrow-avro refuses.
//!
//! On the wire `string` and `bytes` are the same. The schema is read as if the strings were bytes, and these become text as
//! `on_invalid_utf8` says. That is done for fields of the record itself; strings inside lists, maps and records stay
//! damage.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Schema};
use serde_json::Value;

use crate::batch::internal;
use crate::error::{Error, ErrorKind, Result};
use crate::member::utf8;
use crate::policy::OnInvalidUtf8;

/// The Avro schema `schema` with bytes for the strings of its fields; `None` if it has none.
pub(super) fn as_bytes(schema: &str) -> Option<String> {
    let mut schema: Value = serde_json::from_str(schema).ok()?;
    let mut found = false;
    for field in schema.get_mut("fields")?.as_array_mut()? {
        let mut replace = |data_type: &mut Value| {
            let logical = data_type.get("logicalType").is_some();
            let name = data_type.get("type").unwrap_or(data_type);
            if name.as_str() == Some("string") && !logical {
                *data_type = Value::from("bytes");
                found = true;
            }
        };
        match field.get_mut("type") {
            Some(Value::Array(branches)) => branches.iter_mut().for_each(replace),
            Some(data_type) => replace(data_type),
            None => {}
        }
    }
    found.then(|| schema.to_string())
}

/// The inverse of [`as_bytes`], for columns: text where `writer` has it. The first record is number `first`.
///
/// # Errors
/// A text that is not UTF-8, where `policy` says `fail`.
pub(super) fn from_bytes(
    batch: &RecordBatch,
    writer: &Schema,
    first: i64,
    policy: OnInvalidUtf8,
) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(writer.fields()).map(|(column, field)| -> Result<ArrayRef> {
        match (column.data_type(), field.data_type()) {
            (DataType::Binary, DataType::Utf8) => {
                let texts = (first..).zip(column.as_binary::<i32>()).map(|(number, bytes)| match bytes {
                    Some(bytes) => utf8::decode(bytes, policy).map_err(|error| {
                        let what = format!("record {number}, column '{}': {}", field.name(), error.message());
                        Error::new(ErrorKind::Record, what)
                    }),
                    None => Ok(None),
                });
                Ok(Arc::new(texts.collect::<Result<StringArray>>()?))
            }
            _ => Ok(Arc::clone(column)),
        }
    });
    // What is NULL now may not have been allowed to be.
    let fields = writer.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let count = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema, columns.collect::<Result<_>>()?, &count).map_err(internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_strings_of_the_record_itself_change() {
        let schema = r#"{"type":"record","name":"r","fields":[
            {"name":"string","type":"string"},{"name":"b","type":["null",{"type":"string","x":1}]},
            {"name":"u","type":{"type":"string","logicalType":"uuid"}},{"name":"l","type":{"type":"array","items":"string"}}]}"#;
        let expected = r#"{"fields":[{"name":"string","type":"bytes"},{"name":"b","type":["null","bytes"]},{"name":"u","type":{"logicalType":"uuid","type":"string"}},{"name":"l","type":{"items":"string","type":"array"}}],"name":"r","type":"record"}"#;
        let changed: Value = serde_json::from_str(&as_bytes(schema).unwrap()).unwrap();
        assert_eq!(changed, serde_json::from_str::<Value>(expected).unwrap());
        assert_eq!(as_bytes(r#"{"type":"record","name":"r","fields":[{"name":"a","type":"int"}]}"#), None);
        assert_eq!(as_bytes("1"), None);
    }
}
