//! JSON text to rows, through pieces and batches of every size.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::*;
use crate::member::tests::{Dice, End, check_cuts, in_one_go, shown};
use crate::policy::OnInvalidUtf8;
use crate::stats::Stats;

#[derive(Clone)]
struct Case {
    fields: Vec<Field>,
    projection: Vec<usize>,
    on_bad_row: OnBadRow,
    on_invalid_utf8: OnInvalidUtf8,
    abandon: bool,
}

impl Case {
    fn new<const N: usize>(fields: [(&str, DataType); N]) -> Self {
        Self {
            fields: fields.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec(),
            projection: (0..N).collect(),
            on_bad_row: OnBadRow::Fail,
            on_invalid_utf8: OnInvalidUtf8::Fail,
            abandon: false,
        }
    }

    fn on_bad_row(&self, on_bad_row: OnBadRow) -> Self {
        Self { on_bad_row, ..self.clone() }
    }

    fn on_invalid_utf8(&self, on_invalid_utf8: OnInvalidUtf8) -> Self {
        Self { on_invalid_utf8, ..self.clone() }
    }

    fn options(&self, batch_size: usize, bad_rows: BadRows) -> RecordOptions {
        RecordOptions {
            missing_column: crate::member::MissingColumn::Fail,
            schema: Arc::new(Schema::new(self.fields.clone())),
            projection: self.projection.clone(),
            batch_size,
            on_bad_row: self.on_bad_row,
            on_invalid_utf8: self.on_invalid_utf8,
            bad_rows,
            allowance: crate::memory::Allowance::unlimited(),
        }
    }

    /// Rows as `number: value, value`, then how many were bad, or the error.
    fn rows(&self, content: &[u8], piece_size: usize, batch_size: usize) -> Vec<String> {
        let stats = Arc::new(Stats::default());
        let options = self.options(batch_size, BadRows::counted(Arc::clone(&stats)));
        let expected = Arc::new(options.schema.project(&options.projection).unwrap());
        let mut decoder = JsonDecoder::new(options).unwrap();
        let mut rows = Vec::new();
        let mut drain = |decoder: &mut JsonDecoder| {
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
        }
        result = result.and_then(|()| if self.abandon { decoder.abandon() } else { decoder.finish() });
        drain(&mut decoder);
        match (result, stats.bad_rows.value()) {
            (Err(error), _) => rows.push(error.to_string()),
            (Ok(()), 0) => {}
            (Ok(()), bad) => rows.push(format!("{bad} bad")),
        }
        rows
    }

    /// Checks that it is the same cut anywhere, too; says how many cuts there are.
    fn check_cuts(&self, content: &[u8], batch_size: usize) -> usize {
        let make = |bad_rows| {
            let decoder = JsonDecoder::new(self.options(batch_size, bad_rows)).unwrap();
            Box::new(decoder) as Box<dyn RecordDecoder>
        };
        check_cuts(&make, content)
    }

    fn check(&self, content: impl AsRef<[u8]>, expected: &[&str]) {
        let content = content.as_ref();
        for batch_size in [2, 1024] {
            self.check_cuts(content, batch_size);
        }
        for piece_size in [1, 2, 3, 5, 7, 11, 64, usize::MAX] {
            for batch_size in [1, 2, 3, 1024] {
                let rows = self.rows(content, piece_size, batch_size);
                let shown = String::from_utf8_lossy(&content[..content.len().min(200)]);
                assert_eq!(rows, expected, "{shown:?} in pieces of {piece_size} and batches of {batch_size}");
            }
        }
    }
}

fn list(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(element, true)))
}

