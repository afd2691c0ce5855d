//! The prompt: statements over several lines until `;`, history, Ctrl-C that cancels the statement and nothing else.

use std::borrow::Cow;
use std::fs;
use std::path::PathBuf;

use datafusion::config::Dialect;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Editor, Helper};
use tokio::runtime::Runtime;

use crate::args::Source;
use crate::command::{Command, Next};
use crate::console::{Console, complain};
use crate::exec::{self, Ending};
use crate::failure::Failure;
use crate::highlight::highlighted;
use crate::script::{self, Script, Segment};
use crate::session::Session;
use crate::signal::Signals;

const PROMPT: &str = "tarsql> ";

/// Entries that the history file keeps.
const HISTORY_ENTRIES_MAX: usize = 10_000;

/// Reads and runs until the end of the input. A statement that fails is not the end.
pub(crate) fn run(session: &Session, console: &mut Console, runtime: &Runtime) -> Result<Ending, Failure> {
    let mut prompt = Prompt::new(console.color)?;
    console.note(&format!("tarsql {}: \\? lists the commands, \\q quits", env!("CARGO_PKG_VERSION")));
    loop {
        let line = match prompt.read(session.dialect()) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(Ending::Complete),
            Err(error) => return Err(Failure::Usage(format!("can't read from the terminal: {error}"))),
        };
        let result = match line.trim() {
            "" => continue,
            word if script::is_goodbye(word) => Ok(Next::Quit),
            command if command.starts_with('\\') => match Command::parse(command) {
                Ok(command) => command.act(session, console),
                Err(message) => Err(Failure::Usage(message)),
            },
            _ => Ok(Next::Run { name: None, text: line }),
        };
        let result = match result {
            Ok(Next::Quit) => return Ok(Ending::Complete),
            Ok(Next::Prompt) => Ok(()),
            Ok(Next::Run { name, text }) => run_text(session, console, runtime, name, &text).map(|_| ()),
            Err(failure) => Err(failure),
        };
        match result {
            _ if console.out.is_closed => return Err(Failure::ClosedPipe),
            Ok(()) => {}
            Err(failure) => failure.message().iter().for_each(|message| complain(message)),
        }
    }
}

/// Runs what is piped in: statements and commands as at the prompt, but the first that fails is the end.
pub(crate) fn run_piped(
    session: &Session,
    console: &mut Console,
    runtime: &Runtime,
    piped: &Source,
) -> Result<Ending, Failure> {
    let mut ending = Ending::Complete;
    for segment in script::segments(&piped.text, &session.dialect()) {
        let next = match segment {
            Segment::Command(line) if script::is_goodbye(&line) => Next::Quit,
            Segment::Command(line) => {
                match Command::parse(line.trim()).map_err(Failure::Usage)?.act(session, console) {
                    Err(Failure::ClosedPipe) => Next::Prompt,
                    next => next?,
                }
            }
            Segment::Statements(text) => Next::Run { name: piped.name.clone(), text },
        };
        match next {
            Next::Quit => break,
            Next::Prompt => {}
            Next::Run { name, text } => ending = ending.max(run_text(session, console, runtime, name, &text)?),
        }
    }
    Ok(ending)
}

fn run_text(
    session: &Session,
    console: &mut Console,
    runtime: &Runtime,
    name: Option<String>,
    text: &str,
) -> Result<Ending, Failure> {
    let script = Script::new(name, text, &session.variables, &session.dialect())?;
    runtime.block_on(async {
        // Made anew: a Ctrl-C that came before is none of this statement's business.
        let mut signals = Signals::interrupts().map_err(Failure::signals)?;
        exec::run_scripts(session, console, &[script], &mut signals).await
    })
}

/// The line editor and where it keeps its history.
struct Prompt {
    editor: Editor<Language, DefaultHistory>,
    history: Option<PathBuf>,
}

impl Prompt {
    fn new(color: bool) -> Result<Self, Failure> {
        let unusable = |error: ReadlineError| Failure::Usage(format!("can't use the terminal: {error}"));
        let config = Config::builder()
            .max_history_size(HISTORY_ENTRIES_MAX)
            .and_then(|config| config.history_ignore_dups(true))
            .map_err(unusable)?
            .history_ignore_space(true)
            .build();
        let mut editor = Editor::with_config(config).map_err(unusable)?;
        editor.set_helper(Some(Language { dialect: Dialect::Generic, color }));
        let history = history_file();
        if let Some(file) = history.as_ref().filter(|file| file.exists())
            && let Err(error) = editor.load_history(file)
        {
            complain(&format!("can't read the history in '{}': {error}", file.display()));
        }
        Ok(Self { editor, history })
    }

    fn read(&mut self, dialect: Dialect) -> rustyline::Result<String> {
        if let Some(language) = self.editor.helper_mut() {
            language.dialect = dialect;
        }
        let line = self.editor.readline(PROMPT)?;
        if !may_hold_secret(&line) && self.editor.add_history_entry(&line)? {
            self.save();
        }
        Ok(line)
    }

    /// Appends at once, so that a crash loses nothing. The editor gives the file to its owner only (0600).
    fn save(&mut self) {
        if let Some(file) = &self.history
            && let Err(error) = self.editor.append_history(file)
        {
            complain(&format!("can't keep a history in '{}': {error}", file.display()));
            self.history = None;
        }
    }
}

/// Secrets have no place in a file.
fn may_hold_secret(line: &str) -> bool {
    tarsql::metrics::redact(line) != line
}

/// `$XDG_STATE_HOME/tarsql/history`, by default below `~/.local/state`; none where there is no home.
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = state.or_else(|| Some(std::env::home_dir()?.join(".local/state")))?.join("tarsql");
    fs::create_dir_all(&directory).ok()?;
    Some(directory.join("history"))
}

/// What the editor knows about SQL.
struct Language {
    dialect: Dialect,
    color: bool,
}

impl Validator for Language {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let input = context.input().trim();
        let is_word = input.starts_with('\\') || matches!(input, "quit" | "exit");
        Ok(match is_word || script::is_complete(input, &self.dialect) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

impl Highlighter for Language {
    fn highlight<'l>(&self, line: &'l str, _pos: usize) -> Cow<'l, str> {
        match self.color && !line.trim_start().starts_with('\\') {
            true => Cow::Owned(highlighted(line, &self.dialect)),
            false => Cow::Borrowed(line),
        }
    }

    fn highlight_char(&self, _line: &str, _pos: usize, _kind: CmdKind) -> bool {
        self.color
    }
}

impl Completer for Language {
    type Candidate = String;
}

impl Hinter for Language {
    type Hint = String;
}

impl Helper for Language {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_out_of_the_history() {
        assert!(may_hold_secret("SET x; OPTIONS ('aws.SECRET_access_key' 'x')"));
        assert!(may_hold_secret("SELECT * FROM read_tar('az://c/x.tar', azure.account_key = 'x')"));
        assert!(may_hold_secret("SELECT * FROM 'https://h/x.tar?X-Amz-Signature=x'"));
        assert!(!may_hold_secret("SELECT 1;"));
    }
}
