//! Many symbols in a row, while there is plenty of input and of room.

use super::bits::{Bits, Input};
use super::table::{DISTANCE_BITS_MAX, Entry, LENGTH_BITS_MAX, LITERALS_BITS_MAX, TOLD_LENGTH_BITS_MAX};
use super::{Inflate, MATCH_BYTES_MAX, Output};

/// Bytes that are read at once.
const AHEAD_BYTES: usize = size_of::<u64>();

/// Bits that there are at least when they have been read.
const AHEAD_BITS: u32 = u64::BITS - u8::BITS;
const _: () = assert!(LITERALS_BITS_MAX + TOLD_LENGTH_BITS_MAX + DISTANCE_BITS_MAX <= AHEAD_BITS);
const _: () = assert!(LENGTH_BITS_MAX + DISTANCE_BITS_MAX <= AHEAD_BITS);

/// Bytes that are copied at once.
const STRIDE: usize = 16;

/// Room that the longest match and what is written beyond it take.
const ROOM_BYTES: usize = MATCH_BYTES_MAX + 2 * STRIDE;

/// What a symbol did that [`Inflate::run`] can't go on after.
enum Halt {
    /// It ended the block.
    EndOfBlock,
    /// It is odd, or wrong, and was not taken.
    Odd,
}

/// Where in the input a run is.
#[derive(Clone, Copy)]
struct Ahead {
    word: u64,
    count: u32,
}

impl Ahead {
    #[inline(always)]
    fn drop(&mut self, bits: u32) {
        self.word >>= bits;
        self.count -= bits;
    }
}

impl Inflate {
    /// Decodes as many symbols of a block as can be without looking whether each has enough input and room. Leaves what is odd to
    /// [`symbol`](Self::symbol).
    pub(super) fn run(&mut self, input: &mut Input<'_>, output: &mut Output<'_>) {
        let mut ahead = Ahead { word: self.bits.word, count: self.bits.count };
        let (begin, mut read) = (input.at, input.at);
        let mut halt = None;
        while output.room() >= ROOM_BYTES
            && halt.is_none()
            && let Some(next) = input.bytes.get(read..).and_then(|rest| rest.first_chunk::<AHEAD_BYTES>())
        {
            // Bits that don't fit are read again; those that were there already stay as they are.
            ahead.word |= u64::from_le_bytes(*next) << ahead.count;
            read += ((u64::BITS - 1 - ahead.count) / u8::BITS) as usize;
            ahead.count |= AHEAD_BITS;
            halt = self.some_symbols(&mut ahead, output);
        }
        let unread = ((ahead.count / u8::BITS) as usize).min(read - begin);
        input.at = read - unread;
        let unread_bits = u8::BITS * u32::try_from(unread).expect("at most eight bytes");
        self.bits = Bits::new(ahead.word, ahead.count - unread_bits);
        if let Some(Halt::EndOfBlock) = halt {
            self.end_block();
        }
    }

    /// Up to four literals, or some and a match.
    #[inline(always)]
    fn some_symbols(&self, ahead: &mut Ahead, output: &mut Output<'_>) -> Option<Halt> {
        let mut before = (*ahead, output.at);
        let mut entry = self.take_literals(ahead, output);
        let mut length_word = before.0.word;
        if entry.is_literals() {
            before = (*ahead, output.at);
            length_word = ahead.word;
            entry = self.take_literals(ahead, output);
            if entry.is_link() {
                // So long a code needs all the bits that can be read at once.
                *ahead = before.0;
                return None;
            }
        } else if entry.is_link() {
            length_word = ahead.word;
            entry = self.literals.table.follow(entry, ahead.word);
            output.put(entry.literal_bytes(), entry.literals());
            ahead.drop(entry.bits());
        }
        if entry.is_literals() {
            return None;
        }
        if entry.is_end() {
            return Some(Halt::EndOfBlock);
        }
        let done = !entry.is_odd() && self.finish_match(entry.length(length_word), ahead, output);
        if done {
            return None;
        }
        (*ahead, output.at) = before;
        Some(Halt::Odd)
    }

    #[inline(always)]
    fn take_literals(&self, ahead: &mut Ahead, output: &mut Output<'_>) -> Entry {
        let entry = self.literals.table.look_up(ahead.word);
        output.put(entry.literal_bytes(), entry.literals());
        ahead.drop(entry.bits());
        entry
    }

    /// Reads the distance of a match, and copies. False if it is none.
    #[inline(always)]
    fn finish_match(&self, length: usize, ahead: &mut Ahead, output: &mut Output<'_>) -> bool {
        let mut entry = self.distances.table.look_up(ahead.word);
        if entry.is_link() {
            ahead.drop(entry.bits());
            entry = self.distances.table.follow(entry, ahead.word);
        }
        if entry.is_odd() {
            return false;
        }
        let distance = entry.distance_in(ahead.word);
        ahead.drop(entry.bits());
        if distance > output.at {
            if distance - output.at > self.window.len() {
                return false;
            }
            self.window.copy_match(output.bytes, output.at, distance, length);
        } else {
            copy_match(output.bytes, output.at, distance, length);
        }
        output.at += length;
        true
    }
}

impl Output<'_> {
    /// Writes two bytes, of which `count` count.
    #[inline(always)]
    fn put(&mut self, bytes: [u8; 2], count: usize) {
        if let Some(place) = self.bytes.get_mut(self.at..).and_then(|rest| rest.first_chunk_mut()) {
            *place = bytes;
        }
        self.at += count;
    }
}

/// Copies `length` bytes to `output[at..]` from `distance` before, and maybe some more, for which there is room.
#[inline(always)]
fn copy_match(output: &mut [u8], at: usize, distance: usize, length: usize) {
    if distance >= STRIDE {
        let mut done = 0;
        while done < length {
            let from = at + done - distance;
            let mut piece = [0; STRIDE];
            piece.copy_from_slice(&output[from..from + STRIDE]);
            output[at + done..at + done + STRIDE].copy_from_slice(&piece);
            done += STRIDE;
        }
    } else if distance == 1 {
        let byte = output[at - 1];
        output[at..at + length].fill(byte);
    } else {
        for to in at..at + length {
            output[to] = output[to - distance];
        }
    }
}
