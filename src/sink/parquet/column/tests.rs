//! Whatever is written is read again, and said of in the same words as the Parquet library uses.

use arrow::array::{ArrayRef, RecordBatch, StringArray, StringViewArray, new_null_array};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector};
use parquet::arrow::arrow_writer::ArrowWriter;
use parquet::basic::{BoundaryOrder, Encoding, ZstdLevel};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;

use super::*;

/// Numbers that look random and are always the same.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

/// What the values of a column are like.
#[derive(Debug, Clone, Copy)]
enum Values {
    Few,
    /// New ones come up all the time, but seldom.
    More,
    Unique,
    Long,
    Growing,
    Shrinking,
    Odd,
}

const ALL: [Values; 7] =
    [Values::Few, Values::More, Values::Unique, Values::Long, Values::Growing, Values::Shrinking, Values::Odd];

const TYPES: [DataType; 14] = [
    DataType::Utf8View,
    DataType::Utf8,
    DataType::LargeUtf8,
    DataType::BinaryView,
    DataType::Binary,
    DataType::LargeBinary,
    DataType::Boolean,
    DataType::Int32,
    DataType::Int64,
    DataType::Date32,
    DataType::Float32,
    DataType::Float64,
    DataType::Timestamp(TimeUnit::Microsecond, None),
    DataType::Timestamp(TimeUnit::Millisecond, None),
];

fn text(values: Values, row: usize, random: &mut Random) -> String {
    const ODD: [&str; 6] = ["", "\0", "a\0b", "\u{10ffff}", "ÿÿÿÿÿÿÿÿÿÿÿ", "twelve bytes"];
    match values {
        Values::Few => ["", "a", "False", "a text of more than twelve bytes", "ä"][random.below(5)].to_owned(),
        Values::More => format!("{:0>1$}", random.below(row / 20 + 1), 1 + random.below(3) * 7),
        Values::Unique => format!("{}.{:06}", row * 7919 % 100_003, random.below(1_000_000)),
        Values::Long => "xyz\u{10ffff}".repeat(random.below(300)) + &random.below(9).to_string(),
        Values::Growing => format!("{row:09}"),
        Values::Shrinking => format!("some prefix {:09}", 1_000_000 - row),
        Values::Odd => ODD[random.below(6)].repeat(random.below(20)),
    }
}

fn number(values: Values, row: usize, random: &mut Random) -> f64 {
    const ODD: [f64; 7] = [f64::NAN, 0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, -1.5, 2e9];
    match values {
        Values::Few => [0.0, -1.0, 7.0][random.below(3)],
        Values::More => random.below(row / 20 + 1) as f64,
        Values::Unique | Values::Long => random.below(1 << 31) as f64 - 1e9,
        Values::Growing => row as f64,
        Values::Shrinking => -(row as f64),
        Values::Odd => ODD[random.below(7)],
    }
}

fn column(
    data_type: &DataType,
    values: Values,
    begin: usize,
    rows: usize,
    nulls: usize,
    random: &mut Random,
) -> ArrayRef {
    // One in `nulls` rows is none, and every row if that is one.
    let mut is_null = |row: usize| nulls == 1 || (nulls > 0 && (row + random.below(2)).is_multiple_of(nulls));
    let is_null: Vec<_> = (begin..begin + rows).map(&mut is_null).collect();
    let rows = (begin..begin + rows).zip(is_null);
    let array: ArrayRef = match data_type {
        DataType::Utf8View | DataType::BinaryView => Arc::new(
            rows.map(|(row, is_null)| (!is_null).then(|| text(values, row, random))).collect::<StringViewArray>(),
        ),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => {
            Arc::new(rows.map(|(row, is_null)| (!is_null).then(|| text(values, row, random))).collect::<StringArray>())
        }
        _ => Arc::new(
            rows.map(|(row, is_null)| (!is_null).then(|| number(values, row, random)))
                .collect::<arrow::array::Float64Array>(),
        ),
    };
    // Numbers of a date or an instant by way of whole ones; NaN is NULL then.
    let whole = match data_type {
        DataType::Date32 => cast(&array, &DataType::Int32).unwrap(),
        DataType::Timestamp(..) => cast(&array, &DataType::Int64).unwrap(),
        _ => array,
    };
    cast(&whole, data_type).unwrap()
}

