//! One measurement, and the JSON that it becomes: flat, plain ASCII, every value a number.

use std::io::{self, Write};

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use serde_json::ser::{CharEscape, Formatter};

/// One measurement, in the long form: one record for each number. Fields are written in this order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// When the run began: always six decimals and `+00:00`.
    pub iso_date: String,
    /// The same instant, in seconds since 1970.
    pub timestamp: f64,
    /// The same for all records of a run, and for no other run's.
    pub run_id: String,
    /// What the user calls the run: the scale of an experiment, say.
    pub label: Option<String>,
    /// `Listing`, `Processing` or `Writing`.
    pub stage: String,
    /// What was measured.
    pub metric: String,
    /// The number. One that JSON can't say (infinite, not a number) is written as 0.
    #[serde(serialize_with = "finite")]
    pub value: f64,
    /// `Seconds`, `Bytes`, `Rows`, `Count`, `Ratio` or `Flag`.
    pub unit: String,
    /// The SQL text, or the error of `Status`; secrets are left out of both.
    pub details: Option<String>,
    /// The partition, for what was measured by partition.
    pub partition: Option<u64>,
    /// The archive, for what was measured by archive.
    pub archive: Option<String>,
}

fn finite<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(if value.is_finite() { *value } else { 0.0 })
}

/// The instant as `iso_date` and `timestamp` say it, cut to microseconds.
pub(super) fn instant_fields(instant: DateTime<Utc>) -> (String, f64) {
    let iso_date = instant.format("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string();
    // Exact: today's microseconds need 51 bits of a double's 53.
    (iso_date, instant.timestamp_micros() as f64 / 1e6)
}

/// The records as JSON objects, one a line, with `separator` between them.
pub(super) fn to_lines(records: &[Record], separator: &str) -> Vec<u8> {
    let mut lines = Vec::new();
    for (index, record) in records.iter().enumerate() {
        if index > 0 {
            lines.extend_from_slice(separator.as_bytes());
        }
        let mut serializer = serde_json::Serializer::with_formatter(&mut lines, Ascii);
        record.serialize(&mut serializer).expect("strings and finite numbers are JSON, and a Vec takes all bytes");
    }
    debug_assert!(lines.is_ascii(), "the formatter escapes everything else");
    lines
}

/// JSON as Python's `json.dumps` writes it: a space behind commas and colons, and `\u` for all that is not ASCII.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        // DEL is ASCII, but no terminal shows it.
        let plain = |c: char| c.is_ascii() && c != '\x7f';
        let mut rest = fragment;
        while let Some(at) = rest.find(|c| !plain(c)) {
            let (before, from) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let escaped = from.chars().next().map_or(0, char::len_utf8);
            for unit in from[..escaped].encode_utf16() {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &from[escaped..];
        }
        writer.write_all(rest.as_bytes())
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        // The short forms are the library's business; it has no formatter to fall back to but its compact one.
        serde_json::ser::CompactFormatter.write_char_escape(writer, escape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(details: &str, value: f64) -> Record {
        let (iso_date, timestamp) = instant_fields(DateTime::from_timestamp_micros(1_769_860_800_123_456).unwrap());
        Record {
            iso_date,
            timestamp,
            run_id: "r".into(),
            label: None,
            stage: "Processing".into(),
            metric: "Duration".into(),
            value,
            unit: "Seconds".into(),
            details: Some(details.into()),
            partition: Some(3),
            archive: None,
        }
    }

    #[test]
    fn a_record_is_one_line_with_fields_in_order() {
        let line = String::from_utf8(to_lines(&[record("x", 12.34)], "")).unwrap();
        let expected = r#"{"iso_date": "2026-01-31T12:00:00.123456+00:00", "timestamp": 1769860800.123456, "run_id": "r", "label": null, "stage": "Processing", "metric": "Duration", "value": 12.34, "unit": "Seconds", "details": "x", "partition": 3, "archive": null}"#;
        assert_eq!(line, expected);
    }

    #[test]
    fn whole_seconds_keep_their_decimals() {
        let (iso_date, timestamp) = instant_fields(DateTime::from_timestamp_micros(0).unwrap());
        assert_eq!((iso_date.as_str(), timestamp), ("1970-01-01T00:00:00.000000+00:00", 0.0));
    }

    #[test]
    fn strings_are_ascii_and_read_back_the_same() {
        let cases = [
            ("über 'ß'", r"\u00fcber '\u00df'"),
            ("\u{1f980}!", r"\ud83e\udd80!"),
            ("a\"\\\n\t\u{1}\u{7f}", r#"a\"\\\n\t\u0001\u007f"#),
            ("é", r"\u00e9"),
        ];
        for (text, expected) in cases {
            let line = to_lines(&[record(text, 0.0)], "");
            assert!(line.is_ascii());
            let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(value["details"], text);
            assert!(String::from_utf8(line).unwrap().contains(expected), "{text}");
        }
    }

    #[test]
    fn values_are_always_numbers() {
        let cases = [(f64::NAN, 0.0), (f64::INFINITY, 0.0), (f64::NEG_INFINITY, 0.0), (1e300, 1e300), (-0.5, -0.5)];
        for (value, expected) in cases {
            let line = to_lines(&[record("", value)], "");
            let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(read["value"].as_f64(), Some(expected));
        }
    }
}
