//! Snappy for pages of plain values.
//!
//! A compressor looks for repetitions at every byte. In a page of short texts they are found where a value begins or ends: its
//! length and its first letters, its last ones, or all of it were there a moment ago. Looking only there costs a fraction, and
//! finds as much; numbers with random digits don't repeat at all, and are stored. What pays is tried out on a page now and
//! then. Whatever is chosen, the result is Snappy's format.
//!
//! It is here for what it saves: flights' positions, 14 columns of text and two of numbers, a million rows, take 0.28 s of a
//! core to encode, and 0.36 s with the `snap` library alone (0.52 s with the Parquet library); the file becomes 2.4 % larger.
//! Of a whole COPY from gzipped CSV that is a twelfth.

use parquet::errors::{ParquetError, Result};

use super::cells::low32;
use super::hybrid::put_varint;

/// A page in so many is compressed in every way, to see which one to go on with.
const PAGES_PER_TRIAL: usize = 32;

/// Of a page that is longer, which holds a few long values, only the beginning is tried out: trials need memory of their own.
const TRIAL_BYTES_MAX: usize = 4 << 20;

/// What a cheaper way may cost: it is taken if its result is at most this part of the next one's, in hundredths.
const STORED_MAX: usize = 103;
const BY_VALUES_MAX: usize = 120;

/// Places that are remembered: about as many short values as fit into the distance that two bytes can say.
const PLACES: usize = 1 << 12;

/// Bytes that are looked up: a length and four letters, or the last eight.
const WORD: usize = 8;

/// A literal is cut into pieces whose length has two bytes.
const LITERAL_MAX: usize = 1 << 16;

/// What one element may copy.
const COPY_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Thorough,
    ByValues,
    Stored,
}

/// How the pages of a column are compressed.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Habit {
    way: Option<Way>,
    pages: usize,
}

/// What compressing needs besides, for any number of columns.
pub(super) struct Snappy {
    encoder: snap::raw::Encoder,
    /// Of the beginning and the end of values, of more of their beginning, of their beginning, of their end.
    wholes: Places,
    halves: Places,
    heads: Places,
    tails: Places,
    other: Vec<u8>,
}

impl Snappy {
    pub(super) fn new() -> Self {
        Self {
            encoder: snap::raw::Encoder::new(),
            wholes: Places::default(),
            halves: Places::default(),
            heads: Places::default(),
            tails: Places::default(),
            other: Vec::new(),
        }
    }

    /// Compresses a page to `out`. `texts` is where plain values with lengths begin, if that is what the page holds.
    pub(super) fn compress(
        &mut self,
        page: &[u8],
        texts: Option<usize>,
        habit: &mut Habit,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        habit.pages += 1;
        let is_trial = habit.pages % PAGES_PER_TRIAL == 1;
        match habit.way.filter(|_| !is_trial) {
            Some(way) => self.compress_by(way, page, texts, out)?,
            None if page.len() > TRIAL_BYTES_MAX => {
                let way = self.try_out(&page[..TRIAL_BYTES_MAX], None, out)?;
                self.compress_by(way, page, None, out)?;
            }
            None => habit.way = Some(self.try_out(page, texts, out)?),
        }
        Ok(())
    }

    fn compress_by(&mut self, way: Way, page: &[u8], texts: Option<usize>, out: &mut Vec<u8>) -> Result<()> {
        match (way, texts) {
            (Way::Stored, _) => put_stored(page, out),
            (Way::ByValues, Some(begin)) => self.by_values(page, begin, out),
            _ => return self.thorough(page, out),
        }
        Ok(())
    }

    fn try_out(&mut self, page: &[u8], texts: Option<usize>, out: &mut Vec<u8>) -> Result<Way> {
        self.thorough(page, out)?;
        let mut way = Way::Thorough;
        if let Some(begin) = texts {
            let mut other = std::mem::take(&mut self.other);
            self.by_values(page, begin, &mut other);
            if other.len() * 100 <= out.len() * BY_VALUES_MAX {
                way = Way::ByValues;
                std::mem::swap(out, &mut other);
            }
            self.other = other;
        }
        if page.len() * 100 <= out.len() * STORED_MAX {
            way = Way::Stored;
            put_stored(page, out);
        }
        Ok(way)
    }