/// A file of one row group for each list of batches.
fn written(schema: &SchemaRef, groups: &[Vec<RecordBatch>], properties: &WriterProperties) -> Bytes {
    let parquet = ArrowSchemaConverter::new().convert(schema).unwrap();
    let properties = Arc::new(properties.clone());
    let mut file = SerializedFileWriter::new(Vec::new(), parquet.root_schema_ptr(), Arc::clone(&properties)).unwrap();
    let mut scratch = Scratch::default();
    for group in groups {
        let settings = schema.fields().iter().zip(parquet.columns());
        let settings = settings.map(|(field, leaf)| Settings::new(field, leaf, &properties).unwrap());
        let mut columns: Vec<_> = settings.map(ColumnEncoder::ours).collect();
        for batch in group {
            for ((column, field), array) in columns.iter_mut().zip(schema.fields()).zip(batch.columns()) {
                column.write(field, array, &mut scratch).unwrap();
            }
        }
        let mut row_group = file.next_row_group().unwrap();
        for column in columns {
            assert!(column.memory() < 1 << 26);
            column.close(&mut scratch).unwrap().into_iter().for_each(|chunk| chunk.append(&mut row_group).unwrap());
        }
        row_group.close().unwrap();
    }
    file.into_inner().unwrap().into()
}

/// The same as the library writes it.
fn by_library(schema: &SchemaRef, groups: &[Vec<RecordBatch>], properties: &WriterProperties) -> Bytes {
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties.clone())).unwrap();
    for group in groups {
        group.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.flush().unwrap();
    }
    writer.into_inner().unwrap().into()
}

fn metadata(file: &Bytes) -> ParquetMetaData {
    let options = ReadOptionsBuilder::new().with_page_index().build();
    SerializedFileReader::new_with_options(file.clone(), options).unwrap().metadata().clone()
}

fn rows(schema: &SchemaRef, file: &Bytes, selection: Option<RowSelection>) -> RecordBatch {
    let policy = PageIndexPolicy::Optional;
    let options = ArrowReaderOptions::new().with_page_index_policy(policy).with_schema(Arc::clone(schema));
    let mut reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file.clone(), options).unwrap();
    if let Some(selection) = selection {
        reader = reader.with_row_selection(selection);
    }
    let batches = reader.build().unwrap().map(Result::unwrap).collect::<Vec<_>>();
    concat_batches(schema, &batches).unwrap()
}

fn check(schema: &SchemaRef, groups: &[Vec<RecordBatch>], properties: &WriterProperties, random: &mut Random) {
    let all = concat_batches(schema, groups.iter().flatten()).unwrap();
    let (ours, theirs) = (written(schema, groups, properties), by_library(schema, groups, properties));
    // Printed, since no NaN is like another.
    let is_same = |one: &RecordBatch, other: &RecordBatch| one == other || format!("{one:?}") == format!("{other:?}");
    assert!(is_same(&rows(schema, &ours, None), &all), "{schema:?}");
    if all.num_rows() > 0 {
        let begin = random.below(all.num_rows());
        let length = random.below(all.num_rows() - begin) + 1;
        let selection = vec![RowSelector::skip(begin), RowSelector::select(length)];
        assert!(is_same(&rows(schema, &ours, Some(selection.into())), &all.slice(begin, length)), "{schema:?}");
    }
    let (ours, theirs) = (metadata(&ours), metadata(&theirs));
    // The library writes no row group without rows.
    assert_eq!(ours.row_groups().iter().filter(|group| group.num_rows() > 0).count(), theirs.row_groups().len());
    for (number, (our_group, their_group)) in ours.row_groups().iter().zip(theirs.row_groups()).enumerate() {
        assert_eq!(our_group.num_rows(), their_group.num_rows());
        let group = concat_batches(schema, &groups[number]).unwrap();
        for (index, (our, their)) in our_group.columns().iter().zip(their_group.columns()).enumerate() {
            let name = format!("{}: {properties:?}", schema.field(index));
            assert_eq!(our.statistics(), their.statistics(), "{name}");
            let bytes = |column: &parquet::file::metadata::ColumnChunkMetaData| {
                let statistics = column.statistics()?;
                Some((statistics.min_bytes_opt()?.to_vec(), statistics.max_bytes_opt()?.to_vec()))
            };
            assert_eq!(bytes(our), bytes(their), "{name}");
            assert_eq!(our.num_values(), their.num_values(), "{name}");
            assert_eq!(our.unencoded_byte_array_data_bytes(), their.unencoded_byte_array_data_bytes(), "{name}");
            assert_eq!(our.definition_level_histogram(), their.definition_level_histogram(), "{name}");
            check_index(&ours, number, index, group.column(index), properties, random);
            let has_index = |file: &ParquetMetaData| {
                file.column_index().map(|index_of| !matches!(index_of[number][index], ColumnIndexMetaData::NONE))
            };
            // A page of NaNs alone leaves a column without an index, and pages don't end at the same rows.
            let may_be_nan = matches!(group.column(index).data_type(), DataType::Float32 | DataType::Float64);
            assert!(may_be_nan || has_index(&ours) == has_index(&theirs), "{name}");
        }
    }
}

