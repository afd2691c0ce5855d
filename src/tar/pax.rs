//! Pax records: the `length key=value\n` lines in the body of an extended header.
//!
//! [`Records`] are those of one header, [`Globals`] those that hold until replaced, and [`Overrides`] what both say about
//! one member.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Limits, MICROS, MTIME_MICROS, SIZE_MAX};
use crate::error::{Error, ErrorKind, Result};

/// Keys of GNU's sparse formats begin so; they describe how content is stored and are used up by that.
const SPARSE_PREFIX: &[u8] = b"GNU.sparse.";

/// What a global record costs beyond its bytes, roughly; so that millions of tiny ones don't hide from the limit.
const RECORD_OVERHEAD: u64 = 64;

/// The records of one header, in order, duplicates included. Reused from member to member, so that it seldom allocates.
#[derive(Debug, Default)]
pub(super) struct Records {
    body: Vec<u8>,
    spans: Vec<Span>,
}

#[derive(Debug)]
struct Span {
    key: Range<usize>,
    value: Range<usize>,
}

impl Records {
    /// Takes the body of a header that begins at `offset` of the stream, and leaves an old buffer in its place.
    ///
    /// A malformed record is an error: readers that skip it, or stop there, or use half of it, disagree about names and
    /// sizes, which is how members are smuggled past one of them.
    pub(super) fn replace(&mut self, body: &mut Vec<u8>, offset: u64) -> Result<()> {
        self.spans.clear();
        std::mem::swap(&mut self.body, body);
        let mut start = 0;
        while start < self.body.len() {
            let rest = &self.body[start..];
            // Some writers count the padding into the size.
            if rest.iter().all(|&byte| byte == 0) {
                break;
            }
            let (span, len) = record(rest).map_err(|reason| {
                Error::new(ErrorKind::Archive, format!("malformed pax record: {reason}")).at(offset + start as u64)
            })?;
            let shift = |range: Range<usize>| range.start + start..range.end + start;
            self.spans.push(Span { key: shift(span.key), value: shift(span.value) });
            start += len;
        }
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.body.clear();
        self.spans.clear();
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.spans.iter().map(|span| (&self.body[span.key.clone()], &self.body[span.value.clone()]))
    }
}

/// The record at the beginning of `bytes`, and its length. `Err` is what is wrong with it.
fn record(bytes: &[u8]) -> Result<(Span, usize), &'static str> {
    let blank = bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len());
    let len = decimal(&bytes[..blank]).ok_or("no length")?;
    if bytes.get(blank) != Some(&b' ') {
        return Err("no blank behind the length");
    }
    let len = usize::try_from(len).ok().filter(|&len| len <= bytes.len()).ok_or("longer than its header")?;
    // The shortest has a blank, a key of one byte, `=` and a newline.
    if len < blank + 4 {
        return Err("shorter than possible");
    }
    if bytes[len - 1] != b'\n' {
        return Err("no newline at its end");
    }
    let text = blank + 1..len - 1;
    let equals = bytes[text.clone()].iter().position(|&byte| byte == b'=').ok_or("no '='")? + text.start;
    if equals == text.start {
        return Err("no key");
    }
    // POSIX has keys in UTF-8. Two that are not could become one, once what is invalid in them is replaced.
    if str::from_utf8(&bytes[text.start..equals]).is_err() {
        return Err("a key that is not UTF-8");
    }
    Ok((Span { key: text.start..equals, value: equals + 1..text.end }, len))
}

/// The records of global headers: each holds for all members that follow, until another replaces it.
#[derive(Debug, Default)]
pub(super) struct Globals {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    bytes: u64,
}

