//! Options of a target that the formats know nothing of: they are taken out before the formats see the rest.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind, Result};

/// Names of the options, as the engine files them.
const WRITE_MODE: &str = "format.write_mode";
const MAX_FILE_BYTES: &str = "format.max_file_bytes";

/// Files of a directory are closed at about this size: large enough that a listing stays short, small enough that a
/// reader can share them out.
const MAX_FILE_BYTES_DEFAULT: u64 = 1 << 30;

/// What happens to the data that a directory holds already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum WriteMode {
    /// It is an error, and nothing is read.
    #[default]
    Error,
    /// It stays.
    Append,
    /// It goes, once the new files are there.
    Overwrite,
}

impl WriteMode {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Append => "append",
            Self::Overwrite => "overwrite",
        }
    }
}

impl fmt::Display for WriteMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for WriteMode {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self> {
        [Self::Error, Self::Append, Self::Overwrite]
            .into_iter()
            .find(|mode| mode.as_str().eq_ignore_ascii_case(value))
            .ok_or_else(|| {
                let known = "'error', 'append', 'overwrite'";
                let message = format!("option 'write_mode' can't be '{value}': it is one of {known}");
                Error::new(ErrorKind::Option, message)
            })
    }
}

/// The options of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TargetOptions {
    /// None where nothing was said.
    pub(crate) write_mode: Option<WriteMode>,
    /// Parquet only.
    pub(crate) max_file_bytes: u64,
}

impl Default for TargetOptions {
    fn default() -> Self {
        Self { write_mode: None, max_file_bytes: MAX_FILE_BYTES_DEFAULT }
    }
}

impl TargetOptions {
    /// Takes ours out of `options`. Only Parquet files are rolled by bytes; elsewhere the format refuses that option.
    ///
    /// # Errors
    /// A value that can't be.
    pub(crate) fn take(options: &mut HashMap<String, String>, is_parquet: bool) -> Result<Self> {
        let mut taken = Self::default();
        if let Some(value) = options.remove(WRITE_MODE) {
            taken.write_mode = Some(value.trim().parse()?);
        }
        if is_parquet && let Some(value) = options.remove(MAX_FILE_BYTES) {
            taken.max_file_bytes = value.trim().parse().ok().filter(|&bytes| bytes > 0).ok_or_else(|| {
                let message = format!("option 'max_file_bytes' can't be '{value}': it is a whole number, at least 1");
                Error::new(ErrorKind::Option, message)
            })?;
        }
        Ok(taken)
    }

    /// The mode for a COPY, or for an INSERT, into a directory or not.
    ///
    /// # Errors
    /// What was said is not what would happen.
    pub(crate) fn mode(&self, is_insert: bool, is_directory: bool) -> Result<WriteMode> {
        let Some(said) = self.write_mode else {
            return Ok(if is_insert { WriteMode::Append } else { WriteMode::default() });
        };
        let remedy = if is_insert && said != WriteMode::Append {
            "INSERT appends; COPY takes it"
        } else if !is_insert && !is_directory && said != WriteMode::Overwrite {
            "one file is always replaced; a directory, whose name ends in '/', takes it"
        } else {
            return Ok(said);
        };
        Err(Error::new(ErrorKind::Option, format!("option 'write_mode' can't be '{said}' here: {remedy}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_and_checked() {
        let check = |key: &str, value: &str, is_parquet| {
            let mut options = HashMap::from([(key.to_owned(), value.to_owned())]);
            let taken = TargetOptions::take(&mut options, is_parquet).map_err(|error| error.to_string());
            (taken.map(|taken| (taken.write_mode, taken.max_file_bytes)), options.len())
        };
        let default = MAX_FILE_BYTES_DEFAULT;
        assert_eq!(check(WRITE_MODE, "Overwrite", false), (Ok((Some(WriteMode::Overwrite), default)), 0));
        assert_eq!(check(WRITE_MODE, " append", true), (Ok((Some(WriteMode::Append), default)), 0));
        assert_eq!(check(MAX_FILE_BYTES, "7", true), (Ok((None, 7)), 0));
        assert_eq!(check(MAX_FILE_BYTES, "7", false), (Ok((None, default)), 1));
        for (key, value) in [(WRITE_MODE, "replace"), (MAX_FILE_BYTES, "0"), (MAX_FILE_BYTES, "1G")] {
            let (taken, _) = check(key, value, true);
            let name = key.trim_start_matches("format.");
            assert!(taken.unwrap_err().contains(&format!("option '{name}' can't be '{value}'")));
        }
    }
}
