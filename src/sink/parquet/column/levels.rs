//! Which rows of a page have a value, and how a page says so: by Parquet's definition levels.

use arrow::array::BooleanBufferBuilder;
use arrow::buffer::BooleanBuffer;

use super::hybrid::{GROUP, put_run, put_varint};

/// Rows, and which of them have a value.
#[derive(Default)]
pub(super) struct Levels {
    pub(super) rows: usize,
    /// None while no row is NULL.
    validity: Option<BooleanBufferBuilder>,
}

impl Levels {
    pub(super) fn append(&mut self, validity: Option<BooleanBuffer>, rows: usize) {
        match (validity, &mut self.validity) {
            (Some(validity), builder) => {
                let builder = builder.get_or_insert_with(|| {
                    let mut builder = BooleanBufferBuilder::new(self.rows + rows);
                    builder.append_n(self.rows, true);
                    builder
                });
                builder.append_buffer(&validity);
            }
            (None, Some(builder)) => builder.append_n(rows, true),
            (None, None) => {}
        }
        self.rows += rows;
    }

    pub(super) fn into_validity(self) -> Option<BooleanBuffer> {
        self.validity.map(|mut builder| builder.finish())
    }
}

/// Appends the definition levels of `rows` rows of a column that may be NULL, and their length before them.
pub(super) fn put_levels(validity: Option<&BooleanBuffer>, rows: usize, out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend([0; size_of::<u32>()]);
    let valid = validity.map_or(rows, BooleanBuffer::count_set_bits);
    match validity {
        Some(validity) if 0 < valid && valid < rows => {
            // Arrow's bits are Parquet's: one run, packed.
            put_varint(rows.div_ceil(GROUP) << 1 | 1, out);
            out.extend_from_slice(&validity.sliced().as_slice()[..rows.div_ceil(8)]);
            if let Some(last) = out.last_mut().filter(|_| !rows.is_multiple_of(8)) {
                *last &= (1 << (rows % 8)) - 1;
            }
        }
        _ => put_run(rows, u32::from(valid > 0), 1, out),
    }
    let bytes = u32::try_from(out.len() - begin - size_of::<u32>()).unwrap_or(u32::MAX);
    out[begin..begin + size_of::<u32>()].copy_from_slice(&bytes.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::parquet::column::hybrid::tests::read;

    #[test]
    fn levels_are_the_validity() {
        for rows in [1, 7, 8, 9, 1000] {
            for (nulls, skip) in [(1, 0), (2, 3), (3, 1), (usize::MAX, 0)] {
                let all: BooleanBuffer = (0..rows + skip).map(|row| row % nulls != 0).collect();
                let validity = all.slice(skip, rows);
                let mut out = Vec::new();
                put_levels(Some(&validity), rows, &mut out);
                let (length, levels) = out.split_at(4);
                assert_eq!(u32::from_le_bytes(length.try_into().unwrap()) as usize, levels.len());
                let want: Vec<_> = validity.iter().map(u32::from).collect();
                assert_eq!(read(levels, 1, rows), want);
            }
        }
        let mut out = Vec::new();
        put_levels(None, 300, &mut out);
        assert_eq!(out, [3, 0, 0, 0, 0xd8, 0x04, 1]);
    }
}
