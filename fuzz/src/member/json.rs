//! Where JSON documents begin and end: the input is the content of a member.

use super::documents::{Event, Splitter};
use crate::chunks::Chunks;

/// serde_json's own limit is a little lower than ours.
const NESTING_MAX: usize = 100;

/// A document, or what is wrong.
#[derive(Debug, PartialEq)]
enum Found {
    Document(Vec<u8>),
    Flaw(&'static str),
}

pub(crate) fn check(data: &[u8]) {
    let whole = split(data, &mut Chunks::whole());
    let cut = split(data, &mut Chunks::of_tail(data));
    assert_eq!(cut, whole, "in pieces");
    for found in &whole {
        if let Found::Document(document) = found {
            assert!(is_valid(document), "'{}' is no document", document.escape_ascii());
        }
    }
    check_lines(data, &whole);
}

fn split(data: &[u8], chunks: &mut Chunks) -> Vec<Found> {
    let (mut splitter, mut found, mut document) = (Splitter::new(), Vec::new(), Vec::new());
    let mut note = |event, document: &mut Vec<u8>| match event {
        Event::More => {}
        Event::Document => found.push(Found::Document(std::mem::take(document))),
        Event::Flaw(what) => {
            document.clear();
            found.push(Found::Flaw(what));
        }
    };
    let mut rest = data;
    // Without progress it would go round for ever.
    let mut idle = 0;
    while !rest.is_empty() {
        let piece = &rest[..chunks.next(rest.len())];
        let (used, event) = splitter.split(piece, &mut document);
        assert!(used <= piece.len() && (event != Event::More || used == piece.len()));
        idle = if used == 0 { idle + 1 } else { 0 };
        assert!(idle < 3, "nothing moves");
        note(event, &mut document);
        rest = &rest[used..];
    }
    note(splitter.finish(), &mut document);
    found
}

fn is_valid(document: &[u8]) -> bool {
    is_deep(document)
        // Whether strings are UTF-8 is another question.
        || serde_json::from_str::<serde_json::Value>(&String::from_utf8_lossy(document)).is_ok()
        || has_huge_number(document)
}

fn is_deep(document: &[u8]) -> bool {
    document.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() > NESTING_MAX
}

/// It wants numbers to be within the range of a double; the grammar doesn't.
fn has_huge_number(document: &[u8]) -> bool {
    let text = String::from_utf8_lossy(document);
    serde_json::from_str::<serde_json::Value>(&text).is_err_and(|error| error.to_string().contains("out of range"))
}

/// Where every line is an object by itself, these are the documents, all of them, and nothing is wrong.
fn check_lines(data: &[u8], found: &[Found]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let lines: Vec<_> =
        text.split('\n').map(|line| line.trim_matches([' ', '\t', '\r'])).filter(|line| !line.is_empty()).collect();
    let is_object = |line: &&str| line.starts_with('{') && serde_json::from_str::<serde_json::Value>(line).is_ok();
    if lines.is_empty() || !lines.iter().all(is_object) {
        return;
    }
    let expected: Vec<_> = lines.iter().map(|line| Found::Document(line.as_bytes().to_vec())).collect();
    assert_eq!(found, expected, "a document a line");
}
