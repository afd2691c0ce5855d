//! Colours at the prompt (`--color`): keywords and strings, as the engine's tokenizer sees them.

use datafusion::config::Dialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::script;

const KEYWORD: &str = "\x1b[1;34m";
const STRING: &str = "\x1b[32m";
const COMMENT: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// The line with colours in it; its visible characters stay the same.
pub(crate) fn highlighted(line: &str, dialect: &Dialect) -> String {
    let mut result = String::with_capacity(line.len() * 2);
    let mut copied = 0;
    for (token, range) in script::tokens_of(line, dialect) {
        let Some(colour) = colour(&token) else { continue };
        result.push_str(&line[copied..range.start]);
        result.push_str(colour);
        result.push_str(&line[range.clone()]);
        result.push_str(PLAIN);
        copied = range.end;
    }
    result.push_str(&line[copied..]);
    result
}

fn colour(token: &Token) -> Option<&'static str> {
    match token {
        Token::Word(word) if word.quote_style.is_none() && word.keyword != Keyword::NoKeyword => Some(KEYWORD),
        Token::SingleQuotedString(_) | Token::DollarQuotedString(_) => Some(STRING),
        token if script::is_comment(token) => Some(COMMENT),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_colours_are_added() {
        for line in ["", "SELECT 'é;' AS x, \"select\" -- end", "SELECT 'open", "\\d tables"] {
            let coloured = highlighted(line, &Dialect::Generic);
            let plain = [KEYWORD, STRING, COMMENT, PLAIN].iter().fold(coloured, |text, code| text.replace(code, ""));
            assert_eq!(plain, line);
        }
        assert_eq!(highlighted("SELECT x", &Dialect::Generic), "\x1b[1;34mSELECT\x1b[0m x");
    }
}
