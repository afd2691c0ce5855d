//! Statements, one after another: parse, plan, execute, and print batch by batch.
//!
//! A statement is a future, and cancelling it is dropping it; planning runs as a task of its own, since a table function
//! may have to wait for the network where it can't be polled.

use std::any::Any;
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::UInt64Type;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{DdlStatement, LogicalPlan};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as ParsedStatement;
use futures::{FutureExt, StreamExt};
use tarsql::metrics::redact;

use crate::cell;
use crate::console::Console;
use crate::failure::{Failure, elapsed};
use crate::print;
use crate::progress::Progress;
use crate::room;
use crate::run::Run;
use crate::script::{Script, Statement};
use crate::session::Session;
use crate::signal::Signals;
use crate::target;

/// How statements that did not fail have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    Complete,
    /// Done, but `on_error` or `on_unreachable` left something out.
    Skipped,
}

/// Runs all statements up to the first that fails. Where stdout is closed, those that return rows are left out: nobody
/// would see them. Others have work to do.
pub(crate) async fn run_scripts(
    session: &Session,
    console: &mut Console,
    scripts: &[Script],
    signals: &mut Signals,
) -> Result<Ending, Failure> {
    let mut ending = Ending::Complete;
    for statement in scripts.iter().flat_map(|script| &script.statements) {
        match run_statement(session, console, statement, signals).await {
            Err(Failure::ClosedPipe) => {}
            ended => ending = ending.max(ended?),
        }
    }
    Ok(ending)
}

/// Runs one statement to its end, or until a signal comes.
pub(crate) async fn run_statement(
    session: &Session,
    console: &mut Console,
    statement: &Statement,
    signals: &mut Signals,
) -> Result<Ending, Failure> {
    let mut run = Run::begin(session, &statement.text);
    let result = tokio::select! {
        biased;
        signal = signals.next() => Err(Failure::Stopped(signal)),
        result = AssertUnwindSafe(execute(statement, &mut run, console)).catch_unwind() => match console.out.failure() {
            // Whatever the printer made of it.
            Some(failure) => Err(failure),
            None => result.unwrap_or_else(panicked).map_err(|error| Failure::statement(statement.place(), &error)),
        },
    };
    let recorded = run.record(result.as_ref().map(|_| ()));
    run.warnings().iter().for_each(|warning| console.warn(warning));
    let summary = result?;
    recorded?;
    run.unmatched().iter().for_each(|line| console.note(line));
    match summary {
        Summary::Returned { hidden } => {
            if hidden > 0 {
                let shown = run.rows - hidden;
                console.warn(&format!("{shown} of {} rows shown: --maxrows or \\pset maxrows shows more", run.rows));
            }
            console.remark(&format!("{} in set. {}", rows(run.rows), elapsed(run.elapsed())));
        }
        Summary::Counted(verb) => console.note(&format!("{verb} {}. {}", rows(run.rows), elapsed(run.elapsed()))),
        Summary::Nothing => console.remark(&format!("Done. {}", elapsed(run.elapsed()))),
    }
    Ok(match run.skipped() {
        Some(summary) => {
            console.warn(&summary);
            Ending::Skipped
        }
        None => Ending::Complete,
    })
}

/// What a statement has done.
enum Summary {
    /// It returned rows, some of which a table did not show.
    Returned { hidden: u64 },
    /// It wrote rows: COPY, INSERT and the like.
    Counted(String),
    /// Neither: SET, CREATE and the like.
    Nothing,
}

/// A statement under way.
struct Execution {
    plan: Arc<dyn ExecutionPlan>,
    stream: SendableRecordBatchStream,
    /// The word for what it writes, if that is what it does.
    writes: Option<String>,
}

