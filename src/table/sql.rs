//! The doors from SQL: `read_tar(…)`, `STORED AS TAR`, `FROM 'url.tar'`, `SET tarsql.…` and `tarsql_errors()`.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use arrow::datatypes::FieldRef;
use async_trait::async_trait;
use datafusion::catalog::{DynamicFileCatalog, Session, TableProvider, TableProviderFactory, UrlTableFactory};
use datafusion::common::plan_err;
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::SessionState;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::sqlparser::ast::BinaryOperator;
use datafusion::logical_expr::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, ObjectName, TableFactor, UnaryOperator, Value,
};
use datafusion::logical_expr::{CreateExternalTable, LogicalPlanBuilder};
use datafusion::prelude::SessionContext;
use parking_lot::RwLock;

use crate::error::{Error, ErrorKind, Result};
use crate::locator::Locator;
use crate::metrics::redact;
use crate::sink;
use crate::store::Stores;
use crate::table::errors::{TARSQL_ERRORS, TarsqlErrors};
use crate::table::scan_log::ScanLog;
use crate::table::{TableParts, TarOptions, TarTable, TarsqlConfig, planning, stores_of, text_field};

/// Name of the table function.
const READ_TAR: &str = "read_tar";

/// Endings of names that `FROM '…'` takes for archives. What they are is still told by their bytes.
const ARCHIVE_ENDINGS: [&str; 14] = [
    ".tar",
    ".tar.gz",
    ".tgz",
    ".tar.zst",
    ".tar.zstd",
    ".tzst",
    ".tar.bz2",
    ".tbz2",
    ".tbz",
    ".tar.xz",
    ".txz",
    ".tar.lz4",
    ".tlz4",
    ".crate",
];

/// Gives `ctx` tar archives: `read_tar(…)`, `CREATE EXTERNAL TABLE … STORED AS TAR`, `SET tarsql.…`, and
/// `tarsql_errors()`, which lists what the last statement over archives skipped, mended or found odd.
///
/// ```
/// use datafusion::prelude::SessionContext;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ctx = SessionContext::new();
/// tarsql::register(&ctx)?;
/// let members = ctx.sql("SELECT path, size FROM read_tar('testdata/opensky/states/**/*.csv.tar')").await?;
/// assert!(members.count().await? > 0);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `ctx` refuses the registration.
pub fn register(ctx: &SessionContext) -> DataFusionResult<()> {
    {
        let state = ctx.state_ref();
        let mut state = state.write();
        state.table_factories_mut().insert("TAR".to_owned(), Arc::new(TarTableFactory));
        let config = state.config_mut();
        if config.options().extensions.get::<TarsqlConfig>().is_none() {
            config.options_mut().extensions.insert(TarsqlConfig::default());
        }
        if config.get_extension::<Stores>().is_none() {
            config.set_extension(Arc::new(Stores::default()));
        }
        let log = config.get_extension::<ScanLog>().unwrap_or_default();
        config.set_extension(Arc::clone(&log));
        state.register_udtf(TARSQL_ERRORS, Arc::new(TarsqlErrors { log }));
    }
    sink::register(ctx)?;
    // Planning waits on a runtime of its own, and a connection belongs to the runtime that made it.
    let stores = Arc::new(Stores::default());
    ctx.register_relation_planner(Arc::new(ReadTar { session: ctx.state_weak_ref(), stores }))
}

/// Gives `ctx` archives as tables by their name: `SELECT … FROM 's3://b/x.tar.gz'`.
///
/// It takes names that end as archives do, or hold ` :: `, and leaves every other name to what `ctx` knows already.
///
/// # Errors
/// `ctx` refuses the registration.
pub fn register_url_tables(ctx: &SessionContext) -> DataFusionResult<()> {
    let catalogs = Arc::clone(ctx.state_ref().read().catalog_list());
    let factory = Arc::new(TarUrlTables { session: ctx.state_weak_ref() });
    ctx.register_catalog_list(Arc::new(DynamicFileCatalog::new(catalogs, factory)));
    Ok(())
}

fn session_state(session: &Weak<RwLock<SessionState>>) -> DataFusionResult<SessionState> {
    match session.upgrade() {
        Some(session) => Ok(session.read().clone()),
        None => plan_err!("the session that tarsql was registered with is gone"),
    }
}

/// `CREATE EXTERNAL TABLE … STORED AS TAR`.
#[derive(Debug)]
struct TarTableFactory;

#[async_trait]
impl TableProviderFactory for TarTableFactory {
    async fn create(
        &self,
        session: &dyn Session,
        command: &CreateExternalTable,
    ) -> DataFusionResult<Arc<dyn TableProvider>> {
        let parts = table_parts(command)?;
        let table = TarTable::from_parts(session, parts, stores_of(session)).await?;
        Ok(Arc::new(table))
    }
}

