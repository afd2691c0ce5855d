//! Glob patterns over keys and member paths: `*` `?` `**` `[…]` `{a,b}` `{000..999}`.
//!
//! One matcher serves every store and the members, so that a pattern means the same everywhere. Braces are expanded
//! first, each alternative is cut at `/` into segments, and a segment is matched by a loop that remembers only the
//! last `*`: no pattern takes more than (its length × the name's length) steps.
//!
//! What a newcomer must know: nothing is a syntax error that can also be a name. An unclosed `[` or `{`, `{one}` and
//! `{a..b}` are literal text, as in a shell, because a listed key must be readable when it is given back verbatim.
//! Only what would silently match less than was meant is refused: `**` beside other characters of a segment.

use std::collections::{HashMap, HashSet};

/// Alternatives that the braces of one pattern may stand for. Numbering schemes end at 9999; a larger range is a typo.
const ALTERNATIVES_MAX: usize = 10_000;
/// Characters of all alternatives together, so that a long pattern with many braces can't eat the memory.
const EXPANDED_CHARS_MAX: usize = 4_000_000;
/// Braces within braces; parsing and expanding recurse.
const NESTING_MAX: usize = 16;
/// Listings that one pattern may start; beyond that one listing of what the alternatives have in common.
const PREFIXES_MAX: usize = 32;

/// What has a meaning in the text of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syntax {
    /// Everything.
    Glob,
    /// Braces only: URLs, where `*`, `?` and `[` are characters and there is no listing to match them against.
    Braces,
}

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pattern {
    alternatives: Vec<Alternative>,
    /// The alternatives by their literal prefix: ten thousand of them must not make a listing slow.
    by_prefix: HashMap<String, Vec<usize>>,
    /// The distinct lengths of those prefixes, in bytes, ascending.
    prefix_lengths: Vec<usize>,
    has_specials: bool,
}

/// A pattern without braces.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Alternative {
    /// What every match begins with; the whole name if the alternative is literal.
    prefix: String,
    segments: Vec<Segment>,
}

/// What stands between two `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Segment {
    /// `**`: any number of segments, none too.
    Deep,
    /// A name.
    Literal(String),
    /// `*` and a name's end, such as `*.tar`: the most frequent shape.
    Suffix(String),
    /// Anything else.
    Wild(Vec<Token>),
}

/// One step of a pattern. Letters are apart from the rest so that expansion is a plain copy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Token {
    Letter(char),
    Any,
    Star,
    Class { negated: bool, ranges: Vec<(char, char)> },
    Choice(Vec<Vec<Self>>),
    Numbers { low: u64, high: u64, width: usize },
}