/// What the index says of a page is what the library says of its rows alone.
fn check_index(
    file: &ParquetMetaData,
    group: usize,
    column: usize,
    values: &ArrayRef,
    properties: &WriterProperties,
    random: &mut Random,
) {
    let offsets = &file.offset_index().unwrap()[group][column];
    let index = &file.column_index().unwrap()[group][column];
    let begins: Vec<_> =
        offsets.page_locations().iter().map(|page| usize::try_from(page.first_row_index).unwrap()).collect();
    assert!(begins.is_sorted() && begins.first().is_none_or(|&begin| begin == 0));
    if matches!(index, ColumnIndexMetaData::NONE) {
        return;
    }
    assert_eq!(index.num_pages(), begins.len() as u64);
    let ends = begins.iter().skip(1).copied().chain([values.len()]);
    for (page, (begin, end)) in begins.iter().copied().zip(ends).enumerate() {
        assert!(begin < end && end - begin <= properties.data_page_row_count_limit().max(1));
        let slice = values.slice(begin, end - begin);
        assert_eq!(index.null_count(page), Some(slice.null_count() as i64));
        assert_eq!(index.is_null_page(page), slice.null_count() == slice.len());
        // There may be thousands, and each is a file.
        if random.below(begins.len()) > 2 {
            continue;
        }
        let schema = Arc::new(Schema::new(vec![Field::new("a", slice.data_type().clone(), true)]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![slice]).unwrap();
        let alone = WriterProperties::builder()
            .set_statistics_truncate_length(properties.column_index_truncate_length())
            .build();
        let alone = metadata(&by_library(&schema, &[vec![batch]], &alone));
        let want = alone.row_group(0).column(0).statistics().unwrap();
        assert_eq!(bounds(index, page), (want.min_bytes_opt(), want.max_bytes_opt()).into_bounds());
    }
    let order = index.get_boundary_order().unwrap();
    let pages: Vec<_> = (0..begins.len()).filter(|&page| !index.is_null_page(page)).collect();
    let is_ordered = |is_less: fn(&Bound, &Bound) -> bool| {
        pages.windows(2).all(|two| {
            let (one, other) = (bounds(index, two[0]), bounds(index, two[1]));
            !is_less(&other.0, &one.0) && !is_less(&other.1, &one.1)
        })
    };
    if matches!(index, ColumnIndexMetaData::BYTE_ARRAY(_)) {
        match order {
            BoundaryOrder::ASCENDING => assert!(is_ordered(|one, other| one < other)),
            BoundaryOrder::DESCENDING => assert!(is_ordered(|one, other| one > other)),
            BoundaryOrder::UNORDERED => {}
        }
    }
}

type Bound = Option<Vec<u8>>;
type PageBounds = (Bound, Bound);

trait IntoBounds {
    fn into_bounds(self) -> PageBounds;
}

impl IntoBounds for (Option<&[u8]>, Option<&[u8]>) {
    fn into_bounds(self) -> PageBounds {
        (self.0.map(<[u8]>::to_vec), self.1.map(<[u8]>::to_vec))
    }
}

fn bounds(index: &ColumnIndexMetaData, page: usize) -> PageBounds {
    macro_rules! number {
        ($index:expr) => {{
            let le = |value: Option<_>| value.map(|value| parquet::data_type::AsBytes::as_bytes(value).to_vec());
            (le($index.min_value(page)), le($index.max_value(page)))
        }};
    }
    match index {
        ColumnIndexMetaData::BOOLEAN(index) => number!(index),
        ColumnIndexMetaData::INT32(index) => number!(index),
        ColumnIndexMetaData::INT64(index) => number!(index),
        ColumnIndexMetaData::FLOAT(index) => number!(index),
        ColumnIndexMetaData::DOUBLE(index) => number!(index),
        ColumnIndexMetaData::BYTE_ARRAY(index) => (index.min_value(page), index.max_value(page)).into_bounds(),
        other => panic!("{other:?}"),
    }
}

/// All types at once, each with values of its own, in a few row groups.
fn check_rows(sizes: &[&[usize]], nulls: usize, properties: WriterPropertiesBuilder, seed: usize) {
    let (random, properties) = (&mut Random(seed as u64), properties.build());
    let fields: Vec<_> = TYPES
        .iter()
        .enumerate()
        .map(|(index, data_type)| Field::new(format!("c{index}"), data_type.clone(), nulls > 0 || index % 2 == 0))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let kinds: Vec<_> = TYPES.iter().map(|_| ALL[random.below(ALL.len())]).collect();
    let mut begin = 0;
    let mut groups = Vec::new();
    for sizes in sizes {
        let batches = sizes.iter().map(|&rows| {
            let columns = TYPES.iter().zip(&kinds).zip(schema.fields()).map(|((data_type, &values), field)| {
                // A whole number can be no NaN, and casting makes it NULL.
                let is_odd = matches!(values, Values::Odd | Values::Long | Values::Unique);
                let values =
                    if is_odd && !field.is_nullable() && !matches!(data_type, DataType::Utf8 | DataType::Binary) {
                        Values::Few
                    } else {
                        values
                    };
                column(data_type, values, begin, rows + 3, nulls, random).slice(2, rows)
            });
            let batch = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap();
            begin += rows;
            batch
        });
        groups.push(batches.collect());
    }
    check(&schema, &groups, &properties, random);
}

fn defaults() -> WriterPropertiesBuilder {
    WriterProperties::builder().set_compression(Compression::SNAPPY)
}

#[test]
fn random_rows_are_what_the_library_makes_of_them() {
    for seed in 1..11 {
        let nulls = [0, 2, 3, 50, 1][seed % 5];
        check_rows(&[&[700, 1, 1_300], &[7], &[300; 3]], nulls, defaults(), seed);
        let small = defaults().set_data_page_row_count_limit(100).set_data_page_size_limit(3_000);
        check_rows(&[&[700, 1, 1_300], &[7], &[300; 3]], nulls, small.set_write_batch_size(64), seed);
    }
}

#[test]
fn a_dictionary_may_end_or_never_begin() {
    for seed in 1..3 {
        for limit in [0, 1, 100, 20_000, 1 << 20] {
            let properties = defaults().set_dictionary_page_size_limit(limit);
            check_rows(&[&[3_000; 3]], [0, 3][seed % 2], properties, seed);
        }
        check_rows(&[&[3_000; 3]], 7, defaults().set_dictionary_enabled(false), seed);
    }
}

#[test]
fn options_have_their_effects() {
    for seed in 1..3 {
        for statistics in [EnabledStatistics::None, EnabledStatistics::Chunk, EnabledStatistics::Page] {
            check_rows(&[&[1_000]], 4, defaults().set_statistics_enabled(statistics), seed);
        }
        for compression in [Compression::UNCOMPRESSED, Compression::ZSTD(ZstdLevel::try_new(3).unwrap())] {
            check_rows(&[&[1_000]], 4, defaults().set_compression(compression), seed);
        }
        for length in [Some(1), Some(2), Some(5), Some(64), None] {
            let properties = defaults().set_statistics_truncate_length(length).set_column_index_truncate_length(length);
            check_rows(&[&[1_000, 100]], 4, properties.set_data_page_row_count_limit(500), seed);
        }
    }
}

#[test]
fn no_rows_and_no_values_are_written_too() {
    check_rows(&[&[]], 0, defaults(), 1);
    check_rows(&[&[0]], 0, defaults(), 1);
    check_rows(&[&[25_000]], 1, defaults(), 1);
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8View, true)]));
    let nulls = |rows| {
        let column = new_null_array(&DataType::Utf8View, rows);
        RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap()
    };
    let value = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(StringViewArray::from(vec!["x"]))]).unwrap();
    let batches = vec![nulls(30_000), value, nulls(30_000)];
    check(&schema, &[batches], &defaults().build(), &mut Random(1));
}

