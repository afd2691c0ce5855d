//! Settings of a store as SQL spells them: `aws.endpoint`, `gcp.service_account_path`, `azure.account_name`, …
//!
//! Names are checked when they are given, values when a connection is made. Neither `Debug` nor `Display` shows a value
//! that could be a secret.

use std::collections::BTreeMap;
use std::fmt;

use object_store::ClientConfigKey;
use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;

use crate::error::{Error, ErrorKind, Result, edit_distance};
use crate::locator::Scheme;

/// Names that are shown when an unknown one resembles them; the stores know a few more.
const KNOWN: &[(&str, &[&str])] = &[
    (
        "aws",
        &[
            "access_key_id",
            "secret_access_key",
            "session_token",
            "region",
            "endpoint",
            "profile",
            "skip_signature",
            "request_payer",
            "virtual_hosted_style_request",
            "metadata_endpoint",
            "web_identity_token_file",
            "role_arn",
            "role_session_name",
            "endpoint_url_sts",
            "unsigned_payload",
            "checksum_algorithm",
            "server_side_encryption",
            "sse_kms_key_id",
            "sse_customer_key_base64",
        ],
    ),
    ("gcp", &["service_account_path", "service_account_key", "application_credentials", "base_url", "skip_signature"]),
    (
        "azure",
        &[
            "account_name",
            "account_key",
            "client_id",
            "client_secret",
            "tenant_id",
            "sas_token",
            "bearer_token",
            "endpoint",
            "use_emulator",
            "use_azure_cli",
            "skip_signature",
        ],
    ),
    ("http", &[]),
];

/// Settings of the HTTP client, which every group but `file` takes.
const KNOWN_CLIENT: &[&str] = &[
    "allow_http",
    "allow_invalid_certificates",
    "connect_timeout",
    "pool_idle_timeout",
    "pool_max_idle_per_host",
    "proxy_url",
    "proxy_ca_certificate",
    "proxy_excludes",
    "timeout",
    "user_agent",
];

/// What may be printed. Anything else is taken for a secret.
const SHOWN: &[&str] =
    &["region", "profile", "allow_http", "skip_signature", "request_payer", "virtual_hosted_style_request"];

/// How many similar names an error mentions.
const SUGGESTIONS_MAX: usize = 3;

/// Edits between an unknown name and one that it may have meant.
const SUGGESTION_DISTANCE_MAX: usize = 4;

/// Settings for the stores of one table or call, by their full names.
///
/// They are compared and hashed by value, so that equal ones share a connection.
///
/// ```
/// # use tarsql::StoreOptions;
/// let mut options = StoreOptions::default();
/// options.insert("aws.region", "eu-central-1")?;
/// options.insert("aws.secret_access_key", "hunter2")?;
/// assert_eq!(options.to_string(), "aws.region = 'eu-central-1', aws.secret_access_key = …");
/// assert!(options.insert("aws.regoin", "x").is_err());
/// # Ok::<(), tarsql::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct StoreOptions(BTreeMap<String, String>);

impl StoreOptions {
    /// Whether a name belongs here, that is, whether it begins with `aws.`, `gcp.`, `azure.` or `http.`.
    pub(crate) fn covers(key: &str) -> bool {
        group_of(key).is_some()
    }

    /// Sets an option, replacing what it was.
    ///
    /// # Errors
    /// [`ErrorKind::Option`] for a name that no store knows.
    pub fn insert(&mut self, key: &str, value: impl Into<String>) -> Result<()> {
        let Some((group, name)) = group_of(key) else {
            return Err(unknown(key, "it does not begin with 'aws.', 'gcp.', 'azure.' or 'http.'".to_owned()));
        };
        if !is_known(group, &name) {
            return Err(unknown(key, suggestions(group, &name)));
        }
        self.0.insert(format!("{group}.{name}"), value.into());
        Ok(())
    }

    /// Whether nothing is set.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The option that limits the time to connect, by its full name, if it is there.
    pub(crate) fn connect_timeout(&self) -> Option<&str> {
        self.iter().map(|(key, _)| key).find(|key| key.ends_with(".connect_timeout"))
    }

    /// These options, with that limit where they have none for stores of `scheme`.
    #[must_use]
    pub(crate) fn or_connect_timeout(mut self, scheme: Scheme, timeout_ms: u64) -> Self {
        let group = match scheme {
            Scheme::File => return self,
            Scheme::S3 => "aws",
            Scheme::Gs => "gcp",
            Scheme::Az => "azure",
            Scheme::Http | Scheme::Https => "http",
        };
        self.0.entry(format!("{group}.connect_timeout")).or_insert_with(|| format!("{timeout_ms} ms"));
        self
    }

    /// Names and values, in the order of the names. Values may be secrets: never print them.
    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The options of one group, by their names within it.
    pub(super) fn group(&self, group: &str) -> impl Iterator<Item = (&str, &str)> {
        self.iter().filter_map(move |(key, value)| Some((key.strip_prefix(group)?.strip_prefix('.')?, value)))
    }
}

impl fmt::Display for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (key, value)) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            let name = key.split_once('.').map_or(key, |(_, name)| name);
            if SHOWN.contains(&name) {
                write!(f, "{comma}{key} = '{}'", value.escape_debug())?;
            } else {
                write!(f, "{comma}{key} = …")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreOptions {{ {self} }}")
    }
}

