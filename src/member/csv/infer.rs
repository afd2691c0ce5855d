//! The columns of a CSV member, told from its first records.
//!
//! As arrow-csv and DuckDB do, a column of digits is `Int64` even where a digit leads that a number would lose (zip
//! codes, squawk codes): who wants them as text declares the column.

use std::str;

use arrow::array::types::{Date32Type, Float64Type};
use arrow::compute::kernels::cast_utils::{Parser, string_to_datetime};
use arrow::datatypes::{DataType, Field, Fields as Columns, Schema, TimeUnit};
use chrono::Utc;

use super::split::{Event, Fields, Splitter};
use super::{CsvOptions, header, misfit_of, too_long};
use crate::error::{Error, ErrorKind, Result};
use crate::member::unite::unite_types;
use crate::policy::OnBadRow;

/// The columns of the member that `sample` is the start of, or the whole of if it is `complete`, by at most
/// `max_records` records. All are nullable; a column without a value so far is `Null`, for `unite` to settle.
///
/// # Errors
/// A header that can't be read, a sample without any whole record, and a bad record where `on_bad_row` is `fail`.
pub(crate) fn infer(
    sample: &[u8],
    complete: bool,
    csv: &CsvOptions,
    max_records: usize,
    on_bad_row: OnBadRow,
) -> Result<Schema> {
    let csv = csv.clone().checked()?;
    let mut splitter = Splitter::new(&csv);
    let mut inference = Inference { csv, max_records, on_bad_row, records: 0, names: None, types: Vec::new() };
    let mut rest = sample;
    while !inference.is_done()
        && let Some(event) = splitter.next(&mut rest)
    {
        inference.take(&event)?;
    }
    // Otherwise the last record may go on behind the sample.
    if complete
        && !inference.is_done()
        && let Some(event) = splitter.finish()
    {
        inference.take(&event)?;
    }
    match inference.names {
        Some(names) => {
            let columns = names.into_iter().zip(inference.types);
            Ok(Schema::new(columns.map(|(name, to)| Field::new(name, to, true)).collect::<Columns>()))
        }
        None if complete => Ok(Schema::empty()),
        None => {
            let what = format!("no record ends within the first {} bytes; declare the columns instead", sample.len());
            Err(Error::new(ErrorKind::Schema, what))
        }
    }
}

struct Inference {
    csv: CsvOptions,
    max_records: usize,
    on_bad_row: OnBadRow,
    /// Records seen, good or bad.
    records: usize,
    names: Option<Vec<String>>,
    types: Vec<DataType>,
}

impl Inference {
    fn is_done(&self) -> bool {
        self.names.is_some() && self.records >= self.max_records
    }

    fn take(&mut self, event: &Event<'_>) -> Result<()> {
        if self.names.is_none() && self.csv.has_header {
            self.name(header::names(event)?);
            return Ok(());
        }
        self.records += 1;
        match event {
            Event::Record(fields) if self.names.is_none() => {
                self.name(header::numbered(fields)?);
                self.look_at(fields);
            }
            Event::Record(fields) if fields.count() == self.types.len() => self.look_at(fields),
            Event::TooLong => return Err(too_long(&format!("record {}", self.records))),
            misfit if self.on_bad_row == OnBadRow::Fail => {
                let message = format!("record {} {}", self.records, misfit_of(misfit, self.types.len()));
                return Err(Error::new(ErrorKind::Record, message));
            }
            _ => {}
        }
        Ok(())
    }

    fn name(&mut self, names: Vec<String>) {
        self.types = vec![DataType::Null; names.len()];
        self.names = Some(names);
    }

    fn look_at(&mut self, fields: &Fields<'_>) {
        for (place, to) in self.types.iter_mut().enumerate() {
            let Ok(text) = str::from_utf8(fields.get(place)) else {
                *to = DataType::Utf8View;
                continue;
            };
            let is_null = self.csv.null_regex.as_ref().map_or(text.is_empty(), |regex| regex.is_match(text));
            if !is_null && *to != DataType::Utf8View {
                *to = unite_types(to, &type_of(text));
            }
        }
    }
}

/// The narrowest type that a text looks like and can be cast to.
fn type_of(text: &str) -> DataType {
    if is_integer(text.as_bytes()) {
        // What overflows is an identifier: a float would lose its last digits.
        return if text.parse::<i64>().is_ok() { DataType::Int64 } else { DataType::Utf8View };
    }
    if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
        return DataType::Boolean;
    }
    if is_float(text) && Float64Type::parse(text).is_some() {
        return DataType::Float64;
    }
    let bytes = text.as_bytes();
    if !fits(bytes, b"0000-00-00") {
        return DataType::Utf8View;
    }
    if bytes.len() == 10 && Date32Type::parse(text).is_some() {
        return DataType::Date32;
    }
    let is_time = fits(bytes, b"0000-00-00T00:00:00") || fits(bytes, b"0000-00-00 00:00:00");
    if is_time && string_to_datetime(&Utc, text).is_ok() {
        return DataType::Timestamp(TimeUnit::Microsecond, None);
    }
    DataType::Utf8View
}

fn is_integer(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// Digits with a point, an exponent, or both; or one of the words for what is no finite number.
fn is_float(text: &str) -> bool {
    if matches!(text, "NaN" | "nan" | "inf" | "-inf") {
        return true;
    }
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (text, None),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    has_digits && is_digits(whole) && is_digits(fraction) && exponent.is_none_or(|e| !e.is_empty() && is_digits(e))
}

/// Whether `text` starts like `shape`, where a 0 stands for any digit.
fn fits(text: &[u8], shape: &[u8]) -> bool {
    let same = |(byte, shape): (&u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
    text.len() >= shape.len() && text.iter().zip(shape).all(same)
}
