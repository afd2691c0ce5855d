//! The content of a member decoded in one go, and cut into stretches that forks decode: every format compares the two.

use std::sync::Arc;

use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::*;
use crate::report::{ListingReport, ScanReport};

/// Makes a fresh decoder that tells of bad rows where it is told to.
pub(crate) type Make<'a> = &'a dyn Fn(BadRows) -> Box<dyn RecordDecoder>;

/// What came of a member.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// As `number: value, value`.
    pub(crate) rows: Vec<String>,
    pub(crate) error: Option<String>,
    pub(crate) bad_rows: u64,
    /// What was said of the bad ones.
    pub(crate) problems: Vec<String>,
}

/// Numbers that look like chance and are the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// From 0 to `below`, without it.
    pub(crate) fn next(&mut self, below: usize) -> usize {
        // Marsaglia's xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % below
    }

    /// `content` in pieces of one byte up to so many.
    pub(crate) fn pieces<'a>(&mut self, content: &'a [u8], bytes_max: usize) -> Vec<&'a [u8]> {
        let (mut pieces, mut rest) = (Vec::new(), content);
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at((1 + self.next(bytes_max)).min(rest.len()));
            pieces.push(piece);
            rest = behind;
        }
        pieces
    }
}

/// How the content of a member ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Whole,
    Damaged,
}

struct Run {
    report: Arc<ScanReport>,
    bad_rows: BadRows,
    rows: Vec<String>,
    error: Option<String>,
}

impl Run {
    fn new() -> Self {
        let report = Arc::new(ScanReport::new(ListingReport::default(), 1));
        let counted = BadRows::counted(Arc::clone(&report.partitions[0].stats));
        let bad_rows = counted.noted(&report, &"a.tar".into(), "m".to_owned(), 0);
        Self { report, bad_rows, rows: Vec::new(), error: None }
    }

    fn drain(&mut self, decoder: &mut dyn RecordDecoder, before: i64) {
        while let Some(records) = decoder.next_records() {
            self.rows.extend(shown(&records, before));
        }
        if let Some(error) = decoder.failure() {
            self.error.get_or_insert(error.to_string());
        }
    }

    fn decode(&mut self, decoder: &mut dyn RecordDecoder, pieces: &[&[u8]], end: End, before: i64) {
        for piece in pieces {
            if self.error.is_none() {
                let result = decoder.decode(Bytes::copy_from_slice(piece));
                self.drain(decoder, before);
                self.error = self.error.take().or(result.err().map(|error| error.to_string()));
            }
        }
        if self.error.is_none() {
            let result = if end == End::Whole { decoder.finish() } else { decoder.abandon() };
            self.drain(decoder, before);
            self.error = self.error.take().or(result.err().map(|error| error.to_string()));
        }
    }

    fn outcome(self) -> Outcome {
        if self.error.is_some() {
            // What of the batch behind the error was looked at depends on where the batch ended.
            return Outcome { rows: self.rows, error: self.error, ..Outcome::default() };
        }
        // So does their order, as values are looked at later than shapes.
        let mut problems: Vec<_> = self.report.bad_rows().0.into_iter().map(|incident| incident.message).collect();
        problems.sort();
        Outcome { rows: self.rows, error: None, bad_rows: self.report.totals().bad_rows.value(), problems }
    }
}

/// The rows of a batch as `number: value, value`, behind so many others.
pub(crate) fn shown(records: &Records, before: i64) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let columns = records.batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap());
    let columns: Vec<_> = columns.collect();
    let row = |row: usize| {
        let values: Vec<_> = columns.iter().map(|column| column.value(row).to_string()).collect();
        format!("{}: {}", records.row_numbers.value(row) + before, values.join(", "))
    };
    (0..records.batch.num_rows()).map(row).collect()
}

/// One decoder for all of `content`.
pub(crate) fn in_one_go(make: Make<'_>, content: &[u8], end: End) -> Outcome {
    let mut run = Run::new();
    let mut decoder = make(run.bad_rows.clone());
    run.decode(decoder.as_mut(), &[content], end, 0);
    run.outcome()
}

