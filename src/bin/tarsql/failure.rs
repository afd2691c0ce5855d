//! Why the program ends early, as one line for a human and one number for a shell.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::parquet::errors::ParquetError;
use datafusion::sql::sqlparser::parser::ParserError;

use crate::signal::Signal;

/// How far a chain of wrapped errors is followed.
const DEPTH_MAX: usize = 32;

/// What kept the program, or one statement of it, from finishing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line asks for something that can't be.
    Usage(String),
    /// A statement failed: at `place` (`file:line`) where it has one.
    Statement { place: Option<String>, message: String },
    /// Ctrl-C, or a request to terminate.
    Stopped(Signal),
    /// Whoever read our stdout has seen enough.
    ClosedPipe,
}

impl Failure {
    pub(crate) fn statement(place: Option<String>, error: &DataFusionError) -> Self {
        Self::Statement { place, message: describe(error) }
    }

    /// What stdout refused, unless it is just closed.
    pub(crate) fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::Statement { place: None, message: format!("can't write to stdout: {error}") },
        }
    }

    /// The system would not let us listen for Ctrl-C.
    pub(crate) fn signals(error: io::Error) -> Self {
        Self::Usage(format!("can't listen for signals: {error}"))
    }

    /// The line to print on stderr; a closed pipe ends quietly.
    pub(crate) fn message(&self) -> Option<String> {
        match self {
            Self::Usage(message) | Self::Statement { place: None, message } => Some(message.clone()),
            Self::Statement { place: Some(place), message } => Some(format!("{place}: {message}")),
            Self::Stopped(Signal::Interrupt) => Some("interrupted".into()),
            Self::Stopped(Signal::Terminate) => Some("terminated".into()),
            Self::ClosedPipe => None,
        }
    }

    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Self::ClosedPipe => 0,
            Self::Statement { .. } => 1,
            Self::Usage(_) => 2,
            Self::Stopped(signal) => signal.exit_status(),
        }
    }
}

/// The innermost message that says something, on one line.
pub(crate) fn describe(error: &DataFusionError) -> String {
    one_line(&innermost(error, DEPTH_MAX))
}

/// Makes one printable line of any text: line ends become spaces, other control characters are escaped, since they may
/// come out of an archive and would otherwise reach the terminal.
pub(crate) fn one_line(text: &str) -> String {
    let joined = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    crate::cell::without_controls(&joined).into_owned()
}

fn innermost(error: &DataFusionError, depth: usize) -> String {
    use DataFusionError as E;
    if depth == 0 {
        return error.to_string();
    }
    match error {
        E::Context(_, inner) | E::Diagnostic(_, inner) => innermost(inner, depth - 1),
        E::Shared(inner) => innermost(inner, depth - 1),
        E::Collection(errors) => match errors.split_first() {
            Some((first, [])) => innermost(first, depth - 1),
            Some((first, rest)) => format!("{} (and {} more errors)", innermost(first, depth - 1), rest.len()),
            None => error.to_string(),
        },
        E::External(inner) => foreign(inner.as_ref(), depth - 1),
        E::ArrowError(inner, _) => arrow(inner, depth - 1),
        E::ParquetError(inner) => parquet(inner, depth - 1),
        E::IoError(inner) => input(inner, depth - 1),
        E::ObjectStore(inner) => foreign(inner.as_ref(), depth - 1),
        E::SQL(inner, _) => format!("syntax error: {}", parser(inner)),
        E::SchemaError(inner, _) => bare(&inner.to_string()),
        E::NotImplemented(message) => format!("not implemented: {}", bare(message)),
        E::Internal(message) => format!("internal error: {}", bare(message)),
        E::ExecutionJoin(inner) => format!("a task of the query failed: {inner}"),
        E::Plan(message) if missing_file(message).is_some() => missing_file(message).unwrap_or_default(),
        E::Plan(message)
        | E::Configuration(message)
        | E::Execution(message)
        | E::ResourcesExhausted(message)
        | E::Substrait(message)
        | E::Ffi(message) => bare(message),
    }
}

/// The engine looks for a file of a table's name too, but says only that there is no table.
fn missing_file(message: &str) -> Option<String> {
    let name = message.strip_prefix("table '")?.strip_suffix("' not found")?;
    let name = name.splitn(3, '.').nth(2)?;
    let is_file = name.contains('/') || name.contains('.');
    is_file.then(|| {
        format!("no table is named '{name}', and no file or object that can be read: check it with read_tar('{name}') if it is an archive")
    })
}

