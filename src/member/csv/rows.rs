//! Records become batches: gathered column by column, and settled when there are enough.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::SchemaRef;

use super::index::Index;
use super::split::{Event, Fields};
use super::{CsvOptions, header, misfit_of, too_long};
use crate::batch::batch_bytes_max;
use crate::error::{Error, ErrorKind, Result};
use crate::member::column::{Column, Spans, TextCast, Verdicts};
use crate::member::room::Room;
use crate::member::{RecordOptions, Records};
use crate::policy::OnBadRow;
use crate::report::BadRows;

/// What a record has to look like.
#[derive(Debug)]
struct Layout {
    /// Fields that each record has.
    fields: usize,
    /// Which of them are asked for; none where the member lacks a column.
    places: Vec<Option<usize>>,
}

impl Layout {
    /// How many fields of a record have to be kept.
    fn kept(&self) -> usize {
        self.places.iter().flatten().max().map_or(0, |last| last + 1)
    }
}

/// Collects records into batches.
#[derive(Debug)]
pub(super) struct Rows {
    options: RecordOptions,
    projected: SchemaRef,
    comment: Option<u8>,
    /// The batch under way.
    columns: Vec<Column>,
    /// With a header, not known before it.
    layout: Option<Arc<Layout>>,
    /// Its record numbers.
    numbers: Vec<i64>,
    /// For these.
    room: Room,
    /// Bytes of both.
    buffered: usize,
    /// Where the next rows of it begin, as fields of an index.
    firsts: Vec<u32>,
    /// A batch is handed on when its fields take this many bytes, however few its rows.
    batch_bytes_max: usize,
    /// Records so far, good or bad.
    records: i64,
    finished: VecDeque<Records>,
}

impl Rows {
    /// No rows yet. Also says how many fields of each record are needed, if that is known.
    pub(super) fn new(options: RecordOptions, csv: &CsvOptions) -> Result<(Self, Option<usize>)> {
        let cast = |field: &Arc<_>| TextCast::new(Arc::clone(field), csv.null_regex.clone(), options.on_invalid_utf8);
        let casts =
            options.schema.fields().iter().map(|field| cast(field).map(Arc::new)).collect::<Result<Vec<_>>>()?;
        let projected = options.schema.project(&options.projection).map_err(|error| {
            Error::new(ErrorKind::Schema, "the projection does not fit the columns").caused_by(error)
        })?;
        let layout = (!csv.has_header).then(|| Layout {
            fields: options.schema.fields().len(),
            places: options.projection.iter().copied().map(Some).collect(),
        });
        let kept = layout.as_ref().map(Layout::kept);
        let layout = layout.map(Arc::new);
        let rows = Self {
            projected: Arc::new(projected),
            comment: csv.comment,
            columns: options.projection.iter().map(|place| Column::new(Arc::clone(&casts[*place]))).collect(),
            layout,
            numbers: Vec::new(),
            room: Room::default(),
            buffered: 0,
            firsts: Vec::new(),
            batch_bytes_max: batch_bytes_max(&options.allowance),
            records: 0,
            finished: VecDeque::new(),
            options,
        };
        Ok((rows, kept))
    }

    /// No rows yet of a stretch of the member that begins behind so many records.
    pub(super) fn fork(&self, records: i64, bad_rows: BadRows) -> Self {
        Self {
            options: RecordOptions { bad_rows, ..self.options.clone() },
            projected: Arc::clone(&self.projected),
            comment: self.comment,
            columns: self.columns.iter().map(Column::fork).collect(),
            layout: self.layout.clone(),
            numbers: Vec::new(),
            room: self.room.clone(),
            buffered: 0,
            firsts: Vec::new(),
            batch_bytes_max: self.batch_bytes_max,
            records,
            finished: VecDeque::new(),
        }
    }

    /// Takes the header or a record. The header tells how many fields of each record are needed.
    pub(super) fn take(&mut self, event: Event<'_>) -> Result<Option<usize>> {
        let Some(layout) = &self.layout else {
            let names = header::names(&event)?;
            let places = header::places(&names, &self.options)?;
            let layout = Layout { fields: names.len(), places };
            let kept = layout.kept();
            self.layout = Some(Arc::new(layout));
            return Ok(Some(kept));
        };
        self.records += 1;
        match event {
            Event::Record(fields) if fields.count() == layout.fields => {
                for (place, column) in layout.places.iter().zip(&mut self.columns) {
                    let Some(place) = place else { continue };
                    self.buffered += column.push(fields.get(*place));
                }
                self.numbers.push(self.records);
                self.buffered += size_of::<i64>();
                self.flush_full()?;
            }
            Event::TooLong => {
                self.flush()?;
                return Err(too_long(&format!("record {}", self.records)));
            }
            misfit if self.options.on_bad_row != OnBadRow::Fail => {
                let problem = || format!("record {} {}", self.records, misfit_of(&misfit, layout.fields));
                self.options.bad_rows.add(problem);
            }
            misfit => {
                let problem = misfit_of(&misfit, layout.fields);
                // A value in an earlier record may be at fault first.
                self.flush()?;
                return Err(Error::new(ErrorKind::Record, format!("record {} {problem}", self.records)));
            }
        }
        Ok(None)
    }

