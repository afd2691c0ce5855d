//! The schemas of several members become the schema of one table.
//!
//! Columns are united by name, in order of first appearance. `Int64` with `Float64` is `Float64`; what has no type yet
//! (`Null`: nothing but NULLs was seen) takes that of the others; any other conflict is text. Inside structs and lists
//! the same holds.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};

/// One schema for all. A column that one of them lacks is nullable; one that is `Null` in all of them is text.
pub(crate) fn unite(schemas: impl IntoIterator<Item = Schema>) -> Schema {
    let fields = schemas.into_iter().map(|schema| schema.fields).reduce(|left, right| unite_fields(&left, &right));
    Schema::new(fields.unwrap_or_default().iter().map(settle_field).collect::<Fields>())
}

/// The type that has the values of both.
pub(crate) fn unite_types(left: &DataType, right: &DataType) -> DataType {
    use DataType::{Float64, Int64, LargeList, List, Map, Null, Struct, Utf8View};
    match (left, right) {
        (left, right) if left == right => left.clone(),
        (Null, other) | (other, Null) => other.clone(),
        (Int64, Float64) | (Float64, Int64) => Float64,
        (Struct(left), Struct(right)) => Struct(unite_fields(left, right)),
        (List(left), List(right)) => List(unite_field(left, right)),
        (LargeList(left), LargeList(right)) => LargeList(unite_field(left, right)),
        (Map(left, sorted), Map(right, also_sorted)) if same_keys(left, right) => {
            Map(unite_field(left, right), *sorted && *also_sorted)
        }
        _ => Utf8View,
    }
}

fn unite_fields(left: &Fields, right: &Fields) -> Fields {
    let mut united: Vec<(FieldRef, bool)> = left.iter().map(|field| (Arc::clone(field), false)).collect();
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(left.len());
    for (place, field) in left.iter().enumerate() {
        places.entry(field.name()).or_insert(place);
    }
    for field in right {
        match places.get(field.name().as_str()) {
            Some(place) => {
                let (known, in_both) = &mut united[*place];
                *known = unite_field(known, field);
                *in_both = true;
            }
            None => {
                places.insert(field.name(), united.len());
                united.push((Arc::clone(field), false));
            }
        }
    }
    let nullable = |(field, in_both): (FieldRef, bool)| if in_both { field } else { nullable(&field) };
    united.into_iter().map(nullable).collect()
}

fn unite_field(left: &FieldRef, right: &FieldRef) -> FieldRef {
    let field = Field::clone(left).with_data_type(unite_types(left.data_type(), right.data_type()));
    Arc::new(field.with_nullable(left.is_nullable() || right.is_nullable()))
}

fn nullable(field: &FieldRef) -> FieldRef {
    Arc::new(Field::clone(field).with_nullable(true))
}

/// Whether the entries of two maps differ only in their values.
fn same_keys(left: &FieldRef, right: &FieldRef) -> bool {
    match (left.data_type(), right.data_type()) {
        (DataType::Struct(left), DataType::Struct(right)) => {
            left.len() == 2 && right.len() == 2 && left[0] == right[0] && left[1].name() == right[1].name()
        }
        _ => false,
    }
}

fn settle_field(field: &FieldRef) -> FieldRef {
    let to = settle(field.data_type());
    if to == *field.data_type() {
        return Arc::clone(field);
    }
    Arc::new(Field::clone(field).with_data_type(to))
}

/// The type with text in place of `Null`, however deep.
fn settle(to: &DataType) -> DataType {
    match to {
        DataType::Null => DataType::Utf8View,
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(settle_field).collect()),
        DataType::List(item) => DataType::List(settle_field(item)),
        DataType::LargeList(item) => DataType::LargeList(settle_field(item)),
        DataType::Map(entries, sorted) => DataType::Map(settle_field(entries), *sorted),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataType::{Boolean, Date32, Float64, Int64, Null, Utf8View};

    fn schema(fields: &[(&str, DataType)]) -> Schema {
        Schema::new(fields.iter().map(|(name, to)| Field::new(*name, to.clone(), true)).collect::<Fields>())
    }

    fn list(item: DataType) -> DataType {
        DataType::List(Arc::new(Field::new("item", item, true)))
    }

    fn object(fields: &[(&str, DataType)]) -> DataType {
        DataType::Struct(schema(fields).fields)
    }

    fn map(value: DataType) -> DataType {
        let entries = vec![Field::new("key", DataType::Utf8, false), Field::new("value", value, true)];
        DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries.into()), false)), false)
    }

    #[test]
    fn columns_are_united_by_name_in_order_of_first_appearance() {
        let united = unite([
            schema(&[("b", Int64), ("a", Null), ("n", Null)]),
            schema(&[("a", Boolean), ("c", Date32), ("b", Float64)]),
            schema(&[("c", Int64), ("A", Int64)]),
        ]);
        let expected = [("b", Float64), ("a", Boolean), ("n", Utf8View), ("c", Utf8View), ("A", Int64)];
        assert_eq!(united, schema(&expected));
        assert_eq!(unite([]), Schema::empty());
    }

    #[test]
    fn a_column_is_nullable_unless_all_members_have_it_and_never_null() {
        let strict =
            |names: &[&str]| Schema::new(names.iter().map(|n| Field::new(*n, Int64, false)).collect::<Fields>());
        let united = unite([strict(&["a", "b"]), strict(&["b", "c"])]);
        let nullable: Vec<_> = united.fields.iter().map(|f| (f.name().as_str(), f.is_nullable())).collect();
        assert_eq!(nullable, [("a", true), ("b", false), ("c", true)]);
    }

    #[test]
    fn types_unite() {
        let cases = [
            (Int64, Int64, Int64),
            (Int64, Null, Int64),
            (Int64, Float64, Float64),
            (Int64, Boolean, Utf8View),
            (Date32, Utf8View, Utf8View),
            (list(Int64), list(Float64), list(Float64)),
            (list(Null), list(Int64), list(Int64)),
            (list(Int64), Int64, Utf8View),
            (object(&[("a", Int64)]), object(&[("b", Null), ("a", Float64)]), object(&[("a", Float64), ("b", Null)])),
            (object(&[("a", Int64)]), list(Int64), Utf8View),
            (map(Int64), map(Float64), map(Float64)),
            (map(Int64), object(&[("a", Int64)]), Utf8View),
        ];
        for (left, right, expected) in cases {
            assert_eq!(unite_types(&left, &right), expected, "{left} with {right}");
        }
        let nested = list(object(&[("a", Null)]));
        assert_eq!(unite([schema(&[("x", nested)])]), schema(&[("x", list(object(&[("a", Utf8View)])))]));
    }
}
