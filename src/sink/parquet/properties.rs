//! What a Parquet file is written with: the engine's options, checked, in the words of the Parquet library.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::config::TableParquetOptions;
use datafusion::physical_expr::LexRequirement;
use datafusion::physical_expr::expressions::Column;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::ArrowRowGroupWriterFactory;
use parquet::basic::{ConvertedType, Type};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};

use super::column::{ColumnEncoder, Settings};
use crate::error::{Error, ErrorKind};

type Result<T, E = datafusion::error::DataFusionError> = std::result::Result<T, E>;

/// How all files of one sink are written.
#[derive(Debug)]
pub(super) struct Properties {
    pub(super) schema: SchemaRef,
    parquet: SchemaDescriptor,
    /// One for each column of the schema.
    columns: Vec<Encoding>,
    writer: WriterPropertiesPtr,
    /// Rows that a row group has at most.
    pub(super) rows_max: usize,
    /// Encoded bytes at which a row group is closed, where the user has said so.
    pub(super) bytes_max: Option<usize>,
}

impl Properties {
    /// For files of `schema`, sorted by `order` if that is a list of its columns.
    ///
    /// # Errors
    /// An option has an impossible value, names a column that is not there, or is one that we could only ignore.
    pub(super) fn try_new(
        options: &TableParquetOptions,
        schema: SchemaRef,
        order: Option<&LexRequirement>,
    ) -> Result<Self> {
        check_values(options)?;
        let parquet = ArrowSchemaConverter::new().convert(&schema)?;
        check_columns(options, &parquet)?;
        let mut options = options.clone();
        leave_bytes_alone(&mut options, &parquet);
        if !options.global.skip_arrow_metadata {
            options.arrow_schema(&schema);
        }
        let sorting = order.and_then(|order| sorting_columns(order, &schema, &parquet));
        let writer = WriterPropertiesBuilder::try_from(&options)?.set_sorting_columns(sorting).build();
        Ok(Self {
            rows_max: writer.max_row_group_row_count().unwrap_or(usize::MAX),
            bytes_max: writer.max_row_group_bytes(),
            columns: Encoding::of_all(&schema, &parquet, &writer),
            schema,
            parquet,
            writer: Arc::new(writer),
        })
    }

    /// Begins a file.
    pub(super) fn file<W: Write + Send>(&self, sink: W) -> Result<SerializedFileWriter<W>> {
        Ok(SerializedFileWriter::new(sink, self.parquet.root_schema_ptr(), Arc::clone(&self.writer))?)
    }

    /// Makes the library's writers of row groups, which fit into any of the files.
    pub(super) fn library(&self) -> Result<ArrowRowGroupWriterFactory> {
        Ok(ArrowRowGroupWriterFactory::new(&self.file(io::sink())?, Arc::clone(&self.schema)))
    }

    /// The columns of a row group, with those of `library` where we don't encode them ourselves.
    pub(super) fn columns(&self, library: &ArrowRowGroupWriterFactory) -> Result<Vec<ColumnEncoder>> {
        // The index only matters to encryption.
        let writers = if self.has_foreign_columns() { library.create_column_writers(0)? } else { Vec::new() };
        let mut writers = writers.into_iter();
        let columns = self.columns.iter().map(|column| match column {
            Encoding::Ours(settings) => {
                writers.next();
                ColumnEncoder::ours(settings.as_ref().clone())
            }
            Encoding::Theirs { leaves } => ColumnEncoder::Theirs(writers.by_ref().take(*leaves).collect()),
        });
        Ok(columns.collect())
    }

    fn has_foreign_columns(&self) -> bool {
        self.columns.iter().any(|column| matches!(column, Encoding::Theirs { .. }))
    }

    #[cfg(test)]
    fn writer(&self) -> &WriterProperties {
        &self.writer
    }
}

/// Who encodes a column.
#[derive(Debug)]
enum Encoding {
    Ours(Box<Settings>),
    Theirs { leaves: usize },
}

impl Encoding {
    fn of_all(schema: &Schema, parquet: &SchemaDescriptor, properties: &WriterProperties) -> Vec<Self> {
        let mut leaves = vec![Vec::new(); schema.fields().len()];
        for leaf in 0..parquet.num_columns() {
            leaves[parquet.get_column_root_idx(leaf)].push(parquet.column(leaf));
        }
        let columns = schema.fields().iter().zip(leaves).map(|(field, leaves)| {
            match &leaves[..] {
                [leaf] => Settings::new(field, leaf, properties).map(|settings| Self::Ours(Box::new(settings))),
                _ => None,
            }
            .unwrap_or(Self::Theirs { leaves: leaves.len() })
        });
        columns.collect()
    }
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::Option, message)
}

