//! What a locator names right now: a listing, made anew for every scan.
//!
//! An object with exactly the given name comes first; only when there is none is the name a pattern. Buckets are listed
//! from the pattern's literal prefix, page by page; local directories are walked ([`local`]); URLs are asked for one
//! by one ([`http`]). Whatever can't be read later is an error here, with the name and the remedy: a directory, an
//! empty object, a key that the store's client can't address, a pattern that matches nothing.

mod http;
mod local;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::{self, Path};
use object_store::{Error as StoreError, ObjectMeta, ObjectStoreExt};

use crate::error::{Error, ErrorKind, Result};
use crate::locator::{Locator, Pattern, Scheme, redacted};
use crate::stats::{Count, Stats};
use crate::store::Connection;
use crate::store::fault::{RetryFailure, describe, status};
use crate::store::http::UNKNOWN_SIZE;
use crate::store::retry::{RetryPolicy, retry, retry_unlimited, within};

/// Archives that one locator may name: they are held in memory, some 300 bytes each.
const ARCHIVES_MAX: usize = 4_000_000;
/// HEAD requests of one listing under way at once.
const HEADS_MAX: usize = 16;
/// Pages that may be refused on the way around keys that the client can't address; each key costs about four.
const REFUSALS_MAX: usize = 400;
/// Keys a page has when we don't say otherwise, as all stores have it.
const PAGE_KEYS: usize = 1000;
/// The longest key of S3, GCS and Azure; a longer pattern can't be the name of an object.
const KEY_BYTES_MAX: usize = 1024;

/// One archive as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArchiveObject {
    /// Given as a locator, it reads this object.
    pub(crate) url: String,
    /// What its store calls it.
    pub(crate) location: Path,
    /// Bytes, at least one; None where a web server does not tell.
    pub(crate) size: Option<u64>,
    pub(crate) e_tag: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) last_modified: DateTime<Utc>,
}

/// The archives of a locator, ordered by the bytes of their URLs, each once; at least one, refused ones counted.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) archives: Vec<ArchiveObject>,
    /// Keys or names that were compared with the pattern.
    pub(crate) keys: u64,
    /// Requests sent, retries included; directories read, for files.
    pub(crate) requests: u64,
    /// Sizes of the archives, where known, summed.
    pub(crate) bytes: u64,
    /// Why others that the locator names can't be read: an empty object, a URL that can't be had.
    pub(crate) refused: Vec<Error>,
}

impl Listing {
    /// Of a locator all of whose archives are out of reach.
    pub(crate) fn refused(error: Error) -> Self {
        Self { refused: vec![error], ..Self::default() }
    }

    /// The listing, if nothing was refused that `passes` does not let pass.
    pub(crate) fn unless_refused(mut self, passes: impl Fn(&Error) -> bool) -> Result<Self> {
        match self.refused.iter().position(|error| !passes(error)) {
            Some(place) => Err(self.refused.swap_remove(place)),
            None => Ok(self),
        }
    }
}

/// Lists the archives of `locator`.
///
/// # Errors
///
/// [`ErrorKind::Locator`] where the pattern matches nothing, or what can't be an archive; [`ErrorKind::Unreachable`]
/// where the one object is not there, or the store can't be asked; [`ErrorKind::Limit`] for too many archives.
pub(crate) async fn list(
    locator: &Locator,
    connection: &Connection,
    policy: &RetryPolicy,
    stats: &Stats,
) -> Result<Listing> {
    let lister = Lister { locator, what: locator.to_string(), connection, policy, stats, requests: Count::default() };
    let listing = match locator.store().scheme() {
        Scheme::File => local::list(&lister).await,
        Scheme::Http | Scheme::Https => http::list(&lister).await,
        Scheme::S3 | Scheme::Gs | Scheme::Az => lister.bucket().await,
    };
    let listing = listing.and_then(|listing| lister.finish(listing));
    listing.map_err(|error| match error.kind() {
        ErrorKind::Locator | ErrorKind::Unreachable if locator.may_mean_members() => {
            error.with_remedy("members are named behind ' :: ', with white space on both sides")
        }
        _ => error,
    })
}

/// What every request of a listing needs.
struct Lister<'a> {
    locator: &'a Locator,
    /// The locator as messages name it.
    what: String,
    connection: &'a Connection,
    policy: &'a RetryPolicy,
    stats: &'a Stats,
    requests: Count,
}

/// What the pages of a listing brought so far.
#[derive(Default)]
struct Found {
    matching: Vec<ArchiveObject>,
    keys: u64,
}

