//! The options of a tar table, the same behind every door: `read_tar(…, name = value)`, `OPTIONS ('name' 'value')`,
//! `SET tarsql.name = value` where a session default makes sense, and the builder methods of [`TarOptions`].
//!
//! Precedence: what the call says, then what the table says, then what the session says, then the default.

use std::str::FromStr;

use arrow::datatypes::SchemaRef;

use crate::compression::Compression;
use crate::error::{Error, ErrorKind, Result, edit_distance};
use crate::locator::Scheme;
use crate::member::MemberFormat;
use regex::Regex;

use crate::member::csv::{self, CsvOptions};
use crate::policy::{OnBadRow, OnError, OnInvalidUtf8, OnUnreachable};
use crate::store::{RetryPolicy, StoreOptions};
use crate::table::columns::parse_columns;
use crate::table::config::TarsqlConfig;
use crate::table::plan::Partitioning;

/// Rows that inference looks at in a member unless told otherwise.
const SCHEMA_INFER_MAX_RECORDS: usize = 1_000;

/// How often a table may read its archives.
const REPEAT_MAX: usize = 100_000;

/// Repetitions without progress: with waits of 15 s in the end, these take four hours.
const RETRIES_MAX: u64 = 1_000;

/// A day: nobody waits longer for a network.
const TIMEOUT_MS_MAX: u64 = 24 * 3_600 * 1_000;

/// What a tar table is told. Everything has a default; what is not set here is asked of the session when a scan begins.
///
/// ```
/// use tarsql::{OnBadRow, TarOptions};
///
/// let options = TarOptions::csv().has_header(false).delimiter(b';').on_bad_row(OnBadRow::Skip);
/// # let _ = options;
/// ```
#[derive(Debug, Clone, Default)]
pub struct TarOptions {
    pub(crate) format: MemberFormat,
    pub(crate) archive_compression: Option<Compression>,
    pub(crate) on_error: Option<OnError>,
    pub(crate) on_unreachable: Option<OnUnreachable>,
    pub(crate) on_bad_row: Option<OnBadRow>,
    pub(crate) on_invalid_utf8: Option<OnInvalidUtf8>,
    pub(crate) columns: Option<SchemaRef>,
    pub(crate) has_header: Option<bool>,
    pub(crate) delimiter: Option<u8>,
    pub(crate) quote: Option<u8>,
    pub(crate) escape: Option<u8>,
    pub(crate) comment: Option<u8>,
    pub(crate) null_regex: Option<Regex>,
    pub(crate) newlines_in_values: Option<bool>,
    pub(crate) schema_infer_max_records: Option<usize>,
    pub(crate) provenance: bool,
    pub(crate) partitioning: Option<Partitioning>,
    pub(crate) repeat: Option<usize>,
    pub(crate) max_retries: Option<u32>,
    pub(crate) retry_timeout_ms: Option<u64>,
    pub(crate) stall_timeout_ms: Option<u64>,
    pub(crate) connect_timeout_ms: Option<u64>,
    pub(crate) store: StoreOptions,
}

/// Every option by name, for the message about an unknown one.
const NAMES: [&str; 22] = [
    "format",
    "archive_compression",
    "on_error",
    "on_unreachable",
    "on_bad_row",
    "on_invalid_utf8",
    "columns",
    "has_header",
    "delimiter",
    "quote",
    "escape",
    "comment",
    "null_regex",
    "newlines_in_values",
    "schema_infer_max_records",
    "provenance",
    "partitioning",
    "repeat",
    "max_retries",
    "retry_timeout_ms",
    "stall_timeout_ms",
    "connect_timeout_ms",
];

macro_rules! setters {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty,)+) => {
        impl TarOptions {
            $(
                $(#[doc = $doc])+
                #[must_use]
                pub fn $name(mut self, value: $type) -> Self {
                    self.$name = Some(value);
                    self
                }
            )+
        }
    };
}

