//! What a batch makes of values that don't fit: `on_bad_row`, row by row.

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array};
use arrow::compute::filter;

use crate::error::{Error, ErrorKind, Result};
use crate::policy::OnBadRow;

/// What becomes of the rows of one batch whose values don't fit.
#[derive(Debug)]
pub(crate) struct Verdicts<'a> {
    /// The record number of each row.
    numbers: &'a [i64],
    on_bad_row: OnBadRow,
    /// One for each row, as soon as the first is not `Fits`.
    marks: Vec<Mark>,
    /// What is wrong with the first rows of those that don't fit, column by column.
    problems: Vec<(usize, String)>,
    /// How many of them are wanted.
    problems_max: usize,
    /// The first row that ends the query.
    end: Option<(usize, Error)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Fits,
    /// It stays, with a NULL.
    Mended,
    Dropped,
}

/// The rows of a batch that are left.
#[derive(Debug)]
pub(crate) struct Settled {
    /// Their values.
    pub(crate) columns: Vec<ArrayRef>,
    /// Their record numbers.
    pub(crate) numbers: Int64Array,
    /// How many rows were mended or dropped.
    pub(crate) bad_rows: u64,
    /// What is wrong with some of them.
    pub(crate) problems: Vec<String>,
    /// The record behind them that ends the query.
    pub(crate) end: Option<Error>,
}

impl<'a> Verdicts<'a> {
    /// No verdict yet about rows of these record numbers. No more than `problems_max` of those that are mended or
    /// dropped get words.
    pub(crate) fn new(numbers: &'a [i64], on_bad_row: OnBadRow, problems_max: usize) -> Self {
        Self { numbers, on_bad_row, marks: Vec::new(), problems: Vec::new(), problems_max, end: None }
    }

    /// A value of `row` does not fit, and NULL may stand in its place only if `nullable`. False when later rows don't
    /// matter any more.
    pub(crate) fn misfit(&mut self, row: usize, nullable: bool, problem: impl FnOnce() -> String) -> bool {
        let mark = match self.on_bad_row {
            OnBadRow::Fail => {
                self.fatal(row, problem);
                return false;
            }
            OnBadRow::Null if nullable => Mark::Mended,
            OnBadRow::Null | OnBadRow::Skip => Mark::Dropped,
        };
        if self.marks.is_empty() {
            self.marks.resize(self.numbers.len(), Mark::Fits);
        }
        if self.marks[row] == Mark::Fits && self.problems.len() < self.problems_max {
            self.problems.push((row, format!("record {}, {}", self.numbers[row], problem())));
        }
        if self.marks[row] != Mark::Dropped {
            self.marks[row] = mark;
        }
        true
    }

    /// `row` ends the query, unless an earlier one does.
    pub(crate) fn fatal(&mut self, row: usize, problem: impl FnOnce() -> String) {
        if self.end.as_ref().is_none_or(|(first, _)| row < *first) {
            let message = format!("record {}, {}", self.numbers[row], problem());
            self.end = Some((row, Error::new(ErrorKind::Record, message)));
        }
    }

    /// Leaves out the rows that have to go: those that are dropped, and all from the one that ends the query.
    ///
    /// # Errors
    /// None that a text could cause.
    pub(crate) fn settle(mut self, columns: Vec<ArrayRef>) -> Result<Settled> {
        let rows = self.end.as_ref().map_or(self.numbers.len(), |(row, _)| *row);
        self.problems.sort_unstable_by_key(|(row, _)| *row);
        let problems =
            self.problems.into_iter().take_while(|(row, _)| *row < rows).map(|(_, problem)| problem).collect();
        let numbers = Int64Array::from(self.numbers[..rows].to_vec());
        let end = self.end.map(|(_, error)| error);
        let columns: Vec<_> = columns.iter().map(|column| column.slice(0, rows)).collect();
        let marks = self.marks.get(..rows).unwrap_or(&[]);
        let bad_rows = marks.iter().filter(|mark| **mark != Mark::Fits).count() as u64;
        if !marks.contains(&Mark::Dropped) {
            return Ok(Settled { columns, numbers, bad_rows, problems, end });
        }
        let stays: BooleanArray = marks.iter().map(|mark| Some(*mark != Mark::Dropped)).collect();
        let keep = |array: &dyn Array| {
            filter(array, &stays)
                .map_err(|error| Error::new(ErrorKind::Record, "rows can't be dropped").caused_by(error))
        };
        let columns = columns.iter().map(|column| keep(column)).collect::<Result<_>>()?;
        let numbers = Int64Array::from(keep(&numbers)?.to_data());
        Ok(Settled { columns, numbers, bad_rows, problems, end })
    }
}
