//! Numbers and booleans made of their texts at once, as they come in.
//!
//! A parser here takes only what is plainly a number, and gives then what arrow's cast gives. Everything else (white
//! space, signs, words, what overflows, what is none at all) is kept as a text, and cast with the others of its kind at
//! the batch's end: so the answer is always arrow's.

use std::fmt::Debug;
use std::mem;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use lexical_core::FromLexical;

use super::{Spans, TextCast, Texts, Verdicts, valid_but};
use crate::error::Result;
use crate::member::room::Room;

/// Digits that fit 64 bits, whatever they are.
const DIGITS_MAX: usize = 18;

/// A column of numbers or booleans while its rows come in.
pub(super) trait Numbers: Debug + Send {
    /// Appends the value of `text`. Gives the bytes that it takes.
    fn push(&mut self, text: &[u8], cast: &TextCast) -> usize;

    /// Appends the values of texts. Gives the bytes that they take.
    fn extend(&mut self, spans: Spans<'_>, cast: &TextCast) -> usize;

    /// None of the same type, with room for as many.
    fn fork(&self) -> Box<dyn Numbers>;

    /// Takes the values out, and tells `verdicts` about those that don't fit.
    fn finish(&mut self, cast: &TextCast, verdicts: &mut Verdicts<'_>) -> Result<ArrayRef>;
}

/// The empty column for values of type `to`, if there is a parser for them here.
pub(super) fn numbers(to: &DataType) -> Option<Box<dyn Numbers>> {
    fn of<T: Parse>() -> Option<Box<dyn Numbers>> {
        Some(Box::new(Parsed::<T>::new(Room::default())))
    }
    match to {
        DataType::Boolean => of::<Booleans>(),
        DataType::Int8 => of::<Int8Type>(),
        DataType::Int16 => of::<Int16Type>(),
        DataType::Int32 => of::<Int32Type>(),
        DataType::Int64 => of::<Int64Type>(),
        DataType::UInt8 => of::<UInt8Type>(),
        DataType::UInt16 => of::<UInt16Type>(),
        DataType::UInt32 => of::<UInt32Type>(),
        DataType::UInt64 => of::<UInt64Type>(),
        DataType::Float32 => of::<Float32Type>(),
        DataType::Float64 => of::<Float64Type>(),
        _ => None,
    }
}

/// The values of a column, one for each row.
#[derive(Debug)]
struct Parsed<T: Parse> {
    values: Vec<T::Native>,
    /// Rows that are NULL.
    nulls: Vec<usize>,
    /// Texts that are not plainly values, and the rows they belong to.
    texts: Texts,
    rows: Vec<usize>,
    /// For the values.
    room: Room,
}

impl<T: Parse> Parsed<T> {
    fn new(room: Room) -> Self {
        Self { values: Vec::new(), nulls: Vec::new(), texts: Texts::default(), rows: Vec::new(), room }
    }

    /// Appends what is not plainly a value.
    #[cold]
    fn push_text(&mut self, text: &[u8]) -> usize {
        self.rows.push(self.values.len());
        self.texts.push(text);
        self.values.push(T::Native::default());
        text.len() + size_of::<usize>() + size_of::<i32>()
    }

    fn push_null(&mut self) -> usize {
        self.nulls.push(self.values.len());
        self.values.push(T::Native::default());
        size_of::<usize>()
    }
}

impl<T: Parse> Numbers for Parsed<T> {
    fn push(&mut self, text: &[u8], cast: &TextCast) -> usize {
        let more = if cast.is_null(text) {
            self.push_null()
        } else if let Some(value) = T::parse(text) {
            self.values.push(value);
            0
        } else {
            self.push_text(text)
        };
        more + size_of::<T::Native>()
    }

    fn extend(&mut self, spans: Spans<'_>, cast: &TextCast) -> usize {
        if cast.null_regex.is_some() {
            return spans.texts().map(|text| self.push(text, cast)).sum();
        }
        let mut bytes = spans.len() * size_of::<T::Native>();
        self.room.open(&mut self.values);
        self.values.reserve(spans.len());
        for text in spans.texts() {
            match T::parse(text) {
                Some(value) => self.values.push(value),
                None if text.is_empty() => bytes += self.push_null(),
                None => bytes += self.push_text(text),
            }
        }
        bytes
    }

    fn fork(&self) -> Box<dyn Numbers> {
        Box::new(Self::new(self.room.clone()))
    }

    fn finish(&mut self, cast: &TextCast, verdicts: &mut Verdicts<'_>) -> Result<ArrayRef> {
        let mut values = self.room.take(&mut self.values);
        let (mut nulls, rows) = (mem::take(&mut self.nulls), mem::take(&mut self.rows));
        let (strings, parsed) = cast.parse(self.texts.take(), verdicts)?;
        let nulls_wanted = nulls.len() + strings.null_count();
        for (index, row) in rows.iter().enumerate() {
            match T::value(&parsed, index) {
                Some(value) => values[*row] = value,
                None => nulls.push(*row),
            }
        }
        let validity = valid_but(values.len(), &nulls);
        let values = T::array(values, validity);
        cast.judge(&values, nulls_wanted, verdicts, |row| {
            let index = rows.binary_search(&row).ok().filter(|index| strings.is_valid(*index))?;
            Some(strings.value(index))
        });
        Ok(values)
    }
}

/// A type whose usual texts are parsed here.
trait Parse: Debug + Send + 'static {
    type Native: Copy + Default + Debug + Send;

    /// The value of a text that is plainly one: what arrow's cast gives for it. Never one for the empty text.
    fn parse(text: &[u8]) -> Option<Self::Native>;

    fn array(values: Vec<Self::Native>, nulls: Option<NullBuffer>) -> ArrayRef;

    /// What `row` of such an array holds.
    fn value(array: &ArrayRef, row: usize) -> Option<Self::Native>;
}

#[derive(Debug)]
struct Booleans;

impl Parse for Booleans {
    type Native = bool;

