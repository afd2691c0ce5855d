//! Counters that every layer may bump while a scan runs.
//!
//! One [`Stats`] belongs to one partition of one scan. They are plain atomics: the reader of a running query sees them
//! grow, and nobody waits for anybody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A counter that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `n`.
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The value now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds the nanoseconds since `start`.
    pub(crate) fn add_elapsed(&self, start: Instant) {
        self.add(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
}

macro_rules! stats {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What one partition of a scan has done so far. Bytes are bytes, times are nanoseconds.
        #[derive(Debug, Default)]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $name: Count,)+
        }

        impl Stats {
            /// What headers, content, padding and trailers of the archives add up to: `length_bytes`, if all were read to
            /// their ends.
            pub fn tar_bytes(&self) -> u64 {
                let parts = [
                    &self.header_bytes,
                    &self.content_bytes,
                    &self.skipped_bytes,
                    &self.padding_bytes,
                    &self.trailer_bytes,
                ];
                parts.into_iter().map(Count::value).fold(0, u64::saturating_add)
            }

            /// Adds all of `other` to this one.
            pub fn merge(&self, other: &Self) {
                $(self.$name.add(other.$name.value());)+
            }

            /// Every counter by name, for EXPLAIN ANALYZE and tests.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name.value()),)+].into_iter()
            }
        }
    };
}

stats! {
    /// Requests sent to the store for content (GET, HEAD), retries included.
    requests,
    /// Requests that were sent again after a transient failure.
    retries,
    /// Bytes that the continued requests were still to bring when an interrupted body was resumed.
    resumed_bytes,
    /// Bytes that arrived from the store.
    bytes_fetched,
    /// Bytes of object that were hopped over, never fetched.
    bytes_hopped,
    /// Bytes of object that were handed on to be decompressed or parsed; others that were fetched were read over.
    bytes_read,
    /// Bytes that came out of decompressors (archives' and members').
    bytes_decompressed,
    /// Lengths of the tar streams of the archives that were read to their end or given up; of the latter what they have
    /// at least.
    length_bytes,
    /// Bytes of those archives that were headers, extension headers and sparse maps.
    header_bytes,
    /// Stored content that was read.
    content_bytes,
    /// Stored content that was not asked for.
    skipped_bytes,
    /// Padding behind content.
    padding_bytes,
    /// End markers, and what stands behind them.
    trailer_bytes,
    /// Archives opened.
    archives_opened,
    /// Archives given up, by `on_error` or `on_unreachable`.
    archives_skipped,
    /// Archives read to their end.
    archives_finished,
    /// Members whose header was read.
    members_scanned,
    /// Members left out: by a filter, by the member glob, or because they are damaged or no record member.
    members_skipped,
    /// Rows emitted.
    rows,
    /// Records dropped or mended by `on_bad_row`.
    bad_rows,
    /// Archives and members left out, whole or in part, by `on_error` or `on_unreachable`.
    errors,
    /// Time that the scan waited for bytes from the store.
    fetch_wait_nanos,
    /// Time spent in decompressors.
    decompress_nanos,
    /// Time spent in turning content into batches.
    decode_nanos,
}
