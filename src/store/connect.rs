//! Stores by scheme and authority: how a connection is set up, and a cache that sets each up once.
//!
//! A connection for reading does not retry by itself, since the reader does, at the byte, and counts; one for writing
//! does. No total time limit is set for a read either: a slow body that moves is fine, and one that does not is noticed
//! by the reader.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::{ClientOptions, HeaderValue, ObjectStore, RetryConfig};
use url::Url;

use super::credentials::{self, CheckedCredentials};
use super::http::{LengthlessConnector, ObservedConnector};
use super::options::{StoreOptions, azure_key, client_key, gcp_key};
use super::{Connection, fault, s3};
use crate::error::{Error, ErrorKind, Result};
use crate::stats::Count;

/// Name and version, as servers see them.
const USER_AGENT: &str = concat!("tarsql/", env!("CARGO_PKG_VERSION"));

/// A server that does not accept a connection by then is retried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One upload of a part, body included.
const WRITE_TIMEOUT: Duration = Duration::from_secs(300);

/// Idle connections that are kept for the next request: as many as many readers have under way.
const IDLE_PER_HOST_MAX: usize = 64;

/// Connections that are kept. Beyond that (thousands of signed URLs, each with a query of its own), all are forgotten.
const CONNECTIONS_MAX: usize = 256;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// Listing and reading, which bring retries of their own.
    Read,
    /// Writing, which relies on those of the store.
    Write,
}

impl Purpose {
    pub(super) fn retries(self) -> RetryConfig {
        match self {
            Self::Read => RetryConfig { max_retries: 0, ..RetryConfig::default() },
            Self::Write => RetryConfig::default(),
        }
    }
}

/// Connections that have been made, by everything that makes them differ.
#[derive(Default)]
pub(crate) struct Stores {
    connections: Mutex<HashMap<Key, Connection>>,
    resent: Arc<Count>,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    scheme: String,
    authority: String,
    options: StoreOptions,
    purpose: Purpose,
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("Stores").field("connections", &connections).finish()
    }
}

impl Stores {
    /// Requests of writers that their store sent again after a failure, so far.
    pub(crate) fn resent(&self) -> u64 {
        self.resent.value()
    }

    /// The connection of that kind, made now if there is none; see [`Setup::connect`] for the arguments.
    pub(crate) fn connection(
        &self,
        scheme: &str,
        authority: &str,
        options: &StoreOptions,
        purpose: Purpose,
    ) -> Result<Connection> {
        let (scheme, authority) = (scheme.to_owned(), authority.to_owned());
        let key = Key { scheme, authority, options: options.clone(), purpose };
        // Held while connecting, which only reads settings: two tables that open at once shall share a connection.
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = connections.get(&key) {
            return Ok(connection.clone());
        }
        // Readers count by themselves.
        let resent = if purpose == Purpose::Write { Arc::clone(&self.resent) } else { Arc::default() };
        let setup = Setup { options, environment: &Environment::of_process(), purpose, resent: &resent };
        let connection = setup.connect(&key.scheme, &key.authority)?;
        if connections.len() >= CONNECTIONS_MAX {
            connections.clear();
        }
        connections.insert(key, connection.clone());
        Ok(connection)
    }
}

/// How a connection is made.
pub(super) struct Setup<'a> {
    pub(super) options: &'a StoreOptions,
    pub(super) environment: &'a Environment,
    pub(super) purpose: Purpose,
    /// Requests that the store sends again by itself are counted here.
    pub(super) resent: &'a Arc<Count>,
}

impl Setup<'_> {
    /// Connects to a store; no request is sent yet.
    ///
    /// The authority is the bucket (`s3`, `gs`), the container (`az`, and `container@account.host` for `abfss`), nothing
    /// (`file`), or the host with its port (`http`, `https`), behind which a `?query` may follow that every request gets.
    ///
    /// # Errors
    /// [`ErrorKind::Option`] for settings that don't make a store, [`ErrorKind::Locator`] for a scheme without one.
    fn connect(&self, scheme: &str, authority: &str) -> Result<Connection> {
        match scheme {
            "file" => Ok(Connection { store: Arc::new(LocalFileSystem::new()), pager: None }),
            "http" | "https" => connect_http(scheme, authority, self),
            _ if authority.is_empty() => {
                Err(Error::new(ErrorKind::Locator, format!("{scheme}:// has no bucket: write {scheme}://bucket/key")))
            }
            "s3" | "s3a" => Ok(paged(s3::connect(authority, self)?)),
            "gs" | "gcs" => connect_gcs(authority, self),
            "az" | "azure" | "adl" | "abfs" | "abfss" => connect_azure(scheme, authority, self),
            _ => Err(Error::new(
                ErrorKind::Locator,
                format!("no store for scheme '{scheme}': there are file, s3, gs, az, abfs, abfss, http and https"),
            )),
        }
    }
}

