//! The content of one member as a decoder wants it: decompressed, in pieces of bounded size.
//!
//! A member such as `states.csv.gz` is told by its magic bytes, not by its name, and decompressed on the way.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};

use crate::archive::DECOMPRESSOR_BYTES_MAX;
use crate::compression::{Compression, Decompressor, Progress, decompressor};
use crate::error::{Error, Result};
use crate::stats::Stats;

/// Bytes that a decoder is fed at a time: large enough to be fast, small enough that the batches which one piece
/// turns into stay few.
const PIECE_BYTES_MAX: usize = 256 << 10;

/// Pushed in as it comes from the archive, pulled out decompressed.
pub(crate) struct MemberContent {
    state: State,
    input: Bytes,
    input_ended: bool,
    /// What came after the bytes that were pulled last.
    error: Option<Error>,
    stats: Arc<Stats>,
}

enum State {
    /// The first bytes, too few to tell the compression yet.
    Head(Vec<u8>),
    Plain,
    Compressed(Box<dyn Decompressor>),
}

impl MemberContent {
    pub(crate) fn new(stats: Arc<Stats>) -> Self {
        Self { state: State::Head(Vec::new()), input: Bytes::new(), input_ended: false, error: None, stats }
    }

    /// Gives the next piece of stored content. Only when `pull` has returned `None`.
    pub(crate) fn push(&mut self, input: Bytes) {
        debug_assert!(self.input.is_empty(), "what was pushed before has to be pulled first");
        self.input = input;
    }

    /// Says that all content was pushed.
    pub(crate) fn end(&mut self) {
        self.input_ended = true;
    }

    /// The next piece of decompressed content; `None` when more has to be pushed, or all is out.
    ///
    /// # Errors
    /// The compressed stream is damaged or truncated.
    pub(crate) fn pull(&mut self) -> Result<Option<Bytes>> {
        if matches!(self.state, State::Head(_)) && !self.leave_head()? {
            return Ok(None);
        }
        match &mut self.state {
            State::Plain => {
                let count = self.input.len().min(PIECE_BYTES_MAX);
                Ok((count > 0).then(|| self.input.split_to(count)))
            }
            State::Compressed(_) => self.decompress(),
            State::Head(_) => Ok(None),
        }
    }

    /// Decides the compression once there are enough bytes; false while there are not.
    fn leave_head(&mut self) -> Result<bool> {
        let State::Head(head) = &mut self.state else { return Ok(true) };
        // The usual case: the first piece has it all, and nothing is copied.
        if head.is_empty() && self.input.len() >= Compression::MAGIC_LEN_MAX {
            let compression = Compression::detect(&self.input);
            return self.set(compression).map(|()| true);
        }
        head.extend_from_slice(&self.input);
        self.input.clear();
        if head.len() < Compression::MAGIC_LEN_MAX && !self.input_ended {
            return Ok(false);
        }
        self.input = std::mem::take(head).into();
        self.set(Compression::detect(&self.input))?;
        Ok(true)
    }

    fn set(&mut self, compression: Compression) -> Result<()> {
        self.state = match compression {
            Compression::None => State::Plain,
            compression => State::Compressed(decompressor(compression, DECOMPRESSOR_BYTES_MAX)?),
        };
        Ok(())
    }

    /// The next block. An error waits until what came before it was pulled.
    fn decompress(&mut self) -> Result<Option<Bytes>> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let State::Compressed(decompressor) = &mut self.state else { return Ok(None) };
        let start = Instant::now();
        let mut block = BytesMut::zeroed(PIECE_BYTES_MAX);
        let mut written = 0;
        while written < block.len() {
            let step = match self.input.is_empty() {
                false => decompressor.decompress(&self.input, &mut block[written..]),
                true if self.input_ended => decompressor.finish(&mut block[written..]).map(Progress::flushed),
                true => break,
            };
            match step {
                Ok(Progress { consumed: 0, written: 0 }) => break,
                Ok(progress) => {
                    self.input.advance(progress.consumed);
                    written += progress.written;
                }
                Err(error) => {
                    self.error = Some(error);
                    break;
                }
            }
        }
        self.stats.decompress_nanos.add_elapsed(start);
        self.stats.bytes_decompressed.add(written as u64);
        block.truncate(written);
        match (written, self.error.take()) {
            (0, Some(error)) => Err(error),
            (0, None) => Ok(None),
            (_, error) => {
                self.error = error;
                Ok(Some(block.freeze()))
            }
        }
    }
}
