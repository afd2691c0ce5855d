//! What a scan did, while it runs and afterwards: counters per partition, slow archives, and what was skipped or odd.

mod bad_rows;
mod notes;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use self::bad_rows::BadRows;
pub(crate) use self::notes::Notes;

use crate::error::Error;
use crate::stats::{Count, Stats};

/// What was skipped or odd that a report keeps; more is only counted.
pub(crate) const INCIDENTS_MAX: usize = 1_000;

/// Bad rows that a report keeps. They have a list of their own: there may be millions, and a skipped archive must not be
/// lost among them.
pub(crate) const BAD_ROWS_MAX: usize = 1_000;

/// Bad rows of one member that a report keeps, so that the first member that is full of them leaves room for others.
pub(crate) const BAD_ROWS_MEMBER_MAX: usize = 100;

/// Characters of a path or message that an incident keeps: an archive may have a path of a megabyte, and a thousand of
/// them.
const TEXT_CHARS_MAX: usize = 4_096;

/// Archives whose duration a report keeps: the slowest.
pub(crate) const SLOWEST_ARCHIVES_MAX: usize = 10;

/// Something that was skipped or mended, that ended the scan, or that is odd enough to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// URL of the archive.
    pub archive: String,
    /// Path of the member, where it is about one. Very long ones are cut.
    pub member: Option<String>,
    /// Offset in the uncompressed tar stream, in bytes, where known.
    pub offset: Option<u64>,
    /// [`ErrorKind::as_str`](crate::ErrorKind::as_str), or `no_end_marker` and `trailing_garbage` for warnings.
    pub kind: &'static str,
    /// What happened, in one line, the place included.
    pub message: String,
    /// True where neither an archive nor a member was left out: the exit status stays 0.
    pub warning: bool,
}

impl Incident {
    /// What `error` made the scan leave out, or what ended it.
    pub(crate) fn skipped(archive: &str, error: &Error) -> Self {
        Self {
            archive: archive.to_owned(),
            member: error.member().map(|member| shortened(member.to_owned())),
            offset: error.offset(),
            kind: error.kind().as_str(),
            message: shortened(error.to_string()),
            warning: false,
        }
    }

