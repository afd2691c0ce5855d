//! Where CSV records and fields begin and end: two bytes say how, the others are the content of a member.

use super::CsvOptions;
use super::split::{Event, Splitter};
use crate::chunks::Chunks;

/// A record's fields, or what is wrong.
#[derive(Debug, PartialEq)]
enum Found {
    Record(Vec<Vec<u8>>),
    QuotedNewline,
    Unterminated,
    TooLong,
}

pub(crate) fn check(data: &[u8]) {
    let Some((&[first, second], content)) = data.split_first_chunk() else { return };
    let options = CsvOptions {
        delimiter: [b',', b',', b';', b'\t'][usize::from(first & 3)],
        quote: if first & 4 == 0 { b'"' } else { b'\'' },
        escape: (first & 8 != 0).then_some(b'\\'),
        comment: (first & 16 != 0).then_some(b'#'),
        newlines_in_values: second & 1 != 0,
    };
    let whole = split(content, &options, &mut Chunks::whole());
    assert_eq!(split(content, &options, &mut Chunks::of_tail(data)), whole, "in pieces");
    // Byte by byte everything goes through csv-core; whole lines are cut without it.
    assert_eq!(split(content, &options, &mut Chunks::of(1)), whole, "byte by byte");
    compare(content, &options, &whole);
}

fn split(content: &[u8], options: &CsvOptions, chunks: &mut Chunks) -> Vec<Found> {
    let mut splitter = Splitter::new(options);
    let mut found = Vec::new();
    let mut rest = content;
    while !rest.is_empty() {
        let mut piece = &rest[..chunks.next(rest.len())];
        rest = &rest[piece.len()..];
        while !piece.is_empty() {
            let before = piece.len();
            let event = splitter.next(&mut piece);
            assert!(event.is_some() || piece.is_empty(), "nothing only when the piece is used up");
            assert!(piece.len() < before, "nothing moves");
            found.extend(event.map(Found::of));
        }
    }
    found.extend(splitter.finish().map(Found::of));
    found
}

impl Found {
    fn of(event: Event<'_>) -> Self {
        match event {
            Event::Record(fields) => {
                Self::Record((0..fields.count()).map(|index| fields.get(index).to_vec()).collect())
            }
            Event::QuotedNewline => Self::QuotedNewline,
            Event::Unterminated => Self::Unterminated,
            Event::TooLong => Self::TooLong,
        }
    }
}

/// The `csv` crate reads the same, where nothing is wrong.
fn compare(content: &[u8], options: &CsvOptions, ours: &[Found]) {
    let is_record = |found: &Found| matches!(found, Found::Record(_));
    // It ends a comment at a line feed only, and takes one that ends with the text for an empty record; and it takes open
    // quotes at the end for closed ones.
    let odd_comments = options.comment.is_some() && (content.contains(&b'\r') || !content.ends_with(b"\n"));
    let has_odd_ends = odd_comments || content.starts_with(b"\xef\xbb\xbf");
    if !options.newlines_in_values || has_odd_ends || !ours.iter().all(is_record) {
        return;
    }
    let mut builder = csv::ReaderBuilder::new();
    builder.has_headers(false).flexible(true).delimiter(options.delimiter).quote(options.quote);
    builder.escape(options.escape).comment(options.comment);
    let theirs = builder
        .from_reader(content)
        .into_byte_records()
        .map(|record| Found::Record(record.expect("any record will do").iter().map(<[u8]>::to_vec).collect()));
    assert_eq!(theirs.collect::<Vec<_>>(), ours, "theirs, and ours");
}
