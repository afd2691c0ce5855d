//! One row a member, with its content in one cell: `members` with `content`, and `text`.

mod cell;

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

pub(crate) use self::cell::Cell;

use super::{MemberRows, batch};
use crate::archive::ContentView;
use crate::batch::{CELL_BYTES_MAX, HeaderBuilder, batch_bytes_max, cell_too_large};
use crate::error::{Error, ErrorKind, Result};
use crate::member::content::{MemberContent, PIECE_BYTES_MAX};
use crate::memory::{Allowance, Reservation, Shortage, Spare};
use crate::schema::HeaderColumn;
use crate::stats::Stats;
use crate::tar::{Member, MemberType};

/// Bytes of a batch: less than elsewhere, since each partition, queue and writer above holds several, and a few MiB are
/// enough to be fast. A larger block of the archive is a batch all the same.
const BYTES_MAX: usize = 4 << 20;

/// Contents from this size on are gathered in a buffer that is used again.
const SPARE_BYTES_MIN: usize = 1 << 20;

/// Such buffers that wait for the next content: there is one under way.
const SPARE_CONTENTS_MAX: usize = 1;

/// One row a member, with its content in the last column.
pub(crate) struct CellRows {
    schema: SchemaRef,
    header: HeaderBuilder,
    cell: Cell,
    batch_size: usize,
    batch_bytes_max: usize,
    stats: Arc<Stats>,
    open: Option<OpenCell>,
    /// A batch that had to end before the last row.
    ready: Option<RecordBatch>,
    /// Rows before the first one of the block that is looked into.
    rows_before: usize,
    allowance: Allowance,
    /// Of the rows so far and the content that is being gathered.
    memory: Reservation,
    /// What it would have to be.
    wanted: Option<u64>,
    /// None where memory has a limit.
    spare: Option<Spare>,
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
    fn make_room(&mut self, bytes: usize, spare: Option<&Spare>) -> Result<()> {
        if self.gathered.capacity() == 0
            && let Some(spare) = spare.and_then(|spare| spare.reuse(bytes))
        {
            self.gathered = spare;
            self.gathered.clear();
        }
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
            batch_bytes_max: batch_bytes_max(&allowance).min(BYTES_MAX),
            stats,
            open: None,
            ready: None,
            rows_before: 0,
            memory: allowance.reservation(),
            allowance,
            wanted: None,
            spare: Some(Spare::of(SPARE_CONTENTS_MAX, SPARE_BYTES_MIN)),
        }
    }

    /// Takes its memory from `allowance`.
    #[must_use]
    pub(crate) fn within(mut self, allowance: &Allowance) -> Self {
        self.batch_bytes_max = batch_bytes_max(allowance).min(BYTES_MAX);
        self.cell = self.cell.with_blocks_of(self.batch_bytes_max / 4);
        self.memory = allowance.reservation();
        self.allowance = allowance.clone();
        self.spare = self.spare.filter(|_| !allowance.is_limited());
        self
    }

    /// Whether the batch should end before `content`, which another block brings to it: where that makes it larger than it
    /// should be, or where the batch may have to end within that block, and the rest of it be copied.
    fn ends_before(&self, content: &ContentView<'_>) -> bool {
        let (rows, pinned) = (self.header.rows(), self.cell.pinned());
        let bytes = self.header.bytes() + self.cell.copied() + pinned + content.block.len();
        pinned > 0 && (bytes > self.batch_bytes_max || rows + (rows - self.rows_before) > self.batch_size)
    }

    fn append_view(&mut self, member: &Member, content: &ContentView<'_>) -> Result<()> {
        if self.cell.is_text() {
            let start = Instant::now();
            let appended = self.cell.append_view(content);
            self.stats.decode_nanos.add_elapsed(start);
            appended?;
        } else {
            self.cell.append_view(content)?;
        }
        self.header.append(member)
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
            open.make_room(wanted, self.spare.as_ref())?;
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
            self.cell.append(open.gathered, self.spare.as_ref())?;
            self.header.append(&open.member)?;
        }
        Ok(())
    }
}

impl MemberRows for CellRows {
    fn append_whole(&mut self, member: &Member, content: ContentView<'_>) -> Result<bool> {
        if member.member_type != MemberType::File || !self.cell.is_stored(content.bytes()) {
            return Ok(false);
        }
        if !self.cell.looks_into(&content) {
            if self.ends_before(&content) {
                self.ready = self.flush()?;
            }
            self.rows_before = self.header.rows();
        }
        self.append_view(member, &content).map(|()| true)
    }

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
        let is_text = self.cell.is_text();
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
        if self.open.is_some() {
            let start = Instant::now();
            if self.gather()? {
                self.append()?;
            }
            self.stats.decode_nanos.add_elapsed(start);
        }
        if self.ready.is_some() {
            return Ok(self.ready.take());
        }
        if self.open.is_some() || self.header.rows() == 0 {
            return Ok(None);
        }
        let bytes = self.header.bytes() + self.cell.copied();
        let is_full = self.header.rows() >= self.batch_size || bytes >= self.batch_bytes_max;
        if is_full || !self.memory.try_soft(self.bytes() as u64) { self.flush() } else { Ok(None) }
    }

    fn flush(&mut self) -> Result<Option<RecordBatch>> {
        let cell = self.cell.finish();
        let rows = cell.len();
        if rows == 0 {
            return Ok(None);
        }
        let mut columns = self.header.finish()?;
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
