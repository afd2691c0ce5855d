//! Listings that are none. object_store 0.13 takes any XML for a page of a listing: S3's errors with status 200, or the
//! page of a gateway, are then an empty page and the last one, and archives are missing without a word.

use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;
use object_store::client::{HttpError, HttpErrorKind, HttpRequest, HttpResponse};

use crate::store::fault::said_by;

/// What stands near the begin of a listing: of S3 and GCS, and of Azure.
const ROOTS: [&str; 2] = ["ListBucketResult", "EnumerationResults"];

/// How far a listing's begin is looked at: an XML declaration and comments may come first.
const BEGIN_BYTES: usize = 1024;

/// Whether a listing is asked for, of S3, GCS or Azure.
pub(super) fn is_asked_for(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    request.method().as_str() == "GET"
        && query.split('&').any(|parameter| matches!(parameter, "list-type=2" | "comp=list"))
}

/// The answer, if it is a listing or does not claim to be one. What passes for an error may pass.
pub(super) async fn checked(answer: HttpResponse) -> Result<HttpResponse, HttpError> {
    if !answer.status().is_success() {
        return Ok(answer);
    }
    let (head, body) = answer.into_parts();
    let body: Bytes = body.bytes().await?;
    let begin = String::from_utf8_lossy(&body[..body.len().min(BEGIN_BYTES)]);
    if ROOTS.iter().any(|root| begin.contains(root)) {
        return Ok(HttpResponse::from_parts(head, body.into()));
    }
    let instead = said_by(&begin).unwrap_or_else(|| "something else".to_owned());
    Err(HttpError::new(HttpErrorKind::Interrupted, NotAListing(instead)))
}

#[derive(Debug)]
struct NotAListing(String);

impl fmt::Display for NotAListing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in place of a listing came {}", self.0)
    }
}

impl StdError for NotAListing {}
