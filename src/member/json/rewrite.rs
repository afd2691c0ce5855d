//! Documents that arrow-json would refuse, written so that it takes them.
//!
//! All of this is for rare documents; it works on text that is known to be JSON (the scanner let it pass), and relies on
//! the scanner's bound on nesting.

use arrow::datatypes::{DataType, Fields};

/// Writes objects and lists that stand where `fields` want text as text: their own JSON. `None` if there are none.
pub(super) fn nested_as_text(document: &[u8], fields: &Fields) -> Option<Vec<u8>> {
    let mut rewriter = Rewriter { document, at: 0, out: Vec::with_capacity(document.len()), changed: false };
    rewriter.value(Some(Wanted::Fields(fields)));
    rewriter.changed.then_some(rewriter.out)
}

/// Writes strings that are not UTF-8 as `null`. Keys, which can't be `null`, get U+FFFD for the bytes that are none: they
/// are no column's name anyway.
pub(super) fn broken_texts_as_null(document: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(document.len());
    let mut at = 0;
    while let Some(start) = document[at..].iter().position(|&byte| byte == b'"').map(|quote| at + quote) {
        let end = text_end(document, start);
        let text = &document[start..end];
        out.extend_from_slice(&document[at..start]);
        if std::str::from_utf8(text).is_ok() {
            out.extend_from_slice(text);
        } else if document[end..].trim_ascii_start().starts_with(b":") {
            out.extend_from_slice(String::from_utf8_lossy(text).as_bytes());
        } else {
            out.extend_from_slice(b"null");
        }
        at = end;
    }
    out.extend_from_slice(&document[at..]);
    out
}

/// The type of the column that a value is for.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    Type(&'a DataType),
    Fields(&'a Fields),
}

impl<'a> Wanted<'a> {
    fn is_text(self) -> bool {
        matches!(self, Self::Type(DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8))
    }

    fn member(self, key: &str) -> Option<Self> {
        match self {
            Self::Type(DataType::Struct(fields)) | Self::Fields(fields) => {
                fields.iter().find(|field| field.name() == key).map(|field| Self::Type(field.data_type()))
            }
            Self::Type(DataType::Map(entries, _)) => match entries.data_type() {
                DataType::Struct(fields) => fields.get(1).map(|field| Self::Type(field.data_type())),
                _ => None,
            },
            Self::Type(_) => None,
        }
    }

    fn element(self) -> Option<Self> {
        match self {
            Self::Type(
                DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _),
            ) => Some(Self::Type(element.data_type())),
            _ => None,
        }
    }
}

struct Rewriter<'a> {
    document: &'a [u8],
    at: usize,
    out: Vec<u8>,
    changed: bool,
}

impl Rewriter<'_> {
    fn value(&mut self, wanted: Option<Wanted<'_>>) {
        self.skip_space();
        let start = self.at;
        match (self.document.get(start), wanted) {
            (Some(b'{' | b'['), Some(wanted)) if wanted.is_text() => {
                self.at = value_end(self.document, start);
                let text = String::from_utf8_lossy(&self.document[start..self.at]);
                self.out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
                self.changed = true;
            }
            (Some(b'{'), Some(wanted)) => self.members(b'}', |rewriter| {
                let key = rewriter.key();
                rewriter.value(key.as_deref().and_then(|key| wanted.member(key)));
            }),
            (Some(b'['), Some(wanted)) => self.members(b']', |rewriter| rewriter.value(wanted.element())),
            _ => {
                self.at = value_end(self.document, start);
                self.out.extend_from_slice(&self.document[start..self.at]);
            }
        }
    }

    fn members(&mut self, end: u8, mut member: impl FnMut(&mut Self)) {
        self.copy_byte();
        loop {
            self.skip_space();
            match self.document.get(self.at) {
                Some(b',') => self.copy_byte(),
                Some(&byte) if byte == end => return self.copy_byte(),
                Some(_) => member(self),
                None => return,
            }
        }
    }

    fn key(&mut self) -> Option<String> {
        let start = self.at;
        self.at = text_end(self.document, start);
        let key = &self.document[start..self.at];
        self.out.extend_from_slice(key);
        self.skip_space();
        self.copy_byte();
        serde_json::from_slice(key).ok()
    }

    fn copy_byte(&mut self) {
        self.out.extend(self.document.get(self.at));
        self.at = self.document.len().min(self.at + 1);
    }

    fn skip_space(&mut self) {
        let rest = &self.document[self.at..];
        self.at += rest.len() - rest.trim_ascii_start().len();
    }
}

