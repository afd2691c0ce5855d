//! SQL text cut into statements, and the variables in it.
//!
//! The cutting is done by the engine's own tokenizer, so that a `;` in a string, a quoted name or a comment never ends a
//! statement, and a statement remembers where it began: errors name the line of the file, not of the statement.
//!
//! `${NAME}` is replaced textually, wherever it stands but in a comment, before the text is cut. What looks different
//! (`${1}` in the replacement of a regular expression, say) is left alone; what a value contains is not looked at again.

use std::collections::HashMap;
use std::ops::Range;

use datafusion::config::Dialect;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::sql::parser::{DFParserBuilder, Statement as ParsedStatement};
use datafusion::sql::sqlparser::dialect::{Dialect as Grammar, GenericDialect, dialect_from_str};
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, TokenizerError, Whitespace};

use crate::failure::Failure;

/// Values of `--set`, by name.
pub(crate) type Variables = HashMap<String, String>;

/// The statements of one `-c`, one file or one line of the prompt.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) statements: Vec<Statement>,
}

/// One statement, without its `;` and the comments in front of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) text: String,
    /// The file it came from.
    source: Option<String>,
    /// Where its text begins there, both counted from 1.
    line: u64,
    column: u64,
}

impl Script {
    pub(crate) fn new(
        source: Option<String>,
        text: &str,
        variables: &Variables,
        dialect: &Dialect,
    ) -> Result<Self, Failure> {
        let grammar = grammar(dialect);
        let text = match text.strip_prefix("#!") {
            // Keeps the line, so that the numbers stay right.
            Some(rest) => format!("--{rest}"),
            None => text.to_owned(),
        };
        let text = substitute(&text, variables, grammar.as_ref()).map_err(|name| {
            let place = source.as_ref().map(|source| format!("{source}: ")).unwrap_or_default();
            Failure::Usage(format!("{place}${{{name}}} is not set: give --set {name}=VALUE"))
        })?;
        Ok(Self { statements: split(source.as_deref(), &text, grammar.as_ref()) })
    }
}

impl Statement {
    /// `file:line`, for statements of files.
    pub(crate) fn place(&self) -> Option<String> {
        self.source.as_ref().map(|source| format!("{source}:{}", self.line))
    }

    /// Parses it in the dialect that the session has now.
    pub(crate) fn parse(&self, state: &SessionState) -> Result<ParsedStatement> {
        let options = &state.config_options().sql_parser;
        let grammar = grammar(&options.dialect);
        let tokens = Tokenizer::new(grammar.as_ref(), &self.text).tokenize_with_location().map_err(|error| {
            let error = TokenizerError { location: self.absolute(error.location), ..error };
            DataFusionError::SQL(Box::new(ParserError::from(error)), None)
        })?;
        let tokens = tokens.into_iter().map(|mut token| {
            token.span.start = self.absolute(token.span.start);
            token.span.end = self.absolute(token.span.end);
            token
        });
        let mut statements = DFParserBuilder::new(tokens.collect::<Vec<_>>())
            .with_dialect(grammar.as_ref())
            .with_recursion_limit(options.recursion_limit.get())
            .build()?
            .parse_statements()?;
        match (statements.pop_front(), statements.is_empty()) {
            (Some(statement), true) => Ok(statement),
            // Possible only if SET changed the dialect, and with it what is a comment or a string, since the text was cut.
            _ => Err(DataFusionError::Plan("one statement is expected here".into())),
        }
    }

    fn absolute(&self, location: Location) -> Location {
        let column = if location.line == 1 { location.column + self.column - 1 } else { location.column };
        Location { line: location.line + self.line - 1, column }
    }
}

/// Whether the text at the prompt can run: its last statement ends in `;`, or there is none.
pub(crate) fn is_complete(text: &str, dialect: &Dialect) -> bool {
    let grammar = grammar(dialect);
    let mut tokens = Vec::new();
    match Tokenizer::new(grammar.as_ref(), text).tokenize_with_location_into_buf(&mut tokens) {
        Ok(()) => tokens.iter().rev().find(|token| !is_blank(&token.token)).is_none_or(|token| ends(&token.token)),
        // An open quote or comment; the next line may close it.
        Err(_) => false,
    }
}

/// What a prompt would make of a text: statements, and commands between them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// Statements, behind as many line ends as stand before them: so their lines keep their numbers.
    Statements(String),
    /// A line that begins with a backslash where a statement could begin, or says that it is over.
    Command(String),
}

/// Cuts what is piped in as if it were typed.
pub(crate) fn segments(text: &str, dialect: &Dialect) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut statements = String::new();
    for (number, line) in text.lines().enumerate() {
        let is_command = line.starts_with('\\') || is_goodbye(line);
        if is_command && is_complete(&statements, dialect) {
            segments.push(Segment::Statements(std::mem::replace(&mut statements, "\n".repeat(number + 1))));
            segments.push(Segment::Command(line.to_owned()));
        } else {
            statements.push_str(line);
            statements.push('\n');
        }
    }
    segments.push(Segment::Statements(statements));
    segments.retain(|segment| !matches!(segment, Segment::Statements(text) if text.trim().is_empty()));
    segments
}