/// Values at which the Parquet library would panic, or which the engine would drop.
fn check_values(options: &TableParquetOptions) -> Result<(), Error> {
    let TableParquetOptions { global, column_specific_options: columns, crypto, .. } = options;
    if crypto.file_encryption.is_some() || crypto.factory_id.is_some() {
        return Err(refused("option 'crypto' can't be given: encrypted Parquet files are not written here".to_owned()));
    }
    for (name, is_zero) in [
        ("max_row_group_size", global.max_row_group_size == 0),
        ("column_index_truncate_length", global.column_index_truncate_length == Some(0)),
        ("statistics_truncate_length", global.statistics_truncate_length == Some(0)),
        ("write_batch_size", global.write_batch_size == 0),
    ] {
        if is_zero {
            return Err(refused(format!("option '{name}' can't be 0: it is at least 1")));
        }
    }
    let all = columns.values();
    for statistics in
        all.clone().filter_map(|column| column.statistics_enabled.as_ref()).chain(&global.statistics_enabled)
    {
        if !["none", "chunk", "page"].contains(&statistics.as_str()) {
            let known = "'none', 'chunk', 'page'";
            return Err(refused(format!("option 'statistics_enabled' can't be '{statistics}': it is one of {known}")));
        }
    }
    for encoding in all.clone().filter_map(|column| column.encoding.as_ref()).chain(&global.encoding) {
        if encoding.to_ascii_lowercase().contains("dictionary") {
            let remedy = "say 'dictionary_enabled' 'true', and 'encoding' for what the dictionary can't hold";
            return Err(refused(format!("option 'encoding' can't be '{encoding}': {remedy}")));
        }
    }
    for probability in all.filter_map(|column| column.bloom_filter_fpp).chain(global.bloom_filter_fpp) {
        if !(probability > 0.0 && probability < 1.0) {
            let message = format!("option 'bloom_filter_fpp' can't be {probability}: it lies between 0 and 1");
            return Err(refused(message));
        }
    }
    Ok(())
}

/// An option for a column that no file has would say nothing.
fn check_columns(options: &TableParquetOptions, parquet: &SchemaDescriptor) -> Result<(), Error> {
    let leaves: Vec<_> = parquet.columns().iter().map(|column| column.path().string()).collect();
    let mut named: Vec<_> = options.column_specific_options.keys().collect();
    named.sort();
    match named.into_iter().find(|name| !leaves.contains(name)) {
        None => Ok(()),
        Some(name) => Err(refused(format!(
            "an option is given for column '{name}' (as 'option::{name}'), but the files have the columns {}",
            leaves.join(", ")
        ))),
    }
}

/// Columns of bytes get neither a dictionary nor statistics, unless options of theirs ask for it. They hold what is large and
/// different in every row (`content`, before all): hashing and comparing it takes time, and finds nothing.
fn leave_bytes_alone(options: &mut TableParquetOptions, parquet: &SchemaDescriptor) {
    let is_bytes = |leaf: &&ColumnDescPtr| {
        let is_more = leaf.logical_type_ref().is_some() || leaf.converted_type() != ConvertedType::NONE;
        leaf.physical_type() == Type::BYTE_ARRAY && !is_more
    };
    for leaf in parquet.columns().iter().filter(is_bytes) {
        let column = options.column_specific_options.entry(leaf.path().string()).or_default();
        column.dictionary_enabled.get_or_insert(false);
        column.statistics_enabled.get_or_insert_with(|| "none".to_owned());
    }
}