fn table_parts(command: &CreateExternalTable) -> Result<TableParts> {
    refuse_clauses(command)?;
    let mut options = TarOptions::default();
    // In an order that doesn't change from run to run, so that the first error doesn't either.
    for (key, value) in command.options.iter().collect::<BTreeMap<_, _>>() {
        // The engine files names without a dot under `format.`.
        options.set(key.strip_prefix("format.").unwrap_or(key), value)?;
    }
    let declared = Arc::clone(command.schema.inner());
    let hive: Vec<FieldRef> = command
        .table_partition_cols
        .iter()
        .map(|name| declared.field_with_name(name).map_or_else(|_| text_field(name), |field| Arc::new(field.clone())))
        .collect();
    let own: Vec<FieldRef> = declared
        .fields()
        .iter()
        .filter(|field| !command.table_partition_cols.contains(field.name()))
        .cloned()
        .collect();
    if !own.is_empty() {
        if options.columns.is_some() {
            let message = "columns are declared twice: in the column list, and by option 'columns'";
            return Err(Error::new(ErrorKind::Option, message));
        }
        options.columns = Some(Arc::new(arrow::datatypes::Schema::new(own)));
    }
    Ok(TableParts {
        locators: command.locations.iter().map(|location| Locator::parse(location)).collect::<Result<_>>()?,
        options,
        hive,
        definition: command.definition.as_deref().map(redact),
    })
}

fn refuse_clauses(command: &CreateExternalTable) -> Result<()> {
    let refused = [
        ("WITH ORDER", !command.order_exprs.is_empty(), "no order of rows is known before they are read"),
        ("a constraint", !command.constraints.is_empty(), "nothing would enforce it"),
        ("DEFAULT", !command.column_defaults.is_empty(), "nothing is inserted into archives"),
        ("UNBOUNDED", command.unbounded, "an archive has an end"),
    ];
    match refused.iter().find(|(_, given, _)| *given) {
        None => Ok(()),
        Some((clause, _, reason)) => {
            Err(Error::new(ErrorKind::Option, format!("a tar table can't have {clause}: {reason}")))
        }
    }
}

/// `FROM 'url.tar'`.
#[derive(Debug)]
struct TarUrlTables {
    session: Weak<RwLock<SessionState>>,
}

#[async_trait]
impl UrlTableFactory for TarUrlTables {
    async fn try_new(&self, url: &str) -> DataFusionResult<Option<Arc<dyn TableProvider>>> {
        if !is_archive_name(url) {
            return Ok(None);
        }
        let session = session_state(&self.session)?;
        let table = TarTable::open(&session, url, TarOptions::members()).await?;
        Ok(Some(Arc::new(table)))
    }
}

fn is_archive_name(name: &str) -> bool {
    let archive = name.split(" :: ").next().unwrap_or(name).trim_end();
    // The query of an http URL says nothing about what the object is.
    let path = if archive.starts_with("http") { archive.split('?').next().unwrap_or(archive) } else { archive };
    let path = path.to_ascii_lowercase();
    archive.len() < name.trim_end().len() || ARCHIVE_ENDINGS.iter().any(|ending| path.ends_with(ending))
}

/// `read_tar(locator, option = value, …)`.
///
/// A table function of DataFusion's can't have named arguments, nor await anything; a planner of relations sees the
/// syntax itself, and waits on a runtime of its own.
#[derive(Debug)]
struct ReadTar {
    session: Weak<RwLock<SessionState>>,
    stores: Arc<Stores>,
}

impl RelationPlanner for ReadTar {
    fn plan_relation(
        &self,
        relation: TableFactor,
        _context: &mut dyn RelationPlannerContext,
    ) -> DataFusionResult<RelationPlanning> {
        match relation {
            TableFactor::Table {
                name, alias, args: Some(args), with_hints, version, with_ordinality, sample, ..
            } if is_read_tar(&name) => {
                refuse_suffixes(&[
                    ("TABLESAMPLE", sample.is_some()),
                    ("WITH ORDINALITY", with_ordinality),
                    ("a version", version.is_some()),
                    ("hints", !with_hints.is_empty()),
                    ("SETTINGS", args.settings.is_some()),
                ])?;
                let (locators, options) = parse_arguments(&args.args)?;
                let table = self.table(locators, options)?;
                let plan = LogicalPlanBuilder::scan(READ_TAR, provider_as_source(table), None)?.build()?;
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
            }
            other => Ok(RelationPlanning::Original(Box::new(other))),
        }
    }
}

impl ReadTar {
    fn table(&self, locators: Vec<Locator>, options: TarOptions) -> DataFusionResult<Arc<dyn TableProvider>> {
        let session = session_state(&self.session)?;
        let scan_stores = stores_of(&session);
        let planning_stores = Arc::clone(&self.stores);
        let parts = TableParts { locators, options, hive: Vec::new(), definition: None };
        let open = async move {
            let table = TarTable::from_parts(&session, parts, planning_stores).await?;
            Ok(TarTable { stores: scan_stores, ..table })
        };
        Ok(Arc::new(planning::wait(open)?))
    }
}

