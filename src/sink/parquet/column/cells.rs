//! Values of a column as cells of 128 bits: a number as it is, a text as the view that holds it or points to it.
//!
//! A view is a text's length (32 bits), and then the text itself if it has at most twelve bytes, or else its first four bytes
//! and where it is. Short texts, which most are, can so be compared, hashed and copied without looking anywhere else; and a
//! short view is already what Parquet calls a plain value, but for the bytes behind it.

use std::ops::Neg;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, StringViewArray};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};

use parquet::errors::{ParquetError, Result};

use super::bounds::Order;

/// The longest text that a view holds itself.
const INLINE_MAX: usize = 12;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Texts,
    Numbers(Order),
    Flags,
}

impl Kind {
    /// None for what has to be encoded by others.
    pub(super) fn of(data_type: &DataType) -> Option<Self> {
        use TimeUnit::{Microsecond, Millisecond, Nanosecond};

        Some(match data_type {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Texts,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Self::Texts,
            DataType::Boolean => Self::Flags,
            DataType::Int32 | DataType::Date32 => Self::Numbers(Order::Int32),
            DataType::Int64 | DataType::Timestamp(Millisecond | Microsecond | Nanosecond, _) => {
                Self::Numbers(Order::Int64)
            }
            DataType::Float32 => Self::Numbers(Order::Float),
            DataType::Float64 => Self::Numbers(Order::Double),
            _ => return None,
        })
    }

    pub(super) fn order(self) -> Order {
        match self {
            Self::Texts | Self::Flags => Order::Bytes,
            Self::Numbers(order) => order,
        }
    }

    /// Bytes of every number.
    pub(super) fn width(self) -> usize {
        match self {
            Self::Texts | Self::Flags => 0,
            Self::Numbers(Order::Int32 | Order::Float) => 4,
            Self::Numbers(_) => 8,
        }
    }
}

/// An array as cells.
#[derive(Debug)]
pub(super) struct Column {
    /// Of the values that are not NULL.
    cells: Vec<u128>,
    buffers: Vec<Buffer>,
}

impl Column {
    /// The values of `array`, with `cells` as the memory to use.
    ///
    /// # Errors
    /// A value is longer than a page can be.
    pub(super) fn new(array: &ArrayRef, mut cells: Vec<u128>) -> Result<Self> {
        cells.clear();
        let mut buffers = Vec::new();
        match array.data_type() {
            DataType::Utf8 => buffers = texts(&StringViewArray::from(array.as_string::<i32>()), &mut cells),
            DataType::LargeUtf8 => {
                let array = array.as_string::<i64>();
                check_lengths(array.offsets())?;
                buffers = texts(&StringViewArray::from(array), &mut cells);
            }
            DataType::Utf8View => buffers = texts(array.as_string_view(), &mut cells),
            DataType::Binary => buffers = texts(&BinaryViewArray::from(array.as_binary::<i32>()), &mut cells),
            DataType::LargeBinary => {
                let array = array.as_binary::<i64>();
                check_lengths(array.offsets())?;
                buffers = texts(&BinaryViewArray::from(array), &mut cells);
            }
            DataType::BinaryView => buffers = texts(array.as_binary_view(), &mut cells),
            DataType::Boolean => {
                let flags = array.as_boolean().values();
                dense(array, |row| u128::from(flags.value(row)), &mut cells);
            }
            DataType::Int32 => numbers(array.as_primitive::<Int32Type>(), |n| n.cast_unsigned().into(), &mut cells),
            DataType::Date32 => numbers(array.as_primitive::<Date32Type>(), |n| n.cast_unsigned().into(), &mut cells),
            DataType::Int64 => numbers(array.as_primitive::<Int64Type>(), i64::cast_unsigned, &mut cells),
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                numbers(array.as_primitive::<TimestampMillisecondType>(), i64::cast_unsigned, &mut cells);
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                numbers(array.as_primitive::<TimestampMicrosecondType>(), i64::cast_unsigned, &mut cells);
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                numbers(array.as_primitive::<TimestampNanosecondType>(), i64::cast_unsigned, &mut cells);
            }
            DataType::Float32 => numbers(array.as_primitive::<Float32Type>(), |n| u64::from(n.to_bits()), &mut cells),
            DataType::Float64 => numbers(array.as_primitive::<Float64Type>(), f64::to_bits, &mut cells),
            // `Kind::of` has let nothing else in.
            other => unreachable!("a column of {other}"),
        }
        Ok(Self { cells, buffers })
    }

    pub(super) fn with_buffers<T>(&self, work: impl FnOnce(Cells<'_>) -> T) -> T {
        let buffers: Vec<_> = self.buffers.iter().map(Buffer::as_slice).collect();
        work(Cells { cells: &self.cells, buffers: &buffers })
    }

    /// Gives the memory back.
    pub(super) fn into_cells(self) -> Vec<u128> {
        self.cells
    }
}

