//! Archives to rows, through everything that the network does not do: the cases that readers of tar get wrong
//! ([`cases`]), archives that are cut at every byte ([`cuts`]), and archives with a wrong byte ([`flips`]).
//!
//! [`Reading`] is how an archive is read: in which format, and in pieces of which size. However it is read, the same has
//! to come out.

mod cases;
mod cells;
mod cuts;
mod flips;
mod memory;

use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};

use super::*;
use crate::compression::tests::FORMATS;
use crate::report::ListingReport;
use crate::schema::{lines_schema, members_schema, text_schema};

/// What the archives' messages begin with; left out of what [`Reading::lines`] gives.
const URL: &str = "memory:///archive";

/// How an archive is read.
#[derive(Clone)]
struct Reading {
    format: MemberFormat,
    schema: SchemaRef,
    /// Whether the last column, with content or text, is asked for.
    content: bool,
    /// Bytes that arrive at a time.
    chunk_bytes: u64,
    /// Skips of so many bytes are hops.
    hop_bytes_min: u64,
    on_error: OnError,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
struct Outcome {
    rows: Vec<String>,
    /// Kind, offset and message of what was skipped or warned of, or of the error that ended it.
    incidents: Vec<String>,
    /// Members counted, bytes accounted for, and length of the tar stream.
    members: u64,
    accounted: u64,
    length: u64,
}

impl Outcome {
    fn lines(self) -> Vec<String> {
        [self.rows, self.incidents].concat()
    }
}

impl Reading {
    fn members() -> Self {
        Self::of(MemberFormat::Members, members_schema())
    }

    fn text() -> Self {
        Self::of(MemberFormat::Text, text_schema())
    }

    fn lines() -> Self {
        Self::of(MemberFormat::Lines, lines_schema())
    }

    /// Records of text columns, each with the path of its member.
    fn records(format: MemberFormat, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|column| Field::new(*column, DataType::Utf8View, true));
        let fields: Vec<Field> = columns.chain(crate::schema::provenance_fields()).collect();
        Self::of(format, Arc::new(Schema::new(fields)))
    }

    fn of(format: MemberFormat, schema: SchemaRef) -> Self {
        let chunk_bytes = u64::MAX;
        Self { format, schema, content: true, chunk_bytes, hop_bytes_min: u64::MAX, on_error: OnError::Skip }
    }

    fn in_chunks(self, chunk_bytes: u64) -> Self {
        Self { chunk_bytes, ..self }
    }

    fn or_fail(self) -> Self {
        Self { on_error: OnError::Fail, ..self }
    }

    fn options(&self) -> ScanOptions {
        let chunk = self.chunk_bytes;
        ScanOptions {
            format: self.format,
            schema: Arc::clone(&self.schema),
            provenance: self.format.is_record(),
            missing_column: MissingColumn::Fail,
            members: None,
            archive_compression: None,
            csv: CsvOptions { has_header: false, ..CsvOptions::default() },
            on_error: self.on_error,
            on_unreachable: OnUnreachable::Fail,
            on_bad_row: OnBadRow::Skip,
            on_invalid_utf8: OnInvalidUtf8::Replace,
            fetch: FetchSettings {
                first_range_bytes: chunk,
                hop_range_bytes: chunk,
                range_bytes: chunk,
                prefetch_bytes: chunk,
                hop_bytes_min: self.hop_bytes_min,
                ..FetchSettings::default()
            },
        }
    }

    /// Reads an archive of these bytes. Whoever helps, the same comes of it.
    async fn read(&self, archive: &Bytes) -> Outcome {
        let alone = self.read_by(Crew::alone(), archive).await;
        if self.format == MemberFormat::Lines || self.format.is_record() {
            // Whatever there is to help with, record by record or a few at a time.
            let crew = if archive.len().is_multiple_of(2) { Crew::in_pieces(2, 1) } else { Crew::in_pieces(8, 24) };
            let how = format!("{crew:?}, {:?} in chunks of {} bytes", self.format, self.chunk_bytes);
            let mut together = self.read_by(crew, archive).await;
            if self.on_error == OnError::Fail {
                // What was not handed on yet when the scan failed is lost: how much that is, is open.
                assert!(together.rows.starts_with(&alone.rows), "{how}: {together:?} instead of {alone:?}");
                together.rows.truncate(alone.rows.len());
            }
            assert_eq!(together.without_damaged_byte(), alone.clone().without_damaged_byte(), "{how}");
        }
        alone
    }

