//! Records of nothing but flat fields, which are read straight into columns.
//!
//! That is most of what is stored: numbers, texts and enums, each of which may be null. [`FlatRecords`] reads what is
//! certain to be what arrow-avro makes of it, to arrays of the very same types; everything else, damage too, is `None`,
//! and arrow-avro's to read.

use std::sync::Arc;

use arrow::array::{
    ArrayData, ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, DictionaryArray, Int32Array, RecordBatch,
    RecordBatchOptions, StringArray, make_array, new_null_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{ArrowNativeType, DataType, Int32Type, Schema, SchemaRef};
use serde_json::Value;

use crate::member::column::{append_text, valid_but};

/// Reads the needed fields of records.
#[derive(Debug)]
pub(super) struct FlatRecords {
    fields: Vec<FlatField>,
    /// Of the needed ones.
    schema: SchemaRef,
}

#[derive(Debug)]
struct FlatField {
    wire: Wire,
    /// In a union with null: the byte that says so.
    null: Option<u8>,
    is_needed: bool,
}

/// How a value is stored.
#[derive(Debug, Clone)]
enum Wire {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    /// Strings are stored like bytes.
    Bytes,
    Enum(Arc<StringArray>),
}

impl FlatRecords {
    /// For records of the Avro schema `schema`, which arrow-avro takes for `writer`; `None` if one of the fields is not
    /// flat, or is needed as a type that takes more than its bytes.
    pub(super) fn new(schema: &str, writer: &Schema, needed: &[usize]) -> Option<Self> {
        let schema: Value = serde_json::from_str(schema).ok()?;
        let fields = schema.get("fields")?.as_array().filter(|fields| fields.len() == writer.fields().len())?;
        let fields = fields.iter().enumerate().map(|(place, field)| {
            let (wire, null) = wire_of(field.get("type")?)?;
            let is_needed = needed.contains(&place);
            (!is_needed || wire.is_stored(writer.field(place).data_type())).then_some(FlatField {
                wire,
                null,
                is_needed,
            })
        });
        let fields = fields.collect::<Option<Vec<_>>>()?;
        // Otherwise records take no bytes, and nothing bounds how many there are.
        let takes_bytes = fields.iter().any(|field| field.null.is_some() || !matches!(field.wire, Wire::Null));
        let schema = Arc::new(writer.project(needed).ok()?);
        takes_bytes.then_some(Self { fields, schema })
    }

    /// The needed fields of the records that `bytes` are, if these are so many.
    pub(super) fn decode(&self, bytes: &[u8], records: usize) -> Option<RecordBatch> {
        // Every field but NULL alone takes a byte at least; how many records there are is a rumour.
        let sizeable = self.fields.iter().filter(|field| field.null.is_some() || !matches!(field.wire, Wire::Null));
        let room = records.min(bytes.len() / sizeable.count().max(1));
        let needed = self.fields.iter().filter(|field| field.is_needed);
        let mut columns: Vec<_> = needed.map(|field| Column::new(&field.wire, room)).collect();
        let mut cursor = Cursor { rest: bytes };
        for record in 0..records {
            let mut needed = columns.iter_mut();
            for field in &self.fields {
                let column = if field.is_needed { Some(needed.next()?) } else { None };
                match (field.null.is_some_and(|null| cursor.rest.first() == Some(&null)), column) {
                    (true, column) => {
                        cursor.take(1)?;
                        column.into_iter().for_each(|column| column.append_null(record));
                    }
                    (false, column) => {
                        if let Some(null) = field.null {
                            // The other one of the two branches, 0 and 1 in zigzag.
                            cursor.take(1).filter(|branch| branch[0] == 2 - null)?;
                        }
                        match column {
                            Some(column) => column.append(&mut cursor)?,
                            None => cursor.skip(&field.wire)?,
                        }
                    }
                }
            }
        }
        let columns = columns.into_iter().zip(self.schema.fields());
        let columns =
            columns.map(|(column, field)| column.finish(field.data_type(), records)).collect::<Option<_>>()?;
        let count = RecordBatchOptions::new().with_row_count(Some(records));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &count).ok()?;
        cursor.rest.is_empty().then_some(batch)
    }
}

/// How a value of the Avro type `data_type` is stored, and the byte for null where it is a union with that.
fn wire_of(data_type: &Value) -> Option<(Wire, Option<u8>)> {
    let Value::Array(branches) = data_type else { return Some((Wire::of(data_type)?, None)) };
    match branches.as_slice() {
        [null, other] if null == "null" => Some((Wire::of(other)?, Some(0))),
        [other, null] if null == "null" => Some((Wire::of(other)?, Some(2))),
        _ => None,
    }
}

impl Wire {
    fn of(data_type: &Value) -> Option<Self> {
        let name = data_type.get("type").unwrap_or(data_type).as_str()?;
        Some(match name {
            "null" => Self::Null,
            "boolean" => Self::Boolean,
            "int" => Self::Int,
            "long" => Self::Long,
            "float" => Self::Float,
            "double" => Self::Double,
            "bytes" | "string" => Self::Bytes,
            "enum" => {
                let symbols = data_type.get("symbols")?.as_array()?;
                Self::Enum(Arc::new(symbols.iter().map(Value::as_str).collect()))
            }
            _ => return None,
        })
    }

