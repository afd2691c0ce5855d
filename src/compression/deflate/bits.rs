//! Bits of a deflate stream, the lowest of each byte first.

/// A piece of the stream.
pub(super) struct Input<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Input<'a> {
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }
}

/// Bits that were read and belong to nothing that is complete. What is taken can be put back, as long as it isn't committed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bits {
    /// The next bit is the lowest one. Above `count` there are zeros.
    pub(super) word: u64,
    pub(super) count: u32,
    /// How many of them are taken.
    taken: u32,
}

impl Bits {
    /// `count` bits, which nobody has taken, at the lower end of `word`.
    pub(super) fn new(word: u64, count: u32) -> Self {
        Self { word: word & !(u64::MAX << count), count, taken: 0 }
    }

    /// Takes `count` bits, at most 32; nothing where the input ends. Reads no byte of which it needs no bit.
    #[expect(clippy::cast_possible_truncation, reason = "at most 32 bits are left")]
    pub(super) fn take(&mut self, count: u32, input: &mut Input<'_>) -> Option<u32> {
        while self.count - self.taken < count {
            let byte = *input.bytes.get(input.at)?;
            input.at += 1;
            // A symbol has at most 48 bits, so there is room.
            self.word |= u64::from(byte) << self.count;
            self.count += u8::BITS;
        }
        let taken = self.word >> self.taken & !(u64::MAX << count);
        self.taken += count;
        Some(taken as u32)
    }

    /// What was taken is done with.
    pub(super) fn commit(&mut self) {
        self.word >>= self.taken;
        self.count -= self.taken;
        self.taken = 0;
    }

    /// Puts back what was taken and not committed.
    pub(super) fn forget(&mut self) {
        self.taken = 0;
    }

    /// Drops the rest of a byte.
    pub(super) fn align(&mut self) {
        self.taken = self.count % u8::BITS;
        self.commit();
    }

    /// Bytes that there is something left of.
    pub(super) fn bytes(&self) -> u64 {
        self.count.div_ceil(u8::BITS).into()
    }
}