/// More rows than a trial has: a dictionary that goes on, one that becomes full, and one that isn't worth it.
#[test]
fn a_trial_ends_and_a_dictionary_becomes_full() {
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8View, true)]));
    let batches = |values: fn(usize) -> usize, rows: usize| {
        let batch = |begin: usize| {
            let texts = (begin..begin + 8_192).map(|row| (row % 11 > 0).then(|| format!("{:x>20}", values(row))));
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(texts.collect::<StringViewArray>())]).unwrap()
        };
        (0..rows).step_by(8_192).map(batch).collect::<Vec<_>>()
    };
    let encodings_with = |compression, values, rows, limit| {
        let properties = defaults().set_dictionary_page_size_limit(limit).set_data_page_row_count_limit(5_000);
        let properties = properties.set_compression(compression).build();
        let groups = [batches(values, rows)];
        check(&schema, &groups, &properties, &mut Random(3));
        let file = metadata(&written(&schema, &groups, &properties));
        let column = file.row_group(0).column(0);
        // Of data pages.
        let encodings: Vec<_> = column.page_encoding_stats_mask().unwrap().encodings().collect();
        assert_eq!(encodings.contains(&Encoding::RLE_DICTIONARY), column.dictionary_page_offset().is_some());
        encodings
    };
    let encodings = |values, rows, limit| encodings_with(Compression::SNAPPY, values, rows, limit);
    assert_eq!(encodings(|row| row % 1_000, 60_000, 1 << 20), [Encoding::RLE_DICTIONARY]);
    // New values begin where the trial has ended.
    let later = |row: usize| if row < 40_000 { row % 1_000 } else { row };
    assert_eq!(encodings(later, 60_000, 100_000), [Encoding::PLAIN, Encoding::RLE_DICTIONARY]);
    assert_eq!(encodings(|row| row, 60_000, 1 << 20), [Encoding::PLAIN]);
    // Every third value is new, and there is room for all: what compresses well needs no dictionary.
    let thirds = |row: usize| row / 3;
    assert_eq!(encodings(thirds, 60_000, 64 << 20), [Encoding::PLAIN]);
    assert_eq!(encodings_with(Compression::UNCOMPRESSED, thirds, 60_000, 64 << 20), [Encoding::RLE_DICTIONARY]);
}