/// Errors lose their type on the way through a `Box<dyn Error>`, not their content.
fn foreign(error: &(dyn StdError + 'static), depth: usize) -> String {
    if depth == 0 {
        return bare(&error.to_string());
    }
    if let Some(inner) = error.downcast_ref::<DataFusionError>() {
        innermost(inner, depth - 1)
    } else if let Some(inner) = error.downcast_ref::<ArrowError>() {
        arrow(inner, depth - 1)
    } else if let Some(inner) = error.downcast_ref::<ParquetError>() {
        parquet(inner, depth - 1)
    } else if let Some(inner) = error.downcast_ref::<io::Error>() {
        input(inner, depth - 1)
    } else {
        ours(error).unwrap_or_else(|| bare(&error.to_string()))
    }
}

/// The library's error in a chain of sources: stores wrap it in theirs.
fn ours(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut next = Some(error);
    for _ in 0..DEPTH_MAX {
        match next {
            Some(ours) if ours.is::<tarsql::Error>() => return Some(ours.to_string()),
            other => next = other?.source(),
        }
    }
    None
}

fn arrow(error: &ArrowError, depth: usize) -> String {
    match error {
        ArrowError::ExternalError(inner) => foreign(inner.as_ref(), depth),
        ArrowError::IoError(_, inner) => input(inner, depth),
        other => bare(&other.to_string()),
    }
}

fn parquet(error: &ParquetError, depth: usize) -> String {
    match error {
        ParquetError::External(inner) => foreign(inner.as_ref(), depth),
        other => bare(&other.to_string()),
    }
}

fn input(error: &io::Error, depth: usize) -> String {
    match error.get_ref() {
        Some(inner) => foreign(inner, depth),
        None => error.to_string(),
    }
}

fn parser(error: &ParserError) -> String {
    match error {
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => bare(message),
        ParserError::RecursionLimitExceeded => "the statement is nested too deeply".into(),
    }
}

/// A message without what DataFusion puts around it when it has made a string of another error.
fn bare(message: &str) -> String {
    const WRAPPERS: [&str; 7] = [
        "External error: ",
        "Arrow error: ",
        "External: ",
        "Execution error: ",
        "Error during planning: ",
        "Object Store error: ",
        "Internal error: ",
    ];
    let message = message.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or(message);
    let message = message.split("\nThis issue was likely caused by a bug").next().unwrap_or(message);
    let mut message = message.rsplit("\ncaused by\n").next().unwrap_or(message).trim();
    while let Some(inner) = WRAPPERS.iter().find_map(|wrapper| message.strip_prefix(wrapper)) {
        message = inner.trim();
    }
    message.trim_end_matches('.').to_owned()
}

/// Seconds as a person reads them.
pub(crate) fn elapsed(duration: Duration) -> String {
    format!("Elapsed {:.3} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn wrappers_are_taken_off() {
        use DataFusionError as E;
        let ours =
            || tarsql::Error::new(tarsql::ErrorKind::Archive, "header checksum mismatch").at(512).in_archive("a.tar");
        let place = "a.tar: at offset 512: header checksum mismatch";
        for (error, expected) in [
            (E::External(Box::new(ours())), place),
            (E::Shared(Arc::new(E::External(Box::new(ours())))).context("while scanning"), place),
            (E::ArrowError(Box::new(ArrowError::ExternalError(Box::new(E::External(Box::new(ours()))))), None), place),
            (E::IoError(io::Error::other(ours())), place),
            (E::ParquetError(Box::new(ParquetError::External(Box::new(ours())))), place),
            (E::Execution("External error: Arrow error: boom".into()), "boom"),
            (E::Plan("table 'x' not found\n\nbacktrace: 0: std\n1: core".into()), "table 'x' not found"),
            (E::Internal("odd".into()), "internal error: odd"),
            (E::Execution("odd.\nThis issue was likely caused by a bug in DataFusion's code.".into()), "odd"),
            (E::Execution("outer\ncaused by\nInternal error: inner".into()), "inner"),
            (E::ResourcesExhausted("no memory:\n  a 1 GB,\n  b 2 GB.".into()), "no memory: a 1 GB, b 2 GB"),
            (E::Execution("member \u{1b}[31mred".into()), "member \\u{1b}[31mred"),
            (E::Collection(vec![E::Plan("one".into()), E::Plan("two".into())]), "one (and 1 more errors)"),
        ] {
            assert_eq!(describe(&error), expected);
        }
    }

    #[test]
    fn statuses() {
        for (failure, status, message) in [
            (Failure::ClosedPipe, 0, None),
            (Failure::Statement { place: Some("q.sql:3".into()), message: "bad".into() }, 1, Some("q.sql:3: bad")),
            (Failure::Usage("no such file".into()), 2, Some("no such file")),
            (Failure::Stopped(Signal::Interrupt), 130, Some("interrupted")),
            (Failure::Stopped(Signal::Terminate), 143, Some("terminated")),
        ] {
            assert_eq!(failure.exit_status(), status);
            assert_eq!(failure.message().as_deref(), message);
        }
    }
}
