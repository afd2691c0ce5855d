//! One range of an object, whole or not at all, and the check that every answer is about the same object.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::{Error as StoreError, GetOptions, GetRange, GetResult, GetResultPayload};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::{FetchSettings, FetchTarget, RetryFailure, Sizes, UNKNOWN_SIZE, fault, len_of};
use crate::memory::Spare;
use crate::stats::Stats;
use crate::store::fault::{is_transient, replaced, status};
use crate::store::retry::{Backoff, Pace, within};

/// An object that is being read, shared by the requests for it.
pub(super) struct Object {
    pub(super) target: FetchTarget,
    pub(super) settings: FetchSettings,
    pub(super) stats: Arc<Stats>,
    identity: OnceLock<Identity>,
}

/// What must stay the same from one answer to the next.
struct Identity {
    size: u64,
    e_tag: Option<String>,
    last_modified: DateTime<Utc>,
}

impl Object {
    pub(super) fn new(target: FetchTarget, settings: FetchSettings, stats: Arc<Stats>) -> Self {
        Self { target, settings, stats, identity: OnceLock::new() }
    }

    /// Length of the object, once it is known.
    pub(super) fn size(&self) -> Option<u64> {
        let answered = self.identity.get().map(|identity| identity.size).filter(|size| *size != UNKNOWN_SIZE);
        self.target.size.or(answered)
    }

    /// How much to ask for now.
    pub(super) fn sizes(&self) -> Sizes {
        self.settings.sizes()
    }

    pub(super) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        match &self.settings.runtime {
            Some(runtime) => runtime.spawn(task),
            None => Handle::current().spawn(task),
        }
    }

    /// Sends one request and checks what it is an answer to; the body is still to come.
    pub(super) async fn get(&self, range: Option<Range<u64>>) -> Result<GetResult, StoreError> {
        self.stats.requests.add(1);
        let known = self.target.e_tag.as_ref().or_else(|| self.identity.get()?.e_tag.as_ref());
        // RFC 9110: a weak ETag never matches in If-Match; it is compared by us alone.
        let if_match = known.filter(|e_tag| !e_tag.starts_with("W/")).cloned();
        let version = self.target.version.clone();
        let options =
            GetOptions { if_match, version, range: range.clone().map(GetRange::Bounded), ..Default::default() };
        let answer = self.target.store.get_opts(&self.target.location, options);
        let asked = Instant::now();
        let result = within(self.settings.retry.stall_timeout_ms, answer).await?;
        if let Some(line) = &self.settings.line {
            line.answered(asked.elapsed());
        }
        self.check_identity(&result)?;
        let size = result.meta.size;
        let want = range.map_or(0..size, |range| range.start..range.end.min(size));
        if result.range != want {
            let message = format!("the server sent bytes {:?} in place of {want:?}", result.range);
            return Err(fault(io::ErrorKind::InvalidData, message));
        }
        Ok(result)
    }

    /// Stores that don't know `If-Match` ignore it, so every answer is compared too.
    fn check_identity(&self, result: &GetResult) -> Result<(), StoreError> {
        let meta = &result.meta;
        let first = self.identity.get_or_init(|| Identity {
            size: self.target.size.unwrap_or(meta.size),
            e_tag: self.target.e_tag.clone().or_else(|| meta.e_tag.clone()),
            last_modified: meta.last_modified,
        });
        let changed = |how| Err(replaced(&self.target.location, how));
        match (&first.e_tag, &meta.e_tag) {
            (Some(was), Some(is)) if bare(was) != bare(is) => {
                return changed(format!("its ETag was {}, now it is {}", bare(was), bare(is)));
            }
            (Some(_), Some(_)) => {}
            // Without an ETag in one of the two, the time is all there is.
            _ if first.last_modified != meta.last_modified => {
                return changed(format!("it was last modified {}, now {}", first.last_modified, meta.last_modified));
            }
            _ => {}
        }
        if first.size != meta.size && meta.size != UNKNOWN_SIZE {
            return changed(format!("it had {} bytes, now it has {}", first.size, meta.size));
        }
        Ok(())
    }

    /// The bytes of a range, resumed where a body breaks off, as long as the policy allows. `arrived` counts them as
    /// they come.
    pub(super) async fn fetch(
        self: Arc<Self>,
        range: Range<u64>,
        arrived: Arc<AtomicU64>,
    ) -> Result<Bytes, RetryFailure> {
        let spare = self.settings.spare.clone();
        let mut body = Body { start: range.start, end: range.end, parts: Parts::None, arrived, spare };
        let mut backoff = Backoff::new(&self.settings.retry, &self.target.url);
        loop {
            let before = body.position();
            let error = match self.read_on(&mut body).await {
                Ok(()) => return Ok(body.into_bytes()),
                Err(error) => self.passing(error),
            };
            if body.position() == body.end && is_transient(&error) {
                // The connection broke after the last byte.
                return Ok(body.into_bytes());
            }
            backoff.gained(body.position() - before);
            tokio::time::sleep(backoff.again(error)?).await;
            self.stats.retries.add(1);
            if body.position() > range.start {
                self.stats.resumed_bytes.add(body.end - body.position());
            }
        }
    }

    /// A server that has sent ranges, and then sends something else, may come to itself: SeaweedFS 4 does so where it has cancelled
    /// another request for the same part.
    fn passing(&self, error: StoreError) -> StoreError {
        if self.identity.get().is_none() || !is_no_range(&error) {
            return error;
        }
        let message = "something else came in place of a range of it, as from a proxy or a login page";
        fault(io::ErrorKind::UnexpectedEof, message.to_owned())
    }

    /// Reads from where `body` is to its end.
    async fn read_on(&self, body: &mut Body) -> Result<(), StoreError> {
        let (start, asked) = (body.position(), Instant::now());
        let result = self.get(Some(start..body.end)).await?;
        body.end = result.range.end;
        if let GetResultPayload::File(file, _) = result.payload {
            body.push(self.read_file(file, result.range).await?, &self.stats)?;
        } else {
            let (mut chunks, mut pace) = (result.into_stream(), Pace::new(self.settings.retry.stall_timeout_ms));
            while let Some(chunk) = pace.next(&mut chunks).await? {
                body.push(chunk, &self.stats)?;
            }
        }
        if body.position() < body.end {
            let message = format!("the body ended {} bytes early", body.end - body.position());
            return Err(fault(io::ErrorKind::UnexpectedEof, message));
        }
        if let Some(line) = &self.settings.line {
            line.brought(body.end - start, asked.elapsed());
        }
        Ok(())
    }

    /// The bytes of a file; fewer where it is shorter. As a stream, object_store reads files 8 KiB at a time, and as a whole
    /// it fills its buffer with zeros first.
    async fn read_file(&self, mut file: File, range: Range<u64>) -> Result<Bytes, StoreError> {
        let (len, spare) = (range.end - range.start, self.settings.spare.clone());
        let read = move || {
            let mut bytes = buffer(spare.as_ref(), usize::try_from(len).map_err(io::Error::other)?);
            file.seek(SeekFrom::Start(range.start))?;
            file.take(len).read_to_end(&mut bytes)?;
            Ok(filled(spare.as_ref(), bytes))
        };
        let read: io::Result<Bytes> = tokio::task::spawn_blocking(read).await?;
        read.map_err(|error| StoreError::Generic { store: "LocalFileSystem", source: Box::new(error) })
    }
}

