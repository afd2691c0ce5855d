//! Formats whose headers say how far it is to the next one: their boundaries are found by hopping over the content.

use super::rope::Rope;
use super::{Boundary, FindBoundary, Found, Held};

/// One hop of a [`Walk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hop {
    /// From one header to the next.
    pub(super) length: usize,
    /// Plain bytes that lie between, at most.
    pub(super) plain_bytes: u64,
    /// Whether that is the end of a member.
    pub(super) is_end: bool,
}

/// A format that can be walked.
pub(super) trait Headers: Default + Send {
    /// What the header at `at` says; `Err` where it is none, and `Ok(None)` where there are too few bytes.
    fn read(&mut self, rope: &Rope, at: usize) -> Result<Option<Hop>, NoHeader>;
}

/// What stands there is no header, or one behind which nobody can hop.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoHeader;

/// Finds a boundary by hopping from header to header.
pub(super) struct Walk<H> {
    headers: H,
    /// Of the next header.
    at: usize,
    /// Whether a member ends there.
    is_end: bool,
    /// The last end that was passed.
    boundary: usize,
    plain_bytes: u64,
}

impl<H: Headers> Walk<H> {
    pub(super) fn new() -> Self {
        Self { headers: H::default(), at: 0, is_end: false, boundary: 0, plain_bytes: 0 }
    }

    /// Cuts at the last boundary, and begins anew behind it.
    fn cut(&mut self) -> Found {
        let boundary = self.boundary;
        *self = Self::new();
        if boundary > 0 { Found::At(boundary) } else { Found::Nothing }
    }
}

impl<H: Headers> FindBoundary for Walk<H> {
    fn find(&mut self, held: &Held<'_>) -> Found {
        let bounds = held.bounds;
        // Ends: every hop has a length.
        while self.at <= held.rope.len() {
            if std::mem::take(&mut self.is_end) {
                self.boundary = self.at;
                if self.at >= bounds.stored_bytes || self.plain_bytes >= bounds.plain_bytes as u64 {
                    return self.cut();
                }
            }
            match self.headers.read(held.rope, self.at) {
                Ok(Some(hop)) => {
                    self.at += hop.length;
                    self.plain_bytes = self.plain_bytes.saturating_add(hop.plain_bytes);
                    self.is_end = hop.is_end;
                }
                Ok(None) => break,
                Err(NoHeader) => return self.cut(),
            }
            // What is too long for a segment ends the one before it.
            if self.at > bounds.stored_bytes_max || self.plain_bytes > bounds.plain_bytes_max as u64 {
                return self.cut();
            }
        }
        match held.too_short() {
            Found::More => Found::More,
            _ => self.cut(),
        }
    }

    fn restart(&mut self, _boundary: &Boundary) {
        *self = Self::new();
    }
}

/// Over a skippable frame, as zstd and lz4 have them, once its length is there.
pub(super) fn skippable(rope: &Rope, at: usize) -> Option<Hop> {
    const HEADER_LEN: usize = 8;
    let [_, _, _, _, length @ ..] = rope.get::<HEADER_LEN>(at)?;
    let length = usize::try_from(u32::from_le_bytes(length)).ok()?.checked_add(HEADER_LEN)?;
    Some(Hop { length, plain_bytes: 0, is_end: true })
}
