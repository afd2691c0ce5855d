//! One archive becomes batches: [`ArchiveScan`] drives the archive and the rows, and decides what a damaged archive or
//! member, an archive that can't be fetched, and an odd ending mean.

mod layout;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;

use crate::archive::{ArchiveEnd, ArchiveReader, NextMember};
use crate::compression::Compression;
use crate::crew::{Crew, Shift, Turn};
use crate::error::{Error, ErrorKind, Result};
use crate::locator::{MemberGlob, redacted};
use crate::member::csv::CsvOptions;
use crate::member::rows::MemberRows;
use crate::member::{MemberFormat, MissingColumn};
use crate::memory::Allowance;
use crate::metrics::redact_url;
use crate::policy::{OnBadRow, OnError, OnInvalidUtf8, OnUnreachable};
use crate::report::{Incident, Notes, ScanReport};
use crate::stats::Stats;
use crate::store::{FetchSettings, FetchTarget, ObjectReader};
use crate::tar::{Member, MemberType};

use self::layout::{BadRowReport, Layout, MemberFilter, Output};

/// Decides which rows stay. What it evaluates is the engine's business.
pub(crate) trait RowFilter: Send + Sync {
    /// One value a row of `batch`, whose columns are those that [`FilteredBy::columns`] names; NULL drops the row.
    fn keep(&self, batch: &RecordBatch) -> Result<BooleanArray>;
}

/// A filter and the columns of the table that it looks at, ascending.
#[derive(Clone)]
pub(crate) struct FilteredBy {
    pub(crate) filter: Arc<dyn RowFilter>,
    pub(crate) columns: Vec<usize>,
}

/// What to read, resolved: the same for all archives of a scan.
#[derive(Clone)]
pub(crate) struct ScanOptions {
    pub(crate) format: MemberFormat,
    /// The columns of the table, provenance included, hive-style ones not.
    pub(crate) schema: SchemaRef,
    /// True where the last three columns are `_archive`, `_path` and `_row`.
    pub(crate) provenance: bool,
    pub(crate) missing_column: MissingColumn,
    pub(crate) members: Option<MemberGlob>,
    pub(crate) archive_compression: Option<Compression>,
    pub(crate) csv: CsvOptions,
    pub(crate) on_error: OnError,
    pub(crate) on_unreachable: OnUnreachable,
    pub(crate) on_bad_row: OnBadRow,
    pub(crate) on_invalid_utf8: OnInvalidUtf8,
    pub(crate) fetch: FetchSettings,
}

/// Which columns and rows of the table a query asks for.
#[derive(Clone)]
pub(crate) struct Selection {
    /// Columns of the table, in the order of the batches.
    pub(crate) projection: Vec<usize>,
    /// Looks at header columns only: decides before content is touched.
    pub(crate) header_filter: Option<FilteredBy>,
    /// Looks at content too.
    pub(crate) row_filter: Option<FilteredBy>,
    pub(crate) batch_size: usize,
}

/// Who reads an archive: a partition of a scan, and what it may use.
#[derive(Clone)]
pub(crate) struct Partition {
    pub(crate) index: usize,
    pub(crate) report: Arc<ScanReport>,
    pub(crate) allowance: Allowance,
    pub(crate) crew: Crew,
}

/// Reads one archive into batches.
pub(crate) struct ArchiveScan {
    /// For errors and reports: without the query of a URL, which may hold a signature.
    url: Arc<str>,
    options: Arc<ScanOptions>,
    output: Output,
    rows: Box<dyn MemberRows>,
    member_filter: Option<MemberFilter>,
    partition: Partition,
    stats: Arc<Stats>,
    busy: Duration,
    /// From the first batch that is asked for to the last.
    shift: Option<Shift>,
    /// From before the archive is opened.
    turn: Option<Turn>,
    place: Option<MemberPlace>,
    notes: Notes,
    state: State,
}

/// The member whose rows are being made. That may go on when its archive is given up: what came whole comes out.
struct MemberPlace {
    path: String,
    offset: u64,
}

enum State {
    Unopened(Box<FetchTarget>),
    Members(Box<ArchiveReader>),
    Content(Box<ArchiveReader>),
    /// The archive can't be read further, and the rows in front of the damage are not out yet.
    Damaged(Error),
    Flush,
    Done,
}

impl State {
    /// Behind an error of its reader.
    fn of(reader: &ArchiveReader, error: Error) -> Self {
        reader.give_up();
        Self::Damaged(error)
    }
}

