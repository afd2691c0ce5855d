//! The columns of a table, found in the fields of a writer's schema.
//!
//! Names match exactly, or else in any case. The types are Avro's as arrow-avro has them, less its notes in the metadata,
//! and with views for text; where the table wants another type, values are cast. (arrow-avro 59 could make the views
//! itself, but turns NULL into empty text when it does.)

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options, filter, filter_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use crate::batch::internal;
use crate::error::{Error, ErrorKind, Result};
use crate::member::{MissingColumn, RecordOptions, Records};
use crate::policy::OnBadRow;

/// `field` without arrow-avro's metadata, its text as views, enums as text; may be NULL.
pub(super) fn plain(field: &Field) -> Field {
    Field::new(field.name(), plain_type(field.data_type()), true)
}

fn plain_type(data_type: &DataType) -> DataType {
    // Inside, what can't be NULL stays so: keys of maps, for one, must not.
    let inner =
        |field: &FieldRef| Arc::new(Field::new(field.name(), plain_type(field.data_type()), field.is_nullable()));
    match data_type {
        DataType::Utf8 | DataType::Dictionary(..) => DataType::Utf8View,
        DataType::List(element) => DataType::List(inner(element)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries), *sorted),
        other => other.clone(),
    }
}

/// How the projected columns of the table come out of the records of one container.
#[derive(Debug)]
pub(super) struct Columns {
    /// The table's, projected.
    schema: SchemaRef,
    /// The writer's fields that are needed, each once, in the writer's order.
    pub(super) needed: Vec<usize>,
    /// For each projected column, where in `needed` it is; none where the container lacks it.
    places: Vec<Option<usize>>,
}

impl Columns {
    /// # Errors
    /// A column that the writer's schema has not, or whose type can't become the table's.
    pub(super) fn new(options: &RecordOptions, writer: &Schema) -> Result<Self> {
        let schema = Arc::new(options.schema.project(&options.projection).map_err(internal)?);
        let mut fields = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let Some(at) = find(writer, field.name(), options.missing_column)? else {
                fields.push(None);
                continue;
            };
            let from = writer.field(at).data_type();
            if from != field.data_type() && !can_cast_types(from, field.data_type()) {
                let what = format!("column '{}' of type {from} can't be read as {}", field.name(), field.data_type());
                return Err(Error::new(ErrorKind::Schema, what));
            }
            fields.push(Some(at));
        }
        // Every declared column has to be there, asked for or not.
        options
            .schema
            .fields()
            .iter()
            .try_for_each(|field| find(writer, field.name(), options.missing_column).map(|_| ()))?;
        let mut needed: Vec<usize> = fields.iter().flatten().copied().collect();
        needed.sort_unstable();
        needed.dedup();
        let place = |at: usize| needed.partition_point(|&other| other < at);
        let places = fields.into_iter().map(|at| at.map(place)).collect();
        Ok(Self { schema, needed, places })
    }

    /// Rows of a container that has none of the projected columns.
    pub(super) fn nulls(&self, rows: usize) -> RecordBatch {
        let columns = self.schema.fields().iter().map(|field| new_null_array(field.data_type(), rows)).collect();
        let count = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &count)
            .expect("only columns that were inferred may be missing, and all of these may be NULL")
    }

    /// The table's columns of `decoded`, whose columns are those of `needed`. The first record is number `first`.
    ///
    /// # Errors
    /// A value that does not become the table's type, where the policy says `fail`.
    pub(super) fn convert(&self, decoded: &RecordBatch, first: i64, options: &RecordOptions) -> Result<Records> {
        let rows = decoded.num_rows();
        let mut bad = vec![false; rows];
        let mut problems = Vec::new();
        let problems_max = options.bad_rows.room();
        let mut columns = Vec::with_capacity(self.places.len());
        for (field, &place) in self.schema.fields().iter().zip(&self.places) {
            let Some(place) = place else {
                columns.push(new_null_array(field.data_type(), rows));
                continue;
            };
            let column = decoded.column(place);
            let problem = |row: usize, cause: &str| {
                let number = first.saturating_add(i64::try_from(row).unwrap_or(i64::MAX));
                format!("record {number}: the value of column '{}' is no {}: {cause}", field.name(), field.data_type())
            };
            let misfits = &mut |row: usize, cause: String| match options.on_bad_row {
                OnBadRow::Fail => Err(Error::new(ErrorKind::Record, problem(row, &cause))),
                OnBadRow::Skip | OnBadRow::Null => {
                    if !bad[row] && problems.len() < problems_max {
                        problems.push(problem(row, &cause));
                    }
                    bad[row] = true;
                    Ok(())
                }
            };
            columns.push(cast(column, field.data_type(), misfits)?);
        }
        let count = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &count).map_err(internal)?;
        let row_numbers = Int64Array::from_iter_values((first..).take(rows));
        let bad_rows = bad.iter().filter(|&&bad| bad).count();
        options.bad_rows.add_all(bad_rows as u64, problems);
        if bad_rows == 0 || options.on_bad_row != OnBadRow::Skip {
            return Ok(Records { batch, row_numbers });
        }
        let good = BooleanArray::from_iter(bad.iter().map(|bad| Some(!bad)));
        let numbers = filter(&row_numbers, &good).map_err(internal)?;
        let row_numbers = Int64Array::from(numbers.to_data());
        Ok(Records { batch: filter_record_batch(&batch, &good).map_err(internal)?, row_numbers })
    }
}

fn find(writer: &Schema, name: &str, missing: MissingColumn) -> Result<Option<usize>> {
    let position = |same: &dyn Fn(&str) -> bool| writer.fields().iter().position(|field| same(field.name()));
    let found = position(&|field| field == name).or_else(|| position(&|field| field.eq_ignore_ascii_case(name)));
    if found.is_some() || missing == MissingColumn::Null {
        return Ok(found);
    }
    let names: Vec<_> = writer.fields().iter().map(|field| format!("'{}'", field.name())).collect();
    Err(Error::new(ErrorKind::Member, format!("the container has no column '{name}': it has {}", names.join(", "))))
}

/// `misfit` is told of each row that does not cast; what is there becomes NULL.
fn cast(column: &ArrayRef, wanted: &DataType, misfit: &mut dyn FnMut(usize, String) -> Result<()>) -> Result<ArrayRef> {
    if column.data_type() == wanted {
        return Ok(Arc::clone(column));
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    if let Ok(column) = cast_with_options(column, wanted, &strict) {
        return Ok(column);
    }
    // Rare: find the rows one by one, as a NULL deep inside a value tells nothing.
    for row in 0..column.len() {
        if let Err(error) = cast_with_options(&column.slice(row, 1), wanted, &strict) {
            misfit(row, error.to_string())?;
        }
    }
    cast_with_options(column, wanted, &CastOptions::default()).map_err(internal)
}
