//! Where output goes: results to stdout, everything else to stderr, one place for both.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;

use tarsql::metrics::redact;

use crate::args::{Args, RowLimit};
use crate::cell::without_controls;
use crate::failure::{Failure, one_line};
use crate::print::Format;

/// What is gathered before it is written to stdout. Each batch ends with a flush anyway.
const STDOUT_BUFFER_BYTES: usize = 64 << 10;

/// Stdout and stderr of the program, and the settings that say what appears on them.
pub(crate) struct Console {
    pub(crate) out: Output,
    pub(crate) quiet: bool,
    pub(crate) maxrows: RowLimit,
    pub(crate) color: bool,
    format: Format,
    no_progress: bool,
}

impl Console {
    pub(crate) fn new(args: &Args) -> Self {
        Self {
            out: Output::stdout(),
            quiet: args.quiet,
            maxrows: args.maxrows,
            color: args.color,
            format: args.format,
            no_progress: args.no_progress,
        }
    }

    /// The format of results; never `Automatic`.
    pub(crate) fn format(&self) -> Format {
        match (self.format, self.out.is_terminal) {
            (Format::Automatic, true) => Format::Table,
            (Format::Automatic, false) => Format::Csv,
            (format, _) => format,
        }
    }

    pub(crate) fn set_format(&mut self, format: Format) {
        self.format = format;
    }

    /// Whether somebody is looking who wants to see a bar.
    pub(crate) fn shows_progress(&self) -> bool {
        !self.quiet && !self.no_progress && io::stderr().is_terminal()
    }

    /// A line on stderr that `--quiet` leaves out.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            line_to_stderr(text);
        }
    }

    /// A note about a result that only matters to somebody who has just seen it: not for pipes.
    pub(crate) fn remark(&self, text: &str) {
        if self.out.is_terminal {
            self.note(text);
        }
    }

    /// A line on stderr that must be seen.
    pub(crate) fn warn(&self, text: &str) {
        line_to_stderr(text);
    }
}

/// Prints `tarsql: message` on stderr.
pub(crate) fn complain(message: &str) {
    line_to_stderr(&format!("tarsql: {message}"));
}

/// Prints a line on stderr from wherever it comes, at any time.
pub(crate) fn tell(line: &str) {
    line_to_stderr(line);
}

/// The bar that is on stderr now: it has to step aside for every line.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Notes which bar is on stderr from now on, if any.
pub(crate) fn set_bar(bar: Option<ProgressBar>) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = bar;
}

/// Tells of panics as of everything else. The standard hook would print what they quote as it stands.
pub(crate) fn tell_of_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(|place| format!(" in {place}")).unwrap_or_default();
        complain(&one_line(&format!("internal error{place}: {message}")));
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            line_to_stderr(&backtrace.to_string());
        }
    }));
}

/// The one way to stderr: whatever a message quotes, neither secrets nor anything that a terminal would obey get out.
fn line_to_stderr(text: &str) {
    let text = redact(text);
    let text = without_controls(&text);
    let write = || {
        // With stderr gone there is nobody left to tell.
        let _ = writeln!(io::stderr().lock(), "{text}");
    };
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Buffered stdout that remembers why it failed: the printers in between turn I/O errors into strings, and a closed pipe
/// must not be taken for a failed statement.
pub(crate) struct Output {
    writer: BufWriter<Stdout>,
    pub(crate) is_terminal: bool,
    /// Whoever read it is gone for good.
    pub(crate) is_closed: bool,
    failure: Option<io::Error>,
}

impl Output {
    fn stdout() -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let writer = BufWriter::with_capacity(STDOUT_BUFFER_BYTES, stdout);
        Self { writer, is_terminal, is_closed: false, failure: None }
    }

    /// Why the last write failed, if it did.
    pub(crate) fn failure(&mut self) -> Option<Failure> {
        self.failure.take().map(|error| Failure::output(&error))
    }

    fn open(&mut self) -> io::Result<&mut BufWriter<Stdout>> {
        if self.is_closed { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(&mut self.writer) }
    }

    fn remember<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let copy = io::Error::new(error.kind(), error.to_string());
            self.is_closed |= error.kind() == io::ErrorKind::BrokenPipe;
            self.failure = Some(error);
            copy
        })
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.open().and_then(|writer| writer.write(bytes));
        self.remember(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.open().and_then(|writer| writer.flush());
        self.remember(result)
    }
}
