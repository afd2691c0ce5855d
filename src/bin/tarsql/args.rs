//! The command line. Flags that datafusion-cli has keep their names and letters.

use std::fs;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};

use crate::failure::Failure;
use crate::print::Format;

const EXAMPLES: &str = "\
Examples:
  tarsql                                               a prompt; \\? lists its commands, \\q ends it
  tarsql -c \"SELECT path, size FROM 'logs.tar.gz'\"      one statement; csv in a pipe, a table on a terminal
  tarsql -c \"COPY (SELECT * FROM read_tar('s3://bucket/*.tar :: *.csv.gz')) TO 'out.parquet'\"
  tarsql --set DAY=2022-06-27 -f day.sql               ${DAY} in day.sql becomes 2022-06-27
  tarsql --format nd-json -c \"SELECT * FROM 'a.tar'\" | jq .path

Exit status: 0 done, 1 a statement failed, 2 wrong usage, 3 done but something was skipped, 130 interrupted.";

/// How many rows of a result `--format table` shows unless told otherwise.
const MAXROWS_DEFAULT: usize = 40;

/// Tar archives as SQL tables
///
/// Without -c and -f it is a prompt on a terminal, and runs its standard input as a file otherwise.
#[derive(Debug, Parser)]
#[command(name = "tarsql", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Run these statements and exit; may repeat
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    command: Vec<String>,

    /// Run the statements of this file (- is stdin) and exit; stops at the first error; may repeat
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: Vec<PathBuf>,

    /// How results are printed: automatic is a table on a terminal and csv elsewhere
    #[arg(long, value_enum, default_value_t = Format::Automatic)]
    pub(crate) format: Format,

    /// Print results, errors and what was left out only
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,

    /// Print every request to a store on stderr, and every wait for one
    #[arg(short = 'v', long, conflicts_with = "quiet")]
    pub(crate) verbose: bool,

    /// Rows that a table shows; inf shows all
    #[arg(long, value_name = "N", default_value_t = RowLimit(Some(MAXROWS_DEFAULT)), value_parser = RowLimit::parse)]
    pub(crate) maxrows: RowLimit,

    /// Highlight the syntax at the prompt
    #[arg(long)]
    pub(crate) color: bool,

    /// Rows that travel together through the engine [default: 8192]
    #[arg(short = 'b', long, value_name = "ROWS")]
    pub(crate) batch_size: Option<NonZeroUsize>,

    /// Memory for queries, as 512m or 2g [default: no limit]
    #[arg(short = 'm', long, value_name = "BYTES", value_parser = parse_bytes)]
    pub(crate) memory_limit: Option<NonZeroUsize>,

    /// Threads [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// Append the measurements of every query to this JSON file
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics: Option<PathBuf>,

    /// Label of the measurements, such as the scale of an experiment
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: Option<String>,

    /// Show no progress bar
    #[arg(long)]
    pub(crate) no_progress: bool,

    /// Replace ${NAME} in the SQL, comments excepted; may repeat
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_variable)]
    pub(crate) variables: Vec<(String, String)>,

    /// Change to this directory first (-f is still relative to the present one)
    #[arg(short = 'p', long, value_name = "DIRECTORY")]
    pub(crate) data_path: Option<PathBuf>,

    /// `command` and `file` as they were interleaved.
    #[arg(skip)]
    pub(crate) inputs: Vec<Input>,
}

/// Something to run, as the command line names it.
#[derive(Debug)]
pub(crate) enum Input {
    Command(String),
    File(PathBuf),
}

/// SQL text and where it came from; `name` is set for files only.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: Option<String>,
    pub(crate) text: String,
}

impl Args {
    /// Parses the arguments of the process. Help, version and wrong usage end the process here.
    pub(crate) fn from_command_line() -> Self {
        Self::from_matches(&Self::command().get_matches()).unwrap_or_else(|error| error.exit())
    }