#[test]
fn the_layouts_give_the_same_rows() {
    let case = Case::new([("b", DataType::Utf8View), ("a", DataType::Int64)]);
    let rows = ["1: x, 1", "2: NULL, 2", "3: longer than twelve bytes, NULL"];
    for content in [
        "{\"a\":1,\"b\":\"x\"}\n{\"a\":2}\n{\"b\":\"longer than twelve bytes\",\"A\":7}",
        "\u{feff}\r\n{\"a\":1,\"b\":\"x\"}\r\n\r\n{\"a\":2,\"c\":[{}]}\r\n{\"b\":\"longer than twelve bytes\"}\r\n",
        "{\n  \"a\": 1,\n  \"b\": \"x\"\n}\n{\n  \"a\": 2\n}\n{\n\"b\": \"longer than twelve bytes\"}",
        "[{\"a\":1,\"b\":\"x\"},\n{\"a\":2},{\"b\":\"longer than twelve bytes\"}]",
        "{\"a\":1,\"b\":\"x\"}{\"a\":2}{\"b\":\"longer than twelve bytes\"}",
    ] {
        case.check(content, &rows);
        Case { projection: vec![], ..case.clone() }.check(content, &["1: ", "2: ", "3: "]);
        Case { projection: vec![1], ..case.clone() }.check(content, &["1: 1", "2: 2", "3: NULL"]);
        Case { projection: vec![1, 0], ..case.clone() }
            .check(content, &["1: 1, x", "2: 2, NULL", "3: NULL, longer than twelve bytes"]);
    }
    case.check("", &[]);
    case.check("[]", &[]);
    case.check("{}", &["1: NULL, NULL"]);
}

#[test]
fn values_of_every_kind() {
    let element = DataType::Struct(vec![Field::new("n", DataType::Int32, true)].into());
    let case = Case::new([
        ("t", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))),
        ("d", DataType::Decimal128(5, 2)),
        ("l", list(element)),
        ("f", DataType::Float64),
        ("b", DataType::Boolean),
        ("u", DataType::UInt64),
    ]);
    case.check(
        "{\"t\":\"2022-06-27T00:00:00Z\",\"d\":1.5,\"l\":[{\"n\":1},{\"n\":2.0},null],\"f\":1,\"b\":true,\"u\":18446744073709551615}\n{}",
        &[
            "1: 2022-06-27T00:00:00Z, 1.50, [{n: 1}, {n: 2}, NULL], 1.0, true, 18446744073709551615",
            "2: NULL, NULL, NULL, NULL, NULL, NULL",
        ],
    );
}

#[test]
fn text_columns_take_everything() {
    let case = Case::new([("s", DataType::Utf8View), ("l", list(DataType::Utf8View))]);
    case.check(
        "{\"s\":1.50}\n{\"s\":true,\"l\":[1,\"a\",{\"b\": 2}]}\n{\"s\":{\"a\": [\"\\n\"]}}\n{\"s\":[]}\n{\"s\":\"\\u00e9\"}",
        &["1: 1.50, NULL", "2: true, [1, a, {\"b\": 2}]", "3: {\"a\": [\"\\n\"]}, NULL", "4: [], NULL", "5: é, NULL"],
    );
}

#[test]
fn values_that_do_not_fit() {
    let case = Case::new([("a", DataType::Int64), ("b", list(DataType::Int8)), ("c", DataType::Boolean)]);
    let content = "{\"a\":1}\n{\"a\":1.5,\"b\":[1],\"c\":7}\n{\"a\":\"3\"}\n{\"a\":true}\n{\"a\":5,\"b\":[300,2]}\n{\"a\":{}}\n{\"a\":7}";
    case.check(
        content,
        &["1: 1, NULL, NULL", "record 2: the value of column 'a' is no Int64: Json error: 1.5 is no Int64"],
    );
    case.on_bad_row(OnBadRow::Skip)
        .check(content, &["1: 1, NULL, NULL", "3: 3, NULL, NULL", "7: 7, NULL, NULL", "4 bad"]);
    case.on_bad_row(OnBadRow::Null).check(
        content,
        &[
            "1: 1, NULL, NULL",
            "2: NULL, [1], NULL",
            "3: 3, NULL, NULL",
            "4: NULL, NULL, NULL",
            "5: 5, [NULL, 2], NULL",
            "6: NULL, NULL, NULL",
            "7: 7, NULL, NULL",
            "4 bad",
        ],
    );
    // Columns that are not asked for are not looked at.
    Case { projection: vec![2], ..case }.check("{\"a\":\"x\",\"c\":true}", &["1: true"]);
}