/// The order as files record it: only if it begins with plain columns, and as far as it goes.
fn sorting_columns(order: &LexRequirement, schema: &Schema, parquet: &SchemaDescriptor) -> Option<Vec<SortingColumn>> {
    let columns = order.iter().map_while(|requirement| {
        let column = requirement.expr.downcast_ref::<Column>()?;
        // Parquet counts leaves; a column that has several has no order that it could record.
        let mut leaves =
            (0..parquet.num_columns()).filter(|&leaf| parquet.column(leaf).path().parts()[0] == column.name());
        let leaf =
            leaves.next().filter(|_| leaves.next().is_none() && schema.field_with_name(column.name()).is_ok())?;
        let options = requirement.options.unwrap_or_default();
        Some(SortingColumn {
            column_idx: i32::try_from(leaf).ok()?,
            descending: options.descending,
            nulls_first: options.nulls_first,
        })
    });
    Some(columns.collect::<Vec<_>>()).filter(|columns| !columns.is_empty())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use datafusion::common::config::ConfigField;
    use parquet::basic::Compression;
    use parquet::file::properties::EnabledStatistics;
    use parquet::schema::types::ColumnPath;

    use super::*;

    fn properties(options: &[(&str, &str)]) -> Result<Properties, String> {
        let mut parsed = TableParquetOptions::default();
        for (name, value) in options {
            parsed.set(name, value).unwrap();
        }
        let schema = Schema::new(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("s", DataType::Struct(vec![Field::new("t", DataType::Utf8View, true)].into()), true),
            Field::new("content", DataType::BinaryView, true),
            Field::new("b", DataType::Struct(vec![Field::new("c", DataType::Binary, true)].into()), true),
        ]);
        Properties::try_new(&parsed, Arc::new(schema), None).map_err(|error| error.to_string())
    }

    #[test]
    fn options_reach_the_files() {
        let given = [
            ("max_row_group_size", "7"),
            ("max_row_group_bytes", "1000"),
            ("compression", "snappy"),
            ("compression::s.t", "uncompressed"),
            ("metadata::who", "me"),
        ];
        let properties = properties(&given).unwrap();
        assert_eq!((properties.rows_max, properties.bytes_max), (7, Some(1000)));
        let writer = properties.writer();
        assert_eq!(writer.compression(&ColumnPath::from("a")), Compression::SNAPPY);
        let nested = ColumnPath::new(vec!["s".to_owned(), "t".to_owned()]);
        assert_eq!(writer.compression(&nested), Compression::UNCOMPRESSED);
        let keys: Vec<_> = writer.key_value_metadata().unwrap().iter().map(|entry| entry.key.as_str()).collect();
        assert!(keys.contains(&"who") && keys.contains(&"ARROW:schema"), "{keys:?}");
    }

    #[test]
    fn bytes_have_neither_dictionary_nor_statistics_unless_asked_for() {
        let check = |options: &[(&str, &str)], want: [(&str, bool, EnabledStatistics); 4]| {
            let properties = properties(options).unwrap();
            for (path, dictionary, statistics) in want {
                let path = ColumnPath::new(path.split('.').map(str::to_owned).collect());
                let writer = properties.writer();
                assert_eq!(writer.dictionary_enabled(&path), dictionary, "{path}");
                assert_eq!(writer.statistics_enabled(&path), statistics, "{path}");
            }
        };
        let (none, page) = (EnabledStatistics::None, EnabledStatistics::Page);
        check(&[], [("a", true, page), ("s.t", true, page), ("content", false, none), ("b.c", false, none)]);
        let asked = [("statistics_enabled::content", "chunk"), ("dictionary_enabled::b.c", "true")];
        let chunk = EnabledStatistics::Chunk;
        check(&asked, [("a", true, page), ("s.t", true, page), ("content", false, chunk), ("b.c", true, none)]);
    }

    #[test]
    fn options_that_say_nothing_or_nonsense_are_refused_by_name() {
        for (name, value, want) in [
            ("max_row_group_size", "0", "'max_row_group_size' can't be 0"),
            ("statistics_truncate_length", "0", "'statistics_truncate_length' can't be 0"),
            ("statistics_enabled", "some", "'statistics_enabled' can't be 'some'"),
            ("statistics_enabled::a", "some", "'statistics_enabled' can't be 'some'"),
            ("encoding", "rle_dictionary", "'encoding' can't be 'rle_dictionary'"),
            ("bloom_filter_fpp", "2", "'bloom_filter_fpp' can't be 2"),
            ("compression::x", "snappy", "column 'x'"),
            ("compression::s", "snappy", "the files have the columns a, s.t, content, b.c"),
            ("crypto.file_encryption.footer_key_as_hex", "00", "'crypto' can't be given"),
        ] {
            let error = properties(&[(name, value)]).map(drop).unwrap_err();
            assert!(error.contains(want), "{name}: {error}");
        }
    }
}
