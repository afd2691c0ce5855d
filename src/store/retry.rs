//! How often and how long a request is repeated, and what a response must bring to be waited for.
//!
//! Progress is measured in bytes. A range whose connection is reset after every 64 KiB is resumed as often as it takes; a
//! server that sends a byte at a time, or breaks off after every byte, makes no progress and is given up like one that
//! sends nothing. So giving up takes a bounded time: [`RetryPolicy::timeout_ms`] and one more attempt.

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use object_store::Error as StoreError;

use super::fault::{RetryFailure, cause, fault, is_transient};
use crate::locator::redacted;
use crate::stats::Stats;

/// Fewer bytes than these are no progress: neither within one stall timeout, nor between two failures. It is less than
/// any server sends that works at all, and 8 MiB of such steps still end.
const PROGRESS_BYTES_MIN: u64 = 4 << 10;

/// The longest wait before what made progress is resumed: the server works, only the connection broke.
const RESUME_WAIT_MS: u64 = 10;

/// An attempt that is measured as a whole has an answer and a body to wait for.
const STALLS_PER_ATTEMPT: u64 = 2;

/// How long to go on with what may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RetryPolicy {
    /// Repetitions without any progress between them.
    pub max_retries: u32,
    /// Time without any progress after which no repetition begins.
    pub timeout_ms: u64,
    /// A response that brings nothing for so long is given up.
    pub stall_timeout_ms: u64,
    /// Wait before the first repetition; it doubles from one to the next, and about half of it is random.
    pub initial_backoff_ms: u64,
    /// The longest wait.
    pub max_backoff_ms: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: 10,
            timeout_ms: 180_000,
            stall_timeout_ms: 30_000,
            initial_backoff_ms: 100,
            max_backoff_ms: 15_000,
        }
    }
}

/// The state of one request that is being repeated.
#[derive(Debug)]
pub(super) struct Backoff<'a> {
    policy: &'a RetryPolicy,
    /// URL of the object or the prefix.
    what: &'a str,
    attempts: u32,
    started: Instant,
    /// Bytes that arrived since then.
    gained: u64,
    is_resuming: bool,
}

impl<'a> Backoff<'a> {
    pub(super) fn new(policy: &'a RetryPolicy, what: &'a str) -> Self {
        Self { policy, what, attempts: 0, started: Instant::now(), gained: 0, is_resuming: false }
    }

    /// So many bytes arrived before the last attempt failed. If they are enough, the count and the clock begin anew.
    pub(super) fn gained(&mut self, bytes: u64) {
        self.gained += bytes;
        if self.gained >= PROGRESS_BYTES_MIN {
            *self = Self { is_resuming: true, ..Self::new(self.policy, self.what) };
        }
    }

    /// How long to wait before trying again, or the failure if that is no use.
    pub(super) fn again(&mut self, error: StoreError) -> Result<Duration, RetryFailure> {
        self.attempts += 1;
        let (elapsed, wait) = (self.started.elapsed(), self.wait());
        let exhausted =
            self.attempts > self.policy.max_retries || elapsed + wait >= Duration::from_millis(self.policy.timeout_ms);
        if exhausted || !is_transient(&error) {
            return Err(RetryFailure { error, attempts: self.attempts, elapsed });
        }
        self.log(&error, wait);
        Ok(wait)
    }

    fn wait(&self) -> Duration {
        if self.is_resuming && self.attempts == 1 {
            return Duration::from_millis(random() % (RESUME_WAIT_MS + 1));
        }
        let doubled = 1u64.checked_shl(self.attempts - 1).unwrap_or(u64::MAX);
        let wait_ms = self.policy.initial_backoff_ms.saturating_mul(doubled).min(self.policy.max_backoff_ms);
        Duration::from_millis(wait_ms / 2 + random() % (wait_ms / 2 + 1))
    }

    /// One failure is nothing to speak of; the second in a row is a wait that somebody may wonder about.
    fn log(&self, error: &StoreError, wait: Duration) {
        let level = if self.attempts > 1 { log::Level::Warn } else { log::Level::Debug };
        log::log!(
            level,
            "{}: {}; attempt {} of {} in {:.1} s",
            redacted(self.what),
            cause(error),
            self.attempts + 1,
            u64::from(self.policy.max_retries) + 1,
            wait.as_secs_f64()
        );
    }
}

/// Enough randomness to keep many readers from knocking all at once.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Does `attempt` until it succeeds, fails for good, or `policy` is exhausted. An attempt has a time limit. `what` is the
/// URL of the object or the prefix.
pub(crate) async fn retry<T, F, Fut>(
    policy: &RetryPolicy,
    stats: &Stats,
    what: &str,
    mut attempt: F,
) -> Result<T, RetryFailure>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, StoreError>>,
{
    let limit_ms = policy.stall_timeout_ms.saturating_mul(STALLS_PER_ATTEMPT);
    retry_unlimited(policy, stats, what, || within(limit_ms, attempt())).await
}