impl Globals {
    /// Adds the records of one more header; an empty value takes a record back.
    pub(super) fn merge(&mut self, records: &Records, limits: &Limits) -> Result<()> {
        for (key, value) in records.iter() {
            // GNU tar and CPython apply the path, times and owners of a global header, and so do we. A size or a sparse
            // map for all members alike can't be meant: only GNU tar would obey it, and lose its way at the next
            // header; Go, libarchive and CPython don't.
            if key == b"size" || key.starts_with(SPARSE_PREFIX) {
                continue;
            }
            let cost = |value: &[u8]| key.len() as u64 + value.len() as u64 + RECORD_OVERHEAD;
            let old = if value.is_empty() {
                self.records.remove(key)
            } else {
                self.bytes += cost(value);
                self.records.insert(key.to_vec(), value.to_vec())
            };
            self.bytes -= old.map_or(0, |old| cost(&old));
            let max = limits.extension_bytes_max;
            if self.bytes > max {
                let message = format!("global pax records of {} bytes are over the limit of {max}", self.bytes);
                return Err(Error::new(ErrorKind::Limit, message));
            }
        }
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What global and local records say about one member. Local ones win, and of duplicates the last one.
///
/// An empty value takes a record back. POSIX has it take back the header's own field too. That makes sense for names of
/// users and groups, which may be empty; elsewhere the header's field counts again, as in Go.
#[derive(Debug, Default)]
pub(super) struct Overrides<'a> {
    pub(super) path: Option<&'a [u8]>,
    pub(super) linkpath: Option<&'a [u8]>,
    pub(super) uname: Option<&'a [u8]>,
    pub(super) gname: Option<&'a [u8]>,
    size: Option<&'a [u8]>,
    mtime: Option<&'a [u8]>,
    uid: Option<&'a [u8]>,
    gid: Option<&'a [u8]>,
    pub(super) sparse: SparseRecords<'a>,
    others: Vec<(&'a [u8], &'a [u8])>,
}

/// The `GNU.sparse.*` records of a member.
#[derive(Debug, Default)]
pub(super) struct SparseRecords<'a> {
    pub(super) major: Option<&'a [u8]>,
    pub(super) minor: Option<&'a [u8]>,
    /// The real name: that in the header has the process id of the writer in it.
    pub(super) name: Option<&'a [u8]>,
    /// Size of the file with its holes.
    pub(super) size: Option<&'a [u8]>,
    pub(super) numblocks: Option<&'a [u8]>,
    /// Version 0.1: the whole map in one record.
    pub(super) map: Option<&'a [u8]>,
    /// Version 0.0: one record for each number.
    pub(super) offsets: Vec<&'a [u8]>,
    pub(super) lens: Vec<&'a [u8]>,
}

impl<'a> Overrides<'a> {
    pub(super) fn new(globals: &'a Globals, local: &'a Records) -> Self {
        let mut overrides = Self::default();
        let globals = globals.records.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
        for (key, value) in globals.chain(local.iter()) {
            overrides.set(key, value);
        }
        overrides
    }

    fn set(&mut self, key: &'a [u8], value: &'a [u8]) {
        let field = match key {
            b"path" => &mut self.path,
            b"linkpath" => &mut self.linkpath,
            b"uname" => &mut self.uname,
            b"gname" => &mut self.gname,
            b"size" => &mut self.size,
            b"mtime" => &mut self.mtime,
            b"uid" => &mut self.uid,
            b"gid" => &mut self.gid,
            _ => match key.strip_prefix(SPARSE_PREFIX) {
                Some(key) => return self.sparse.set(key, value),
                None => return self.others.push((key, value)),
            },
        };
        let may_be_empty = matches!(key, b"uname" | b"gname");
        *field = Some(value).filter(|value| may_be_empty || !value.is_empty());
    }

    pub(super) fn size(&self) -> Result<Option<u64>> {
        self.size.map(|value| size("size", value)).transpose()
    }

    pub(super) fn uid(&self) -> Result<Option<i64>> {
        self.uid.map(|value| integer("uid", value)).transpose()
    }

    pub(super) fn gid(&self) -> Result<Option<i64>> {
        self.gid.map(|value| integer("gid", value)).transpose()
    }

    /// The outer `None` is no record, the inner one a time that is no number or too far away.
    pub(super) fn mtime_micros(&self) -> Option<Option<i64>> {
        self.mtime.map(micros)
    }

