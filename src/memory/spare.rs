//! [`Spare`]: buffers that are used again once nobody looks at what was in them.
//!
//! A fresh buffer costs a page fault and a cleared page for every 4 KiB, more than some take to fill it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// Buffers to spare. Clones share them.
#[derive(Clone)]
pub(crate) struct Spare(Arc<Shelf>);

struct Shelf {
    /// The last one that came back is the last one here.
    buffers: Mutex<VecDeque<Vec<u8>>>,
    /// How many are kept at most.
    most: usize,
    /// Smaller ones aren't worth keeping.
    bytes_min: usize,
}

impl Spare {
    /// Keeps no more than `most`, of at least `bytes_min` each.
    pub(crate) fn of(most: usize, bytes_min: usize) -> Self {
        Self(Arc::new(Shelf { buffers: Mutex::default(), most, bytes_min }))
    }

    /// One that has room for `bytes`, with something in it that has no meaning, if there is one. It has at most twice the room:
    /// whoever looks into it keeps all of it.
    pub(crate) fn reuse(&self, bytes: usize) -> Option<Vec<u8>> {
        if bytes < self.0.bytes_min {
            return None;
        }
        let mut buffers = self.0.buffers.lock();
        let place = buffers.iter().rposition(|buffer| (bytes..=2 * bytes).contains(&buffer.capacity()))?;
        buffers.remove(place)
    }

    /// An empty one with room for `bytes`.
    pub(crate) fn take(&self, bytes: usize) -> Vec<u8> {
        let mut buffer = self.reuse(bytes).unwrap_or_else(|| Vec::with_capacity(bytes));
        buffer.clear();
        buffer
    }

    /// The first `length` bytes of `buffer`, which comes back with their last slice.
    pub(crate) fn lend(&self, buffer: Vec<u8>, length: usize) -> Bytes {
        Bytes::from_owner(Lent { buffer, length, shelf: Arc::clone(&self.0) })
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.buffers.lock().len()
    }
}

impl fmt::Debug for Spare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spare").field("most", &self.0.most).finish_non_exhaustive()
    }
}

struct Lent {
    buffer: Vec<u8>,
    length: usize,
    shelf: Arc<Shelf>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let (bytes, shelf) = (self.buffer.capacity(), &self.shelf);
        if bytes < shelf.bytes_min {
            return;
        }
        let mut buffers = shelf.buffers.lock();
        buffers.push_back(std::mem::take(&mut self.buffer));
        if buffers.len() > shelf.most {
            // What comes is like what came last.
            buffers.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_its_last_slice() {
        let spare = Spare::of(3, 10);
        let bytes = spare.lend(b"0123456789".to_vec(), 4);
        let slice = bytes.slice(1..3);
        assert_eq!((&bytes[..], &slice[..]), (&b"0123"[..], &b"12"[..]));
        drop(bytes);
        assert_eq!(spare.len(), 0);
        drop(slice);
        assert_eq!(spare.len(), 1);
        assert_eq!((spare.reuse(1_000), spare.reuse(9)), (None, None));
        assert_eq!(spare.clone().reuse(10).as_deref(), Some(&b"0123456789"[..]));
        assert_eq!(spare.take(1_000).capacity(), 1_000);
    }

    #[test]
    fn the_last_few_are_kept_for_what_is_about_as_long() {
        let spare = Spare::of(3, 10);
        for bytes in [9, 30, 11, 20, 10, 9, 40] {
            drop(spare.lend(vec![0; bytes], 1));
        }
        assert_eq!(spare.len(), 3);
        let lengths = [100, 41, 19, 10, 10, 25, 20].map(|bytes| spare.reuse(bytes).map(|buffer| buffer.len()));
        assert_eq!(lengths, [None, None, Some(20), Some(10), None, Some(40), None]);
        drop(Spare::of(0, 1).lend(vec![0; 10], 10));
    }
}