impl Pattern {
    /// Compiles `text`; the error is a message without the pattern in it.
    pub(crate) fn compile(text: &str, syntax: Syntax) -> Result<Self, String> {
        let chars: Vec<char> = text.chars().collect();
        let last = |wanted: char| chars.iter().rposition(|c| *c == wanted).unwrap_or(0);
        let parser = Parser { chars: &chars, syntax, last_bracket: last(']'), last_brace: last('}') };
        let tokens = parser.sequence(0, chars.len(), 0)?;
        let has_specials = tokens.iter().any(|token| !matches!(token, Token::Letter(_)));
        let mut budget = EXPANDED_CHARS_MAX;
        let mut alternatives = expand(&tokens, &mut budget)?
            .into_iter()
            .map(|tokens| Alternative::new(&tokens))
            .collect::<Result<Vec<_>, _>>()?;
        // `{a,a}` is one alternative.
        let mut seen = HashSet::new();
        alternatives.retain(|alternative| seen.insert(alternative.clone()));

        let mut by_prefix: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, alternative) in alternatives.iter().enumerate() {
            by_prefix.entry(alternative.prefix.clone()).or_default().push(index);
        }
        let mut prefix_lengths: Vec<usize> = by_prefix.keys().map(String::len).collect();
        prefix_lengths.sort_unstable();
        prefix_lengths.dedup();
        Ok(Self { alternatives, by_prefix, prefix_lengths, has_specials })
    }

    /// Whether the whole of `name` matches. Names that end in `/` never do.
    pub(crate) fn matches(&self, name: &str) -> bool {
        if name.ends_with('/') {
            return false;
        }
        if let [only] = self.alternatives.as_slice() {
            return only.matches(name);
        }
        self.prefix_lengths
            .iter()
            .take_while(|length| **length <= name.len())
            .filter_map(|length| self.by_prefix.get(name.get(..*length)?))
            .flatten()
            .any(|index| self.alternatives[*index].matches(name))
    }

    /// Whether the pattern is a name, nothing in it having a meaning.
    pub(crate) fn is_literal(&self) -> bool {
        !self.has_specials
    }

    /// What every match begins with.
    pub(crate) fn literal_prefix(&self) -> &str {
        let mut prefixes = self.alternatives.iter().map(|alternative| alternative.prefix.as_str());
        let first = prefixes.next().unwrap_or_default();
        prefixes.fold(first, common_prefix)
    }

    /// The prefixes to list so as to see every possible match once: none of them begins with another one.
    pub(crate) fn prefixes(&self) -> Vec<&str> {
        let mut sorted: Vec<&str> = self.by_prefix.keys().map(String::as_str).collect();
        sorted.sort_unstable();
        // Sorted, what begins with a prefix follows it at once.
        let mut apart: Vec<&str> = Vec::new();
        for prefix in sorted {
            if !apart.last().is_some_and(|last| prefix.starts_with(last)) {
                apart.push(prefix);
            }
        }
        if apart.len() > PREFIXES_MAX { vec![self.literal_prefix()] } else { apart }
    }

    /// The alternatives that braces made, in the order of the text.
    pub(crate) fn alternatives(&self) -> &[Alternative] {
        &self.alternatives
    }
}

impl Alternative {
    fn new(tokens: &[Token]) -> Result<Self, String> {
        let mut segments =
            tokens.split(|token| *token == Token::Letter('/')).map(Segment::new).collect::<Result<Vec<_>, _>>()?;
        // `a/**` means what is below `a`, not `a` itself: at least one segment.
        if segments.last() == Some(&Segment::Deep) {
            segments.push(Segment::Suffix(String::new()));
        }
        let prefix = tokens.iter().map_while(|token| if let Token::Letter(c) = token { Some(*c) } else { None });
        Ok(Self { prefix: prefix.collect(), segments })
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The name, if the alternative is one.
    pub(crate) fn as_literal(&self) -> Option<&str> {
        let literal = self.segments.iter().all(|segment| matches!(segment, Segment::Literal(_)));
        literal.then_some(self.prefix.as_str())
    }

    fn matches(&self, name: &str) -> bool {
        if !name.starts_with(&self.prefix) {
            return false;
        }
        if self.as_literal().is_some() {
            return name.len() == self.prefix.len();
        }
        if let [only] = self.segments.as_slice() {
            return !name.contains('/') && only.matches(name);
        }
        let names: Vec<&str> = name.split('/').collect();
        let (mut segment, mut at) = (0, 0);
        // Where to go on when a match fails: behind the last `**`, one name later than the last time.
        let mut again: Option<(usize, usize)> = None;
        loop {
            match self.segments.get(segment) {
                None if at == names.len() => return true,
                Some(Segment::Deep) => {
                    segment += 1;
                    again = Some((segment, at));
                    continue;
                }
                Some(wanted) if names.get(at).is_some_and(|name| wanted.matches(name)) => {
                    segment += 1;
                    at += 1;
                    continue;
                }
                _ => {}
            }
            match again {
                Some((behind, from)) if from < names.len() => {
                    (segment, at) = (behind, from + 1);
                    again = Some((behind, from + 1));
                }
                _ => return false,
            }
        }
    }
}

impl Segment {
    fn new(tokens: &[Token]) -> Result<Self, String> {
        let letters = |tokens: &[Token]| -> Option<String> {
            tokens.iter().map(|token| if let Token::Letter(c) = token { Some(*c) } else { None }).collect()
        };
        if tokens == [Token::Star, Token::Star] {
            return Ok(Self::Deep);
        }
        if tokens.windows(2).any(|pair| pair == [Token::Star, Token::Star]) {
            return Err("'**' stands for whole directories: write '**/*.tar' or 'x*/**/*.tar', not '**.tar'".into());
        }
        if let Some(name) = letters(tokens) {
            return Ok(Self::Literal(name));
        }
        if let Some((Token::Star, rest)) = tokens.split_first()
            && let Some(suffix) = letters(rest)
        {
            return Ok(Self::Suffix(suffix));
        }
        Ok(Self::Wild(tokens.to_vec()))
    }