/// Splits a key into its group and the lower-case name within it: `aws.aws_region` is `aws.region`.
fn group_of(key: &str) -> Option<(&'static str, String)> {
    let (group, name) = key.split_once('.')?;
    let &(group, _) = KNOWN.iter().find(|(known, _)| group.eq_ignore_ascii_case(known))?;
    let name = name.to_ascii_lowercase();
    let own_prefix = match group {
        "aws" => "aws_",
        "gcp" => "google_",
        "azure" => "azure_",
        _ => "",
    };
    let name = match name.strip_prefix(own_prefix) {
        Some(short) if is_known(group, short) => short.to_owned(),
        _ => name,
    };
    Some((group, name))
}

fn is_known(group: &str, name: &str) -> bool {
    match group {
        "aws" => name == "profile" || aws_key(name).is_some_and(|key| key != AmazonS3ConfigKey::Bucket),
        "gcp" => gcp_key(name).is_some_and(|key| key != GoogleConfigKey::Bucket),
        "azure" => azure_key(name).is_some_and(|key| key != AzureConfigKey::ContainerName),
        _ => client_key(name).is_some(),
    }
}

/// The store's key of an `aws.` option; a few are known by their long name only.
pub(super) fn aws_key(name: &str) -> Option<AmazonS3ConfigKey> {
    name.parse().or_else(|_| format!("aws_{name}").parse()).ok()
}

/// The store's key of a `gcp.` option.
pub(super) fn gcp_key(name: &str) -> Option<GoogleConfigKey> {
    // datafusion-cli's name for it.
    let name = if name == "application_credentials_path" { "application_credentials" } else { name };
    name.parse().or_else(|_| format!("google_{name}").parse()).ok()
}

/// The store's key of an `azure.` option.
pub(super) fn azure_key(name: &str) -> Option<AzureConfigKey> {
    name.parse().or_else(|_| format!("azure_storage_{name}").parse()).or_else(|_| format!("azure_{name}").parse()).ok()
}

/// The HTTP client's key of an `http.` option.
pub(super) fn client_key(name: &str) -> Option<ClientConfigKey> {
    name.parse().ok()
}

fn unknown(key: &str, remedy: String) -> Error {
    Error::new(ErrorKind::Option, format!("unknown store option '{}': {remedy}", key.escape_debug()))
}

fn suggestions(group: &str, name: &str) -> String {
    let known = KNOWN.iter().filter(|(known, _)| *known == group).flat_map(|(_, names)| names.iter());
    let names = known.chain(KNOWN_CLIENT).copied().collect::<Vec<_>>();
    let mut similar = names
        .iter()
        .map(|known| (if known.contains(name) && !name.is_empty() { 0 } else { edit_distance(known, name) }, known))
        .filter(|(distance, _)| *distance <= SUGGESTION_DISTANCE_MAX)
        .collect::<Vec<_>>();
    similar.sort();
    let quoted = |known: &&str| format!("'{group}.{known}'");
    match similar.len() {
        0 => format!("known are {}", names.iter().map(quoted).collect::<Vec<_>>().join(", ")),
        _ => {
            let similar = similar.iter().take(SUGGESTIONS_MAX).map(|(_, known)| quoted(known)).collect::<Vec<_>>();
            format!("did you mean {}", similar.join(" or "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_that_we_mention_is_known() {
        for (group, names) in KNOWN {
            for name in names.iter().chain(KNOWN_CLIENT) {
                assert!(is_known(group, name), "{group}.{name}");
            }
        }
    }

    #[test]
    fn names_are_normalised() {
        let mut options = StoreOptions::default();
        for key in ["AWS.Region", "aws.aws_region", "aws.region", "azure.azure_storage_account_name", "gcp.bucket"] {
            let inserted = options.insert(key, "x");
            assert_eq!(inserted.is_ok(), key != "gcp.bucket", "{key}");
        }
        let keys = options.iter().map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(keys, ["aws.region", "azure.storage_account_name"]);
    }

    #[test]
    fn an_unknown_name_is_answered_with_similar_ones() {
        for (key, want) in [
            ("aws.regoin", "unknown store option 'aws.regoin': did you mean 'aws.region'"),
            ("aws.bucket", "unknown store option 'aws.bucket'"),
            ("aws.endpoit", "did you mean 'aws.endpoint'"),
            ("http.zzzzzzzzzzzzz", "known are 'http.allow_http'"),
            ("s3.region", "does not begin with"),
            ("format", "does not begin with"),
            ("", "does not begin with"),
        ] {
            let error = StoreOptions::default().insert(key, "v").unwrap_err().to_string();
            assert!(error.contains(want), "{key}: {error}");
        }
    }

    #[test]
    fn secrets_are_never_printed() {
        let mut options = StoreOptions::default();
        for key in ["aws.secret_access_key", "aws.session_token", "aws.endpoint", "azure.sas_token", "http.proxy_url"] {
            options.insert(key, "s3cr3t").unwrap();
        }
        options.insert("aws.skip_signature", "true").unwrap();
        let printed = format!("{options:?} {options}");
        assert!(!printed.contains("s3cr3t") && printed.contains("aws.skip_signature = 'true'"), "{printed}");
    }
}
