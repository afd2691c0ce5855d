//! Columns of the common types, built from lines of JSON without a detour.
//!
//! [`Columns`] takes a line when it is sure that it knows what arrow-json would make of it (with the leniency of
//! [`super::integers`] and [`super::rewrite`]), and leaves any other alone: that one is for [`super::rows`]. So both give
//! the same rows, and problems are told in one place.

use std::collections::HashMap;
use std::mem;
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{
    ArrayRef, BooleanArray, BooleanBufferBuilder, Float64Array, Int64Array, ListArray, NullBufferBuilder, RecordBatch,
    RecordBatchOptions, StringArray, StringViewArray, StructArray,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::datatypes::{DataType, FieldRef, Fields, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

use super::line::Line;

/// Levels of columns inside columns; deeper ones are rare.
const LEVELS_MAX: u32 = 16;

/// Keys that an object is expected to have; others are looked for among the columns each time.
const KEYS_MAX: usize = 1024;

/// A key that is longer is no name to be remembered.
const KEY_BYTES_MAX: usize = 128;

/// Room for values at first.
const ROWS_MIN: usize = 64;

/// What holds values doubles when it is full, and the old one is there until all have moved.
const GROWTH: usize = 3;

/// Bytes of a value and its view, or less.
const VALUE_BYTES: usize = 16;

/// The columns of a batch under construction.
pub(super) struct Columns {
    schema: SchemaRef,
    members: Members,
    bytes: usize,
    /// As many were there in the last batch, and there is room for them.
    room: usize,
}

impl Columns {
    /// `None` if one of the columns is of another type.
    pub(super) fn new(schema: &SchemaRef) -> Option<Self> {
        Some(Self {
            schema: Arc::clone(schema),
            members: Members::new(schema.fields(), LEVELS_MAX)?,
            bytes: 0,
            room: 0,
        })
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> usize {
        self.members.rows
    }

    /// What the rows so far take, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What they hold, and may hold once they have grown or become a batch, the next piece apart.
    pub(super) fn held_bytes(&self) -> usize {
        GROWTH * self.bytes.max(self.room) + self.bytes
    }

    /// Appends `line` as a row, if it is an object that has nothing odd.
    pub(super) fn take(&mut self, line: &[u8]) -> bool {
        let rows = self.members.rows;
        let taken = str::from_utf8(line).ok().and_then(|text| {
            let mut line = Line::new(text);
            self.members.append(&mut line)?;
            line.is_done().then_some(())
        });
        if taken.is_none() {
            self.members.truncate(rows);
            return false;
        }
        self.bytes += line.len() + self.members.columns.len() * VALUE_BYTES;
        true
    }

    /// The rows so far; the next one begins anew.
    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let rows = RecordBatchOptions::new().with_row_count(Some(self.members.rows));
        self.room = mem::take(&mut self.bytes);
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), self.members.finish(self.schema.fields())?, &rows)
    }
}

/// The members of objects.
struct Members {
    names: Vec<Box<[u8]>>,
    columns: Vec<Column>,
    rows: usize,
    /// The keys as they followed one another so far, with their columns: they tend to go on like that.
    keys: Vec<(Box<[u8]>, Option<usize>)>,
    /// Where in `keys` a key is.
    places: HashMap<Box<[u8]>, usize>,
}

impl Members {
    fn new(fields: &Fields, levels: u32) -> Option<Self> {
        let names = fields.iter().map(|field| field.name().as_bytes().into()).collect();
        let columns = fields.iter().map(|field| Column::new(field, levels)).collect::<Option<_>>()?;
        Some(Self { names, columns, rows: 0, keys: Vec::new(), places: HashMap::new() })
    }

    fn append(&mut self, line: &mut Line<'_>) -> Option<()> {
        let mut next = 0;
        line.object(|line, key| match self.find(key, &mut next) {
            // Of a key that comes twice the last counts.
            Some(column) if self.columns[column].len() > self.rows => None,
            Some(column) => self.columns[column].append(line),
            None => line.skip(),
        })?;
        self.rows += 1;
        for column in &mut self.columns {
            if column.len() < self.rows {
                column.append_null();
            }
        }
        Some(())
    }

