//! Profiles of the AWS command line: the part of `~/.aws/config` and `~/.aws/credentials` that a store needs.
//!
//! Static keys, region and endpoint are understood. What needs a conversation with another service (SSO, assumed
//! roles, helper programs) is recognised, so that it can be refused with a remedy instead of being ignored.
//!
//! Both files are INI-like. In `config` a section is `[default]`, `[profile NAME]` or `[services NAME]`; in
//! `credentials` it is `[NAME]`. A line that begins with white space belongs to the key above it (`s3 =`), and is kept
//! as `s3.endpoint_url`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind as IoErrorKind, Read};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// Settings files are written by hand; one beyond this is none.
const SETTINGS_BYTES_MAX: u64 = 1 << 20;

/// What a profile may hold instead of keys, none of which we can follow.
const UNSUPPORTED: [&str; 6] =
    ["sso_session", "sso_start_url", "credential_process", "source_profile", "credential_source", "login_session"];

type Section = BTreeMap<String, String>;

/// The settings of one profile. It holds secrets, hence no `Debug`.
#[derive(Default)]
pub(super) struct Profile {
    settings: Section,
    endpoint_url: Option<String>,
}

impl Profile {
    /// Reads the profile from both files; `None` when neither has it. A file that is not there is an empty one.
    pub(super) fn read(name: &str, config: &Path, credentials: &Path) -> Result<Option<Self>> {
        let config = sections(&read_settings(config)?);
        let credentials = sections(&read_settings(credentials)?);
        Ok(Self::find(name, &config, &credentials))
    }

    fn find(name: &str, config: &BTreeMap<String, Section>, credentials: &BTreeMap<String, Section>) -> Option<Self> {
        let of_config =
            config.get(&format!("profile {name}")).or_else(|| config.get(name).filter(|_| name == "default"));
        let of_credentials = credentials.get(name);
        if of_config.is_none() && of_credentials.is_none() {
            return None;
        }
        let mut settings = of_config.cloned().unwrap_or_default();
        settings.extend(of_credentials.cloned().unwrap_or_default());
        let services = settings.get("services").and_then(|services| config.get(&format!("services {services}")));
        let endpoint_url = services
            .and_then(|services| services.get("s3.endpoint_url"))
            .or_else(|| settings.get("s3.endpoint_url"))
            .or_else(|| settings.get("endpoint_url"))
            .cloned();
        Some(Self { settings, endpoint_url })
    }

    /// A setting by the name that the files give it.
    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Endpoint for S3: the one of the profile's services section, else the profile's own.
    pub(super) fn endpoint_url(&self) -> Option<&str> {
        self.endpoint_url.as_deref().filter(|value| !value.is_empty())
    }

    /// The setting by which this profile would obtain its keys in a way that we can't.
    pub(super) fn unsupported(&self) -> Option<&'static str> {
        let role_without_token =
            self.setting("role_arn").is_some() && self.setting("web_identity_token_file").is_none();
        UNSUPPORTED
            .into_iter()
            .find(|name| self.setting(name).is_some())
            .or_else(|| role_without_token.then_some("role_arn"))
    }
}

fn read_settings(path: &Path) -> Result<String> {
    let unreadable = |error: std::io::Error| {
        Error::new(ErrorKind::Option, format!("can't read AWS settings in '{}'", path.display())).caused_by(error)
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), IoErrorKind::NotFound | IoErrorKind::NotADirectory) => {
            return Ok(String::new());
        }
        Err(error) => return Err(unreadable(error)),
    };
    let mut text = String::new();
    let read = file.take(SETTINGS_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > SETTINGS_BYTES_MAX {
        let message = format!("AWS settings in '{}' are longer than {SETTINGS_BYTES_MAX} bytes", path.display());
        return Err(Error::new(ErrorKind::Limit, message));
    }
    Ok(text)
}

/// Sections by name; one that is there twice is united, and the later value of a key holds.
fn sections(text: &str) -> BTreeMap<String, Section> {
    let mut sections = BTreeMap::<String, Section>::new();
    let mut section = None;
    let mut parent = String::new();
    for line in text.lines() {
        let nested = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            // `[profile  "x"]` is `[profile x]` to the AWS tools.
            let name = name.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect::<Vec<_>>().join(" ");
            sections.entry(name.clone()).or_default();
            section = Some(name);
            parent.clear();
            continue;
        }
        let Some((entries, (key, value))) =
            section.as_ref().and_then(|name| sections.get_mut(name)).zip(line.split_once('='))
        else {
            continue;
        };
        let key = key.trim().to_ascii_lowercase();
        if nested && !parent.is_empty() {
            entries.insert(format!("{parent}.{key}"), value.trim().to_owned());
        } else {
            entries.insert(key.clone(), without_comment(value));
            parent = key;
        }
    }
    sections
}

/// A comment inside a line begins with a blank and `#` or `;`, so that secrets may hold both characters.
fn without_comment(value: &str) -> String {
    let end = [" #", " ;", "\t#", "\t;"].into_iter().filter_map(|mark| value.find(mark)).min();
    value[..end.unwrap_or(value.len())].trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "\
# comment
[default]
region = eu-west-1   # inline
[profile lake]
region=us-west-2
endpoint_url = https://everything.example
services = local
[services local]
s3 =
  endpoint_url = http://127.0.0.1:9000
  addressing_style = path
dynamodb =
  endpoint_url = http://127.0.0.1:8000
[profile sso]
sso_session = corp
[profile role]
role_arn = arn:aws:iam::1:role/x
[profile web]
role_arn = arn:aws:iam::1:role/x
web_identity_token_file = /t
";
    const CREDENTIALS: &str =
        "[default]\naws_access_key_id = AK\naws_secret_access_key = S=K#;/\n[lake]\naws_access_key_id=L\n[only]\n";

    fn find(name: &str) -> Option<Profile> {
        Profile::find(name, &sections(CONFIG), &sections(CREDENTIALS))
    }

    #[test]
    fn a_profile_unites_both_files() {
        let default = find("default").unwrap();
        assert_eq!(default.setting("region"), Some("eu-west-1"));
        assert_eq!(default.setting("aws_secret_access_key"), Some("S=K#;/"));
        assert_eq!(default.endpoint_url(), None);
        let lake = find("lake").unwrap();
        assert_eq!(lake.setting("aws_access_key_id"), Some("L"));
        assert_eq!(lake.endpoint_url(), Some("http://127.0.0.1:9000"));
        assert!(find("only").is_some() && find("none").is_none());
    }

    #[test]
    fn what_we_cannot_follow_is_named() {
        let unsupported = |name| find(name).unwrap().unsupported();
        assert_eq!(
            ["default", "sso", "role", "web"].map(unsupported),
            [None, Some("sso_session"), Some("role_arn"), None]
        );
    }

    #[test]
    fn odd_lines_do_no_harm() {
        for text in ["", "=", "[", "[]", "[a", "x=1\n[a]\nb\n c\n =\n", "[a]\n  b = c\n", "[a]\n=\n"] {
            sections(text);
        }
    }

    #[test]
    fn files_that_are_not_there_are_empty() {
        let folder = tempfile::tempdir().unwrap();
        let none = folder.path().join("none");
        assert!(Profile::read("default", &none, &none).unwrap().is_none());
        let big = folder.path().join("big");
        std::fs::write(&big, "# ".repeat(1 << 20)).unwrap();
        assert!(Profile::read("default", &big, &none).is_err());
    }
}
