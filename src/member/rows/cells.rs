//! One row a member, with its content in one cell: `members` with `content`, and `text`.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, ArrayBuilder, ArrayRef, RecordBatch, StringViewBuilder};
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use super::{MemberRows, batch};
use crate::batch::{
    CELL_BYTES_MAX, ContentBuilder, HeaderBuilder, OWN_BLOCK_BYTES_MIN, batch_bytes_max, block_bytes, cell_too_large,
    held_bytes, internal,
};
use crate::error::{Error, ErrorKind, Result};
use crate::member::content::{MemberContent, PIECE_BYTES_MAX};
use crate::member::utf8;
use crate::memory::{Allowance, Reservation, Shortage};
use crate::policy::OnInvalidUtf8;
use crate::schema::HeaderColumn;
use crate::stats::Stats;
use crate::tar::{Member, MemberType};

/// What a cell of [`CellRows`] is made of.
pub(crate) enum Cell {
    /// The stored bytes: `content`.
    Content(Box<ContentBuilder>),
    /// The decompressed bytes as text: `text`.
    Text { builder: Box<StringViewBuilder>, bytes: usize, block_bytes: usize, policy: OnInvalidUtf8 },
}

impl Cell {
    pub(crate) fn content() -> Self {
        Self::Content(Box::new(ContentBuilder::new()))
    }

    pub(crate) fn text(policy: OnInvalidUtf8) -> Self {
        Self::text_with_blocks_of(usize::MAX, policy)
    }

    fn text_with_blocks_of(bytes: usize, policy: OnInvalidUtf8) -> Self {
        let block_bytes = block_bytes(bytes);
        let builder = StringViewBuilder::new().with_fixed_block_size(u32::try_from(block_bytes).unwrap_or(u32::MAX));
        Self::Text { builder: Box::new(builder), bytes: 0, block_bytes, policy }
    }

    /// The same, with nothing in it, and blocks of `bytes`.
    fn with_blocks_of(&self, bytes: usize) -> Self {
        match self {
            Self::Content(_) => Self::Content(Box::new(ContentBuilder::with_blocks_of(bytes))),
            Self::Text { policy, .. } => Self::text_with_blocks_of(bytes, *policy),
        }
    }

    /// Bytes of the values since the last `finish`.
    fn bytes(&self) -> usize {
        match self {
            Self::Content(builder) => builder.bytes(),
            Self::Text { bytes, .. } => *bytes,
        }
    }

    /// What they take, roughly.
    fn held_bytes(&self) -> usize {
        match self {
            Self::Content(builder) => builder.held_bytes(),
            Self::Text { builder, bytes, block_bytes, .. } => held_bytes(builder.len(), *bytes, *block_bytes),
        }
    }

    fn append(&mut self, content: Vec<u8>) -> Result<()> {
        match self {
            Self::Content(builder) => builder.append(content),
            Self::Text { builder, bytes, policy, .. } => {
                if content.len() >= OWN_BLOCK_BYTES_MIN && str::from_utf8(&content).is_ok() {
                    let length = u32::try_from(content.len()).map_err(|_| cell_too_large(content.len() as u64))?;
                    *bytes += content.len();
                    let block = builder.append_block(Buffer::from_vec(content));
                    return builder.try_append_view(block, 0, length).map_err(internal);
                }
                let text = utf8::decode(&content, *policy)?;
                // A character that replaces a byte takes three.
                let length = text.as_ref().map_or(0, |text| text.len());
                if length as u64 > CELL_BYTES_MAX {
                    return Err(cell_too_large(length as u64));
                }
                *bytes += length;
                builder.append_option(text);
                Ok(())
            }
        }
    }

    fn append_null(&mut self) {
        match self {
            Self::Content(builder) => builder.append_null(),
            Self::Text { builder, .. } => builder.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Content(builder) => builder.finish(),
            Self::Text { builder, bytes, .. } => {
                *bytes = 0;
                Arc::new(builder.finish())
            }
        }
    }
}

