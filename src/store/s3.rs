//! Settings of S3 from four places, and the store that they make.
//!
//! Weakest first: the profile, the `AWS_…` variables, a profile named by `aws.profile`, the options. Some settings go
//! together and are taken from one place only: keys and their token (never the key of one place with the token of
//! another), and an endpoint (which the AWS tools spell in four ways).

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use url::Url;

use super::connect::{Environment, Purpose, Setup, base_client_options};
use super::credentials::{self, CheckedCredentials};
use super::fault;
use super::http::ObservedConnector;
use super::options::{StoreOptions, aws_key};
use super::profile::Profile;
use crate::error::{Error, ErrorKind, Result};

/// How to give credentials, or do without.
const REMEDY: &str = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile (AWS_PROFILE or aws.profile), or \
                      aws.skip_signature = true for a public bucket";

/// Settings that make up one identity.
const IDENTITY: [&str; 5] =
    ["aws_access_key_id", "aws_secret_access_key", "aws_session_token", "aws_web_identity_token_file", "aws_role_arn"];

/// Builds the store of a bucket.
pub(super) fn connect(bucket: &str, setup: &Setup<'_>) -> Result<AmazonS3> {
    let settings = Settings::gather(setup.options, setup.environment)?;
    let refused = |error: object_store::Error| {
        let message = format!("the settings for bucket '{bucket}' don't make a store: {}", fault::cause(&error));
        Error::new(ErrorKind::Option, message)
    };
    let builder = settings.builder(bucket, setup.purpose)?;
    let observed = || <ObservedConnector>::new(setup.resent);
    if settings.is_true("aws_skip_signature")? {
        return builder.with_http_connector(observed()).build().map_err(refused);
    }
    // A store that is only asked for the provider that it would use. Its client is the plain one: what it asks for is
    // nobody's business, not even in a log.
    let provider = builder.clone().with_retry(credentials::retries()).build().map_err(refused)?;
    let checked = CheckedCredentials::new(Arc::clone(provider.credentials()), REMEDY);
    builder.with_credentials(Arc::new(checked)).with_http_connector(observed()).build().map_err(refused)
}

/// Settings by object_store's canonical names (`aws_region`). It holds secrets, hence no `Debug`.
struct Settings(BTreeMap<String, String>);

impl Settings {
    fn gather(options: &StoreOptions, environment: &Environment) -> Result<Self> {
        let named_by_option = options.group("aws").find(|(name, _)| *name == "profile").map(|(_, value)| value);
        let named_by_variable = environment.var("AWS_PROFILE").or_else(|| environment.var("AWS_DEFAULT_PROFILE"));
        let named = named_by_option.or(named_by_variable);
        let profile = read_profile(named, environment)?;
        let of_profile = profile.as_ref().map(layer_of_profile).unwrap_or_default();

        let mut settings = Self(BTreeMap::new());
        let of_environment = layer(
            environment
                .vars()
                .filter_map(|(name, value)| Some((name.strip_prefix("AWS_")?.to_ascii_lowercase(), value.to_owned()))),
        );
        if named_by_option.is_some() {
            settings.put_over(of_environment);
            settings.put_over(of_profile);
        } else {
            settings.put_over(of_profile);
            settings.put_over(of_environment);
        }
        settings.put_over(layer(options.group("aws").map(|(name, value)| (name.to_owned(), value.to_owned()))));

        let unsupported = profile.as_ref().and_then(Profile::unsupported);
        match unsupported {
            Some(setting) if !settings.has_identity()? => Err(Error::new(
                ErrorKind::Option,
                format!(
                    "AWS profile '{}' gets its credentials by '{setting}', which is not supported: export them to \
                     AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN (`aws configure \
                     export-credentials --format env` prints them)",
                    named.unwrap_or("default")
                ),
            )),
            _ => Ok(settings),
        }
    }

    /// Lays stronger settings over these.
    fn put_over(&mut self, stronger: BTreeMap<String, String>) {
        let brings = |name: &str| stronger.contains_key(name);
        let brings_identity =
            brings("aws_access_key_id") || brings("aws_secret_access_key") || brings("aws_web_identity_token_file");
        if brings_identity {
            self.0.retain(|name, _| !IDENTITY.contains(&name.as_str()) && name != "aws_skip_signature");
        }
        self.0.extend(stronger);
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn is_true(&self, name: &str) -> Result<bool> {
        match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("0" | "false" | "off" | "no" | "n") => Ok(false),
            Some("1" | "true" | "on" | "yes" | "y") => Ok(true),
            Some(other) => {
                let name = name.trim_start_matches("aws_");
                Err(Error::new(ErrorKind::Option, format!("option 'aws.{name}' is neither true nor false: '{other}'")))
            }
        }
    }

