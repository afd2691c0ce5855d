//! `archive-glob` or `archive-glob :: member-glob`: where the archives are, and which of their members are meant.
//!
//! A [`Locator`] is parsed once and knows everything that its text says; what is there now is for a listing to find
//! out. Keys are taken as they are, so that a listed URL given back as a locator reads the same object; only `file:`
//! and `http(s):` URLs are percent-decoded, since that is what a percent sign means in them.

mod hive;
mod member_glob;
mod pattern;
mod store_url;

use std::fmt;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

use crate::error::{Error, ErrorKind, Result};

pub(crate) use hive::hive_values;
pub(crate) use member_glob::MemberGlob;
pub(crate) use pattern::{Pattern, Segment, Syntax};
pub use store_url::{Scheme, StoreUrl};

/// Bytes of a locator. A key has at most 1,024; the rest is for long lists in braces.
const TEXT_BYTES_MAX: usize = 32 * 1024;

/// Where archives are and which of their members are meant.
///
/// Patterns know `*` and `?` (which never match `/`), `**` for any number of directories, `[…]` and `[!…]`, `{a,b}`
/// and `{000..999}`; they are case-sensitive, match leading dots, and know no backslash: `[*]` quotes. Over http(s)
/// there is no listing, so only braces have a meaning.
///
/// ```
/// use tarsql::{Locator, Scheme};
///
/// let locator = Locator::parse("s3://bucket/states/**/*.csv.tar :: *.csv.gz")?;
/// assert_eq!(locator.store().scheme(), Scheme::S3);
/// assert_eq!(locator.store().registry_url(), "s3://bucket");
/// assert_eq!(locator.key(), "states/**/*.csv.tar");
/// assert_eq!(locator.literal_prefix(), "states/");
/// assert_eq!(locator.member(), Some("*.csv.gz"));
/// assert!(!locator.is_literal());
/// # Ok::<(), tarsql::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Locator {
    text: String,
    archive: String,
    store: StoreUrl,
    /// For files: the directory that `key` starts from. Empty is the current one at the time of the listing.
    base: PathBuf,
    key: String,
    /// A pattern that can't be used is an error only when no object has exactly its name.
    pattern: Result<Pattern, String>,
    member: Option<MemberGlob>,
}

impl Locator {
    /// Reads a locator.
    ///
    /// # Errors
    ///
    /// Of kind [`ErrorKind::Locator`]: no archive or an empty member pattern, an unknown scheme, a bucket that is
    /// missing or a pattern, user and password in a URL, a location that ends in `/`.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > TEXT_BYTES_MAX {
            let message = format!("a locator of {} bytes is longer than {TEXT_BYTES_MAX}", text.len());
            return Err(Error::new(ErrorKind::Locator, message));
        }
        let (archive, member) = split_member(text);
        if archive.trim().is_empty() {
            return Err(Error::new(ErrorKind::Locator, format!("the locator '{text}' names no archive")));
        }
        let member = member.map(MemberGlob::parse).transpose()?;
        let place = Place::parse(archive)?;
        let end = if cfg!(windows) && place.store.scheme() == Scheme::File { &['/', '\\'][..] } else { &['/'] };
        if place.key.is_empty() || place.key.ends_with(end) {
            let shown = redacted(archive);
            let slash = if shown.ends_with('/') { "" } else { "/" };
            let message = format!("'{shown}' is a directory: name the archives in it, e.g. '{shown}{slash}*.tar'");
            return Err(Error::new(ErrorKind::Locator, message));
        }
        let syntax = if place.store.scheme().is_http() { Syntax::Braces } else { Syntax::Glob };
        let pattern = Pattern::compile(&place.pattern, syntax);
        let Place { store, base, key, .. } = place;
        Ok(Self { text: text.into(), archive: archive.into(), store, base, key, pattern, member })
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The part before ` :: `, as it was given.
    pub fn archive(&self) -> &str {
        &self.archive
    }

    /// The part behind ` :: `.
    pub fn member(&self) -> Option<&str> {
        self.member.as_ref().map(MemberGlob::text)
    }

    /// The store that holds the archives.
    pub fn store(&self) -> &StoreUrl {
        &self.store
    }

    /// The key or pattern below the bucket, or of a file below its base, decoded where the scheme wants it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What the key of every matching archive begins with.
    pub fn literal_prefix(&self) -> &str {
        self.pattern.as_ref().map_or("", Pattern::literal_prefix)
    }

    /// Whether this names one archive, nothing in it having a meaning as a pattern.
    pub fn is_literal(&self) -> bool {
        self.pattern.as_ref().is_ok_and(Pattern::is_literal)
    }

    pub(crate) fn member_glob(&self) -> Option<&MemberGlob> {
        self.member.as_ref()
    }

    /// Whether `::` is a part of the archive's name, as it is without white space on both sides.
    pub(crate) fn may_mean_members(&self) -> bool {
        self.member.is_none() && self.archive.contains("::")
    }

    /// The directory that a local pattern starts from; empty means the current one.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    pub(crate) fn pattern(&self) -> Result<&Pattern> {
        let pattern = self.pattern.as_ref();
        pattern.map_err(|message| Error::new(ErrorKind::Locator, format!("'{self}': {message}")))
    }

    /// The URL of the object with exactly this key (not for files); given back as a locator it reads the same object.
    pub(crate) fn url_of(&self, key: &str) -> String {
        let query = self.store.query().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}/{key}{query}", self.store.prefix())
    }
}

impl fmt::Display for Locator {
    /// The archive part, without the query of a URL: it may hold a signature.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.archive))
    }
}

