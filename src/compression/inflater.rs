//! [`Inflater`]: one decompressor and what it has still to read.

use bytes::{Buf, Bytes};

use super::cut::Boundary;
use super::{Compression, Decompressor, Progress, UNASKED_BYTES, Wanted, decompressor_at};
use crate::error::{Error, ErrorKind, Result};

/// A decompressor and what it has still to read: fills blocks, whatever pieces the stream comes in.
pub(crate) struct Inflater {
    decompressor: Box<dyn Decompressor>,
    input: Bytes,
    input_ended: bool,
    /// What came after the bytes that were given out last.
    error: Option<Error>,
    pause_from: u64,
}

impl Inflater {
    /// For a whole stream; `memory_bytes_max` bounds what it may hold.
    ///
    /// # Errors
    /// A library can't set its decoder up.
    pub(crate) fn new(compression: Compression, memory_bytes_max: u64) -> Result<Self> {
        Self::at(compression, &Boundary::START, memory_bytes_max)
    }

    /// For what stands behind `boundary`.
    ///
    /// # Errors
    /// A library can't set its decoder up.
    pub(crate) fn at(compression: Compression, boundary: &Boundary, memory_bytes_max: u64) -> Result<Self> {
        let decompressor = decompressor_at(compression, boundary, memory_bytes_max)?;
        Ok(Self { decompressor, input: Bytes::new(), input_ended: false, error: None, pause_from: u64::MAX })
    }

    /// Makes it [pause](Self::paused) at the first boundary at compressed byte `offset` or behind it.
    pub(crate) fn pause_from(&mut self, offset: u64) {
        self.pause_from = offset;
        self.decompressor.pause_from(offset);
    }

    /// The boundary at which it pauses. What was pushed and stands behind that can be [taken](Self::take_input) to
    /// another, or be read on.
    pub(crate) fn paused(&self) -> Option<Boundary> {
        let offset =
            self.decompressor.boundary().filter(|offset| *offset >= self.pause_from && self.error.is_none())?;
        Some(Boundary::between(offset))
    }

    /// What was pushed and is not read.
    pub(crate) fn take_input(&mut self) -> Bytes {
        std::mem::take(&mut self.input)
    }

    /// Makes it ask for all but a little memory: see [`Inflater::wanted`].
    #[must_use]
    pub(crate) fn asking(mut self) -> Self {
        if let Some(room) = self.decompressor.room() {
            room.ask_beyond(UNASKED_BYTES);
        }
        self
    }

    /// The memory without which [`fill`](Self::fill) brings nothing.
    pub(crate) fn wanted(&mut self) -> Option<Wanted> {
        self.decompressor.room()?.wanted()
    }

    /// Says that it may hold `bytes` now.
    pub(crate) fn allow(&mut self, bytes: u64) {
        if let Some(room) = self.decompressor.room() {
            room.allow(bytes);
        }
    }

    /// Whether all that was pushed is read, and more may come.
    pub(crate) fn wants_input(&self) -> bool {
        self.input.is_empty() && !self.input_ended
    }

    /// Gives the next piece of the stream. Only when it [`wants_input`](Self::wants_input).
    pub(crate) fn push(&mut self, input: Bytes) {
        debug_assert!(self.input.is_empty(), "what was pushed before has to be read first");
        self.input = input;
    }

    /// Says that the whole stream was pushed.
    pub(crate) fn end(&mut self) {
        self.input_ended = true;
    }

    /// Fills `block`, which has room; says how far. 0 is all that can be had from what was pushed.
    ///
    /// # Errors
    /// As [`Decompressor::decompress`] and [`Decompressor::finish`], once what came before the error was given out: how
    /// far a damaged stream can be read must not depend on how its bytes arrive.
    pub(crate) fn fill(&mut self, block: &mut [u8]) -> Result<usize> {
        let mut written = 0;
        while written < block.len() && self.error.is_none() {
            let step = match self.input.is_empty() {
                false => self.decompressor.decompress(&self.input, &mut block[written..]),
                true if self.input_ended => self.decompressor.finish(&mut block[written..]).map(Progress::flushed),
                true => break,
            };
            match step {
                Ok(step) if step.is_none() && (self.input.is_empty() || self.wanted().is_some()) => break,
                Ok(step) if step.is_none() => {
                    // To stop here in silence would lose what is left.
                    self.error = Some(Error::new(ErrorKind::Compression, "the decompressor makes no progress"));
                }
                Ok(step) => {
                    self.input.advance(step.consumed);
                    written += step.written;
                    if self.paused().is_some() {
                        break;
                    }
                }
                Err(error) => self.error = Some(error),
            }
        }
        match self.error.take() {
            Some(error) if written == 0 => Err(error),
            error => {
                self.error = error;
                Ok(written)
            }
        }
    }
}