    /// The records that no field of a member holds, sorted by key. A time that can't be represented is one of them.
    pub(super) fn into_others(mut self) -> Vec<(String, String)> {
        if self.mtime_micros() == Some(None) {
            self.others.extend(self.mtime.map(|value| (b"mtime".as_slice(), value)));
        }
        // Stable, so that the last of equal keys is the one that was last.
        self.others.sort_by_key(|&(key, _)| key);
        let mut others = self.others.iter().peekable();
        let mut kept = Vec::with_capacity(others.len());
        while let Some(&(key, value)) = others.next() {
            let is_last = others.peek().is_none_or(|(next, _)| *next != key);
            if is_last && !value.is_empty() {
                kept.push((String::from_utf8_lossy(key).into_owned(), String::from_utf8_lossy(value).into_owned()));
            }
        }
        kept
    }
}

impl<'a> SparseRecords<'a> {
    fn set(&mut self, key: &[u8], value: &'a [u8]) {
        let field = match key {
            b"major" => &mut self.major,
            b"minor" => &mut self.minor,
            b"name" => &mut self.name,
            b"size" | b"realsize" => &mut self.size,
            b"numblocks" => &mut self.numblocks,
            b"map" => &mut self.map,
            b"offset" => return self.offsets.push(value),
            b"numbytes" => return self.lens.push(value),
            _ => return,
        };
        *field = Some(value).filter(|value| !value.is_empty());
    }
}

/// Digits only; `None` for none, for anything else, and for what does not fit.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

pub(super) fn size(name: &str, value: &[u8]) -> Result<u64> {
    decimal(value).filter(|&size| size <= SIZE_MAX).ok_or_else(|| bad_value(name, value))
}

fn integer(name: &str, value: &[u8]) -> Result<i64> {
    str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or_else(|| bad_value(name, value))
}

/// Values may be as long as the header.
pub(super) fn bad_value(name: &str, value: &[u8]) -> Error {
    const SHOWN: usize = 40;
    let shown = value[..value.len().min(SHOWN)].escape_ascii();
    let message = format!("{name} in a pax header is no number within 63 bits ('{shown}')");
    Error::new(ErrorKind::Archive, message)
}