/// A view couldn't hold the length of some values that a large array may have.
fn check_lengths(offsets: &OffsetBuffer<i64>) -> Result<()> {
    let bytes_max = i64::from(i32::MAX);
    let is_large = offsets.last().zip(offsets.first()).is_some_and(|(last, first)| last - first > bytes_max);
    match offsets.windows(2).map(|two| two[1] - two[0]).find(|bytes| is_large && *bytes > bytes_max) {
        Some(bytes) => {
            Err(ParquetError::General(format!("a value of {bytes} bytes does not fit into a page of Parquet")))
        }
        None => Ok(()),
    }
}

fn texts<T: arrow::datatypes::ByteViewType + ?Sized>(
    array: &arrow::array::GenericByteViewArray<T>,
    cells: &mut Vec<u128>,
) -> Vec<Buffer> {
    let views = array.views();
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => cells.extend_from_slice(views),
        Some(nulls) => cells.extend(nulls.valid_indices().map(|row| views[row])),
    }
    array.data_buffers().to_vec()
}

fn numbers<T: arrow::datatypes::ArrowPrimitiveType>(
    array: &arrow::array::PrimitiveArray<T>,
    bits: impl Fn(T::Native) -> u64,
    cells: &mut Vec<u128>,
) {
    let values = array.values();
    dense(array, |row| u128::from(bits(values[row])), cells);
}

fn dense(array: &dyn Array, cell: impl Fn(usize) -> u128, cells: &mut Vec<u128>) {
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => cells.extend((0..array.len()).map(cell)),
        Some(nulls) => cells.extend(nulls.valid_indices().map(cell)),
    }
}

/// Some values, and the bytes that long ones of them point to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cells<'a> {
    pub(super) cells: &'a [u128],
    pub(super) buffers: &'a [&'a [u8]],
}

/// The length of a text. The lower half of a view's first word is that.
pub(super) fn length(cell: u128) -> usize {
    low32(cell) as usize
}

/// Where a text begins that a view points to.
pub(super) fn offset(cell: u128) -> usize {
    low32(cell >> 96) as usize
}

#[expect(clippy::cast_possible_truncation, reason = "a cell holds smaller numbers side by side")]
pub(super) fn low32(cell: u128) -> u32 {
    cell as u32
}

#[expect(clippy::cast_possible_truncation, reason = "a cell holds smaller numbers side by side")]
pub(super) fn low64(cell: u128) -> u64 {
    cell as u64
}

pub(super) fn is_long(cell: u128) -> bool {
    length(cell) > INLINE_MAX
}

impl<'a> Cells<'a> {
    pub(super) fn range(self, begin: usize, end: usize) -> Self {
        Self { cells: &self.cells[begin..end], ..self }
    }

