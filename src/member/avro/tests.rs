//! Containers to rows, whole, damaged everywhere, through pieces and batches of every size.

use arrow::array::{Int32Array, Int64Array as Longs, StringArray};
use arrow::datatypes::Field;
use arrow_avro::compression::CompressionCodec;
use arrow_avro::writer::WriterBuilder;
use arrow_avro::writer::format::AvroOcfFormat;

use super::*;
use crate::member::MissingColumn;
use crate::member::tests::{Dice, check_cuts, shown};
use crate::policy::OnBadRow;
use crate::stats::Stats;

const PIECES: [usize; 8] = [1, 2, 3, 5, 7, 11, 64, usize::MAX];

fn codecs() -> [Option<CompressionCodec>; 6] {
    use CompressionCodec::{Bzip2, Deflate, Snappy, Xz, ZStandard};
    [None, Some(Deflate), Some(Snappy), Some(ZStandard), Some(Bzip2), Some(Xz)]
}

/// Blocks of 3, 1 and 2 records: a long, a string or null, an int.
fn container(codec: Option<CompressionCodec>) -> Vec<u8> {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("Name", DataType::Utf8, true),
        Field::new("n", DataType::Int32, false),
    ]);
    let mut writer =
        WriterBuilder::new(schema.clone()).with_compression(codec).build::<_, AvroOcfFormat>(Vec::new()).unwrap();
    let names = [Some("a"), None, Some("longer than twelve bytes"), Some(""), None, Some("7")];
    for rows in [0..3, 3..4, 4..6] {
        let ids = Longs::from_iter_values(rows.clone().map(|row| i64::try_from(row).unwrap() * 1_000_000_000));
        let texts = StringArray::from(names[rows.clone()].to_vec());
        let ints = Int32Array::from_iter_values(rows.map(|row| i32::try_from(row).unwrap()));
        let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(texts), Arc::new(ints)];
        writer.write(&RecordBatch::try_new(Arc::new(schema.clone()), columns).unwrap()).unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner()
}

const ROWS: [&str; 6] = [
    "1: 0, a, 0",
    "2: 1000000000, NULL, 1",
    "3: 2000000000, longer than twelve bytes, 2",
    "4: 3000000000, , 3",
    "5: 4000000000, NULL, 4",
    "6: 5000000000, 7, 5",
];