#[test]
fn documents_that_are_none() {
    let case = Case::new([("a", DataType::Int64)]);
    for on_bad_row in [OnBadRow::Skip, OnBadRow::Null] {
        let case = case.on_bad_row(on_bad_row);
        case.check("{\"a\":1}\n{\"a\":\n{\"a\":3}\n", &["1: 1", "3: 3", "1 bad"]);
        case.check("{\"a\":1\n{\"a\":2}\n[1]\n5\n{\"a\":5}", &["2: 2", "5: 5", "3 bad"]);
        case.check("[{\"a\":1},[{\"a\":2}],3,{\"a\" 4},{\"a\":5}]", &["1: 1", "5: 5", "3 bad"]);
        case.check("[{\"a\":1},{\"a\":2}", &["1: 1", "2: 2", "1 bad"]);
        case.check("{\"a\":1}\n{\"a\":2", &["1: 1", "1 bad"]);
        case.check(format!("{{\"a\":1}}\n{{\"x\":{0}1\n{{\"a\":3}}", "[".repeat(3000)), &["1: 1", "3: 3", "1 bad"]);
        // Nothing but the number of rows is asked for: the documents have to be documents all the same.
        Case { projection: vec![], ..case }.check("{\"a\":1}\n5\n{,}\n{}", &["1: ", "4: ", "2 bad"]);
    }
    case.check("{\"a\":1}\n{\"a\":2", &["1: 1", "record 2: the content ends inside the document"]);
    case.check("{\"a\":1}\n5", &["1: 1", "record 2: the document is no object"]);
    case.check("[{\"a\":1}", &["1: 1", "record 2: the content ends inside the list of documents"]);
    case.check("{\"a\":1,}", &["record 1: a key in quotes is missing"]);
    Case { abandon: true, ..case }.check("{\"a\":1}\n{\"a\":2", &["1: 1"]);
}

#[test]
fn bytes_that_are_not_utf8() {
    let case = Case::new([("a", DataType::Utf8View), ("b", list(DataType::Utf8View))]);
    let content = b"{\"a\":\"x\"}\n{\"a\":\"caf\xe9\",\"b\":[\"\xff\",\"y\"],\"\xff\":1}\n{\"a\":\"z\"}";
    let with = |on_invalid_utf8, row: &str| {
        case.on_invalid_utf8(on_invalid_utf8).check(content, &["1: x, NULL", row, "3: z, NULL"]);
    };
    with(OnInvalidUtf8::Replace, "2: caf\u{fffd}, [\u{fffd}, y]");
    with(OnInvalidUtf8::Ignore, "2: caf, [, y]");
    with(OnInvalidUtf8::Null, "2: NULL, [NULL, y]");
    let error = "record 2: byte 9 is not UTF-8 (0xe9): set on_invalid_utf8 to 'replace', 'ignore' or 'null' to read on";
    case.check(content, &["1: x, NULL", error]);
    // Outside of strings it is no JSON.
    case.on_bad_row(OnBadRow::Skip)
        .check(b"{\"a\":1}\n{\"a\":\xff}\n{\"a\":3}", &["1: 1, NULL", "3: 3, NULL", "1 bad"]);
}

#[test]
fn damage_is_the_same_in_pieces_of_every_size() {
    let case = Case::new([("a", DataType::Int64), ("b", list(DataType::Utf8View))]).on_bad_row(OnBadRow::Null);
    let case = case.on_invalid_utf8(OnInvalidUtf8::Null);
    let contents = [
        "\u{feff}{\"a\":1,\"b\":[\"x\\u00e9\",{}]}\r\n{\"a\":2e0}\n{\"b\":null}\n",
        "[{\"a\":1},\n{\"b\":[\"\\\"\"]}, {\"a\":-3}]",
        "{\n \"a\": 1\n}\n{\n \"b\": [true]\n}\n",
    ];
    for content in contents {
        for at in 0..content.len() {
            for byte in *b"{}[],:\"\\ \n0x\xff" {
                let mut damaged = content.as_bytes().to_vec();
                damaged[at] = byte;
                let whole = case.rows(&damaged, usize::MAX, 1024);
                for (piece_size, batch_size) in [(1, 1), (3, 2), (7, 1024)] {
                    let rows = case.rows(&damaged, piece_size, batch_size);
                    assert_eq!(rows, whole, "{:?}", String::from_utf8_lossy(&damaged));
                }
                case.check_cuts(&damaged, 2);
            }
        }
    }
}

