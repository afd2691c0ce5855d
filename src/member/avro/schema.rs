//! A writer's schema without references: each named type stands where it is used.
//!
//! The specification lets a schema define a type once and name it from then on. arrow-avro finds no type again whose
//! definition has its namespace inside its name (`"name": "a.b.C"`, as fastavro writes all of them), and can't leave out a
//! field that defines a type which another field names. With nothing but definitions both work.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Values of JSON that a schema may unfold to. References to references could double it with every line.
const VALUES_MAX: usize = 1 << 17;

/// Levels of JSON that a schema may unfold to: serde_json's bound, with which arrow-avro would refuse it anyway.
const LEVELS_MAX: usize = 120;

/// `schema` with definitions for references. What refers to itself stays, as does what is unknown: arrow-avro says that it
/// can't read either.
///
/// # Errors
/// What is no JSON, or unfolds beyond the limits; the text says what is wrong.
pub(super) fn without_references(schema: &str) -> Result<String, String> {
    let schema: Value = serde_json::from_str(schema).map_err(|error| format!("it is no JSON: {error}"))?;
    let mut types = Types::default();
    Ok(types.unfold(&schema, "")?.value.to_string())
}

/// Part of a schema.
#[derive(Debug, Clone)]
struct Part {
    value: Value,
    values: usize,
    levels: usize,
}

#[derive(Debug, Default)]
struct Types {
    defined: HashMap<String, Part>,
}

impl Types {
    fn unfold(&mut self, schema: &Value, namespace: &str) -> Result<Part, String> {
        match schema {
            Value::String(name) => match self.defined.get(&full_name(name, namespace)) {
                Some(part) if !is_primitive(name) => Ok(part.clone()),
                _ => Ok(Part::leaf(schema.clone())),
            },
            Value::Array(branches) => {
                let mut parts = Parts::default();
                for branch in branches {
                    let part = self.unfold(branch, namespace)?;
                    parts.add(part, Vec::push)?;
                }
                Ok(parts.into_part(Value::Array))
            }
            Value::Object(members) => self.unfold_object(members, namespace),
            other => Ok(Part::leaf(other.clone())),
        }
    }

    fn unfold_object(&mut self, members: &Map<String, Value>, namespace: &str) -> Result<Part, String> {
        let kind = members.get("type").and_then(Value::as_str).unwrap_or_default();
        if let Some(part) = self.defined.get(&full_name(kind, namespace)).filter(|_| !is_primitive(kind)) {
            return Ok(part.clone());
        }
        let name = members.get("name").and_then(Value::as_str);
        let (namespace, name) = match (kind, name) {
            ("record" | "error" | "enum" | "fixed", Some(name)) => {
                let inherited = members.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
                let (namespace, name) = name.rsplit_once('.').unwrap_or((inherited, name));
                (namespace, Some(name))
            }
            _ => (namespace, None),
        };
        let mut parts = Parts::<Map<String, Value>>::default();
        for (key, value) in members {
            let part = match (kind, key.as_str()) {
                ("record" | "error", "fields") => self.unfold_fields(value, namespace)?,
                ("array", "items") | ("map", "values") => self.unfold(value, namespace)?,
                (_, "type") if !value.is_string() => self.unfold(value, namespace)?,
                _ => Part::leaf(value.clone()),
            };
            parts.add(part, |members, value| drop(members.insert(key.clone(), value)))?;
        }
        let Some(name) = name else { return Ok(parts.into_part(Value::Object)) };
        parts.values.insert("name".to_owned(), Value::from(name));
        parts.values.insert("namespace".to_owned(), Value::from(namespace));
        if namespace.is_empty() {
            parts.values.remove("namespace");
        }
        let part = parts.into_part(Value::Object);
        self.defined.insert(full_name(name, namespace), part.clone());
        Ok(part)
    }

    fn unfold_fields(&mut self, fields: &Value, namespace: &str) -> Result<Part, String> {
        let mut parts = Parts::default();
        for field in fields.as_array().into_iter().flatten() {
            let mut members = Parts::<Map<String, Value>>::default();
            for (key, value) in field.as_object().into_iter().flatten() {
                let part = if key == "type" { self.unfold(value, namespace)? } else { Part::leaf(value.clone()) };
                members.add(part, |members, value| drop(members.insert(key.clone(), value)))?;
            }
            parts.add(members.into_part(Value::Object), Vec::push)?;
        }
        Ok(parts.into_part(Value::Array))
    }
}

