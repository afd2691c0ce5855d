//! Where the content of a member can be cut between documents: behind every line break, once every line is a document.
//!
//! That is told as the decoder tells it, by its [`Splitter`], and holds from there to the end whatever the lines are.
//! Lists and documents that span lines are not cut at all.

use crate::member::Cutter;
use crate::member::json::documents::Splitter;

/// How far the layout is looked for; documents are shorter by far, and looking costs what decoding costs.
const PROBE_BYTES_MAX: usize = 1 << 20;

/// Cuts lines of documents.
#[derive(Debug)]
pub(super) struct DocumentCutter {
    state: State,
}

#[derive(Debug)]
enum State {
    /// So many bytes were not enough to tell.
    Looking(Splitter, usize),
    Lines,
    Uncut,
}

impl DocumentCutter {
    pub(super) fn new() -> Self {
        Self { state: State::Looking(Splitter::new(), 0) }
    }

    fn look(&mut self, mut piece: &[u8]) {
        let State::Looking(splitter, looked_at) = &mut self.state else { return };
        *looked_at += piece.len();
        let mut document = Vec::new();
        while !piece.is_empty() && !splitter.is_in_lines() && !splitter.is_elsewhere() {
            let (used, _) = splitter.split(piece, &mut document);
            piece = &piece[used..];
            document.clear();
        }
        if splitter.is_in_lines() {
            self.state = State::Lines;
        } else if splitter.is_elsewhere() || *looked_at > PROBE_BYTES_MAX {
            self.state = State::Uncut;
        }
    }
}

impl Cutter for DocumentCutter {
    fn cut(&mut self, piece: &[u8]) -> Option<usize> {
        self.look(piece);
        match self.state {
            State::Lines => memchr::memrchr(b'\n', piece).map(|end| end + 1),
            State::Looking(..) | State::Uncut => None,
        }
    }
}
