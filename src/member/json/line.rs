//! A line that is one JSON document, read once from left to right.
//!
//! [`Line`] takes what is certain to be what [`super::value`] takes, and gives up at the rest: `None` says that the line
//! has to be looked at by those who can tell what is wrong with it, or nothing is.

use super::value::plain_run;

/// Levels below a value that is skipped, and below a column; deeper documents are rare.
const LEVELS_MAX: u32 = 32;

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Digits that a `u64` always holds.
const DIGITS_MAX: usize = 19;

/// Integers up to here are doubles, each.
const EXACT_MAX: u64 = 1 << 53;

/// UTF-8 that is being read.
pub(super) struct Line<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A number as it is written.
pub(super) struct Number<'a> {
    pub(super) text: &'a [u8],
    /// All digits but the exponent's; meaningless where there are more than [`DIGITS_MAX`].
    digits: u64,
    digits_count: usize,
    decimals: usize,
    has_exponent: bool,
}

impl<'a> Line<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), at: 0 }
    }

    /// The next byte that is no white space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at)? {
                b' ' | b'\t' | b'\r' => self.at += 1,
                byte => return Some(*byte),
            }
        }
    }

    /// Whether nothing but white space is left.
    pub(super) fn is_done(&mut self) -> bool {
        self.peek().is_none()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Goes over a word such as `null`.
    pub(super) fn word(&mut self, word: &'static str) -> Option<&'static str> {
        self.bytes[self.at..].starts_with(word.as_bytes()).then(|| self.at += word.len())?;
        Some(word)
    }

    /// Goes over an object; `member` is given each key, and reads the value.
    pub(super) fn object(&mut self, mut member: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.take(b'"')?;
            let length = plain_run(&self.bytes[self.at..]);
            let key = &self.bytes[self.at..self.at + length];
            self.at += length;
            self.word("\"")?;
            self.take(b':')?;
            member(self, key)?;
            if !self.goes_on(b'}')? {
                return Some(());
            }
        }
    }

    /// Goes over a list; `element` reads each value.
    pub(super) fn list(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(b'[')?;
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            element(self)?;
            if !self.goes_on(b']')? {
                return Some(());
            }
        }
    }

    /// Behind a value: whether a comma is there, and not `end`.
    fn goes_on(&mut self, end: u8) -> Option<bool> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b',' => Some(true),
            byte if byte == end => Some(false),
            _ => None,
        }
    }

    /// Appends a string to `out`.
    pub(super) fn text(&mut self, out: &mut Vec<u8>) -> Option<()> {
        self.take(b'"')?;
        loop {
            let rest = &self.bytes[self.at..];
            let length = plain_run(rest);
            out.extend_from_slice(&rest[..length]);
            self.at += length + 1;
            match rest.get(length)? {
                b'"' => return Some(()),
                b'\\' => self.escape(out)?,
                _ => return None,
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        out.push(match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut point = self.code_unit()?;
                if (0xd800..0xdc00).contains(&point) {
                    self.word("\\u")?;
                    let low = self.code_unit()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                    point = 0x1_0000 + ((point - 0xd800) << 10 | low);
                }
                out.extend_from_slice(char::from_u32(point)?.encode_utf8(&mut [0; 4]).as_bytes());
                return Some(());
            }
            _ => return None,
        });
        Some(())
    }

    fn code_unit(&mut self) -> Option<u32> {
        let digits = self.bytes.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
    }

    pub(super) fn number(&mut self) -> Option<Number<'a>> {
        let start = self.at;
        self.at += usize::from(self.bytes[start..].starts_with(b"-"));
        let (mut digits, mut decimals) = (0, 0);
        let first = self.at;
        let whole = self.digits(&mut digits)?;
        if whole > 1 && self.bytes[first] == b'0' {
            return None;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            decimals = self.digits(&mut digits)?;
        }
        let has_exponent = matches!(self.bytes.get(self.at), Some(b'e' | b'E'));
        if has_exponent {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            self.digits(&mut 0)?;
        }
        let text = &self.bytes[start..self.at];
        Some(Number { text, digits, digits_count: whole + decimals, decimals, has_exponent })
    }

    /// Goes over at least one digit; says how many there are.
    fn digits(&mut self, number: &mut u64) -> Option<usize> {
        let start = self.at;
        while let Some(digit) = self.bytes.get(self.at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10)
        {
            *number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
        }
        Some(self.at - start).filter(|count| *count > 0)
    }

    /// Goes over a value, whatever it is.
    pub(super) fn skip(&mut self) -> Option<()> {
        self.skip_within(LEVELS_MAX)
    }

    fn skip_within(&mut self, levels: u32) -> Option<()> {
        match self.peek()? {
            b'"' => self.skip_text(),
            b'{' => levels.checked_sub(1).and_then(|levels| self.object(|line, _| line.skip_within(levels))),
            b'[' => levels.checked_sub(1).and_then(|levels| self.list(|line| line.skip_within(levels))),
            b't' => self.word("true").map(|_| ()),
            b'f' => self.word("false").map(|_| ()),
            b'n' => self.word("null").map(|_| ()),
            _ => self.number().map(|_| ()),
        }
    }

    fn skip_text(&mut self) -> Option<()> {
        let rest = &self.bytes[self.at + 1..];
        let length = plain_run(rest);
        if rest.get(length)? == &b'"' {
            self.at += length + 2;
            return Some(());
        }
        self.text(&mut Vec::new())
    }
}

impl Number<'_> {
    /// Its value, where it is written as an integer and fits.
    pub(super) fn integer(&self) -> Option<i64> {
        if self.decimals > 0 || self.has_exponent || self.digits_count > DIGITS_MAX {
            return None;
        }
        let magnitude = i64::try_from(self.digits).ok()?;
        Some(if self.text[0] == b'-' { -magnitude } else { magnitude })
    }

    /// The double that is nearest.
    pub(super) fn double(&self) -> Option<f64> {
        // Both are exact then, and so the quotient is rounded once.
        let is_exact = !self.has_exponent && self.digits_count <= DIGITS_MAX && self.digits <= EXACT_MAX;
        match POWERS.get(self.decimals) {
            Some(power) if is_exact => {
                let magnitude = self.digits as f64 / power;
                Some(if self.text[0] == b'-' { -magnitude } else { magnitude })
            }
            _ => str::from_utf8(self.text).ok()?.parse().ok(),
        }
    }
}