/// A connection of its own, as the process' environment says.
#[cfg(test)]
pub(crate) fn connect(scheme: &str, authority: &str, options: &StoreOptions, purpose: Purpose) -> Result<Connection> {
    Stores::default().connection(scheme, authority, options, purpose)
}

fn paged<S: ObjectStore + object_store::list::PaginatedListStore>(store: S) -> Connection {
    let store = Arc::new(store);
    Connection { store: Arc::clone(&store) as _, pager: Some(store) }
}

fn refused(what: &str, remedy: &str) -> impl Fn(object_store::Error) -> Error + use<> {
    let start = format!("the settings for {what} don't make a store");
    let remedy = if remedy.is_empty() { String::new() } else { format!(": {remedy}") };
    move |error| Error::new(ErrorKind::Option, format!("{start} ({}){remedy}", fault::cause(&error)))
}

fn connect_gcs(bucket: &str, setup: &Setup<'_>) -> Result<Connection> {
    const REMEDY: &str = "set GOOGLE_APPLICATION_CREDENTIALS or gcp.service_account_path, or gcp.skip_signature = \
                          true for a public bucket";
    let of_environment = setup.environment.vars().filter_map(|(name, value)| {
        let name = if name == "SERVICE_ACCOUNT" { "service_account" } else { name.strip_prefix("GOOGLE_")? };
        Some((gcp_key(&name.to_ascii_lowercase())?, value))
    });
    let of_options = setup.options.group("gcp").filter_map(|(name, value)| Some((gcp_key(name)?, value)));
    // Plain HTTP is what the metadata service of Google speaks; object_store's own default allows it too.
    let client_options = base_client_options(setup.purpose).with_allow_http(true);
    let mut builder = GoogleCloudStorageBuilder::new().with_client_options(client_options);
    for (key, value) in of_environment.chain(of_options) {
        builder = builder.with_config(key, value);
    }
    let builder = builder.with_bucket_name(bucket).with_retry(setup.purpose.retries());
    let refused = refused(&format!("gs://{bucket}"), REMEDY);
    if builder.get_config_value(&object_store::gcp::GoogleConfigKey::SkipSignature).is_some_and(|skip| is_yes(&skip)) {
        let builder = builder.with_http_connector(<ObservedConnector>::new(setup.resent));
        return Ok(paged(builder.build().map_err(refused)?));
    }
    let provider = builder.clone().with_retry(credentials::retries()).build().map_err(&refused)?;
    // Its client is the plain one: what it asks for is nobody's business, not even in a log.
    let builder = builder.with_http_connector(<ObservedConnector>::new(setup.resent));
    let checked = CheckedCredentials::new(Arc::clone(provider.credentials()), REMEDY);
    Ok(paged(builder.with_credentials(Arc::new(checked)).build().map_err(refused)?))
}

