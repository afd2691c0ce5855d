//! Which columns the documents of a sample have.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::error::{Error, ErrorKind, Result};
use crate::member::json::bad_record;
use crate::member::json::documents::{Event, Splitter};
use crate::policy::OnBadRow;

/// The columns of the first `max_records` documents of `sample`, in the order in which their keys first appear. Numbers
/// without a fraction that fit are Int64, others Float64, both together Float64; any other conflict is text. What was only
/// ever `null` or `{}` is Null: other members may know more. Every column may be NULL.
///
/// If the sample is not `complete`, the document that its end cuts does not count. A complete one without a document has
/// no columns.
///
/// # Errors
/// A bad document, where `on_bad_row` is `fail`; a sample that ends within its first document.
pub(crate) fn infer(sample: &[u8], complete: bool, max_records: usize, on_bad_row: OnBadRow) -> Result<Schema> {
    let mut columns = Members::default();
    let (mut splitter, mut document) = (Splitter::new(), Vec::new());
    let mut rest = sample;
    for number in 1..=max_records {
        let (used, mut event) = splitter.split(rest, &mut document);
        rest = &rest[used..];
        let at_end = event == Event::More;
        if at_end && complete {
            event = splitter.finish();
        }
        let shape = match event {
            Event::More if number == 1 && !complete => return Err(no_document(sample)),
            Event::More => break,
            Event::Flaw(what) => Err(what.to_owned()),
            Event::Document => shape_of(&document),
        };
        match shape {
            Ok(members) => columns.unite(members),
            Err(what) if on_bad_row == OnBadRow::Fail => return Err(bad_record(number, &what)),
            Err(_) => {}
        }
        if at_end {
            break;
        }
        document.clear();
    }
    Ok(Schema::new(columns.fields()))
}

/// Whether `sample` has so many documents, or what should be some, that are whole.
pub(crate) fn has_records(sample: &[u8], records: usize) -> bool {
    let (mut splitter, mut document) = (Splitter::new(), Vec::new());
    let mut rest = sample;
    (0..records).all(|_| {
        document.clear();
        let (used, event) = splitter.split(rest, &mut document);
        rest = &rest[used..];
        event != Event::More
    })
}

fn no_document(sample: &[u8]) -> Error {
    let what = format!("no document ends within the first {} bytes; declare the columns instead", sample.len());
    Error::new(ErrorKind::Schema, what)
}