    /// A scan of an archive of these bytes, with the help of `crew`, and its report.
    async fn scan(&self, crew: Crew, archive: &Bytes, batch_size: usize) -> (ArchiveScan, Arc<ScanReport>) {
        let store = InMemory::new();
        let location = Key::from("archive");
        store.put(&location, archive.clone().into()).await.unwrap();
        let size = Some(archive.len() as u64);
        let store: Arc<dyn ObjectStore> = Arc::new(store);
        let target = FetchTarget { store, location, url: URL.to_owned(), size, e_tag: None, version: None };
        let columns = self.schema.fields().len() - usize::from(!self.content);
        let projection = (0..columns).collect();
        let selection = Selection { projection, header_filter: None, row_filter: None, batch_size };
        let report = Arc::new(ScanReport::new(ListingReport::default(), 1));
        let options = Arc::new(self.options());
        let allowance = Allowance::unlimited();
        let partition = Partition { index: 0, report: Arc::clone(&report), allowance, crew };
        (ArchiveScan::new(target, options, &selection, partition).unwrap(), report)
    }

    /// Reads an archive of these bytes with the help of `crew`.
    async fn read_by(&self, crew: Crew, archive: &Bytes) -> Outcome {
        let (mut scan, report) = self.scan(crew, archive, 8192).await;
        let mut rows = Vec::new();
        let error = loop {
            match scan.next_batch().await {
                Ok(Some(batch)) => rows.extend(self.rows(&batch)),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        let (incidents, left_out) = report.incidents();
        assert_eq!(left_out, 0);
        let incidents = incidents.iter().map(|incident| (incident.warning, incident.kind, incident.message.as_str()));
        let mut incidents: Vec<String> =
            incidents.map(|(warning, kind, message)| noted(warning, kind, message)).collect();
        incidents.extend(error.map(|error| noted(false, error.kind().as_str(), &error.to_string())));
        let totals = report.totals();
        Outcome {
            rows,
            incidents,
            members: totals.members_scanned.value(),
            accounted: totals.tar_bytes(),
            length: totals.length_bytes.value(),
        }
    }

    fn rows(&self, batch: &RecordBatch) -> Vec<String> {
        match self.format {
            MemberFormat::Members | MemberFormat::Text => (0..batch.num_rows()).map(|row| member(batch, row)).collect(),
            MemberFormat::Lines => texts(batch, &["path", "line_number", "line"]),
            _ => texts(batch, &batch.schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>()),
        }
    }
}

impl Outcome {
    /// The same, without the byte at which bzip2's or zstd's library noticed damage: that depends on how its input was cut.
    fn without_damaged_byte(mut self) -> Self {
        for incident in &mut self.incidents {
            let names_byte = ["bzip2", "zstd"].iter().find_map(|format| {
                let words = format!("{format} stream is damaged at compressed byte ");
                incident.find(&words).map(|at| at + words.len())
            });
            if let Some(at) = names_byte {
                let digits = incident[at..].bytes().take_while(u8::is_ascii_digit).count();
                incident.replace_range(at..at + digits, "?");
            }
        }
        self
    }
}

/// What is odd or left out is told with the rows behind it, when somebody asks for them.
#[tokio::test]
async fn what_is_found_ahead_is_told_when_it_is_asked_for() {
    for (name, warnings, errors) in [("damaged/cut-in-body.tar", 0, 1), ("hand/no-end.tar", 1, 0)] {
        let (mut scan, report) = Reading::members().scan(Crew::alone(), &archive(name), 1).await;
        let told = || (report.incidents().0.len(), report.totals().errors.value(), report.totals().rows.value());
        let mut rows = 0;
        loop {
            let before = told();
            let next = scan.prepare_ahead().await;
            assert_eq!(told(), before, "{name}");
            match scan.hand_on(next).unwrap() {
                Some(batch) => rows += batch.num_rows() as u64,
                None => break,
            }
        }
        assert_eq!(told(), (warnings + usize::from(errors > 0), errors, rows), "{name}");
        assert_eq!(report.totals().archives_skipped.value(), errors, "{name}");
        assert_eq!(report.skipped_by_kind().values().sum::<u64>(), errors, "{name}");
    }
}

fn noted(warning: bool, kind: &str, message: &str) -> String {
    let message = message.strip_prefix(URL).and_then(|rest| rest.strip_prefix(": ")).expect("it names the archive");
    format!("{} {kind}: {message}", if warning { "warning" } else { "error" })
}

/// Some columns of each row, between bars.
fn texts(batch: &RecordBatch, columns: &[&str]) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let column = |name: &&str| ArrayFormatter::try_new(batch.column_by_name(name).unwrap(), &options).unwrap();
    let columns: Vec<_> = columns.iter().map(column).collect();
    let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(row).collect()
}

/// A member in a line: type, path and size, whatever is not as the generator of the test archives writes it unasked, and
/// then the content, or the hash of it. So a line without content is the beginning of the one with it.
fn member(batch: &RecordBatch, row: usize) -> String {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let text = |name: &str| column(name).as_string_view().iter().nth(row).unwrap();
    let number = |name: &str| column(name).as_primitive::<Int64Type>().value(row);
    let mut line = format!("{} {} {}", text("type").unwrap(), quoted(text("path").unwrap()), number("size"));
    line += &text("linkname").map(|link| format!(" -> {}", quoted(link))).unwrap_or_default();
    let mtime = column("mtime").as_primitive::<TimestampMicrosecondType>();
    match mtime.is_valid(row).then(|| mtime.value(row)) {
        Some(1_656_288_000_000_000) => {}
        Some(mtime) => line += &format!(" mtime={mtime}"),
        None => line += " mtime=NULL",
    }
    let mode = column("mode").as_primitive::<Int32Type>().value(row);
    if mode != 0o644 {
        line += &format!(" mode={mode:o}");
    }
    let owner = (number("uid"), number("gid"));
    if owner != (1000, 100) {
        line += &format!(" owner={}:{}", owner.0, owner.1);
    }
    for name in ["uname", "gname"] {
        line += &text(name).map(|value| format!(" {name}={}", quoted(value))).unwrap_or_default();
    }
    let pax = column("pax").as_map();
    if pax.is_valid(row) {
        let entries = pax.value(row);
        let [keys, values] = [0, 1].map(|at| entries.column(at).as_string::<i32>().clone());
        for (key, value) in keys.iter().zip(values.iter()) {
            line += &format!(" {}={}", key.unwrap(), quoted(value.unwrap()));
        }
    }
    line + &content(batch, row).unwrap_or_default()
}

/// Long texts by their beginning, length and hash.
fn quoted(text: &str) -> String {
    const LENGTH_MAX: usize = 60;
    if text.chars().count() <= LENGTH_MAX {
        return format!("'{}'", text.escape_debug());
    }
    let beginning: String = text.chars().take(LENGTH_MAX / 6).collect();
    format!("'{}…' ({} #{})", beginning.escape_debug(), text.len(), &sha256(text.as_bytes())[..8])
}

/// `None` without such a column.
fn content(batch: &RecordBatch, row: usize) -> Option<String> {
    const SHOWN: usize = 20;
    let content = match (batch.column_by_name("content"), batch.column_by_name("text")) {
        (Some(content), _) => content.as_binary_view().iter().nth(row).unwrap().map(<[u8]>::to_vec),
        (None, text) => text?.as_string_view().iter().nth(row).unwrap().map(|text| text.as_bytes().to_vec()),
    };
    Some(match content {
        None => " = NULL".to_owned(),
        Some(content) if content.len() <= SHOWN => format!(" = '{}'", content.escape_ascii()),
        Some(content) => format!(" = #{}", &sha256(&content)[..8]),
    })
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

fn archive(name: &str) -> Bytes {
    std::fs::read(testdata().join(name)).unwrap_or_else(|error| panic!("{name}: {error}")).into()
}

/// The archive as it is, and inside each compression.
fn wrapped(archive: &Bytes) -> impl Iterator<Item = (&'static str, Bytes)> {
    let compressed = FORMATS.map(|(compression, compress)| (compression.as_str(), compress(archive).into()));
    std::iter::once(("plain", archive.clone())).chain(compressed)
}
