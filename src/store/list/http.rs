//! Archives named by URL. There is no listing: every URL that the braces make is asked for, and a missing one is an
//! error, since nothing else would tell that it is missing.

use futures::{FutureExt, StreamExt, stream};
use object_store::path::Path;
use object_store::{Error as StoreError, GetOptions, ObjectMeta, ObjectStore};
use percent_encoding::percent_decode_str;

use super::{ArchiveObject, HEADS_MAX, Lister, Listing};
use crate::error::{Error, ErrorKind, Result};
use crate::locator::redacted;
use crate::store::fault::{RetryFailure, describe, is_transient};
use crate::store::http::UNKNOWN_SIZE;
use crate::store::retry::retry;

pub(super) async fn list(lister: &Lister<'_>) -> Result<Listing> {
    let pattern = lister.locator.pattern()?;
    let paths: Vec<&str> = pattern.alternatives().iter().filter_map(|alternative| alternative.as_literal()).collect();
    let keys = paths.len() as u64;
    // Boxed: the compiler can't prove a stream of the bare futures to be `Send` for every lifetime.
    let requests: Vec<_> = paths.into_iter().map(|path| lister.url(path).boxed()).collect();
    let answers: Vec<Result<ArchiveObject>> = stream::iter(requests).buffered(HEADS_MAX).collect().await;
    let mut listing = Listing { keys, ..Listing::default() };
    for answer in answers {
        match answer {
            Ok(archive) => listing.archives.push(archive),
            Err(error) if error.kind() == ErrorKind::Unreachable => listing.refused.push(error),
            Err(error) => return Err(error),
        }
    }
    Ok(listing)
}

impl Lister<'_> {
    /// What is at one URL, whose path is `path`, percent-encoded as it was given.
    async fn url(&self, path: &str) -> Result<ArchiveObject> {
        let url = self.locator.url_of(path);
        let location =
            decoded(path).map_err(|reason| Error::new(ErrorKind::Locator, reason).in_archive(redacted(&url)))?;
        // Not every server allows HEAD or tells the length then, and a presigned URL is signed for GET only.
        let meta = match self.head(&location).await {
            Ok(meta) if meta.size != UNKNOWN_SIZE => meta,
            Err(failure) if is_transient(&failure.error) => return Err(describe(&failure, &url)),
            _ => self.first_byte(&location).await.map_err(|failure| describe(&failure, &url))?,
        };
        Ok(self.archive(url, meta))
    }

    /// Asks for the first byte, whose answer tells the length; where the server knows no ranges, for all, unread.
    async fn first_byte(&self, location: &Path) -> Result<ObjectMeta, RetryFailure> {
        let ranged = GetOptions { range: Some((0..1_u64).into()), ..GetOptions::default() };
        match self.get(location, ranged).await {
            Err(RetryFailure { error: StoreError::NotSupported { .. }, .. }) => {
                self.get(location, GetOptions::default()).await
            }
            answer => answer,
        }
    }

    async fn get(&self, location: &Path, options: GetOptions) -> Result<ObjectMeta, RetryFailure> {
        let url = self.locator.url_of(location.as_ref());
        retry(self.policy, self.stats, &url, || async {
            self.requests.add(1);
            Ok(self.connection.store.get_opts(location, options.clone()).await?.meta)
        })
        .await
    }
}

/// The client encodes what it sends, so its path is the decoded one.
fn decoded(path: &str) -> Result<Path, String> {
    let mut names = Vec::new();
    for name in path.split('/') {
        let name = percent_decode_str(name).decode_utf8().map_err(|_| "its percent-encoded bytes are not UTF-8")?;
        if name.contains('/') {
            return Err("an encoded slash (%2F) can't be sent as such".into());
        }
        names.push(name);
    }
    super::location_of(&names.join("/"))
}