/// Stretches of `content` between cuts, in pieces: all but the first are decoded by forks that know nothing of the
/// records in front of them, and again by forks that know all where anything is odd. Also says how many they were.
pub(crate) fn cut_and_forked(make: Make<'_>, content: &[u8], pieces: &[&[u8]], end: End) -> (Outcome, usize) {
    let mut run = Run::new();
    let mut first = make(run.bad_rows.clone());
    let stretches = stretches(first.as_ref(), pieces);
    assert_eq!(stretches.concat().concat(), content);
    let last = stretches.len().saturating_sub(1);
    let mut before = Before::default();
    for (at, stretch) in stretches.iter().enumerate() {
        let end = if at < last { End::Whole } else { end };
        if at == 0 {
            run.decode(first.as_mut(), stretch, end, 0);
            before = first.read_so_far();
        } else {
            before = forked(&mut run, first.as_ref(), stretch, end, before);
        }
        if run.error.is_some() {
            break;
        }
        let bytes: usize = stretches[..=at].iter().flatten().map(|piece| piece.len()).sum();
        assert!(at == last || before.bytes == bytes as u64, "{before:?} at the cut at {bytes}");
    }
    (run.outcome(), stretches.len())
}

fn stretches<'a>(decoder: &dyn RecordDecoder, pieces: &[&'a [u8]]) -> Vec<Vec<&'a [u8]>> {
    let Some(mut cutter) = decoder.cutter() else { return vec![pieces.to_vec()] };
    let (mut stretches, mut open) = (Vec::new(), Vec::new());
    for piece in pieces {
        if let Some(at) = cutter.cut(piece) {
            let (front, rest) = piece.split_at(at);
            open.push(front);
            stretches.push(std::mem::replace(&mut open, vec![rest]));
        } else {
            open.push(piece);
        }
    }
    stretches.push(open);
    stretches
}

fn forked(run: &mut Run, first: &dyn RecordDecoder, stretch: &[&[u8]], end: End, before: Before) -> Before {
    let mut trial = Run::new();
    let unknown = Before { records: 0, bytes: before.bytes };
    let mut fork = first.fork(unknown, trial.bad_rows.clone()).expect("the header has been read");
    trial.decode(fork.as_mut(), stretch, end, before.records);
    let read = fork.read_so_far();
    let odd = trial.error.is_some() || trial.report.totals().bad_rows.value() > 0;
    let mut again =
        Run { rows: Vec::new(), error: None, report: Arc::clone(&run.report), bad_rows: run.bad_rows.clone() };
    let mut fork = first.fork(before, run.bad_rows.clone()).expect("as before");
    again.decode(fork.as_mut(), stretch, end, 0);
    if !odd {
        assert_eq!(again.rows, trial.rows, "with and without the numbers in front");
        assert_eq!(fork.read_so_far(), Before { records: before.records + read.records, ..read });
    }
    run.rows.append(&mut again.rows);
    run.error = again.error;
    fork.read_so_far()
}

/// Checks that `content` is the same in one go and cut anywhere, whole or damaged; says how many cuts were seen at most.
pub(crate) fn check_cuts(make: Make<'_>, content: &[u8]) -> usize {
    let mut dice = Dice(0x9e37_79b9 ^ (content.len() as u64) << 20);
    let mut cuts = 0;
    for end in [End::Whole, End::Damaged] {
        let whole = in_one_go(make, content, end);
        for bytes_max in [1, 3, 40, content.len() + 1] {
            let pieces = dice.pieces(content, bytes_max);
            let (outcome, stretches) = cut_and_forked(make, content, &pieces, end);
            assert_eq!(outcome, whole, "{:?}, {end:?}", String::from_utf8_lossy(content));
            cuts = cuts.max(stretches - 1);
        }
    }
    cuts
}
