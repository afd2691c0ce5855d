//! Credentials with a time limit and an error that says what to do.
//!
//! Where nothing is configured, the clouds' libraries ask the metadata service of the machine; on a machine without one
//! that ends in an obscure error, late. [`CheckedCredentials`] stands before any provider, bounds its time, and keeps
//! credentials out of the store's `Debug`.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use object_store::{BackoffConfig, CredentialProvider, RetryConfig};

use super::fault;

/// All attempts of a provider together. A metadata service answers in milliseconds, a token exchange in a second.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(10);

/// Retries of a provider itself, which are over within its time limit.
const CREDENTIALS_RETRIES: usize = 2;

/// The retries that a provider may do by itself.
pub(super) fn retries() -> RetryConfig {
    let (init_backoff, max_backoff) = (Duration::from_millis(100), Duration::from_secs(1));
    RetryConfig {
        backoff: BackoffConfig { init_backoff, max_backoff, base: 2. },
        max_retries: CREDENTIALS_RETRIES,
        retry_timeout: CREDENTIALS_TIMEOUT,
    }
}

/// No credentials could be had. It never holds one.
#[derive(Debug)]
pub(super) struct CredentialError {
    message: String,
    /// They were there before, so the fault may pass.
    pub(super) transient: bool,
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for CredentialError {}

/// A provider behind a time limit.
pub(super) struct CheckedCredentials<C> {
    inner: Arc<dyn CredentialProvider<Credential = C>>,
    remedy: &'static str,
    worked: AtomicBool,
}

impl<C> CheckedCredentials<C> {
    /// `remedy` says how the user can give credentials, or do without.
    pub(super) fn new(inner: Arc<dyn CredentialProvider<Credential = C>>, remedy: &'static str) -> Self {
        Self { inner, remedy, worked: AtomicBool::new(false) }
    }

    fn error(&self, cause: &str) -> object_store::Error {
        let transient = self.worked.load(Ordering::Relaxed);
        let message = if transient {
            format!("credentials could not be renewed ({cause})")
        } else {
            format!("no credentials found ({cause}): {}", self.remedy)
        };
        let source = Box::new(CredentialError { message, transient });
        object_store::Error::Unauthenticated { path: String::new(), source }
    }
}

impl<C> fmt::Debug for CheckedCredentials<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CheckedCredentials")
    }
}

#[async_trait]
impl<C: fmt::Debug + Send + Sync + 'static> CredentialProvider for CheckedCredentials<C> {
    type Credential = C;

    async fn get_credential(&self) -> object_store::Result<Arc<C>> {
        match tokio::time::timeout(CREDENTIALS_TIMEOUT, self.inner.get_credential()).await {
            Ok(Ok(credential)) => {
                self.worked.store(true, Ordering::Relaxed);
                Ok(credential)
            }
            Ok(Err(error)) => Err(self.error(&fault::cause(&error))),
            Err(_) => Err(self.error(&format!("no answer within {} s", CREDENTIALS_TIMEOUT.as_secs()))),
        }
    }
}
