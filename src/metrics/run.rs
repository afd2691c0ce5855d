//! What one run (a query, COPY or INSERT, failed ones too) has to report, as numbers, and the records that they become.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};

use super::record::{Record, instant_fields};
use super::redact::redact;
use super::usage::Usage;

/// How many of the slowest archives are named.
const SLOWEST_ARCHIVES: usize = 10;

/// Characters of SQL or error that a record holds: each statement-wide record repeats them.
const DETAILS_CHARS_MAX: usize = 4096;

const LISTING: &str = "Listing";
const PROCESSING: &str = "Processing";
const WRITING: &str = "Writing";

/// One run. Make it with [`RunReport::new`] when the statement begins, and fill in the rest when it has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct RunReport {
    /// The same in all records of the run.
    pub run_id: String,
    /// What the user calls the run (`--label`).
    pub label: Option<String>,
    /// When the run began.
    pub started_at: DateTime<Utc>,
    /// The statement; its secrets are redacted when records are made.
    pub sql: String,
    /// Why the run failed, if it did; redacted too.
    pub error: Option<String>,
    /// The whole statement, planning included.
    pub duration_secs: f64,
    /// How the archives were found.
    pub listing: Listing,
    /// What reading them did, summed over partitions.
    pub scan: Scan,
    /// What the process used meanwhile.
    pub usage: Usage,
    /// What each partition did.
    pub partitions: Vec<PartitionTime>,
    /// How long archives took; only the ten slowest are reported.
    pub archives: Vec<ArchiveTime>,
    /// What COPY or INSERT wrote.
    pub written: Written,
    /// Bytes accounted for over bytes of the archives; none if a LIMIT ended the scan, and then left out.
    pub completeness: Option<f64>,
    /// Archives that were not read to their end, nor given up: the statement needed no more of them, or failed.
    pub unfinished_archives: u64,
    /// Archives and members that were left out, in whole or in part, by the kind of what befell them.
    pub skipped: BTreeMap<&'static str, u64>,
}

/// How the archives were found.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Listing {
    /// Archives listed.
    pub files: u64,
    /// Their sizes, summed.
    pub bytes: u64,
    /// How long the listing took.
    pub duration_secs: f64,
}

/// What a scan did. Times are summed over tasks, so that they may be longer than the run.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scan {
    /// Rows read from archives.
    pub rows: u64,
    /// Bytes that came from the store.
    pub bytes_fetched: u64,
    /// Bytes that came out of decompressors.
    pub bytes_decompressed: u64,
    /// Members whose header was read.
    pub members_scanned: u64,
    /// Members left out.
    pub members_skipped: u64,
    /// Records dropped or mended.
    pub bad_rows: u64,
    /// Archives and members left out because they were damaged or out of reach.
    pub errors: u64,
    /// Requests sent.
    pub requests: u64,
    /// Requests sent again.
    pub retries: u64,
    /// Bytes that were fetched by going on with an interrupted body.
    pub resumed_bytes: u64,
    /// Waiting for the store.
    pub fetch_wait_secs: f64,
    /// In decompressors.
    pub decompress_secs: f64,
    /// In turning content into batches.
    pub decode_secs: f64,
    /// In turning batches into the output's format.
    pub encode_secs: f64,
}

/// What one partition did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PartitionTime {
    /// Its number in the plan.
    pub partition: u64,
    /// When it began, after the run.
    pub start_secs: f64,
    /// How long it was busy.
    pub busy_secs: f64,
    /// Rows that it read.
    pub rows: u64,
    /// Bytes that it fetched.
    pub bytes: u64,
}

/// How long one archive took.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ArchiveTime {
    /// Its URL.
    pub archive: String,
    /// From its first byte asked for to its last row.
    pub duration_secs: f64,
}

/// What COPY or INSERT wrote.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Written {
    /// Rows.
    pub rows: u64,
    /// Bytes, as they lie in the store.
    pub bytes: u64,
    /// Files.
    pub files: u64,
}