    /// Whether one name, without `/`, matches. `**` matches any one name here; its depth is the caller's.
    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Deep => true,
            Self::Literal(literal) => name == literal,
            Self::Suffix(suffix) => name.ends_with(suffix.as_str()),
            Self::Wild(tokens) => matches_tokens(tokens, name),
        }
    }
}

impl Token {
    fn accepts(&self, c: char) -> bool {
        match self {
            Self::Letter(letter) => *letter == c,
            Self::Any => true,
            Self::Class { negated, ranges } => ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated,
            Self::Star | Self::Choice(_) | Self::Numbers { .. } => false,
        }
    }
}

fn matches_tokens(tokens: &[Token], name: &str) -> bool {
    let (mut step, mut rest) = (0, name);
    // Where to go on when a match fails: behind the last `*`, one character later than the last time.
    let mut again: Option<(usize, &str)> = None;
    loop {
        match (tokens.get(step), rest.chars().next()) {
            (None, None) => return true,
            (Some(Token::Star), _) => {
                step += 1;
                again = Some((step, rest));
                continue;
            }
            (Some(token), Some(c)) if token.accepts(c) => {
                step += 1;
                rest = &rest[c.len_utf8()..];
                continue;
            }
            _ => {}
        }
        let Some((behind, from)) = again else { return false };
        let Some(c) = from.chars().next() else { return false };
        (step, rest) = (behind, &from[c.len_utf8()..]);
        again = Some((step, rest));
    }
}

/// Reads a pattern. Positions are indices into `chars`; a construct that does not parse is literal text.
struct Parser<'a> {
    chars: &'a [char],
    syntax: Syntax,
    /// Where the last `]` and the last `}` stand: no search for one needs to go beyond.
    last_bracket: usize,
    last_brace: usize,
}

impl Parser<'_> {
    /// The tokens of `chars[start..end]`.
    fn sequence(&self, start: usize, end: usize, depth: usize) -> Result<Vec<Token>, String> {
        if depth > NESTING_MAX {
            return Err(format!("braces are nested more than {NESTING_MAX} deep"));
        }
        let mut tokens = Vec::new();
        let mut at = start;
        while at < end {
            let glob = self.syntax == Syntax::Glob;
            match self.chars[at] {
                '*' if glob => tokens.push(Token::Star),
                '?' if glob => tokens.push(Token::Any),
                '[' if glob => {
                    if let Some(close) = self.class_end(at, end) {
                        tokens.push(self.class(at, close));
                        at = close + 1;
                        continue;
                    }
                    tokens.push(Token::Letter('['));
                }
                '{' => {
                    if let Some((commas, close)) = self.brace_end(at, end) {
                        self.braces(at, &commas, close, depth, &mut tokens)?;
                        at = close + 1;
                        continue;
                    }
                    tokens.push(Token::Letter('{'));
                }
                letter => tokens.push(Token::Letter(letter)),
            }
            at += 1;
        }
        Ok(tokens)
    }

    /// The `]` that closes the class opened at `open`: not the first character, so that `[]]` is a class.
    fn class_end(&self, open: usize, end: usize) -> Option<usize> {
        let first = if self.chars[open + 1..end].first() == Some(&'!') { open + 2 } else { open + 1 };
        (first + 1..end.min(self.last_bracket + 1)).find(|at| self.chars[*at] == ']')
    }

    fn class(&self, open: usize, close: usize) -> Token {
        let negated = self.chars[open + 1] == '!';
        let members = &self.chars[open + 1 + usize::from(negated)..close];
        let mut ranges = Vec::new();
        let mut rest = members;
        while let [low, ..] = rest {
            if let [_, '-', high, ..] = rest {
                ranges.push((*low, *high));
                rest = &rest[3..];
            } else {
                ranges.push((*low, *low));
                rest = &rest[1..];
            }
        }
        Token::Class { negated, ranges }
    }

    /// The commas and the `}` that belong to the `{` at `open`; what stands in `[…]` does not count.
    fn brace_end(&self, open: usize, end: usize) -> Option<(Vec<usize>, usize)> {
        let (mut commas, mut depth, mut at) = (Vec::new(), 0_usize, open + 1);
        while at < end && at <= self.last_brace {
            match self.chars[at] {
                '[' if self.syntax == Syntax::Glob => at = self.class_end(at, end).unwrap_or(at),
                '{' => depth += 1,
                ',' if depth == 0 => commas.push(at),
                '}' if depth == 0 => return Some((commas, at)),
                '}' => depth -= 1,
                _ => {}
            }
            at += 1;
        }
        None
    }

    fn braces(
        &self,
        open: usize,
        commas: &[usize],
        close: usize,
        depth: usize,
        tokens: &mut Vec<Token>,
    ) -> Result<(), String> {
        if !commas.is_empty() {
            let starts = std::iter::once(open + 1).chain(commas.iter().map(|comma| comma + 1));
            let ends = commas.iter().copied().chain([close]);
            let choices = starts.zip(ends).map(|(start, end)| self.sequence(start, end, depth + 1));
            tokens.push(Token::Choice(choices.collect::<Result<_, _>>()?));
        } else if let Some(numbers) = numbers(&self.chars[open + 1..close]) {
            tokens.push(numbers);
        } else {
            tokens.push(Token::Letter('{'));
            tokens.extend(self.sequence(open + 1, close, depth + 1)?);
            tokens.push(Token::Letter('}'));
        }
        Ok(())
    }
}

