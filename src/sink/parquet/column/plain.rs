//! Plain values, one behind the other, as they stand in a page or in a dictionary.
//!
//! Texts are copied in pieces of a fixed size, which takes a few instructions whatever their length; what is copied too much is
//! overwritten by the next one. So there has to be room behind the last one.

use super::cells::{Cells, Kind, is_long, length, offset};

/// Bytes of a short copy: moved at once, whatever the text's length.
const COPIED: usize = 32;

/// Plain values, one behind the other.
#[derive(Debug)]
pub(super) struct Plain {
    kind: Kind,
    /// With room before the first one, and behind the last one for a copy that is too long.
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
    values: usize,
}

impl Plain {
    /// With room for `begin` bytes before the first value.
    pub(super) fn new(kind: Kind, begin: usize) -> Self {
        Self { kind, bytes: Vec::new(), begin, end: begin, values: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.begin
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.begin..self.end]
    }

    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn clear(&mut self) {
        (self.end, self.values) = (self.begin, 0);
    }

    /// The values, with `head` before them.
    pub(super) fn with_head(&mut self, head: &[u8]) -> &[u8] {
        let begin = match self.begin.checked_sub(head.len()) {
            Some(begin) => begin,
            None => {
                let more = head.len() - self.begin;
                self.room(more);
                self.bytes.copy_within(self.begin..self.end, self.begin + more);
                (self.begin, self.end) = (self.begin + more, self.end + more);
                0
            }
        };
        self.room(0);
        self.bytes[begin..begin + head.len()].copy_from_slice(head);
        &self.bytes[begin..self.end]
    }

    /// The value that begins at `at`, a text.
    pub(super) fn text(&self, at: usize, length: usize) -> &[u8] {
        let begin = self.begin + at + size_of::<u32>();
        &self.bytes[begin..begin + length]
    }

    fn room(&mut self, more: usize) {
        let needed = self.end + more + COPIED + size_of::<u32>();
        if self.bytes.len() < needed {
            let grown = needed.max(self.bytes.len() + self.bytes.len() / 2);
            self.bytes.resize(grown, 0);
        }
    }

    pub(super) fn put(&mut self, cells: Cells<'_>) {
        self.room(cells.plain_bytes(self.kind) + 1);
        match self.kind {
            Kind::Texts => self.put_texts(cells),
            Kind::Flags => self.put_flags(cells),
            Kind::Numbers(_) => {
                let width = self.kind.width();
                let numbers = self.bytes[self.end..].chunks_exact_mut(width);
                numbers.zip(cells.cells).for_each(|(to, cell)| to.copy_from_slice(&cell.to_le_bytes()[..width]));
                self.end += width * cells.cells.len();
            }
        }
        self.values += cells.cells.len();
    }

    fn put_texts(&mut self, cells: Cells<'_>) {
        let mut at = self.end;
        for &cell in cells.cells {
            let length = length(cell);
            // What is copied too much is overwritten by the next one.
            self.bytes[at..at + size_of::<u128>()].copy_from_slice(&cell.to_le_bytes());
            at += size_of::<u32>();
            if is_long(cell) {
                let (buffer, offset) = (cells.buffer(cell), offset(cell));
                match buffer.get(offset..offset + COPIED) {
                    Some(text) if length <= COPIED => self.bytes[at..at + COPIED].copy_from_slice(text),
                    _ => self.bytes[at..at + length].copy_from_slice(&buffer[offset..offset + length]),
                }
            }
            at += length;
        }
        self.end = at;
    }

    fn put_flags(&mut self, cells: Cells<'_>) {
        for (value, &flag) in (self.values..).zip(cells.cells) {
            let byte = &mut self.bytes[self.begin + value / 8];
            if value % 8 == 0 {
                *byte = 0;
            }
            *byte |= u8::from(flag != 0) << (value % 8);
        }
        self.end = self.begin + (self.values + cells.cells.len()).div_ceil(8);
    }
}