/// A container of one field of the given Avro type, with blocks as they are given.
fn handmade(data_type: &str, blocks: &[HandmadeBlock<'_>]) -> Vec<u8> {
    let schema = format!(r#"{{"type":"record","name":"r","fields":[{{"name":"a","type":{data_type}}}]}}"#);
    let header = Header { schema, codec: Codec::Null, sync: *b"0123456789abcdef" };
    let mut out = container::header_bytes(&header);
    for (records, bytes) in blocks {
        container::push_long(&mut out, *records);
        container::push_long(&mut out, i64::try_from(bytes.len()).unwrap());
        out.extend_from_slice(bytes);
        out.extend_from_slice(&header.sync);
    }
    out
}

/// Where the header and each block end.
fn ends(container: &[u8]) -> Vec<usize> {
    let (_, end) = Header::parse(container).unwrap().unwrap();
    let mut ends = vec![end];
    while let Some(head) = BlockHead::parse(&container[ends[ends.len() - 1]..]).unwrap() {
        ends.push(ends[ends.len() - 1] + head.block_bytes());
    }
    ends
}

#[derive(Clone)]
struct Case {
    schema: SchemaRef,
    projection: Vec<usize>,
    on_bad_row: OnBadRow,
    on_invalid_utf8: OnInvalidUtf8,
    missing_column: MissingColumn,
    abandon: bool,
}

impl Case {
    fn new<const N: usize>(columns: [(&str, DataType); N]) -> Self {
        let fields = columns.map(|(name, data_type)| Field::new(name, data_type, true));
        Self::of(Schema::new(fields.to_vec()))
    }

    fn of(schema: Schema) -> Self {
        Self {
            projection: (0..schema.fields().len()).collect(),
            schema: Arc::new(schema),
            on_bad_row: OnBadRow::Fail,
            on_invalid_utf8: OnInvalidUtf8::Fail,
            missing_column: MissingColumn::Fail,
            abandon: false,
        }
    }

    fn inferred(container: &[u8]) -> Self {
        Self::of(infer(container).unwrap())
    }

    fn project(&self, projection: &[usize]) -> Self {
        Self { projection: projection.to_vec(), ..self.clone() }
    }

    fn decoder(&self, batch_size: usize, bad_rows: BadRows) -> AvroDecoder {
        AvroDecoder::new(RecordOptions {
            schema: Arc::clone(&self.schema),
            projection: self.projection.clone(),
            missing_column: self.missing_column,
            batch_size,
            on_bad_row: self.on_bad_row,
            on_invalid_utf8: self.on_invalid_utf8,
            bad_rows,
            allowance: Allowance::unlimited(),
        })
    }

    /// Rows as `number: value, value`, then how many were bad, or the error.
    fn rows(&self, content: &[u8], piece_size: usize, batch_size: usize) -> Vec<String> {
        let stats = Arc::new(Stats::default());
        let mut decoder = self.decoder(batch_size, BadRows::counted(Arc::clone(&stats)));
        let expected = Arc::new(self.schema.project(&self.projection).unwrap());
        let mut rows = Vec::new();
        let mut drain = |decoder: &mut AvroDecoder| {
            while let Some(records) = decoder.next_records() {
                assert!((1..=batch_size).contains(&records.batch.num_rows()));
                assert_eq!(records.batch.num_rows(), records.row_numbers.len());
                assert_eq!(records.batch.schema(), expected);
                rows.extend(shown(&records, 0));
            }
        };
        let mut result = Ok(());
        for piece in content.chunks(piece_size) {
            result = result.and_then(|()| decoder.decode(Bytes::copy_from_slice(piece)));
            drain(&mut decoder);
            result = result.and_then(|()| decoder.failure().map_or(Ok(()), Err));
        }
        result = result.and_then(|()| if self.abandon { decoder.abandon() } else { decoder.finish() });
        drain(&mut decoder);
        result = result.and_then(|()| decoder.failure().map_or(Ok(()), Err));
        match (result, stats.bad_rows.value()) {
            (Err(error), _) => rows.push(error.to_string()),
            (Ok(()), 0) => {}
            (Ok(()), bad) => rows.push(format!("{bad} bad")),
        }
        rows
    }

    /// Checks that it is the same cut anywhere, too; says how many cuts there are.
    fn check_cuts(&self, content: &[u8], batch_size: usize) -> usize {
        let make = |bad_rows| Box::new(self.decoder(batch_size, bad_rows)) as Box<dyn RecordDecoder>;
        check_cuts(&make, content)
    }

    fn check(&self, content: &[u8], expected: &[&str]) {
        for batch_size in [2, 1024] {
            self.check_cuts(content, batch_size);
        }
        for piece_size in PIECES {
            for batch_size in [1, 2, 3, 1024] {
                let rows = self.rows(content, piece_size, batch_size);
                assert_eq!(rows, expected, "in pieces of {piece_size} and batches of {batch_size}");
            }
        }
    }
}

/// What a piece unfolds to is decoded bit by bit, however many blocks it has, and all of it in the end.
#[test]
fn no_more_is_decoded_than_is_given_out() {
    let blocks = vec![(100, &[2; 100][..]); 200];
    for ending in [&[][..], &[2, 2]] {
        let content = [&handmade("\"long\"", &blocks)[..], ending].concat();
        let mut decoder = Case::inferred(&content).decoder(5, BadRows::default());
        decoder.decode(Bytes::from(content)).unwrap();
        let mut rows = 0;
        while let Some(records) = decoder.next_records() {
            assert!(decoder.ready.len() <= READY_BATCHES_MAX && decoder.later.len() <= 1, "{} rows", rows);
            assert_eq!(records.row_numbers.value(0), rows + 1);
            rows += i64::try_from(records.batch.num_rows()).unwrap();
        }
        assert_eq!((rows, decoder.read_so_far().records), (20_000, 20_000));
        assert!(decoder.failure().is_none());
        assert_eq!(decoder.finish().is_ok(), ending.is_empty());
    }
}

#[test]
fn every_codec() {
    for codec in codecs() {
        let content = container(codec);
        let schema = infer(&content).unwrap();
        let expected = [("id", DataType::Int64), ("Name", DataType::Utf8View), ("n", DataType::Int32)];
        let expected = expected.map(|(name, data_type)| Field::new(name, data_type, true));
        assert_eq!(schema, Schema::new(expected.to_vec()), "{codec:?}");
        Case::of(schema.clone()).check(&content, &ROWS);
        let counted = ["1: ", "2: ", "3: ", "4: ", "5: ", "6: "];
        Case::of(schema).project(&[]).check(&content, &counted);
    }
}

#[test]
fn containers_are_cut_behind_the_header_and_every_block() {
    for codec in codecs() {
        let content = container(codec);
        let case = Case::inferred(&content);
        assert_eq!(case.check_cuts(&content, 2), 4);
        assert_eq!(case.check_cuts(&content[..content.len() - 1], 2), 3);
        assert_eq!(case.check_cuts(&content[1..], 2), 0);
        assert_eq!(case.project(&[]).check_cuts(&content, 2), 4);
    }
}

#[test]
fn columns_are_found_by_name_and_cast() {
    let content = container(None);
    let case = Case::new([("N", DataType::Utf8View), ("name", DataType::Int64), ("ID", DataType::Int32)]);
    case.project(&[0]).check(&content, &["1: 0", "2: 1", "3: 2", "4: 3", "5: 4", "6: 5"]);
    let rows = case.project(&[1, 0]).rows(&content, 64, 1024);
    assert_eq!(rows.len(), 1);
    assert!(rows[0].starts_with("record 1: the value of column 'name' is no Int64: "), "{rows:?}");
    let skip = Case { on_bad_row: OnBadRow::Skip, ..case.clone() };
    skip.check(&content, &["2: 1, NULL, 1000000000", "5 bad"]);
    skip.project(&[1]).check(&content, &["2: NULL", "5: NULL", "6: 7", "3 bad"]);
    let null = Case { on_bad_row: OnBadRow::Null, ..case };
    let rows =
        ["1: NULL, 0", "2: NULL, 1000000000", "3: NULL, 2000000000", "4: NULL, NULL", "5: NULL, NULL", "6: 7, NULL"];
    null.project(&[1, 2]).check(&content, &[&rows[..], &["5 bad"]].concat());
}

#[test]
fn what_is_cut_is_not_emitted() {
    for codec in codecs() {
        let content = container(codec);
        let case = Case::inferred(&content);
        let ends = ends(&content);
        let rows_at = [0, 3, 4, 6];
        for length in 0..content.len() {
            let whole = ends.iter().filter(|&&end| end <= length).count();
            let rows = &ROWS[..whole.checked_sub(1).map_or(0, |blocks| rows_at[blocks])];
            let error = match whole {
                0 => Some("the content ends inside the header of the Avro container".to_owned()),
                whole if ends[whole - 1] == length => None,
                whole => Some(format!(
                    "the Avro block at byte {} of the member: the content ends inside it",
                    ends[whole - 1]
                )),
            };
            let expected: Vec<_> = rows.iter().map(|row| (*row).to_owned()).chain(error).collect();
            for piece_size in [13, usize::MAX] {
                assert_eq!(case.rows(&content[..length], piece_size, 1024), expected, "{codec:?} cut at {length}");
            }
            let abandoned = Case { abandon: true, ..case.clone() }.rows(&content[..length], 13, 2);
            assert_eq!(abandoned, rows, "{codec:?} abandoned at {length}");
        }
    }
}

#[test]
fn damage_never_panics_and_keeps_the_blocks_in_front() {
    for codec in codecs() {
        let content = container(codec);
        let case = Case::inferred(&content);
        let ends = ends(&content);
        for at in 0..content.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = content.clone();
                damaged[at] ^= flip;
                let rows = case.rows(&damaged, usize::MAX, 1024);
                let whole = match ends.iter().filter(|&&end| end <= at).count() {
                    0 => continue,
                    blocks => [0, 3, 4, 6][blocks - 1],
                };
                assert_eq!(rows[..whole], ROWS[..whole], "{codec:?} damaged at {at}");
                case.check_cuts(&damaged, 1024);
                if ends.iter().any(|&end| (end - 16..end).contains(&at)) {
                    let start = ends[ends.iter().filter(|&&end| end <= at).count() - 1];
                    let error = "the sync marker behind it is not that of the header";
                    assert_eq!(rows[whole..], [format!("the Avro block at byte {start} of the member: {error}")]);
                }
            }
        }
    }
}

