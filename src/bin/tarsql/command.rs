//! Backslash commands of the prompt. Those that datafusion-cli has keep their names.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;

use crate::args::{Input, RowLimit};
use crate::console::Console;
use crate::failure::Failure;
use crate::print::Format;
use crate::session::Session;

const HELP: &str = "\
\\d                  list tables
\\d NAME             describe a table
\\h                  list functions
\\h NAME             describe a function
\\i FILE             run the statements of a file
\\pset               show the settings of the output
\\pset format NAME   table, csv, tsv, json, nd-json or automatic
\\pset maxrows N     rows that a table shows; inf shows all
\\quiet [true|false] print results only, or the rest again
\\?                  this list
\\q                  quit
Statements end with a semicolon. Ctrl-C cancels one, Ctrl-D quits.
";

/// What a line that begins with a backslash asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Quit,
    Help,
    ListTables,
    DescribeTable(String),
    ListFunctions,
    DescribeFunction(String),
    Include(PathBuf),
    ShowSettings,
    SetFormat(Format),
    SetMaxRows(RowLimit),
    Quiet(bool),
}

/// What the prompt does next.
pub(crate) enum Next {
    Quit,
    Prompt,
    /// Runs this text, whose name is that of its file.
    Run {
        name: Option<String>,
        text: String,
    },
}

impl Command {
    /// Reads a line such as `\d name`.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let line = line.trim().trim_end_matches(';').trim();
        let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let argument = argument.trim();
        match (name, argument) {
            ("\\q", "") => Ok(Self::Quit),
            ("\\?", "") => Ok(Self::Help),
            ("\\d", "") => Ok(Self::ListTables),
            ("\\d", table) => Ok(Self::DescribeTable(table.to_owned())),
            ("\\h", "") => Ok(Self::ListFunctions),
            ("\\h", function) => Ok(Self::DescribeFunction(function.to_owned())),
            ("\\i", "") => Err("\\i needs the name of a file".into()),
            ("\\i", file) => Ok(Self::Include(file.into())),
            ("\\pset", "") => Ok(Self::ShowSettings),
            ("\\pset", setting) => Self::parse_setting(setting),
            ("\\quiet", "" | "true" | "on") => Ok(Self::Quiet(true)),
            ("\\quiet", "false" | "off") => Ok(Self::Quiet(false)),
            ("\\q" | "\\?" | "\\quiet", argument) => {
                Err(format!("{name} can't take '{argument}': \\? lists the commands"))
            }
            (unknown, _) => Err(format!("unknown command '{unknown}': \\? lists the commands")),
        }
    }

    fn parse_setting(setting: &str) -> Result<Self, String> {
        match setting.split_once(char::is_whitespace).map_or((setting, ""), |(name, value)| (name, value.trim())) {
            ("format", value) => Format::from_str(value, true).map(Self::SetFormat).map_err(|_| {
                format!("unknown format '{value}': it is one of table, csv, tsv, json, nd-json and automatic")
            }),
            ("maxrows", value) => RowLimit::parse(value)
                .map(Self::SetMaxRows)
                .map_err(|error| format!("\\pset maxrows '{value}': {error}")),
            (unknown, _) => Err(format!("unknown setting '{unknown}': it is one of format and maxrows")),
        }
    }

    /// Does what can be done at once, and says what is to be run.
    pub(crate) fn act(self, session: &Session, console: &mut Console) -> Result<Next, Failure> {
        let text = match self {
            Self::Quit => return Ok(Next::Quit),
            Self::Include(path) => {
                let source = Input::File(path).read()?;
                return Ok(Next::Run { name: source.name, text: source.text });
            }
            Self::ListTables => return Ok(Next::Run { name: None, text: "SHOW TABLES".into() }),
            Self::DescribeTable(table) => return Ok(Next::Run { name: None, text: format!("DESCRIBE {table}") }),
            Self::DescribeFunction(function) => {
                let pattern = function.replace('\'', "''");
                return Ok(Next::Run { name: None, text: format!("SHOW FUNCTIONS LIKE '{pattern}'") });
            }
            Self::SetFormat(format) => {
                console.set_format(format);
                return Ok(Next::Prompt);
            }
            Self::SetMaxRows(rows) => {
                console.maxrows = rows;
                return Ok(Next::Prompt);
            }
            Self::Quiet(quiet) => {
                console.quiet = quiet;
                return Ok(Next::Prompt);
            }
            Self::Help => HELP.to_owned(),
            Self::ListFunctions => functions(session),
            Self::ShowSettings => {
                let format = console.format().to_possible_value();
                let format = format.as_ref().map_or("", |value| value.get_name());
                format!("format {format}\nmaxrows {}\n", console.maxrows)
            }
        };
        let written = console.out.write_all(text.as_bytes()).and_then(|()| console.out.flush());
        written.map(|()| Next::Prompt).map_err(|error| console.out.failure().unwrap_or_else(|| Failure::output(&error)))
    }
}

/// The names of all functions, one a line.
fn functions(session: &Session) -> String {
    let state = session.ctx.state();
    let names: BTreeSet<_> = state
        .scalar_functions()
        .keys()
        .chain(state.aggregate_functions().keys())
        .chain(state.window_functions().keys())
        .chain(state.table_functions().keys())
        .collect();
    names.into_iter().flat_map(|name| [name.as_str(), "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        for (line, expected) in [
            ("\\q", Ok(Command::Quit)),
            ("  \\q; ", Ok(Command::Quit)),
            ("\\?", Ok(Command::Help)),
            ("\\d", Ok(Command::ListTables)),
            ("\\d  my.table ;", Ok(Command::DescribeTable("my.table".into()))),
            ("\\h", Ok(Command::ListFunctions)),
            ("\\h abs", Ok(Command::DescribeFunction("abs".into()))),
            ("\\i a b.sql", Ok(Command::Include("a b.sql".into()))),
            ("\\pset", Ok(Command::ShowSettings)),
            ("\\pset format nd-json", Ok(Command::SetFormat(Format::NdJson))),
            ("\\pset format CSV", Ok(Command::SetFormat(Format::Csv))),
            ("\\pset maxrows inf", Ok(Command::SetMaxRows(RowLimit(None)))),
            ("\\quiet", Ok(Command::Quiet(true))),
            ("\\quiet off", Ok(Command::Quiet(false))),
            ("\\x", Err("unknown command '\\x': \\? lists the commands")),
            ("\\q now", Err("\\q can't take 'now': \\? lists the commands")),
            ("\\i", Err("\\i needs the name of a file")),
            (
                "\\pset format yaml",
                Err("unknown format 'yaml': it is one of table, csv, tsv, json, nd-json and automatic"),
            ),
            ("\\pset maxrows many", Err("\\pset maxrows 'many': a number or inf is expected")),
            ("\\pset width 80", Err("unknown setting 'width': it is one of format and maxrows")),
        ] {
            assert_eq!(Command::parse(line), expected.map_err(str::to_owned), "{line}");
        }
    }
}
