//! DataFusion's filters as the scan wants them: split by what they look at, and evaluated on our batches.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::Schema;
use datafusion::common::cast::as_boolean_array;
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr::{PhysicalExpr, conjunction};

use crate::error::{Error, ErrorKind, Result};
use crate::scan::{FilteredBy, RowFilter};
use crate::schema::HeaderColumn;

/// A physical expression whose columns are those of the batches that it is given.
struct ExprFilter(Arc<dyn PhysicalExpr>);

impl RowFilter for ExprFilter {
    fn keep(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let keep = || as_boolean_array(&self.0.evaluate(batch)?.into_array(batch.num_rows())?).cloned();
        keep().map_err(|error| {
            Error::new(ErrorKind::Record, "a filter can't be evaluated").caused_by(error.strip_backtrace())
        })
    }
}

/// The columns that `expr` looks at, ascending.
pub(super) fn columns_of(expr: &Arc<dyn PhysicalExpr>) -> Vec<usize> {
    let mut columns: Vec<usize> = collect_columns(expr).iter().map(|column| column.index()).collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// Filters of a member table, split: those on header columns alone, and the rest.
///
/// # Errors
/// An expression names a column that `schema` has not.
pub(super) fn split(
    filters: &[Arc<dyn PhysicalExpr>],
    schema: &Schema,
) -> DataFusionResult<(Option<FilteredBy>, Option<FilteredBy>)> {
    let on_header =
        |filter: &&Arc<dyn PhysicalExpr>| columns_of(filter).iter().all(|&column| column < HeaderColumn::ALL.len());
    let (header, rows): (Vec<_>, Vec<_>) = filters.iter().partition(on_header);
    Ok((filtered_by(header, schema)?, filtered_by(rows, schema)?))
}

fn filtered_by(filters: Vec<&Arc<dyn PhysicalExpr>>, schema: &Schema) -> DataFusionResult<Option<FilteredBy>> {
    if filters.is_empty() {
        return Ok(None);
    }
    let filter = conjunction(filters.into_iter().cloned());
    let columns = columns_of(&filter);
    let filter = reassign_expr_columns(filter, &schema.project(&columns)?)?;
    Ok(Some(FilteredBy { filter: Arc::new(ExprFilter(filter)), columns }))
}