impl RunReport {
    /// A run of that statement which begins now, under a `run_id` of its own.
    pub fn new(sql: impl Into<String>) -> Self {
        let started_at = Utc::now();
        Self {
            run_id: new_run_id(started_at),
            label: None,
            started_at,
            sql: sql.into(),
            error: None,
            duration_secs: 0.0,
            listing: Listing::default(),
            scan: Scan::default(),
            usage: Usage::default(),
            partitions: Vec::new(),
            archives: Vec::new(),
            written: Written::default(),
            completeness: None,
            unfinished_archives: 0,
            skipped: BTreeMap::new(),
        }
    }

    /// What was skipped, by kind: `2 archive, 1 unreachable`. Nothing where nothing was.
    pub fn skipped_kinds(&self) -> String {
        self.skipped.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
    }

    /// What stands in the place of `Completeness` where a run did not fail, but read no further than it had to.
    fn early_end(&self) -> Option<String> {
        let files = self.listing.files;
        let finished = files.saturating_sub(self.unfinished_archives);
        (self.unfinished_archives > 0 && self.error.is_none())
            .then(|| format!("ended early, as by a LIMIT: {finished} of {files} archives were read to their end"))
    }

    /// One record for each number, `RowCount`, `Duration` and `Status` last. Numbers that are 0 are there too; only
    /// what is not known (`completeness`, `usage`) is left out.
    pub fn records(&self) -> Vec<Record> {
        let mut records = Records::new(self);
        records.listing(&self.listing);
        records.scan(&self.scan, self.skipped_kinds());
        records.usage(self.usage);
        records.partitions(&self.partitions);
        records.archives(&self.archives);
        records.written(&self.written);
        records.add_if_known(PROCESSING, "Completeness", self.completeness, "Ratio");
        records.add(PROCESSING, "RowCount", as_f64(self.scan.rows), "Rows");
        records.explain_last(self.early_end());
        records.add(PROCESSING, "Duration", self.duration_secs, "Seconds");
        records.status(self.error.as_deref());
        records.records
    }
}

/// Unique without a random source: the microsecond, the process, and a number within it.
fn new_run_id(started_at: DateTime<Utc>) -> String {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    format!("{}-{}-{run}", started_at.format("%Y%m%dT%H%M%S%.6fZ"), std::process::id())
}

/// Counts of more than 2^53 lose their last digits in JSON readers anyway.
fn as_f64(count: u64) -> f64 {
    count as f64
}

/// The records of a run, while they are gathered.
struct Records {
    /// What all of them share.
    template: Record,
    records: Vec<Record>,
}

impl Records {
    fn new(report: &RunReport) -> Self {
        let (iso_date, timestamp) = instant_fields(report.started_at);
        let template = Record {
            iso_date,
            timestamp,
            run_id: report.run_id.clone(),
            label: report.label.clone(),
            stage: String::new(),
            metric: String::new(),
            value: 0.0,
            unit: String::new(),
            details: Some(shorten(redact(&report.sql))),
            partition: None,
            archive: None,
        };
        Self { template, records: Vec::new() }
    }

    fn record(&self, stage: &str, metric: &str, value: f64, unit: &str) -> Record {
        Record { stage: stage.into(), metric: metric.into(), value, unit: unit.into(), ..self.template.clone() }
    }

    /// Of the whole statement, the text of which it has in `details`.
    fn add(&mut self, stage: &str, metric: &str, value: f64, unit: &str) {
        self.records.push(self.record(stage, metric, value, unit));
    }

    fn add_if_known(&mut self, stage: &str, metric: &str, value: Option<f64>, unit: &str) {
        if let Some(value) = value {
            self.add(stage, metric, value, unit);
        }
    }

    fn listing(&mut self, listing: &Listing) {
        self.add(LISTING, "FileCount", as_f64(listing.files), "Count");
        self.add(LISTING, "ListedBytes", as_f64(listing.bytes), "Bytes");
        self.add(LISTING, "ListingDuration", listing.duration_secs, "Seconds");
    }

