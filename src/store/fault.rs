//! Faults of stores and servers: which may pass, and what to say of those that don't.
//!
//! object_store keeps the type of its request errors to itself, so what a server said is read from the chain of
//! sources: [`HttpError`] is public, and a status is known by the words that it is printed with. Errors are never shown
//! as object_store prints them: they hold URLs (with signatures in their queries) and bodies (with key ids).

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use object_store::Error as StoreError;
use object_store::client::{HttpError, HttpErrorKind};

use super::credentials::CredentialError;
use crate::error::{Error, ErrorKind};
use crate::locator::redacted;

/// Sources of an error that are looked at; chains are six deep at most.
const CHAIN_MAX: usize = 16;

/// What a server said is cut to this many characters.
const SERVER_TEXT_CHARS_MAX: usize = 200;

/// Statuses that may pass: a timeout, too many requests, and faults of the server, less those that are about us.
pub(super) fn status_may_pass(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599) && !matches!(status, 501 | 505)
}

/// Codes of S3 and its kin that may pass, whatever status they come with.
const CODES_THAT_PASS: [&str; 7] = [
    "RequestTimeout",
    "SlowDown",
    "InternalError",
    "ServiceUnavailable",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
];

/// The error that remained after all repetitions.
#[derive(Debug)]
pub(crate) struct RetryFailure {
    /// The last error.
    pub error: StoreError,
    /// How often it was tried.
    pub attempts: u32,
    /// Since the first try, or since the last progress.
    pub elapsed: Duration,
}

/// A fault that we found ourselves.
pub(super) fn fault(kind: io::ErrorKind, message: String) -> StoreError {
    StoreError::Generic { store: "tarsql", source: Box::new(io::Error::new(kind, message)) }
}

/// An object that is no longer the one that was listed.
pub(super) fn replaced(path: &object_store::path::Path, how: String) -> StoreError {
    StoreError::Precondition { path: path.to_string(), source: Box::new(Replaced(how)) }
}

#[derive(Debug)]
struct Replaced(String);

impl fmt::Display for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Replaced {}

/// Whether the same request may succeed a little later.
pub(crate) fn is_transient(error: &StoreError) -> bool {
    let facts = Facts::of(error);
    if let Some(transient) = facts.credentials {
        return transient;
    }
    if facts.code.as_deref().is_some_and(|code| CODES_THAT_PASS.contains(&code)) {
        return true;
    }
    if !matches!(error, StoreError::Generic { .. }) {
        return false;
    }
    if let Some(status) = facts.status {
        return status_may_pass(status);
    }
    match (facts.http, facts.io) {
        (Some(HttpErrorKind::Connect), _) => !facts.cause.contains("certificate"),
        (Some(_), _) => !facts.is_our_mistake,
        (None, Some(kind)) => io_may_pass(kind),
        (None, None) => facts.is_error_in_success,
    }
}

fn io_may_pass(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::TimedOut
            | Kind::Interrupted
            | Kind::UnexpectedEof
            | Kind::BrokenPipe
            | Kind::ConnectionAborted
            | Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::NotConnected
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
    )
}

/// Status that the server answered with, where the error is such an answer.
pub(crate) fn status(error: &StoreError) -> Option<u16> {
    Facts::of(error).status
}

/// What caused an error, in a line without URLs, keys or bodies.
pub(super) fn cause(error: &StoreError) -> String {
    Facts::of(error).summary()
}

