//! `columns = 'time BIGINT, icao24 VARCHAR, …'`: a column list in SQL becomes a schema.
//!
//! DataFusion's own parser and type planner read it, so that every type which `CREATE TABLE` knows works here.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{TableReference, plan_err};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::planner::ContextProvider;
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::planner::SqlToRel;

use crate::error::{Error, ErrorKind, Result};

/// The schema that `text` declares.
///
/// # Errors
/// `text` is no column list; the message has the parser's words.
pub(crate) fn parse_columns(text: &str) -> Result<SchemaRef> {
    let refuse = |reason: String| {
        let example = "'time BIGINT, icao24 VARCHAR'";
        Error::new(
            ErrorKind::Option,
            format!("option 'columns' can't be read, it is a list such as {example}: {reason}"),
        )
    };
    let sql = format!("CREATE EXTERNAL TABLE t ({text}) STORED AS TAR LOCATION 'l'");
    let statements = DFParser::parse_sql(&sql).map_err(|error| refuse(error.strip_backtrace()))?;
    let mut statements = statements.into_iter();
    let (Some(Statement::CreateExternalTable(table)), None) = (statements.next(), statements.next()) else {
        return Err(refuse("it is more than a column list".to_owned()));
    };
    if table.columns.is_empty() || !table.constraints.is_empty() {
        return Err(refuse("it has constraints, or no columns".to_owned()));
    }
    let planner = SqlToRel::new(&NoTables);
    let schema = planner.build_schema(table.columns).map_err(|error| refuse(error.strip_backtrace()))?;
    let mut names = HashSet::new();
    if let Some(field) = schema.fields().iter().find(|field| !names.insert(field.name())) {
        return Err(refuse(format!("there are two columns '{}'", field.name())));
    }
    Ok(Arc::new(schema))
}

/// A planner's surroundings with nothing in them: types need none.
struct NoTables;

impl ContextProvider for NoTables {
    fn get_table_source(&self, name: TableReference) -> DataFusionResult<Arc<dyn TableSource>> {
        plan_err!("no table {name} in a column list")
    }

    fn get_function_meta(&self, _name: &str) -> Option<Arc<ScalarUDF>> {
        None
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, _name: &str) -> Option<Arc<AggregateUDF>> {
        None
    }

    fn get_window_meta(&self, _name: &str) -> Option<Arc<WindowUDF>> {
        None
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        static OPTIONS: std::sync::LazyLock<ConfigOptions> = std::sync::LazyLock::new(ConfigOptions::default);
        &OPTIONS
    }

    fn udf_names(&self) -> Vec<String> {
        vec![]
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        vec![]
    }

    fn udaf_names(&self) -> Vec<String> {
        vec![]
    }

    fn udwf_names(&self) -> Vec<String> {
        vec![]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_datafusions() {
        let schema = parse_columns("time BIGINT, icao24 VARCHAR, \"Lat\" DOUBLE NOT NULL, at TIMESTAMP").unwrap();
        let types: Vec<String> = schema.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect();
        assert_eq!(types, ["time Int64", "icao24 Utf8View", "Lat Float64", "at Timestamp(ns)"]);
        assert!(!schema.field(2).is_nullable());
    }

    #[test]
    fn what_is_no_column_list_is_refused() {
        for text in ["", "a", "a BIGINT, a BIGINT", "a BIGINT) STORED AS TAR LOCATION 'x'; SELECT (1", "a NOTATYPE"] {
            let error = parse_columns(text).expect_err(text).to_string();
            assert!(error.starts_with("option 'columns' can't be read"), "{error}");
        }
    }
}