impl ArchiveScan {
    pub(crate) fn new(
        target: FetchTarget,
        options: Arc<ScanOptions>,
        selection: &Selection,
        partition: Partition,
    ) -> Result<Self> {
        // Rows tell archives apart by their URLs, and end up in files: the query stays, its signatures don't.
        let full_url: Arc<str> = redact_url(&target.url).into();
        let url: Arc<str> = redacted(&target.url).into();
        let report = &partition.report;
        let stats = Arc::clone(&report.partitions[partition.index].stats);
        let bad_rows =
            BadRowReport { stats: Arc::clone(&stats), report: Arc::clone(report), archive: Arc::clone(&url) };
        let layout = Layout::new(&options, selection, &partition);
        let rows = layout.rows(&options, &full_url, selection.batch_size, &bad_rows)?;
        let member_filter = layout.member_filter(&options, &full_url)?;
        let output = layout.output(selection)?;
        let (busy, shift, turn, place) = (Duration::ZERO, None, None, None);
        let (notes, state) = (Notes::new(&partition.report, partition.index), State::Unopened(Box::new(target)));
        Ok(Self { url, options, output, rows, member_filter, partition, stats, busy, shift, turn, place, notes, state })
    }

    /// The next batch that is not empty, or `None` at the end of the archive. It goes through
    /// [`hand_on`](Self::hand_on) once somebody asks for it.
    ///
    /// # Errors
    /// What the policies don't let pass, with archive, member and offset.
    pub(crate) async fn prepare(&mut self) -> Result<Option<RecordBatch>> {
        if let State::Unopened(target) = &self.state
            && self.turn.is_none()
        {
            self.turn = Some(self.partition.crew.turn(target.size).await);
        }
        let report = Arc::clone(&self.partition.report);
        report.start(self.partition.index);
        if !matches!(self.state, State::Done) {
            self.shift.get_or_insert_with(|| self.partition.crew.begin());
        }
        let start = Instant::now();
        let next = self.advance().await;
        let elapsed = start.elapsed();
        self.busy += elapsed;
        report.partitions[self.partition.index].busy_nanos.add(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
        if matches!(next, Ok(None) | Err(_)) {
            report.archive_took(&self.url, self.busy);
            (self.state, self.shift, self.turn) = (State::Done, None, None);
        }
        self.partition.crew.move_on();
        next
    }

    /// As [`prepare`](Self::prepare), where nobody may ask for it: until then nothing is told of what was left out or odd.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub(crate) async fn prepare_ahead(&mut self) -> Result<Option<RecordBatch>> {
        self.notes.hold();
        self.prepare().await
    }

