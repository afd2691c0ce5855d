//! The least and the greatest value of a page or a column, and how much of them is written down.

use parquet::basic::{ConvertedType, LogicalType};
use parquet::schema::types::ColumnDescriptor;

/// Least and greatest, as Parquet writes plain values (texts without their length). Long texts are cut: what is never written
/// needn't be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) least: Vec<u8>,
    pub(super) greatest: Vec<u8>,
}

/// How values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Bytes,
    Int32,
    Int64,
    Float,
    Double,
}

impl Order {
    pub(super) fn is_greater(self, one: &[u8], other: &[u8]) -> bool {
        match self {
            Self::Bytes => one > other,
            Self::Int32 => read(one, i32::from_le_bytes) > read(other, i32::from_le_bytes),
            Self::Int64 => read(one, i64::from_le_bytes) > read(other, i64::from_le_bytes),
            Self::Float => read(one, f32::from_le_bytes) > read(other, f32::from_le_bytes),
            Self::Double => read(one, f64::from_le_bytes) > read(other, f64::from_le_bytes),
        }
    }
}

/// A number that a bound is.
pub(super) fn read<const BYTES: usize, T: Default>(bytes: &[u8], from: impl Fn([u8; BYTES]) -> T) -> T {
    bytes.first_chunk().map_or_else(T::default, |bytes| from(*bytes))
}

impl Bounds {
    /// Widens `bounds` so that they hold `least` and `greatest`.
    pub(super) fn widen(bounds: &mut Option<Self>, order: Order, least: &[u8], greatest: &[u8]) {
        let Some(Self { least: low, greatest: high }) = bounds else {
            *bounds = Some(Self { least: least.to_vec(), greatest: greatest.to_vec() });
            return;
        };
        if order.is_greater(low, least) {
            low.clear();
            low.extend_from_slice(least);
        }
        if order.is_greater(greatest, high) {
            high.clear();
            high.extend_from_slice(greatest);
        }
    }
}

/// What is kept of a long value at least: enough to cut it for good.
const KEPT: usize = 1 << 10;

/// Texts and bytes are written down up to a length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    is_text: bool,
    /// No bound is longer: of a longer value its beginning is kept.
    pub(super) kept: usize,
}

/// A bound as it is written, and whether it is the value itself.
pub(super) type Written = (Vec<u8>, bool);

impl Cut {
    /// For bounds of which `lengths` are written down.
    pub(super) fn new(column: &ColumnDescriptor, lengths: [Option<usize>; 2]) -> Self {
        let is_text =
            column.logical_type_ref() == Some(&LogicalType::String) || column.converted_type() == ConvertedType::UTF8;
        let kept = lengths.map(|length| length.map_or(usize::MAX, |length| length.saturating_mul(2).max(KEPT)));
        Self { is_text, kept: kept[0].max(kept[1]) }
    }

    /// A bound from below: the beginning of `value`, without a part of a letter.
    pub(super) fn below(self, value: &[u8], most: Option<usize>) -> Written {
        let Some(most) = most.filter(|&most| value.len() > most) else { return (value.to_vec(), true) };
        let cut = match self.text(value) {
            None => most,
            Some(text) => text.floor_char_boundary(most),
        };
        // What is kept is a bound from below in any case.
        if cut == 0 { (value.to_vec(), value.len() < self.kept) } else { (value[..cut].to_vec(), false) }
    }

    /// A bound from above: the beginning of `value`, with its last letter, or byte, made greater. None if there is none but
    /// the value, and that has not been kept.
    pub(super) fn above(self, value: &[u8], most: Option<usize>) -> Option<Written> {
        let Some(most) = most.filter(|&most| value.len() > most) else { return Some((value.to_vec(), true)) };
        let cut = match self.text(value) {
            None => next_bytes(&value[..most]),
            Some(text) => next_text(&text[..text.floor_char_boundary(most)]),
        };
        match cut {
            Some(cut) => Some((cut, false)),
            None => (value.len() < self.kept).then(|| (value.to_vec(), true)),
        }
    }

    /// `value` as text, if it is any. It may have been cut within a letter.
    fn text(self, value: &[u8]) -> Option<&str> {
        match std::str::from_utf8(value) {
            _ if !self.is_text => None,
            Ok(text) => Some(text),
            Err(error) if error.error_len().is_none() => std::str::from_utf8(&value[..error.valid_up_to()]).ok(),
            Err(_) => None,
        }
    }
}

/// Bytes of the same length that are greater than all that begin with `bytes`.
fn next_bytes(bytes: &[u8]) -> Option<Vec<u8>> {
    let last = bytes.iter().rposition(|&byte| byte < u8::MAX)?;
    let mut next = bytes.to_vec();
    next[last] += 1;
    next[last + 1..].fill(0);
    Some(next)
}

/// The same for a text, which may become shorter: a letter that would take more bytes is left out.
fn next_text(text: &str) -> Option<Vec<u8>> {
    text.char_indices().rev().find_map(|(at, letter)| {
        let greater = char::from_u32(u32::from(letter) + 1).filter(|next| next.len_utf8() == letter.len_utf8())?;
        let mut next = text.as_bytes()[..at].to_vec();
        next.extend_from_slice(greater.encode_utf8(&mut [0; 4]).as_bytes());
        Some(next)
    })
}
