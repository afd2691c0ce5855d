//! Where each document of a member begins and ends.
//!
//! A member holds one document a line, documents one behind the other (pretty-printed, perhaps), or lists of documents.
//! Nobody says which; this is how it is told:
//!
//! - A `[` between documents opens a list, whose elements are the documents.
//! - Once a document ended with its line, every line is a document (`Lines`): damage then costs no more than its line.
//!   Once a document spanned lines, line breaks mean nothing (`Free`). `{}` settles nothing, as it is written so
//!   everywhere.
//! - Behind damage, reading goes on at the next line (`Lines`), at the next line that begins with `{` (otherwise: members
//!   of a pretty-printed document are indented), or, in a list, at the next comma of the list itself.

use super::value::{Scanner, Verdict};

/// What was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// Nothing yet: more content is needed.
    More,
    /// A document is complete.
    Document,
    /// What stands here is no document.
    Flaw(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Unknown,
    Lines,
    Free,
}

/// Where the next document would stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    /// Behind the `[` of a list.
    ListStart,
    /// Behind a comma of a list.
    ListElement,
    /// Behind an element of a list.
    ListAfter,
}

#[derive(Debug)]
enum Phase {
    Between,
    Document { scanner: Scanner, breaks_line: bool, bytes: u64 },
    Skipping(Skip),
}

