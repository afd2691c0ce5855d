//! Encoded pages in memory, and how the Parquet library reads them when they are appended to a file.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parquet::column::page::{CompressedPage, Page, PageWriteSpec, PageWriter};
use parquet::errors::Result;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};

use super::pages::Scratch;

/// The first pieces are small ones, since there may be thousands of columns with hardly a value.
const PIECE_BYTES_MIN: usize = 1 << 10;
const PIECE_BYTES_MAX: usize = 256 << 10;

/// Bytes, in as many pieces as it takes.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pub(super) pieces: Vec<Vec<u8>>,
    pub(super) bytes: usize,
}

impl Pieces {
    pub(super) fn memory(&self) -> usize {
        self.pieces.iter().map(Vec::capacity).sum()
    }

    /// Appends the page that `page` makes of what has been compressed.
    pub(super) fn put_page(
        &mut self,
        page: impl FnOnce(Bytes) -> Page,
        uncompressed_bytes: usize,
        scratch: &mut Scratch,
    ) -> Result<PageWriteSpec> {
        let bytes = Bytes::from(std::mem::take(&mut scratch.compressed));
        let page = CompressedPage::new(page(bytes.clone()), uncompressed_bytes);
        let mut sink = TrackedWrite::new(self);
        let mut writer = SerializedPageWriter::new(&mut sink);
        let spec = writer.write_page(page)?;
        writer.close()?;
        // The page is gone, and its memory serves the next one.
        scratch.compressed = bytes.try_into_mut().map_or_else(|_| Vec::new(), |bytes: BytesMut| Vec::from(bytes));
        Ok(spec)
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.pieces.last().map_or(0, |piece| piece.capacity() - piece.len());
        if room == 0 && !bytes.is_empty() {
            let more = bytes.len().max(self.bytes / 4).clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX);
            self.pieces.push(Vec::with_capacity(more));
        }
        let Some(piece) = self.pieces.last_mut() else { return Ok(0) };
        // A piece is filled to its end, and what is left comes again.
        let taken = bytes.len().min(piece.capacity() - piece.len());
        piece.extend_from_slice(&bytes[..taken]);
        self.bytes += taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Its bytes, as the Parquet library reads them.
#[derive(Debug, Clone)]
pub(super) struct ChunkPages {
    pieces: Arc<[Bytes]>,
    bytes: usize,
}

impl ChunkPages {
    pub(super) fn new(pieces: Pieces) -> Self {
        Self { pieces: pieces.pieces.into_iter().map(Bytes::from).collect(), bytes: pieces.bytes }
    }
}

impl Length for ChunkPages {
    fn len(&self) -> u64 {
        self.bytes as u64
    }
}

impl ChunkReader for ChunkPages {
    type T = PiecesReader;

    fn get_read(&self, start: u64) -> Result<PiecesReader> {
        let mut reader = PiecesReader { pieces: Arc::clone(&self.pieces), next: 0, current: Bytes::new() };
        io::copy(&mut reader.by_ref().take(start), &mut io::sink())?;
        Ok(reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut bytes = vec![0; length];
        self.get_read(start)?.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

#[derive(Debug)]
pub(super) struct PiecesReader {
    pieces: Arc<[Bytes]>,
    next: usize,
    current: Bytes,
}

impl Read for PiecesReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            let Some(next) = self.pieces.get(self.next) else { return Ok(0) };
            self.current = next.clone();
            self.next += 1;
        }
        let bytes = self.current.len().min(out.len());
        out[..bytes].copy_from_slice(&self.current.split_to(bytes));
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use parquet::basic::Encoding;

    use super::*;

    #[test]
    fn pieces_are_filled_and_read_as_one() {
        let mut pieces = Pieces::default();
        let mut all = Vec::new();
        for bytes in [0, 1, 1_023, 0, 30, 500_000, 30, 500_000, 30, 2_000_000, 7] {
            let written = vec![all.len().to_le_bytes()[0]; bytes];
            pieces.write_all(&written).unwrap();
            all.extend(written);
        }
        assert_eq!(pieces.bytes, all.len());
        assert!(pieces.memory() <= all.len() + PIECE_BYTES_MAX);
        assert!(pieces.pieces.iter().all(|piece| piece.capacity() <= PIECE_BYTES_MAX));
        let pages = ChunkPages::new(pieces);
        for start in [0, 1, 1_024, 500_000, all.len() - 1, all.len()] {
            let mut read = Vec::new();
            pages.get_read(start as u64).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, all[start..]);
            assert_eq!(pages.get_bytes(start as u64, all.len() - start).unwrap(), all[start..]);
        }
        assert!(pages.get_bytes(1, all.len()).is_err());
    }

    #[test]
    fn a_page_that_is_too_large_is_refused() {
        let page = |bytes| {
            let page = |buf| Page::DictionaryPage { buf, num_values: 1, encoding: Encoding::PLAIN, is_sorted: false };
            Pieces::default().put_page(page, bytes, &mut Scratch::default()).map(|_| ())
        };
        let most = i32::MAX.cast_unsigned() as usize;
        assert!(page(most).is_ok());
        assert!(page(most + 1).unwrap_err().to_string().contains("size overflow"));
    }
}
