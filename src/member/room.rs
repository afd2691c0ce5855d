//! Room for the next batch.
//!
//! A decoder, or a fork of it, gathers a batch in vectors that begin empty. One that grows as its values come is copied over
//! and over; so each has room from its first value on for what a batch took before.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What one vector of a decoder held when a batch was taken out, in whichever fork that was.
#[derive(Debug, Clone, Default)]
pub(crate) struct Room(Arc<AtomicUsize>);

impl Room {
    /// Makes room in a vector that has none yet.
    #[inline]
    pub(crate) fn open<T>(&self, values: &mut Vec<T>) {
        if values.capacity() == 0 {
            values.reserve(self.0.load(Ordering::Relaxed));
        }
    }

    /// Takes the values out. Short batches at the end of a stretch are forgotten soon, and so is one that was large.
    pub(crate) fn take<T>(&self, values: &mut Vec<T>) -> Vec<T> {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(values.len().max(before - before / 8), Ordering::Relaxed);
        mem::take(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_what_batches_took() {
        let room = Room::default();
        let mut values = Vec::<u8>::new();
        room.open(&mut values);
        assert_eq!(values.capacity(), 0);
        values.resize(1_000, 0);
        assert_eq!(room.take(&mut values).len(), 1_000);
        assert_eq!(values.capacity(), 0, "a decoder that has come to its end needs none");
        room.clone().open(&mut values);
        assert!(values.capacity() >= 1_000);
        for _ in 0..100 {
            room.take(&mut vec![0_u8; 10]);
        }
        let mut values = Vec::<u8>::new();
        room.open(&mut values);
        assert!((10..100).contains(&values.capacity()), "{}", values.capacity());
    }
}