#[test]
fn only_lines_are_cut() {
    let case = Case::new([("a", DataType::Int64)]).on_bad_row(OnBadRow::Skip);
    let cases = [
        ("{\"a\":1}\n{\"a\":2}\n{\"a\":3}", 2),
        ("\u{feff}\n{\"a\":1}\n{\"a\"\n{\"a\":3}\n", 3),
        ("{}\n{}\n{\"a\":\"x\"}\n[1,\n{}\n", 3),
        ("xyz\n{\"a\":2}\n\n", 2),
        ("[{\"a\":1},\n{\"a\":2}]\n", 0),
        ("{\n\"a\":1\n}\n{\n\"a\":2\n}\n", 0),
        ("{\"a\":1}", 0),
    ];
    for (content, cuts) in cases {
        assert_eq!(case.check_cuts(content.as_bytes(), 1024), cuts, "{content}");
    }
}

/// Values, and what is none; `#` is another of them.
const VALUES: [&str; 48] = [
    "1",
    "-7",
    "0",
    "-0",
    "00",
    "1.5",
    "13.675",
    "-0.001",
    "1e3",
    "1E-2",
    "2.5e+3",
    "1.",
    ".5",
    "1e",
    "1e400",
    "-1e-400",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "123456789012345678901234567890",
    "7.0",
    "0.1234567890123456789",
    "9007199254740993",
    "1.7976931348623157e308",
    "true",
    "false",
    "null",
    "tru",
    "nul",
    "\"\"",
    "\"x\"",
    "\"longer than twelve bytes\"",
    "\"7\"",
    "\"1.50\"",
    "\"true\"",
    "\"\\u00e9\\n\\\"\\/\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud83d\"",
    "\"\\x\"",
    "\"\u{e9}\u{1f600}\"",
    "\"tab\there\"",
    "[]",
    "[#]",
    "[#,#]",
    "[#, null ,#]",
    "{}",
    "{\"n\":#,\"t\":#}",
    "{\"m\":{\"k\":[#]},\"n\":#}",
];

fn value(dice: &mut Dice, levels: u32) -> String {
    let value = VALUES[dice.next(VALUES.len())];
    let parts: Vec<_> = value.split('#').collect();
    let mut out = parts[0].to_owned();
    for part in &parts[1..] {
        out += &if levels == 0 { "3".to_owned() } else { self::value(dice, levels - 1) };
        out += part;
    }
    out
}

/// A line that is a document as a rule, with the members that the columns want as a rule.
fn line(dice: &mut Dice) -> String {
    let fitting = [
        ("i", "1"),
        ("f", "2.5"),
        ("s", "\"text\""),
        ("b", "true"),
        ("l", "[1,2]"),
        ("o", "{\"n\":1,\"t\":\"u\"}"),
        ("x", "{\"y\":[1,\"}\"]}"),
        ("i\\u0000", "1"),
        ("", "null"),
        ("i", "2"),
    ];
    let space = |dice: &mut Dice| ["", "", "", " ", "\t", "\r"][dice.next(6)];
    let mut members = Vec::new();
    for (key, value) in fitting {
        let value = match dice.next(12) {
            0..3 => continue,
            3 => self::value(dice, 2),
            _ => value.to_owned(),
        };
        members.push(format!("{}\"{key}\"{}:{}{value}", space(dice), space(dice), space(dice)));
    }
    // The last one is a key that comes twice: seldom.
    if dice.next(8) > 0 {
        members.pop();
    }
    format!("{}{{{}{}}}{}", space(dice), members.join(","), space(dice), space(dice))
}

fn lines(dice: &mut Dice) -> Vec<u8> {
    let mut content = Vec::new();
    for _ in 0..dice.next(12) {
        let mut line = match dice.next(20) {
            0 => [" ", "", "{}", "[1]", "5", "{}{}", "xyz", "\u{feff}"][dice.next(8)].to_owned(),
            _ => line(dice),
        }
        .into_bytes();
        if dice.next(30) == 0 && !line.is_empty() {
            let at = dice.next(line.len());
            line[at] = b"{}[],:\"\\ \n0x\xff\t"[dice.next(14)];
        }
        content.append(&mut line);
        content.push(b'\n');
    }
    if dice.next(2) == 0 {
        content.pop();
    }
    content
}

