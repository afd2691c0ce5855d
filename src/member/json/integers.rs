//! Integers out of the text of JSON numbers.
//!
//! arrow-json cuts the fraction off a number that meets an integer column, so that 1.5 silently becomes 1. Integer
//! columns are therefore decoded as text first, and become integers here: `7`, `"7"`, `7.0` and `7e0` fit, 7.5 does not.

use std::sync::Arc;

use arrow::array::types::{Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, ListArray, PrimitiveArray, StringViewArray, StructArray,
};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use arrow::error::ArrowError;

/// What a number that does not fit becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    Refused,
    Null,
}

/// `field` as it is to be decoded: integers are text, here and in lists and structs.
pub(super) fn as_text(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        integer if integer.is_integer() => DataType::Utf8View,
        DataType::List(element) => DataType::List(as_text(element)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(as_text).collect()),
        _ => return Arc::clone(field),
    };
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
}

/// The inverse of [`as_text`], for values: makes `array` an array of type `wanted`.
pub(super) fn from_text(array: &ArrayRef, wanted: &DataType, misfit: Misfit) -> Result<ArrayRef, ArrowError> {
    match wanted {
        DataType::Int8 => parse::<Int8Type>(array.as_string_view(), misfit),
        DataType::Int16 => parse::<Int16Type>(array.as_string_view(), misfit),
        DataType::Int32 => parse::<Int32Type>(array.as_string_view(), misfit),
        DataType::Int64 => parse::<Int64Type>(array.as_string_view(), misfit),
        DataType::UInt8 => parse::<UInt8Type>(array.as_string_view(), misfit),
        DataType::UInt16 => parse::<UInt16Type>(array.as_string_view(), misfit),
        DataType::UInt32 => parse::<UInt32Type>(array.as_string_view(), misfit),
        DataType::UInt64 => parse::<UInt64Type>(array.as_string_view(), misfit),
        DataType::List(element) if array.data_type() != wanted => list(array.as_list(), element, misfit),
        DataType::Struct(fields) if array.data_type() != wanted => structs(array.as_struct(), fields, misfit),
        _ => Ok(Arc::clone(array)),
    }
}

fn list(array: &ListArray, element: &FieldRef, misfit: Misfit) -> Result<ArrayRef, ArrowError> {
    let values = from_text(array.values(), element.data_type(), misfit)?;
    let list = ListArray::try_new(Arc::clone(element), array.offsets().clone(), values, array.nulls().cloned())?;
    Ok(Arc::new(list))
}

fn structs(array: &StructArray, fields: &Fields, misfit: Misfit) -> Result<ArrayRef, ArrowError> {
    let columns =
        array.columns().iter().zip(fields).map(|(column, field)| from_text(column, field.data_type(), misfit));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, array.nulls().cloned(), array.len())?))
}

fn parse<T>(texts: &StringViewArray, misfit: Misfit) -> Result<ArrayRef, ArrowError>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i128>,
{
    let mut numbers = PrimitiveArray::<T>::builder(texts.len());
    for text in texts {
        let number = text.and_then(integer).and_then(|number| T::Native::try_from(number).ok());
        match (text, misfit) {
            (Some(text), Misfit::Refused) if number.is_none() => {
                return Err(ArrowError::JsonError(format!("{text} is no {}", T::DATA_TYPE)));
            }
            _ => numbers.append_option(number),
        }
    }
    Ok(Arc::new(numbers.finish()))
}

fn integer(text: &str) -> Option<i128> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(i128::from(number));
    }
    if let Ok(number) = text.parse::<u64>() {
        return Some(i128::from(number));
    }
    // Rare: 7.0 or 7e0. Every f64 without a fraction prints all its digits; no cast that would saturate is needed.
    let number = text.parse::<f64>().ok().filter(|number| number.fract() == 0.0)?;
    format!("{number:.0}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_integer() {
        let cases = [
            ("7", Some(7)),
            ("-7", Some(-7)),
            ("7.0", Some(7)),
            ("7e2", Some(700)),
            ("18446744073709551615", Some(u64::MAX.into())),
            ("7.5", None),
            ("7e-1", None),
            ("true", None),
            ("", None),
            ("nan", None),
            ("inf", None),
            ("1e400", None),
        ];
        for (text, expected) in cases {
            assert_eq!(integer(text), expected, "{text}");
        }
    }
}