    /// The text that a view points to.
    pub(super) fn long(self, cell: u128) -> &'a [u8] {
        let offset = offset(cell);
        &self.buffer(cell)[offset..offset + length(cell)]
    }

    /// Where the text is that a view points to, and others.
    pub(super) fn buffer(self, cell: u128) -> &'a [u8] {
        self.buffers[low32(cell >> 64) as usize]
    }

    /// Bytes that these values are as plain ones.
    pub(super) fn plain_bytes(self, kind: Kind) -> usize {
        match kind {
            Kind::Texts => {
                let lengths = self.cells.iter().map(|&cell| length(cell));
                lengths.sum::<usize>() + self.cells.len() * size_of::<u32>()
            }
            Kind::Numbers(_) => self.cells.len() * kind.width(),
            Kind::Flags => self.cells.len().div_ceil(8),
        }
    }

    /// The cells of the least and of the greatest of these values. NaN is neither.
    pub(super) fn bounds(self, kind: Kind) -> Option<(u128, u128)> {
        match kind {
            Kind::Texts => self.text_bounds(),
            Kind::Flags => Some((*self.cells.iter().min()?, *self.cells.iter().max()?)),
            Kind::Numbers(Order::Int32) => {
                let (least, greatest) = extremes(self.cells.iter().map(|&cell| low32(cell).cast_signed()))?;
                Some((least.cast_unsigned().into(), greatest.cast_unsigned().into()))
            }
            Kind::Numbers(Order::Float) => {
                let numbers = self.cells.iter().map(|&cell| f32::from_bits(low32(cell)));
                let (least, greatest) = extremes_of_floats(numbers, f32::INFINITY)?;
                Some((least.to_bits().into(), greatest.to_bits().into()))
            }
            Kind::Numbers(Order::Double) => {
                let numbers = self.cells.iter().map(|&cell| f64::from_bits(low64(cell)));
                let (least, greatest) = extremes_of_floats(numbers, f64::INFINITY)?;
                Some((least.to_bits().into(), greatest.to_bits().into()))
            }
            Kind::Numbers(_) => {
                let (least, greatest) = extremes(self.cells.iter().map(|&cell| low64(cell).cast_signed()))?;
                Some((least.cast_unsigned().into(), greatest.cast_unsigned().into()))
            }
        }
    }

    fn text_bounds(self) -> Option<(u128, u128)> {
        let (mut least, mut greatest) = (*self.cells.first()?, *self.cells.first()?);
        let (mut low, mut high) = (self.beginning(least), self.beginning(greatest));
        for &cell in &self.cells[1..] {
            let beginning = self.beginning(cell);
            if beginning < low || (beginning == low && self.is_less(cell, least)) {
                (least, low) = (cell, beginning);
            }
            if beginning > high || (beginning == high && self.is_less(greatest, cell)) {
                (greatest, high) = (cell, beginning);
            }
        }
        Some((least, greatest))
    }

    /// The first sixteen bytes of a text, with zeros behind it: what is greater by that is greater.
    fn beginning(self, cell: u128) -> u128 {
        if !is_long(cell) {
            return cell.swap_bytes() << u32::BITS;
        }
        match self.long(cell).first_chunk() {
            Some(beginning) => u128::from_be_bytes(*beginning),
            None => {
                let mut beginning = [0; 16];
                let text = self.long(cell);
                beginning[..text.len()].copy_from_slice(text);
                u128::from_be_bytes(beginning)
            }
        }
    }

    fn is_less(self, one: u128, other: u128) -> bool {
        let bytes = [one.to_le_bytes(), other.to_le_bytes()];
        one != other && self.text(one, &bytes[0]) < self.text(other, &bytes[1])
    }

    /// A text, whose cell is also given as `bytes`.
    fn text<'b>(self, cell: u128, bytes: &'b [u8; 16]) -> &'b [u8]
    where
        'a: 'b,
    {
        if is_long(cell) { self.long(cell) } else { &bytes[4..4 + length(cell)] }
    }

    /// A value as it stands in statistics: plain, a text without its length and at most `kept` bytes of it.
    pub(super) fn value<'b>(self, cell: u128, kind: Kind, bytes: &'b [u8; 16], kept: usize) -> &'b [u8]
    where
        'a: 'b,
    {
        match kind {
            Kind::Texts => {
                let text = self.text(cell, bytes);
                &text[..text.len().min(kept)]
            }
            Kind::Flags => &bytes[..1],
            Kind::Numbers(_) => &bytes[..kind.width()],
        }
    }
}

fn extremes<T: Ord + Copy>(mut numbers: impl Iterator<Item = T>) -> Option<(T, T)> {
    let first = numbers.next()?;
    Some(numbers.fold((first, first), |(least, greatest), n| (least.min(n), greatest.max(n))))
}

/// A zero is written as the one that is less, and as the one that is greater.
fn extremes_of_floats<T: PartialOrd + Copy + Default + Neg<Output = T>>(
    numbers: impl Iterator<Item = T>,
    infinity: T,
) -> Option<(T, T)> {
    // Comparisons with NaN are false.
    let (least, greatest) = numbers.fold((infinity, -infinity), |(least, greatest), n| {
        (if n < least { n } else { least }, if n > greatest { n } else { greatest })
    });
    let (is_any, zero) = (least <= greatest, T::default());
    let least = if least == zero { -zero } else { least };
    let greatest = if greatest == zero { zero } else { greatest };
    is_any.then_some((least, greatest))
}