    fn has_identity(&self) -> Result<bool> {
        let by_container = ["aws_container_credentials_relative_uri", "aws_container_credentials_full_uri"];
        let has = |name: &str| self.get(name).is_some();
        Ok(has("aws_access_key_id")
            || (has("aws_web_identity_token_file") && has("aws_role_arn"))
            || by_container.into_iter().any(has)
            || self.is_true("aws_skip_signature")?)
    }

    fn builder(&self, bucket: &str, purpose: Purpose) -> Result<AmazonS3Builder> {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_client_options(base_client_options(purpose))
            .with_retry(purpose.retries());
        for (name, value) in &self.0 {
            let Some(key) = aws_key(name) else { continue };
            builder = builder.with_config(key, value);
        }
        if let Some(endpoint) = self.endpoint(bucket)? {
            builder = builder.with_endpoint(endpoint);
        }
        Ok(builder)
    }

    /// The endpoint as object_store wants it: with the bucket in its host for virtual-hosted requests.
    fn endpoint(&self, bucket: &str) -> Result<Option<String>> {
        let Some(text) = self.get("aws_endpoint") else { return Ok(None) };
        let wrong = |why: &str| Error::new(ErrorKind::Option, format!("aws.endpoint {why}"));
        let mut url = Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
            .ok_or_else(|| wrong("must be a URL that begins with https:// or http://"))?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(wrong("can't hold a user, a password or a query"));
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        if url.scheme() == "http" && !self.is_true("allow_http")? {
            return Err(wrong(&format!(
                "http://{host} is not encrypted: set aws.allow_http = true (or AWS_ALLOW_HTTP=true) to use it anyway"
            )));
        }
        if self.is_true("aws_virtual_hosted_style_request")? && !host.starts_with(&format!("{bucket}.")) {
            url.set_host(Some(&format!("{bucket}.{host}")))
                .map_err(|_| wrong(&format!("can't have bucket '{bucket}' put before its host")))?;
        }
        Ok(Some(url.to_string().trim_end_matches('/').to_owned()))
    }
}

fn read_profile(named: Option<&str>, environment: &Environment) -> Result<Option<Profile>> {
    let [config, credentials] = [
        environment.settings_file("AWS_CONFIG_FILE", ".aws/config"),
        environment.settings_file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"),
    ];
    let profile = Profile::read(named.unwrap_or("default"), &config, &credentials)?;
    match named {
        Some(name) if profile.is_none() && name != "default" => Err(Error::new(
            ErrorKind::Option,
            format!("AWS profile '{name}' is neither in '{}' nor in '{}'", config.display(), credentials.display()),
        )),
        _ => Ok(profile),
    }
}

fn layer_of_profile(profile: &Profile) -> BTreeMap<String, String> {
    const NAMES: [&str; 7] = [
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
        "region",
        "role_arn",
        "role_session_name",
        "web_identity_token_file",
    ];
    let settings = NAMES.into_iter().filter_map(|name| Some((name, profile.setting(name)?)));
    let endpoint = profile.endpoint_url().map(|url| ("endpoint", url));
    layer(settings.chain(endpoint).map(|(name, value)| (name.to_owned(), value.to_owned())))
}