    /// As [`prepare`](Self::prepare), for somebody who asks for it.
    #[cfg(test)]
    async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let next = self.prepare().await;
        self.hand_on(next)
    }

    /// Counts and reports what was asked for.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare).
    pub(crate) fn hand_on(&mut self, next: Result<Option<RecordBatch>>) -> Result<Option<RecordBatch>> {
        self.notes.tell();
        if let Ok(Some(batch)) = &next {
            self.stats.rows.add(batch.num_rows() as u64);
        }
        next.map_err(|error| {
            let error = error.in_archive(self.url.as_ref());
            self.partition.report.fail(&self.url, &error);
            error
        })
    }

    async fn advance(&mut self) -> Result<Option<RecordBatch>> {
        self.partition.allowance.settle().await?;
        loop {
            let batch = match self.rows.next_batch() {
                Ok(Some(batch)) => Some(batch),
                Ok(None) => self.go_on().await?,
                Err(error) => {
                    self.skip_member(error)?;
                    None
                }
            };
            match batch {
                Some(batch) => {
                    // What the filter counts as a row is counted where it is emitted.
                    let batch = self.output.select(batch)?;
                    if batch.num_rows() > 0 {
                        return Ok(Some(batch));
                    }
                }
                None if matches!(self.state, State::Done) => return Ok(None),
                None => {}
            }
        }
    }

    /// Brings what the rows lack.
    async fn go_on(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(pending) = self.rows.pending() {
            pending.await;
            return Ok(None);
        }
        if self.rows.shortage().is_some() {
            return self.find_memory().await;
        }
        self.step().await
    }

    /// One step further in the archive; a batch only where the archive ends.
    async fn step(&mut self) -> Result<Option<RecordBatch>> {
        let state = match std::mem::replace(&mut self.state, State::Done) {
            State::Unopened(target) => {
                let length = target.size.unwrap_or(0);
                match self.partition.crew.pause(self.open(*target)).await {
                    Ok(reader) => State::Members(Box::new(reader)),
                    Err(error) => {
                        self.stats.length_bytes.add(length);
                        State::Damaged(error)
                    }
                }
            }
            State::Members(mut reader) => match self.next_member(&mut reader).await {
                Ok(next) => next.into_state(reader),
                Err(error) => {
                    self.rows.catch_up();
                    State::of(&reader, error)
                }
            },
            State::Content(mut reader) => match self.partition.crew.pause(reader.next_content()).await {
                Ok(Some(content)) => {
                    self.rows.push(content);
                    State::Content(reader)
                }
                Ok(None) => {
                    self.rows.end();
                    State::Members(reader)
                }
                Err(error) => {
                    self.rows.catch_up();
                    State::of(&reader, error)
                }
            },
            State::Damaged(error) => {
                self.state = State::Flush;
                return self.leave_out_archive(error).map(|()| None);
            }
            State::Flush => return self.rows.flush(),
            State::Done => return Ok(None),
        };
        self.state = state;
        Ok(None)
    }

    /// Waits for the memory that the rows want, once those that are complete are out of the way: a wait holds nothing
    /// that others may be waiting for.
    async fn find_memory(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(batch) = self.rows.flush()? {
            return Ok(Some(batch));
        }
        let Some(shortage) = self.rows.shortage() else { return Ok(None) };
        let Err(error) = shortage.settle().await else { return Ok(None) };
        // A size that does not fit may be one that the archive does not hold either.
        let truncation = match &self.state {
            State::Content(reader) => reader.truncation().inspect(|_| reader.give_up()),
            _ => None,
        };
        match truncation {
            Some(truncation) => {
                self.state = State::Flush;
                self.leave_out_archive(truncation)?;
            }
            None => self.skip_member(error)?,
        }
        Ok(None)
    }

    /// Not an `async fn`: the future must not hold on to the scan, which threads can't share.
    fn open(&self, target: FetchTarget) -> impl Future<Output = Result<ArchiveReader>> + use<> {
        let stats = Arc::clone(&self.stats);
        let reader =
            ObjectReader::new(target, self.options.fetch.clone(), self.partition.allowance.clone(), Arc::clone(&stats));
        let (compression, crew) = (self.options.archive_compression, self.partition.crew.clone());
        ArchiveReader::open(Arc::clone(&self.url), reader, compression, crew, stats)
    }

    async fn next_member(&mut self, reader: &mut ArchiveReader) -> Result<Next> {
        let member = match self.partition.crew.pause(reader.next_member()).await? {
            NextMember::Member(member) => member,
            NextMember::End(end) => {
                self.note_ending(&end);
                self.rows.catch_up();
                return Ok(Next::End);
            }
        };
        let next = self.take_up(reader, &member);
        reader.recycle(member);
        next
    }

    fn take_up(&mut self, reader: &mut ArchiveReader, member: &Member) -> Result<Next> {
        let locate = |error: Error| error.in_member(member.path_lossy()).at(member.offset);
        if !self.selects(member).map_err(locate)? {
            self.stats.members_skipped.add(1);
            return Ok(Next::Member);
        }
        if begins_elsewhere(&self.options, member) {
            let error = Error::new(ErrorKind::Member, "the file begins in another volume: only its end is here");
            return self.leave_out_member(locate(error)).map(|()| Next::Member);
        }
        // The usual case of small members: no piece of content has to be awaited.
        match reader.whole_content().map_or(Ok(false), |content| self.rows.append_whole(member, content)) {
            Ok(false) => {}
            Ok(true) => {
                reader.take_whole_content();
                return Ok(Next::Member);
            }
            Err(error) => return self.leave_out_member(locate(error)).map(|()| Next::Member),
        }
        match self.rows.begin(member) {
            Ok(true) => {
                self.place = Some(MemberPlace { path: member.path_lossy().into_owned(), offset: member.offset });
                Ok(Next::Content)
            }
            Ok(false) => Ok(Next::Member),
            // A size that no cell can hold may be one that no archive holds either.
            Err(error) => match reader.truncation() {
                Some(truncation) => Err(locate(truncation)),
                None => self.leave_out_member(locate(error)).map(|()| Next::Member),
            },
        }
    }

    /// True where `member` becomes rows.
    fn selects(&mut self, member: &Member) -> Result<bool> {
        let is_named = is_named(&self.options, member);
        if is_named {
            self.partition.report.found_member();
        }
        let selected = is_named && (becomes_rows(&self.options, member) || begins_elsewhere(&self.options, member));
        match &mut self.member_filter {
            Some(filter) if selected => filter.keeps(member),
            _ => Ok(selected),
        }
    }

    /// Counts and reports an archive whose rest is left out, if `on_error` or `on_unreachable` lets it pass.
    fn leave_out_archive(&mut self, error: Error) -> Result<()> {
        let passes = match error.kind() {
            ErrorKind::Unreachable => self.options.on_unreachable == OnUnreachable::Skip,
            // What is beyond a limit is as unreadable as what is damaged: neither shall end a job over many archives.
            ErrorKind::Archive | ErrorKind::Compression | ErrorKind::Limit | ErrorKind::NotYet => {
                self.options.on_error == OnError::Skip
            }
            _ => false,
        };
        if !passes {
            return Err(error);
        }
        self.notes.skipped_archive(&self.url, &error);
        // The whole records in front of the damage may be damaged too, or bad.
        self.rows.abandon().or_else(|error| self.skip_member(error))
    }

    /// `on_error` for what befell the content of the member at hand, or of one before it.
    fn skip_member(&mut self, error: Error) -> Result<()> {
        let is_behind = self.rows.is_behind();
        self.leave_out_member(self.locate(error))?;
        self.state = match std::mem::replace(&mut self.state, State::Done) {
            State::Content(reader) if !is_behind => State::Members(reader),
            other => other,
        };
        Ok(())
    }

    /// Counts and reports a member whose rest is left out, if `on_error` lets it pass.
    fn leave_out_member(&mut self, error: Error) -> Result<()> {
        let error = error.in_archive(self.url.as_ref());
        if !self.passes(&error) {
            return Err(with_remedy(error, &self.options));
        }
        self.notes.skipped_member(&self.url, &error);
        match self.rows.abandon() {
            // More damage in what is left out already.
            Err(error) if self.passes(&error) => Ok(()),
            Err(error) => Err(with_remedy(self.locate(error), &self.options)),
            Ok(()) => Ok(()),
        }
    }

    /// Whether `on_error` lets pass what befell a member.
    fn passes(&self, error: &Error) -> bool {
        let is_damage = matches!(error.kind(), ErrorKind::Compression | ErrorKind::Member | ErrorKind::Limit);
        is_damage && self.options.on_error == OnError::Skip
    }

    /// Puts the member whose rows are being made into `error`.
    fn locate(&self, error: Error) -> Error {
        match &self.place {
            Some(place) => error.in_member(place.path.as_str()).at(place.offset),
            None => error,
        }
    }

    fn note_ending(&mut self, end: &ArchiveEnd) {
        let mut warn = |kind, offset, message: &str| {
            self.notes.note(Incident::warning(&self.url, kind, offset, message));
        };
        if !end.trailer.end_marker {
            warn("no_end_marker", end.length_bytes, "the archive has no end marker: its last members may be missing");
        }
        if let Some(offset) = end.trailer.garbage_offset {
            let message =
                format!("{} bytes behind the end marker are no tar and were left out", end.trailer.garbage_bytes);
            warn("trailing_garbage", offset, &message);
        }
    }
}

