//! The columns of a member row: names and types in one place, in the order of the table.
//!
//! The names are POSIX tar's (`path`, `uname`, `linkname`, …), the types Arrow's.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

/// A column that a member's header fills, and `archive`, which is the same for all members of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderColumn {
    Archive,
    Path,
    Type,
    Size,
    Mtime,
    Mode,
    Uid,
    Gid,
    Uname,
    Gname,
    Linkname,
    Pax,
    DataOffset,
}

impl HeaderColumn {
    /// All of them, in the order of the table.
    pub(crate) const ALL: [Self; 13] = [
        Self::Archive,
        Self::Path,
        Self::Type,
        Self::Size,
        Self::Mtime,
        Self::Mode,
        Self::Uid,
        Self::Gid,
        Self::Uname,
        Self::Gname,
        Self::Linkname,
        Self::Pax,
        Self::DataOffset,
    ];

    fn field(self) -> Field {
        let required = |name, data_type| Field::new(name, data_type, false);
        let nullable = |name, data_type| Field::new(name, data_type, true);
        match self {
            Self::Archive => required("archive", DataType::Utf8View),
            Self::Path => required("path", DataType::Utf8View),
            Self::Type => required("type", DataType::Utf8View),
            Self::Size => required("size", DataType::Int64),
            Self::Mtime => nullable("mtime", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            Self::Mode => required("mode", DataType::Int32),
            Self::Uid => required("uid", DataType::Int64),
            Self::Gid => required("gid", DataType::Int64),
            Self::Uname => nullable("uname", DataType::Utf8View),
            Self::Gname => nullable("gname", DataType::Utf8View),
            Self::Linkname => nullable("linkname", DataType::Utf8View),
            Self::Pax => nullable("pax", pax_type()),
            Self::DataOffset => required("data_offset", DataType::Int64),
        }
    }
}

/// `Map(Utf8, Utf8)` with the entry names that arrow's `MapBuilder` gives.
fn pax_type() -> DataType {
    let entries =
        Fields::from(vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Utf8, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

/// Schema of `format = 'members'`: the header columns and `content`.
pub(crate) fn members_schema() -> SchemaRef {
    with_header_columns([Field::new("content", DataType::BinaryView, true)])
}

/// Schema of `format = 'text'`: the header columns and `text`.
pub(crate) fn text_schema() -> SchemaRef {
    with_header_columns([Field::new("text", DataType::Utf8View, true)])
}

/// Schema of `format = 'lines'`: the header columns, `line_number` (from 1) and `line`.
pub(crate) fn lines_schema() -> SchemaRef {
    with_header_columns([
        Field::new("line_number", DataType::Int64, false),
        Field::new("line", DataType::Utf8View, true),
    ])
}

/// What `provenance = true` appends to the columns of a record format.
pub(crate) fn provenance_fields() -> [Field; 3] {
    [
        Field::new("_archive", DataType::Utf8View, false),
        Field::new("_path", DataType::Utf8View, false),
        Field::new("_row", DataType::Int64, false),
    ]
}

fn with_header_columns(others: impl IntoIterator<Item = Field>) -> SchemaRef {
    let header = HeaderColumn::ALL.into_iter().map(HeaderColumn::field);
    Arc::new(Schema::new(header.chain(others).collect::<Fields>()))
}
