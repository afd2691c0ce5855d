//! One JSON value, recognised byte by byte as RFC 8259 writes it.
//!
//! The scanner keeps no bytes: it only says where the value ends, or which byte can't be. It knows the whole grammar, so
//! that a flaw is found where it is and a damaged document doesn't swallow those behind it. Bytes from 0x80 on are let
//! through inside strings; whether they are UTF-8 is another question.

/// Objects and lists nest this deep at most: one bit of a `u128` each, and serde_json's own bound. What recurses over a
/// document that passed may rely on it.
const NESTING_MAX: u32 = 128;

/// What became of the bytes that were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The value goes on behind them.
    More,
    /// The value is complete.
    Done,
    /// The next byte can't be there; the text says what is wrong.
    Flaw(&'static str),
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Value,
    FirstElement,
    FirstKey,
    Key,
    Colon,
    /// A comma, or the end of the innermost object or list.
    After,
    Text,
    Escape,
    /// So many hexadecimal digits of `\u`.
    Hex(u8),
    Number(Number),
    /// The rest of `true`, `false` or `null`.
    Literal(&'static [u8]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Digits,
    Point,
    Fraction,
    E,
    ESign,
    Exponent,
}

/// What one byte did.
enum Step {
    Taken,
    /// The byte is the last one of the value.
    Last,
    /// The value, a number, ended in front of the byte.
    Ended,
    Flaw(&'static str),
}

/// Recognises one value.
#[derive(Debug)]
pub(super) struct Scanner {
    state: State,
    /// A bit for each open container, the innermost lowest: 1 is an object, 0 a list.
    objects: u128,
    depth: u32,
    /// The string at hand is a key.
    is_key: bool,
    unit: u16,
    /// The first half of a surrogate pair was there, the second has to follow.
    half: bool,
    /// A line break inside the value is a flaw.
    one_line: bool,
}

impl Scanner {
    /// For a value that may span lines.
    pub(super) fn new() -> Self {
        Self { state: State::Value, objects: 0, depth: 0, is_key: false, unit: 0, half: false, one_line: false }
    }

    /// For a value that must end on its line.
    pub(super) fn one_line() -> Self {
        Self { one_line: true, ..Self::new() }
    }

    /// Objects and lists that are open.
    pub(super) fn depth(&self) -> u32 {
        self.depth
    }

    /// Whether the next byte belongs to a string.
    pub(super) fn in_text(&self) -> bool {
        matches!(self.state, State::Text | State::Escape | State::Hex(_))
    }

    /// Whether the value could end here; only a number at the top can without saying so.
    pub(super) fn may_end(&self) -> bool {
        let State::Number(number) = self.state else { return false };
        self.depth == 0 && number.may_end()
    }

    /// Goes on with `bytes`; says how many belong to the value.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> (usize, Verdict) {
        let mut at = 0;
        while at < bytes.len() {
            if self.state == State::Text && !self.half {
                at += plain_run(&bytes[at..]);
            }
            let Some(&byte) = bytes.get(at) else { break };
            match self.step(byte) {
                Step::Taken => at += 1,
                Step::Last => return (at + 1, Verdict::Done),
                Step::Ended => return (at, Verdict::Done),
                Step::Flaw(what) => return (at, Verdict::Flaw(what)),
            }
        }
        (at, Verdict::More)
    }

    #[inline]
    fn step(&mut self, byte: u8) -> Step {
        match self.state {
            State::Number(number) => match number.next(byte) {
                Some(next) => self.goes_on(State::Number(next)),
                None if !number.may_end() => Step::Flaw("a number is cut"),
                None if self.depth == 0 => Step::Ended,
                None => {
                    self.state = State::After;
                    self.between_tokens(byte)
                }
            },
            State::Literal(rest) => match rest.split_first() {
                Some((&first, rest)) if first == byte => match rest {
                    [] => self.value_ended(),
                    rest => self.goes_on(State::Literal(rest)),
                },
                _ => Step::Flaw("an unknown word"),
            },
            State::Text | State::Escape | State::Hex(_) => self.text(byte),
            _ => self.between_tokens(byte),
        }
    }

    fn between_tokens(&mut self, byte: u8) -> Step {
        match (self.state, byte) {
            (_, b'\n') if self.one_line => Step::Flaw("the line ends inside the document"),
            (_, b' ' | b'\t' | b'\r' | b'\n') => Step::Taken,
            (State::FirstElement, b']') => self.close(),
            (State::Value | State::FirstElement, _) => self.value(byte),
            (State::FirstKey, b'}') => self.close(),
            (State::FirstKey | State::Key, b'"') => {
                self.is_key = true;
                self.goes_on(State::Text)
            }
            (State::FirstKey | State::Key, _) => Step::Flaw("a key in quotes is missing"),
            (State::Colon, b':') => self.goes_on(State::Value),
            (State::Colon, _) => Step::Flaw("a colon is missing"),
            (_, b',') => self.goes_on(if self.in_object() { State::Key } else { State::Value }),
            (_, b'}') if self.in_object() => self.close(),
            (_, b']') if !self.in_object() => self.close(),
            _ => Step::Flaw("a comma or a closing bracket is missing"),
        }
    }

    fn value(&mut self, byte: u8) -> Step {
        match byte {
            b'{' => self.open(1, State::FirstKey),
            b'[' => self.open(0, State::FirstElement),
            b'"' => {
                self.is_key = false;
                self.goes_on(State::Text)
            }
            b'-' => self.goes_on(State::Number(Number::Minus)),
            b'0' => self.goes_on(State::Number(Number::Zero)),
            b'1'..=b'9' => self.goes_on(State::Number(Number::Digits)),
            b't' => self.goes_on(State::Literal(b"rue")),
            b'f' => self.goes_on(State::Literal(b"alse")),
            b'n' => self.goes_on(State::Literal(b"ull")),
            _ => Step::Flaw("a value is missing"),
        }
    }

    fn text(&mut self, byte: u8) -> Step {
        match (self.state, byte) {
            (State::Text, b'\\') => self.goes_on(State::Escape),
            (State::Escape, b'u') => {
                self.unit = 0;
                self.goes_on(State::Hex(4))
            }
            (State::Hex(left), _) => match char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok()) {
                None => Step::Flaw("an escape is no hexadecimal number"),
                Some(digit) => {
                    self.unit = self.unit << 4 | digit;
                    if left == 1 { self.code_unit() } else { self.goes_on(State::Hex(left - 1)) }
                }
            },
            _ if self.half => Step::Flaw("half a surrogate pair"),
            (State::Text, b'"') if self.is_key => self.goes_on(State::Colon),
            (State::Text, b'"') => self.value_ended(),
            (State::Text, ..0x20) => Step::Flaw("a control character in a string"),
            (State::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.goes_on(State::Text),
            (State::Escape, _) => Step::Flaw("an unknown escape"),
            _ => Step::Taken,
        }
    }

    /// After `\uXXXX`: code points above U+FFFF are two of them, and half of one is no text.
    fn code_unit(&mut self) -> Step {
        match (self.half, self.unit) {
            (false, 0xd800..=0xdbff) => self.half = true,
            (true, 0xdc00..=0xdfff) => self.half = false,
            (true, _) | (false, 0xdc00..=0xdfff) => return Step::Flaw("half a surrogate pair"),
            (false, _) => {}
        }
        self.goes_on(State::Text)
    }

    fn open(&mut self, object: u128, inside: State) -> Step {
        if self.depth == NESTING_MAX {
            return Step::Flaw("more than 128 levels of nesting");
        }
        self.objects = self.objects << 1 | object;
        self.depth += 1;
        self.goes_on(inside)
    }

    fn close(&mut self) -> Step {
        self.objects >>= 1;
        self.depth -= 1;
        self.value_ended()
    }

    fn value_ended(&mut self) -> Step {
        if self.depth == 0 { Step::Last } else { self.goes_on(State::After) }
    }

    fn goes_on(&mut self, state: State) -> Step {
        self.state = state;
        Step::Taken
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

impl Number {
    fn may_end(self) -> bool {
        matches!(self, Self::Zero | Self::Digits | Self::Fraction | Self::Exponent)
    }

    fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Minus, b'0') => Some(Self::Zero),
            (Self::Minus, b'1'..=b'9') | (Self::Digits, b'0'..=b'9') => Some(Self::Digits),
            (Self::Zero | Self::Digits, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Digits | Self::Fraction, b'e' | b'E') => Some(Self::E),
            (Self::E, b'+' | b'-') => Some(Self::ESign),
            (Self::E | Self::ESign | Self::Exponent, b'0'..=b'9') => Some(Self::Exponent),
            _ => None,
        }
    }
}

