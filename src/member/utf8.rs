//! `on_invalid_utf8`: bytes become text, one policy for `text`, `lines` and string fields.

use std::borrow::Cow;

use crate::error::{Error, ErrorKind, Result};
use crate::policy::OnInvalidUtf8;

/// The text of `bytes` under `policy`; `None` is NULL.
///
/// # Errors
/// Under `fail`, where `bytes` are not UTF-8; the message has the position of the first bad byte.
pub(crate) fn decode(bytes: &[u8], policy: OnInvalidUtf8) -> Result<Option<Cow<'_, str>>> {
    let error = match std::str::from_utf8(bytes) {
        Ok(text) => return Ok(Some(Cow::Borrowed(text))),
        Err(error) => error,
    };
    match policy {
        OnInvalidUtf8::Fail => Err(Error::new(
            ErrorKind::Record,
            format!(
                "byte {} is not UTF-8 (0x{:02x}): set on_invalid_utf8 to 'replace', 'ignore' or 'null' to read on",
                error.valid_up_to(),
                bytes[error.valid_up_to()],
            ),
        )),
        OnInvalidUtf8::Replace => Ok(Some(String::from_utf8_lossy(bytes))),
        OnInvalidUtf8::Ignore => Ok(Some(Cow::Owned(bytes.utf8_chunks().map(|chunk| chunk.valid()).collect()))),
        OnInvalidUtf8::Null => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy() {
        let bytes = b"caf\xe9 au lait";
        assert_eq!(decode(bytes, OnInvalidUtf8::Replace).unwrap().unwrap(), "caf\u{fffd} au lait");
        assert_eq!(decode(bytes, OnInvalidUtf8::Ignore).unwrap().unwrap(), "caf au lait");
        assert_eq!(decode(bytes, OnInvalidUtf8::Null).unwrap(), None);
        let error = decode(bytes, OnInvalidUtf8::Fail).unwrap_err().to_string();
        assert!(error.starts_with("byte 3 is not UTF-8 (0xe9)"), "{error}");
    }
}
