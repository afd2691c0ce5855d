//! [`Rope`]: bytes that arrived in pieces, looked at as if they were one.

use std::collections::VecDeque;

use bytes::Bytes;
use memchr::memmem;

/// Pieces in a row. None of them is empty.
#[derive(Debug, Default)]
pub(super) struct Rope {
    pieces: VecDeque<Bytes>,
    length: usize,
}

impl Rope {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    /// As many bytes from `at` on as the result is long, if they are there.
    pub(super) fn get<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        (self.copy_to(at, &mut bytes) == N).then_some(bytes)
    }

    /// Copies from `at` on; says how much there was.
    pub(super) fn copy_to(&self, at: usize, to: &mut [u8]) -> usize {
        let mut copied = 0;
        for piece in self.from(at) {
            copied += super::copy_some(piece, &mut to[copied..]);
            if copied == to.len() {
                break;
            }
        }
        copied
    }

    /// The pieces from `at` on.
    pub(super) fn from(&self, at: usize) -> impl Iterator<Item = &[u8]> {
        let mut before = at;
        self.pieces.iter().filter_map(move |piece| {
            let skipped = before.min(piece.len());
            before -= skipped;
            Some(&piece[skipped..]).filter(|rest| !rest.is_empty())
        })
    }

    /// Where `needle` is found first, at `from` or behind it.
    pub(super) fn find(&self, needle: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        for piece in self.from(from) {
            if let Some(found) = memmem::find(piece, needle) {
                return Some(at + found);
            }
            at += piece.len();
            // Across the seam, where only as much as the needle is long has to be compared.
            let seam = at.saturating_sub(needle.len() - 1).max(from)..at;
            if let Some(found) = seam.into_iter().find(|start| self.starts_with(*start, needle)) {
                return Some(found);
            }
        }
        None
    }

    fn starts_with(&self, at: usize, needle: &[u8]) -> bool {
        let mut rest = needle;
        for piece in self.from(at) {
            let length = rest.len().min(piece.len());
            if rest[..length] != piece[..length] {
                return false;
            }
            rest = &rest[length..];
            if rest.is_empty() {
                return true;
            }
        }
        false
    }

    /// Takes the first `count` bytes, of which there are as many.
    pub(super) fn split_to(&mut self, count: usize) -> Vec<Bytes> {
        let (mut taken, mut left) = (Vec::new(), count);
        while left > 0 {
            let Some(mut piece) = self.pieces.pop_front() else { break };
            if piece.len() > left {
                let head = piece.split_to(left);
                self.pieces.push_front(piece);
                piece = head;
            }
            left -= piece.len();
            self.length -= piece.len();
            taken.push(piece);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rope_is_its_pieces_in_a_row() {
        let text = b"abcabdabcabcabdx";
        for size in 1..=text.len() {
            let mut rope = Rope::default();
            text.chunks(size).for_each(|piece| rope.push(Bytes::copy_from_slice(piece)));
            assert_eq!(rope.len(), text.len());
            for from in 0..text.len() {
                for needle in [&b"abd"[..], b"a", b"abcabdx", b"zz", b"bdx"] {
                    let expected = memmem::find(&text[from..], needle).map(|found| from + found);
                    assert_eq!(rope.find(needle, from), expected, "{needle:?} from {from} in pieces of {size}");
                }
                assert_eq!(rope.get::<3>(from).as_ref().map(|found| &found[..]), text.get(from..from + 3));
            }
            for count in 0..=text.len() {
                let mut rest = Rope::default();
                text.chunks(size).for_each(|piece| rest.push(Bytes::copy_from_slice(piece)));
                assert_eq!(rest.split_to(count).concat(), text[..count]);
                assert_eq!(
                    (rest.len(), rest.split_to(text.len()).concat()),
                    (text.len() - count, text[count..].to_vec())
                );
            }
        }
    }
}
