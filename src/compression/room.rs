//! How much memory a decompressor may hold, and what it asks for when that is too little.
//!
//! A decompressor that is refused makes no progress, and leaves its [`Wanted`] here; whoever drives it finds the memory
//! and says so, or gives up.

use super::Place;
use crate::error::{Error, Result};

/// Memory that a decompressor needs before it can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// All that it will hold then, in bytes.
    pub(crate) bytes: u64,
    place: Place,
    what: &'static str,
}

impl Wanted {
    /// The error that it is more than `limit`.
    pub(super) fn over_limit(self, limit: u64) -> Error {
        self.place.over_limit(self.what, Some(self.bytes), limit)
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the {} {} at compressed byte {}", self.place.name(), self.what, self.place.offset)
    }
}

/// What one decompressor may hold.
#[derive(Debug)]
pub(super) struct Room {
    /// Nobody gets more, whatever the memory there is.
    max: u64,
    /// What was found so far.
    allowed: u64,
    wanted: Option<Wanted>,
}

impl Room {
    /// Room for `max` bytes, for none of which anybody is asked.
    pub(super) fn new(max: u64) -> Self {
        Self { max, allowed: max, wanted: None }
    }

    /// Lets it have no more than `bytes` without asking. Before anything is decompressed.
    pub(super) fn ask_beyond(&mut self, bytes: u64) {
        self.allowed = bytes;
    }

    /// Whether there are `bytes` for `what`, which the stream at `place` needs. Where not, they are wanted from then on.
    ///
    /// # Errors
    /// Nobody gets as much.
    pub(super) fn fits(&mut self, place: Place, what: &'static str, bytes: u64) -> Result<bool> {
        let wanted = Wanted { bytes, place, what };
        if bytes > self.max {
            return Err(wanted.over_limit(self.max));
        }
        self.wanted = (bytes > self.allowed).then_some(wanted);
        Ok(self.wanted.is_none())
    }

    /// Bytes that need no asking.
    pub(super) fn allowed(&self) -> u64 {
        self.allowed.min(self.max)
    }

    pub(super) fn wanted(&self) -> Option<Wanted> {
        self.wanted
    }

    /// Says that there are `bytes` now.
    pub(super) fn allow(&mut self, bytes: u64) {
        self.allowed = self.allowed.max(bytes);
        self.wanted = self.wanted.filter(|wanted| wanted.bytes > self.allowed);
    }
}