    fn parse(text: &[u8]) -> Option<bool> {
        match text {
            b"false" => Some(false),
            b"true" => Some(true),
            _ => None,
        }
    }

    fn array(values: Vec<bool>, nulls: Option<NullBuffer>) -> ArrayRef {
        Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls))
    }

    fn value(array: &ArrayRef, row: usize) -> Option<bool> {
        array.is_valid(row).then(|| array.as_boolean().value(row))
    }
}

macro_rules! parse_number {
    ($parse:expr, $($number:ty),+) => {$(
        impl Parse for $number {
            type Native = <Self as ArrowPrimitiveType>::Native;

            #[inline]
            fn parse(text: &[u8]) -> Option<Self::Native> {
                $parse(text)
            }

            fn array(values: Vec<Self::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
                Arc::new(PrimitiveArray::<Self>::new(values.into(), nulls))
            }

            fn value(array: &ArrayRef, row: usize) -> Option<Self::Native> {
                array.is_valid(row).then(|| array.as_primitive::<Self>().value(row))
            }
        }
    )+};
}

parse_number!(integer, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type);
parse_number!(float, Float32Type, Float64Type);

/// Digits, perhaps behind a minus.
#[inline]
fn integer<N: TryFrom<i64>>(text: &[u8]) -> Option<N> {
    let (digits, sign) = match text {
        [b'-', digits @ ..] => (digits, -1),
        digits => (digits, 1),
    };
    if digits.is_empty() || digits.len() > DIGITS_MAX {
        return None;
    }
    let mut value = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    N::try_from(sign * value).ok()
}

/// What arrow's cast tries first, by the same library.
#[inline]
fn float<N: FromLexical>(text: &[u8]) -> Option<N> {
    lexical_core::parse(text).ok()
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;
    use arrow::compute::cast;

    use super::*;

    const TYPES: [DataType; 11] = [
        DataType::Boolean,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
        DataType::Float32,
        DataType::Float64,
    ];

    /// Numbers and what is none, close to where a parser could err.
    #[rustfmt::skip]
    const WORDS: [&str; 77] = [
        "", "0", "-0", "+1", " 1", "1 ", "1e5", "1E-5", "1e", ".5", "5.", ".", "-", "--1", "inf", "-inf", "infinity",
        "NaN", "nan", "-nan", "TRUE", "true", "false", "False", "t", "f", "yes", "no", "on", "off", "1", "0x10",
        "1_000", "1,5", "007", "-007.50", "00000000000000000000001", "127", "128", "-128", "-129", "255", "256",
        "32767", "32768", "65535", "65536", "2147483647", "2147483648", "-2147483648", "4294967295", "4294967296",
        "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
        "18446744073709551615", "18446744073709551616", "999999999999999999", "1000000000000000000",
        "36.92573547363281", "-106.59151767162567", "1656287698.65", "2.2250738585072014e-308", "4.9e-324", "1e-400",
        "1e400", "1.7976931348623157e308", "0.1", "123456789.123456789", "3.4028236e38", "9007199254740993",
        "9007199254740992.5", "\u{661}", "1\u{a0}", "1\t", "\n1",
    ];

    /// What is parsed here is what arrow's cast gives, bit by bit. Says how many were.
    fn check(texts: &[String]) -> usize {
        fn of<T: Parse<Native: PartialEq>>(texts: &[String], to: &DataType) -> usize {
            let cast = cast(&StringArray::from_iter_values(texts), to).unwrap();
            let parsed: Vec<_> = texts.iter().map(|text| T::parse(text.as_bytes())).collect();
            for (row, (text, parsed)) in texts.iter().zip(&parsed).enumerate() {
                let (Some(parsed), wanted) = (parsed, T::value(&cast, row)) else { continue };
                let bits = |value: T::Native| T::array(vec![value], None).to_data();
                assert_eq!(wanted.map(bits), Some(bits(*parsed)), "{text:?} as {to}");
            }
            parsed.iter().flatten().count()
        }
        let counts = TYPES.map(|to| match to {
            DataType::Boolean => of::<Booleans>(texts, &to),
            DataType::Int8 => of::<Int8Type>(texts, &to),
            DataType::Int16 => of::<Int16Type>(texts, &to),
            DataType::Int32 => of::<Int32Type>(texts, &to),
            DataType::Int64 => of::<Int64Type>(texts, &to),
            DataType::UInt8 => of::<UInt8Type>(texts, &to),
            DataType::UInt16 => of::<UInt16Type>(texts, &to),
            DataType::UInt32 => of::<UInt32Type>(texts, &to),
            DataType::UInt64 => of::<UInt64Type>(texts, &to),
            DataType::Float32 => of::<Float32Type>(texts, &to),
            _ => of::<Float64Type>(texts, &to),
        });
        counts.iter().sum()
    }

    #[test]
    fn what_is_parsed_here_is_what_arrow_makes_of_it() {
        let parsed = check(&WORDS.map(str::to_owned));
        assert!(parsed > 150, "{parsed}");
        let parts = ["0", "1", "9", "99999999", "123456", "-", "+", ".", "e", "E", " ", "inf", "nan", "true", "_"];
        let mut seed = 5_u64;
        let mut next = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).unwrap() % below
        };
        let mut texts: Vec<String> =
            (0..5_000).map(|_| (0..next(7)).map(|_| parts[next(parts.len())]).collect()).collect();
        texts.extend((0..5_000).map(|_| format!("{}{}.{}", ["", "-"][next(2)], next(1 << 31), next(1 << 31))));
        assert!(check(&texts) > 10_000);
    }
}
