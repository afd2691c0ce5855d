//! How often and how long a request is repeated.

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::time::{Duration, Instant};

use object_store::Error as StoreError;

use super::fault::{RetryFailure, fault, is_transient};
use crate::stats::Stats;

/// Resumptions of one request with a progress each: a server that sends a byte at a time ends here.
const RESUMES_MAX: u32 = 100;

/// How long to go on with what may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RetryPolicy {
    /// Repetitions without any progress between them.
    pub max_retries: u32,
    /// Wait before the first repetition; it doubles from one to the next, and about half of it is random.
    pub initial_backoff_ms: u64,
    /// The longest wait.
    pub max_backoff_ms: u64,
    /// Time without any progress after which no repetition begins.
    pub timeout_ms: u64,
    /// Time that one attempt (of [`retry`]) may take.
    pub attempt_timeout_ms: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: 10,
            initial_backoff_ms: 100,
            max_backoff_ms: 15_000,
            timeout_ms: 180_000,
            attempt_timeout_ms: 60_000,
        }
    }
}

/// The state of one request that is being repeated.
#[derive(Debug)]
pub(super) struct Backoff<'a> {
    policy: &'a RetryPolicy,
    attempts: u32,
    resumes: u32,
    started: Instant,
}

impl<'a> Backoff<'a> {
    pub(super) fn new(policy: &'a RetryPolicy) -> Self {
        Self { policy, attempts: 0, resumes: 0, started: Instant::now() }
    }

    /// Bytes arrived since the last attempt: the count and the clock begin anew.
    pub(super) fn progress(&mut self) {
        self.resumes += 1;
        self.attempts = 0;
        self.started = Instant::now();
    }

    /// How long to wait before trying again, or the failure if that is no use.
    pub(super) fn again(&mut self, error: StoreError) -> Result<Duration, RetryFailure> {
        self.attempts += 1;
        let elapsed = self.started.elapsed();
        let exhausted = self.attempts > self.policy.max_retries
            || elapsed >= Duration::from_millis(self.policy.timeout_ms)
            || self.resumes > RESUMES_MAX;
        if exhausted || !is_transient(&error) {
            return Err(RetryFailure { error, attempts: self.attempts, elapsed });
        }
        let doubled = 1u64.checked_shl(self.attempts - 1).unwrap_or(u64::MAX);
        let wait_ms = self.policy.initial_backoff_ms.saturating_mul(doubled).min(self.policy.max_backoff_ms);
        Ok(Duration::from_millis(wait_ms / 2 + random() % (wait_ms / 2 + 1)))
    }
}

/// Enough randomness to keep many readers from knocking all at once.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Does `attempt` until it succeeds, fails for good, or `policy` is exhausted.
pub(crate) async fn retry<T, F, Fut>(policy: &RetryPolicy, stats: &Stats, mut attempt: F) -> Result<T, RetryFailure>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, StoreError>>,
{
    let mut backoff = Backoff::new(policy);
    loop {
        stats.requests.add(1);
        let error = match within(policy.attempt_timeout_ms, attempt()).await {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn attempts_are_counted_and_bounded() {
        let policy = RetryPolicy { max_retries: 3, initial_backoff_ms: 1, ..RetryPolicy::default() };
        for (failures, want_attempts, want_ok) in [(0, 1, true), (3, 4, true), (4, 4, false)] {
            let stats = Stats::default();
            let mut calls = 0;
            let result = retry(&policy, &stats, || {
                calls += 1;
                let fails = calls <= failures;
                async move { if fails { Err(fault(io::ErrorKind::TimedOut, String::new())) } else { Ok(()) } }
            })
            .await;
            assert_eq!(result.is_ok(), want_ok);
            assert_eq!((stats.requests.value(), stats.retries.value()), (want_attempts, want_attempts - 1));
        }
    }

    #[tokio::test]
    async fn an_attempt_has_a_time_limit() {
        let policy = RetryPolicy { max_retries: 1, initial_backoff_ms: 1, attempt_timeout_ms: 5, ..Default::default() };
        let failure = retry(&policy, &Stats::default(), std::future::pending::<Result<(), _>>).await.unwrap_err();
        assert_eq!(failure.attempts, 2);
    }
}