fn connect_azure(scheme: &str, authority: &str, setup: &Setup<'_>) -> Result<Connection> {
    const REMEDY: &str = "set AZURE_STORAGE_ACCOUNT_NAME (or azure.account_name) and AZURE_STORAGE_ACCOUNT_KEY (or \
                          another credential), or azure.skip_signature = true for a public container";
    let of_environment = setup.environment.vars().filter_map(|(name, value)| {
        let name = if name == "IDENTITY_ENDPOINT" { "msi_endpoint" } else { name.strip_prefix("AZURE_")? };
        Some((azure_key(&name.to_ascii_lowercase())?, value))
    });
    let of_options = setup.options.group("azure").filter_map(|(name, value)| Some((azure_key(name)?, value)));
    let mut builder = MicrosoftAzureBuilder::new().with_client_options(base_client_options(setup.purpose));
    for (key, value) in of_environment.chain(of_options) {
        builder = builder.with_config(key, value);
    }
    let url = format!("{scheme}://{authority}/");
    let builder = builder.with_url(&url).with_retry(setup.purpose.retries());
    let refused = refused(&url, REMEDY);
    if builder.get_config_value(&object_store::azure::AzureConfigKey::SkipSignature).is_some_and(|skip| is_yes(&skip)) {
        let builder = builder.with_http_connector(<ObservedConnector>::new(setup.resent));
        return Ok(paged(builder.build().map_err(refused)?));
    }
    let provider = builder.clone().with_retry(credentials::retries()).build().map_err(&refused)?;
    // Its client is the plain one: what it asks for is nobody's business, not even in a log.
    let builder = builder.with_http_connector(<ObservedConnector>::new(setup.resent));
    let checked = CheckedCredentials::new(Arc::clone(provider.credentials()), REMEDY);
    Ok(paged(builder.with_credentials(Arc::new(checked)).build().map_err(refused)?))
}

fn connect_http(scheme: &str, authority: &str, setup: &Setup<'_>) -> Result<Connection> {
    let (host, query) = authority.split_once('?').map_or((authority, None), |(host, query)| (host, Some(query)));
    let wrong = |why: &str| Error::new(ErrorKind::Locator, format!("{scheme}://… {why}"));
    let mut url = Url::parse(&format!("{scheme}://{host}/"))
        .ok()
        .filter(|url| url.has_host() && url.path() == "/")
        .ok_or_else(|| wrong("has no valid host"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("can't hold a user or a password"));
    }
    url.set_query(query);
    // Whoever writes http:// means it.
    let mut client_options = base_client_options(setup.purpose).with_allow_http(scheme == "http");
    for (name, value) in setup.options.group("http") {
        let Some(key) = client_key(name) else { continue };
        client_options = client_options.with_config(key, value);
    }
    let store = HttpBuilder::new()
        .with_url(url.as_str())
        .with_client_options(client_options)
        .with_http_connector(ObservedConnector::<LengthlessConnector>::new(setup.resent))
        .with_retry(setup.purpose.retries())
        .build()
        .map_err(refused(&format!("{scheme}://{host}"), ""))?;
    Ok(Connection { store: Arc::new(store), pager: None })
}

fn is_yes(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "on" | "yes" | "y")
}

pub(super) fn base_client_options(purpose: Purpose) -> ClientOptions {
    let options = ClientOptions::new()
        .with_user_agent(HeaderValue::from_static(USER_AGENT))
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_pool_max_idle_per_host(IDLE_PER_HOST_MAX);
    match purpose {
        Purpose::Read => options.with_timeout_disabled(),
        Purpose::Write => options.with_timeout(WRITE_TIMEOUT),
    }
}

/// Variables and home directory, so that tests need not change those of the process. It holds secrets, hence no
/// `Debug`.
pub(super) struct Environment {
    vars: BTreeMap<String, String>,
    home: Option<PathBuf>,
}

impl Environment {
    fn of_process() -> Self {
        let vars =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self { vars: vars.collect(), home: std::env::home_dir() }
    }

    #[cfg(test)]
    pub(super) fn of(vars: &[(&str, &str)], home: Option<&Path>) -> Self {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { vars, home: home.map(Path::to_owned) }
    }

    /// Variables that are set to something.
    pub(super) fn vars(&self) -> impl Iterator<Item = (&str, &str)> {
        self.vars.iter().map(|(name, value)| (name.as_str(), value.as_str())).filter(|(_, value)| !value.is_empty())
    }