    /// Whether `data_type` holds the stored values as they are.
    fn is_stored(&self, data_type: &DataType) -> bool {
        match self {
            Self::Null => matches!(data_type, DataType::Null),
            Self::Boolean => matches!(data_type, DataType::Boolean),
            Self::Int => matches!(data_type, DataType::Int32 | DataType::Date32 | DataType::Time32(_)),
            Self::Long => matches!(data_type, DataType::Int64 | DataType::Timestamp(..) | DataType::Time64(_)),
            Self::Float => matches!(data_type, DataType::Float32),
            Self::Double => matches!(data_type, DataType::Float64),
            Self::Bytes => matches!(data_type, DataType::Utf8 | DataType::Binary),
            Self::Enum(_) => {
                matches!(data_type, DataType::Dictionary(key, value) if (&**key, &**value) == (&DataType::Int32, &DataType::Utf8))
            }
        }
    }
}

/// What is left of the records.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    fn long(&mut self) -> Option<i64> {
        let mut value = 0_u64;
        for (place, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                self.rest = &self.rest[place + 1..];
                // Of the tenth byte one bit is left.
                return (place < 9 || byte < 2).then_some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        None
    }

    fn int(&mut self) -> Option<i32> {
        i32::try_from(self.long()?).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.long()?).ok()?;
        self.take(length)
    }

    fn skip(&mut self, wire: &Wire) -> Option<()> {
        match wire {
            Wire::Null => {}
            Wire::Boolean => drop(self.take(1)?),
            Wire::Int | Wire::Enum(_) => drop(self.int()?),
            Wire::Long => drop(self.long()?),
            Wire::Float => drop(self.take(4)?),
            Wire::Double => drop(self.take(8)?),
            Wire::Bytes => drop(self.bytes()?),
        }
        Some(())
    }
}

struct Column {
    /// The records that have none.
    nulls: Vec<usize>,
    values: Values,
}

enum Values {
    Null,
    Boolean(BooleanBufferBuilder),
    Int(Vec<i32>),
    Long(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Bytes { offsets: Vec<i32>, bytes: Vec<u8> },
    Enum(Vec<i32>, Arc<StringArray>),
}

impl Column {
    fn new(wire: &Wire, room: usize) -> Self {
        let values = match wire {
            Wire::Null => Values::Null,
            Wire::Boolean => Values::Boolean(BooleanBufferBuilder::new(room)),
            Wire::Int => Values::Int(Vec::with_capacity(room)),
            Wire::Long => Values::Long(Vec::with_capacity(room)),
            Wire::Float => Values::Float(Vec::with_capacity(room)),
            Wire::Double => Values::Double(Vec::with_capacity(room)),
            Wire::Bytes => {
                let mut offsets = Vec::with_capacity(room + 1);
                offsets.push(0);
                Values::Bytes { offsets, bytes: Vec::new() }
            }
            Wire::Enum(symbols) => Values::Enum(Vec::with_capacity(room), Arc::clone(symbols)),
        };
        Self { nulls: Vec::new(), values }
    }

    fn append(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        match &mut self.values {
            Values::Null => {}
            Values::Boolean(values) => values.append(cursor.array::<1>()? != [0]),
            Values::Int(values) | Values::Enum(values, _) => values.push(cursor.int()?),
            Values::Long(values) => values.push(cursor.long()?),
            Values::Float(values) => values.push(f32::from_le_bytes(cursor.array()?)),
            Values::Double(values) => values.push(f64::from_le_bytes(cursor.array()?)),
            Values::Bytes { offsets, bytes } => {
                let length = usize::try_from(cursor.long()?).ok()?;
                append_text(bytes, cursor.rest, cursor.take(length)?.len());
                offsets.push(i32::try_from(bytes.len()).ok()?);
            }
        }
        Some(())
    }

    fn append_null(&mut self, record: usize) {
        match &mut self.values {
            Values::Null => {}
            Values::Boolean(values) => values.append(false),
            Values::Int(values) | Values::Enum(values, _) => values.push(0),
            Values::Long(values) => values.push(0),
            Values::Float(values) => values.push(0.0),
            Values::Double(values) => values.push(0.0),
            Values::Bytes { offsets, .. } => offsets.extend_from_within(offsets.len() - 1..),
        }
        self.nulls.push(record);
    }

    fn finish(self, data_type: &DataType, records: usize) -> Option<ArrayRef> {
        let nulls = valid_but(records, &self.nulls);
        Some(match (self.values, data_type) {
            (Values::Null, _) => new_null_array(&DataType::Null, records),
            (Values::Boolean(mut values), _) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            (Values::Int(values), _) => numbers(data_type, values, nulls)?,
            (Values::Long(values), _) => numbers(data_type, values, nulls)?,
            (Values::Float(values), _) => numbers(data_type, values, nulls)?,
            (Values::Double(values), _) => numbers(data_type, values, nulls)?,
            (Values::Bytes { offsets, bytes }, data_type) => {
                let (offsets, bytes) = (OffsetBuffer::new(offsets.into()), Buffer::from_vec(bytes));
                if *data_type == DataType::Utf8 {
                    Arc::new(StringArray::try_new(offsets, bytes, nulls).ok()?)
                } else {
                    Arc::new(BinaryArray::try_new(offsets, bytes, nulls).ok()?)
                }
            }
            (Values::Enum(keys, symbols), _) => {
                let keys = Int32Array::new(keys.into(), nulls);
                Arc::new(DictionaryArray::<Int32Type>::try_new(keys, symbols).ok()?)
            }
        })
    }
}

/// An array of numbers, or of dates and times that are stored as such.
fn numbers<T: ArrowNativeType>(data_type: &DataType, values: Vec<T>, nulls: Option<NullBuffer>) -> Option<ArrayRef> {
    let count = values.len();
    let data = ArrayData::builder(data_type.clone()).len(count).add_buffer(Buffer::from_vec(values)).nulls(nulls);
    data.build().ok().map(make_array)
}
