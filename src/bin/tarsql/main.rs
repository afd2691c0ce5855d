//! The `tarsql` program: SQL over tar archives as a REPL, a one-shot command or a script runner.
//!
//! `main` turns arguments into a session and a mode, and a mode's ending into an exit status; it decides nothing else.
//! Results go to stdout and everything else to stderr: nothing here prints but through [`console::Console`].

mod allocator;
mod args;
mod cell;
mod command;
mod console;
mod exec;
mod failure;
mod highlight;
mod logger;
mod print;
mod progress;
mod repl;
mod room;
mod run;
mod script;
mod session;
mod signal;
mod target;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::args::{Args, Source};
use crate::console::Console;
use crate::exec::Ending;
use crate::failure::Failure;
use crate::script::Script;
use crate::session::Session;
use crate::signal::Signals;

/// How long what a cancelled statement has started may take to clean up before the process ends without it.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// How long what a failed or cancelled COPY has staged may take to go away.
const CLEAN_UP_GRACE: Duration = Duration::from_secs(20);

/// Threads that wait for the network, and take what it brings: so many keep up with 10 Gbit/s, encrypted.
const IO_THREADS_MAX: usize = 4;

/// How often the end of cancelled work is looked for.
const SETTLE_STEP: Duration = Duration::from_millis(5);

fn main() -> ExitCode {
    console::tell_of_panics();
    let args = Args::from_command_line();
    allocator::spare_memory(args.memory_limit.is_some());
    match run(&args) {
        Ok(Ending::Complete) => ExitCode::SUCCESS,
        Ok(Ending::Skipped) => ExitCode::from(3),
        Err(failure) => {
            if let Some(message) = failure.message() {
                console::complain(&message);
            }
            ExitCode::from(failure.exit_status())
        }
    }
}

fn run(args: &Args) -> Result<Ending, Failure> {
    let sources = read_sources(args)?;
    if let Some(directory) = &args.data_path {
        std::env::set_current_dir(directory)
            .map_err(|error| Failure::Usage(format!("--data-path '{}': {error}", directory.display())))?;
    }
    let mut console = Console::new(args);
    logger::install(args);
    // Decoding keeps a thread busy for milliseconds at a time: what arrives meanwhile is taken by threads of its own.
    let io = runtime("tarsql-io", args.threads().min(IO_THREADS_MAX))?;
    let runtime = runtime("tarsql", args.threads())?;
    let result = mode(args, sources, &runtime, io.handle(), &mut console);
    // Uploads of a cancelled COPY are aborted over the network, which may take longer than anything local.
    runtime.block_on(tarsql::settle(CLEAN_UP_GRACE));
    if result.is_err() {
        runtime.block_on(settle());
    }
    runtime.shutdown_timeout(SHUTDOWN_GRACE);
    // Nobody is left to take what still comes.
    io.shutdown_background();
    result
}

fn mode(
    args: &Args,
    sources: Vec<Source>,
    runtime: &Runtime,
    io: &Handle,
    console: &mut Console,
) -> Result<Ending, Failure> {
    let session = {
        let _entered = runtime.enter();
        Session::new(args, io)?
    };
    match &sources[..] {
        [] => return repl::run(&session, console, runtime),
        [piped] if args.inputs.is_empty() => {
            let _entered = runtime.enter();
            let _last_resort = signal::end_the_process_after(2 * SHUTDOWN_GRACE).map_err(Failure::signals)?;
            return repl::run_piped(&session, console, runtime, piped);
        }
        _ => {}
    }
    // All of them are checked before the first one runs: a misspelt variable must not surface after an hour of COPY.
    let scripts = sources
        .into_iter()
        .map(|source| Script::new(source.name, &source.text, &session.variables, &session.dialect()))
        .collect::<Result<Vec<_>, _>>()?;
    runtime.block_on(async {
        let mut signals = Signals::all().map_err(Failure::signals)?;
        let _last_resort = signal::end_the_process_after(2 * SHUTDOWN_GRACE).map_err(Failure::signals)?;
        exec::run_scripts(&session, console, &scripts, &mut signals).await
    })
}

/// Lets what a dropped statement had under way clean up behind itself: a runtime that shuts down forgets work that has
/// not begun, and removing a half-written file is such work.
async fn settle() {
    let deadline = Instant::now() + SHUTDOWN_GRACE;
    while Handle::current().metrics().num_alive_tasks() > 0 && Instant::now() < deadline {
        tokio::time::sleep(SETTLE_STEP).await;
    }
    // Blocking work begins in the order it came, so whatever was queued has begun once this has; the shutdown waits for it.
    // Waiting in vain means that the threads are stuck, and there is nothing to be done about it.
    let _ = tokio::time::timeout(SHUTDOWN_GRACE, tokio::task::spawn_blocking(|| ())).await;
}

/// The text of every `-c` and `-f`, in the order of the command line; all of stdin if there are none and it is no
/// terminal; nothing for the REPL.
fn read_sources(args: &Args) -> Result<Vec<Source>, Failure> {
    if args.inputs.is_empty() && !std::io::stdin().is_terminal() {
        return Ok(vec![args::Input::File("-".into()).read()?]);
    }
    args.inputs.iter().map(args::Input::read).collect()
}

fn runtime(name: &str, threads: usize) -> Result<Runtime, Failure> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(|error| Failure::Usage(format!("can't start {threads} threads: {error}")))
}