/// One place's settings under canonical names; the endpoint and the region that are meant for S3 win over general ones.
fn layer(settings: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let mut layer = settings
        .filter(|(_, value)| !value.is_empty())
        .filter_map(|(name, value)| Some((aws_key(&name)?.as_ref().to_owned(), value)))
        .collect::<BTreeMap<_, _>>();
    if let Some(endpoint) = layer.remove("aws_endpoint_url_s3") {
        layer.insert("aws_endpoint".to_owned(), endpoint);
    }
    if let Some(region) = layer.remove("aws_default_region") {
        layer.entry("aws_region".to_owned()).or_insert(region);
    }
    // The AWS tools' value; object_store wants a truth value.
    if let Some(payer) = layer.get_mut("aws_request_payer").filter(|payer| *payer == "requester") {
        "true".clone_into(payer);
    }
    layer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(vars: &[(&str, &str)], options: &[(&str, &str)]) -> Result<Settings> {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        let credentials = "[default]\naws_access_key_id=PK\naws_secret_access_key=PS\naws_session_token=PT\n\
                           [other]\naws_access_key_id=OK\naws_secret_access_key=OS\n";
        let config = "[default]\nregion=pr\n[profile other]\nendpoint_url=https://other\n[profile sso]\n\
                      sso_session=corp\n";
        std::fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
        std::fs::write(home.path().join(".aws/config"), config).unwrap();
        let mut given = StoreOptions::default();
        for (key, value) in options {
            given.insert(key, *value).unwrap();
        }
        Settings::gather(&given, &Environment::of(vars, Some(home.path())))
    }

    fn check(vars: &[(&str, &str)], options: &[(&str, &str)], want: &[(&str, &str)]) {
        let settings = gather(vars, options).unwrap().0;
        let want = want.iter().map(|(name, value)| (format!("aws_{name}"), (*value).to_owned())).collect();
        assert_eq!(settings, want);
    }

    #[test]
    fn stronger_places_win_and_identities_are_not_mixed() {
        let profile = [("access_key_id", "PK"), ("secret_access_key", "PS"), ("session_token", "PT")];
        check(&[], &[], &[&profile[..], &[("region", "pr")]].concat());
        check(
            &[("AWS_ACCESS_KEY_ID", "EK"), ("AWS_SECRET_ACCESS_KEY", "ES"), ("AWS_DEFAULT_REGION", "er")],
            &[],
            &[("access_key_id", "EK"), ("secret_access_key", "ES"), ("region", "er")],
        );
        check(
            &[("AWS_PROFILE", "other"), ("AWS_REGION", "er"), ("AWS_ENDPOINT_URL", "https://env"), ("AWS_PAGER", "x")],
            &[],
            &[("access_key_id", "OK"), ("secret_access_key", "OS"), ("region", "er"), ("endpoint", "https://env")],
        );
        check(
            &[("AWS_ACCESS_KEY_ID", "EK"), ("AWS_SECRET_ACCESS_KEY", "ES"), ("AWS_ENDPOINT_URL_S3", "https://env")],
            &[("aws.profile", "other")],
            &[("access_key_id", "OK"), ("secret_access_key", "OS"), ("endpoint", "https://other")],
        );
        check(
            &[("AWS_ENDPOINT_URL_S3", "https://s3"), ("AWS_ENDPOINT_URL", "https://all"), ("AWS_SKIP_SIGNATURE", "1")],
            &[("aws.access_key_id", "CK"), ("aws.secret_access_key", "CS"), ("aws.endpoint", "https://call")],
            &[("access_key_id", "CK"), ("secret_access_key", "CS"), ("endpoint", "https://call"), ("region", "pr")],
        );
        check(
            &[("AWS_REQUEST_PAYER", "requester"), ("AWS_ENDPOINT_URL_S3", "https://s3"), ("AWS_PROFILE", "")],
            &[("aws.skip_signature", "true")],
            &[
                &profile[..],
                &[("region", "pr"), ("request_payer", "true"), ("endpoint", "https://s3"), ("skip_signature", "true")],
            ]
            .concat(),
        );
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_remedy() {
        for (vars, options, want) in [
            (&[("AWS_PROFILE", "none")][..], &[][..], "AWS profile 'none' is neither in"),
            (&[("AWS_PROFILE", "sso")], &[], "'sso_session', which is not supported: export them"),
            (&[], &[("aws.endpoint", "http://127.0.0.1:9000")], "set aws.allow_http = true"),
            (&[], &[("aws.endpoint", "localhost:9000")], "must be a URL that begins with https://"),
            (&[], &[("aws.endpoint", "https://u:s3cr3t@h")], "can't hold a user"),
            (&[], &[("aws.endpoint", "http://h"), ("aws.allow_http", "maybe")], "neither true nor false: 'maybe'"),
        ] {
            let built = gather(vars, options).and_then(|settings| settings.builder("b", Purpose::Read).map(|_| ()));
            let error = built.unwrap_err().to_string();
            assert!(error.contains(want) && !error.contains("s3cr3t"), "{error}");
        }
        for options in [&[("aws.skip_signature", "true")][..], &[("aws.profile", "other")]] {
            assert!(gather(&[("AWS_PROFILE", "sso")], options).is_ok());
        }
    }

    #[test]
    fn virtual_hosts_get_the_bucket() {
        for (endpoint, virtual_hosted, want) in [
            ("https://h:9000/", "false", "https://h:9000"),
            ("https://h:9000", "true", "https://b.h:9000"),
            ("https://b.h", "true", "https://b.h"),
        ] {
            let options = [("aws.endpoint", endpoint), ("aws.virtual_hosted_style_request", virtual_hosted)];
            assert_eq!(gather(&[], &options).unwrap().endpoint("b").unwrap().as_deref(), Some(want));
        }
    }
}
