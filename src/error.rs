//! The one error of the crate: what happened, in which archive, which member, at which offset, caused by what.
//!
//! Layers that don't know the archive or the member leave them out; the layer above fills them in with
//! [`Error::in_archive`] and [`Error::in_member`], which never overwrite what a lower layer knew.

use std::error::Error as StdError;
use std::fmt;

/// What kind of thing went wrong. Policies (`on_error`, `on_unreachable`, `on_bad_row`) decide by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes are no tar, or a damaged or truncated one.
    Archive,
    /// A compressed stream (of the archive or of a member) is damaged or truncated.
    Compression,
    /// A record inside a member does not fit its format or its columns.
    Record,
    /// An Avro container, a JSON document or another member format is damaged as a whole.
    Member,
    /// A locator is malformed or names nothing.
    Locator,
    /// An option is unknown, has an impossible value, or does not go with another one.
    Option,
    /// A schema can't be declared or inferred as asked.
    Schema,
    /// An archive can't be fetched: missing, denied, or the network is down.
    Unreachable,
    /// The object was replaced while it was read.
    Changed,
    /// What COPY or INSERT writes to can't be written, or holds data already.
    Target,
    /// Something does not fit a limit of ours or of the user's.
    Limit,
    /// Asked for something that is planned but not there yet.
    NotYet,
}

impl ErrorKind {
    /// Every kind, for tables and tests.
    pub const ALL: [Self; 12] = [
        Self::Archive,
        Self::Compression,
        Self::Record,
        Self::Member,
        Self::Locator,
        Self::Option,
        Self::Schema,
        Self::Unreachable,
        Self::Changed,
        Self::Target,
        Self::Limit,
        Self::NotYet,
    ];

    /// One lower-case word, as `tarsql_errors()` and the metrics print it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::Compression => "compression",
            Self::Record => "record",
            Self::Member => "member",
            Self::Locator => "locator",
            Self::Option => "option",
            Self::Schema => "schema",
            Self::Unreachable => "unreachable",
            Self::Changed => "changed",
            Self::Target => "target",
            Self::Limit => "limit",
            Self::NotYet => "not_yet",
        }
    }
}

/// An error with its place. One word wide, so that `Result` stays small.
///
/// It prints as `archive: member 'path' at offset N: message: cause`, each part only where it is known; the offset
/// counts bytes of the uncompressed tar stream.
///
/// ```
/// use tarsql::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Archive, "header checksum mismatch (stored 5311, computed 5310)")
///     .at(10240)
///     .in_member("x/y.json")
///     .in_archive("s3://b/a.tar.gz");
/// assert_eq!(
///     error.to_string(),
///     "s3://b/a.tar.gz: member 'x/y.json' at offset 10240: header checksum mismatch (stored 5311, computed 5310)"
/// );
/// ```
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    archive: Option<String>,
    member: Option<String>,
    offset: Option<u64>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// A [`std::result::Result`] with the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A new error without a place. The message is lower case, has the numbers and the remedy, and no full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), archive: None, member: None, offset: None, source: None }))
    }

    /// Says in which archive (its URL) it happened, unless that is known already.
    #[must_use]
    pub fn in_archive(mut self, archive: impl Into<String>) -> Self {
        self.0.archive.get_or_insert_with(|| archive.into());
        self
    }

    /// Says in which member (its path) it happened, unless that is known already.
    #[must_use]
    pub fn in_member(mut self, member: impl Into<String>) -> Self {
        self.0.member.get_or_insert_with(|| member.into());
        self
    }

    /// Says at which byte of the uncompressed tar stream it happened, unless that is known already.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        self.0.offset.get_or_insert(offset);
        self
    }

    /// Adds a remedy that the layer which met the error could not know.
    #[must_use]
    pub(crate) fn with_remedy(mut self, remedy: &str) -> Self {
        self.0.message.push_str(": ");
        self.0.message.push_str(remedy);
        self
    }

    /// Keeps the error that caused this one; it is printed behind the message.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error once more, for one who comes to it by another way. What caused it is a part of its message then.
    pub(crate) fn again(&self) -> Self {
        let Inner { kind, message, archive, member, offset, source } = &*self.0;
        let (archive, member, offset) = (archive.clone(), member.clone(), *offset);
        let source = source.as_ref().map(|source| source.to_string().into());
        Self(Box::new(Inner { kind: *kind, message: message.clone(), archive, member, offset, source }))
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// URL of the archive, where known.
    pub fn archive(&self) -> Option<&str> {
        self.0.archive.as_deref()
    }

    /// Path of the member, where known.
    pub fn member(&self) -> Option<&str> {
        self.0.member.as_deref()
    }

    /// Offset in the uncompressed tar stream, in bytes, where known.
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// What happened, without the place and the cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { message, archive, member, offset, source, .. } = &*self.0;
        if let Some(archive) = archive {
            write!(f, "{archive}: ")?;
        }
        match (member, offset) {
            (Some(member), Some(offset)) => write!(f, "member '{}' at offset {offset}: ", member.escape_debug())?,
            (Some(member), None) => write!(f, "member '{}': ", member.escape_debug())?,
            (None, Some(offset)) => write!(f, "at offset {offset}: ")?,
            (None, None) => {}
        }
        f.write_str(message)?;
        if let Some(source) = source {
            write!(f, ": {}", one_line(&source.to_string()))?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Edits that turn one name into the other (Levenshtein's distance), to tell which one was meant. Names of options are
/// short, and an unknown one is cut to that length.
pub(crate) fn edit_distance(a: &str, b: &str) -> usize {
    const NAME_CHARS_MAX: usize = 64;
    let b = b.chars().take(NAME_CHARS_MAX).collect::<Vec<_>>();
    let mut row = (0..=b.len()).collect::<Vec<_>>();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Foreign errors may span lines (XML bodies of S3, say); ours are one line each.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_that_is_known_first_stays() {
        let error = Error::new(ErrorKind::Record, "bad").in_member("inner").in_member("outer").at(1).at(2);
        assert_eq!(error.to_string(), "member 'inner' at offset 1: bad");
    }

    #[test]
    fn a_cause_is_printed_on_one_line() {
        let error = Error::new(ErrorKind::Unreachable, "listing failed").caused_by("<a>\n  <b/>\n</a>");
        assert_eq!(error.to_string(), "listing failed: <a> <b/> </a>");
    }
}