/// Behind what the next document is looked for after damage.
#[derive(Debug)]
enum Skip {
    Line,
    LineWithBrace,
    Comma { depth: u64, in_text: bool, escaped: bool },
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Splits content into documents.
#[derive(Debug)]
pub(super) struct Splitter {
    phase: Phase,
    place: Place,
    layout: Layout,
    /// How much of a byte order mark was there; its length once the question is settled.
    mark: usize,
    /// A document began and ended on this line, and nothing else is on it so far.
    line_is_document: bool,
    /// The byte in front of the next one.
    last: u8,
}

impl Splitter {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Between,
            place: Place::Top,
            layout: Layout::Unknown,
            mark: 0,
            line_is_document: false,
            last: b'\n',
        }
    }

    /// One that begins behind a cut: at a line of its own, where every line is a document.
    pub(super) fn behind_cut() -> Self {
        Self { layout: Layout::Lines, mark: BYTE_ORDER_MARK.len(), ..Self::new() }
    }

    /// Whether every line is a document from here on, whatever comes: it stays so.
    pub(super) fn is_in_lines(&self) -> bool {
        self.layout == Layout::Lines
    }

    /// Whether nothing was split yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.mark == 0 && self.last == b'\n' && matches!(self.phase, Phase::Between)
    }

    /// Whether the next byte begins a line, which is a document, with nothing open.
    pub(super) fn is_at_line(&self) -> bool {
        self.is_in_lines() && self.last == b'\n' && matches!(self.phase, Phase::Between)
    }

    /// Whether documents span lines, or stand in a list.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.layout == Layout::Free || self.place != Place::Top
    }

    /// Goes on with `piece` up to the next event, and appends the bytes of the document to `out`. Says how many bytes are
    /// done with. Behind a flaw, what `out` has of the document is to be thrown away.
    pub(super) fn split(&mut self, piece: &[u8], out: &mut Vec<u8>) -> (usize, Event) {
        let mut at = 0;
        while at < piece.len() {
            let (used, event) = match self.phase {
                Phase::Between if self.mark < BYTE_ORDER_MARK.len() => self.byte_order_mark(piece[at]),
                Phase::Between => self.between(piece[at]),
                Phase::Document { .. } => self.document(&piece[at..], out),
                Phase::Skipping(_) => (self.skip(&piece[at..]), Event::More),
            };
            at += used;
            if used > 0 {
                self.last = piece[at - 1];
            }
            if event != Event::More {
                return (at, event);
            }
        }
        (at, Event::More)
    }

    /// The content is complete: `Document` if that completed one, `Flaw` if it ends too early.
    pub(super) fn finish(&self) -> Event {
        match &self.phase {
            Phase::Document { scanner, .. } if scanner.may_end() && self.place == Place::Top => Event::Document,
            Phase::Document { .. } => Event::Flaw("the content ends inside the document"),
            Phase::Skipping(_) => Event::More,
            Phase::Between if self.place != Place::Top => Event::Flaw("the content ends inside the list of documents"),
            Phase::Between if (1..BYTE_ORDER_MARK.len()).contains(&self.mark) => Event::Flaw("a value is missing"),
            Phase::Between => Event::More,
        }
    }

    fn byte_order_mark(&mut self, byte: u8) -> (usize, Event) {
        if byte == BYTE_ORDER_MARK[self.mark] {
            self.mark += 1;
            if self.mark == BYTE_ORDER_MARK.len() {
                // What follows is at the beginning of the first line.
                self.last = b'\n';
            }
            return (1, Event::More);
        }
        let cut = self.mark > 0;
        self.mark = BYTE_ORDER_MARK.len();
        if cut { self.flaw("a value is missing") } else { (0, Event::More) }
    }

    fn between(&mut self, byte: u8) -> (usize, Event) {
        match (self.place, byte) {
            (_, b' ' | b'\t' | b'\r') => return (1, Event::More),
            (_, b'\n') => {
                if self.layout == Layout::Unknown && std::mem::take(&mut self.line_is_document) {
                    self.layout = Layout::Lines;
                }
                return (1, Event::More);
            }
            (Place::Top, b'[') if self.layout != Layout::Lines => self.place = Place::ListStart,
            (Place::ListStart | Place::ListAfter, b']') => self.place = Place::Top,
            (Place::ListAfter, b',') => self.place = Place::ListElement,
            (Place::ListAfter, _) => return self.flaw("a comma or a closing bracket is missing"),
            _ => {
                let one_line = self.layout == Layout::Lines && self.place == Place::Top;
                let scanner = if one_line { Scanner::one_line() } else { Scanner::new() };
                let breaks_line = self.line_is_document;
                self.phase = Phase::Document { scanner, breaks_line, bytes: 0 };
                return (0, Event::More);
            }
        }
        self.line_is_document = false;
        (1, Event::More)
    }

    fn document(&mut self, piece: &[u8], out: &mut Vec<u8>) -> (usize, Event) {
        let Phase::Document { scanner, breaks_line, bytes } = &mut self.phase else { return (0, Event::More) };
        let (used, verdict) = scanner.scan(piece);
        if let Verdict::Flaw(what) = verdict {
            let (_, event) = self.flaw(what);
            return (used, event);
        }
        let part = &piece[..used];
        out.extend_from_slice(part);
        *bytes += part.len() as u64;
        if self.layout == Layout::Unknown {
            *breaks_line |= part.contains(&b'\n');
        }
        if verdict == Verdict::More {
            return (used, Event::More);
        }
        let (breaks_line, settles) = (*breaks_line, *bytes > 2);
        self.phase = Phase::Between;
        if self.place == Place::Top {
            self.line_is_document = settles && !breaks_line;
            if settles && breaks_line && self.layout == Layout::Unknown {
                self.layout = Layout::Free;
            }
        } else {
            self.place = Place::ListAfter;
        }
        (used, Event::Document)
    }

    /// The next byte can't be there.
    fn flaw(&mut self, what: &'static str) -> (usize, Event) {
        let (depth, in_text) = match &self.phase {
            Phase::Document { scanner, .. } => (u64::from(scanner.depth()), scanner.in_text()),
            _ => (0, false),
        };
        self.line_is_document = false;
        self.phase = Phase::Skipping(match (self.place, self.layout) {
            (Place::Top, Layout::Lines) => Skip::Line,
            (Place::Top, _) => Skip::LineWithBrace,
            _ => {
                self.place = Place::ListAfter;
                Skip::Comma { depth, in_text, escaped: false }
            }
        });
        (0, Event::Flaw(what))
    }

    /// Says how many bytes are to be left out; the phase changes with the first that isn't.
    fn skip(&mut self, piece: &[u8]) -> usize {
        let Phase::Skipping(skip) = &mut self.phase else { return 0 };
        let mut last = self.last;
        let end = match skip {
            Skip::Line => piece.iter().position(|&byte| byte == b'\n'),
            Skip::LineWithBrace => piece.iter().position(|&byte| {
                let found = byte == b'{' && last == b'\n';
                last = byte;
                found
            }),
            Skip::Comma { depth, in_text, escaped } => piece.iter().position(|&byte| {
                match byte {
                    _ if std::mem::take(escaped) => {}
                    b'\\' if *in_text => *escaped = true,
                    b'"' => *in_text = !*in_text,
                    _ if *in_text => {}
                    b',' | b']' if *depth == 0 => return true,
                    b'[' | b'{' => *depth += 1,
                    b']' | b'}' => *depth = depth.saturating_sub(1),
                    _ => {}
                }
                false
            }),
        };
        if end.is_some() {
            self.phase = Phase::Between;
        }
        end.unwrap_or(piece.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(content: &[u8], size: usize) -> Vec<String> {
        let mut splitter = Splitter::new();
        let (mut events, mut document) = (Vec::new(), Vec::new());
        let mut record = |event: Event, document: &mut Vec<u8>| {
            match event {
                Event::More => return,
                Event::Document => events.push(String::from_utf8_lossy(document).into_owned()),
                Event::Flaw(_) => events.push("!".to_owned()),
            }
            document.clear();
        };
        for mut piece in content.chunks(size) {
            while !piece.is_empty() {
                let (used, event) = splitter.split(piece, &mut document);
                piece = &piece[used..];
                record(event, &mut document);
            }
        }
        record(splitter.finish(), &mut document);
        events
    }

    #[test]
    fn documents_in_every_layout_and_behind_every_damage() {
        #[rustfmt::skip]
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            (" \r\n\t\n", &[]),
            ("{\"a\":1}", &["{\"a\":1}"]),
            ("{\"a\":1}\n{\"a\":2}\n", &["{\"a\":1}", "{\"a\":2}"]),
            ("{\"a\":1}\r\n\r\n  {\"a\":2}", &["{\"a\":1}", "{\"a\":2}"]),
            ("{\"a\":1}{\"a\":2} {\"a\":3}", &["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"]),
            ("{\n \"a\": 1\n}\n{\n \"a\": 2\n}\n", &["{\n \"a\": 1\n}", "{\n \"a\": 2\n}"]),
            ("{}\n{\n}\n{\"a\":\n1}", &["{}", "{\n}", "{\"a\":\n1}"]),
            ("[{\"a\":1},\n {\"a\":2}]\n", &["{\"a\":1}", "{\"a\":2}"]),
            ("[]", &[]),
            ("[{\"a\":1}]\n[{\"a\":2}]{\"a\":3}", &["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"]),
            ("[1, [2, 3], \"x,]\", null, {}]", &["1", "[2, 3]", "\"x,]\"", "null", "{}"]),
            ("5\n6", &["5", "6"]),
            ("\u{feff}{\"a\":1}", &["{\"a\":1}"]),
            ("\u{feff}[{\"a\":1}]", &["{\"a\":1}"]),
            // Damage in lines costs its line.
            ("{\"a\":1}\n{\"a\":\n{\"a\":3}\n", &["{\"a\":1}", "!", "{\"a\":3}"]),
            ("{\"a\":1}\n{\"a\":\"x\n{\"a\":3}\n", &["{\"a\":1}", "!", "{\"a\":3}"]),
            ("{\"a\":1}\nxyz\n[1,\n{\"a\":3}\n", &["{\"a\":1}", "!", "!", "{\"a\":3}"]),
            ("{\"a\":1}\n[1,2]\n{\"a\":3}\n", &["{\"a\":1}", "[1,2]", "{\"a\":3}"]),
            ("{\"a\":1\n{\"a\":2}\n{\"a\":\n{\"a\":4}", &["!", "{\"a\":2}", "!", "{\"a\":4}"]),
            ("{\"a\":\"1\n{\"a\":2}\n{\"a\":3}", &["!", "{\"a\":2}", "{\"a\":3}"]),
            ("xyz\n{\"a\":2}\n", &["!", "{\"a\":2}"]),
            ("{\"a\":1}\n{\"a\":2", &["{\"a\":1}", "!"]),
            ("{\"a\":1} x\n{\"a\":2}\n", &["{\"a\":1}", "!", "{\"a\":2}"]),
            // Damage in a pretty-printed document costs the document.
            ("{\n \"a\": 1,,\n \"b\": [\n  {\"x\": 1}\n ]\n}\n{\n \"a\": 2\n}\n", &["!", "{\n \"a\": 2\n}"]),
            // Damage in a list costs the element.
            ("[{\"a\":1},{\"a\":},{\"a\":3}]", &["{\"a\":1}", "!", "{\"a\":3}"]),
            ("[{\"a\":1} {\"a\":2},{\"a\":3}]", &["{\"a\":1}", "!", "{\"a\":3}"]),
            ("[{\"a\":\"\\x, ]\"},{\"a\":3},]", &["!", "{\"a\":3}", "!"]),
            ("[{\"a\":1},,{\"a\":3}]", &["{\"a\":1}", "!", "{\"a\":3}"]),
            ("[{\"a\":\"x\ny, \\\" ]\"},{\"a\":3}]", &["!", "{\"a\":3}"]),
            ("[{\"a\":1]", &["!"]),
            ("[{\"a\":1}", &["{\"a\":1}", "!"]),
            ("[{\"a\":1},", &["{\"a\":1}", "!"]),
            ("[{\"a\":1},{\"a\"", &["{\"a\":1}", "!"]),
            ("[5", &["!"]),
            ("{\"a\"", &["!"]),
        ];
        for (content, expected) in cases {
            for size in [1, 2, 3, 5, 7, 11, 64, usize::MAX] {
                assert_eq!(split(content.as_bytes(), size), *expected, "{content:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn half_a_byte_order_mark_is_a_flaw() {
        for size in [1, 2, 8] {
            assert_eq!(split(b"\xef\xbb{\"a\":1}\n{\"a\":2}", size), ["!", "{\"a\":2}"]);
            assert_eq!(split(b"\xef\xbb", size), ["!"]);
        }
    }
}