/// The same of what a client says before object_store wraps it.
pub(super) fn cause_of(error: &(dyn StdError + 'static)) -> String {
    let mut innermost = error;
    for _ in 0..CHAIN_MAX {
        let Some(source) = innermost.source() else { break };
        innermost = source;
    }
    without_urls(&innermost.to_string())
}

/// What the sources of an error tell.
#[derive(Default)]
struct Facts {
    status: Option<u16>,
    code: Option<String>,
    message: Option<String>,
    http: Option<HttpErrorKind>,
    io: Option<io::ErrorKind>,
    /// The credentials are at fault; whether that may pass.
    credentials: Option<bool>,
    /// The request could not even be built.
    is_our_mistake: bool,
    /// S3 sends some errors with status 200.
    is_error_in_success: bool,
    is_bare_redirect: bool,
    /// No connection came about, which the client calls a time-out if that was the reason.
    is_connecting: bool,
    is_replaced: bool,
    /// The innermost error.
    cause: String,
}

impl Facts {
    fn of(error: &StoreError) -> Self {
        let mut facts = Self::default();
        let mut next = error.source();
        for _ in 0..CHAIN_MAX {
            let Some(source) = next else { break };
            facts.note(source);
            next = source.source();
            // An `io::Error` made of a message has itself as its innermost error.
            facts.cause = source.to_string();
        }
        if facts.cause == "deadline has elapsed" {
            "timed out".clone_into(&mut facts.cause);
        }
        if facts.is_connecting {
            facts.http = facts.http.map(|_| HttpErrorKind::Connect);
        }
        facts
    }

    fn note(&mut self, source: &(dyn StdError + 'static)) {
        if let Some(http) = source.downcast_ref::<HttpError>() {
            self.http.get_or_insert(http.kind());
        } else if let Some(io) = source.downcast_ref::<io::Error>() {
            self.io.get_or_insert(io.kind());
        } else if let Some(credentials) = source.downcast_ref::<CredentialError>() {
            self.credentials = Some(credentials.transient);
        } else if source.is::<Replaced>() {
            self.is_replaced = true;
        } else {
            self.note_words(&source.to_string());
        }
    }

    /// Reads what object_store's private request error and reqwest print. As of object_store 0.13.2; once
    /// `RetryError` is public there (it has `status()` and `body()`), this can go.
    fn note_words(&mut self, words: &str) {
        if let Some(answer) = words.strip_prefix("Server returned non-2xx status code: ") {
            self.status = answer.get(..3).and_then(|digits| digits.parse().ok());
            self.code = element(answer, "Code");
            self.message = element(answer, "Message");
        } else if let Some(body) = words.strip_prefix("Server returned error response: ") {
            self.is_error_in_success = true;
            self.code = element(body, "Code");
            self.message = element(body, "Message");
        } else if words.starts_with("Received redirect without LOCATION") {
            self.is_bare_redirect = true;
        } else if words.starts_with("builder error") {
            self.is_our_mistake = true;
        } else if words.starts_with("client error (Connect)") {
            self.is_connecting = true;
        }
    }

    fn summary(&self) -> String {
        let mut words = match (self.status, &self.code) {
            (Some(status), Some(code)) => format!("status {status} {code}"),
            (Some(status), None) => format!("status {status}"),
            (None, Some(code)) => code.clone(),
            (None, None) if self.is_error_in_success => "an error in place of the answer".to_owned(),
            (None, None) => without_urls(&self.cause),
        };
        if let Some(message) = &self.message {
            words.push_str(": ");
            words.push_str(message);
        }
        words
    }
}

/// Text of the first element of that name in an error document of S3, GCS or Azure.
fn element(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once("</")?;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(text.trim_end_matches('.').chars().take(SERVER_TEXT_CHARS_MAX).collect())
}

/// What the error document of a server says, if it is one.
pub(super) fn said_by(body: &str) -> Option<String> {
    let code = element(body, "Code")?;
    Some(match element(body, "Message") {
        Some(message) => format!("{code}: {message}"),
        None => code,
    })
}

/// The words of `text` on one line, less the queries of URLs, which may hold signatures.
fn without_urls(text: &str) -> String {
    let words = text.split_whitespace().map(|word| match word.split_once('?') {
        Some((head, _)) if word.contains("://") => format!("{head}?…"),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ").chars().take(SERVER_TEXT_CHARS_MAX).collect()
}

/// Turns what remained of a request into an error for the user. `what` is the URL of the object or the prefix.
pub(crate) fn describe(failure: &RetryFailure, what: &str) -> Error {
    let error = describe_once(&failure.error, what);
    // What can't pass is an answer, not something that somebody gave up.
    if !is_transient(&failure.error) {
        return error;
    }
    let times = if failure.attempts == 1 { "attempt" } else { "attempts" };
    let (attempts, seconds) = (failure.attempts, failure.elapsed.as_secs_f64());
    let message = format!("gave up after {attempts} {times} in {seconds:.1} s: {}", error.message());
    Error::new(error.kind(), message).in_archive(redacted(what))
}

/// The same for what was not tried again.
pub(super) fn describe_once(error: &StoreError, what: &str) -> Error {
    let kind =
        if matches!(error, StoreError::Precondition { .. }) { ErrorKind::Changed } else { ErrorKind::Unreachable };
    Error::new(kind, message(error, &Facts::of(error), what, "can't be read")).in_archive(redacted(what))
}

/// The error of a writer's request, which the store has repeated by itself: as [`describe`] says it, in the variant that
/// callers look for. An error that is ours already stays as it is.
pub(crate) fn described(error: StoreError, what: &str, can_not: &str) -> StoreError {
    if error.source().is_some_and(|source| source.is::<Error>()) {
        return error;
    }
    let kind =
        if matches!(error, StoreError::Precondition { .. }) { ErrorKind::Changed } else { ErrorKind::Unreachable };
    let described = Error::new(kind, message(&error, &Facts::of(&error), what, can_not)).in_archive(redacted(what));
    let source = Box::new(described);
    match error {
        StoreError::NotFound { path, .. } => StoreError::NotFound { path, source },
        StoreError::AlreadyExists { path, .. } => StoreError::AlreadyExists { path, source },
        StoreError::Precondition { path, .. } => StoreError::Precondition { path, source },
        StoreError::NotModified { path, .. } => StoreError::NotModified { path, source },
        control @ (StoreError::NotSupported { .. } | StoreError::NotImplemented { .. }) => control,
        _ => StoreError::Generic { store: "object store", source },
    }
}

fn message(error: &StoreError, facts: &Facts, what: &str, can_not: &str) -> String {
    let summary = facts.summary();
    if facts.credentials.is_some() {
        return summary;
    }
    match error {
        StoreError::NotFound { .. } => not_found(facts, what),
        StoreError::Precondition { .. } if facts.is_replaced => {
            format!("the object was replaced while it was read ({})", facts.cause)
        }
        StoreError::Precondition { .. } => {
            "the object was replaced while it was read (its ETag is no longer the listed one)".to_owned()
        }
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
            format!("permission denied ({summary}){}", denied_remedy(facts, what))
        }
        StoreError::NotImplemented { operation, .. } => format!("the store can't do {operation}"),
        _ if facts.is_bare_redirect || matches!(facts.status, Some(301 | 307)) => {
            "the bucket is in another region: set aws.region (or AWS_REGION), or aws.endpoint".to_owned()
        }
        _ if facts.http == Some(HttpErrorKind::Connect) && what.starts_with("s3:") => {
            format!("can't connect ({summary}): check the network, aws.endpoint and AWS_ENDPOINT_URL")
        }
        _ if facts.http == Some(HttpErrorKind::Connect) => {
            format!("can't connect ({summary}): check the host and the network")
        }
        _ if facts.http == Some(HttpErrorKind::Timeout) => "timed out".to_owned(),
        _ if facts.io == Some(io::ErrorKind::PermissionDenied) => {
            "permission denied: the file can't be read by this user".to_owned()
        }
        _ if summary.is_empty() => can_not.to_owned(),
        _ => format!("{can_not} ({summary})"),
    }
}

fn not_found(facts: &Facts, what: &str) -> String {
    match (facts.code.as_deref(), facts.status) {
        (Some("NoSuchBucket" | "ContainerNotFound"), _) => {
            "the bucket does not exist (or is another endpoint's: aws.endpoint, AWS_ENDPOINT_URL)".to_owned()
        }
        (_, Some(405)) => "the server refused the request (status 405)".to_owned(),
        _ if what.starts_with("file:") || !what.contains("://") => "no such file".to_owned(),
        _ => "not found".to_owned(),
    }
}

fn denied_remedy(facts: &Facts, what: &str) -> &'static str {
    let scheme = what.split_once("://").map_or("", |(scheme, _)| scheme);
    match (facts.code.as_deref(), scheme) {
        (Some("RequestTimeTooSkewed"), _) => ": set the clock of this machine",
        (Some("ExpiredToken" | "TokenRefreshRequired"), _) => ": the credentials have expired; get new ones",
        (_, "s3" | "s3a") => {
            ": check the credentials (options aws.…, variables AWS_… or the profile), or set aws.skip_signature = true \
             for a public bucket"
        }
        (_, "gs") => ": check the credentials (options gcp.…), or set gcp.skip_signature = true for a public bucket",
        (_, "az" | "azure" | "abfs" | "abfss") => {
            ": check the credentials (options azure.…), or set azure.skip_signature = true for a public container"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prints and chains as object_store's private request errors do.
    #[derive(Debug)]
    struct Chain(&'static str, Option<Box<dyn StdError + Send + Sync>>);

    impl fmt::Display for Chain {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl StdError for Chain {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            self.1.as_deref().map(|source| source as _)
        }
    }

    fn request(inner: Box<dyn StdError + Send + Sync>) -> Box<dyn StdError + Send + Sync> {
        Box::new(Chain("Error performing GET https://h/b/k?X-Amz-Signature=s3cr3t in 1ms - …", Some(inner)))
    }

    fn answer(words: &'static str) -> StoreError {
        StoreError::Generic { store: "S3", source: request(Box::new(Chain(words, None))) }
    }

    fn http(kind: HttpErrorKind, words: &'static str) -> StoreError {
        StoreError::Generic { store: "S3", source: request(Box::new(HttpError::new(kind, Chain(words, None)))) }
    }

    /// As the client reports that no connection came about in time.
    fn connecting(words: &'static str) -> StoreError {
        let client = Chain("client error (Connect)", Some(Box::new(Chain(words, None))));
        let source = request(Box::new(HttpError::new(HttpErrorKind::Timeout, client)));
        StoreError::Generic { store: "S3", source }
    }

    #[test]
    fn what_may_pass_is_told_from_what_may_not() {
        let status = |status: &str| {
            answer(Box::leak(format!("Server returned non-2xx status code: {status}: ").into_boxed_str()))
        };
        for (error, want) in [
            (status("503 Service Unavailable"), true),
            (status("500 Internal Server Error"), true),
            (status("429 Too Many Requests"), true),
            (status("408 Request Timeout"), true),
            (status("400 Bad Request"), false),
            (status("416 Range Not Satisfiable"), false),
            (status("501 Not Implemented"), false),
            (answer("Server returned non-2xx status code: 400 Bad Request: <Code>RequestTimeout</Code>"), true),
            (answer("Server returned error response: <Code>InternalError</Code>"), true),
            (answer("Received redirect without LOCATION, this"), false),
            (http(HttpErrorKind::Connect, "connection refused"), true),
            (http(HttpErrorKind::Connect, "invalid peer certificate: UnknownIssuer"), false),
            (http(HttpErrorKind::Timeout, "timed out"), true),
            (connecting("deadline has elapsed"), true),
            (http(HttpErrorKind::Interrupted, "reset"), true),
            (http(HttpErrorKind::Decode, "error decoding response body"), true),
            (http(HttpErrorKind::Unknown, "builder error"), false),
            (fault(io::ErrorKind::UnexpectedEof, "short".to_owned()), true),
            (fault(io::ErrorKind::InvalidData, "long".to_owned()), false),
            (StoreError::NotFound { path: "k".to_owned(), source: "x".into() }, false),
            (replaced(&"k".into(), "x".to_owned()), false),
        ] {
            assert_eq!(is_transient(&error), want, "{error:?}");
        }
    }

    #[test]
    fn messages_name_the_remedy_and_no_secret() {
        let denied = "Server returned non-2xx status code: 403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code>\
                      <Message>No match.</Message><AWSAccessKeyId>AKIAs3cr3t</AWSAccessKeyId></Error>";
        let no_bucket = "Server returned non-2xx status code: 404 Not Found: <Code>NoSuchBucket</Code>";
        let path = String::new;
        for (error, what, want) in [
            (
                StoreError::PermissionDenied { path: path(), source: request(Box::new(Chain(denied, None))) },
                "s3://b/k",
                "s3://b/k: permission denied (status 403 SignatureDoesNotMatch: No match): check the credentials",
            ),
            (
                StoreError::NotFound { path: path(), source: request(Box::new(Chain(no_bucket, None))) },
                "s3://b/k",
                "s3://b/k: the bucket does not exist",
            ),
            (
                http(HttpErrorKind::Connect, "connection refused"),
                "https://h/k?X-Amz-Signature=s3cr3t",
                "https://h/k?…: gave up after 3 attempts in 1.5 s: can't connect (connection refused): check the host and the network",
            ),
            (connecting("deadline has elapsed"), "https://h/k", "can't connect (timed out): check the host"),
            (answer("see https://h/k?sig=s3cr3t"), "gs://b/k", "can't be read (see https://h/k?…)"),
            (replaced(&"k".into(), "ETag a, now b".to_owned()), "s3://b/k", "was replaced while it was read (ETag a"),
        ] {
            let failure = RetryFailure { error, attempts: 3, elapsed: Duration::from_millis(1500) };
            let text = describe(&failure, what).to_string();
            assert!(text.contains(want), "{text}");
            assert!(!text.contains("s3cr3t"), "{text}");
        }
    }
}
