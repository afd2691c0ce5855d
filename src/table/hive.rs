//! Columns that an archive's name holds: `archive` itself and hive-style `dt=2022-06-27` segments of its key.
//!
//! Filters on them are decided for each archive while it is listed, before anything is opened.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::catalog::Session;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;

use crate::error::{Error, ErrorKind, Result};
use crate::locator::{hive_values, redacted};
use crate::member::MemberFormat;
use crate::metrics::redact_url;
use crate::store::ArchiveObject;
use crate::table::TarOptions;

/// The columns of an archive's name.
#[derive(Debug, Default)]
pub(super) struct HiveColumns {
    fields: Vec<FieldRef>,
    /// What the table calls the archive's URL, if it has that column.
    archive_column: Option<&'static str>,
}

impl HiveColumns {
    pub(super) fn new(fields: Vec<FieldRef>, options: &TarOptions) -> Self {
        let archive_column = match options.format {
            MemberFormat::Members | MemberFormat::Text | MemberFormat::Lines => Some("archive"),
            _ => options.provenance.then_some("_archive"),
        };
        Self { fields, archive_column }
    }

    pub(super) fn fields(&self) -> &[FieldRef] {
        &self.fields
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.name() == name)
    }

    /// True where `expr` looks at nothing but the archive's name.
    pub(super) fn prunes(&self, expr: &Expr) -> bool {
        let columns = expr.column_refs();
        !columns.is_empty()
            && !expr.is_volatile()
            && columns.iter().all(|column| self.archive_column == Some(column.name()) || self.has(column.name()))
    }

    /// The archives that pass `filters`, with the values of their hive-style columns; no values where there are no such
    /// columns.
    ///
    /// # Errors
    /// A key lacks a column's segment, or its value is none of the column's type; a filter can't be evaluated.
    pub(super) fn prune(
        &self,
        session: &dyn Session,
        mut archives: Vec<ArchiveObject>,
        filters: &[Expr],
    ) -> Result<(Vec<ArchiveObject>, Vec<Vec<ScalarValue>>)> {
        let mut values = match self.fields.is_empty() {
            true => Vec::new(),
            false => archives.iter().map(|archive| self.values(archive)).collect::<Result<Vec<_>>>()?,
        };
        let Some(predicate) = conjunction(filters.iter().filter(|filter| self.prunes(filter)).cloned()) else {
            return Ok((archives, values));
        };
        if archives.is_empty() {
            return Ok((archives, values));
        }
        let keep = self.evaluate(session, &predicate, &archives, &values).map_err(|error| {
            Error::new(ErrorKind::Option, "a filter on archives can't be evaluated").caused_by(error.strip_backtrace())
        })?;
        let (mut keep_archive, mut keep_values) = (keep.iter(), keep.iter());
        archives.retain(|_| keep_archive.next().copied().unwrap_or(false));
        values.retain(|_| keep_values.next().copied().unwrap_or(false));
        Ok((archives, values))
    }

    fn values(&self, archive: &ArchiveObject) -> Result<Vec<ScalarValue>> {
        let names: Vec<String> = self.fields.iter().map(|field| field.name().clone()).collect();
        let Some(values) = hive_values(archive.location.as_ref(), &names) else {
            let message = format!("the key has no '{}=…' segment for each partition column", names.join("=…', '"));
            return Err(Error::new(ErrorKind::Locator, message).in_archive(redacted(&archive.url)));
        };
        let parse = |(field, value): (&FieldRef, String)| {
            ScalarValue::try_from_string(value.clone(), field.data_type()).map_err(|_| {
                let message = format!("'{}={value}' in the key is no {}", field.name(), field.data_type());
                Error::new(ErrorKind::Locator, message).in_archive(redacted(&archive.url))
            })
        };
        self.fields.iter().zip(values).map(parse).collect()
    }

    /// One value an archive: whether it stays.
    fn evaluate(
        &self,
        session: &dyn Session,
        predicate: &Expr,
        archives: &[ArchiveObject],
        values: &[Vec<ScalarValue>],
    ) -> DataFusionResult<Vec<bool>> {
        let archive = self.archive_column.map(|name| Arc::new(Field::new(name, DataType::Utf8View, false)));
        let fields: Vec<FieldRef> = archive.into_iter().chain(self.fields.iter().cloned()).collect();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(fields.len());
        if self.archive_column.is_some() {
            // As the column has them.
            let urls = archives.iter().map(|archive| redact_url(&archive.url));
            columns.push(Arc::new(StringViewArray::from_iter_values(urls)));
        }
        for column in 0..self.fields.len() {
            columns.push(ScalarValue::iter_to_array(values.iter().map(|values| values[column].clone()))?);
        }
        let schema = Arc::new(Schema::new(fields));
        let predicate = session.create_physical_expr(predicate.clone(), &DFSchema::try_from(Arc::clone(&schema))?)?;
        let batch = RecordBatch::try_new(schema, columns)?;
        let keep = predicate.evaluate(&batch)?.into_array(batch.num_rows())?;
        Ok(as_boolean_array(&keep)?.iter().map(|keep| keep == Some(true)).collect())
    }
}