/// Whether a line at the prompt ends the session.
pub(crate) fn is_goodbye(line: &str) -> bool {
    matches!(line.trim(), "quit" | "exit" | "quit;" | "exit;")
}

/// The tokens of a line and the bytes that each takes, up to the first one that is malformed.
pub(crate) fn tokens_of(text: &str, dialect: &Dialect) -> Vec<(Token, Range<usize>)> {
    tokens(text, grammar(dialect).as_ref()).into_iter().map(|(token, range)| (token.token, range)).collect()
}

/// A letter or `_`, then letters, digits and `_`, all ASCII.
pub(crate) fn is_variable_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn grammar(dialect: &Dialect) -> Box<dyn Grammar> {
    dialect_from_str(dialect).unwrap_or_else(|| Box::new(GenericDialect {}))
}

fn ends(token: &Token) -> bool {
    matches!(token, Token::SemiColon)
}

fn is_blank(token: &Token) -> bool {
    matches!(token, Token::Whitespace(_))
}

pub(crate) fn is_comment(token: &Token) -> bool {
    matches!(token, Token::Whitespace(Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_)))
}

/// The text with its variables replaced, or the name of the first one that is not set.
fn substitute(text: &str, variables: &Variables, grammar: &dyn Grammar) -> Result<String, String> {
    let comments: Vec<_> = tokens(text, grammar)
        .into_iter()
        .filter(|(token, _)| is_comment(&token.token))
        .map(|(_, range)| range)
        .collect();
    let mut result = String::with_capacity(text.len());
    let mut copied = 0;
    for comment in comments {
        replace(&text[copied..comment.start], variables, &mut result)?;
        result.push_str(&text[comment.clone()]);
        copied = comment.end;
    }
    replace(&text[copied..], variables, &mut result)?;
    Ok(result)
}

fn replace(text: &str, variables: &Variables, result: &mut String) -> Result<(), String> {
    let mut rest = text;
    while let Some(dollar) = rest.find("${") {
        let (before, after) = rest.split_at(dollar);
        result.push_str(before);
        match after[2..].split_once('}').filter(|(name, _)| is_variable_name(name)) {
            Some((name, behind)) => {
                result.push_str(variables.get(name).ok_or(name)?);
                rest = behind;
            }
            None => {
                result.push_str("${");
                rest = &after[2..];
            }
        }
    }
    result.push_str(rest);
    Ok(())
}

fn split(source: Option<&str>, text: &str, grammar: &dyn Grammar) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut first: Option<(Location, usize)> = None;
    let mut end = 0;
    let mut push = |first: Option<(Location, usize)>, end: usize| {
        if let Some((Location { line, column }, begin)) = first {
            let text = text[begin..end].trim_end().to_owned();
            statements.push(Statement { text, source: source.map(str::to_owned), line, column });
        }
    };
    for (token, range) in tokens(text, grammar) {
        end = range.end;
        if ends(&token.token) {
            push(first.take(), range.start);
        } else if !is_blank(&token.token) {
            first.get_or_insert((token.span.start, range.start));
        }
    }
    // What the tokenizer refuses (an open quote) belongs to the last statement, whose parsing will tell about it.
    if end < text.len() {
        let (line, column) = position(&text[..end]);
        first.get_or_insert((Location { line, column }, end));
    }
    push(first, text.len());
    statements
}

/// Where the next character after this text stands.
fn position(text: &str) -> (u64, u64) {
    text.chars().fold((1, 1), |(line, column), c| if c == '\n' { (line + 1, 1) } else { (line, column + 1) })
}