fn shape_of(document: &[u8]) -> Result<Members, String> {
    // What bytes that are no UTF-8 do is not a question of types.
    match serde_json::from_str(&String::from_utf8_lossy(document)) {
        Ok(Shape::Object(members)) => Ok(members),
        Ok(_) => Err("the document is no object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// What a value, or all values of a column, look like.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    /// Only `null` so far.
    Null,
    Bool,
    Integer,
    Float,
    Text,
    List(Box<Self>),
    Object(Members),
}

/// The members of objects, in the order of their first appearance.
#[derive(Debug, Clone, PartialEq, Default)]
struct Members {
    shapes: Vec<(String, Shape)>,
    /// Where in `shapes` a key is.
    places: HashMap<String, usize>,
}

impl Shape {
    fn unite(self, other: Self) -> Self {
        match (self, other) {
            (Self::Null, shape) | (shape, Self::Null) => shape,
            (Self::Integer, Self::Float) | (Self::Float, Self::Integer) => Self::Float,
            (Self::List(one), Self::List(other)) => Self::List(Box::new(one.unite(*other))),
            (Self::Object(mut members), Self::Object(others)) => {
                members.unite(others);
                Self::Object(members)
            }
            (one, other) if one == other => one,
            _ => Self::Text,
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Integer => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::List(element) => DataType::List(Arc::new(Field::new_list_field(element.data_type(), true))),
            Self::Object(members) if !members.shapes.is_empty() => DataType::Struct(members.fields()),
            Self::Null | Self::Object(_) => DataType::Null,
            Self::Text => DataType::Utf8View,
        }
    }
}

impl Members {
    fn unite(&mut self, others: Self) {
        for (key, shape) in others.shapes {
            self.add(key, shape);
        }
    }

    fn add(&mut self, key: String, shape: Shape) {
        if let Some(&place) = self.places.get(&key) {
            let known = &mut self.shapes[place].1;
            *known = std::mem::replace(known, Shape::Null).unite(shape);
        } else {
            self.places.insert(key.clone(), self.shapes.len());
            self.shapes.push((key, shape));
        }
    }

    fn fields(self) -> Fields {
        self.shapes.into_iter().map(|(key, shape)| Field::new(key, shape.data_type(), true)).collect()
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Bool)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Integer)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Shape, E> {
        Ok(if i64::try_from(number).is_ok() { Shape::Integer } else { Shape::Float })
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Float)
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(Shape::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Shape, A::Error> {
        let mut shape = Shape::Null;
        while let Some(element) = elements.next_element()? {
            shape = shape.unite(element);
        }
        Ok(Shape::List(Box::new(shape)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Shape, A::Error> {
        let mut members = Members::default();
        while let Some((key, shape)) = entries.next_entry()? {
            members.add(key, shape);
        }
        Ok(Shape::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sample: &str, complete: bool, expected: &str) {
        let schema = infer(sample.as_bytes(), complete, 1000, OnBadRow::Skip).unwrap();
        let columns = schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type()));
        let columns: Vec<_> = columns.map(|column| column.replace("field: ", "")).collect();
        assert_eq!(columns.join("; "), expected, "{sample}");
    }

    #[test]
    fn columns_of_samples() {
        check("", true, "");
        for complete in [true, false] {
            check("{}", complete, "");
            check("{\"b\":1,\"a\":1.5}\n{\"c\":true,\"b\":2}", complete, "b Int64; a Float64; c Boolean");
            check("[{\"a\":1},{\"a\":0.5}]", complete, "a Float64");
            check("{\"a\":1}{\"a\":\"x\"}", complete, "a Utf8View");
            check("{\"a\":null}{\"a\":9223372036854775808}", complete, "a Float64");
            check("{\"a\":null,\"b\":{},\"c\":[]}", complete, "a Null; b Null; c List(Null)");
            check("{\"a\":[1,null]}{\"a\":[2.5]}", complete, "a List(Float64)");
            check("{\"a\":[1]}{\"a\":1}", complete, "a Utf8View");
            check("{\"a\":{\"x\":1}}{\"a\":{\"y\":[]}}", complete, "a Struct(\"x\": Int64, \"y\": List(Null))");
            check("{\"a\":{\"x\":1}}{\"a\":\"\"}", complete, "a Utf8View");
            check("{\"a\":1}\nxyz\n5\n{\"b\":1}\n", complete, "a Int64; b Int64");
            check("{\"a\":\"\u{fffd}\"}", complete, "a Utf8View");
        }
        check("{\"a\":1}\n{\"a\":\"x", false, "a Int64");
        check("[{\"a\":1},{\"a\":\"x\"", false, "a Int64");
    }

    #[test]
    fn a_sample_that_cuts_its_first_document_has_no_schema() {
        for sample in ["", " \n", "{\n \"a\": 1,\n", "[{\"a\": [1,\n"] {
            let error = infer(sample.as_bytes(), false, 1000, OnBadRow::Skip).unwrap_err().to_string();
            assert!(error.starts_with("no document ends within the first "), "{error}");
            assert!(!has_records(sample.as_bytes(), 1));
        }
        assert!(has_records(b"{\"a\":1}\nxyz\n{", 2) && !has_records(b"{\"a\":1}\nxyz\n{", 3));
    }

    #[test]
    fn only_so_many_records_count() {
        let schema = infer(b"{\"a\":1}\n{\"b\":1}\nxyz", true, 2, OnBadRow::Fail).unwrap();
        assert_eq!(schema.fields().len(), 2);
        let error = infer(b"{\"a\":1}\n{\"b\":1}\nxyz", true, 3, OnBadRow::Fail).unwrap_err().to_string();
        assert_eq!(error, "record 3: a value is missing");
        let error = infer(b"{\"a\":1}\n{\"b\":1", true, 3, OnBadRow::Fail).unwrap_err().to_string();
        assert_eq!(error, "record 2: the content ends inside the document");
    }
}