enum Next {
    Member,
    Content,
    End,
}

impl Next {
    fn into_state(self, reader: Box<ArchiveReader>) -> State {
        match self {
            Self::Member => State::Members(reader),
            Self::Content => State::Content(reader),
            Self::End => State::Flush,
        }
    }
}

/// What a user can do about a record or member that can't be read, where its decoder can't know.
pub(crate) fn with_remedy(mut error: Error, options: &ScanOptions) -> Error {
    let is_record = error.kind() == ErrorKind::Record;
    if !options.format.is_record() || !(is_record || error.kind() == ErrorKind::Member) {
        return error;
    }
    // Text that is not UTF-8 names its own option.
    if is_record && !error.message().contains("on_invalid_utf8") {
        error = error.with_remedy("on_bad_row = 'skip' or 'null' reads on");
    }
    match options.members {
        Some(_) => error,
        None => error.with_remedy("if it is not among the members to read, name those behind ' :: '"),
    }
}

/// True where `member` becomes rows of the format, filters aside: by its name, and by what it is.
pub(crate) fn is_record_member(options: &ScanOptions, member: &Member) -> bool {
    becomes_rows(options, member) && is_named(options, member)
}

fn becomes_rows(options: &ScanOptions, member: &Member) -> bool {
    let is_file = member.member_type == MemberType::File && !member.is_continuation();
    is_file || options.format == MemberFormat::Members
}

/// True where the end of a file stands in for what would become rows of the format. As a member it is a row like any
/// other; to decode it would give wrong records, and to leave it out in silence fewer.
fn begins_elsewhere(options: &ScanOptions, member: &Member) -> bool {
    member.is_continuation() && options.format != MemberFormat::Members && is_named(options, member)
}

fn is_named(options: &ScanOptions, member: &Member) -> bool {
    match &options.members {
        Some(glob) => glob.matches(&member.path_lossy()),
        None => !(options.format.is_record() && is_apple_double(&member.path_lossy())),
    }
}

/// macOS puts the metadata of `a/b` into a member `a/._b`, which is no record file.
fn is_apple_double(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with("._"))
}
