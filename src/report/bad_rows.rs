//! [`BadRows`]: where the decoder of a member tells of records that don't fit.
//!
//! There may be one in each row of a file of millions: all are counted, but words are made for the first ones only.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};

use super::{BAD_ROWS_MEMBER_MAX, Incident, ScanReport};
use crate::error::{Error, ErrorKind};
use crate::stats::Stats;

/// Counts the bad rows of one member, and notes the first of them. Clones share the bound.
#[derive(Debug, Clone, Default)]
pub(crate) struct BadRows {
    stats: Arc<Stats>,
    place: Option<Arc<Place>>,
}

/// Where the rows are, and who keeps a list.
#[derive(Debug)]
struct Place {
    report: Arc<ScanReport>,
    archive: Arc<str>,
    member: String,
    offset: u64,
    room: AtomicUsize,
}

impl BadRows {
    /// Only counts: there is no member yet, or nobody to tell.
    pub(crate) fn counted(stats: Arc<Stats>) -> Self {
        Self { stats, place: None }
    }

    /// Those of the member `member`, whose header is at `offset`, are noted in `report` too.
    pub(crate) fn noted(&self, report: &Arc<ScanReport>, archive: &Arc<str>, member: String, offset: u64) -> Self {
        let room = AtomicUsize::new(BAD_ROWS_MEMBER_MAX);
        let place = Place { report: Arc::clone(report), archive: Arc::clone(archive), member, offset, room };
        Self { stats: Arc::clone(&self.stats), place: Some(Arc::new(place)) }
    }

    /// How many more are worth words.
    pub(crate) fn room(&self) -> usize {
        self.place.as_ref().map_or(0, |place| {
            place.room.load(Ordering::Relaxed).min(place.report.bad_rows_room.load(Ordering::Relaxed))
        })
    }

    /// One more; `problem` says which record it is, and why it does not fit.
    pub(crate) fn add(&self, problem: impl FnOnce() -> String) {
        match self.room() {
            0 => self.add_all(1, []),
            _ => self.add_all(1, [problem()]),
        }
    }

    /// `rows` more, of which `problems` describe some.
    pub(crate) fn add_all(&self, rows: u64, problems: impl IntoIterator<Item = String>) {
        self.stats.bad_rows.add(rows);
        let Some(place) = &self.place else { return };
        for problem in problems {
            let error = Error::new(ErrorKind::Record, problem).in_member(place.member.as_str()).at(place.offset);
            place.note(&error.in_archive(place.archive.as_ref()));
        }
    }
}

impl Place {
    fn note(&self, error: &Error) {
        let take =
            |room: &AtomicUsize| room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(1));
        if take(&self.room).is_ok() && take(&self.report.bad_rows_room).is_ok() {
            let mut kept = self.report.bad_rows.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push(Incident::bad_row(&self.archive, error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BAD_ROWS_MAX, ListingReport};
    use super::*;

    #[test]
    fn words_are_made_for_the_first_ones_only() {
        let report = Arc::new(ScanReport::new(ListingReport::default(), 1));
        let counted = BadRows::counted(Arc::clone(&report.partitions[0].stats));
        let mut words = 0;
        let members = BAD_ROWS_MAX / BAD_ROWS_MEMBER_MAX + 2;
        for member in 0..members {
            let bad_rows = counted.noted(&report, &"a.tar".into(), format!("m{member}"), 512);
            for row in 0..BAD_ROWS_MEMBER_MAX + 50 {
                bad_rows.clone().add(|| {
                    words += 1;
                    format!("record {row} is bad")
                });
            }
        }
        let (kept, left_out) = report.bad_rows();
        assert_eq!((kept.len(), words), (BAD_ROWS_MAX, BAD_ROWS_MAX));
        let left = members * (BAD_ROWS_MEMBER_MAX + 50) - BAD_ROWS_MAX;
        assert_eq!(usize::try_from(left_out), Ok(left));
        assert_eq!(kept[100].message, "a.tar: member 'm1' at offset 512: record 0 is bad");
        assert_eq!((kept[100].kind, kept[100].warning), ("record", true));
        assert_eq!(report.incidents(), (Vec::new(), 0), "skipped archives keep their room");
    }
}
