//! Tar archives as DataFusion tables.
//!
//! The main entry points are [`TarTable`], which is a `TableProvider`, and [`register`](crate::register), which puts it
//! behind SQL. A scan is the stock `DataSourceExec` over a [`TarSource`]. DataFusion lives here and above, nowhere below.

mod ahead;
mod bundle;
mod columns;
mod config;
mod errors;
mod filter;
mod hive;
mod infer;
mod io_runtime;
mod memory;
mod options;
mod plan;
mod planning;
mod registry;
mod run;
mod scan_log;
mod source;
mod sql;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use tokio::runtime::Handle;
use url::Url;

pub use self::config::TarsqlConfig;
pub use self::io_runtime::IoRuntime;
pub use self::options::TarOptions;
pub use self::plan::Partitioning;
pub use self::registry::StoreRegistry;
pub use self::run::{Progress, measure, progress, reports, written};
pub use self::source::TarSource;
pub use self::sql::{register, register_url_tables};

use self::bundle::{Bundling, fetch_target};
use self::hive::HiveColumns;
use self::io_runtime::run_on;
use self::scan_log::ScanLog;
use crate::error::{Error, ErrorKind, Result};
use crate::locator::{Locator, Scheme};
use crate::member::{MemberFormat, MissingColumn};
use crate::policy::{OnError, OnUnreachable};
use crate::report::{ListingReport, PartitionReport, ScanReport};
use crate::scan::ScanOptions;
use crate::schema::{lines_schema, members_schema, provenance_fields, text_schema};
use crate::stats::Stats;
use crate::store::{Connection, FetchSettings, FetchTarget, Listing, Purpose, Stores, list};

/// Locators of one table that are listed, or looked into, at once: each waits for its store.
const LOCATORS_AT_ONCE: usize = 16;

/// One or several locators as a table.
///
/// The schema is fixed when the table is made; every scan lists the archives anew.
///
/// ```
/// use std::sync::Arc;
///
/// use datafusion::prelude::SessionContext;
/// use tarsql::{TarOptions, TarTable};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ctx = SessionContext::new();
/// let locator = "testdata/opensky/states/**/*.csv.tar :: *.csv.gz";
/// let table = TarTable::open(&ctx.state(), locator, TarOptions::csv().columns(
///     Arc::new(arrow::datatypes::Schema::new(vec![
///         arrow::datatypes::Field::new("icao24", arrow::datatypes::DataType::Utf8View, true),
///     ])),
/// ).on_bad_row(tarsql::OnBadRow::Skip)).await?;
/// ctx.register_table("states", Arc::new(table))?;
/// let aircraft = ctx.sql("SELECT count(DISTINCT icao24) AS aircraft FROM states").await?.collect().await?;
/// assert_eq!(aircraft[0].num_rows(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TarTable {
    locators: Vec<Locator>,
    options: TarOptions,
    file_schema: SchemaRef,
    hive: HiveColumns,
    table_schema: TableSchema,
    stores: Arc<Stores>,
    definition: Option<String>,
    /// What inference did; the first scan tells of it.
    planned: Mutex<Arc<Stats>>,
}

/// What a table is made of, before its schema is known.
pub(crate) struct TableParts {
    pub(crate) locators: Vec<Locator>,
    pub(crate) options: TarOptions,
    /// The hive-style columns of the archives' keys.
    pub(crate) hive: Vec<FieldRef>,
    pub(crate) definition: Option<String>,
}

impl TarTable {
    /// The table of one locator. A record format without `columns` looks into some archives to infer them.
    ///
    /// # Errors
    /// The locator or the options are wrong; for a record format without columns also what listing and reading meet.
    pub async fn open(session: &dyn Session, locator: &str, options: TarOptions) -> Result<Self> {
        Self::open_all(session, [locator], options).await
    }

    /// The table of several locators: the rows of all of them, in no order.
    ///
    /// # Errors
    /// As [`TarTable::open`].
    pub async fn open_all(
        session: &dyn Session,
        locators: impl IntoIterator<Item = &str>,
        options: TarOptions,
    ) -> Result<Self> {
        let locators = locators.into_iter().map(Locator::parse).collect::<Result<Vec<_>>>()?;
        let parts = TableParts { locators, options, hive: Vec::new(), definition: None };
        Self::from_parts(session, parts, stores_of(session)).await
    }