/// What the columns take, and what they leave to the other way, is what that way makes of all.
#[test]
fn both_ways_give_the_same_rows() {
    let inner = vec![Field::new("n", DataType::Int64, true), Field::new("t", DataType::Utf8View, true)];
    let all = Case::new([
        ("i", DataType::Int64),
        ("f", DataType::Float64),
        ("s", DataType::Utf8View),
        ("b", DataType::Boolean),
        ("l", list(DataType::Int64)),
        ("o", DataType::Struct(inner.into())),
        ("none", list(list(DataType::Utf8View))),
    ]);
    let mut dice = Dice(7);
    for round in 0..1500 {
        let content = lines(&mut dice);
        let on_bad_row = [OnBadRow::Fail, OnBadRow::Skip, OnBadRow::Null][round % 3];
        let on_invalid_utf8 = [OnInvalidUtf8::Fail, OnInvalidUtf8::Replace, OnInvalidUtf8::Null][round / 3 % 3];
        let projection = [vec![0, 1, 2, 3, 4, 5, 6], vec![2, 0], vec![], vec![5]][round / 9 % 4].clone();
        let case = Case { projection, ..all.on_bad_row(on_bad_row).on_invalid_utf8(on_invalid_utf8) };
        for end in [End::Whole, End::Damaged] {
            let outcome = |columns: bool, batch_size| {
                let make = |bad_rows| {
                    let mut decoder = JsonDecoder::new(case.options(batch_size, bad_rows)).unwrap();
                    assert!(decoder.columns.is_some());
                    decoder.columns = decoder.columns.filter(|_| columns);
                    Box::new(decoder) as Box<dyn RecordDecoder>
                };
                in_one_go(&make, &content, end)
            };
            let expected = outcome(false, 1024);
            for batch_size in [1, 3, 1024] {
                let shown = String::from_utf8_lossy(&content);
                assert_eq!(outcome(true, batch_size), expected, "{shown}\n{end:?}, batches of {batch_size}");
            }
        }
        case.check_cuts(&content, 3);
    }
}

#[test]
fn common_lines_go_into_columns() {
    let case = Case::new([("a", DataType::Int64), ("b", DataType::Utf8View)]);
    let content = b"{\"a\":1,\"b\":\"\\u00e9\"}\n\n{\"x\":[{}], \"a\":null}\r\n{}\n";
    for piece_size in [1, 5, 1000] {
        let mut decoder = JsonDecoder::new(case.options(1024, BadRows::default())).unwrap();
        content.chunks(piece_size).for_each(|piece| decoder.decode(Bytes::copy_from_slice(piece)).unwrap());
        assert_eq!(decoder.columns.as_ref().map(Columns::rows), Some(3));
        decoder.decode(Bytes::from("{\"a\":\"7\"}\n{\"a\":8}\n")).unwrap();
        // The line that they refuse is collected, as are those behind it.
        assert_eq!((decoder.columns.as_ref().map(Columns::rows), decoder.documents.len()), (Some(0), 2));
        decoder.finish().unwrap();
    }
}

#[test]
fn a_document_has_a_limit() {
    let case = Case::new([("a", DataType::Utf8View)]);
    let content = [b"{\"a\":\"".to_vec(), vec![b'x'; DOCUMENT_BYTES_MAX]].concat();
    assert_eq!(case.rows(&content, 1 << 18, 1024), ["record 1: the document has more than 67108864 bytes"]);
}

#[test]
fn a_type_that_json_has_not_is_refused() {
    let field = Field::new("i", DataType::Interval(arrow::datatypes::IntervalUnit::DayTime), true);
    let options = RecordOptions {
        missing_column: crate::member::MissingColumn::Fail,
        schema: Arc::new(Schema::new(vec![field])),
        projection: vec![0],
        batch_size: 1,
        on_bad_row: OnBadRow::Skip,
        on_invalid_utf8: OnInvalidUtf8::Fail,
        bad_rows: BadRows::default(),
        allowance: crate::memory::Allowance::unlimited(),
    };
    let error = JsonDecoder::new(options).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Schema);
    assert!(error.to_string().starts_with("column 'i' of type Interval(DayTime) can't be read from JSON"), "{error}");
}
