//! What a scan did, while it runs and afterwards: counters per partition, slow archives, and what was skipped or odd.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::stats::{Count, Stats};

/// Incidents that a report keeps; more are only counted.
pub(crate) const INCIDENTS_MAX: usize = 1_000;

/// Archives whose duration a report keeps: the slowest.
pub(crate) const SLOWEST_ARCHIVES_MAX: usize = 10;

/// Something that was skipped, or that is odd enough to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// URL of the archive.
    pub archive: String,
    /// Path of the member, where it is about one.
    pub member: Option<String>,
    /// Offset in the uncompressed tar stream, in bytes, where known.
    pub offset: Option<u64>,
    /// [`ErrorKind::as_str`](crate::ErrorKind::as_str), or `no_end_marker` and `trailing_garbage` for warnings.
    pub kind: &'static str,
    /// What happened, in one line, the place included.
    pub message: String,
    /// True where nothing was left out: the exit status stays 0.
    pub warning: bool,
}

impl Incident {
    /// What `error` made the scan leave out.
    pub(crate) fn skipped(archive: &str, error: &Error) -> Self {
        Self {
            archive: archive.to_owned(),
            member: error.member().map(str::to_owned),
            offset: error.offset(),
            kind: error.kind().as_str(),
            message: error.to_string(),
            warning: false,
        }
    }

    /// Something odd at `offset` that cost nothing.
    pub(crate) fn warning(archive: &str, kind: &'static str, offset: u64, message: &str) -> Self {
        Self {
            archive: archive.to_owned(),
            member: None,
            offset: Some(offset),
            kind,
            message: format!("{archive}: at offset {offset}: {message}"),
            warning: true,
        }
    }
}

/// What the listing before a scan found and cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListingReport {
    /// Archives to read, `repeat` included.
    pub files: u64,
    /// Their sizes added up, in bytes.
    pub bytes: u64,
    /// How long it took.
    pub duration: Duration,
}

/// What one partition of a scan did.
#[derive(Debug, Default)]
pub struct PartitionReport {
    /// Its counters.
    pub stats: Arc<Stats>,
    /// Nanoseconds it worked or waited for bytes; time that its consumer took is not in it.
    pub busy_nanos: Count,
    /// Nanoseconds from the report's creation to its first work, plus one; 0 before.
    started: AtomicU64,
}

/// What a scan did. Shared by all its partitions; readable at any time.
#[derive(Debug)]
pub struct ScanReport {
    /// What listing found.
    pub listing: ListingReport,
    /// One for each partition of the plan.
    pub partitions: Vec<PartitionReport>,
    created: Instant,
    incidents: Mutex<Incidents>,
    slowest: Mutex<Vec<(Duration, String)>>,
}

#[derive(Debug, Default)]
struct Incidents {
    kept: Vec<Incident>,
    left_out: u64,
}

impl ScanReport {
    /// A report of `partitions` partitions that have done nothing yet.
    pub(crate) fn new(listing: ListingReport, partitions: usize) -> Self {
        Self {
            listing,
            partitions: (0..partitions).map(|_| PartitionReport::default()).collect(),
            created: Instant::now(),
            incidents: Mutex::default(),
            slowest: Mutex::default(),
        }
    }

    /// The counters of all partitions together.
    pub fn totals(&self) -> Stats {
        let totals = Stats::default();
        for partition in &self.partitions {
            totals.merge(&partition.stats);
        }
        totals
    }

    /// Notes that `partition` begins to work, the first time.
    pub(crate) fn start(&self, partition: usize) {
        let nanos = u64::try_from(self.created.elapsed().as_nanos()).unwrap_or(u64::MAX - 1) + 1;
        let started = &self.partitions[partition].started;
        // Lost against another archive of the same partition: then that one was first.
        let _ = started.compare_exchange(0, nanos, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// When `partition` began to work, if it has.
    pub fn started(&self, partition: usize) -> Option<Instant> {
        match self.partitions[partition].started.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(self.created + Duration::from_nanos(nanos - 1)),
        }
    }

    /// Notes what was skipped or is odd.
    pub(crate) fn note(&self, incident: Incident) {
        let mut incidents = self.incidents.lock().unwrap_or_else(PoisonError::into_inner);
        if incidents.kept.len() < INCIDENTS_MAX {
            incidents.kept.push(incident);
        } else {
            incidents.left_out += 1;
        }
    }

    /// Counts and notes an archive that is left out.
    pub(crate) fn skipped_archive(&self, partition: usize, archive: &str, error: &Error) {
        let stats = &self.partitions[partition].stats;
        stats.errors.add(1);
        stats.archives_skipped.add(1);
        self.note(Incident::skipped(archive, error));
    }

    /// The incidents so far, and how many more there were than are kept.
    pub fn incidents(&self) -> (Vec<Incident>, u64) {
        let incidents = self.incidents.lock().unwrap_or_else(PoisonError::into_inner);
        (incidents.kept.clone(), incidents.left_out)
    }

    /// Notes how long an archive took.
    pub(crate) fn archive_took(&self, archive: &str, duration: Duration) {
        let mut slowest = self.slowest.lock().unwrap_or_else(PoisonError::into_inner);
        let place = slowest.partition_point(|(other, _)| *other >= duration);
        if place < SLOWEST_ARCHIVES_MAX {
            slowest.insert(place, (duration, archive.to_owned()));
            slowest.truncate(SLOWEST_ARCHIVES_MAX);
        }
    }

    /// The slowest archives, slowest first.
    pub fn slowest_archives(&self) -> Vec<(Duration, String)> {
        self.slowest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_archives_are_kept_in_order() {
        let report = ScanReport::new(ListingReport::default(), 1);
        for seconds in [3, 12, 1, 7, 9, 4, 8, 2, 11, 5, 10, 6] {
            report.archive_took(&format!("a{seconds}"), Duration::from_secs(seconds));
        }
        let seconds: Vec<u64> = report.slowest_archives().iter().map(|(duration, _)| duration.as_secs()).collect();
        assert_eq!(seconds, [12, 11, 10, 9, 8, 7, 6, 5, 4, 3]);
    }

    #[test]
    fn incidents_are_bounded_and_the_rest_is_counted() {
        let report = ScanReport::new(ListingReport::default(), 1);
        for _ in 0..INCIDENTS_MAX + 5 {
            report.note(Incident::warning("a", "no_end_marker", 0, "odd"));
        }
        let (kept, left_out) = report.incidents();
        assert_eq!((kept.len(), left_out), (INCIDENTS_MAX, 5));
    }
}
