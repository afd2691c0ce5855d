//! [`Account`]: what the bytes of one tar stream were taken for, so that none is lost in silence.
//!
//! Each part is counted by whoever knows it: headers and the trailer by the parser, content and padding by who takes or
//! skips them. The length that they have to add up to is counted elsewhere, where bytes come in: it is the object's, or
//! what came out of the decompressor.

use crate::error::{Error, ErrorKind, Result};
use crate::stats::Stats;

/// Bytes of a tar stream by what they are. Holes of sparse members are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Header blocks, extension headers and sparse maps.
    pub(crate) headers: u64,
    /// Stored content that was given out.
    pub(crate) content: u64,
    /// Stored content that nobody asked for: read over, or hopped over.
    pub(crate) skipped: u64,
    /// Behind content, up to the next block.
    pub(crate) padding: u64,
    /// Zero blocks, and what stands behind them.
    pub(crate) trailer: u64,
}

impl Account {
    pub(crate) fn total(&self) -> u64 {
        let parts = [self.headers, self.content, self.skipped, self.padding, self.trailer];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    /// Notes that `bytes`, which `content_bytes` of content and then padding begin with, were stepped over.
    pub(super) fn skip(&mut self, bytes: u64, content_bytes: u64) {
        self.skipped += bytes.min(content_bytes);
        self.padding += bytes.saturating_sub(content_bytes);
    }

    /// Takes back the last `missing` bytes of what was stepped over last: the stream had ended before them.
    pub(super) fn take_back(&mut self, missing: u64, padding: u64) {
        let padding = missing.min(padding);
        self.padding = self.padding.saturating_sub(padding);
        self.skipped = self.skipped.saturating_sub(missing - padding);
    }

    /// Promise 1: what was looked at adds up to what there was.
    pub(super) fn close(&self, length: u64) -> Result<()> {
        if self.total() == length {
            return Ok(());
        }
        let Self { headers, content, skipped, padding, trailer } = self;
        let message = format!(
            "{} of {length} bytes are accounted for (headers {headers}, content {content}, skipped {skipped}, padding \
             {padding}, trailer {trailer}): please report this archive as a bug",
            self.total()
        );
        Err(Error::new(ErrorKind::Archive, message))
    }

    /// Adds this archive to the counters of its partition.
    pub(super) fn add_to(&self, stats: &Stats) {
        stats.header_bytes.add(self.headers);
        stats.content_bytes.add(self.content);
        stats.skipped_bytes.add(self.skipped);
        stats.padding_bytes.add(self.padding);
        stats.trailer_bytes.add(self.trailer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_closes_or_says_what_it_has() {
        let mut account = Account { headers: 1024, content: 700, skipped: 0, padding: 0, trailer: 1024 };
        account.skip(512 + 324, 512);
        assert_eq!((account.skipped, account.padding), (512, 324));
        assert!(account.close(3584).is_ok());
        for length in [3583, 3585, 0] {
            let says = format!(
                "3584 of {length} bytes are accounted for (headers 1024, content 700, skipped 512, padding 324, trailer 1024)"
            );
            assert!(account.close(length).unwrap_err().to_string().starts_with(&says), "{length}");
        }
        account.take_back(330, 324);
        assert_eq!((account.skipped, account.padding), (506, 0));
    }
}
