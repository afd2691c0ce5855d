//! The member half of a locator: which members of an archive are meant.

use super::pattern::{Pattern, Syntax};
use crate::error::{Error, ErrorKind, Result};

/// A pattern over member paths.
///
/// It matches the whole stored path, less a leading `./` or `/` and a trailing `/`. One without `/` in it matches the
/// base name, so `*.csv` finds members at any depth and `./*.csv` only those at the top.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MemberGlob {
    text: String,
    pattern: Pattern,
    base_name: bool,
}

impl MemberGlob {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            let message = "the member pattern behind '::' is empty: write ':: *.csv', say, or leave '::' out";
            return Err(Error::new(ErrorKind::Locator, message));
        }
        let pattern = Pattern::compile(trim(text), Syntax::Glob)
            .map_err(|message| Error::new(ErrorKind::Locator, format!("member pattern '{text}': {message}")))?;
        Ok(Self { text: text.into(), pattern, base_name: !text.contains('/') })
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the member stored under `path` is meant.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let path = trim(path);
        if !self.base_name {
            return self.pattern.matches(path);
        }
        self.pattern.matches(path.rsplit_once('/').map_or(path, |(_, base)| base))
    }
}

fn trim(path: &str) -> &str {
    let path = path.strip_prefix("./").or_else(|| path.strip_prefix('/')).unwrap_or(path);
    path.strip_suffix('/').unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_match_by_path_or_by_base_name() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("*.csv", &["a.csv", "./a.csv", "/a.csv", "d/e/a.csv", ".csv"], &["a.csv.gz", "a.csv/b", "csv"]),
            ("*.csv.gz", &["x/y.csv.gz"], &["x/y.csv"]),
            ("d/*.csv", &["d/a.csv", "./d/a.csv", "/d/a.csv"], &["a.csv", "x/d/a.csv", "d/e/a.csv"]),
            ("./*.csv", &["a.csv", "./a.csv"], &["d/a.csv"]),
            ("/a", &["a", "/a"], &["b/a"]),
            ("**/*.csv", &["a.csv", "d/e/a.csv"], &["a.txt"]),
            ("**", &["a", "d/a", "d/"], &[]),
            ("d", &["d/", "x/d"], &["d/a"]),
            ("d/", &["d/", "d", "./d/"], &["x/d", "d/a"]),
            ("{a,b}.{json,txt}", &["x/a.json", "b.txt"], &["c.txt"]),
            ("x{1..9}.csv", &["x1.csv", "d/x9.csv"], &["x10.csv"]),
            (".*", &[".a", "d/.a"], &["a", ".d/a"]),
        ];
        for (glob, matching, others) in table {
            let compiled = MemberGlob::parse(glob).unwrap();
            for path in *matching {
                assert!(compiled.matches(path), "'{glob}' should match '{path}'");
            }
            for path in *others {
                assert!(!compiled.matches(path), "'{glob}' should not match '{path}'");
            }
        }
    }

    #[test]
    fn an_empty_or_misleading_glob_is_an_error() {
        for glob in ["", "**.csv"] {
            assert_eq!(MemberGlob::parse(glob).unwrap_err().kind(), ErrorKind::Locator);
        }
    }
}