    fn scan(&mut self, scan: &Scan, skipped: String) {
        let counts = [
            ("BytesFetched", scan.bytes_fetched, "Bytes"),
            ("BytesDecompressed", scan.bytes_decompressed, "Bytes"),
            ("MembersScanned", scan.members_scanned, "Count"),
            ("MembersSkipped", scan.members_skipped, "Count"),
            ("BadRows", scan.bad_rows, "Rows"),
            ("Errors", scan.errors, "Count"),
            ("Requests", scan.requests, "Count"),
            ("Retries", scan.retries, "Count"),
            ("ResumedBytes", scan.resumed_bytes, "Bytes"),
        ];
        for (metric, count, unit) in counts {
            self.add(PROCESSING, metric, as_f64(count), unit);
            self.explain_last((metric == "Errors" && !skipped.is_empty()).then(|| skipped.clone()));
        }
        self.add(PROCESSING, "FetchWaitSeconds", scan.fetch_wait_secs, "Seconds");
        self.add(PROCESSING, "DecompressSeconds", scan.decompress_secs, "Seconds");
        self.add(PROCESSING, "DecodeSeconds", scan.decode_secs, "Seconds");
        self.add(WRITING, "EncodeSeconds", scan.encode_secs, "Seconds");
    }

    fn usage(&mut self, usage: Usage) {
        self.add_if_known(PROCESSING, "PeakMemory", usage.memory_peak_bytes.map(as_f64), "Bytes");
        self.add_if_known(PROCESSING, "CpuSeconds", usage.cpu_secs, "Seconds");
    }

    fn partitions(&mut self, partitions: &[PartitionTime]) {
        for time in partitions {
            let values = [
                ("PartitionStart", time.start_secs, "Seconds"),
                ("PartitionDuration", time.busy_secs, "Seconds"),
                ("PartitionRows", as_f64(time.rows), "Rows"),
                ("PartitionBytes", as_f64(time.bytes), "Bytes"),
            ];
            for (metric, value, unit) in values {
                let record = self.record(PROCESSING, metric, value, unit);
                self.records.push(Record { partition: Some(time.partition), details: None, ..record });
            }
        }
        self.add(PROCESSING, "Skew", skew(partitions), "Ratio");
    }

    fn archives(&mut self, archives: &[ArchiveTime]) {
        let mut slowest: Vec<&ArchiveTime> = archives.iter().collect();
        slowest.sort_by(|a, b| b.duration_secs.total_cmp(&a.duration_secs).then_with(|| a.archive.cmp(&b.archive)));
        for time in slowest.into_iter().take(SLOWEST_ARCHIVES) {
            let record = self.record(PROCESSING, "ArchiveDuration", time.duration_secs, "Seconds");
            self.records.push(Record { archive: Some(redact(&time.archive)), details: None, ..record });
        }
    }

    fn written(&mut self, written: &Written) {
        self.add(WRITING, "WrittenRows", as_f64(written.rows), "Rows");
        self.add(WRITING, "WrittenBytes", as_f64(written.bytes), "Bytes");
        self.add(WRITING, "WrittenFiles", as_f64(written.files), "Count");
    }

    fn status(&mut self, error: Option<&str>) {
        let value = if error.is_none() { 1.0 } else { 0.0 };
        let record = self.record(PROCESSING, "Status", value, "Flag");
        self.records.push(Record { details: error.map(|error| shorten(redact(error))), ..record });
    }

    /// Puts what has to be said of the record added last in the place of the statement.
    fn explain_last(&mut self, details: Option<String>) {
        if let (Some(record), Some(details)) = (self.records.last_mut(), details) {
            record.details = Some(details);
        }
    }
}