    pub(crate) async fn from_parts(session: &dyn Session, parts: TableParts, stores: Arc<Stores>) -> Result<Self> {
        let TableParts { locators, options, hive, definition } = parts;
        options.validate()?;
        if locators.is_empty() {
            return Err(Error::new(ErrorKind::Locator, "no locator is given: name at least one archive"));
        }
        let hive = HiveColumns::new(hive, &options);
        let mut table = Self {
            locators,
            options,
            file_schema: Arc::new(Schema::empty()),
            table_schema: TableSchema::from(Arc::new(Schema::empty())),
            hive,
            stores,
            definition,
            planned: Mutex::default(),
        };
        table.file_schema = table.resolve_schema(session).await?;
        table.table_schema = TableSchema::builder(Arc::clone(&table.file_schema))
            .with_table_partition_cols(table.hive.fields().to_vec())
            .build();
        check_names(table.table_schema.table_schema())?;
        Ok(table)
    }

    async fn resolve_schema(&self, session: &dyn Session) -> Result<SchemaRef> {
        let records = match (self.options.format, &self.options.columns) {
            (MemberFormat::Members, _) => return Ok(members_schema()),
            (MemberFormat::Text, _) => return Ok(text_schema()),
            (MemberFormat::Lines, _) => return Ok(lines_schema()),
            (_, Some(columns)) => Arc::clone(columns),
            (_, None) => Arc::new(self.infer(session).await.inspect_err(|error| {
                let first = self.locators.first().map(Locator::to_string).unwrap_or_default();
                ScanLog::fail(session, &first, error);
            })?),
        };
        let provenance = self.options.provenance.then(provenance_fields).into_iter().flatten().map(Arc::new);
        let own = records.fields().iter().filter(|field| !self.hive.has(field.name())).cloned();
        Ok(Arc::new(Schema::new(own.chain(provenance).collect::<Vec<_>>())))
    }

    async fn infer(&self, session: &dyn Session) -> Result<Schema> {
        let planned = Arc::clone(&self.planned.lock().unwrap_or_else(PoisonError::into_inner));
        let schemas: Vec<_> =
            self.locators.iter().map(|locator| self.infer_locator(session, locator, &planned)).collect();
        let schemas: Vec<_> = stream::iter(schemas).buffered(LOCATORS_AT_ONCE).try_collect().await?;
        Ok(crate::member::unite::unite(schemas))
    }

    async fn infer_locator(&self, session: &dyn Session, locator: &Locator, planned: &Arc<Stats>) -> Result<Schema> {
        let options = self.options.or_session(&session_config(session));
        let connection = self.connect(session, locator, &options)?;
        let runtime = IoRuntime::of(session);
        let archives = self.list(runtime.as_ref(), &connection, locator, &options, planned).await?.archives;
        let mut scan = scan_options(&options, Arc::new(Schema::empty()), locator);
        scan.fetch.runtime = runtime;
        let first = archives.iter().take(infer::ARCHIVES_MAX);
        let targets: Vec<FetchTarget> = first.map(|archive| fetch_target(archive, &connection.store)).collect();
        let readers = infer::ARCHIVES_MAX * self.locators.len().min(LOCATORS_AT_ONCE);
        let (memory, _) = memory::memory_of(session, readers);
        infer::infer(&targets, &scan, options.infer_records(), &memory, planned).await
    }

    /// The archives of one locator; what the policies let pass of those that can't be had is among the refused ones.
    async fn list(
        &self,
        runtime: Option<&Handle>,
        connection: &Connection,
        locator: &Locator,
        options: &TarOptions,
        stats: &Stats,
    ) -> Result<Listing> {
        let passes = |error: &Error| match error.kind() {
            ErrorKind::Unreachable => options.on_unreachable == Some(OnUnreachable::Skip),
            ErrorKind::Archive => options.on_error == Some(OnError::Skip),
            _ => false,
        };
        let (locator, connection, policy) = (locator.clone(), connection.clone(), options.retry_policy());
        let counted = Arc::new(Stats::default());
        let counting = Arc::clone(&counted);
        let listed = run_on(runtime, async move { list(&locator, &connection, &policy, &counting).await }).await;
        stats.merge(&counted);
        match listed {
            Ok(listing) => listing.unless_refused(passes),
            Err(error) if passes(&error) => Ok(Listing::refused(error)),
            Err(error) => Err(error),
        }
    }

