//! Values of a column as cells of 128 bits: a number as it is, a text as the view that holds it or points to it.
//!
//! A view is a text's length (32 bits), and then the text itself if it has at most twelve bytes, or else its first four bytes
//! and where it is. Short texts, which most are, can so be compared, hashed and copied without looking anywhere else; and a
//! short view is already what Parquet calls a plain value, but for the bytes behind it.

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, StringViewArray};
use arrow::buffer::Buffer;
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};

use super::bounds::Order;

/// The longest text that a view holds itself.
const INLINE_MAX: usize = 12;

/// Bytes of a short copy: moved at once, whatever the text's length.
const COPIED: usize = 32;

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
    fn width(self) -> usize {
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
    pub(super) fn new(array: &ArrayRef, mut cells: Vec<u128>) -> Self {
        cells.clear();
        let mut buffers = Vec::new();
        match array.data_type() {
            DataType::Utf8 => buffers = texts(&StringViewArray::from(array.as_string::<i32>()), &mut cells),
            DataType::LargeUtf8 => buffers = texts(&StringViewArray::from(array.as_string::<i64>()), &mut cells),
            DataType::Utf8View => buffers = texts(array.as_string_view(), &mut cells),
            DataType::Binary => buffers = texts(&BinaryViewArray::from(array.as_binary::<i32>()), &mut cells),
            DataType::LargeBinary => buffers = texts(&BinaryViewArray::from(array.as_binary::<i64>()), &mut cells),
            DataType::BinaryView => buffers = texts(array.as_binary_view(), &mut cells),
            DataType::Boolean => {
                let flags = array.as_boolean().values();
                dense(array, |row| u128::from(flags.value(row)), &mut cells);
            }
            DataType::Int32 => numbers(array.as_primitive::<Int32Type>(), |n| n as u32 as u64, &mut cells),
            DataType::Date32 => numbers(array.as_primitive::<Date32Type>(), |n| n as u32 as u64, &mut cells),
            DataType::Int64 => numbers(array.as_primitive::<Int64Type>(), |n| n as u64, &mut cells),
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                numbers(array.as_primitive::<TimestampMillisecondType>(), |n| n as u64, &mut cells);
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                numbers(array.as_primitive::<TimestampMicrosecondType>(), |n| n as u64, &mut cells);
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                numbers(array.as_primitive::<TimestampNanosecondType>(), |n| n as u64, &mut cells);
            }
            DataType::Float32 => numbers(array.as_primitive::<Float32Type>(), |n| u64::from(n.to_bits()), &mut cells),
            DataType::Float64 => numbers(array.as_primitive::<Float64Type>(), f64::to_bits, &mut cells),
            // `Kind::of` has let nothing else in.
            other => unreachable!("a column of {other}"),
        }
        Self { cells, buffers }
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
    cell as u32 as usize
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
        let offset = (cell >> 96) as u32 as usize;
        &self.buffer(cell)[offset..offset + length(cell)]
    }

    fn buffer(self, cell: u128) -> &'a [u8] {
        self.buffers[(cell >> 64) as u32 as usize]
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
            Kind::Numbers(Order::Int32) => extremes(self.cells.iter().map(|&cell| cell as u32 as i32)),
            Kind::Numbers(Order::Int64) => extremes(self.cells.iter().map(|&cell| cell as u64 as i64)),
            Kind::Numbers(Order::Float) => {
                let (least, greatest) =
                    extremes_of_floats(self.cells.iter().map(|&cell| f64::from(f32::from_bits(cell as u32))))?;
                Some((u128::from((least as f32).to_bits()), u128::from((greatest as f32).to_bits())))
            }
            Kind::Numbers(_) => {
                let (least, greatest) = extremes_of_floats(self.cells.iter().map(|&cell| f64::from_bits(cell as u64)))?;
                Some((u128::from(least.to_bits()), u128::from(greatest.to_bits())))
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

fn extremes<T: Ord + Copy + Into<i64>>(mut numbers: impl Iterator<Item = T>) -> Option<(u128, u128)> {
    let first = numbers.next()?;
    let (least, greatest) = numbers.fold((first, first), |(least, greatest), n| (least.min(n), greatest.max(n)));
    // Sign extension is cut off again where the number is written.
    Some((u128::from(least.into() as u64), u128::from(greatest.into() as u64)))
}

/// A zero is written as the one that is less, and as the one that is greater.
fn extremes_of_floats(numbers: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let start = (f64::INFINITY, f64::NEG_INFINITY);
    // Comparisons with NaN are false.
    let (least, greatest) = numbers.fold(start, |(least, greatest), n| {
        (if n < least { n } else { least }, if n > greatest { n } else { greatest })
    });
    let is_any = least <= greatest;
    let least = if least == 0.0 { -0.0 } else { least };
    let greatest = if greatest == 0.0 { 0.0 } else { greatest };
    is_any.then_some((least, greatest))
}

/// Plain values, one behind the other.
#[derive(Debug)]
pub(super) struct Plain {
    kind: Kind,
    /// With room before the first one, and behind the last one for a copy that is too long.
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
    values: usize,
}

impl Plain {
    /// With room for `begin` bytes before the first value.
    pub(super) fn new(kind: Kind, begin: usize) -> Self {
        Self { kind, bytes: Vec::new(), begin, end: begin, values: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.begin
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.begin..self.end]
    }

    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn clear(&mut self) {
        (self.end, self.values) = (self.begin, 0);
    }

    /// The values, with `head` before them.
    pub(super) fn with_head(&mut self, head: &[u8]) -> &[u8] {
        let begin = match self.begin.checked_sub(head.len()) {
            Some(begin) => begin,
            None => {
                let more = head.len() - self.begin;
                self.room(more);
                self.bytes.copy_within(self.begin..self.end, self.begin + more);
                (self.begin, self.end) = (self.begin + more, self.end + more);
                0
            }
        };
        self.room(0);
        self.bytes[begin..begin + head.len()].copy_from_slice(head);
        &self.bytes[begin..self.end]
    }

    /// The value that begins at `at`, a text.
    pub(super) fn text(&self, at: usize, length: usize) -> &[u8] {
        let begin = self.begin + at + size_of::<u32>();
        &self.bytes[begin..begin + length]
    }

    fn room(&mut self, more: usize) {
        let needed = self.end + more + COPIED + size_of::<u32>();
        if self.bytes.len() < needed {
            let grown = needed.max(self.bytes.len() + self.bytes.len() / 2);
            self.bytes.resize(grown, 0);
        }
    }

    pub(super) fn put(&mut self, cells: Cells<'_>) {
        self.room(cells.plain_bytes(self.kind) + 1);
        match self.kind {
            Kind::Texts => self.put_texts(cells),
            Kind::Flags => self.put_flags(cells),
            Kind::Numbers(_) => {
                let width = self.kind.width();
                let numbers = self.bytes[self.end..].chunks_exact_mut(width);
                numbers.zip(cells.cells).for_each(|(to, cell)| to.copy_from_slice(&cell.to_le_bytes()[..width]));
                self.end += width * cells.cells.len();
            }
        }
        self.values += cells.cells.len();
    }

    fn put_texts(&mut self, cells: Cells<'_>) {
        let mut at = self.end;
        for &cell in cells.cells {
            let length = length(cell);
            // What is copied too much is overwritten by the next one.
            self.bytes[at..at + size_of::<u128>()].copy_from_slice(&cell.to_le_bytes());
            at += size_of::<u32>();
            if is_long(cell) {
                let (buffer, offset) = (cells.buffer(cell), (cell >> 96) as u32 as usize);
                match buffer.get(offset..offset + COPIED) {
                    Some(text) if length <= COPIED => self.bytes[at..at + COPIED].copy_from_slice(text),
                    _ => self.bytes[at..at + length].copy_from_slice(&buffer[offset..offset + length]),
                }
            }
            at += length;
        }
        self.end = at;
    }

    fn put_flags(&mut self, cells: Cells<'_>) {
        for (value, &flag) in (self.values..).zip(cells.cells) {
            let byte = &mut self.bytes[self.begin + value / 8];
            if value % 8 == 0 {
                *byte = 0;
            }
            *byte |= (flag as u8) << (value % 8);
        }
        self.end = self.begin + (self.values + cells.cells.len()).div_ceil(8);
    }
}
