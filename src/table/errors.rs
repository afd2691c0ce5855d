//! `SELECT * FROM tarsql_errors()`: what the session's last statement over archives skipped, mended or found odd.
//!
//! A row each: what `on_error` and `on_unreachable` left out and what was odd, then records that `on_bad_row` dropped or
//! mended, and last the error that ended the statement, scan by scan. The list is bounded; what did not fit is a row of the
//! kind `left_out`. While a statement runs the list grows; one that reads no archive (`SET`, `SELECT 1`, this one) leaves it
//! as it is. A self-join reads an archive twice, and says so twice.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableFunctionImpl, TableProvider};
use datafusion::datasource::TableType;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

use crate::error::{Error, ErrorKind};
use crate::report::Incident;
use crate::table::scan_log::ScanLog;

/// Name of the table function.
pub(super) const TARSQL_ERRORS: &str = "tarsql_errors";

/// The kind of the row that says how many others there were.
const LEFT_OUT: &str = "left_out";

/// The table function, for one session.
#[derive(Debug)]
pub(super) struct TarsqlErrors {
    pub(super) log: Arc<ScanLog>,
}

impl TableFunctionImpl for TarsqlErrors {
    fn call(&self, arguments: &[Expr]) -> DataFusionResult<Arc<dyn TableProvider>> {
        if !arguments.is_empty() {
            return Err(Error::new(ErrorKind::Option, format!("{TARSQL_ERRORS} takes no arguments")).into());
        }
        Ok(Arc::new(ErrorTable { log: Arc::clone(&self.log), schema: schema() }))
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("archive", DataType::Utf8View, true),
        Field::new("member", DataType::Utf8View, true),
        Field::new("offset", DataType::Int64, true),
        Field::new("kind", DataType::Utf8View, false),
        Field::new("message", DataType::Utf8View, false),
    ]))
}

/// What the log says when it is read: a view over it is always current.
#[derive(Debug)]
struct ErrorTable {
    log: Arc<ScanLog>,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for ErrorTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let batch = self.batch()?;
        Ok(MemorySourceConfig::try_new_exec(&[vec![batch]], self.schema(), projection.cloned())?)
    }
}

impl ErrorTable {
    fn batch(&self) -> DataFusionResult<RecordBatch> {
        let (mut incidents, mut left_out) = (Vec::new(), 0);
        for report in self.log.last() {
            let (noted, more_noted) = report.incidents();
            let (bad_rows, more_bad_rows) = report.bad_rows();
            incidents.extend(noted.into_iter().chain(bad_rows).chain(report.failure()));
            left_out += more_noted + more_bad_rows;
        }
        let rest = (left_out > 0).then(|| format!("{left_out} more were left out of this list"));
        let text = |text: fn(&Incident) -> Option<&str>, last: Option<&str>| {
            let last = rest.as_ref().map(|_| last);
            Arc::new(incidents.iter().map(text).chain(last).collect::<StringViewArray>()) as ArrayRef
        };
        let offset = |incident: &Incident| incident.offset.and_then(|offset| i64::try_from(offset).ok());
        let offsets = incidents.iter().map(offset).chain(rest.as_ref().map(|_| None)).collect::<Int64Array>();
        let columns = vec![
            text(|incident| Some(&incident.archive), None),
            text(|incident| incident.member.as_deref(), None),
            Arc::new(offsets),
            text(|incident| Some(incident.kind), Some(LEFT_OUT)),
            text(|incident| Some(&incident.message), rest.as_deref()),
        ];
        Ok(RecordBatch::try_new(self.schema(), columns)?)
    }
}