/// The length of the run in front that holds neither a quote, a backslash nor a control character; eight bytes at once,
/// as strings are most of the text.
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let special = special_bits(u64::from_le_bytes(*word));
        if special != 0 {
            return 8 * place + special.trailing_zeros() as usize / 8;
        }
    }
    let in_rest = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20));
    8 * words.len() + in_rest.unwrap_or(rest.len())
}

/// The high bit of each byte that is special, up to the first; those above it mean nothing.
fn special_bits(word: u64) -> u64 {
    const LOW: u64 = u64::MAX / 255;
    const HIGH: u64 = LOW << 7;
    // A byte below n borrows from its high bit when n is taken off; bytes that had the bit set are masked out.
    let below = |word: u64, n: u64| word.wrapping_sub(LOW * n) & !word & HIGH;
    let quote = below(word ^ (LOW * u64::from(b'"')), 1);
    let backslash = below(word ^ (LOW * u64::from(b'\\')), 1);
    below(word, 0x20) | quote | backslash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &[u8]) -> Option<usize> {
        let mut scanner = Scanner::new();
        match scanner.scan(text) {
            (end, Verdict::Done) => Some(end),
            (end, Verdict::More) => scanner.may_end().then_some(end),
            (_, Verdict::Flaw(_)) => None,
        }
    }

    #[rustfmt::skip]
    const TEXTS: &[&str] = &[
        "{}", "[]", "{\"a\":1}", "[1,2]", "[1,,2]", "[,1]", "[1,]", "{\"a\":1,}", "{,}", "{\"a\" 1}", "{\"a\":}",
        "{1:2}", "{\"a\":1 \"b\":2}", "[1 2]", "true", "tru", "trux", "nul", "null", "false", "0", "00", "01", "-",
        "-0", "-1", "+1", "1.", "1.5", ".5", "1e", "1e5", "1E+5", "1e-", "1.5e-7", "\"\"", "\"a\"", "\"\\n\"",
        "\"\\x\"", "\"\\u00e9\"", "\"\\u00g9\"", "\"\\ud83d\\ude00\"", "\"\\ud83d\"", "\"\\ude00\"", "\"\\ud83dx\"",
        "\"\\ud83d\\n\"", "\"tab\there\"", "\"long enough for words\\\"", "\"0123456789abcdef\\\\\"",
        "{\"a\":[{\"b\":[[]]}]}", "[}", "{]", "{\"a\":[1}", " 1", "xyz", "\"\u{e9}\"", "{\"a\":\"b\",\"c\":{}}",
        "\"01234567\n\"", "[true,false,null]", "{\"a\":tru}", "[1.5.5]", "{\"a\":1e}", "[-]",
    ];

    /// What serde_json takes for a value, the scanner must too, and nothing else.
    #[test]
    fn agrees_with_serde_json() {
        let mut cases: Vec<Vec<u8>> = TEXTS.iter().map(|text| text.as_bytes().to_vec()).collect();
        for depth in [127, 128, 129, 100_000] {
            cases.push([vec![b'['; depth], vec![b']'; depth]].concat());
        }
        for text in &cases {
            let text = text.trim_ascii_start();
            let depth = text.iter().filter(|&&byte| byte == b'[').count();
            // serde_json counts one level more than it takes.
            let valid = depth == 128 || serde_json::from_slice::<serde_json::Value>(text).is_ok();
            let shown = String::from_utf8_lossy(&text[..text.len().min(40)]);
            assert_eq!(verdict(text).is_some_and(|end| end == text.len()), valid, "{shown}");
            for size in [1, 2, 3, 5, 7, 8, 9] {
                let mut scanner = Scanner::new();
                let mut verdict = (0, Verdict::More);
                for piece in text.chunks(size) {
                    if verdict.1 == Verdict::More {
                        let (used, now) = scanner.scan(piece);
                        verdict = (verdict.0 + used, now);
                    }
                }
                assert_eq!(verdict, Scanner::new().scan(text), "{shown} in pieces of {size}");
            }
        }
    }

    #[test]
    fn special_bytes_are_found_everywhere() {
        for special in [b'"', b'\\', 0, b'\n', 0x1f] {
            for at in 0..24 {
                let mut bytes = [b'x', 0x20, 0x7f, 0x80, 0xff, 0xa2, 0xdc, b'!'].repeat(3);
                bytes[at] = special;
                assert_eq!(plain_run(&bytes), at);
            }
        }
    }
}