/// `000..999`, either end first. A leading zero at either end pads every number to the wider end.
fn numbers(inner: &[char]) -> Option<Token> {
    let inner: String = inner.iter().collect();
    let (first, last) = inner.split_once("..")?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return None;
    }
    let padded = [first, last].iter().any(|text| text.len() > 1 && text.starts_with('0'));
    let width = if padded { first.len().max(last.len()) } else { 0 };
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    Some(Token::Numbers { low: first.min(last), high: first.max(last), width })
}

/// Replaces choices and number ranges by every alternative that they stand for.
fn expand(tokens: &[Token], budget: &mut usize) -> Result<Vec<Vec<Token>>, String> {
    let mut alternatives = vec![Vec::new()];
    for token in tokens {
        let choices = match token {
            Token::Choice(choices) => {
                let mut all = Vec::new();
                for choice in choices {
                    all.extend(expand(choice, budget)?);
                }
                all
            }
            Token::Numbers { low, high, width } => number_tokens(*low, *high, *width)?,
            single => {
                spend(budget, alternatives.len())?;
                alternatives.iter_mut().for_each(|alternative| alternative.push(single.clone()));
                continue;
            }
        };
        if alternatives.len().saturating_mul(choices.len()) > ALTERNATIVES_MAX {
            return Err(too_many());
        }
        let mut product = Vec::with_capacity(alternatives.len() * choices.len());
        for head in &alternatives {
            for tail in &choices {
                spend(budget, head.len() + tail.len())?;
                product.push([head.as_slice(), tail].concat());
            }
        }
        alternatives = product;
    }
    Ok(alternatives)
}

fn number_tokens(low: u64, high: u64, width: usize) -> Result<Vec<Vec<Token>>, String> {
    // Looked at before anything is written out: a width may be as long as the pattern.
    let chars = (high - low).saturating_add(1).saturating_mul(width as u64);
    if high - low >= ALTERNATIVES_MAX as u64 || chars > EXPANDED_CHARS_MAX as u64 {
        return Err(too_many());
    }
    Ok((low..=high).map(|number| format!("{number:0width$}").chars().map(Token::Letter).collect()).collect())
}

fn spend(budget: &mut usize, chars: usize) -> Result<(), String> {
    *budget = budget.checked_sub(chars).ok_or_else(too_many)?;
    Ok(())
}

fn too_many() -> String {
    format!("its braces stand for more than {ALTERNATIVES_MAX} alternatives, or for very long ones: use '*'")
}