    /// A record that `on_bad_row` dropped or mended.
    fn bad_row(archive: &str, error: &Error) -> Self {
        Self { warning: true, ..Self::skipped(archive, error) }
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

fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(TEXT_CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
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
    /// Nanoseconds it worked or waited, for bytes or for tasks that worked for it on other cores; time that its consumer
    /// took is not in it.
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
    /// The locator, where it has a member pattern.
    members: Option<String>,
    has_members: AtomicBool,
    incidents: Mutex<Incidents>,
    bad_rows: Mutex<Vec<Incident>>,
    /// How many more of them may be kept: looked at for each bad row, and so without a lock.
    bad_rows_room: AtomicUsize,
    slowest: Mutex<Vec<(Duration, String)>>,
}

#[derive(Debug, Default)]
struct Incidents {
    kept: Vec<Incident>,
    left_out: u64,
    /// Those of them that are no warnings, whether kept or not.
    skipped: BTreeMap<&'static str, u64>,
    /// The first error that ended the scan.
    failure: Option<Incident>,
}

impl Incidents {
    fn note(&mut self, incident: Incident) {
        if !incident.warning {
            *self.skipped.entry(incident.kind).or_default() += 1;
        }
        self.keep(incident);
    }

    fn keep(&mut self, incident: Incident) {
        if self.kept.len() < INCIDENTS_MAX {
            self.kept.push(incident);
        } else {
            self.left_out += 1;
        }
    }

    /// Notes all that `other` knows of.
    fn add(&mut self, other: Self) {
        for (kind, count) in other.skipped {
            *self.skipped.entry(kind).or_default() += count;
        }
        other.kept.into_iter().for_each(|incident| self.keep(incident));
        self.left_out += other.left_out;
    }
}

impl ScanReport {
    /// A report of `partitions` partitions that have done nothing yet.
    pub(crate) fn new(listing: ListingReport, partitions: usize) -> Self {
        Self {
            listing,
            partitions: (0..partitions).map(|_| PartitionReport::default()).collect(),
            created: Instant::now(),
            members: None,
            has_members: AtomicBool::new(false),
            incidents: Mutex::default(),
            bad_rows: Mutex::default(),
            bad_rows_room: AtomicUsize::new(BAD_ROWS_MAX),
            slowest: Mutex::default(),
        }
    }

    /// That of a scan whose locator has a member pattern.
    #[must_use]
    pub(crate) fn of_members(self, locator: Option<String>) -> Self {
        Self { members: locator, ..self }
    }

    /// Notes that there is a member that the pattern names.
    pub(crate) fn found_member(&self) {
        if !self.has_members.load(Ordering::Relaxed) {
            self.has_members.store(true, Ordering::Relaxed);
        }
    }

    /// The locator, where all archives were read to their ends and its member pattern named none of their members.
    pub fn unmatched(&self) -> Option<&str> {
        let locator = self.members.as_deref().filter(|_| !self.has_members.load(Ordering::Relaxed))?;
        let finished = self.totals().archives_finished.value();
        (finished > 0 && finished == self.listing.files).then_some(locator)
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

    fn lock(&self) -> MutexGuard<'_, Incidents> {
        self.incidents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what was skipped or is odd.
    pub(crate) fn note(&self, incident: Incident) {
        self.lock().note(incident);
    }

    /// Notes the error that ends the scan. Other partitions may fail too, while they are being stopped.
    pub(crate) fn fail(&self, archive: &str, error: &Error) {
        self.lock().failure.get_or_insert_with(|| Incident::skipped(archive, error));
    }

    /// Counts and notes an archive that is left out.
    pub(crate) fn skipped_archive(&self, partition: usize, archive: &str, error: &Error) {
        let stats = &self.partitions[partition].stats;
        stats.errors.add(1);
        stats.archives_skipped.add(1);
        self.note(Incident::skipped(archive, error));
    }

    /// What was skipped or odd so far, and how much more there was than is kept.
    pub fn incidents(&self) -> (Vec<Incident>, u64) {
        let incidents = self.lock();
        (incidents.kept.clone(), incidents.left_out)
    }

    /// How many archives and members were left out so far, in whole or in part, by the kind of what befell them.
    pub fn skipped_by_kind(&self) -> BTreeMap<&'static str, u64> {
        self.lock().skipped.clone()
    }

    /// The records so far that `on_bad_row` dropped or mended, and how many more there were than are kept.
    pub fn bad_rows(&self) -> (Vec<Incident>, u64) {
        let kept = self.bad_rows.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let left_out = self.totals().bad_rows.value().saturating_sub(kept.len() as u64);
        (kept, left_out)
    }

    /// The error that ended the scan, if one did.
    pub fn failure(&self) -> Option<Incident> {
        self.lock().failure.clone()
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
    use crate::error::ErrorKind;

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

    #[test]
    fn what_was_skipped_is_counted_by_kind_beyond_the_bound() {
        let report = ScanReport::new(ListingReport::default(), 1);
        for _ in 0..INCIDENTS_MAX {
            report.skipped_archive(0, "a", &Error::new(ErrorKind::Archive, "damaged"));
        }
        report.skipped_archive(0, "b", &Error::new(ErrorKind::Unreachable, "gone"));
        report.note(Incident::warning("c", "no_end_marker", 0, "odd"));
        assert_eq!(report.skipped_by_kind(), BTreeMap::from([("archive", 1_000), ("unreachable", 1)]));
        assert_eq!(report.incidents().1, 2);
    }

    #[test]
    fn long_texts_are_cut() {
        let error = Error::new(ErrorKind::Archive, "damaged").in_member("é".repeat(1 << 20)).at(5);
        let incident = Incident::skipped("a", &error);
        assert_eq!(incident.member.unwrap().chars().count(), TEXT_CHARS_MAX + 1);
        assert_eq!(incident.message.chars().count(), TEXT_CHARS_MAX + 1);
    }
}