    /// A variable, if it is set to something.
    pub(super) fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The file that a variable names, or else the one in the home directory.
    pub(super) fn settings_file(&self, variable: &str, in_home: &str) -> PathBuf {
        let join_home = |path: &str| self.home.as_deref().unwrap_or_else(|| Path::new("")).join(path);
        match self.var(variable) {
            Some(path) => path.strip_prefix("~/").map_or_else(|| PathBuf::from(path), join_home),
            None => join_home(in_home),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Stats;
    use crate::store::retry;

    fn connect_in(
        environment: &Environment,
        scheme: &str,
        authority: &str,
        options: &StoreOptions,
        purpose: Purpose,
    ) -> Result<Connection> {
        Setup { options, environment, purpose, resent: &Arc::default() }.connect(scheme, authority)
    }

    fn options(given: &[(&str, &str)]) -> StoreOptions {
        let mut options = StoreOptions::default();
        for (key, value) in given {
            options.insert(key, *value).unwrap();
        }
        options
    }

    #[test]
    fn every_scheme_connects_without_a_request() {
        let account = [("azure.account_name", "a"), ("azure.skip_signature", "true")];
        for (scheme, authority, given, paged) in [
            ("file", "", &[][..], false),
            ("s3", "b", &[], true),
            ("s3a", "b", &[("aws.skip_signature", "true")], true),
            ("gs", "b", &[("gcp.skip_signature", "true")], true),
            ("az", "c", &account, true),
            ("abfss", "c@a.dfs.core.windows.net", &[("azure.skip_signature", "true")], true),
            ("http", "h:8080", &[], false),
            ("https", "h?X-Amz-Signature=s3cr3t", &[("http.timeout", "5 s")], false),
        ] {
            let environment = Environment::of(&[], None);
            for purpose in [Purpose::Read, Purpose::Write] {
                let connection = connect_in(&environment, scheme, authority, &options(given), purpose).unwrap();
                assert_eq!(connection.pager.is_some(), paged, "{scheme}");
                assert!(!format!("{connection:?}").contains("s3cr3t"));
            }
        }
    }

    #[test]
    fn what_is_no_store_is_refused_with_a_remedy() {
        for (scheme, authority, given, want) in [
            ("s3", "", &[][..], "write s3://bucket/key"),
            ("ftp", "h", &[], "no store for scheme 'ftp'"),
            ("http", "", &[], "no valid host"),
            ("http", "h/x", &[], "no valid host"),
            ("https", "u:s3cr3t@h", &[], "can't hold a user"),
            ("az", "c", &[], "AZURE_STORAGE_ACCOUNT_NAME"),
            ("s3", "b", &[("aws.endpoint", "http://h")], "aws.allow_http"),
            ("s3", "b", &[("aws.access_key_id", "s3cr3t")], "SecretAccessKey"),
            ("s3", "b", &[("aws.connect_timeout", "soon")], "failed to parse"),
        ] {
            let connected = connect_in(&Environment::of(&[], None), scheme, authority, &options(given), Purpose::Read);
            let error = connected.unwrap_err().to_string();
            assert!(error.contains(want) && !error.contains("s3cr3t"), "{error}");
        }
    }

    #[test]
    fn equal_settings_share_a_connection_and_others_do_not() {
        let stores = Stores::default();
        let store =
            |given: &[(&str, &str)], purpose| stores.connection("http", "h", &options(given), purpose).unwrap().store;
        let first = store(&[], Purpose::Read);
        assert!(Arc::ptr_eq(&first, &store(&[], Purpose::Read)));
        assert!(!Arc::ptr_eq(&first, &store(&[], Purpose::Write)));
        assert!(!Arc::ptr_eq(&first, &store(&[("http.timeout", "5 s")], Purpose::Read)));
    }

    /// The metadata service of a cloud machine, on a machine that is none.
    #[tokio::test]
    async fn without_credentials_the_error_comes_soon_and_names_the_remedy() {
        let given = [("aws.metadata_endpoint", "http://127.0.0.1:1")];
        let connection = connect_in(&Environment::of(&[], None), "s3", "b", &options(&given), Purpose::Read).unwrap();
        let policy = retry::RetryPolicy::default();
        let key = object_store::path::Path::from("k");
        let get = || connection.store.get_opts(&key, object_store::GetOptions::default());
        let failure = retry::retry(&policy, &Stats::default(), "s3://b/k", get).await.unwrap_err();
        assert_eq!(failure.attempts, 1);
        let error = fault::describe(&failure, "s3://b/k").to_string();
        assert!(error.contains("s3://b/k: no credentials found (") && error.contains("skip_signature"), "{error}");
    }
}
