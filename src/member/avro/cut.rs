//! Where a container can be cut: behind its header, and behind each block.

use crate::member::Cutter;
use crate::member::avro::container::{BlockHead, Header};

/// Follows a container from block to block, looking at their heads alone.
///
/// Markers are the decoder's to check: what is behind a wrong one is not decoded, wherever it was cut.
#[derive(Debug)]
pub(super) struct BlockCutter {
    state: State,
    /// The beginning of a header, or of the head of a block, whose end has not come yet.
    head: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Header,
    Head,
    /// So many bytes of the block are still to come.
    Block(usize),
    /// What is there is no container.
    Lost,
}

impl BlockCutter {
    pub(super) fn new() -> Self {
        Self { state: State::Header, head: Vec::new() }
    }

    /// Goes on with `piece`; says how many bytes of it belong to what is at hand.
    fn step(&mut self, piece: &[u8]) -> usize {
        if let State::Block(left) = &mut self.state {
            let used = piece.len().min(*left);
            *left -= used;
            if *left == 0 {
                self.state = State::Head;
            }
            return used;
        }
        let known = self.head.len();
        let bytes = if known == 0 {
            piece
        } else {
            self.head.extend_from_slice(piece);
            &self.head
        };
        let (end, state) = match self.state {
            State::Header => match Header::parse(bytes) {
                Ok(Some((_, end))) => (end, State::Head),
                Ok(None) => (bytes.len(), State::Header),
                Err(_) => (bytes.len(), State::Lost),
            },
            State::Head => match BlockHead::parse(bytes) {
                Ok(Some(head)) => (head.head_bytes, State::Block(head.block_bytes() - head.head_bytes)),
                Ok(None) => (bytes.len(), State::Head),
                Err(_) => (bytes.len(), State::Lost),
            },
            State::Block(_) | State::Lost => (bytes.len(), State::Lost),
        };
        let complete = !matches!((&self.state, &state), (State::Header, State::Header) | (State::Head, State::Head));
        if complete {
            self.head.clear();
        } else if known == 0 {
            self.head.extend_from_slice(piece);
        }
        self.state = state;
        // What was known was part of earlier pieces; it was too little, and so the end is behind it.
        end - known
    }
}

impl Cutter for BlockCutter {
    fn cut(&mut self, piece: &[u8]) -> Option<usize> {
        let (mut at, mut cut) = (0, None);
        while at < piece.len() {
            at += self.step(&piece[at..]);
            if matches!(self.state, State::Head) && self.head.is_empty() {
                cut = Some(at);
            }
        }
        cut
    }
}
