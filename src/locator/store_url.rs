//! The scheme and authority of a locator: which store it speaks of.

use std::fmt;

use url::Url;

use crate::error::{Error, ErrorKind, Result};

/// The kinds of store that a locator can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// Files of this machine: `file:` and plain paths.
    File,
    /// Amazon S3 and what speaks like it: `s3`, `s3a`.
    S3,
    /// Google Cloud Storage: `gs`.
    Gs,
    /// Azure Blob Storage: `az`, `azure`, `adl`, `abfs`, `abfss`.
    Az,
    /// `http`, without listing.
    Http,
    /// `https`, without listing.
    Https,
}

impl Scheme {
    /// Every spelling that a locator may use.
    const SPELLINGS: [(&'static str, Self); 11] = [
        ("file", Self::File),
        ("s3", Self::S3),
        ("s3a", Self::S3),
        ("gs", Self::Gs),
        ("az", Self::Az),
        ("azure", Self::Az),
        ("adl", Self::Az),
        ("abfs", Self::Az),
        ("abfss", Self::Az),
        ("http", Self::Http),
        ("https", Self::Https),
    ];

    /// The scheme spelled `text`, whatever its case.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let known = Self::SPELLINGS.iter().find(|(spelling, _)| spelling.eq_ignore_ascii_case(text));
        known.map(|(_, scheme)| *scheme).ok_or_else(|| {
            let spellings = Self::SPELLINGS.map(|(spelling, _)| spelling).join(", ");
            let message =
                format!("unknown scheme '{text}': it is one of {spellings}, or there is none for a local path");
            Error::new(ErrorKind::Locator, message)
        })
    }

    /// The normal spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::S3 => "s3",
            Self::Gs => "gs",
            Self::Az => "az",
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Whether archives are fetched by URL, there being no listing.
    pub const fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }
}

/// A store: scheme, and bucket, container or host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoreUrl {
    scheme: Scheme,
    /// What stands between `://` and the next `/`.
    authority: String,
    /// What stands behind `?` in an http(s) URL. It goes with every request and may hold a signature.
    query: Option<String>,
}

impl StoreUrl {
    pub(crate) fn file() -> Self {
        Self { scheme: Scheme::File, authority: String::new(), query: None }
    }

    /// Checks the authority. Its text is left out of errors where it may hold a password.
    pub(crate) fn new(scheme: Scheme, authority: &str, query: Option<&str>) -> Result<Self> {
        let error = |message: String| Err(Error::new(ErrorKind::Locator, message));
        let name = scheme.as_str();
        if authority.contains('@') && scheme != Scheme::Az {
            return error(format!(
                "{name} locators hold no user and no password, they would show in results and logs: \
                 give credentials as options or environment variables"
            ));
        }
        let part = match scheme {
            Scheme::Http | Scheme::Https => "host",
            Scheme::Az => "container",
            _ => "bucket",
        };
        if authority.is_empty() || authority.starts_with('@') || authority.ends_with('@') {
            return error(format!("the {part} is missing behind '{name}://'"));
        }
        if authority.contains(['*', '?', '[', ']', '{', '}', '\\', '%']) && !scheme.is_http()
            || authority.chars().any(|c| c.is_whitespace() || c.is_control())
        {
            return error(format!("the {part} '{authority}' can't be a pattern: name one {part} per locator"));
        }
        let this = Self { scheme, authority: authority.into(), query: query.map(String::from) };
        if scheme.is_http() && Url::parse(&this.prefix()).is_err() {
            return error(format!("'{}' is no URL", this.prefix()));
        }
        Ok(this)
    }

    /// Which kind of store.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// What stands between `://` and the next `/`, empty for files.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The bucket or container; the host for http(s); empty for files.
    pub fn bucket(&self) -> &str {
        self.authority.split_once('@').map_or(&self.authority, |(container, _)| container)
    }

    /// The host behind the container of `abfss://container@account.dfs.core.windows.net/…`.
    fn azure_host(&self) -> Option<&str> {
        self.authority.split_once('@').map(|(_, host)| host)
    }

    /// What stands behind `?` in an http(s) URL. It may hold a signature, so it belongs in no message.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The name under which an engine registers the store: scheme and authority, without query and closing slash.
    pub fn registry_url(&self) -> String {
        if self.scheme == Scheme::File { "file://".into() } else { self.prefix() }
    }

    /// What a connection is made for: the authority, for http(s) with the query that every request gets.
    pub(crate) fn connect_authority(&self) -> String {
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}{query}", self.authority)
    }

    /// What every URL of an object in this store begins with, up to the slash before its key.
    pub(crate) fn prefix(&self) -> String {
        // An account can only be said in Azure's own scheme.
        let scheme = if self.azure_host().is_some() { "abfss" } else { self.scheme.as_str() };
        format!("{scheme}://{}", self.authority)
    }
}

impl fmt::Display for StoreUrl {
    /// Without the query: it may hold a signature.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.registry_url())
    }
}
