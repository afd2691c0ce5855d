//! [`Cell`]: the column that holds the contents of members, as views into the blocks in which they came.
//!
//! A content that lies in one piece in the block that was fetched or decompressed is not copied: the block becomes a
//! buffer of the column. One that spans blocks was gathered, and gets a buffer of its own or a place in a shared one.
//!
//! What a newcomer must know: a view keeps its whole block in memory. So a block belongs to one batch only: what is left
//! of it when a batch ends is copied into the next one. And a batch that uses little of its blocks is compacted before
//! it leaves the scan: see [`compacted`](crate::batch::compacted).

use std::sync::Arc;

use arrow::array::{ArrayBuilder, ArrayRef, BinaryViewBuilder, StringViewBuilder};
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use bytes::Bytes;

use crate::archive::ContentView;
use crate::batch::{CELL_BYTES_MAX, OWN_BLOCK_BYTES_MIN, block_bytes, cell_too_large, held_bytes, internal};
use crate::compression::Compression;
use crate::error::Result;
use crate::member::utf8;
use crate::memory::Spare;
use crate::policy::OnInvalidUtf8;

/// What Arrow puts into the view itself.
const INLINE_BYTES_MAX: usize = 12;

/// What a cell of [`CellRows`](super::CellRows) is made of, and the cells of the batch under construction.
pub(crate) struct Cell {
    builder: Builder,
    /// Of the blocks that copied values share.
    block_bytes: usize,
    /// See [`Cell::copied`].
    copied: usize,
    /// See [`Cell::pinned`].
    pinned: usize,
    /// The block that was looked into last.
    current: Option<Block>,
    /// Where in the stream the block begins that the batch before looks into.
    spent: Option<u64>,
}

/// A block that is a buffer of the column.
struct Block {
    /// Where it begins in the stream, which tells blocks apart.
    offset: u64,
    /// Its number among the buffers.
    index: u32,
}

enum Builder {
    /// The stored bytes: `content`.
    Content(Box<BinaryViewBuilder>),
    /// The decompressed bytes as text: `text`.
    Text(Box<StringViewBuilder>, OnInvalidUtf8),
}

impl Cell {
    pub(crate) fn content() -> Self {
        Self::new(Builder::content(usize::MAX), usize::MAX)
    }

    pub(crate) fn text(policy: OnInvalidUtf8) -> Self {
        Self::new(Builder::text(usize::MAX, policy), usize::MAX)
    }

    fn new(builder: Builder, bytes: usize) -> Self {
        Self { builder, block_bytes: block_bytes(bytes), copied: 0, pinned: 0, current: None, spent: None }
    }