/// One row a member, with its content in the last column.
pub(crate) struct CellRows {
    schema: SchemaRef,
    header: HeaderBuilder,
    cell: Cell,
    batch_size: usize,
    batch_bytes_max: usize,
    stats: Arc<Stats>,
    open: Option<OpenCell>,
    allowance: Allowance,
    /// Of the rows so far and the content that is being gathered.
    memory: Reservation,
    /// What it would have to be.
    wanted: Option<u64>,
}

/// The content that is being gathered. The header is appended when it is complete, so that a damaged one leaves no row.
struct OpenCell {
    member: Member,
    gathered: Vec<u8>,
    /// Decompresses, for text.
    content: Option<MemberContent>,
    pushed: Bytes,
    ended: bool,
}

impl OpenCell {
    /// The room that the next piece needs: for stored content all of it, since its size is known; decompressed content
    /// doubles its room.
    fn room_wanted(&self) -> usize {
        let (room, length) = (self.gathered.capacity(), self.gathered.len());
        match &self.content {
            None if length + self.pushed.len() <= room => room,
            None => usize::try_from(self.member.size).unwrap_or(usize::MAX).max(length + self.pushed.len()),
            Some(_) if length + PIECE_BYTES_MAX <= room => room,
            Some(_) => (2 * room).max(PIECE_BYTES_MAX),
        }
    }

    /// Makes room for `bytes`.
    fn make_room(&mut self, bytes: usize) -> Result<()> {
        self.gathered.try_reserve_exact(bytes - self.gathered.len()).map_err(|error| {
            Error::new(ErrorKind::Limit, format!("the system has no {bytes} bytes for the content")).caused_by(error)
        })
    }

    /// Appends `piece`, within what a cell can hold.
    fn extend(gathered: &mut Vec<u8>, piece: &[u8]) -> Result<()> {
        let bytes = gathered.len() as u64 + piece.len() as u64;
        if bytes > CELL_BYTES_MAX {
            return Err(cell_too_large(bytes));
        }
        gathered.extend_from_slice(piece);
        Ok(())
    }
}

impl CellRows {
    /// `schema` has exactly `columns` and the cell.
    pub(crate) fn new(
        archive: Arc<str>,
        schema: SchemaRef,
        columns: &[HeaderColumn],
        cell: Cell,
        batch_size: usize,
        stats: Arc<Stats>,
    ) -> Self {
        let allowance = Allowance::unlimited();
        Self {
            schema,
            header: HeaderBuilder::new(archive, columns),
            cell,
            batch_size,
            batch_bytes_max: batch_bytes_max(&allowance),
            stats,
            open: None,
            memory: allowance.reservation(),
            allowance,
            wanted: None,
        }
    }

    /// Takes its memory from `allowance`.
    #[must_use]
    pub(crate) fn within(mut self, allowance: &Allowance) -> Self {
        self.batch_bytes_max = batch_bytes_max(allowance);
        self.cell = self.cell.with_blocks_of(self.batch_bytes_max / 4);
        self.memory = allowance.reservation();
        self.allowance = allowance.clone();
        self
    }

    /// What is held, the content under way excepted.
    fn bytes(&self) -> usize {
        self.header.held_bytes() + self.cell.held_bytes()
    }

    /// Makes room for the next piece; false where there is too little memory.
    fn make_room(&mut self) -> Result<bool> {
        let Some(open) = &self.open else { return Ok(true) };
        let (room, wanted) = (open.gathered.capacity(), open.room_wanted());
        if wanted == room {
            return Ok(true);
        }
        // While it moves, both are there.
        let bytes = (self.bytes() + room + wanted) as u64;
        if !self.memory.try_hard(bytes) {
            self.wanted = Some(bytes);
            return Ok(false);
        }
        self.wanted = None;
        if let Some(open) = &mut self.open {
            open.make_room(wanted)?;
        }
        Ok(true)
    }

