//! From what a query selects to what has to be built: which columns, by which rows, filtered where.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;

use super::{FilteredBy, Partition, RowFilter, ScanOptions, Selection};
use crate::batch::{HeaderBuilder, compacted, internal};
use crate::crew::Crew;
use crate::error::{Error, ErrorKind, Result};
use crate::member::avro::AvroDecoder;
use crate::member::csv::CsvDecoder;
use crate::member::json::JsonDecoder;
use crate::member::lines::LinesDecoder;
use crate::member::rows::{Cell, CellRows, Decoders, HeaderRows, MemberRows, RecordColumn, RecordRows};
use crate::member::{MemberFormat, RecordDecoder, RecordOptions};
use crate::memory::Allowance;
use crate::policy::OnBadRow;
use crate::report::{BadRows, ScanReport};
use crate::schema::HeaderColumn;
use crate::stats::Stats;
use crate::tar::Member;

/// Where the rows of one archive are counted, and where those that don't fit are noted.
#[derive(Clone)]
pub(super) struct BadRowReport {
    pub(super) stats: Arc<Stats>,
    pub(super) report: Arc<ScanReport>,
    /// The archive's URL as messages show it.
    pub(super) archive: Arc<str>,
}

/// Which columns have to be built for a selection, and by what.
pub(super) struct Layout {
    /// Columns of the table, ascending: the projection and what filters on built batches look at.
    columns: Vec<usize>,
    /// Evaluated on each member, because content or records hang on it.
    member_filter: Option<FilteredBy>,
    /// Evaluated on built batches.
    batch_filter: Option<FilteredBy>,
    allowance: Allowance,
    crew: Crew,
}

impl Layout {
    pub(super) fn new(options: &ScanOptions, selection: &Selection, partition: &Partition) -> Self {
        let touches_content = |columns: &[usize]| columns.iter().any(|&column| column >= HeaderColumn::ALL.len());
        let row_columns = selection.row_filter.as_ref().map_or(&[][..], |filter| &filter.columns);
        // Lines and records need the content even where no column of it is asked for: it makes the rows.
        let needs_content = options.format != MemberFormat::Members && options.format != MemberFormat::Text
            || touches_content(&selection.projection)
            || touches_content(row_columns);
        // A filter on headers is cheaper on whole batches, but has to come first where content hangs on it.
        let (member_filter, batch_filter) = match needs_content {
            true => (selection.header_filter.clone(), selection.row_filter.clone()),
            false => (None, selection.header_filter.clone()),
        };
        let mut columns = selection.projection.clone();
        // A record that does not fit is dropped whatever is asked for: else `count(*)` would count other rows.
        if options.on_bad_row == OnBadRow::Skip && options.format.is_record() {
            columns.extend(0..options.schema.fields().len());
        }
        columns.extend(batch_filter.iter().flat_map(|filter| &filter.columns));
        columns.sort_unstable();
        columns.dedup();
        let (allowance, crew) = (partition.allowance.clone(), partition.crew.clone());
        Self { columns, member_filter, batch_filter, allowance, crew }
    }

    fn position(&self, column: usize) -> Result<usize> {
        let missing = || Error::new(ErrorKind::Schema, format!("column {column} is not built"));
        self.columns.binary_search(&column).map_err(|_| missing())
    }

    fn positions(&self, columns: &[usize]) -> Result<Vec<usize>> {
        columns.iter().map(|&column| self.position(column)).collect()
    }

    pub(super) fn output(&self, selection: &Selection) -> Result<Output> {
        let filter = match &self.batch_filter {
            None => None,
            Some(FilteredBy { filter, columns }) => Some((Arc::clone(filter), self.positions(columns)?)),
        };
        Ok(Output { filter, projection: self.positions(&selection.projection)? })
    }

    pub(super) fn member_filter(&self, options: &ScanOptions, url: &Arc<str>) -> Result<Option<MemberFilter>> {
        let Some(FilteredBy { filter, columns }) = &self.member_filter else { return Ok(None) };
        let schema = Arc::new(options.schema.project(columns).map_err(internal)?);
        let header = HeaderBuilder::new(Arc::clone(url), &header_columns(columns));
        Ok(Some(MemberFilter { filter: Arc::clone(filter), schema, header }))
    }

    pub(super) fn rows(
        &self,
        options: &Arc<ScanOptions>,
        url: &Arc<str>,
        batch_size: usize,
        report: &BadRowReport,
    ) -> Result<Box<dyn MemberRows>> {
        let stats = &report.stats;
        let schema = Arc::new(options.schema.project(&self.columns).map_err(internal)?);
        let header = header_columns(&self.columns);
        let url = Arc::clone(url);
        let cell = match options.format {
            MemberFormat::Members => Cell::content(),
            MemberFormat::Text => Cell::text(options.on_invalid_utf8),
            _ => return self.record_rows(options, url, schema, batch_size, report),
        };
        if header.len() == self.columns.len() {
            return Ok(Box::new(HeaderRows::new(url, schema, &header, batch_size).within(&self.allowance)));
        }
        let rows = CellRows::new(url, schema, &header, cell, batch_size, Arc::clone(stats));
        Ok(Box::new(rows.within(&self.allowance)))
    }