impl Lister<'_> {
    /// Objects of a bucket: the one with exactly this key, or else the pattern.
    async fn bucket(&self) -> Result<Listing> {
        if let Some(meta) = self.verbatim().await? {
            let archives = vec![self.archive(self.locator.url_of(meta.location.as_ref()), meta)];
            return Ok(Listing { archives, keys: 1, ..Listing::default() });
        }
        let pattern = self.locator.pattern()?;
        let mut found = Found::default();
        for prefix in pattern.prefixes() {
            match &self.connection.pager {
                Some(pager) => self.list_pages(pager.as_ref(), prefix, pattern, &mut found).await?,
                None => self.list_directory(prefix, pattern, &mut found).await?,
            }
        }
        let Found { matching, keys } = found;
        let archives = self.verified(matching).await?;
        Ok(Listing { archives, keys, ..Listing::default() })
    }

    /// The object whose key is the locator's text. None if there is none and the text can be a pattern.
    async fn verbatim(&self) -> Result<Option<ObjectMeta>> {
        let (key, literal) = (self.locator.key(), self.locator.is_literal());
        let location = match location_of(key) {
            Ok(_) if !literal && key.len() > KEY_BYTES_MAX => return Ok(None),
            Ok(location) => location,
            Err(_) if !literal => return Ok(None),
            Err(reason) => return Err(self.error(ErrorKind::Locator, reason)),
        };
        let failure = match self.head(&location).await {
            Ok(meta) => return Ok(Some(meta)),
            Err(failure) => failure,
        };
        // A client error may be about the odd name: then the listing says whether anything is wrong.
        let refused = is_missing(&failure) || status(&failure.error).is_some_and(|status| (400..500).contains(&status));
        if refused && !literal { Ok(None) } else { Err(self.explain(&failure).await) }
    }

    /// Why an object that was named exactly can't be had. HEAD has no body to tell, so a listing is asked for one.
    async fn explain(&self, failure: &RetryFailure) -> Error {
        let denied = matches!(failure.error, StoreError::PermissionDenied { .. });
        if !denied && !is_missing(failure) {
            return describe(failure, &self.locator.to_string());
        }
        match self.any_key_below(self.locator.key()).await {
            Ok(true) => {
                let remedy = format!("is a directory: name the archives in it, e.g. '{}/*.tar'", self.locator);
                self.error(ErrorKind::Locator, remedy)
            }
            Ok(false) if denied => describe(failure, &self.locator.to_string()),
            // It is the bucket that is missing.
            Err(telling) if is_missing(&telling) => describe(&telling, &self.locator.to_string()),
            Err(telling) if denied => {
                let known = describe(&telling, &self.locator.to_string());
                // Nothing else says whether the object exists; wrong signatures and the like have a code of their own.
                let hint = if known.message().contains("AccessDenied") {
                    "; where the bucket may not be listed, a key that does not exist looks the same"
                } else {
                    ""
                };
                self.error(ErrorKind::Unreachable, format!("{}{hint}", known.message()))
            }
            _ => self.error(ErrorKind::Unreachable, "there is no such object: check the key (case counts)"),
        }
    }

    async fn any_key_below(&self, key: &str) -> Result<bool, RetryFailure> {
        let prefix = format!("{key}/");
        if let Some(pager) = &self.connection.pager {
            let options = PaginatedListOptions { max_keys: Some(1), ..PaginatedListOptions::default() };
            return match self.page(pager.as_ref(), &prefix, &options).await {
                // What lies below can't be addressed, but it is there.
                Err(RetryFailure { error: StoreError::InvalidPath { .. }, .. }) => Ok(true),
                page => Ok(!page?.result.objects.is_empty()),
            };
        }
        let prefix = Path::parse(&prefix).ok();
        retry(self.policy, self.stats, &self.what, || async {
            self.requests.add(1);
            self.connection.store.list(prefix.as_ref()).try_next().await.map(|first| first.is_some())
        })
        .await
    }

    /// Every key that begins with `prefix`, page by page.
    async fn list_pages(
        &self,
        pager: &dyn PaginatedListStore,
        prefix: &str,
        pattern: &Pattern,
        found: &mut Found,
    ) -> Result<()> {
        // object_store drops from Azure's listing the blob that the prefix names completely: a shorter prefix has it.
        let prefix = match prefix.char_indices().next_back() {
            Some((last, _)) if self.locator.store().scheme() == Scheme::Az => &prefix[..last],
            _ => prefix,
        };
        let mut options = PaginatedListOptions::default();
        let mut refusals = 0;
        loop {
            match self.page(pager, prefix, &options).await {
                Ok(page) => {
                    self.take(found, page.result.objects, pattern)?;
                    let Some(token) = page.page_token else { return Ok(()) };
                    if options.page_token.as_ref() == Some(&token) {
                        let reason = "the store sent one page of its listing twice: can't go on";
                        return Err(self.error(ErrorKind::Unreachable, reason));
                    }
                    options.page_token = Some(token);
                    options.max_keys = options.max_keys.map(|keys| keys * 4).filter(|keys| *keys < PAGE_KEYS);
                }
                Err(RetryFailure { error: StoreError::InvalidPath { source }, .. }) => {
                    refusals += 1;
                    self.go_around(&source, pattern, refusals, &mut options)?;
                }
                Err(failure) => return Err(describe(&failure, &self.locator.to_string())),
            }
        }
    }

    /// A key such as `a//b`, that the client can't address, makes it refuse the whole page. If the pattern means that
    /// key, the listing fails with its name; if not, smaller pages lead up to it and the next one starts behind it.
    fn go_around(
        &self,
        invalid: &path::Error,
        pattern: &Pattern,
        refusals: usize,
        options: &mut PaginatedListOptions,
    ) -> Result<()> {
        let (path::Error::EmptySegment { path: key } | path::Error::BadSegment { path: key, .. }) = invalid else {
            return Err(self.error(ErrorKind::Unreachable, format!("can't be listed: {invalid}")));
        };
        if pattern.matches(key) {
            return Err(self.unaddressable(key));
        }
        if options.max_keys != Some(1) {
            options.max_keys = Some((options.max_keys.unwrap_or(PAGE_KEYS) / 10).max(1));
            return Ok(());
        }
        // Azure starts at the offset, not behind it, and would send the same key for ever.
        if options.offset.as_ref() == Some(key) || refusals > REFUSALS_MAX {
            return Err(self.unaddressable(key));
        }
        *options = PaginatedListOptions { offset: Some(key.clone()), ..PaginatedListOptions::default() };
        Ok(())
    }

    fn unaddressable(&self, key: &str) -> Error {
        let reason = match location_of(key) {
            Err(reason) => reason,
            Ok(_) => "it can't be addressed".into(),
        };
        let message =
            format!("the bucket holds '{}', and {reason}: rename it or narrow the pattern", key.escape_debug());
        self.error(ErrorKind::Locator, message)
    }

    /// For stores that can't be listed by pages: the directory that holds `prefix`, filtered.
    async fn list_directory(&self, prefix: &str, pattern: &Pattern, found: &mut Found) -> Result<()> {
        let directory = prefix.rsplit_once('/').and_then(|(directory, _)| Path::parse(directory).ok());
        // However long it is, each of its steps must come in time.
        let stall_timeout_ms = self.policy.stall_timeout_ms;
        let objects: Vec<ObjectMeta> = retry_unlimited(self.policy, self.stats, &self.what, || async {
            self.requests.add(1);
            let (mut listed, mut objects) = (self.connection.store.list(directory.as_ref()), Vec::new());
            while let Some(object) = within(stall_timeout_ms, listed.try_next()).await? {
                objects.push(object);
            }
            Ok(objects)
        })
        .await
        .map_err(|failure| describe(&failure, &self.locator.to_string()))?;
        self.take(found, objects, pattern)
    }

    /// The client cuts slashes off the ends of listed keys, so that the marker of a directory, `x.tar/`, looks like an
    /// object `x.tar`, and may look like one that is there as well. What may be such a marker is asked for by name.
    async fn verified(&self, mut matching: Vec<ArchiveObject>) -> Result<Vec<ArchiveObject>> {
        matching.sort_unstable_by(|a, b| a.location.cmp(&b.location).then(b.size.cmp(&a.size)));
        let mut twice = Vec::new();
        matching.dedup_by(|next, kept| {
            let same = next.location == kept.location;
            if same {
                twice.push(kept.location.clone());
            }
            same
        });
        // Nearly all are as they should be, and stay where they are: there may be millions.
        let is_odd =
            |archive: &ArchiveObject| archive.size == Some(0) || twice.binary_search(&archive.location).is_ok();
        let odd = matching.iter().enumerate().filter(|(_, archive)| is_odd(archive));
        let odd: Vec<(usize, Path)> = odd.map(|(place, archive)| (place, archive.location.clone())).collect();
        let checks = odd.into_iter().map(|(place, location)| async move {
            let url = self.locator.url_of(location.as_ref());
            match self.head(&location).await {
                Ok(meta) => Ok((place, Some(self.archive(url, meta)))),
                Err(failure) if is_missing(&failure) => Ok((place, None)),
                Err(failure) => Err(describe(&failure, &url)),
            }
        });
        let checked: Vec<(usize, Option<ArchiveObject>)> =
            stream::iter(checks).buffered(HEADS_MAX).try_collect().await?;
        let mut gone = Vec::new();
        for (place, archive) in checked {
            match archive {
                Some(archive) => matching[place] = archive,
                None => gone.push(place),
            }
        }
        let mut places = 0..matching.len();
        matching.retain(|_| places.next().is_some_and(|place| gone.binary_search(&place).is_err()));
        Ok(matching)
    }

    async fn head(&self, location: &Path) -> Result<ObjectMeta, RetryFailure> {
        let url = self.locator.url_of(location.as_ref());
        retry(self.policy, self.stats, &url, || async {
            self.requests.add(1);
            self.connection.store.head(location).await
        })
        .await
    }

    async fn page(
        &self,
        pager: &dyn PaginatedListStore,
        prefix: &str,
        options: &PaginatedListOptions,
    ) -> Result<PaginatedListResult, RetryFailure> {
        let prefix = Some(prefix).filter(|prefix| !prefix.is_empty());
        retry(self.policy, self.stats, &self.what, || async {
            self.requests.add(1);
            pager.list_paginated(prefix, options.clone()).await
        })
        .await
        .map_err(typed)
    }

    /// Adds those of `objects` that the pattern means.
    fn take(&self, found: &mut Found, objects: Vec<ObjectMeta>, pattern: &Pattern) -> Result<()> {
        found.keys += objects.len() as u64;
        let matching = objects.into_iter().filter(|object| pattern.matches(object.location.as_ref()));
        found.matching.extend(matching.map(|meta| self.archive(self.locator.url_of(meta.location.as_ref()), meta)));
        within_limit(found.matching.len())
    }

    fn archive(&self, url: String, meta: ObjectMeta) -> ArchiveObject {
        let ObjectMeta { location, last_modified, size, e_tag, version } = meta;
        let size = Some(size).filter(|size| *size != UNKNOWN_SIZE);
        ArchiveObject { url, location, size, e_tag, version, last_modified }
    }

    /// Orders the archives and refuses what no scan could read.
    fn finish(&self, mut listing: Listing) -> Result<Listing> {
        listing.archives.sort_unstable_by(|a, b| a.url.cmp(&b.url));
        listing.archives.dedup_by(|a, b| a.url == b.url);
        if listing.archives.is_empty() && listing.refused.is_empty() {
            return Err(self.nothing(listing.keys));
        }
        for empty in listing.archives.extract_if(.., |archive| archive.size == Some(0)) {
            let message =
                "the object is empty (0 bytes), not even an archive without members: remove it or narrow the pattern";
            listing.refused.push(Error::new(ErrorKind::Archive, message).in_archive(redacted(&empty.url)));
        }
        listing.requests += self.requests.value();
        listing.bytes = listing.archives.iter().filter_map(|archive| archive.size).fold(0, u64::saturating_add);
        Ok(listing)
    }

    fn nothing(&self, keys: u64) -> Error {
        let keys = thousands(keys);
        let (thing, looked_at) = match self.locator.store().scheme() {
            Scheme::File => ("file", format!("names compared: {keys}")),
            _ => ("object", format!("keys under '{}': {keys}", self.locator.url_of(self.locator.literal_prefix()))),
        };
        let message = format!("no {thing} matches '{}' ({looked_at}): check the pattern, case counts", self.locator);
        Error::new(ErrorKind::Locator, message)
    }

    fn error(&self, kind: ErrorKind, reason: impl Into<String>) -> Error {
        Error::new(kind, reason).in_archive(self.locator.to_string())
    }
}

