//! The HTTP client of plain web servers: one that also accepts a body without a length.
//!
//! A server that makes an archive up as it goes (`git archive`, say) sends it in chunks and can't say how long it will
//! be. object_store 0.13 refuses any response without `Content-Length`, so this client writes one in, a number that no
//! object can have: [`UNKNOWN_SIZE`].

use async_trait::async_trait;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::{ClientOptions, HeaderValue};

/// Size of an object whose server does not tell it.
pub(crate) const UNKNOWN_SIZE: u64 = u64::MAX;

/// `u64::MAX`, as a header holds it.
const UNKNOWN_SIZE_TEXT: &str = "18446744073709551615";

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