/// Tokens up to the first one that is malformed, with the bytes that each takes.
fn tokens(text: &str, grammar: &dyn Grammar) -> Vec<(TokenWithSpan, Range<usize>)> {
    let mut tokens = Vec::new();
    // The error is met again, and reported, when the statement is parsed.
    let _ = Tokenizer::new(grammar, text).tokenize_with_location_into_buf(&mut tokens);
    // The tokenizer counts lines and columns of characters: follow it through the text once.
    let mut here = Location { line: 1, column: 1 };
    let mut offset = 0;
    let mut offset_of = |location: Location| {
        for c in text[offset..].chars() {
            if (here.line, here.column) >= (location.line, location.column) {
                break;
            }
            offset += c.len_utf8();
            here = if c == '\n' {
                Location { line: here.line + 1, column: 1 }
            } else {
                Location { line: here.line, column: here.column + 1 }
            };
        }
        offset
    };
    tokens
        .into_iter()
        .map(|token| {
            let range = offset_of(token.span.start)..offset_of(token.span.end);
            (token, range)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str, variables: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Script::new(None, text, &variables, &Dialect::Generic)
            .map(|script| script.statements.into_iter().map(|statement| statement.text).collect())
            .map_err(|failure| failure.message().unwrap_or_default())
    }

    #[test]
    fn a_semicolon_ends_a_statement_only_where_it_is_one() {
        for (text, expected) in [
            ("", &[][..]),
            (" ; ;; -- nothing\n /* at; all */ ", &[]),
            ("SELECT 1", &["SELECT 1"]),
            ("SELECT 1;SELECT 2 ; ", &["SELECT 1", "SELECT 2"]),
            ("SELECT ';', \";\", 'it''s;'; SELECT 2", &["SELECT ';', \";\", 'it''s;'", "SELECT 2"]),
            ("-- a; b\nSELECT /* ; */ 1 -- c;\n;SELECT 2", &["SELECT /* ; */ 1 -- c;", "SELECT 2"]),
            ("SELECT $x$;$x$; SELECT 2", &["SELECT $x$;$x$", "SELECT 2"]),
            ("SELECT 'é→;'; SELECT 'ü'", &["SELECT 'é→;'", "SELECT 'ü'"]),
            ("SELECT 1; SELECT 'open; SELECT 3", &["SELECT 1", "SELECT 'open; SELECT 3"]),
            ("SELECT 1;\r\n'open", &["SELECT 1", "'open"]),
            ("#!/usr/bin/tarsql -f\nSELECT 1;", &["SELECT 1"]),
            ("COPY t TO 's3://b/**/*.x' STORED AS CSV;", &["COPY t TO 's3://b/**/*.x' STORED AS CSV"]),
        ] {
            assert_eq!(script(text, &[]).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn variables_are_replaced_but_in_comments() {
        let variables = [("DAY", "2022-06-27"), ("T", "my table"), ("self", "${self}"), ("E", "")];
        for (text, expected) in [
            ("SELECT '${DAY}'", Ok("SELECT '2022-06-27'")),
            (
                "SELECT \"${T}\".a_${DAY} /* ${NO} */ -- ${NO}",
                Ok("SELECT \"my table\".a_2022-06-27 /* ${NO} */ -- ${NO}"),
            ),
            ("SELECT '-- ${DAY}${E}'", Ok("SELECT '-- 2022-06-27'")),
            ("SELECT '${1}x ${} ${ DAY } ${DAY'", Ok("SELECT '${1}x ${} ${ DAY } ${DAY'")),
            ("SELECT '${self} $$${DAY}'", Ok("SELECT '${self} $$2022-06-27'")),
            ("SELECT 1; SELECT '${NO}'", Err("${NO} is not set: give --set NO=VALUE")),
        ] {
            let actual = script(text, &variables);
            assert_eq!(actual.map(|all| all.join(";")), expected.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn a_statement_knows_where_it_began() {
        let text = "-- one\nSELECT 1; SELECT\n  2;\n\n  /* é */ SELECT 'x";
        let script = Script::new(Some("a.sql".into()), text, &Variables::new(), &Dialect::Generic).unwrap();
        let places: Vec<_> = script.statements.iter().map(|statement| (statement.line, statement.column)).collect();
        assert_eq!(places, [(2, 1), (2, 11), (5, 11)]);
        assert_eq!(script.statements[2].place().as_deref(), Some("a.sql:5"));
    }

    #[test]
    fn parse_errors_name_the_line_of_the_file() {
        let state = datafusion::prelude::SessionContext::new().state();
        for (text, expected) in [
            ("SELECT 1;\n\n  SELECT x )", "Line: 3, Column: 12"),
            ("\n\n SELEC 1", "Line: 3, Column: 2"),
            ("SELECT 1;\n SELECT 'open", "Line: 2, Column: 9"),
        ] {
            let script = Script::new(None, text, &Variables::new(), &Dialect::Generic).unwrap();
            let error = script.statements.last().unwrap().parse(&state).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn piped_text_is_cut_as_if_it_were_typed() {
        let cut = |text: &str| segments(text, &Dialect::Generic);
        let statements = |text: &str| Segment::Statements(text.to_owned());
        let command = |text: &str| Segment::Command(text.to_owned());
        assert_eq!(
            cut("SELECT 1;\n\\d\nSELECT 2"),
            [statements("SELECT 1;\n"), command("\\d"), statements("\n\nSELECT 2\n")]
        );
        assert_eq!(cut("\\d\n\nquit\n"), [command("\\d"), command("quit")]);
        // Inside a statement or a string it is none.
        assert_eq!(cut("SELECT '\n\\q\n';"), [statements("SELECT '\n\\q\n';\n")]);
        assert_eq!(cut("SELECT\nexit\nFROM t"), [statements("SELECT\nexit\nFROM t\n")]);
    }

    #[test]
    fn completeness() {
        for (text, complete) in [
            ("", true),
            ("-- only a comment", true),
            ("SELECT 1", false),
            ("SELECT 1;", true),
            ("SELECT 1; -- done", true),
            ("SELECT 1; SELECT", false),
            ("SELECT ';", false),
            ("SELECT ';\n';", true),
            ("SELECT /* ;", false),
        ] {
            assert_eq!(is_complete(text, &Dialect::Generic), complete, "{text}");
        }
    }
}