    fn thorough(&mut self, page: &[u8], out: &mut Vec<u8>) -> Result<()> {
        // What was there before is overwritten, and spares the filling.
        let most = snap::raw::max_compress_len(page.len());
        if out.len() < most {
            out.resize(most, 0);
        }
        let bytes = self.encoder.compress(page, out).map_err(|error| ParquetError::External(Box::new(error)))?;
        out.truncate(bytes);
        Ok(())
    }

    /// Looks for repetitions where values begin and end, from `begin` on.
    fn by_values(&mut self, page: &[u8], begin: usize, out: &mut Vec<u8>) {
        out.clear();
        out.reserve(page.len() + page.len() / COPY_MAX + size_of::<u64>());
        put_varint(page.len(), out);
        let (mut at, mut literal) = (begin, 0);
        while let Some(head) = word_at(page, at) {
            // The lower half of it is the length.
            let end = at + size_of::<u32>() + low32(head.into()) as usize;
            let next = word_at(page, at + WORD).unwrap_or_default();
            let tail = end.checked_sub(WORD).filter(|&tail| tail >= at);
            let tail = tail.and_then(|tail| Some((tail, word_at(page, tail)?)));
            let candidates = [
                self.wholes.seen(head ^ tail.map_or(0, |(_, word)| word.rotate_left(u8::BITS)), at),
                self.halves.seen(head ^ next.rotate_left(u8::BITS), at),
                self.heads.seen(head, at),
            ];
            let end_of_word = at + WORD;
            let mut best = (0, 0);
            for before in candidates.into_iter().flatten() {
                if word_at(page, before) != Some(head) {
                    continue;
                }
                // A short value is looked at together with the next one.
                let rest = &page[end_of_word..end.clamp(end_of_word, page.len())];
                let same = WORD + same_bytes(&page[before + WORD..], rest);
                if same > best.0 {
                    best = (same, before);
                }
                if same >= 2 * WORD {
                    break;
                }
            }
            if let (same @ 1.., before) = best {
                put_literal(&page[literal..at], out);
                put_copy(at - before, same, out);
                literal = at + same;
            }
            if let Some((tail, word)) = tail.filter(|(tail, _)| *tail >= literal)
                && let Some(before) = self.tails.seen(word, tail)
                && word_at(page, before) == Some(word)
            {
                let pairs = page[literal..tail].iter().rev().zip(page[..before].iter().rev());
                let more = pairs.take_while(|(one, other)| one == other).count();
                put_literal(&page[literal..tail - more], out);
                put_copy(tail - before, more + WORD, out);
                literal = end;
            }
            at = end;
            while at < literal {
                at += size_of::<u32>() + length_at(page, at);
            }
        }
        put_literal(&page[literal..], out);
    }
}

/// Where words have been seen last, by a hash of theirs: whether it was that word has to be looked at.
struct Places(Vec<u16>);

impl Default for Places {
    fn default() -> Self {
        Self(vec![0; PLACES])
    }
}

impl Places {
    /// Where `word` may have been seen last, not too far before `at`, where it is now.
    fn seen(&mut self, word: u64, at: usize) -> Option<usize> {
        // The upper bits of a product depend on all bits below them.
        let hash = word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - PLACES.ilog2());
        let [low, high, ..] = at.to_le_bytes();
        let low = u16::from_le_bytes([low, high]);
        let before = std::mem::replace(&mut self.0[low32(hash.into()) as usize], low);
        at.checked_sub(low.wrapping_sub(before).into()).filter(|&before| before < at)
    }
}

fn word_at(page: &[u8], at: usize) -> Option<u64> {
    page.get(at..at + WORD)?.first_chunk().map(|word| u64::from_le_bytes(*word))
}

/// The length of the value that begins at `at`.
fn length_at(page: &[u8], at: usize) -> usize {
    page.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |length| u32::from_le_bytes(*length) as usize)
}