    /// Takes the lines of `index`, which were the first of `text`.
    pub(super) fn take_lines(&mut self, text: &[u8], index: &Index) -> Result<()> {
        let fields = self.layout.as_ref().map_or(0, |layout| layout.fields);
        for line in index.lines() {
            let is_record = if line.fields == 1 || self.comment.is_some() {
                let line = index.text(text, line);
                !line.is_empty() && line.first().copied() != self.comment
            } else {
                true
            };
            if !is_record {
                continue;
            }
            if line.fields as usize == fields {
                self.firsts.push(line.first);
                if self.numbers.len() + self.firsts.len() >= self.options.batch_size {
                    self.gather(text, index)?;
                }
            } else {
                self.gather(text, index)?;
                self.take(Event::Record(Fields::counted(line.fields as usize)))?;
            }
        }
        self.gather(text, index)
    }

    /// Appends the records that begin at `firsts`.
    fn gather(&mut self, text: &[u8], index: &Index) -> Result<()> {
        let layout = self.layout.iter().flat_map(|layout| &layout.places);
        for (place, column) in layout.zip(&mut self.columns) {
            let Some(place) = *place else { continue };
            let spans = Spans { block: text, starts: index.starts(), firsts: &self.firsts, place };
            self.buffered += column.extend(spans);
        }
        let before = self.records;
        self.room.open(&mut self.numbers);
        self.numbers.extend(self.firsts.iter().zip(before + 1..).map(|(_, number)| number));
        self.records += i64::try_from(self.firsts.len()).expect("a block has few lines");
        self.buffered += self.firsts.len() * size_of::<i64>();
        self.firsts.clear();
        self.flush_full()
    }

    fn flush_full(&mut self) -> Result<()> {
        let is_full = self.numbers.len() >= self.options.batch_size || self.buffered >= self.batch_bytes_max;
        if is_full { self.flush() } else { Ok(()) }
    }

    /// Whether it is known what a record has to look like.
    pub(super) fn has_layout(&self) -> bool {
        self.layout.is_some()
    }

    /// How many fields of a record have to be kept, if that is known.
    pub(super) fn kept(&self) -> Option<usize> {
        self.layout.as_ref().map(|layout| layout.kept())
    }

    /// Records so far, good or bad.
    pub(super) fn records(&self) -> i64 {
        self.records
    }

    /// Bytes of the batch under way.
    pub(super) fn bytes(&self) -> usize {
        self.buffered
    }

    /// Takes the next batch.
    pub(super) fn next_records(&mut self) -> Option<Records> {
        self.finished.pop_front()
    }

    /// Makes a batch of the rows so far.
    pub(super) fn flush(&mut self) -> Result<()> {
        if self.numbers.is_empty() {
            return Ok(());
        }
        self.buffered = 0;
        let numbers = self.room.take(&mut self.numbers);
        let mut verdicts = Verdicts::new(&numbers, self.options.on_bad_row, self.options.bad_rows.room());
        let places = self.layout.iter().flat_map(|layout| &layout.places);
        let columns = places.zip(&mut self.columns).zip(self.projected.fields());
        let columns = columns.map(|((place, column), field)| match place {
            Some(_) => column.finish(&mut verdicts),
            None => Ok(new_null_array(field.data_type(), numbers.len())),
        });
        let columns = columns.collect::<Result<_>>()?;
        let settled = verdicts.settle(columns)?;
        self.options.bad_rows.add_all(settled.bad_rows, settled.problems);
        if !settled.numbers.is_empty() {
            let rows = RecordBatchOptions::new().with_row_count(Some(settled.numbers.len()));
            let batch = RecordBatch::try_new_with_options(Arc::clone(&self.projected), settled.columns, &rows);
            let batch =
                batch.map_err(|error| Error::new(ErrorKind::Record, "the rows make no batch").caused_by(error))?;
            self.finished.push_back(Records { batch, row_numbers: settled.numbers });
        }
        settled.end.map_or(Ok(()), Err)
    }
}