/// Count of records, and their bytes.
type HandmadeBlock<'a> = (i64, &'a [u8]);

#[test]
fn counts_and_bytes_that_disagree() {
    let case = Case::new([("a", DataType::Int64)]);
    let cases: [(&[HandmadeBlock<'_>], &[&str]); 9] = [
        (&[], &[]),
        (&[(0, &[])], &[]),
        (&[(2, &[2, 4]), (0, &[]), (1, &[6])], &["1: 1", "2: 2", "3: 3"]),
        (&[(1, &[2]), (1, &[2, 4])], &["1: 1", "there are more than 1 records"]),
        (&[(1, &[2]), (3, &[2, 4])], &["1: 1", "bad varint"]),
        (&[(1, &[2]), (0, &[4])], &["1: 1", "0 records don't have 1 bytes"]),
        (&[(1, &[2]), (2, &[])], &["1: 1", "2 records don't have 0 bytes"]),
        (&[(1, &[2]), (-1, &[2])], &["1: 1", "the count of records is -1, not from 0 to 16777216"]),
        (&[(1, &[2]), (1 << 40, &[2])], &["1: 1", "the count of records is 1099511627776, not from 0 to 16777216"]),
    ];
    for (blocks, expected) in cases {
        let content = handmade(r#""long""#, blocks);
        for piece_size in PIECES {
            for batch_size in [1, 1024] {
                let rows = case.rows(&content, piece_size, batch_size);
                case.check_cuts(&content, batch_size);
                let same = rows.iter().zip(expected).all(|(row, expected)| row.ends_with(expected));
                assert!(rows.len() == expected.len() && same, "{rows:?} instead of {expected:?}");
            }
        }
    }
    let counted = case.project(&[]).rows(&handmade(r#""long""#, &[(3, &[2])]), 64, 1024);
    assert!(counted[0].ends_with("1 bytes are less than 3 records"), "{counted:?}");
    // Records without bytes are records.
    let nulls = handmade(r#""null""#, &[(3, &[])]);
    Case::new([("a", DataType::Int64)]).check(&nulls, &["1: NULL", "2: NULL", "3: NULL"]);
}

#[test]
fn a_container_without_any_of_the_columns_has_nulls() {
    let numbers: Vec<String> = (1..=ROWS.len()).map(|number| format!("{number}: NULL")).collect();
    let case = Case::new([("other", DataType::Utf8View), ("more", DataType::Int64)]);
    let case = Case { missing_column: MissingColumn::Null, ..case }.project(&[1]);
    case.check(&container(None), &numbers.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_count_of_millions_takes_no_memory() {
    let content = handmade(r#""null""#, &[(1 << 24, &[]), (1 << 24, &[]), (1 << 24, &[])]);
    let mut decoder = Case::new([("a", DataType::Int64)]).project(&[]).decoder(8192, BadRows::default());
    decoder.decode(content.into()).unwrap();
    decoder.finish().unwrap();
    assert!(decoder.ready.is_empty());
    let records = std::iter::from_fn(|| decoder.next_records());
    assert_eq!(records.map(|records| records.batch.num_rows()).sum::<usize>(), 3 << 24);
}

#[test]
fn strings_that_are_not_utf8() {
    let content = handmade(r#"["null","string"]"#, &[(3, b"\x02\x02x\x02\x06y\xffy\x00")]);
    let case = Case::inferred(&content);
    let rows = case.rows(&content, 64, 1024);
    assert!(rows[0].starts_with("record 2, column '") && rows[0].contains("byte 1 is not UTF-8"), "{rows:?}");
    assert_eq!(rows.len(), 1, "{rows:?}");
    let with =
        |on_invalid_utf8, row| Case { on_invalid_utf8, ..case.clone() }.check(&content, &["1: x", row, "3: NULL"]);
    with(OnInvalidUtf8::Replace, "2: y\u{fffd}y");
    with(OnInvalidUtf8::Ignore, "2: yy");
    with(OnInvalidUtf8::Null, "2: NULL");
}

/// Types of fields that are flat, and how their values are stored.
const FLAT_TYPES: [(&str, Stored); 16] = [
    (r#""boolean""#, Stored::Byte),
    (r#""int""#, Stored::Int),
    (r#""long""#, Stored::Long),
    (r#""float""#, Stored::Fixed(4)),
    (r#""double""#, Stored::Fixed(8)),
    (r#""string""#, Stored::Text),
    (r#""bytes""#, Stored::Text),
    (r#"{"type":"enum","name":"E","symbols":["A","B","C"]}"#, Stored::Byte),
    (r#"{"type":"int","logicalType":"date"}"#, Stored::Int),
    (r#"{"type":"int","logicalType":"time-millis"}"#, Stored::Int),
    (r#"{"type":"long","logicalType":"time-micros"}"#, Stored::Long),
    (r#"{"type":"long","logicalType":"timestamp-millis"}"#, Stored::Long),
    (r#"{"type":"long","logicalType":"timestamp-micros"}"#, Stored::Long),
    (r#"{"type":"long","logicalType":"local-timestamp-micros"}"#, Stored::Long),
    (r#"{"type":"string","x":1}"#, Stored::Text),
    (r#""null""#, Stored::Fixed(0)),
];

#[derive(Clone, Copy)]
enum Stored {
    /// 0 or, in zigzag, 1.
    Byte,
    Int,
    Long,
    Fixed(usize),
    Text,
}

impl Stored {
    fn push(self, out: &mut Vec<u8>, dice: &mut Dice) {
        match self {
            Self::Byte => out.push([0, 2][dice.next(2)]),
            Self::Int => container::push_long(out, [0, -1, 77, i64::from(i32::MAX), i64::from(i32::MIN)][dice.next(5)]),
            Self::Long => container::push_long(out, [0, -1, 1 << 20, 1 << 40, i64::MAX, i64::MIN][dice.next(6)]),
            Self::Fixed(bytes) => out.extend((0..bytes).map(|_| u8::try_from(dice.next(64)).unwrap())),
            Self::Text => {
                let text = ["", "x", "longer than twelve bytes", "\u{e9}"][dice.next(4)];
                container::push_long(out, i64::try_from(text.len()).unwrap());
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}

/// What is read without arrow-avro is what arrow-avro reads; what that refuses is not read.
#[test]
fn flat_records_are_the_same_both_ways() {
    let mut dice = Dice(3);
    for _ in 0..400 {
        let fields: Vec<_> = (0..1 + dice.next(6)).map(|_| (FLAT_TYPES[dice.next(15)], dice.next(3))).collect();
        let mut fields = fields;
        fields.insert(dice.next(fields.len()), (FLAT_TYPES[15], 0));
        let types = fields.iter().enumerate().map(|(place, ((name, _), union))| {
            // Named types have to be another one each.
            let name = name.replace("\"E\"", &format!("\"E{place}\""));
            let branches = [name.clone(), format!("[\"null\",{name}]"), format!("[{name},\"null\"]")];
            format!(r#"{{"name":"f{place}","type":{}}}"#, branches[*union])
        });
        let schema = format!(r#"{{"type":"record","name":"r","fields":[{}]}}"#, types.collect::<Vec<_>>().join(","));
        let mut header = Header { schema, codec: Codec::Null, sync: [7; 16] };
        let writer = writer_schema(&mut header).unwrap();
        let needed: Vec<_> = (0..fields.len()).filter(|_| dice.next(4) > 0).collect();
        if needed.is_empty() {
            continue;
        }
        let flat = FlatRecords::new(&header.schema, &writer, &needed).unwrap();
        let case = Case::of((*writer).clone()).project(&needed);
        let columns = Columns::new(&case.decoder(8, BadRows::default()).options, &writer).unwrap();
        let general = Open { header, writer, columns, flat: None };
        let (records, mut bytes) = (1 + dice.next(5), Vec::new());
        for ((_, stored), union) in (0..records).flat_map(|_| &fields) {
            let is_null = *union > 0 && dice.next(3) == 0;
            if *union > 0 {
                bytes.push(if is_null == (*union == 1) { 0 } else { 2 });
            }
            if !is_null {
                stored.push(&mut bytes, &mut dice);
            }
        }
        let batch = flat.decode(&bytes, records).unwrap();
        assert_eq!(batch.columns(), general.decode(&bytes, records).unwrap().unwrap().columns());
        for _ in 0..20 {
            let mut damaged = bytes.clone();
            let at = dice.next(bytes.len());
            damaged[at] = [0, 1, 2, 3, 4, 0x7f, 0x80, 0xff][dice.next(8)];
            damaged.truncate(damaged.len() - dice.next(10) / 9);
            let records = records + dice.next(10) / 9;
            if let Some(batch) = flat.decode(&damaged, records) {
                let expected = general.decode(&damaged, records).unwrap().unwrap();
                assert_eq!(batch.columns(), expected.columns(), "{damaged:?}");
            }
        }
    }
}

#[test]
fn fields_that_are_not_flat() {
    let schema = |data_type: &str| {
        format!(
            r#"{{"type":"record","name":"r","fields":[{{"name":"a","type":{data_type}}},{{"name":"b","type":"int"}}]}}"#
        )
    };
    for (data_type, flat) in [
        (r#"["null","int"]"#, [true, true]),
        (r#"["null","int","long"]"#, [false, false]),
        (r#"{"type":"array","items":"int"}"#, [false, false]),
        (r#"{"type":"fixed","name":"f","size":4}"#, [false, false]),
        // Where it isn't needed it can be gone over.
        (r#"{"type":"bytes","logicalType":"decimal","precision":4}"#, [false, true]),
        (r#"{"type":"string","logicalType":"uuid"}"#, [false, true]),
    ] {
        let mut header = Header { schema: schema(data_type), codec: Codec::Null, sync: [0; 16] };
        let writer = writer_schema(&mut header).unwrap();
        let is_flat = [0, 1].map(|needed| FlatRecords::new(&header.schema, &writer, &[needed]).is_some());
        assert_eq!(is_flat, flat, "{data_type}");
    }
}

#[test]
fn headers_that_can_not_be_read() {
    let content = container(None);
    let error = infer(&content[..20]).unwrap_err();
    assert_eq!(error.to_string(), "the header of the Avro container has more than the 20 bytes that were looked at");
    assert_eq!(infer(b"{\"a\":1}").unwrap_err().kind(), ErrorKind::Member);
    let recursive = r#"{"type":"record","name":"R","fields":[{"name":"next","type":["null","R"]}]}"#;
    for schema in ["{", "5", "\"unknown\"", "\"long\"", r#"{"type":"record"}"#, recursive] {
        let header = Header { schema: schema.to_owned(), codec: Codec::Null, sync: [0; 16] };
        let error = infer(&container::header_bytes(&header)).unwrap_err().to_string();
        assert!(error.starts_with("the schema of the Avro container can't be read: "), "{error}");
    }
    let rows = Case::new([("other", DataType::Int64)]).rows(&content, 64, 1024);
    assert_eq!(rows, ["the container has no column 'other': it has 'id', 'Name', 'n'"]);
    let rows = Case::new([("id", DataType::Map(Arc::new(Field::new("a", DataType::Int64, true)), false))])
        .rows(&content, 64, 1024);
    assert!(rows[0].starts_with("column 'id' of type Int64 can't be read as Map"), "{rows:?}");
}