/// Whether there is no such object, or no such bucket.
fn is_missing(failure: &RetryFailure) -> bool {
    matches!(failure.error, StoreError::NotFound { .. })
}

/// object_store sorts the answers to HEAD and GET by their status, but not those to a listing.
fn typed(failure: RetryFailure) -> RetryFailure {
    let RetryFailure { error, attempts, elapsed } = failure;
    let path = String::new();
    let error = match status(&error) {
        Some(404) => StoreError::NotFound { path, source: Box::new(error) },
        Some(403) => StoreError::PermissionDenied { path, source: Box::new(error) },
        Some(401) => StoreError::Unauthenticated { path, source: Box::new(error) },
        _ => error,
    };
    RetryFailure { error, attempts, elapsed }
}

fn within_limit(archives: usize) -> Result<()> {
    if archives <= ARCHIVES_MAX {
        return Ok(());
    }
    let message = format!("more than {} archives match: use several narrower locators", thousands(ARCHIVES_MAX as u64));
    Err(Error::new(ErrorKind::Limit, message))
}

/// The key as the client's path, verbatim; the error is why that can't be. `Path::from` would percent-encode it, and
/// `Path::parse` alone cuts slashes off its ends: both name another object.
fn location_of(key: &str) -> Result<Path, String> {
    if key.starts_with('/') || key.ends_with('/') || key.contains("//") {
        return Err("keys with an empty part between slashes can't be addressed".into());
    }
    Path::parse(key)
        .map_err(|_| "keys with '.' or '..' between slashes, or control characters, can't be addressed".into())
}

/// `12034` as `12,034`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