/// A URL for messages: without its query, which may hold a signature.
pub(crate) fn redacted(url: &str) -> String {
    let http = scheme_of(url).is_some_and(|(scheme, _)| scheme.to_ascii_lowercase().starts_with("http"));
    match url.split_once('?') {
        Some((path, _)) if http => format!("{path}?…"),
        _ => url.into(),
    }
}

/// Splits at the first ` :: `; the white space around it belongs to neither side. The text's ends count as white space.
fn split_member(text: &str) -> (&str, Option<&str>) {
    for (at, _) in text.match_indices("::") {
        let (before, after) = (&text[..at], &text[at + 2..]);
        let apart = |c: Option<char>| c.is_none_or(char::is_whitespace);
        if apart(before.chars().next_back()) && apart(after.chars().next()) {
            return (before.trim_end(), Some(after.trim()));
        }
    }
    (text, None)
}

/// What the archive part of a locator says.
struct Place {
    store: StoreUrl,
    base: PathBuf,
    /// The name, verbatim or decoded.
    key: String,
    /// The text to compile: for a `file:` URL, what was percent-encoded is quoted.
    pattern: String,
}

impl Place {
    fn parse(archive: &str) -> Result<Self> {
        let Some((scheme, rest)) = scheme_of(archive) else { return Self::local(archive, archive) };
        let scheme = Scheme::parse(scheme)?;
        if scheme == Scheme::File {
            return Self::file_url(archive, rest);
        }
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) if scheme.is_http() => (rest, Some(query)),
            _ => (rest, None),
        };
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (authority, key) = rest.split_once('/').unwrap_or((rest, ""));
        let store = StoreUrl::new(scheme, authority, query)?;
        if scheme.is_http() {
            Self::http_rules(archive, key, query)?;
        }
        Ok(Self { store, base: PathBuf::new(), key: key.into(), pattern: key.into() })
    }

    /// Refuses what would be sent as something else than it says.
    fn http_rules(archive: &str, path: &str, query: Option<&str>) -> Result<()> {
        let refuse = |reason: &str| Err(Error::new(ErrorKind::Locator, format!("'{}': {reason}", redacted(archive))));
        if path.contains('#') || query.is_some_and(|query| query.contains('#')) {
            return refuse("'#' ends a URL: write %23 for one in a name");
        }
        if query.is_some_and(|query| query.contains(['{', '}'])) {
            return refuse("braces behind '?' are not expanded: give several locators, or write %7B and %7D");
        }
        Ok(())
    }

    /// `file:///path`, `file:/path` or `file://localhost/path`.
    fn file_url(archive: &str, rest: &str) -> Result<Self> {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        let path = path.strip_prefix("localhost").filter(|path| path.starts_with('/')).unwrap_or(path);
        if !path.starts_with('/') {
            let message =
                format!("'{archive}' is no absolute path: write 'file:///directory/name.tar', or leave 'file:' out");
            return Err(Error::new(ErrorKind::Locator, message));
        }
        // `file:///C:/x` on Windows.
        let path = if cfg!(windows) && path.as_bytes().get(2) == Some(&b':') { &path[1..] } else { path };
        let key = percent_decode_str(path).decode_utf8().map_err(|_| {
            Error::new(ErrorKind::Locator, format!("'{archive}': its percent-encoded bytes are not UTF-8"))
        })?;
        Self::local(&key, &quoted(path))
    }

    /// A path as the operating system writes it, and the same as a pattern.
    fn local(path: &str, pattern: &str) -> Result<Self> {
        let forward = |text: &str| if cfg!(windows) { text.replace('\\', "/") } else { text.into() };
        let (path, pattern) = (forward(path), forward(pattern));
        let drive = cfg!(windows) && path.as_bytes().get(1..3) == Some(b":/");
        let (base, skip) = if path.starts_with('/') {
            (PathBuf::from("/"), 1)
        } else if drive {
            (PathBuf::from(&path[..3]), 3)
        } else if path == "~" || path.starts_with("~/") {
            let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty()).ok_or_else(|| {
                Error::new(ErrorKind::Locator, format!("'{path}': the home directory is unknown: set HOME"))
            })?;
            (home, path.len().min(2))
        } else {
            (PathBuf::new(), 0)
        };
        let below = |text: &str| text.get(skip..).unwrap_or_default().trim_start_matches('/').to_owned();
        Ok(Self { store: StoreUrl::file(), base, key: below(&path), pattern: below(&pattern) })
    }
}

/// The scheme and what follows its colon: `x://…` with two characters or more before it (one is a drive), or `file:…`.
fn scheme_of(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let letters = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let known = rest.starts_with("//") || scheme.eq_ignore_ascii_case("file") && rest.starts_with('/');
    (scheme.len() > 1 && letters && known).then_some((scheme, rest))
}

/// Decodes percent escapes; a decoded character that a pattern would read as more than itself is put into brackets.
fn quoted(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        pattern.push_str(&rest[..at]);
        // One run of escapes at a time: a character may take several.
        let tail = &rest.as_bytes()[at..];
        let run = tail.chunks_exact(3).take_while(|escape| is_escape(escape)).count() * 3;
        if run == 0 {
            pattern.push('%');
            rest = &rest[at + 1..];
            continue;
        }
        for c in percent_decode_str(&rest[at..at + run]).decode_utf8_lossy().chars() {
            if "*?[]{},".contains(c) {
                pattern.extend(['[', c, ']']);
            } else {
                pattern.push(c);
            }
        }
        rest = &rest[at + run..];
    }
    pattern + rest
}

fn is_escape(bytes: &[u8]) -> bool {
    bytes[0] == b'%' && bytes[1..].iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests;
