//! Finds all fields of many plain lines at once, 64 bytes at a time and without looking at each byte alone.
//!
//! What comes in are whole lines without quotes: there, every delimiter and every newline ends a field. The order of the
//! work is what makes it fast: first where all fields end, then which lines are records of the wanted shape, and only
//! then, column by column, the texts.

/// Bytes of text that are looked at together: they and where their fields are stay close to the processor.
pub(super) const BLOCK_BYTES: usize = 32 << 10;

/// Bytes that are compared in one step: as many as a mask has bits.
const STEP_BYTES: usize = 64;

/// Ends that are written in one go, most often all of a step.
const ENDS: usize = 8;

/// Where the fields and lines of some text are.
#[derive(Debug)]
pub(super) struct Index {
    delimiter: u8,
    /// Where each field starts: one more than the number of fields, since the last is where another one would.
    starts: Vec<u32>,
    /// For each line, how many fields end up to its end.
    lines: Vec<u32>,
}

impl Index {
    pub(super) fn new(delimiter: u8) -> Self {
        Self { delimiter, starts: vec![0; BLOCK_BYTES + STEP_BYTES + 1], lines: Vec::new() }
    }

    /// Bytes that it takes, whatever the text.
    pub(super) fn bytes(&self) -> usize {
        (self.starts.len() + BLOCK_BYTES) * size_of::<u32>()
    }

    /// Looks at `text`: whole lines without quotes, no more than [`BLOCK_BYTES`].
    pub(super) fn read(&mut self, text: &[u8]) {
        debug_assert!(text.len() <= BLOCK_BYTES, "the starts have room for so many fields");
        self.lines.clear();
        let (steps, rest) = text.as_chunks::<STEP_BYTES>();
        let mut count = 0;
        let mut base = 0;
        for step in steps {
            count = self.step(step, base, count);
            base += 64;
        }
        if !rest.is_empty() {
            let mut step = [0; STEP_BYTES];
            step[..rest.len()].copy_from_slice(rest);
            // Zeros are no delimiters, unless somebody wants them to be.
            if self.delimiter == 0 {
                step[rest.len()..].fill(b' ');
            }
            self.step(&step, base, count);
        }
    }

    /// Takes the fields that end in `step`, which starts at `base` behind `count` fields. Gives the new count.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a block has few fields")]
    fn step(&mut self, step: &[u8; STEP_BYTES], base: u32, count: usize) -> usize {
        let (newlines, ends) = masks(step, self.delimiter);
        let mut rest = newlines;
        while rest != 0 {
            let newline = rest & rest.wrapping_neg();
            let before = (ends & newline.wrapping_sub(1)).count_ones() as usize;
            self.lines.push((count + before + 1) as u32);
            rest ^= newline;
        }
        let mut rest = ends;
        let total = ends.count_ones() as usize;
        let mut written = 0;
        while written < total {
            let Some(slots) = self.starts[count + 1 + written..].first_chunk_mut::<ENDS>() else { break };
            for slot in slots {
                *slot = base + rest.trailing_zeros() + 1;
                rest &= rest.wrapping_sub(1);
            }
            written += ENDS;
        }
        count + total
    }

    /// The lines, one behind the other.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line> {
        let mut fields = 0;
        self.lines.iter().map(move |end| {
            let first = std::mem::replace(&mut fields, *end);
            Line { first, fields: *end - first }
        })
    }

    /// Where each field starts.
    pub(super) fn starts(&self) -> &[u32] {
        &self.starts
    }

    /// A line of `text`, without its newline.
    pub(super) fn text<'a>(&self, text: &'a [u8], line: Line) -> &'a [u8] {
        let (first, end) = (line.first as usize, (line.first + line.fields) as usize);
        &text[self.starts[first] as usize..self.starts[end] as usize - 1]
    }
}

/// A line of the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    /// The number of its first field among all.
    pub(super) first: u32,
    /// How many it has.
    pub(super) fields: u32,
}

/// Where there are newlines in `step`, and where fields end: a bit for each byte, the lowest for the first.
#[inline]
fn masks(step: &[u8; STEP_BYTES], delimiter: u8) -> (u64, u64) {
    let mut newlines = [0; STEP_BYTES];
    let mut ends = [0; STEP_BYTES];
    for place in 0..STEP_BYTES {
        let byte = step[place];
        let is_newline = (byte == b'\n') | (byte == b'\r');
        newlines[place] = if is_newline { BITS[place] } else { 0 };
        ends[place] = if is_newline | (byte == delimiter) { BITS[place] } else { 0 };
    }
    (gather(&newlines), gather(&ends))
}

/// The bit of each byte within the eight that it belongs to.
const BITS: [u8; STEP_BYTES] = {
    let mut bits = [0; STEP_BYTES];
    let mut place = 0;
    while place < STEP_BYTES {
        bits[place] = 1 << (place % 8);
        place += 1;
    }
    bits
};

/// The bits of 64 bytes, each of which has at most its own of [`BITS`].
#[inline]
fn gather(bytes: &[u8; STEP_BYTES]) -> u64 {
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().enumerate().fold(0, |mask, (place, word)| {
        // The sum of all eight ends up in the highest byte.
        let bits = u64::from_le_bytes(*word).wrapping_mul(0x0101_0101_0101_0101) >> 56;
        mask | bits << (8 * place)
    })
}