/// Seconds with a fraction, as microseconds, rounded down as GNU tar does.
fn micros(value: &[u8]) -> Option<i64> {
    let (is_negative, value) = match value.strip_prefix(b"-") {
        Some(value) => (true, value),
        None => (false, value),
    };
    let dot = value.iter().position(|&byte| byte == b'.').unwrap_or(value.len());
    let fraction = value.get(dot + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = i64::try_from(decimal(&value[..dot])?).ok()?;
    let (kept, dropped) = fraction.split_at(fraction.len().min(6));
    let fraction = (0..6).fold(0, |sum, at| sum * 10 + i64::from(kept.get(at).map_or(0, |digit| digit - b'0')));
    let mut micros = seconds.checked_mul(MICROS)?.checked_add(fraction)?;
    if is_negative {
        let round_down = i64::from(dropped.iter().any(|&digit| digit != b'0'));
        micros = micros.checked_neg()?.checked_sub(round_down)?;
    }
    MTIME_MICROS.contains(&micros).then_some(micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::builder::pax_body;

    fn parse(body: &[u8]) -> Result<Vec<(String, String)>> {
        let mut records = Records::default();
        records.replace(&mut body.to_vec(), 1000)?;
        Ok(Overrides::new(&Globals::default(), &records).into_others())
    }

    #[test]
    fn well_formed_records() {
        type Case = (&'static [u8], &'static [(&'static str, &'static str)]);
        let cases: &[Case] = &[
            (b"", &[]),
            (b"7 a=bc\n", &[("a", "bc")]),
            (b"008 a=b\n", &[("a", "b")]),
            (b"8 a=b=c\n", &[("a", "b=c")]),
            (b"8 a=b\nc\n", &[("a", "b\nc")]),
            (b"7 a b=\n7 b =c\n", &[("b ", "c")]),
            (b"6 b=1\n6 a=2\n6 b=3\n", &[("a", "2"), ("b", "3")]),
            (b"6 b=1\n5 b=\n", &[]),
            (b"6 b=1\n\0\0\0", &[("b", "1")]),
            (b"6 a=\xff\n", &[("a", "\u{fffd}")]),
            (b"16 path=visible\n", &[]),
            (b"15 mtime=1.5e9\n", &[("mtime", "1.5e9")]),
            (b"20 GNU.sparse.foo=1\n", &[]),
            (b"17 atime=12345.5\n21 hdrcharset=BINARY\n", &[("atime", "12345.5"), ("hdrcharset", "BINARY")]),
        ];
        for (body, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
            assert_eq!(parse(body).unwrap(), expected, "'{}'", body.escape_ascii());
        }
    }

    #[test]
    fn malformed_records() {
        let cases: &[(&[u8], u64, &str)] = &[
            (b"0 a=b\n", 0, "shorter than possible"),
            (b"6 a=b\n3 \n", 6, "shorter than possible"),
            (b" 6 a=b\n", 0, "no length"),
            (b"x a=b\n", 0, "no length"),
            (b"99999999999999999999999 a=b\n", 0, "no length"),
            (b"6", 0, "no blank behind the length"),
            (b"6a=bc\n", 0, "no blank behind the length"),
            (b"7 a=b\n", 0, "longer than its header"),
            (b"5 a=b\n", 0, "no newline at its end"),
            (b"6 a=bc", 0, "no newline at its end"),
            (b"6 abc\n", 0, "no '='"),
            (b"4 =\n", 0, "shorter than possible"),
            (b"5 =b\n", 0, "no key"),
            (b"6 =bc\n", 0, "no key"),
            (b"6 a=b\n\0\x006 a=b\n", 6, "no length"),
        ];
        for (body, at, reason) in cases {
            let error = parse(body).unwrap_err();
            let expected = format!("at offset {}: malformed pax record: {reason}", 1000 + at);
            assert_eq!(error.to_string(), expected, "'{}'", body.escape_ascii());
        }
    }

    #[test]
    fn times() {
        let cases = [
            ("0", Some(0)),
            ("1.5", Some(1_500_000)),
            ("1.", Some(1_000_000)),
            ("1.1234567", Some(1_123_456)),
            ("-1.5", Some(-1_500_000)),
            ("-1.0000005", Some(-1_000_001)),
            ("-0.1", Some(-100_000)),
            ("8210266876799.999999", Some(8_210_266_876_799_999_999)),
            ("8210266876800", None),
            ("-8334601228800", Some(-8_334_601_228_800_000_000)),
            ("-8334601228800.0000001", None),
            ("9223372036854.775807", None),
            ("9223372036854.775808", None),
            ("99999999999999999999", None),
            ("", None),
            (".5", None),
            ("nan", None),
            ("1.5x", None),
            ("1.-5", None),
            ("--1", None),
            ("+1", None),
        ];
        for (value, expected) in cases {
            assert_eq!(micros(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn globals_are_bounded_as_a_whole() {
        let limits = Limits { extension_bytes_max: 300, ..Limits::default() };
        let long = "x".repeat(200);
        // Each on top of those before it.
        for (steps, fits) in [
            (vec![("a", long.as_str()), ("a", "short"), ("b", long.as_str())], false),
            (vec![("a", long.as_str()), ("a", ""), ("b", long.as_str())], true),
            (vec![("a", long.as_str()), ("a", long.as_str()), ("a", long.as_str())], true),
            (vec![("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")], true),
            (vec![("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")], false),
            (vec![("size", long.as_str()), ("GNU.sparse.map", long.as_str())], true),
        ] {
            let mut globals = Globals::default();
            let mut records = Records::default();
            let merged = steps.iter().try_for_each(|record| {
                records.replace(&mut pax_body(&[*record]), 0).unwrap();
                globals.merge(&records, &limits)
            });
            assert_eq!(merged.is_ok(), fits, "{steps:?}: {globals:?}");
        }
    }
}