/// As many bytes are the same at the beginning of both.
fn same_bytes(one: &[u8], other: &[u8]) -> usize {
    let words = one.chunks_exact(8).zip(other.chunks_exact(8));
    let mut same = 0;
    for (one, other) in words {
        let (Some(one), Some(other)) = (one.first_chunk(), other.first_chunk()) else { break };
        let difference = u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
        if difference != 0 {
            return same + difference.trailing_zeros() as usize / 8;
        }
        same += 8;
    }
    same + one[same..].iter().zip(&other[same..]).take_while(|(one, other)| one == other).count()
}

fn put_stored(page: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.reserve(page.len() + page.len() / LITERAL_MAX * 3 + size_of::<u64>());
    put_varint(page.len(), out);
    put_literal(page, out);
}

fn put_literal(bytes: &[u8], out: &mut Vec<u8>) {
    for piece in bytes.chunks(LITERAL_MAX) {
        let [low, high, ..] = (piece.len() - 1).to_le_bytes();
        match piece.len() - 1 {
            0..60 => out.push(low << 2),
            60..256 => out.extend([60 << 2, low]),
            _ => out.extend([61 << 2, low, high]),
        }
        out.extend_from_slice(piece);
    }
}

/// Repeats `bytes` bytes from `distance` bytes before.
fn put_copy(distance: usize, mut bytes: usize, out: &mut Vec<u8>) {
    let [low, high, ..] = distance.to_le_bytes();
    while bytes > 0 {
        let piece = bytes.min(COPY_MAX);
        let [length, ..] = (piece - 1).to_le_bytes();
        out.extend([length << 2 | 2, low, high]);
        bytes -= piece;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(page: &[u8], texts: Option<usize>) {
        let mut snappy = Snappy::new();
        let mut habit = Habit::default();
        let mut out = Vec::new();
        let forced = [None, Some(Way::Thorough), Some(Way::ByValues), Some(Way::Stored)];
        for way in forced {
            habit = Habit { way, pages: 1 };
            snappy.compress(page, texts, &mut habit, &mut out).unwrap();
            assert_eq!(snap::raw::Decoder::new().decompress_vec(&out).unwrap(), page, "{way:?}");
        }
        assert!(habit.pages == 2 && out.len() <= page.len() + page.len() / 50 + 10);
    }

    #[test]
    fn whatever_is_chosen_decompresses() {
        let mut state = 1_u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as usize
        };
        for longest in [0, 1, 3, 4, 5, 12, 20, 70, 300, 100_000] {
            for letters in [1, 2, 10, 256] {
                let mut page = vec![9; 6];
                for _ in 0..(300_000 / (longest + 1)).clamp(3, 3_000) {
                    let length = random() % (longest + 1);
                    page.extend_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
                    page.extend((0..length).map(|_| (random() % letters).to_le_bytes()[0]));
                }
                check(&page, Some(6));
                check(&page, None);
            }
        }
        check(&[], None);
        check(&[1, 2, 3], Some(3));
        check(&(0..u8::MAX).cycle().take(70_000).collect::<Vec<_>>(), None);
    }

    #[test]
    fn what_repeats_is_found_where_values_begin() {
        let mut page = Vec::new();
        for number in 0..20_000_u64 {
            let text = format!("{:016}", number.wrapping_mul(0x9e37_79b9) % 300);
            page.extend_from_slice(&16_u32.to_le_bytes());
            page.extend_from_slice(text.as_bytes());
        }
        let mut out = Vec::new();
        let mut habit = Habit::default();
        Snappy::new().compress(&page, Some(0), &mut habit, &mut out).unwrap();
        assert!(out.len() < page.len() / 2, "{} of {}", out.len(), page.len());
        let noise: Vec<u8> =
            (0..100_000_u32).flat_map(|n| (n.wrapping_mul(n ^ 0x9e37_79b9) >> 13).to_le_bytes()).collect();
        Snappy::new().compress(&noise, None, &mut Habit::default(), &mut out).unwrap();
        assert!(out.len() < noise.len() + 100);
    }
}