    /// Threads of the runtime, which is also how many partitions a query aims at.
    pub(crate) fn threads(&self) -> usize {
        self.threads.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
    }

    fn from_matches(matches: &ArgMatches) -> clap::error::Result<Self> {
        let mut args = Self::from_arg_matches(matches)?;
        let indices = |id| matches.indices_of(id).into_iter().flatten();
        let commands = args.command.drain(..).map(Input::Command).zip(indices("command"));
        let files = args.file.drain(..).map(Input::File).zip(indices("file"));
        let mut inputs: Vec<_> = commands.chain(files).collect();
        inputs.sort_by_key(|(_, index)| *index);
        args.inputs = inputs.into_iter().map(|(input, _)| input).collect();
        Ok(args)
    }
}

impl Input {
    /// Its SQL; `-` is stdin.
    pub(crate) fn read(&self) -> Result<Source, Failure> {
        let path = match self {
            Self::Command(text) => return Ok(Source { name: None, text: text.clone() }),
            Self::File(path) => path,
        };
        let (name, read) = if path.as_os_str() == "-" {
            let mut text = String::new();
            ("stdin".to_owned(), io::stdin().lock().read_to_string(&mut text).map(|_| text))
        } else {
            (path.display().to_string(), fs::read_to_string(path))
        };
        match read {
            Ok(text) => Ok(Source { name: Some(name), text }),
            Err(error) => Err(Failure::Usage(format!("can't read '{name}': {error}"))),
        }
    }
}

/// A number of rows, or none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowLimit(pub(crate) Option<usize>);

impl RowLimit {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "inf" | "infinite" | "none" => Ok(Self(None)),
            number => number.parse().map(|rows| Self(Some(rows))).map_err(|_| "a number or inf is expected".into()),
        }
    }
}

impl std::fmt::Display for RowLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(rows) => rows.fmt(f),
            None => f.write_str("inf"),
        }
    }
}

/// `2g`, `512m`, `64kb`, `1048576`: powers of 1024, whatever the case of the unit.
fn parse_bytes(text: &str) -> Result<NonZeroUsize, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        "t" | "tb" => 40,
        _ => return Err("a size is expected, such as 512m or 2g".into()),
    };
    let bytes = number.parse::<usize>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes.and_then(NonZeroUsize::new).ok_or_else(|| "a size above zero is expected, such as 512m or 2g".into())
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is expected")?;
    if !crate::script::is_variable_name(name) {
        return Err(format!("'{name}' is no name: letters, digits and underscores, no digit first"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> clap::error::Result<Args> {
        let arguments = std::iter::once("tarsql").chain(arguments.iter().copied());
        Args::from_matches(&Args::command().try_get_matches_from(arguments)?)
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn commands_and_files_keep_their_order() {
        let args = parse(&["-f", "a.sql", "-c", "SELECT 1", "-f", "b.sql"]).unwrap();
        let shown: Vec<_> = args.inputs.iter().map(|input| format!("{input:?}")).collect();
        assert_eq!(shown, [r#"File("a.sql")"#, r#"Command("SELECT 1")"#, r#"File("b.sql")"#]);
    }

    #[test]
    fn wrong_usage_is_refused() {
        for arguments in [
            &["report"][..],
            &["--threads", "0"],
            &["-b", "0"],
            &["-m", "0"],
            &["-m", "2x"],
            &["-m", "99999999999999999999g"],
            &["--maxrows", "some"],
            &["--set", "NAME"],
            &["--set", "1A=b"],
            &["--format", "yaml"],
            &["--cluster", "df://host:50050"],
            &["-q", "-v"],
        ] {
            assert_eq!(parse(arguments).expect_err("refused").exit_code(), 2, "{arguments:?}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("1", 1), ("64kb", 65536), ("512M", 512 << 20), ("2g", 2 << 30), ("3 B", 3)] {
            assert_eq!(parse_bytes(text).map(NonZeroUsize::get), Ok(bytes), "{text}");
        }
    }
}