    fn record_rows(
        &self,
        options: &Arc<ScanOptions>,
        url: Arc<str>,
        schema: SchemaRef,
        batch_size: usize,
        report: &BadRowReport,
    ) -> Result<Box<dyn MemberRows>> {
        let mut header = Vec::new();
        let mut projection = Vec::new();
        let mut columns = Vec::new();
        let mut from_header = |column| {
            header.push(column);
            RecordColumn::Header(header.len() - 1)
        };
        let records = record_schema(options)?;
        for &column in &self.columns {
            columns.push(match source_of(options, column, records.fields().len()) {
                Source::Header(column) => from_header(column),
                Source::Record(index) => {
                    projection.push(index);
                    RecordColumn::Decoded(projection.len() - 1)
                }
                Source::RowNumber => RecordColumn::RowNumber,
            });
        }
        let record_options = RecordOptions {
            schema: records,
            projection,
            missing_column: options.missing_column,
            batch_size,
            on_bad_row: options.on_bad_row,
            on_invalid_utf8: options.on_invalid_utf8,
            bad_rows: BadRows::counted(Arc::clone(&report.stats)),
            allowance: self.allowance.clone(),
        };
        let decoders = decoders(options, record_options, report.clone());
        let rows = RecordRows::new(url, schema, columns, &header, decoders, Arc::clone(&report.stats));
        Ok(Box::new(rows.within(&self.allowance).with_crew(&self.crew)))
    }
}

/// Those of `columns` that are header columns of a member table.
fn header_columns(columns: &[usize]) -> Vec<HeaderColumn> {
    columns.iter().filter_map(|&column| HeaderColumn::ALL.get(column).copied()).collect()
}

/// The columns that the decoder makes: the text of a line, or the table's columns without provenance.
fn record_schema(options: &ScanOptions) -> Result<SchemaRef> {
    let fields = options.schema.fields().len();
    let range = match options.format {
        MemberFormat::Lines => fields - 1..fields,
        _ => 0..fields - if options.provenance { 3 } else { 0 },
    };
    Ok(Arc::new(options.schema.project(&range.collect::<Vec<_>>()).map_err(internal)?))
}

/// What fills a column of a table whose rows are lines or records.
enum Source {
    Header(HeaderColumn),
    Record(usize),
    RowNumber,
}

fn source_of(options: &ScanOptions, column: usize, records: usize) -> Source {
    if options.format == MemberFormat::Lines {
        return match HeaderColumn::ALL.get(column) {
            Some(&header) => Source::Header(header),
            None if column == HeaderColumn::ALL.len() => Source::RowNumber,
            None => Source::Record(0),
        };
    }
    match column.checked_sub(records) {
        None => Source::Record(column),
        Some(0) => Source::Header(HeaderColumn::Archive),
        Some(1) => Source::Header(HeaderColumn::Path),
        Some(_) => Source::RowNumber,
    }
}

fn decoders(options: &Arc<ScanOptions>, records: RecordOptions, report: BadRowReport) -> Decoders {
    let (options, counted, batch_size) = (Arc::clone(options), records.bad_rows.clone(), records.batch_size);
    let make = move |bad_rows| {
        let records = RecordOptions { bad_rows, ..records.clone() };
        Ok(match options.format {
            MemberFormat::Json => Box::new(JsonDecoder::new(records)?) as Box<dyn RecordDecoder>,
            MemberFormat::Avro => Box::new(AvroDecoder::new(records)),
            MemberFormat::Lines => Box::new(LinesDecoder::new(records)?),
            _ => Box::new(CsvDecoder::new(records, options.csv.clone())?),
        })
    };
    let bad_rows = move |path: &str, offset| counted.noted(&report.report, &report.archive, path.to_owned(), offset);
    Decoders { make: Box::new(make), bad_rows: Box::new(bad_rows), batch_size }
}

/// Evaluates the header filter on one member, before its content is read.
pub(super) struct MemberFilter {
    filter: Arc<dyn RowFilter>,
    schema: SchemaRef,
    header: HeaderBuilder,
}

/// From the columns that are built to the columns that are asked for.
pub(super) struct Output {
    filter: Option<(Arc<dyn RowFilter>, Vec<usize>)>,
    projection: Vec<usize>,
}

impl MemberFilter {
    pub(super) fn keeps(&mut self, member: &Member) -> Result<bool> {
        self.header.append(member)?;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), self.header.finish()?).map_err(internal)?;
        let keep = self.filter.keep(&batch)?;
        Ok(keep.iter().next().flatten() == Some(true))
    }
}

impl Output {
    pub(super) fn select(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let batch = match &self.filter {
            None => batch,
            Some((filter, columns)) => {
                let keep = filter.keep(&batch.project(columns).map_err(internal)?)?;
                filter_record_batch(&batch, &keep).map_err(internal)?
            }
        };
        compacted(batch.project(&self.projection).map_err(internal)?)
    }
}
