//! How much memory a piece of code holds at its peak: for "never more than its limit".
//!
//! [`peak_of`] sees what Rust allocates, exactly. The C libraries (zstd, liblzma) allocate behind its back, so
//! [`heap_bytes`] asks the C library how much there is; whoever wants a peak of that has to ask often.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator, with a count for each thread.
struct Counting;

impl Counting {
    fn add(bytes: usize) {
        let live = LIVE.get() + bytes as i64;
        LIVE.set(live);
        PEAK.set(PEAK.get().max(live));
    }

    fn remove(bytes: usize) {
        LIVE.set(LIVE.get() - bytes as i64);
    }
}

// SAFETY: every call goes to the system's allocator as it is; the counters don't allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::remove(layout.size());
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Both may exist for a moment, where the block has to move.
        Self::add(new_size);
        Self::remove(layout.size());
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

/// What `run` returns, and the most bytes that this thread held meanwhile, beyond what it held before.
pub fn peak_of<T>(run: impl FnOnce() -> T) -> (T, u64) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = run();
    (result, u64::try_from(PEAK.get() - before).unwrap_or(0))
}

/// Bytes of the process's whole heap, that of C libraries included.
pub fn heap_bytes() -> u64 {
    // SAFETY: it takes nothing and returns a struct of numbers.
    let info = unsafe { libc::mallinfo2() };
    (info.uordblks + info.hblkhd) as u64
}
