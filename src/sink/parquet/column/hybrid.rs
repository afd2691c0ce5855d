//! Parquet's hybrid of run lengths and packed bits: for definition levels, and for numbers of values in a dictionary.

/// Values are packed by eights. A shorter run would not pay for the group that it ends.
pub(super) const GROUP: usize = 8;

/// Bits that number `values` different values. At least one: not every reader knows what to do with none.
pub(super) fn bit_width(values: usize) -> u8 {
    let bits = usize::BITS - values.saturating_sub(1).leading_zeros();
    u8::try_from(bits.max(1)).unwrap_or(u8::MAX)
}

/// Appends `values`, each of at most `width` bits.
pub(super) fn put_values(values: &[u32], width: u8, out: &mut Vec<u8>) {
    let (mut at, mut packed) = (0, 0);
    while at < values.len() {
        let first = values[at];
        let run = values[at..].iter().take_while(|&&value| value == first).count();
        if run < GROUP {
            at = (at + GROUP).min(values.len());
            continue;
        }
        put_packed(&values[packed..at], width, out);
        put_run(run, first, width, out);
        at += run;
        packed = at;
    }
    put_packed(&values[packed..], width, out);
}

pub(super) fn put_run(run: usize, value: u32, width: u8, out: &mut Vec<u8>) {
    put_varint(run << 1, out);
    out.extend_from_slice(&value.to_le_bytes()[..usize::from(width).div_ceil(8)]);
}

/// Appends one packed run, filled up with zeros to a whole group.
fn put_packed(values: &[u32], width: u8, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(GROUP);
    put_varint(groups << 1 | 1, out);
    let end = out.len() + groups * usize::from(width);
    let (mut bits, mut filled) = (0_u64, 0);
    for &value in values {
        bits |= u64::from(value) << filled;
        filled += u32::from(width);
        if filled >= u32::BITS {
            out.extend_from_slice(&bits.to_le_bytes()[..size_of::<u32>()]);
            bits >>= u32::BITS;
            filled -= u32::BITS;
        }
    }
    out.extend_from_slice(&bits.to_le_bytes()[..filled.div_ceil(8) as usize]);
    out.resize(end, 0);
}

pub(super) fn put_varint(mut value: usize, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What a reader makes of it.
    pub(in super::super) fn read(mut bytes: &[u8], width: u8, values: usize) -> Vec<u32> {
        let mut read = Vec::new();
        while read.len() < values {
            let (mut header, mut shift) = (0, 0);
            loop {
                let byte = bytes[0];
                bytes = &bytes[1..];
                header |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
            }
            if header & 1 == 0 {
                let (value, rest) = bytes.split_at(usize::from(width).div_ceil(8));
                let mut le = [0; 4];
                le[..value.len()].copy_from_slice(value);
                read.extend(std::iter::repeat_n(u32::from_le_bytes(le), header >> 1));
                bytes = rest;
            } else {
                let (packed, rest) = bytes.split_at((header >> 1) * usize::from(width));
                let bit = |bit: usize| u32::from(packed[bit / 8] >> (bit % 8) & 1);
                let width = usize::from(width);
                let value = |at: usize| (0..width).map(|low| bit(at * width + low) << low).sum::<u32>();
                read.extend((0..(header >> 1) * 8).map(value));
                bytes = rest;
            }
        }
        assert!(bytes.is_empty());
        read.truncate(values);
        read
    }

    #[test]
    fn what_is_put_is_read() {
        for (values, width) in [(1, 1), (2, 1), (3, 2), (256, 8), (257, 9), (1 << 20, 20)] {
            assert_eq!(bit_width(values), width);
        }
        let mut state = 7_u32;
        for width in 1..=32_u8 {
            for length in [0, 1, 7, 8, 9, 64, 1000] {
                let mut values = Vec::new();
                while values.len() < length {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let run = if state >> 28 < 4 { (state >> 20 & 0x3f) as usize } else { 1 };
                    values.extend(std::iter::repeat_n(state >> (32 - width), run));
                }
                values.truncate(length);
                let mut out = Vec::new();
                put_values(&values, width, &mut out);
                assert_eq!(read(&out, width, length), values, "{length} values of {width} bits");
            }
        }
    }
}