setters! {
    /// What an archive is compressed with; told by its first bytes unless set. [`Compression::None`] is plain tar.
    archive_compression: Compression,
    /// What a damaged archive or member does.
    on_error: OnError,
    /// What an archive that can't be fetched does.
    on_unreachable: OnUnreachable,
    /// What a record that does not fit does.
    on_bad_row: OnBadRow,
    /// What bytes that are not UTF-8 do.
    on_invalid_utf8: OnInvalidUtf8,
    /// The columns of a record format, instead of inference.
    columns: SchemaRef,
    /// Whether the first record of a member names the columns (csv, tsv). Default: true.
    has_header: bool,
    /// What stands between two fields (csv). Default: a comma.
    delimiter: u8,
    /// What quotes a field (csv, tsv). Default: `"`.
    quote: u8,
    /// What escapes a quote within a quoted field (csv, tsv), besides doubling it.
    escape: u8,
    /// What begins a line that is no record (csv, tsv).
    comment: u8,
    /// Whether a quoted field may hold line ends (csv, tsv). Default: false, they make a bad row.
    newlines_in_values: bool,
    /// Rows that inference looks at in a member. Default: 1000.
    schema_infer_max_records: usize,
    /// How work is cut.
    partitioning: Partitioning,
    /// Reads every archive that many times, for scaling experiments. Default: 1.
    repeat: usize,
    /// How often a request that fails is sent again without any progress between. Default: 10.
    max_retries: u32,
    /// Milliseconds without any progress after which no request is sent again. Default: 180,000.
    retry_timeout_ms: u64,
    /// Milliseconds after which a response that brings nothing is given up and resumed. Default: 30,000.
    stall_timeout_ms: u64,
    /// Milliseconds that a server has to accept a connection. Default: 5,000.
    connect_timeout_ms: u64,
}

