//! Where members of gzip end: BGZF says so in each header; for others, a header that follows shows it.

use super::rope::Rope;
use super::walk::{Headers, Hop, NoHeader, Walk};
use super::{Boundary, FindBoundary, Found, Held};
use crate::compression::gzip::{FLAGS_RESERVED, HEADER_LEN_MIN, MAGIC, METHOD_DEFLATE, TRAILER_LEN};

/// A BGZF header: an extra field that holds nothing but the length of the member (SAM specification, 4.1).
const BGZF_HEADER_LEN: usize = 18;

/// What a BGZF member holds at most.
const BGZF_PLAIN_BYTES_MAX: u32 = 64 << 10;

/// Operating systems that RFC 1952 knows end with this one; 255 is an unknown one.
const SYSTEM_MAX: u8 = 13;

/// Boundaries between the members of a gzip stream.
pub(super) struct Members {
    bgzf: Walk<Bgzf>,
    search: Option<Search>,
}

impl Members {
    pub(super) fn new() -> Self {
        Self { bgzf: Walk::new(), search: None }
    }
}

impl FindBoundary for Members {
    fn find(&mut self, held: &Held<'_>) -> Found {
        if self.search.is_none() {
            match self.bgzf.find(held) {
                Found::Nothing => self.search = Some(Search::new()),
                found => return found,
            }
        }
        let found = self.search.as_mut().map_or(Found::Nothing, |search| search.find(held));
        if !matches!(found, Found::More) {
            *self = Self::new();
        }
        found
    }

    fn restart(&mut self, _boundary: &Boundary) {
        *self = Self::new();
    }
}

/// BGZF's members in a row.
#[derive(Default)]
struct Bgzf;

impl Headers for Bgzf {
    fn read(&mut self, rope: &Rope, at: usize) -> Result<Option<Hop>, NoHeader> {
        let Some(header) = rope.get::<BGZF_HEADER_LEN>(at) else { return Ok(None) };
        let [0x1f, 0x8b, METHOD_DEFLATE, 4, _, _, _, _, _, _, _, _, b'B', b'C', 2, 0, low, high] = header else {
            return Err(NoHeader);
        };
        let length = usize::from(u16::from_le_bytes([low, high])) + 1;
        if length < BGZF_HEADER_LEN + TRAILER_LEN {
            return Err(NoHeader);
        }
        let Some(plain_bytes) = rope.get(at + length - 4).map(u32::from_le_bytes) else { return Ok(None) };
        if plain_bytes > BGZF_PLAIN_BYTES_MAX {
            return Err(NoHeader);
        }
        Ok(Some(Hop { length, plain_bytes: plain_bytes.into(), is_end: true }))
    }
}

/// A search for what looks like the next member's header.
struct Search {
    /// Nothing to look at any more lies before.
    from: usize,
    /// The last place that looked like a header.
    boundary: usize,
    /// What the trailers before such places say, if they are trailers.
    plain_bytes: u64,
}

impl Search {
    fn new() -> Self {
        Self { from: HEADER_LEN_MIN + TRAILER_LEN, boundary: 0, plain_bytes: 0 }
    }

    fn find(&mut self, held: &Held<'_>) -> Found {
        let (rope, bounds) = (held.rope, held.bounds);
        while let Some(at) = rope.find(&[MAGIC[0], MAGIC[1], METHOD_DEFLATE], self.from) {
            let Some(header) = rope.get(at) else { break };
            self.from = at + 1;
            if !is_likely(&header) {
                continue;
            }
            let plain_bytes = rope.get(at - 4).map_or(0, u32::from_le_bytes);
            self.plain_bytes = self.plain_bytes.saturating_add(plain_bytes.into());
            if self.plain_bytes > bounds.plain_bytes_max as u64 && self.boundary > 0 {
                return Found::At(self.boundary);
            }
            self.boundary = at;
            if at >= bounds.stored_bytes || self.plain_bytes >= bounds.plain_bytes as u64 {
                return Found::At(at);
            }
        }
        // The last bytes may be the beginning of a header.
        self.from = self.from.max((rope.len() + 1).saturating_sub(HEADER_LEN_MIN));
        match held.too_short() {
            Found::More => Found::More,
            // Whether what is left ends with its member nobody knows before it was read.
            _ if held.has_ended && rope.len() <= bounds.stored_bytes_max && rope.len() > 0 => Found::At(rope.len()),
            _ if self.boundary > 0 => Found::At(self.boundary),
            _ => Found::Nothing,
        }
    }
}

/// Whether the ten bytes that every header begins with look like one as tools write it. One that does not is no damage:
/// the member before it and this one are read in one go.
fn is_likely(header: &[u8; HEADER_LEN_MIN]) -> bool {
    let [_, _, _, flags, _, _, _, _, extra_flags, system] = *header;
    flags & FLAGS_RESERVED == 0 && matches!(extra_flags, 0 | 2 | 4) && (system <= SYSTEM_MAX || system == u8::MAX)
}
