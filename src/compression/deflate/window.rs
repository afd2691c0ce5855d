//! What came out last, for matches that begin before the output at hand.

/// How far back matches may begin.
pub(super) const WINDOW_BYTES: usize = 32 << 10;

/// The last bytes that came out, in a ring.
pub(super) struct Window {
    ring: Box<[u8]>,
    /// Where the next byte goes.
    at: usize,
    length: usize,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { ring: vec![0; WINDOW_BYTES].into(), at: 0, length: 0 }
    }

    pub(super) fn clear(&mut self) {
        (self.at, self.length) = (0, 0);
    }

    /// How many bytes it knows.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn push(&mut self, written: &[u8]) {
        let last = &written[written.len().saturating_sub(WINDOW_BYTES)..];
        let (first, second) = last.split_at(last.len().min(WINDOW_BYTES - self.at));
        self.ring[self.at..][..first.len()].copy_from_slice(first);
        self.ring[..second.len()].copy_from_slice(second);
        self.at = (self.at + last.len()) % WINDOW_BYTES;
        self.length = (self.length + last.len()).min(WINDOW_BYTES);
    }

    /// Copies `length` bytes to `output[at..]` from `distance` before, which is no further than output and window go.
    pub(super) fn copy_match(&self, output: &mut [u8], at: usize, distance: usize, length: usize) {
        let before = distance.saturating_sub(at).min(length);
        if before > 0 {
            let from = (self.at + WINDOW_BYTES - (distance - at)) % WINDOW_BYTES;
            let (first, second) = output[at..at + before].split_at_mut(before.min(WINDOW_BYTES - from));
            first.copy_from_slice(&self.ring[from..][..first.len()]);
            second.copy_from_slice(&self.ring[..second.len()]);
        }
        // One by one: a match may copy what it has just written.
        for to in at + before..at + length {
            output[to] = output[to - distance];
        }
    }
}
