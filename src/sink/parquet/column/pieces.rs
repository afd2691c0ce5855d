//! Encoded pages in memory, and how the Parquet library reads them when they are appended to a file.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Mutex, PoisonError};

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

/// The bytes of a chunk, as the Parquet library reads them: once. What is read is let go, since it is copied to where it
/// goes; a large column would be there twice.
#[derive(Debug)]
pub(super) struct ChunkPages {
    pieces: Mutex<VecDeque<Bytes>>,
    bytes: usize,
}

impl ChunkPages {
    pub(super) fn new(pieces: Pieces) -> Self {
        let bytes = pieces.bytes;
        Self { pieces: Mutex::new(pieces.pieces.into_iter().map(Bytes::from).collect()), bytes }
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
        let mut reader = PiecesReader(std::mem::take(&mut *self.pieces.lock().unwrap_or_else(PoisonError::into_inner)));
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
pub(super) struct PiecesReader(VecDeque<Bytes>);

impl Read for PiecesReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.0.front_mut() else { return Ok(0) };
        let bytes = piece.len().min(out.len());
        out[..bytes].copy_from_slice(&piece.split_to(bytes));
        if piece.is_empty() {
            self.0.pop_front();
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use parquet::basic::Encoding;

    use super::*;

    #[test]
    fn pieces_are_filled_and_read_as_one() {
        let lengths = [0, 1, 1_023, 0, 30, 500_000, 30, 500_000, 30, 2_000_000, 7];
        let all: Vec<u8> = (0_u8..).zip(lengths).flat_map(|(byte, length)| vec![byte; length]).collect();
        let pages = || {
            let (mut pieces, mut begin) = (Pieces::default(), 0);
            for length in lengths {
                pieces.write_all(&all[begin..begin + length]).unwrap();
                begin += length;
            }
            assert_eq!(pieces.bytes, all.len());
            assert!(pieces.memory() <= all.len() + PIECE_BYTES_MAX);
            assert!(pieces.pieces.iter().all(|piece| piece.capacity() <= PIECE_BYTES_MAX));
            ChunkPages::new(pieces)
        };
        for start in [0, 1, 1_024, 500_000, all.len() - 1, all.len()] {
            let mut read = Vec::new();
            pages().get_read(start as u64).unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, all[start..]);
            assert_eq!(pages().get_bytes(start as u64, all.len() - start).unwrap(), all[start..]);
        }
        assert!(pages().get_bytes(1, all.len()).is_err());
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
