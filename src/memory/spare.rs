//! [`Spare`]: buffers that are used again once nobody looks at what was in them.
//!
//! A fresh buffer costs a page fault and a cleared page for every 4 KiB, more than some take to fill it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// Buffers to spare. Clones share them.
#[derive(Clone)]
pub(crate) struct Spare(Arc<Shelf>);

struct Shelf {
    buffers: Mutex<Vec<Vec<u8>>>,
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

    /// One that has room for `bytes`, with something in it that has no meaning, if there is one.
    pub(crate) fn reuse(&self, bytes: usize) -> Option<Vec<u8>> {
        if bytes < self.0.bytes_min {
            return None;
        }
        let mut buffers = self.0.buffers.lock();
        let place = buffers.iter().position(|buffer| buffer.capacity() >= bytes)?;
        Some(buffers.swap_remove(place))
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
        if buffers.len() < shelf.most {
            buffers.push(std::mem::take(&mut self.buffer));
        } else if let Some(smallest) = buffers.iter_mut().min_by_key(|buffer| buffer.capacity())
            && smallest.capacity() < bytes
        {
            // A larger one serves more.
            std::mem::swap(smallest, &mut self.buffer);
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
    fn the_largest_few_are_kept() {
        let spare = Spare::of(3, 10);
        let lent: Vec<Bytes> = [9, 10, 11, 20, 30, 10, 40].map(|bytes| spare.lend(vec![0; bytes], 1)).into();
        drop(lent);
        let mut kept: Vec<_> = std::iter::from_fn(|| spare.reuse(10)).map(|buffer| buffer.capacity()).collect();
        kept.sort_unstable();
        assert_eq!(kept, [20, 30, 40]);
    }
}