/// Behind the string whose quote is at `start`.
fn text_end(document: &[u8], start: usize) -> usize {
    let mut escaped = false;
    let inside = document.iter().skip(start + 1).position(|&byte| match byte {
        _ if std::mem::take(&mut escaped) => false,
        b'\\' => {
            escaped = true;
            false
        }
        byte => byte == b'"',
    });
    inside.map_or(document.len(), |inside| start + 1 + inside + 1)
}

/// Behind the value that begins at `start`; always past it, unless the document ends.
fn value_end(document: &[u8], start: usize) -> usize {
    let mut depth = 0_u32;
    let mut at = start;
    while let Some(&byte) = document.get(at) {
        match byte {
            b'"' => at = text_end(document, at),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            _ if depth > 0 => at += 1,
            _ => {
                return at
                    + document[at..]
                        .iter()
                        .position(|byte| b",]} \t\r\n".contains(byte))
                        .unwrap_or(document.len() - at);
            }
        }
        if depth == 0 {
            return at;
        }
    }
    document.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Field, Schema};
    use std::sync::Arc;

    #[test]
    fn nested_values_become_text() {
        let text = |name: &str| Field::new(name, DataType::Utf8View, true);
        let inner = DataType::Struct(vec![text("t"), Field::new("n", DataType::Int64, true)].into());
        let schema = Schema::new(vec![
            text("t"),
            text("é\""),
            Field::new("n", DataType::Int64, true),
            Field::new("s", inner, true),
            Field::new("l", DataType::List(Arc::new(text("item"))), true),
        ]);
        let cases = [
            (r#"{"t":{"a": [1, "}"]}}"#, Some(r#"{"t":"{\"a\": [1, \"}\"]}"}"#)),
            (r#"{ "t" : [ ] , "n" : 1 }"#, Some(r#"{"t":"[ ]","n":1}"#)),
            (r#"{"\u00e9\"":[1]}"#, Some(r#"{"\u00e9\"":"[1]"}"#)),
            (r#"{"s":{"t":{},"n":{}},"x":{"t":{}}}"#, Some(r#"{"s":{"t":"{}","n":{}},"x":{"t":{}}}"#)),
            (r#"{"l":["a",[1],{"b":2},null]}"#, Some(r#"{"l":["a","[1]","{\"b\":2}",null]}"#)),
            (r#"{"t":"[1]","n":[1],"l":[1,true]}"#, None),
            ("{}", None),
        ];
        for (document, expected) in cases {
            let rewritten =
                nested_as_text(document.as_bytes(), schema.fields()).map(|text| String::from_utf8(text).unwrap());
            assert_eq!(rewritten.as_deref(), expected, "{document}");
        }
    }

    #[test]
    fn broken_texts_become_null() {
        let cases: [(&[u8], &str); 3] = [
            (b"{\"a\":\"x\xff\",\"b\":[\"y\",\"\xff\"]}", r#"{"a":null,"b":["y",null]}"#),
            (b"{\"k\xff\" : \"\\\"\xff\\\"\"}", "{\"k\u{fffd}\" : null}"),
            (b"{\"a\":\"x\"}", r#"{"a":"x"}"#),
        ];
        for (document, expected) in cases {
            assert_eq!(String::from_utf8(broken_texts_as_null(document)).unwrap(), expected);
        }
    }
}