    /// The same, with nothing in it, and blocks of `bytes`.
    pub(super) fn with_blocks_of(&self, bytes: usize) -> Self {
        let builder = match &self.builder {
            Builder::Content(_) => Builder::content(bytes),
            Builder::Text(_, policy) => Builder::text(bytes, *policy),
        };
        Self::new(builder, bytes)
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.builder, Builder::Text(..))
    }

    /// Whether the cell of a member is its stored content as it is: a text may be stored compressed.
    pub(super) fn is_stored(&self, content: &[u8]) -> bool {
        !self.is_text() || Compression::detect(content) == Compression::None
    }

    /// Bytes of values that were gathered or copied.
    pub(super) fn copied(&self) -> usize {
        self.copied
    }

    /// What the cells take beyond the blocks that they look into, roughly: those are accounted by who made them.
    pub(super) fn held_bytes(&self) -> usize {
        held_bytes(self.builder.len(), self.copied, self.block_bytes)
    }

    /// Bytes of the blocks that the cells look into, used or not.
    pub(super) fn pinned(&self) -> usize {
        self.pinned
    }

    /// Whether the block of `content` is the one that was looked into last.
    pub(super) fn looks_into(&self, content: &ContentView<'_>) -> bool {
        self.current.as_ref().is_some_and(|block| block.offset == content.block_offset)
    }

    /// Appends a content that lies in one piece.
    pub(super) fn append_view(&mut self, content: &ContentView<'_>) -> Result<()> {
        let bytes = content.bytes();
        if bytes.len() <= INLINE_BYTES_MAX || self.spent == Some(content.block_offset) {
            return self.append_copy(bytes);
        }
        let range = (u32::try_from(content.range.start), u32::try_from(bytes.len()));
        let (Some(index), (Ok(offset), Ok(length))) = (self.index_of(content), range) else {
            return self.append_copy(bytes);
        };
        match self.builder.try_append_view(index, offset, length) {
            Ok(()) => Ok(()),
            // Text that is not UTF-8.
            Err(_) => self.append_copy(bytes),
        }
    }

    /// The number of the buffer that `content` lies in; `None` where it is larger than buffers can be.
    fn index_of(&mut self, content: &ContentView<'_>) -> Option<u32> {
        let current = self.current.as_ref().filter(|block| block.offset == content.block_offset);
        if let Some(block) = current {
            return Some(block.index);
        }
        if content.block.len() as u64 > CELL_BYTES_MAX {
            return None;
        }
        let index = self.builder.append_block(Buffer::from(Bytes::clone(content.block)));
        self.pinned += content.block.len();
        self.current = Some(Block { offset: content.block_offset, index });
        Some(index)
    }

    /// Appends a content that was gathered; its memory may go to `spare` when nobody looks at it any more.
    pub(super) fn append(&mut self, content: Vec<u8>, spare: Option<&Spare>) -> Result<()> {
        let length = content.len();
        // Between views, a value that shared a block would have it to itself.
        let is_alone = length >= OWN_BLOCK_BYTES_MIN || self.pinned > 0 && length > INLINE_BYTES_MAX;
        if !is_alone || self.is_text() && str::from_utf8(&content).is_err() {
            return self.append_copy(&content);
        }
        let length = u32::try_from(length).map_err(|_| cell_too_large(length as u64))?;
        self.copied += content.len();
        let block = match spare {
            Some(spare) => Buffer::from(spare.lend(content, length as usize)),
            None => Buffer::from_vec(content),
        };
        let index = self.builder.append_block(block);
        self.builder.try_append_view(index, 0, length).map_err(internal)
    }

    fn append_copy(&mut self, content: &[u8]) -> Result<()> {
        self.copied += self.builder.append_value(content)?;
        Ok(())
    }

    pub(super) fn append_null(&mut self) {
        match &mut self.builder {
            Builder::Content(builder) => builder.append_null(),
            Builder::Text(builder, _) => builder.append_null(),
        }
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        (self.copied, self.pinned) = (0, 0);
        if let Some(block) = self.current.take() {
            self.spent = Some(block.offset);
        }
        match &mut self.builder {
            Builder::Content(builder) => Arc::new(builder.finish()),
            Builder::Text(builder, _) => Arc::new(builder.finish()),
        }
    }
}

impl Builder {
    /// One whose small values share blocks of `bytes`, within what is sensible.
    fn content(bytes: usize) -> Self {
        Self::Content(Box::new(BinaryViewBuilder::new().with_fixed_block_size(shared_block_bytes(bytes))))
    }

    fn text(bytes: usize, policy: OnInvalidUtf8) -> Self {
        Self::Text(Box::new(StringViewBuilder::new().with_fixed_block_size(shared_block_bytes(bytes))), policy)
    }

    fn len(&self) -> usize {
        match self {
            Self::Content(builder) => builder.len(),
            Self::Text(builder, _) => builder.len(),
        }
    }

    fn append_block(&mut self, block: Buffer) -> u32 {
        match self {
            Self::Content(builder) => builder.append_block(block),
            Self::Text(builder, _) => builder.append_block(block),
        }
    }

    fn try_append_view(&mut self, index: u32, offset: u32, length: u32) -> Result<(), ArrowError> {
        match self {
            Self::Content(builder) => builder.try_append_view(index, offset, length),
            Self::Text(builder, _) => builder.try_append_view(index, offset, length),
        }
    }

    /// Copies `content`; gives the length of the value.
    fn append_value(&mut self, content: &[u8]) -> Result<usize> {
        match self {
            Self::Content(builder) => {
                builder.append_value(content);
                Ok(content.len())
            }
            Self::Text(builder, policy) => {
                let text = utf8::decode(content, *policy)?;
                // A character that replaces a byte takes three.
                let length = text.as_ref().map_or(0, |text| text.len());
                if length as u64 > CELL_BYTES_MAX {
                    return Err(cell_too_large(length as u64));
                }
                builder.append_option(text);
                Ok(length)
            }
        }
    }
}

fn shared_block_bytes(bytes: usize) -> u32 {
    u32::try_from(block_bytes(bytes)).unwrap_or(u32::MAX)
}