fn common_prefix<'a>(a: &'a str, b: &str) -> &'a str {
    let length = a.char_indices().zip(b.chars()).find(|((_, x), y)| x != y).map(|((at, _), _)| at);
    &a[..length.unwrap_or(a.len().min(b.len()))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let compiled = Pattern::compile(pattern, Syntax::Glob).unwrap();
        for name in matching {
            assert!(compiled.matches(name), "'{pattern}' should match '{name}'");
            assert!(name.starts_with(compiled.literal_prefix()), "'{pattern}' has a wrong prefix for '{name}'");
            let seen = compiled.prefixes().iter().filter(|prefix| name.starts_with(*prefix)).count();
            assert_eq!(seen, 1, "'{pattern}' lists '{name}' {seen} times");
        }
        for name in others {
            assert!(!compiled.matches(name), "'{pattern}' should not match '{name}'");
        }
    }

    #[test]
    fn patterns_match_what_they_say() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("a.tar", &["a.tar"], &["A.tar", "b.tar", "x/a.tar", "a.tar/", "a.tar2", "a.ta"]),
            ("*.tar", &[".tar", "a.tar", ".hidden.tar", "é.tar"], &["a/b.tar", "a.tar.gz", "a.TAR", "a.tar/"]),
            ("a*b*c", &["abc", "aXbYc", "abbcc", "abcbc"], &["ab", "ac", "a/b/c", "abcd"]),
            ("?.tar", &["a.tar", "é.tar", "..tar", "日.tar"], &[".tar", "ab.tar", "/.tar"]),
            ("a?b", &["axb", "a\\b"], &["a/b", "ab"]),
            ("**/*.tar", &["x.tar", "a/x.tar", "a/.b/x.tar"], &["x.tgz", "a/x.tar/y", "a/x.tar/"]),
            ("a/**/x", &["a/x", "a/b/x", "a/b/c/x", "a/x/x"], &["x", "b/x", "a/xx", "ab/x", "a/b/xx"]),
            ("a/**", &["a/x", "a/b/c"], &["a", "a/", "b/x", "ab/x"]),
            ("**", &["a", "a/b"], &["a/"]),
            ("**/a/**/b", &["a/b", "x/a/y/b", "a/a/b", "x/y/a/b"], &["b", "a", "a/b/c", "x/b"]),
            ("**/**/x", &["x", "a/x", "a/b/x"], &["a"]),
            ("*/x", &["a/x", ".a/x"], &["x", "a/b/x"]),
            ("[abc].tar", &["a.tar", "c.tar"], &["d.tar", "ab.tar", "[abc].tar"]),
            ("[a-cx]", &["a", "b", "c", "x"], &["d", "-", "y"]),
            ("[!a-c]", &["d", "é", "!"], &["a", "c", "", "/"]),
            ("a[!b]c", &["axc"], &["a/c", "abc"]),
            ("a[/]c", &[], &["a/c"]),
            ("a[+-9]c", &["a.c", "a5c"], &["a/c"]),
            ("[]x]", &["]", "x"], &["[]x]"]),
            ("[!]x]", &["a"], &["]", "x"]),
            ("[a-]", &["a", "-"], &["b"]),
            ("[z-a]", &[], &["a", "m", "z"]),
            ("[日-本]", &["日", "本"], &["a"]),
            ("[*][?][[][{]", &["*?[{"], &["a?[{"]),
            ("[a", &["[a"], &["a"]),
            ("[]", &["[]"], &["]"]),
            ("{a,b}.tar", &["a.tar", "b.tar"], &["c.tar", "a,b.tar", "{a,b}.tar"]),
            ("{a,b{c,d}}", &["a", "bc", "bd"], &["b", "c", "abc"]),
            ("x{,.gz}", &["x", "x.gz"], &["x."]),
            ("{a/b,c}/x", &["a/b/x", "c/x"], &["a/x"]),
            ("{[,],b}", &[",", "b"], &["[", "]"]),
            ("{a*,b?}.tar", &["a.tar", "axx.tar", "bx.tar"], &["b.tar", "a/x.tar"]),
            ("x{y}.tar", &["x{y}.tar"], &["xy.tar"]),
            ("{*}", &["{a}"], &["a"]),
            ("{a,b", &["{a,b"], &["a"]),
            ("a}", &["a}"], &["a"]),
            ("{a..c}", &["{a..c}"], &["b"]),
            ("{08..11}", &["08", "09", "10", "11"], &["8", "12", "011"]),
            ("{8..11}", &["8", "9", "10", "11"], &["08", "12"]),
            ("{1..003}", &["001", "002", "003"], &["1", "01"]),
            ("{3..1}", &["1", "2", "3"], &["0", "4"]),
            ("{0..0}", &["0"], &["00"]),
            ("s-{000..999}.tar", &["s-000.tar", "s-512.tar", "s-999.tar"], &["s-0.tar", "s-1000.tar"]),
            ("{0000..9999}/*.tar", &["0000/a.tar", "9999/.tar"], &["10000/a.tar", "1/a.tar"]),
            ("{a,ab,abc}*", &["a", "ab", "abcd", "ax"], &["b"]),
            ("a\\*b", &["a\\b", "a\\xb"], &["a*b"]),
            ("states/.2022-06-27/*/s?.tar", &["states/.2022-06-27/00/s1.tar"], &["states/x/00/s1.tar"]),
            ("a b+c%20#/*", &["a b+c%20#/x"], &["a b c #/x"]),
        ];
        for (pattern, matching, others) in table {
            check(pattern, matching, others);
        }
    }

    #[test]
    fn what_would_match_too_little_or_too_much_is_refused() {
        for pattern in ["**.tar", "a**", "a/**b/c", "***", "{0..10000}", "{0..99}{0..999}", "{0..18446744073709551615}"]
        {
            assert!(Pattern::compile(pattern, Syntax::Glob).is_err(), "'{pattern}'");
        }
        let nested = format!("{}a,b{}", "{x,".repeat(40), "}".repeat(40));
        assert!(Pattern::compile(&nested, Syntax::Glob).is_err());
        let long = format!("{{0..9999}}{}", "a".repeat(1000));
        assert!(Pattern::compile(&long, Syntax::Glob).is_err());
        let wide = format!("{{{}..9999}}", "0".repeat(30_000));
        assert!(Pattern::compile(&wide, Syntax::Glob).is_err());
    }

    #[test]
    fn urls_know_braces_only() {
        let pattern = Pattern::compile("a*[1]{x,[y,z]}", Syntax::Braces).unwrap();
        let literals: Vec<_> = pattern.alternatives().iter().map(|a| a.as_literal().unwrap()).collect();
        assert_eq!(literals, ["a*[1]x", "a*[1][y", "a*[1]z]"]);
    }

    #[test]
    fn only_names_are_literal() {
        for (pattern, literal) in [("a/b", true), ("x{y}", true), ("[a", true), ("{a,b}", false), ("[a]", false)] {
            assert_eq!(Pattern::compile(pattern, Syntax::Glob).unwrap().is_literal(), literal, "'{pattern}'");
        }
    }

    #[test]
    fn listings_start_where_the_alternatives_part() {
        let prefixes = |pattern| -> Vec<String> {
            Pattern::compile(pattern, Syntax::Glob).unwrap().prefixes().into_iter().map(String::from).collect()
        };
        assert_eq!(prefixes("a/b*"), ["a/b"]);
        assert_eq!(prefixes("{2019,2024}/*"), ["2019/", "2024/"]);
        assert_eq!(prefixes("{a,ab,b}*"), ["a", "b"]);
        assert_eq!(prefixes("s-{000..999}"), ["s-"]);
        assert_eq!(prefixes("{é,è}{10..99}"), [""]);
    }

    #[test]
    fn hostile_patterns_end() {
        let pattern = Pattern::compile(&"a*".repeat(100), Syntax::Glob).unwrap();
        assert!(!pattern.matches(&format!("{}b", "a".repeat(90))));
        let deep = Pattern::compile(&format!("{}x", "**/a/".repeat(50)), Syntax::Glob).unwrap();
        assert!(!deep.matches(&"a/".repeat(200)[..399]));
    }
}