/// The same for attempts that may take long, and watch over their steps by themselves.
pub(crate) async fn retry_unlimited<T, F, Fut>(
    policy: &RetryPolicy,
    stats: &Stats,
    what: &str,
    mut attempt: F,
) -> Result<T, RetryFailure>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, StoreError>>,
{
    let mut backoff = Backoff::new(policy, what);
    loop {
        stats.requests.add(1);
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        tokio::time::sleep(backoff.again(error)?).await;
        stats.retries.add(1);
    }
}

/// Bounds the time of one step; the error at its end is a transient one.
pub(super) async fn within<T>(
    timeout_ms: u64,
    step: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(Duration::from_millis(timeout_ms), step).await {
        Ok(result) => result,
        Err(_) => Err(fault(io::ErrorKind::TimedOut, format!("no answer within {timeout_ms} ms"))),
    }
}

/// Watches that a body moves: [`PROGRESS_BYTES_MIN`] in every stall timeout.
pub(super) struct Pace {
    timeout_ms: u64,
    due: tokio::time::Instant,
    gained: u64,
}

impl Pace {
    pub(super) fn new(timeout_ms: u64) -> Self {
        Self { timeout_ms, due: tokio::time::Instant::now() + Duration::from_millis(timeout_ms), gained: 0 }
    }

    /// The next chunk of a body, or the fault that too little came in time.
    pub(super) async fn next(
        &mut self,
        body: &mut (impl Stream<Item = Result<Bytes, StoreError>> + Unpin),
    ) -> Result<Option<Bytes>, StoreError> {
        let Ok(chunk) = tokio::time::timeout_at(self.due, body.next()).await else {
            let message = format!("the body brought {} bytes in {} ms", self.gained, self.timeout_ms);
            return Err(fault(io::ErrorKind::TimedOut, message));
        };
        let chunk = chunk.transpose()?;
        self.gained += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.gained >= PROGRESS_BYTES_MIN {
            self.restart();
        }
        Ok(chunk)
    }

    /// Begins anew, also after a time in which nobody waited for the body.
    pub(super) fn restart(&mut self) {
        *self = Self::new(self.timeout_ms);
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy { max_retries: 3, initial_backoff_ms: 1, ..RetryPolicy::default() }
    }

    fn timed_out() -> StoreError {
        fault(io::ErrorKind::TimedOut, String::new())
    }

    #[tokio::test]
    async fn attempts_are_counted_and_bounded() {
        for (failures, want_attempts, want_ok) in [(0, 1, true), (3, 4, true), (4, 4, false)] {
            let stats = Stats::default();
            let mut calls = 0;
            let result = retry(&policy(), &stats, "s3://b/k", || {
                calls += 1;
                let fails = calls <= failures;
                async move { if fails { Err(timed_out()) } else { Ok(()) } }
            })
            .await;
            assert_eq!(result.is_ok(), want_ok);
            assert_eq!((stats.requests.value(), stats.retries.value()), (want_attempts, want_attempts - 1));
        }
    }

    #[tokio::test]
    async fn an_attempt_has_a_time_limit() {
        let policy = RetryPolicy { max_retries: 1, stall_timeout_ms: 5, ..policy() };
        let pending = std::future::pending::<Result<(), _>>;
        let failure = retry(&policy, &Stats::default(), "s3://b/k", pending).await.unwrap_err();
        assert_eq!(failure.attempts, 2);
    }

    #[test]
    fn no_repetition_begins_after_the_time_is_up() {
        let policy = RetryPolicy { timeout_ms: 60, initial_backoff_ms: 40, max_retries: 1_000, ..policy() };
        let mut backoff = Backoff::new(&policy, "s3://b/k");
        let started = Instant::now();
        let failure = loop {
            match backoff.again(timed_out()) {
                Ok(wait) => std::thread::sleep(wait),
                Err(failure) => break failure,
            }
        };
        assert!(started.elapsed() < Duration::from_millis(60) && failure.attempts < 5, "{failure:?}");
    }

    #[test]
    fn progress_begins_anew_and_a_byte_is_none() {
        let policy = policy();
        for (bytes, want_given_up) in [(0, true), (1, true), (PROGRESS_BYTES_MIN, false), (64 << 10, false)] {
            let mut backoff = Backoff::new(&policy, "s3://b/k");
            let given_up = (0..128).any(|_| {
                backoff.gained(bytes);
                backoff.again(timed_out()).is_err()
            });
            assert_eq!(given_up, want_given_up, "{bytes} bytes at a time");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_must_move() {
        // Chunks of so many bytes, one a second, within 30 s of each other.
        for (bytes, want) in [(0, false), (1, false), (136, false), (137, true), (100_000, true)] {
            let chunks = stream::unfold((), |()| async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Some((Ok(Bytes::from(vec![0; bytes])), ()))
            });
            let mut chunks = Box::pin(chunks.take(1_000));
            let mut pace = Pace::new(30_000);
            let ended = loop {
                match pace.next(&mut chunks).await {
                    Ok(Some(_)) => {}
                    end => break end,
                }
            };
            assert_eq!(ended.is_ok(), want, "{bytes} bytes a second");
        }
    }
}