    /// The column of `key`, which is expected to be the `next` one.
    fn find(&mut self, key: &[u8], next: &mut usize) -> Option<usize> {
        if let Some((_, column)) = self.keys.get(*next).filter(|(known, _)| **known == *key) {
            *next += 1;
            return *column;
        }
        if let Some(&place) = self.places.get(key) {
            *next = place + 1;
            return self.keys[place].1;
        }
        let column = self.names.iter().position(|name| **name == *key);
        if self.keys.len() < KEYS_MAX && key.len() <= KEY_BYTES_MAX {
            self.places.insert(key.into(), self.keys.len());
            self.keys.push((key.into(), column));
            *next = self.keys.len();
        }
        column
    }

    fn append_null(&mut self) {
        self.rows += 1;
        self.columns.iter_mut().for_each(Column::append_null);
    }

    fn truncate(&mut self, rows: usize) {
        self.rows = rows;
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
    }

    fn finish(&mut self, fields: &Fields) -> Result<Vec<ArrayRef>, ArrowError> {
        self.rows = 0;
        self.columns.iter_mut().zip(fields).map(|(column, field)| column.finish(field)).collect()
    }
}

struct Column {
    nulls: NullBufferBuilder,
    values: Values,
}

enum Values {
    Boolean(BooleanBufferBuilder),
    Integer { values: Vec<i64>, range: RangeInclusive<i64> },
    Timestamp { values: Vec<i64>, unit: TimeUnit, zone: Tz, text: Vec<u8> },
    Float64(Vec<f64>),
    Text { ends: Vec<i32>, bytes: Vec<u8> },
    List { ends: Vec<i32>, element: Box<Column> },
    Struct(Members),
}

impl Column {
    fn new(field: &FieldRef, levels: u32) -> Option<Self> {
        let levels = levels.checked_sub(1).filter(|_| field.is_nullable())?;
        let values = match field.data_type() {
            DataType::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
            DataType::Int8 => integer(i8::MIN, i8::MAX),
            DataType::Int16 => integer(i16::MIN, i16::MAX),
            DataType::Int32 => integer(i32::MIN, i32::MAX),
            DataType::Int64 => integer(i64::MIN, i64::MAX),
            DataType::UInt8 => integer(u8::MIN, u8::MAX),
            DataType::UInt16 => integer(u16::MIN, u16::MAX),
            DataType::UInt32 => integer(u32::MIN, u32::MAX),
            DataType::Timestamp(unit, zone) => {
                let zone = zone.as_deref().unwrap_or("+00:00").parse().ok()?;
                Values::Timestamp { values: Vec::new(), unit: *unit, zone, text: Vec::new() }
            }
            DataType::Float64 => Values::Float64(Vec::new()),
            DataType::Utf8View => Values::Text { ends: Vec::new(), bytes: Vec::new() },
            DataType::List(element) => {
                Values::List { ends: Vec::new(), element: Box::new(Self::new(element, levels)?) }
            }
            DataType::Struct(fields) => Values::Struct(Members::new(fields, levels)?),
            _ => return None,
        };
        Some(Self { nulls: NullBufferBuilder::new(ROWS_MIN), values })
    }

    fn len(&self) -> usize {
        self.nulls.len()
    }

    fn append(&mut self, line: &mut Line<'_>) -> Option<()> {
        let first = line.peek()?;
        if first == b'n' {
            line.word("null")?;
            self.append_null();
            return Some(());
        }
        match &mut self.values {
            Values::Boolean(values) => values.append(
                first == b't' && line.word("true").is_some() || {
                    line.word("false")?;
                    false
                },
            ),
            Values::Integer { values, range } => {
                values.push(line.number()?.integer().filter(|value| range.contains(value))?);
            }
            Values::Timestamp { values, unit, zone, text } if first == b'"' => {
                text.clear();
                line.text(text)?;
                values.push(timestamp(str::from_utf8(text).ok()?, *unit, zone)?);
            }
            Values::Timestamp { values, .. } => values.push(line.number()?.integer()?),
            Values::Float64(values) => values.push(line.number()?.double()?),
            Values::Text { ends, bytes } => {
                match first {
                    b'"' => line.text(bytes)?,
                    b't' => bytes.extend_from_slice(line.word("true")?.as_bytes()),
                    b'f' => bytes.extend_from_slice(line.word("false")?.as_bytes()),
                    _ => bytes.extend_from_slice(line.number()?.text),
                }
                ends.push(i32::try_from(bytes.len()).ok()?);
            }
            Values::List { ends, element } => {
                line.list(|line| element.append(line))?;
                ends.push(i32::try_from(element.len()).ok()?);
            }
            Values::Struct(members) => members.append(line)?,
        }
        self.nulls.append_non_null();
        Some(())
    }

