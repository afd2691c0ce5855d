//! The content of one member as a decoder wants it: decompressed, in pieces of bounded size.
//!
//! A member such as `states.csv.gz` is told by its magic bytes, not by its name, and decompressed on the way.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::archive::Inflation;
use crate::compression::{Compression, may_begin};
use crate::crew::Crew;
use crate::error::Result;
use crate::memory::{Allowance, Shortage};
use crate::stats::Stats;

/// Bytes that a decoder is fed at a time: large enough to be fast, small enough that the batches which one piece
/// turns into stay few.
pub(crate) const PIECE_BYTES_MAX: usize = 256 << 10;

/// Pushed in as it comes from the archive, pulled out decompressed.
pub(crate) struct MemberContent {
    state: State,
    input: Bytes,
    input_ended: bool,
    stats: Arc<Stats>,
    allowance: Allowance,
    crew: Crew,
}

enum State {
    /// The first bytes, too few to tell the compression yet.
    Head(Vec<u8>),
    Plain,
    Compressed(Box<Inflation>),
}

impl MemberContent {
    pub(crate) fn new(stats: Arc<Stats>) -> Self {
        let (allowance, crew) = (Allowance::unlimited(), Crew::alone());
        Self { state: State::Head(Vec::new()), input: Bytes::new(), input_ended: false, stats, allowance, crew }
    }

    /// Takes the memory of the decompressor from `allowance`.
    #[must_use]
    pub(crate) fn within(self, allowance: &Allowance) -> Self {
        Self { allowance: allowance.clone(), ..self }
    }

    /// Decompresses with the help of `crew`.
    #[must_use]
    pub(crate) fn with_crew(self, crew: &Crew) -> Self {
        Self { crew: crew.clone(), ..self }
    }

    /// The memory without which `pull` brings nothing more.
    pub(crate) fn shortage(&mut self) -> Option<Shortage<'_>> {
        match &mut self.state {
            State::Compressed(inflation) => inflation.shortage(),
            State::Head(_) | State::Plain => None,
        }
    }

    /// Whether `pull` brings nothing before the crew is done, whatever is pushed.
    pub(crate) fn is_waiting(&self) -> bool {
        match &self.state {
            State::Compressed(inflation) => inflation.is_waiting() && !inflation.wants_input(),
            State::Head(_) | State::Plain => false,
        }
    }

    /// Ready when `pull` may bring something, where it [is waiting](Self::is_waiting).
    pub(crate) fn poll_waiting(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            State::Compressed(inflation) => inflation.poll_waiting(context),
            State::Head(_) | State::Plain => Poll::Ready(()),
        }
    }

    /// Has all that was pushed come out without waiting.
    ///
    /// # Errors
    /// A library can't set its decoder up.
    pub(crate) fn catch_up(&mut self) -> Result<()> {
        match &mut self.state {
            State::Compressed(inflation) => inflation.catch_up(),
            State::Head(_) | State::Plain => Ok(()),
        }
    }

    /// Gives the next piece of stored content. Only when `pull` has returned `None`, and not while it
    /// [is waiting](Self::is_waiting).
    pub(crate) fn push(&mut self, input: Bytes) {
        debug_assert!(self.input.is_empty(), "what was pushed before has to be pulled first");
        self.input = input;
    }

    /// Says that all content was pushed.
    pub(crate) fn end(&mut self) {
        self.input_ended = true;
    }

    /// The content is damaged from here on. Brings what waited for more bytes to tell its compression, if it has none.
    pub(crate) fn cut(&mut self) -> Option<Bytes> {
        match &mut self.state {
            // No magic has a newline, and no record is as short as one.
            State::Head(head) if Compression::detect(head) != Compression::None || may_begin(head) => None,
            State::Head(head) => Some(std::mem::take(head).into()),
            _ => None,
        }
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
            State::Compressed(_) => self.inflate(),
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
            compression => {
                let inflation = Inflation::new(compression, PIECE_BYTES_MAX, &self.allowance, &self.crew)?;
                State::Compressed(Box::new(inflation))
            }
        };
        Ok(())
    }

    fn inflate(&mut self) -> Result<Option<Bytes>> {
        let State::Compressed(inflation) = &mut self.state else { return Ok(None) };
        loop {
            if let Some(block) = inflation.next_block(&self.stats)? {
                return Ok(Some(block));
            }
            if inflation.shortage().is_some() || !inflation.wants_input() {
                return Ok(None);
            }
            match (self.input.is_empty(), self.input_ended) {
                (false, _) => inflation.push(std::mem::take(&mut self.input)),
                (true, true) => inflation.end(),
                (true, false) => return Ok(None),
            }
        }
    }
}