#[test]
fn values_may_be_longer_than_pages() {
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::BinaryView, true)]));
    let lengths = [0, 3_000_000, 1, 1_100_000, 1_100_000, 5, 40_000];
    let values = lengths.iter().enumerate().map(|(index, &length)| vec![index.to_le_bytes()[0]; length]);
    let array = arrow::array::BinaryViewArray::from_iter_values(values);
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(array)]).unwrap();
    for is_enabled in [true, false] {
        let properties = defaults().set_dictionary_enabled(is_enabled).build();
        check(&schema, &[vec![batch.clone(), batch.slice(2, 3)]], &properties, &mut Random(1));
    }
}

/// The greatest value of a page is cut to one that is greater; what is then less than before has no order.
#[test]
fn pages_are_in_order_as_they_are_written_down() {
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8View, false)]));
    let texts = StringViewArray::from(vec!["a\u{7f}\u{7f}\u{7f}x", "aéaxx"]);
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(texts)]).unwrap();
    let properties = defaults().set_column_index_truncate_length(Some(4)).set_data_page_row_count_limit(1);
    check(&schema, &[vec![batch]], &properties.set_write_batch_size(1).build(), &mut Random(1));
}

#[test]
fn what_is_not_ours_is_left_to_the_library() {
    let with = |data_type: DataType, properties: WriterPropertiesBuilder| {
        let schema = Schema::new(vec![Field::new("a", data_type, true)]);
        let parquet = ArrowSchemaConverter::new().convert(&schema).unwrap();
        Settings::new(schema.field(0), &parquet.column(0), &properties.build()).is_some()
    };
    assert!(TYPES.iter().all(|data_type| with(data_type.clone(), defaults())));
    for data_type in
        [DataType::UInt32, DataType::Int8, DataType::Decimal128(10, 2), DataType::Float16, DataType::Date64]
    {
        assert!(!with(data_type, defaults()));
    }
    let list = DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
    assert!(!with(list, defaults()));
    for properties in [
        defaults().set_writer_version(WriterVersion::PARQUET_2_0),
        defaults().set_bloom_filter_enabled(true),
        defaults().set_compression(Compression::LZ4_RAW),
        defaults().set_encoding(Encoding::DELTA_LENGTH_BYTE_ARRAY),
        defaults().set_write_page_header_statistics(true),
    ] {
        assert!(!with(DataType::Utf8View, properties));
    }
}