    /// Gathers what was pushed; true once the content is complete.
    fn gather(&mut self) -> Result<bool> {
        while self.make_room()? {
            let Some(open) = &mut self.open else { return Ok(false) };
            let Some(content) = &mut open.content else {
                let piece = std::mem::take(&mut open.pushed);
                OpenCell::extend(&mut open.gathered, &piece)?;
                return Ok(open.ended);
            };
            if !open.pushed.is_empty() {
                content.push(std::mem::take(&mut open.pushed));
            }
            if open.ended {
                content.end();
            }
            match content.pull()? {
                Some(piece) => OpenCell::extend(&mut open.gathered, &piece)?,
                None => return Ok(open.ended && content.shortage().is_none()),
            }
        }
        Ok(false)
    }

    fn append(&mut self) -> Result<()> {
        if let Some(open) = self.open.take() {
            self.cell.append(open.gathered)?;
            self.header.append(&open.member)?;
        }
        Ok(())
    }
}

impl MemberRows for CellRows {
    fn begin(&mut self, member: &Member) -> Result<bool> {
        if member.member_type != MemberType::File {
            self.cell.append_null();
            self.header.append(member)?;
            return Ok(false);
        }
        // A text may be stored compressed, but what is so large even then has no room either.
        if member.size > CELL_BYTES_MAX {
            let error = cell_too_large(member.size);
            return Err(match self.allowance.limit_below(member.size) {
                Some(limit) => error.with_remedy(&format!(
                    "it does not fit the memory limit of {limit} bytes either, --memory-limit (embedded: the session's \
                     memory pool)"
                )),
                None => error,
            });
        }
        let is_text = matches!(self.cell, Cell::Text { .. });
        self.open = Some(OpenCell {
            member: member.clone(),
            gathered: Vec::new(),
            content: is_text.then(|| MemberContent::new(Arc::clone(&self.stats)).within(&self.allowance)),
            pushed: Bytes::new(),
            ended: false,
        });
        Ok(true)
    }

    fn push(&mut self, content: Bytes) {
        if let Some(open) = &mut self.open {
            open.pushed = content;
        }
    }

    fn end(&mut self) {
        if let Some(open) = &mut self.open {
            open.ended = true;
        }
    }

    fn abandon(&mut self) -> Result<()> {
        (self.open, self.wanted) = (None, None);
        self.memory.settle_at(self.bytes() as u64);
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let start = Instant::now();
        if self.gather()? {
            self.append()?;
        }
        self.stats.decode_nanos.add_elapsed(start);
        if self.open.is_some() || self.header.rows() == 0 {
            return Ok(None);
        }
        let bytes = self.header.bytes() + self.cell.bytes();
        let is_full = self.header.rows() >= self.batch_size || bytes >= self.batch_bytes_max;
        if is_full || !self.memory.try_soft(self.bytes() as u64) { self.flush() } else { Ok(None) }
    }

    fn flush(&mut self) -> Result<Option<RecordBatch>> {
        let cell = self.cell.finish();
        let rows = cell.len();
        if rows == 0 {
            return Ok(None);
        }
        let mut columns = self.header.finish();
        columns.push(cell);
        let batch = batch(&self.schema, columns, rows)?;
        // Whoever takes the batch accounts it.
        let gathered = self.open.as_ref().map_or(0, |open| open.gathered.capacity());
        self.memory.settle_at((self.bytes() + gathered) as u64);
        Ok(Some(batch))
    }

    fn shortage(&mut self) -> Option<Shortage<'_>> {
        let open = self.open.as_mut()?;
        if let Some(bytes) = self.wanted.filter(|bytes| !self.memory.has(*bytes)) {
            let what = if open.content.is_some() { "the text of the member" } else { "the content of the member" };
            return Some(Shortage { reservation: &mut self.memory, bytes, what: what.to_owned() });
        }
        open.content.as_mut()?.shortage()
    }
}