impl Execution {
    /// Plans a statement and starts it. Statements without a plan (SET, DDL) are done when this returns.
    async fn start(ctx: SessionContext, statement: ParsedStatement) -> Result<Self> {
        let plan = without_secrets(ctx.state().statement_to_plan(statement).await?);
        let writes = match &plan {
            LogicalPlan::Copy(_) => Some("COPY".to_owned()),
            LogicalPlan::Dml(dml) => dml.op.name().split_whitespace().next().map(str::to_uppercase),
            _ => None,
        };
        let frame = ctx.execute_logical_plan(plan).await?;
        let task = Arc::new(frame.task_ctx());
        let plan = frame.create_physical_plan().await?;
        let stream = execute_stream(Arc::clone(&plan), task)?;
        Ok(Self { plan, stream, writes })
    }
}

/// A view is planned already; its text is kept only to be shown, by `SHOW CREATE TABLE` and in the catalog.
fn without_secrets(mut plan: LogicalPlan) -> LogicalPlan {
    if let LogicalPlan::Ddl(DdlStatement::CreateView(view)) = &mut plan {
        view.definition = view.definition.as_deref().map(redact);
    }
    plan
}

/// The engine raises a panic of one of its tasks anew where the result is read: a bug, but not the end of the session.
fn panicked(payload: Box<dyn Any + Send>) -> Result<Summary> {
    let message = payload.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
    Err(DataFusionError::Internal(format!("the query panicked: {message}")))
}

async fn execute(statement: &Statement, run: &mut Run<'_>, console: &mut Console) -> Result<Summary> {
    let ctx = run.session.ctx.clone();
    let mut parsed = statement.parse(&ctx.state())?;
    run.parsed(&parsed);
    target::resolve(&mut parsed, &ctx.state())?;
    let explains = matches!(parsed, ParsedStatement::Explain(_));
    let started = SpawnedTask::spawn(Execution::start(ctx, parsed)).join();
    let Execution { plan, mut stream, writes } =
        started.await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))??;
    let progress = console.shows_progress().then(|| Progress::of(&plan));
    run.plan = Some(plan);
    if let Some(verb) = writes {
        while let Some(batch) = stream.next().await {
            run.rows += written_rows(&batch?);
        }
        return Ok(Summary::Counted(verb));
    }
    let schema = stream.schema();
    if schema.fields().is_empty() {
        while stream.next().await.transpose()?.is_some() {}
        return Ok(Summary::Nothing);
    }
    // EXPLAIN ANALYZE may write something.
    if console.out.is_closed && !explains {
        run.is_measured = false;
        console.out.flush()?;
    }
    if explains {
        // Plans name tables, and a table may be a signed URL.
        let batches = stream.map(|batch| Ok(cell::without_secrets(&batch?)?));
        stream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), batches));
    }
    print(stream, run, console, progress).await
}

async fn print(
    mut stream: SendableRecordBatchStream,
    run: &mut Run<'_>,
    console: &mut Console,
    mut progress: Option<Progress>,
) -> Result<Summary> {
    let mut printer = print::printer(console.format(), stream.schema(), console.maxrows, run.session.format_options());
    let pool = Arc::clone(&run.session.ctx.runtime_env().memory_pool);
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        if batch.num_rows() == 0 {
            continue;
        }
        // A bar and rows on one terminal would overwrite each other.
        progress = progress.filter(|_| !console.out.is_terminal);
        run.rows += batch.num_rows() as u64;
        let _room = room::reserve(&pool, &batch)?;
        printer.print(&batch, &mut console.out)?;
        console.out.flush()?;
    }
    drop(progress);
    let hidden = printer.finish(&mut console.out)?;
    console.out.flush()?;
    Ok(Summary::Returned { hidden })
}

/// The sum of the one column, `count`, that plans that write return.
fn written_rows(batch: &RecordBatch) -> u64 {
    let counts = batch.columns().first().and_then(|column| column.as_primitive_opt::<UInt64Type>());
    counts.map_or(0, |counts| counts.iter().flatten().sum())
}

fn rows(count: u64) -> String {
    format!("{count} row{}", if count == 1 { "" } else { "s" })
}
