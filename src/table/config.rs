//! What a session says about tar tables: `SET tarsql.name = value`.

use std::any::Any;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};

use crate::error::{Error, ErrorKind, Result};
use crate::policy::{OnBadRow, OnError, OnInvalidUtf8, OnUnreachable};
use crate::table::options::{parse_count, parse_retries, parse_timeout};
use crate::table::plan::Partitioning;

/// Session defaults: `SET tarsql.… = …`. Unset ones leave the word to the defaults.
#[derive(Debug, Clone, Default)]
pub struct TarsqlConfig {
    pub(crate) on_error: Option<OnError>,
    pub(crate) on_unreachable: Option<OnUnreachable>,
    pub(crate) on_bad_row: Option<OnBadRow>,
    pub(crate) on_invalid_utf8: Option<OnInvalidUtf8>,
    pub(crate) schema_infer_max_records: Option<usize>,
    pub(crate) partitioning: Option<Partitioning>,
    pub(crate) max_partitions: Option<usize>,
    pub(crate) max_retries: Option<u32>,
    pub(crate) retry_timeout_ms: Option<u64>,
    pub(crate) stall_timeout_ms: Option<u64>,
    pub(crate) connect_timeout_ms: Option<u64>,
    metrics_file: Option<String>,
}

impl TarsqlConfig {
    /// Where the program appends its metrics, if `SET tarsql.metrics_file` said so.
    pub fn metrics_file(&self) -> Option<&str> {
        self.metrics_file.as_deref()
    }

    pub(super) fn set_option(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "on_error" => self.on_error = Some(value.parse()?),
            "on_unreachable" => self.on_unreachable = Some(value.parse()?),
            "on_bad_row" => self.on_bad_row = Some(value.parse()?),
            "on_invalid_utf8" => self.on_invalid_utf8 = Some(value.parse()?),
            "schema_infer_max_records" => self.schema_infer_max_records = Some(parse_count(name, value, usize::MAX)?),
            "partitioning" => self.partitioning = Some(value.parse()?),
            "max_partitions" => self.max_partitions = Some(parse_count(name, value, usize::MAX)?),
            "max_retries" => self.max_retries = Some(parse_retries(name, value)?),
            "retry_timeout_ms" => self.retry_timeout_ms = Some(parse_timeout(name, value)?),
            "stall_timeout_ms" => self.stall_timeout_ms = Some(parse_timeout(name, value)?),
            "connect_timeout_ms" => self.connect_timeout_ms = Some(parse_timeout(name, value)?),
            "metrics_file" => self.metrics_file = (!value.is_empty()).then(|| value.to_owned()),
            _ => {
                let known = self.entries().iter().map(|entry| entry.key.clone()).collect::<Vec<_>>().join(", ");
                let message = format!("unknown setting 'tarsql.{name}': there are {known}");
                return Err(Error::new(ErrorKind::Option, message));
            }
        }
        Ok(())
    }
}

impl ConfigExtension for TarsqlConfig {
    const PREFIX: &'static str = "tarsql";
}

impl ExtensionOptions for TarsqlConfig {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> datafusion::error::Result<()> {
        Ok(self.set_option(key, value)?)
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        let entry = |name: &str, value: Option<String>, description: &'static str| ConfigEntry {
            key: format!("tarsql.{name}"),
            value,
            description,
        };
        let milliseconds = |value: Option<u64>| value.map(|value| value.to_string());
        let count = |value: Option<usize>| value.map(|value| value.to_string());
        let text = |value: Option<&str>| value.map(str::to_owned);
        vec![
            entry("on_error", text(self.on_error.map(OnError::as_str)), "damaged archive or member: fail, skip"),
            entry(
                "on_unreachable",
                text(self.on_unreachable.map(OnUnreachable::as_str)),
                "archive that can't be fetched: fail, skip",
            ),
            entry(
                "on_bad_row",
                text(self.on_bad_row.map(OnBadRow::as_str)),
                "record that does not fit: fail, skip, null",
            ),
            entry(
                "on_invalid_utf8",
                text(self.on_invalid_utf8.map(OnInvalidUtf8::as_str)),
                "bytes that are not UTF-8: fail, replace, ignore, null",
            ),
            entry(
                "schema_infer_max_records",
                count(self.schema_infer_max_records),
                "rows that inference looks at in a member (1000)",
            ),
            entry("partitioning", text(self.partitioning.map(Partitioning::as_str)), "how work is cut: auto, archive"),
            entry(
                "max_partitions",
                count(self.max_partitions),
                "partitions of a scan at most (the larger of 16 and 4 x target_partitions)",
            ),
            entry(
                "max_retries",
                self.max_retries.map(|retries| retries.to_string()),
                "how often a request is sent again without progress (10)",
            ),
            entry(
                "retry_timeout_ms",
                milliseconds(self.retry_timeout_ms),
                "time without progress after which no request is sent again (180000)",
            ),
            entry(
                "stall_timeout_ms",
                milliseconds(self.stall_timeout_ms),
                "a response that brings nothing so long is given up and resumed (30000)",
            ),
            entry(
                "connect_timeout_ms",
                milliseconds(self.connect_timeout_ms),
                "time that a server has to accept a connection (5000)",
            ),
            entry("metrics_file", self.metrics_file.clone(), "JSON file that the program appends its metrics to"),
        ]
    }
}