impl Part {
    /// What is not looked into: its own levels are bounded by the parser.
    fn leaf(value: Value) -> Self {
        Self { value, values: 1, levels: 1 }
    }
}

/// A list or an object that grows.
#[derive(Default)]
struct Parts<T> {
    values: T,
    count: usize,
    levels: usize,
}

impl<T> Parts<T> {
    fn add(&mut self, part: Part, add: impl FnOnce(&mut T, Value)) -> Result<(), String> {
        self.count += part.values;
        self.levels = self.levels.max(part.levels);
        if self.count > VALUES_MAX || self.levels > LEVELS_MAX {
            return Err(format!("it unfolds to more than {VALUES_MAX} values or {LEVELS_MAX} levels"));
        }
        add(&mut self.values, part.value);
        Ok(())
    }

    fn into_part(self, value: impl FnOnce(T) -> Value) -> Part {
        Part { value: value(self.values), values: self.count + 1, levels: self.levels + 1 }
    }
}

fn is_primitive(name: &str) -> bool {
    matches!(name, "null" | "boolean" | "int" | "long" | "float" | "double" | "bytes" | "string")
}

fn full_name(name: &str, namespace: &str) -> String {
    if namespace.is_empty() || name.contains('.') { name.to_owned() } else { format!("{namespace}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &[String]) -> String {
        format!(r#"{{"type":"record","name":"r","fields":[{}]}}"#, fields.join(","))
    }

    fn field(name: &str, data_type: &str) -> String {
        format!(r#"{{"name":"{name}","type":{data_type}}}"#)
    }

    #[test]
    fn references_become_definitions() {
        let cases = [
            (r#""long""#, r#""long""#),
            (
                r#"{"type":"record","name":"a.b.R","fields":[
                    {"name":"x","type":{"type":"enum","name":"a.b.E","symbols":["S"]}},{"name":"y","type":["null","a.b.E"]},
                    {"name":"z","type":{"type":"array","items":"E"}},{"name":"w","type":{"type":"E"}}]}"#,
                r#"{"type":"record","name":"R","namespace":"a.b","fields":[
                    {"name":"x","type":{"type":"enum","name":"E","namespace":"a.b","symbols":["S"]}},
                    {"name":"y","type":["null",{"type":"enum","name":"E","namespace":"a.b","symbols":["S"]}]},
                    {"name":"z","type":{"type":"array","items":{"type":"enum","name":"E","namespace":"a.b","symbols":["S"]}}},
                    {"name":"w","type":{"type":"enum","name":"E","namespace":"a.b","symbols":["S"]}}]}"#,
            ),
            // What refers to itself, or to nothing, stays.
            (
                r#"{"type":"record","name":"R","fields":[{"name":"next","type":["null","R"]},{"name":"x","type":"?"}]}"#,
                r#"{"type":"record","name":"R","fields":[{"name":"next","type":["null","R"]},{"name":"x","type":"?"}]}"#,
            ),
        ];
        for (schema, expected) in cases {
            let unfolded: Value = serde_json::from_str(&without_references(schema).unwrap()).unwrap();
            assert_eq!(unfolded, serde_json::from_str::<Value>(expected).unwrap(), "{schema}");
        }
    }

    #[test]
    fn unfolding_has_limits() {
        for uses in [1, 2] {
            let mut fields = vec![field("f0", r#"{"type":"enum","name":"t0","symbols":["S"]}"#)];
            for at in 1..1000 {
                let inner: Vec<_> =
                    (0..uses).map(|name| field(&format!("x{name}"), &format!("\"t{}\"", at - 1))).collect();
                let data_type = record(&inner).replace(r#""name":"r""#, &format!(r#""name":"t{at}""#));
                fields.push(field(&format!("f{at}"), &data_type));
            }
            let error = without_references(&record(&fields)).unwrap_err();
            assert_eq!(error, "it unfolds to more than 131072 values or 120 levels");
        }
    }
}
