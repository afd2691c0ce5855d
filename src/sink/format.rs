//! The engine's file formats, but for how they write: a COPY or INSERT goes through a [`PublishExec`].

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{GetExt, Statistics};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::file_format::{FileFormat, FileFormatFactory, FileMeta};
use datafusion::datasource::physical_plan::{FileScanConfig, FileSinkConfig, FileSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::physical_expr::{LexOrdering, LexRequirement};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use object_store::{ObjectMeta, ObjectStore};

use super::exec::PublishExec;
use super::options::TargetOptions;
use super::parquet::ParquetSinkExec;
use super::publish::Manners;
use super::target::TargetUrl;

/// Endings of the formats that COPY can write.
const WRITTEN: [&str; 4] = ["parquet", "csv", "json", "arrow"];

/// Gives `ctx` the formats of this file, in place of those that it has.
///
/// # Errors
/// `ctx` refuses the registration.
pub(crate) fn register(ctx: &SessionContext) -> Result<()> {
    let state = ctx.state_ref();
    let mut state = state.write();
    for ending in WRITTEN {
        let Some(inner) = state.get_file_format_factory(ending) else { continue };
        if !inner.is::<PublishedFormatFactory>() {
            state.register_file_format(Arc::new(PublishedFormatFactory { inner }), true)?;
        }
    }
    Ok(())
}

/// Makes formats that publish whole or not at all.
#[derive(Debug)]
pub(super) struct PublishedFormatFactory {
    inner: Arc<dyn FileFormatFactory>,
}

impl FileFormatFactory for PublishedFormatFactory {
    fn create(&self, state: &dyn Session, options: &HashMap<String, String>) -> Result<Arc<dyn FileFormat>> {
        let mut options = options.clone();
        let is_parquet = self.get_ext() == WRITTEN[0];
        let target = TargetOptions::take(&mut options, is_parquet)?;
        Ok(Arc::new(PublishedFormat { inner: self.inner.create(state, &options)?, target }))
    }

    fn default(&self) -> Arc<dyn FileFormat> {
        Arc::new(PublishedFormat { inner: self.inner.default(), target: TargetOptions::default() })
    }
}

impl GetExt for PublishedFormatFactory {
    fn get_ext(&self) -> String {
        self.inner.get_ext()
    }
}

/// A format of the engine that publishes whole or not at all. All else is the engine's.
#[derive(Debug)]
pub(super) struct PublishedFormat {
    inner: Arc<dyn FileFormat>,
    target: TargetOptions,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl FileFormat for PublishedFormat {
    fn get_ext(&self) -> String {
        self.inner.get_ext()
    }

    fn get_ext_with_compression(&self, compression: &FileCompressionType) -> Result<String> {
        self.inner.get_ext_with_compression(compression)
    }

    fn compression_type(&self) -> Option<FileCompressionType> {
        self.inner.compression_type()
    }

    async fn infer_schema(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        objects: &[ObjectMeta],
    ) -> Result<SchemaRef> {
        self.inner.infer_schema(state, store, objects).await
    }

    async fn infer_stats(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        table_schema: SchemaRef,
        object: &ObjectMeta,
    ) -> Result<Statistics> {
        self.inner.infer_stats(state, store, table_schema, object).await
    }

    async fn infer_ordering(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        table_schema: SchemaRef,
        object: &ObjectMeta,
    ) -> Result<Option<LexOrdering>> {
        self.inner.infer_ordering(state, store, table_schema, object).await
    }

    async fn infer_stats_and_ordering(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        table_schema: SchemaRef,
        object: &ObjectMeta,
    ) -> Result<FileMeta> {
        self.inner.infer_stats_and_ordering(state, store, table_schema, object).await
    }

    async fn create_physical_plan(
        &self,
        state: &dyn Session,
        config: FileScanConfig,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.inner.create_physical_plan(state, config).await
    }

    async fn create_writer_physical_plan(
        &self,
        input: Arc<dyn ExecutionPlan>,
        state: &dyn Session,
        config: FileSinkConfig,
        order: Option<LexRequirement>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // The engine says what it does not do (INSERT OVERWRITE).
        if config.insert_op != InsertOp::Append {
            return self.inner.create_writer_physical_plan(input, state, config, order).await;
        }
        // An INSERT has files of a table behind it, not a URL that somebody wrote.
        let is_insert = config.original_url.is_empty();
        let target = TargetUrl::of(&config, !is_insert)?;
        let mode = self.target.mode(is_insert, target.is_directory)?;
        let sink: Arc<dyn ExecutionPlan> = match self.inner.downcast_ref::<ParquetFormat>() {
            // Where chunks are cut by content depends on all rows before, so that one encoder has to see every row.
            Some(parquet) if !parquet.options().global.content_defined_chunking.enabled => Arc::new(
                ParquetSinkExec::try_new(input, state, config, parquet.options(), self.target.max_file_bytes, order)?,
            ),
            _ => self.inner.create_writer_physical_plan(input, state, config, order).await?,
        };
        Ok(Arc::new(PublishExec::new(sink, target, Manners { mode, is_insert })))
    }

    fn file_source(&self, table_schema: TableSchema) -> Arc<dyn FileSource> {
        self.inner.file_source(table_schema)
    }
}
