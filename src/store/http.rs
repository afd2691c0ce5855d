//! The HTTP clients of our connections, below everything that object_store does.
//!
//! [`ObservedConnector`] makes clients that log every request, count those that a writer's store sends again, and refuse
//! listings that are none; only down here are they seen. [`LengthlessConnector`] makes clients for plain web servers,
//! which also accept a body without a length: a server that makes an archive up as it goes (`git archive`, say) sends it
//! in chunks and can't say how long it will be. object_store 0.13 refuses any response without `Content-Length`, so that
//! client writes one in, a number that no object can have: [`UNKNOWN_SIZE`].

mod listing;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use log::{debug, log_enabled};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::{ClientOptions, HeaderValue};

use super::fault::{cause_of, status_may_pass};
use crate::locator::redacted;
use crate::stats::Count;

/// Size of an object whose server does not tell it.
pub(crate) const UNKNOWN_SIZE: u64 = u64::MAX;

/// `u64::MAX`, as a header holds it.
const UNKNOWN_SIZE_TEXT: &str = "18446744073709551615";

/// Failed requests of one client that are remembered until they are sent again. Those that never are must not pile up;
/// when there are so many, nothing works anyway.
const FAILED_MAX: usize = 1_000;

/// Makes clients that log, and that count in `resent` the requests which follow a failed one that was the same.
#[derive(Debug)]
pub(super) struct ObservedConnector<C = ReqwestConnector> {
    inner: C,
    resent: Arc<Count>,
}

impl<C: Default> ObservedConnector<C> {
    pub(super) fn new(resent: &Arc<Count>) -> Self {
        Self { inner: C::default(), resent: Arc::clone(resent) }
    }
}

impl<C: HttpConnector> HttpConnector for ObservedConnector<C> {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = self.inner.connect(options)?;
        Ok(HttpClient::new(Observed { inner, resent: Arc::clone(&self.resent), failed: Failed::default() }))
    }
}

#[derive(Debug)]
struct Observed {
    inner: HttpClient,
    resent: Arc<Count>,
    failed: Failed,
}

#[async_trait]
impl HttpService for Observed {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let key = self.failed.key(&request);
        if self.failed.forget(key) {
            self.resent.add(1);
        }
        let line = if log_enabled!(log::Level::Debug) { line(&request) } else { String::new() };
        let (started, is_listing) = (Instant::now(), listing::is_asked_for(&request));
        let answer = match self.inner.execute(request).await {
            Ok(answer) if is_listing => listing::checked(answer).await,
            answer => answer,
        };
        let ms = started.elapsed().as_millis();
        let may_pass = match &answer {
            Ok(response) => {
                debug!("{line}: status {} in {ms} ms", response.status().as_u16());
                status_may_pass(response.status().as_u16())
            }
            Err(error) => {
                debug!("{line}: {} after {ms} ms", cause_of(error));
                true
            }
        };
        if may_pass {
            self.failed.remember(key);
        }
        answer
    }
}

/// `GET http://127.0.0.1:8333/b/k bytes=0-99`, less the query, which may hold a signature.
fn line(request: &HttpRequest) -> String {
    let url = redacted(&request.uri().to_string());
    let range = request.headers().get("range").and_then(|range| range.to_str().ok());
    format!("{} {url}{}{}", request.method(), if range.is_some() { " " } else { "" }, range.unwrap_or_default())
}

/// Requests that failed and were not sent again yet.
#[derive(Debug, Default)]
struct Failed {
    keys: Mutex<HashSet<u64>>,
    hasher: RandomState,
}

impl Failed {
    /// The store repeats a request as it was: by method and URL, part numbers and upload ids included, it is known again.
    fn key(&self, request: &HttpRequest) -> u64 {
        self.hasher.hash_one((request.method().as_str(), request.uri()))
    }

    fn remember(&self, key: u64) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= FAILED_MAX {
            keys.clear();
        }
        keys.insert(key);
    }

    /// Whether it had failed.
    fn forget(&self, key: u64) -> bool {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&key)
    }
}

/// Makes clients that accept a body without a length.
#[derive(Debug, Default)]
pub(super) struct LengthlessConnector(ReqwestConnector);

impl HttpConnector for LengthlessConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Lengthless(self.0.connect(options)?)))
    }
}

#[derive(Debug)]
struct Lengthless(HttpClient);

#[async_trait]
impl HttpService for Lengthless {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut response = self.0.execute(request).await?;
        if response.status().is_success() && !response.headers().contains_key("content-length") {
            response.headers_mut().insert("content-length", HeaderValue::from_static(UNKNOWN_SIZE_TEXT));
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_header_is_the_number() {
        assert_eq!(super::UNKNOWN_SIZE_TEXT, super::UNKNOWN_SIZE.to_string());
    }
}