macro_rules! formats {
    ($($(#[doc = $doc:literal])+ $name:ident = $format:ident,)+) => {
        impl TarOptions {
            $(
                $(#[doc = $doc])+
                pub fn $name() -> Self {
                    Self { format: MemberFormat::$format, ..Self::default() }
                }
            )+
        }
    };
}

formats! {
    /// A row is a member.
    members = Members,
    /// A row is a file member, with its text.
    text = Text,
    /// A row is a line.
    lines = Lines,
    /// A row is a CSV record.
    csv = Csv,
    /// A row is a record of tab-separated values.
    tsv = Tsv,
    /// A row is a JSON document.
    json = Json,
    /// A row is an Avro record.
    avro = Avro,
}

impl TarOptions {
    /// What a row is.
    #[must_use]
    pub fn format(mut self, format: MemberFormat) -> Self {
        self.format = format;
        self
    }

    /// Appends `_archive`, `_path` and `_row` to each row of a record format.
    #[must_use]
    pub fn provenance(mut self, provenance: bool) -> Self {
        self.provenance = provenance;
        self
    }

    /// A field whose whole text matches is NULL (csv, tsv). Default: only the empty field is.
    ///
    /// # Errors
    /// `regex` is no regular expression.
    pub fn null_regex(mut self, regex: &str) -> Result<Self> {
        self.null_regex = Some(csv::null_regex(regex)?);
        Ok(self)
    }

    /// A setting of the object store, such as `aws.endpoint`.
    ///
    /// # Errors
    /// The setting is unknown.
    pub fn store_option(mut self, key: &str, value: &str) -> Result<Self> {
        self.store.insert(key, value)?;
        Ok(self)
    }

    /// Sets one option by its SQL name.
    ///
    /// ```
    /// use tarsql::TarOptions;
    ///
    /// let mut options = TarOptions::default();
    /// options.set("format", "csv")?;
    /// options.set("delimiter", ";")?;
    /// let error = options.set("delimeter", ";").unwrap_err();
    /// assert!(error.to_string().starts_with("unknown option 'delimeter': did you mean 'delimiter'?"));
    /// # Ok::<(), tarsql::Error>(())
    /// ```
    ///
    /// # Errors
    /// The name is unknown, or the value impossible.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match name.to_ascii_lowercase().as_str() {
            "format" => self.format = value.parse()?,
            "archive_compression" => self.archive_compression = parse_compression(value)?,
            "on_error" => self.on_error = Some(value.parse()?),
            "on_unreachable" => self.on_unreachable = Some(value.parse()?),
            "on_bad_row" => self.on_bad_row = Some(value.parse()?),
            "on_invalid_utf8" => self.on_invalid_utf8 = Some(value.parse()?),
            "columns" => self.columns = Some(parse_columns(value)?),
            "has_header" => self.has_header = Some(parse_bool(name, value)?),
            "delimiter" => self.delimiter = Some(parse_byte(name, value)?),
            "quote" => self.quote = Some(parse_byte(name, value)?),
            "escape" => self.escape = Some(parse_byte(name, value)?),
            "comment" => self.comment = Some(parse_byte(name, value)?),
            "null_regex" => self.null_regex = Some(csv::null_regex(value)?),
            "newlines_in_values" => self.newlines_in_values = Some(parse_bool(name, value)?),
            "schema_infer_max_records" => self.schema_infer_max_records = Some(parse_count(name, value, usize::MAX)?),
            "provenance" => self.provenance = parse_bool(name, value)?,
            "partitioning" => self.partitioning = Some(value.parse()?),
            "repeat" => self.repeat = Some(parse_count(name, value, REPEAT_MAX)?),
            "max_retries" => self.max_retries = Some(parse_retries(name, value)?),
            "retry_timeout_ms" => self.retry_timeout_ms = Some(parse_timeout(name, value)?),
            "stall_timeout_ms" => self.stall_timeout_ms = Some(parse_timeout(name, value)?),
            "connect_timeout_ms" => self.connect_timeout_ms = Some(parse_timeout(name, value)?),
            name if StoreOptions::covers(name) => self.store.insert(name, value)?,
            name => return Err(unknown_option(name)),
        }
        Ok(())
    }

    /// Refuses options that say nothing for the format: a typo in one of the two would go unnoticed.
    ///
    /// # Errors
    /// Names the option and the format.
    pub(crate) fn validate(&self) -> Result<()> {
        let delimited = matches!(self.format, MemberFormat::Csv | MemberFormat::Tsv);
        let for_csv = [
            ("has_header", self.has_header.is_some()),
            ("delimiter", self.delimiter.is_some()),
            ("quote", self.quote.is_some()),
            ("escape", self.escape.is_some()),
            ("comment", self.comment.is_some()),
            ("null_regex", self.null_regex.is_some()),
            ("newlines_in_values", self.newlines_in_values.is_some()),
        ];
        let for_records = [
            ("columns", self.columns.is_some()),
            ("on_bad_row", self.on_bad_row.is_some()),
            ("provenance", self.provenance),
            ("schema_infer_max_records", self.schema_infer_max_records.is_some()),
        ];
        let misplaced = |options: &[(&'static str, bool)]| options.iter().find(|(_, set)| *set).map(|(name, _)| *name);
        let format = self.format.as_str();
        if let Some(name) = misplaced(&for_csv).filter(|_| !delimited) {
            let message = format!("option '{name}' goes with format 'csv' or 'tsv', not with '{format}'");
            return Err(Error::new(ErrorKind::Option, message));
        }
        if let Some(name) = misplaced(&for_records).filter(|_| !self.format.is_record()) {
            let message =
                format!("option '{name}' goes with a record format (csv, tsv, json, avro), not with '{format}'");
            return Err(Error::new(ErrorKind::Option, message));
        }
        if let Some(key) = self.store.connect_timeout().filter(|_| self.connect_timeout_ms.is_some()) {
            let message = format!("options 'connect_timeout_ms' and '{key}' say the same thing: give one of them");
            return Err(Error::new(ErrorKind::Option, message));
        }
        if self.on_invalid_utf8.is_some() && self.format == MemberFormat::Members {
            let message = "option 'on_invalid_utf8' goes with formats that make text, not with 'members'";
            return Err(Error::new(ErrorKind::Option, message));
        }
        Ok(())
    }

    /// The CSV dialect: what is set over the format's defaults.
    pub(crate) fn csv_options(&self) -> CsvOptions {
        let default = if self.format == MemberFormat::Tsv { CsvOptions::tsv() } else { CsvOptions::default() };
        CsvOptions {
            has_header: self.has_header.unwrap_or(default.has_header),
            delimiter: self.delimiter.unwrap_or(default.delimiter),
            quote: self.quote.unwrap_or(default.quote),
            escape: self.escape.or(default.escape),
            comment: self.comment.or(default.comment),
            null_regex: self.null_regex.clone().or(default.null_regex),
            newlines_in_values: self.newlines_in_values.unwrap_or(default.newlines_in_values),
        }
    }

    /// These options, with the session's word where they have none.
    pub(crate) fn or_session(&self, session: &TarsqlConfig) -> Self {
        let mut options = self.clone();
        options.on_error = options.on_error.or(session.on_error);
        options.on_unreachable = options.on_unreachable.or(session.on_unreachable);
        options.on_bad_row = options.on_bad_row.or(session.on_bad_row);
        options.on_invalid_utf8 = options.on_invalid_utf8.or(session.on_invalid_utf8);
        options.partitioning = options.partitioning.or(session.partitioning);
        options.schema_infer_max_records = options.schema_infer_max_records.or(session.schema_infer_max_records);
        options.max_retries = options.max_retries.or(session.max_retries);
        options.retry_timeout_ms = options.retry_timeout_ms.or(session.retry_timeout_ms);
        options.stall_timeout_ms = options.stall_timeout_ms.or(session.stall_timeout_ms);
        options.connect_timeout_ms = options.connect_timeout_ms.or(session.connect_timeout_ms);
        options
    }

    /// How long to go on with a network that fails.
    pub(crate) fn retry_policy(&self) -> RetryPolicy {
        let default = RetryPolicy::default();
        RetryPolicy {
            max_retries: self.max_retries.unwrap_or(default.max_retries),
            timeout_ms: self.retry_timeout_ms.unwrap_or(default.timeout_ms),
            stall_timeout_ms: self.stall_timeout_ms.unwrap_or(default.stall_timeout_ms),
            ..default
        }
    }

    /// What the store of such URLs is told.
    pub(crate) fn store_options(&self, scheme: Scheme) -> StoreOptions {
        match self.connect_timeout_ms {
            Some(timeout_ms) => self.store.clone().or_connect_timeout(scheme, timeout_ms),
            None => self.store.clone(),
        }
    }

    pub(crate) fn infer_records(&self) -> usize {
        self.schema_infer_max_records.unwrap_or(SCHEMA_INFER_MAX_RECORDS)
    }
}

fn unknown_option(name: &str) -> Error {
    let nearest = NAMES.iter().map(|known| (edit_distance(known, name), known)).min();
    let hint = match nearest {
        Some((distance, known)) if distance <= 2 => format!("did you mean '{known}'? "),
        _ => String::new(),
    };
    let message = format!("unknown option '{name}': {hint}there are {} and aws.…, gcp.…, azure.…", NAMES.join(", "));
    Error::new(ErrorKind::Option, message)
}

fn parse_compression(value: &str) -> Result<Option<Compression>> {
    if value.eq_ignore_ascii_case("auto") {
        return Ok(None);
    }
    Compression::parse(value).map(Some).ok_or_else(|| {
        let known = "'auto', 'none', 'gzip', 'zstd', 'bzip2', 'xz', 'lz4'";
        Error::new(ErrorKind::Option, format!("option 'archive_compression' can't be '{value}': it is one of {known}"))
    })
}

fn parse_bool(name: &str, value: &str) -> Result<bool> {
    bool::from_str(&value.to_ascii_lowercase())
        .map_err(|_| Error::new(ErrorKind::Option, format!("option '{name}' can't be '{value}': it is true or false")))
}

fn parse_byte(name: &str, value: &str) -> Result<u8> {
    match value.as_bytes() {
        [byte] if byte.is_ascii() => Ok(*byte),
        b"\\t" => Ok(b'\t'),
        _ => {
            Err(Error::new(ErrorKind::Option, format!("option '{name}' can't be '{value}': it is one ASCII character")))
        }
    }
}

pub(super) fn parse_retries(name: &str, value: &str) -> Result<u32> {
    let retries = parse_whole(name, value, 0, RETRIES_MAX)?;
    Ok(u32::try_from(retries).unwrap_or(u32::MAX))
}

pub(super) fn parse_timeout(name: &str, value: &str) -> Result<u64> {
    parse_whole(name, value, 1, TIMEOUT_MS_MAX)
}

fn parse_whole(name: &str, value: &str, min: u64, max: u64) -> Result<u64> {
    value.parse::<u64>().ok().filter(|number| (min..=max).contains(number)).ok_or_else(|| {
        let message = format!("option '{name}' can't be '{value}': it is a whole number, between {min} and {max}");
        Error::new(ErrorKind::Option, message)
    })
}

pub(super) fn parse_count(name: &str, value: &str, max: usize) -> Result<usize> {
    match value.parse::<usize>() {
        Ok(count) if (1..=max).contains(&count) => Ok(count),
        _ => {
            let range = if max == usize::MAX { "at least 1".to_owned() } else { format!("between 1 and {max}") };
            Err(Error::new(
                ErrorKind::Option,
                format!("option '{name}' can't be '{value}': it is a whole number, {range}"),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_settable_and_checked() {
        for name in NAMES {
            let error = TarOptions::default().set(name, "\u{1F4A5}");
            // Text options take anything; all others refuse nonsense by name.
            if !["null_regex"].contains(&name) {
                assert!(error.unwrap_err().to_string().contains(name), "{name}");
            }
        }
    }

    #[test]
    fn options_that_say_nothing_for_the_format_are_refused() {
        let error = TarOptions::json().has_header(true).validate().unwrap_err();
        assert_eq!(error.to_string(), "option 'has_header' goes with format 'csv' or 'tsv', not with 'json'");
        let error = TarOptions::lines().provenance(true).validate().unwrap_err();
        assert!(error.to_string().contains("'provenance' goes with a record format"), "{error}");
        assert!(TarOptions::text().on_bad_row(OnBadRow::Skip).validate().is_err());
        assert!(TarOptions::members().on_invalid_utf8(OnInvalidUtf8::Null).validate().is_err());
    }

    #[test]
    fn the_session_speaks_only_where_the_table_is_silent() {
        let mut session = TarsqlConfig::default();
        session.set_option("on_error", "skip").unwrap();
        assert_eq!(TarOptions::csv().or_session(&session).on_error, Some(OnError::Skip));
        assert_eq!(TarOptions::csv().on_error(OnError::Fail).or_session(&session).on_error, Some(OnError::Fail));
        for (name, value) in [("max_retries", "3"), ("stall_timeout_ms", "77"), ("retry_timeout_ms", "88")] {
            session.set_option(name, value).unwrap();
        }
        let policy = TarOptions::csv().retry_timeout_ms(99).or_session(&session).retry_policy();
        assert_eq!((policy.max_retries, policy.stall_timeout_ms, policy.timeout_ms), (3, 77, 99));
    }

    #[test]
    fn a_connect_timeout_reaches_the_store_under_its_own_name() {
        for (scheme, key) in [(Scheme::S3, "aws"), (Scheme::Gs, "gcp"), (Scheme::Az, "azure"), (Scheme::Https, "http")]
        {
            let key = format!("{key}.connect_timeout");
            let mut stores = TarOptions::members().connect_timeout_ms(1_500).store_options(scheme);
            assert_eq!(stores.connect_timeout(), Some(key.as_str()));
            let mut want = StoreOptions::default();
            want.insert(&key, "1500 ms").unwrap();
            assert_eq!(stores, want);
            // What the table says to the store itself wins over the session.
            stores = TarOptions::members().store_option(&key, "9 s").unwrap().store_options(scheme);
            assert_eq!(stores.clone().or_connect_timeout(scheme, 1_500), stores);
        }
        let twice = TarOptions::members().connect_timeout_ms(5).store_option("aws.connect_timeout", "9 s").unwrap();
        let error = twice.validate().unwrap_err().to_string();
        assert_eq!(
            error,
            "options 'connect_timeout_ms' and 'aws.connect_timeout' say the same thing: give one of them"
        );
    }

    #[test]
    fn limits_of_waiting_are_checked() {
        for (name, value, ok) in [
            ("max_retries", "0", true),
            ("max_retries", "1000", true),
            ("max_retries", "1001", false),
            ("max_retries", "-1", false),
            ("stall_timeout_ms", "0", false),
            ("stall_timeout_ms", "1", true),
            ("retry_timeout_ms", "86400000", true),
            ("retry_timeout_ms", "86400001", false),
            ("connect_timeout_ms", "5 s", false),
        ] {
            let set = TarOptions::default().set(name, value);
            assert_eq!(set.is_ok(), ok, "{name} = {value}");
            assert_eq!(TarsqlConfig::default().set_option(name, value).is_ok(), ok, "SET tarsql.{name} = {value}");
            if let Err(error) = set {
                assert!(error.to_string().contains("it is a whole number, between"), "{error}");
            }
        }
    }
}
