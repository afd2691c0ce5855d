//! [`Notes`]: what one archive's scan left out or found odd, on its way to the report.
//!
//! A scan may be ahead of its consumer, and nobody may ever ask for the rows there, as where a LIMIT is reached. Then what
//! was noted beside them does not count: else what a statement says of itself, and its exit status, would depend on how
//! far a task came before it was cancelled.

use std::sync::Arc;

use super::{Incident, Incidents, ScanReport};
use crate::error::Error;
use crate::stats::Stats;

/// Tells a report at once, or keeps what is to be told, as bounded as the report does.
#[derive(Debug)]
pub(crate) struct Notes {
    report: Arc<ScanReport>,
    partition: usize,
    is_held: bool,
    incidents: Incidents,
    counts: Stats,
}

impl Notes {
    /// Those of an archive that `partition` reads.
    pub(crate) fn new(report: &Arc<ScanReport>, partition: usize) -> Self {
        let (incidents, counts) = (Incidents::default(), Stats::default());
        Self { report: Arc::clone(report), partition, is_held: false, incidents, counts }
    }

    /// Keeps what comes now until all of it is told.
    pub(crate) fn hold(&mut self) {
        self.is_held = true;
    }

    /// Tells what was kept, and from now on everything at once.
    pub(crate) fn tell(&mut self) {
        self.is_held = false;
        if self.incidents.kept.is_empty() {
            return;
        }
        self.report.partitions[self.partition].stats.merge(&std::mem::take(&mut self.counts));
        self.report.lock().add(std::mem::take(&mut self.incidents));
    }

    /// Notes something odd.
    pub(crate) fn note(&mut self, incident: Incident) {
        self.incidents.note(incident);
        if !self.is_held {
            self.tell();
        }
    }

    /// Counts and notes an archive that is left out.
    pub(crate) fn skipped_archive(&mut self, archive: &str, error: &Error) {
        self.counts.errors.add(1);
        self.counts.archives_skipped.add(1);
        self.note(Incident::skipped(archive, error));
    }

    /// Counts and notes a member that is left out.
    pub(crate) fn skipped_member(&mut self, archive: &str, error: &Error) {
        self.counts.errors.add(1);
        self.counts.members_skipped.add(1);
        self.note(Incident::skipped(archive, error));
    }
}