/// What of a range has come.
struct Body {
    start: u64,
    end: u64,
    parts: Parts,
    arrived: Arc<AtomicU64>,
    spare: Option<Spare>,
}

enum Parts {
    None,
    /// One chunk was all: it is handed on as it is.
    Whole(Bytes),
    /// Chunks are gathered in a buffer of the range's size, which our own settings bound.
    Gathered(Vec<u8>),
}

/// An empty buffer for `bytes`.
fn buffer(spare: Option<&Spare>, bytes: usize) -> Vec<u8> {
    spare.map_or_else(|| Vec::with_capacity(bytes), |spare| spare.take(bytes))
}

fn filled(spare: Option<&Spare>, buffer: Vec<u8>) -> Bytes {
    let length = buffer.len();
    match spare {
        Some(spare) => spare.lend(buffer, length),
        None => buffer.into(),
    }
}

impl Body {
    fn into_bytes(self) -> Bytes {
        match self.parts {
            Parts::None => Bytes::new(),
            Parts::Whole(bytes) => bytes,
            Parts::Gathered(buffer) => filled(self.spare.as_ref(), buffer),
        }
    }

    fn position(&self) -> u64 {
        self.start + self.arrived.load(Ordering::Relaxed)
    }

    fn push(&mut self, chunk: Bytes, stats: &Stats) -> Result<(), StoreError> {
        let missing = self.end - self.position();
        let len = len_of(&chunk);
        stats.bytes_fetched.add(len);
        if len > missing {
            let message = format!("the body has at least {} bytes more than announced", len - missing);
            return Err(fault(io::ErrorKind::InvalidData, message));
        }
        self.arrived.fetch_add(len, Ordering::Relaxed);
        match &mut self.parts {
            Parts::None if len == missing => self.parts = Parts::Whole(chunk),
            Parts::None => {
                let capacity = usize::try_from(missing).map_err(|_| {
                    fault(io::ErrorKind::OutOfMemory, format!("a range of {missing} bytes is too long"))
                })?;
                let mut buffer = buffer(self.spare.as_ref(), capacity);
                buffer.extend_from_slice(&chunk);
                self.parts = Parts::Gathered(buffer);
            }
            Parts::Whole(_) => {}
            Parts::Gathered(buffer) => buffer.extend_from_slice(&chunk),
        }
        Ok(())
    }
}

/// An ETag without its quotes, which listings of some stores leave out, and without its weakness.
fn bare(e_tag: &str) -> &str {
    e_tag.trim().trim_start_matches("W/").trim_matches('"')
}

/// Whether an error says that the server has no ranges, or does not say which one it sends, or has nothing to send a
/// range of.
pub(super) fn no_ranges(error: &StoreError) -> bool {
    status(error) == Some(416) || matches!(error, StoreError::NotSupported { .. }) || is_no_range(error)
}

/// Whether an error says that an answer is not the range that was asked for.
fn is_no_range(error: &StoreError) -> bool {
    let StoreError::Generic { source, .. } = error else { return false };
    // As of object_store 0.13.2, whose error types for these are private.
    let words = source.to_string();
    ["Received non-partial response", "Content-Range header", "Failed to parse value for CONTENT_RANGE"]
        .iter()
        .any(|start| words.starts_with(start))
}