fn is_read_tar(name: &ObjectName) -> bool {
    let mut parts = name.0.iter();
    match (parts.next().and_then(|part| part.as_ident()), parts.next()) {
        (Some(ident), None) => ident.value.eq_ignore_ascii_case(READ_TAR),
        _ => false,
    }
}

/// What SQL allows behind a table function and we would have to ignore.
fn refuse_suffixes(suffixes: &[(&str, bool)]) -> Result<()> {
    match suffixes.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((suffix, _)) => Err(Error::new(ErrorKind::Option, format!("read_tar can't have {suffix}"))),
    }
}

fn parse_arguments(arguments: &[FunctionArg]) -> Result<(Vec<Locator>, TarOptions)> {
    let mut locators = Vec::new();
    let mut options = TarOptions::default();
    let mut seen: Vec<String> = Vec::new();
    for argument in arguments {
        let (name, value) = match argument {
            FunctionArg::Named { name, arg, .. } => (Some(name.value.clone()), expression(arg)?),
            FunctionArg::ExprNamed { name, arg, .. } => (Some(option_name(name)?), expression(arg)?),
            FunctionArg::Unnamed(arg) => match expression(arg)? {
                SqlExpr::BinaryOp { left, op: BinaryOperator::Eq, right } => (Some(option_name(left)?), right.as_ref()),
                value => (None, value),
            },
        };
        match name {
            None if !locators.is_empty() => {
                let message = format!(
                    "read_tar takes one locator, or an array of them, and then options by name (format = 'csv'): {value} is neither"
                );
                return Err(Error::new(ErrorKind::Option, message));
            }
            None => locators = parse_locators(value)?,
            Some(name) if seen.iter().any(|seen| seen.eq_ignore_ascii_case(&name)) => {
                return Err(Error::new(
                    ErrorKind::Option,
                    format!("option '{}' is given twice", name.to_ascii_lowercase()),
                ));
            }
            Some(name) => {
                options.set(&name, &literal(value, &name)?)?;
                seen.push(name);
            }
        }
    }
    if locators.is_empty() {
        let message = "read_tar wants a locator first: read_tar('s3://bucket/*.tar :: *.csv', format = 'csv')";
        return Err(Error::new(ErrorKind::Locator, message));
    }
    Ok((locators, options))
}

fn parse_locators(value: &SqlExpr) -> Result<Vec<Locator>> {
    match value {
        SqlExpr::Array(array) => {
            array.elem.iter().map(|element| Locator::parse(&literal(element, "locator")?)).collect()
        }
        value => Ok(vec![Locator::parse(&literal(value, "locator")?)?]),
    }
}

fn expression(argument: &FunctionArgExpr) -> Result<&SqlExpr> {
    match argument {
        FunctionArgExpr::Expr(expression) => Ok(expression),
        other => Err(Error::new(ErrorKind::Option, format!("read_tar can't take {other} as an argument"))),
    }
}

fn option_name(name: &SqlExpr) -> Result<String> {
    match name {
        SqlExpr::Identifier(ident) => Ok(ident.value.clone()),
        SqlExpr::CompoundIdentifier(parts) => {
            Ok(parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join("."))
        }
        SqlExpr::Value(value) => match &value.value {
            Value::SingleQuotedString(name) => Ok(name.clone()),
            other => Err(Error::new(ErrorKind::Option, format!("{other} is no option name"))),
        },
        other => Err(Error::new(ErrorKind::Option, format!("{other} is no option name"))),
    }
}

/// The text of a constant: strings, numbers and booleans.
fn literal(value: &SqlExpr, name: &str) -> Result<String> {
    let refuse = || {
        // A secret without its quotes is a secret still: what can hold one is not repeated.
        let given = if name.contains('.') { String::new() } else { format!(", not {value}") };
        let message = format!("'{name}' of read_tar is a constant (a string, a number, true or false){given}");
        Error::new(ErrorKind::Option, message)
    };
    match value {
        SqlExpr::Value(value) => match &value.value {
            Value::Number(number, _) => Ok(number.to_string()),
            Value::Boolean(boolean) => Ok(boolean.to_string()),
            other => other.clone().into_string().ok_or_else(refuse),
        },
        SqlExpr::UnaryOp { op: UnaryOperator::Minus, expr } => Ok(format!("-{}", literal(expr, name)?)),
        // DataFusion reads "x" as a name; people coming from other systems mean a string.
        SqlExpr::Identifier(ident) if ident.quote_style == Some('"') => Ok(ident.value.clone()),
        _ => Err(refuse()),
    }
}