    fn append_null(&mut self) {
        self.nulls.append_null();
        match &mut self.values {
            Values::Boolean(values) => values.append(false),
            Values::Integer { values, .. } | Values::Timestamp { values, .. } => values.push(0),
            Values::Float64(values) => values.push(0.0),
            Values::Text { ends, .. } | Values::List { ends, .. } => ends.push(ends.last().copied().unwrap_or(0)),
            Values::Struct(members) => members.append_null(),
        }
    }

    fn truncate(&mut self, rows: usize) {
        self.nulls.truncate(rows.min(self.nulls.len()));
        match &mut self.values {
            Values::Boolean(values) => values.truncate(rows),
            Values::Integer { values, .. } | Values::Timestamp { values, .. } => values.truncate(rows),
            Values::Float64(values) => values.truncate(rows),
            Values::Text { ends, bytes } => {
                ends.truncate(rows);
                bytes.truncate(end_of(ends));
            }
            Values::List { ends, element } => {
                ends.truncate(rows);
                element.truncate(end_of(ends));
            }
            Values::Struct(members) => members.truncate(rows),
        }
    }

    fn finish(&mut self, field: &FieldRef) -> Result<ArrayRef, ArrowError> {
        let rows = self.len();
        let nulls = self.nulls.finish();
        Ok(match (&mut self.values, field.data_type()) {
            (Values::Boolean(values), _) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            (Values::Integer { values, .. } | Values::Timestamp { values, .. }, data_type) => {
                cast(&Int64Array::new(refilled(values).into(), nulls), data_type)?
            }
            (Values::Float64(values), _) => Arc::new(Float64Array::new(refilled(values).into(), nulls)),
            (Values::Text { ends, bytes }, _) => {
                let texts = StringArray::try_new(offsets(ends), Buffer::from_vec(refilled(bytes)), nulls)?;
                Arc::new(StringViewArray::from(&texts))
            }
            (Values::List { ends, element }, DataType::List(field)) => {
                Arc::new(ListArray::try_new(Arc::clone(field), offsets(ends), element.finish(field)?, nulls)?)
            }
            (Values::Struct(members), DataType::Struct(fields)) => {
                let columns = members.finish(fields)?;
                Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, rows)?)
            }
            (_, other) => return Err(ArrowError::SchemaError(format!("the column is no {other}"))),
        })
    }
}

fn integer(min: impl Into<i64>, max: impl Into<i64>) -> Values {
    Values::Integer { values: Vec::new(), range: min.into()..=max.into() }
}

fn timestamp(text: &str, unit: TimeUnit, zone: &Tz) -> Option<i64> {
    let time = string_to_datetime(zone, text).ok()?;
    match unit {
        TimeUnit::Second => Some(time.timestamp()),
        TimeUnit::Millisecond => Some(time.timestamp_millis()),
        TimeUnit::Microsecond => Some(time.timestamp_micros()),
        TimeUnit::Nanosecond => time.timestamp_nanos_opt(),
    }
}

fn end_of(ends: &[i32]) -> usize {
    ends.last().map_or(0, |end| usize::try_from(*end).unwrap_or(0))
}

fn offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let ends = refilled(ends);
    OffsetBuffer::new(std::iter::once(0).chain(ends).collect())
}

/// What `values` holds; it is left with room for as much again.
fn refilled<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = Vec::with_capacity(values.len());
    mem::replace(values, room)
}