/// Longest busy time over the median one: 1 is even, 0 says that nothing ran.
///
/// Where most partitions had nothing to do, the median would be 0: then it is that of the others.
fn skew(partitions: &[PartitionTime]) -> f64 {
    let mut busy: Vec<f64> = partitions.iter().map(|time| time.busy_secs).collect();
    busy.sort_by(f64::total_cmp);
    let longest = busy.last().copied().unwrap_or_default();
    if median(&busy) <= 0.0 {
        busy.retain(|secs| *secs > 0.0);
    }
    let median = median(&busy);
    if median > 0.0 { longest / median } else { 0.0 }
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        even if even % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

fn shorten(text: String) -> String {
    match text.char_indices().nth(DETAILS_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(secs: &[f64]) -> Vec<PartitionTime> {
        (0..)
            .zip(secs)
            .map(|(partition, secs)| PartitionTime { partition, busy_secs: *secs, ..Default::default() })
            .collect()
    }

    #[test]
    fn every_metric_is_there_even_when_it_is_zero() {
        let mut report = RunReport::new("SELECT 1");
        report.usage = Usage { cpu_secs: Some(0.0), memory_peak_bytes: Some(0) };
        report.partitions = busy(&[0.0]);
        report.archives = vec![ArchiveTime::default()];
        report.completeness = Some(1.0);
        let records = report.records();
        let names: Vec<&str> = records.iter().map(|record| record.metric.as_str()).collect();
        let expected = "FileCount ListedBytes ListingDuration BytesFetched BytesDecompressed MembersScanned \
            MembersSkipped BadRows Errors Requests Retries ResumedBytes FetchWaitSeconds DecompressSeconds \
            DecodeSeconds EncodeSeconds PeakMemory CpuSeconds PartitionStart PartitionDuration PartitionRows \
            PartitionBytes Skew ArchiveDuration WrittenRows WrittenBytes WrittenFiles Completeness RowCount Duration Status";
        assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
        assert!(records.iter().all(|record| record.run_id == report.run_id));
        let sql = |record: &Record| record.details.as_deref() == Some("SELECT 1");
        assert!(records.iter().filter(|record| record.metric == "Duration").all(sql));
        let status = records.last().unwrap();
        assert_eq!((status.value, &status.details), (1.0, &None));
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let mut report = RunReport::new("SELECT 1");
        report.error = Some("s3://b/a.tar: denied for token=abc".into());
        let records = report.records();
        for metric in ["Completeness", "PeakMemory", "CpuSeconds", "PartitionStart", "ArchiveDuration"] {
            assert!(records.iter().all(|record| record.metric != metric), "{metric}");
        }
        let status = records.last().unwrap();
        assert_eq!((status.value, status.details.as_deref()), (0.0, Some("s3://b/a.tar: denied for token=***")));
    }

    #[test]
    fn what_was_not_read_is_said_in_the_details() {
        let mut report = RunReport::new("SELECT 1");
        let details = |report: &RunReport, metric| {
            let records = report.records();
            records.into_iter().find(|record| record.metric == metric).and_then(|record| record.details).unwrap()
        };
        report.listing.files = 3;
        assert_eq!((&*details(&report, "RowCount"), &*details(&report, "Errors")), ("SELECT 1", "SELECT 1"));
        report.unfinished_archives = 2;
        let early = "ended early, as by a LIMIT: 1 of 3 archives were read to their end";
        assert_eq!(details(&report, "RowCount"), early);
        report.skipped = BTreeMap::from([("unreachable", 1), ("archive", 2)]);
        assert_eq!(details(&report, "Errors"), "2 archive, 1 unreachable");
        report.error = Some("no space".into());
        assert_eq!(details(&report, "RowCount"), "SELECT 1", "an error is no early end");
    }

    #[test]
    fn the_slowest_archives_are_named() {
        let mut report = RunReport::new("SELECT 1");
        report.archives = (0..25)
            .map(|n| ArchiveTime { archive: format!("https://u:p@h/{n}"), duration_secs: f64::from(n) })
            .collect();
        let records = report.records();
        let named: Vec<_> = records.iter().filter_map(|record| record.archive.as_deref()).collect();
        assert_eq!(named.len(), SLOWEST_ARCHIVES);
        assert_eq!((named[0], named[9]), ("https://***@h/24", "https://***@h/15"));
    }

    #[test]
    fn skew_is_longest_over_median() {
        let cases: [(&[f64], f64); 6] = [
            (&[], 0.0),
            (&[0.0, 0.0], 0.0),
            (&[3.0], 1.0),
            (&[1.0, 4.0, 2.0], 2.0),
            (&[1.0, 2.0, 3.0, 5.0], 2.0),
            (&[0.0, 0.0, 0.0, 2.0], 1.0),
        ];
        for (secs, expected) in cases {
            assert_eq!(skew(&busy(secs)), expected, "{secs:?}");
        }
    }

    #[test]
    fn long_statements_are_cut_after_redaction() {
        let report = RunReport::new(format!("SELECT '{}'", "é".repeat(10_000)));
        let details = report.records()[0].details.clone().unwrap();
        assert_eq!(details.chars().count(), DETAILS_CHARS_MAX + 1);
        assert_ne!(RunReport::new("").run_id, RunReport::new("").run_id);
    }
}