    /// The store of `locator`: what the session knows for it, unless the table has settings of its own.
    fn connect(&self, session: &dyn Session, locator: &Locator, options: &TarOptions) -> Result<Connection> {
        let store = locator.store();
        let own = !options.store.is_empty() || matches!(store.scheme(), Scheme::File);
        if !own && let Some(store) = registered_store(session, &store.registry_url()) {
            return Ok(Connection { store, pager: None });
        }
        let (authority, settings) = (store.connect_authority(), options.store_options(store.scheme()));
        let connected = self.stores.connection(store.scheme().as_str(), &authority, &settings, Purpose::Read);
        connected.map_err(|error| error.in_archive(locator.to_string()))
    }

    /// Lists the archives of one locator, for a scan.
    async fn listed(&self, session: &dyn Session, locator: &Locator) -> Result<Listed> {
        let options = self.options.or_session(&session_config(session));
        let (start, stats) = (Instant::now(), Stats::default());
        let connection = self.connect(session, locator, &options)?;
        let listing = self.list(IoRuntime::of(session).as_ref(), &connection, locator, &options, &stats).await?;
        Ok(Listed { store: connection.store, listing, stats, duration: start.elapsed() })
    }

    /// The plan of one locator: member globs differ between locators, so each has a leaf of its own.
    fn scan_locator(
        &self,
        session: &dyn Session,
        locator: &Locator,
        listed: Listed,
        query: &ScanQuery<'_>,
    ) -> DataFusionResult<Option<Arc<dyn ExecutionPlan>>> {
        let config = session_config(session);
        let options = self.options.or_session(&config);
        let Listed { store, listing: Listing { archives, refused, .. }, stats: listed, duration } = listed;
        let (archives, values) = self.hive.prune(session, archives, query.filters)?;
        let repeat = options.repeat.unwrap_or(1);
        let listing = ListingReport {
            files: (archives.len() * repeat + refused.len()) as u64,
            bytes: bundle::bytes_of(&archives).saturating_mul(repeat as u64),
            duration,
        };
        let by_archive = options.partitioning == Some(Partitioning::Archive);
        let bundling = if by_archive { Bundling::Never } else { Bundling::Auto };
        let files = bundle::files(archives, &values, &store, bundling);
        let files: Vec<PartitionedFile> = std::iter::repeat_n(files, repeat).flatten().collect();
        if files.is_empty() && refused.is_empty() {
            return Ok(None);
        }
        let max_partitions = match config.max_partitions {
            _ if by_archive => usize::MAX,
            Some(max) => max,
            None => plan::default_max_partitions(session.config().target_partitions()),
        };
        let memory_max = if by_archive { usize::MAX } else { memory::partitions_max(session) };
        let groups = file_groups(files, max_partitions.min(memory_max));
        let members = locator.member().map(|members| format!("{locator} :: {members}"));
        let report = Arc::new(ScanReport::new(listing, groups.len()).of_members(members));
        let planned = std::mem::take(&mut *self.planned.lock().unwrap_or_else(PoisonError::into_inner));
        // Neither belongs to a partition, and neither counts as reading; but what they had to repeat is to be known.
        if let Some(PartitionReport { stats, .. }) = report.partitions.first() {
            stats.retries.add(listed.retries.value() + planned.retries.value());
            stats.resumed_bytes.add(planned.resumed_bytes.value());
        }
        refused.iter().for_each(|error| report.skipped_archive(0, error.archive().unwrap_or_default(), error));
        let mut scan = scan_options(&options, Arc::clone(&self.file_schema), locator);
        scan.fetch.runtime = IoRuntime::of(session);
        let statement = ScanLog::plan(session, &report);
        let source = TarSource::new(self.table_schema.clone(), Arc::new(scan), report, statement)
            .with_memory(memory::memory_of(session, groups.len()))
            .with_cores(session.config().target_partitions());
        // The archives carry their own stores: this URL only has to be one that every session knows.
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_file_groups(groups)
            .with_projection_indices(query.projection.cloned())?
            .with_limit(query.limit)
            // Archives that stay where they were dealt: DataFusion's name for no work stealing.
            .with_preserve_order(by_archive)
            .build();
        Ok(Some(DataSourceExec::from_data_source(config)))
    }
}

/// The archives of one locator, and what it took to list them.
struct Listed {
    store: Arc<dyn ObjectStore>,
    listing: Listing,
    stats: Stats,
    duration: Duration,
}

/// What a query asks of a scan.
struct ScanQuery<'a> {
    projection: Option<&'a Vec<usize>>,
    filters: &'a [Expr],
    limit: Option<usize>,
}

#[async_trait]
impl TableProvider for TarTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.table_schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_table_definition(&self) -> Option<&str> {
        self.definition.as_deref()
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let query = ScanQuery { projection, filters, limit };
        let mut plans = Vec::new();
        let listed: Vec<_> = self.locators.iter().map(|locator| self.listed(session, locator)).collect();
        let mut listed = stream::iter(listed).buffered(LOCATORS_AT_ONCE).zip(stream::iter(&self.locators));
        while let Some((listed, locator)) = listed.next().await {
            let plan =
                listed.map_err(Into::into).and_then(|listed| self.scan_locator(session, locator, listed, &query));
            let plan = plan.inspect_err(|error| ScanLog::fail_wrapped(session, &locator.to_string(), error));
            plans.extend(plan?);
        }
        match plans.len() {
            0 => {
                let schema = match projection {
                    Some(projection) => Arc::new(self.schema().project(projection)?),
                    None => self.schema(),
                };
                Ok(Arc::new(datafusion::physical_plan::empty::EmptyExec::new(schema)))
            }
            1 => Ok(plans.swap_remove(0)),
            _ => datafusion::physical_plan::union::UnionExec::try_new(plans),
        }
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| match self.hive.prunes(filter) {
                true => TableProviderFilterPushDown::Exact,
                false => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }
}

fn file_groups(files: Vec<PartitionedFile>, max_partitions: usize) -> Vec<FileGroup> {
    let sizes: Vec<u64> = files.iter().map(|file| file.object_meta.size).collect();
    let mut files: Vec<Option<PartitionedFile>> = files.into_iter().map(Some).collect();
    let deal = plan::deal(&sizes, max_partitions);
    if deal.is_empty() {
        // Nothing to read, but something to report.
        return vec![FileGroup::default()];
    }
    deal.into_iter()
        .map(|archives| archives.into_iter().filter_map(|archive| files[archive].take()).collect())
        .collect()
}

fn scan_options(options: &TarOptions, schema: SchemaRef, locator: &Locator) -> ScanOptions {
    ScanOptions {
        format: options.format,
        schema,
        provenance: options.provenance,
        missing_column: if options.columns.is_some() { MissingColumn::Fail } else { MissingColumn::Null },
        members: locator.member_glob().cloned(),
        archive_compression: options.archive_compression,
        csv: options.csv_options(),
        on_error: options.on_error.unwrap_or_default(),
        on_unreachable: options.on_unreachable.unwrap_or_default(),
        on_bad_row: options.on_bad_row.unwrap_or_default(),
        on_invalid_utf8: options.on_invalid_utf8.unwrap_or_default(),
        fetch: FetchSettings { retry: options.retry_policy(), ..FetchSettings::measured() },
    }
}

fn session_config(session: &dyn Session) -> TarsqlConfig {
    session.config_options().extensions.get::<TarsqlConfig>().cloned().unwrap_or_default()
}

/// What somebody registered for `url` with the session; our own registry would make one up, without our retries.
fn registered_store(session: &dyn Session, url: &str) -> Option<Arc<dyn ObjectStore>> {
    let url = Url::parse(url).ok()?;
    match session.config().get_extension::<StoreRegistry>() {
        Some(registry) => registry.registered(&url),
        None => session.runtime_env().object_store_registry.get_store(&url).ok(),
    }
}

/// The session's connections; a session that was never registered gets some of its own.
fn stores_of(session: &dyn Session) -> Arc<Stores> {
    session.config().get_extension::<Stores>().unwrap_or_default()
}

fn check_names(schema: &Schema) -> Result<()> {
    let mut names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            let message = format!("there are two columns '{}': declare the columns (option 'columns')", pair[0]);
            Err(Error::new(ErrorKind::Schema, message))
        }
        None => Ok(()),
    }
}

/// Our errors travel through the engine unchanged, so that whoever shows them can find them again.
impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

/// A nullable text column.
fn text_field(name: &str) -> FieldRef {
    Arc::new(Field::new(name, arrow::datatypes::DataType::Utf8View, true))
}
