//! How CSV members are read, in pieces of any size and batches of any number of rows.

mod forks;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::csv::ReaderBuilder;
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::*;
use crate::member::unite::unite;
use crate::policy::{OnBadRow, OnInvalidUtf8};
use crate::stats::Stats;
use DataType::{Boolean, Date32, Float64, Int64, Null, Utf8View};
use OnBadRow::{Fail, Skip};

const PIECES: [usize; 8] = [1, 2, 3, 5, 7, 11, 64, usize::MAX];
const BATCHES: [usize; 4] = [1, 2, 3, 1024];

/// One way to read a member.
#[derive(Clone)]
struct Case {
    schema: Schema,
    projection: Option<Vec<usize>>,
    on_bad_row: OnBadRow,
    on_invalid_utf8: OnInvalidUtf8,
    csv: CsvOptions,
    record_bytes_max: Option<usize>,
    /// The member is damaged behind the input.
    abandoned: bool,
}

/// What comes out: rows as `number|value|value`, how many are bad, and the error at the end.
#[derive(Debug, PartialEq)]
struct Outcome {
    rows: Vec<String>,
    bad_rows: u64,
    error: Option<String>,
}

impl Case {
    fn new(columns: &[(&str, DataType)]) -> Self {
        Self {
            schema: schema(columns),
            projection: None,
            on_bad_row: Fail,
            on_invalid_utf8: OnInvalidUtf8::Fail,
            csv: CsvOptions::default(),
            record_bytes_max: None,
            abandoned: false,
        }
    }

    /// Columns `a` and `b` of text.
    fn texts() -> Self {
        Self::new(&[("a", Utf8View), ("b", Utf8View)])
    }

    /// Columns `n` of integers and `t` of text.
    fn typed() -> Self {
        Self::new(&[("n", Int64), ("t", Utf8View)])
    }

    fn on_bad_row(self, on_bad_row: OnBadRow) -> Self {
        Self { on_bad_row, ..self }
    }

    fn on_invalid_utf8(self, on_invalid_utf8: OnInvalidUtf8) -> Self {
        Self { on_invalid_utf8, ..self }
    }

    fn project(self, projection: &[usize]) -> Self {
        Self { projection: Some(projection.to_vec()), ..self }
    }

    fn csv(mut self, change: impl FnOnce(&mut CsvOptions)) -> Self {
        change(&mut self.csv);
        self
    }

    fn not_null(mut self) -> Self {
        let strict = |field: &Arc<Field>| Field::clone(field).with_nullable(false);
        self.schema = Schema::new(self.schema.fields.iter().map(strict).collect::<Fields>());
        self
    }

    fn decoder(&self, batch_size: usize, stats: &Arc<Stats>) -> Result<CsvDecoder> {
        let all = || (0..self.schema.fields.len()).collect();
        let options = RecordOptions {
            missing_column: crate::member::MissingColumn::Fail,
            schema: Arc::new(self.schema.clone()),
            projection: self.projection.clone().unwrap_or_else(all),
            batch_size,
            on_bad_row: self.on_bad_row,
            on_invalid_utf8: self.on_invalid_utf8,
            bad_rows: BadRows::counted(Arc::clone(stats)),
            allowance: crate::memory::Allowance::unlimited(),
        };
        let mut decoder = CsvDecoder::new(options, self.csv.clone())?;
        if let Some(bytes) = self.record_bytes_max {
            decoder.splitter.limit_record_bytes(bytes);
        }
        Ok(decoder)
    }

    fn run(&self, input: &[u8], piece: usize, batch_size: usize) -> Outcome {
        let stats = Arc::new(Stats::default());
        let (batches, error) = match self.decoder(batch_size, &stats) {
            Ok(decoder) => drain(decoder, input, piece, self.abandoned),
            Err(error) => (Vec::new(), Some(error)),
        };
        assert!(batches.iter().all(|records| (1..=batch_size).contains(&records.batch.num_rows())));
        let rows = batches.iter().flat_map(show).collect();
        Outcome { rows, bad_rows: stats.bad_rows.value(), error: error.map(|error| error.to_string()) }
    }

    /// However the input is cut into pieces and batches, `rows` come out, then an error that contains `error`.
    #[track_caller]
    fn check_all(&self, input: impl AsRef<[u8]>, rows: &[&str], bad_rows: u64, error: Option<&str>) {
        let input = input.as_ref();
        let shown = String::from_utf8_lossy(input);
        for piece in PIECES {
            for batch_size in BATCHES {
                let outcome = self.run(input, piece, batch_size);
                let how = format!("pieces of {piece}, batches of {batch_size}: {shown:?}: {outcome:?}");
                assert_eq!(outcome.rows, rows, "{how}");
                assert_eq!(outcome.bad_rows, bad_rows, "{how}");
                assert_eq!(outcome.error.is_some(), error.is_some(), "{how}");
                assert!(outcome.error.unwrap_or_default().contains(error.unwrap_or_default()), "{how}");
            }
        }
    }

    #[track_caller]
    fn check(&self, input: impl AsRef<[u8]>, rows: &[&str]) {
        self.check_all(input, rows, 0, None);
    }

    #[track_caller]
    fn check_bad(&self, input: impl AsRef<[u8]>, rows: &[&str], bad_rows: u64) {
        self.check_all(input, rows, bad_rows, None);
    }

    #[track_caller]
    fn check_error(&self, input: impl AsRef<[u8]>, rows: &[&str], error: &str) {
        self.check_all(input, rows, 0, Some(error));
    }
}

fn schema(columns: &[(&str, DataType)]) -> Schema {
    Schema::new(columns.iter().map(|(name, to)| Field::new(*name, to.clone(), true)).collect::<Fields>())
}

fn drain(
    mut decoder: impl RecordDecoder,
    input: &[u8],
    piece: usize,
    abandoned: bool,
) -> (Vec<Records>, Option<Error>) {
    let mut batches = Vec::new();
    let mut result = Ok(());
    for piece in input.chunks(piece.min(input.len().max(1))) {
        result = decoder.decode(Bytes::copy_from_slice(piece));
        batches.extend(std::iter::from_fn(|| decoder.next_records()));
        if result.is_err() {
            break;
        }
    }
    let result = result.and_then(|()| if abandoned { decoder.abandon() } else { decoder.finish() });
    batches.extend(std::iter::from_fn(|| decoder.next_records()));
    (batches, result.err())
}

fn show(records: &Records) -> Vec<String> {
    let format = FormatOptions::new().with_null("NULL");
    let columns: Vec<_> =
        records.batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &format).unwrap()).collect();
    assert_eq!(records.batch.num_rows(), records.row_numbers.len());
    let line = |row: usize| {
        let values = columns.iter().map(|column| column.value(row).to_string());
        std::iter::once(records.row_numbers.value(row).to_string()).chain(values).collect::<Vec<_>>().join("|")
    };
    (0..records.batch.num_rows()).map(line).collect()
}

#[test]
fn records_end_however_lines_do() {
    let case = Case::texts();
    for end in ["\n", "\r\n", "\r", "\n\n", "\r\n\r\n", "\n\r"] {
        let rows = &["1|1|2", "2|3|4"];
        case.check(format!("a,b{end}1,2{end}3,4{end}"), rows);
        case.check(format!("{end}a,b{end}1,2{end}3,4"), rows);
        case.check(format!("\u{feff}a,b{end}\"1\",2{end}3,\"4\""), rows);
    }
    case.check("", &[]);
    case.check("\u{feff}", &[]);
    case.check("a,b", &[]);
    case.check("a,b\n \n".replace(' ', "\r"), &[]);
}

#[test]
fn only_one_whole_mark_is_dropped() {
    let case = Case::texts().csv(|csv| csv.has_header = false);
    case.check("\u{feff}1,2\n", &["1|1|2"]);
    case.check("\u{feff}\u{feff}1,2\n", &["1|\u{feff}1|2"]);
    case.check("1,2\n\u{feff}1,2\n", &["1|1|2", "2|\u{feff}1|2"]);
    let replace = case.on_invalid_utf8(OnInvalidUtf8::Replace);
    replace.check(b"\xef\xbb1,2\n", &["1|\u{fffd}1|2"]);
    replace.check(b"\xef1,2\n\"\xef\",4\n", &["1|\u{fffd}1|2", "2|\u{fffd}|4"]);
    replace.clone().on_bad_row(Skip).check_bad(b"\xef\xbb", &[], 1);
    Case { abandoned: true, ..replace }.check(b"\xef\xbb", &[]);
}

#[test]
fn quotes() {
    let case = Case::texts();
    case.check("a,b\n\"x,y\",\"\"\"z\"\"\"\n", &["1|x,y|\"z\""]);
    case.check("\"a\",\"b\"\nx\"y,\"z\"w\n", &["1|x\"y|zw"]);
    case.check("a,b\n\"\",\n", &["1|NULL|NULL"]);
    let escaped = Case::texts().csv(|csv| csv.escape = Some(b'\\'));
    escaped.check("a,b\n\"x\\\"y\",x\\y\n\"\\\\\",2\n", &["1|x\"y|x\\y", "2|\\|2"]);
    let single = Case::texts().csv(|csv| csv.quote = b'\'');
    single.check("a,b\n'x,y',\"z\"\n", &["1|x,y|\"z\""]);
    let same = Case::texts().csv(|csv| csv.escape = Some(b'"'));
    same.check("a,b\n\"x\"\"y\",2\n", &["1|x\"y|2"]);
}

#[test]
fn a_quoted_newline_is_a_bad_row_unless_values_may_have_it() {
    let input = "a,b\n1,\"x\ny\"\n2,\"z\r\"\n3,w\n";
    let case = Case::texts();
    case.clone().csv(|csv| csv.newlines_in_values = true).check(input, &["1|1|x\ny", "2|2|z\r", "3|3|w"]);
    case.check_error(input, &[], "record 1 has a quote that is not closed on its line");
    // The next line is a new record, here one with too few fields.
    case.clone().on_bad_row(Skip).check_bad(input, &["5|3|w"], 4);
    case.on_bad_row(OnBadRow::Null).check_bad("a,b\n1,2\n\"3,4\n5,6\n", &["1|1|2", "3|5|6"], 1);
}

#[test]
fn a_quote_that_is_never_closed_is_a_bad_row() {
    for newlines in [true, false] {
        let case = Case::texts().csv(|csv| (csv.newlines_in_values, csv.escape) = (newlines, Some(b'\\')));
        for end in ["\"3,4", "\"", "3,\"4", "3,\"4\\", "3,\"4\"\""] {
            let input = format!("a,b\n1,2\n{end}");
            case.check_error(&input, &["1|1|2"], "record 2 has a quote that is not closed before the end");
            case.clone().on_bad_row(Skip).check_bad(&input, &["1|1|2"], 1);
        }
    }
}

#[test]
fn comments_are_no_records() {
    let case = Case::texts().csv(|csv| csv.comment = Some(b'#'));
    for end in ["\n", "\r\n", "\r"] {
        case.check(format!("# \"one{end}a,b{end}#1,2{end}{end}1,#2{end}\"#3\",4{end}#"), &["1|1|#2", "2|#3|4"]);
    }
    case.check("\u{feff}#\na,b\n1,2", &["1|1|2"]);
}

#[test]
fn a_record_with_another_number_of_fields_is_bad() {
    let input = "a,b\n1\n2,3\n4,5,6\n7,8\n9,\n\"x\"\n";
    let rows = &["2|2|3", "4|7|8", "5|9|NULL"];
    Case::texts().on_bad_row(Skip).check_bad(input, rows, 3);
    Case::texts().on_bad_row(OnBadRow::Null).check_bad(input, rows, 3);
    Case::texts().check_error(input, &[], "record 1 has 1 fields instead of 2");
    Case::texts().check_error("a,b\n1,2\n4,5,6", &["1|1|2"], "record 2 has 3 fields instead of 2");
    // Without a header, the columns say how many.
    let plain = Case::texts().csv(|csv| csv.has_header = false);
    plain.check_error("1,2\n3\n", &["1|1|2"], "record 2 has 1 fields instead of 2");
    let many = "1,".repeat(1000);
    plain.on_bad_row(Skip).check_bad(format!("{many}\n\"\"{many}\n1,2\n"), &["3|1|2"], 2);
}

#[test]
fn columns_are_found_by_name() {
    let case = Case::new(&[("n", Int64), ("Time", Utf8View)]);
    case.check("time,x,n\nt,not looked at,1\n", &["1|1|t"]);
    case.check_error("time,x\nt,1\n", &[], "column 'n' is not among the 2 columns of the header: time, x");
    case.check("TIME,n,n,Time\nt,1,2,u\n", &["1|1|u"]);
    Case::new(&[("n_1", Int64), ("column_2", Int64)]).check("n,,n\n1,2,3\n", &["1|3|2"]);
    case.clone().project(&[1]).check("n,time\nbad,t\n", &["1|t"]);
    case.clone().project(&[1, 0]).check("n,time\n1,t\n", &["1|t|1"]);
    case.project(&[]).on_bad_row(Skip).check_bad("n,time\n1,t\n1\n\n\nbad,t\n", &["1", "3"], 1);
    Case::texts().check_error(b"a,\xff\n1,2\n", &[], "field 2 of the header is not UTF-8");
    Case::texts().on_bad_row(Skip).check_all(
        "a,\"b\n1,2\n",
        &[],
        0,
        Some("the header has a quote that is not closed on its line"),
    );
}

#[test]
fn without_a_header_columns_go_by_position() {
    let case = Case::typed().csv(|csv| csv.has_header = false);
    case.check("1,x\n2,y", &["1|1|x", "2|2|y"]);
    case.project(&[1]).check("1,x\n2,y", &["1|x", "2|y"]);
}

#[test]
fn a_value_that_does_not_parse() {
    let input = "n,t\n1,x\nbad,y\n3,\n1.5,w\n-4,v\n";
    Case::typed().check_error(input, &["1|1|x"], "record 2, column 'n': 'bad' does not parse as Int64");
    Case::typed().on_bad_row(Skip).check_bad(input, &["1|1|x", "3|3|NULL", "5|-4|v"], 2);
    let nulls = Case::typed().on_bad_row(OnBadRow::Null);
    nulls.check_bad(input, &["1|1|x", "2|NULL|y", "3|3|NULL", "4|NULL|w", "5|-4|v"], 2);
    // A row counts once, however many of its values are bad.
    let case = Case::new(&[("a", Int64), ("b", Boolean)]).on_bad_row(OnBadRow::Null);
    case.check_bad("a,b\nx,w\n1,true\n2,z\n", &["1|NULL|NULL", "2|1|true", "3|2|NULL"], 2);
    case.on_bad_row(Skip).check_bad("a,b\nx,w\n1,true\n2,z\n", &["2|1|true"], 2);
    let long = "x".repeat(1000);
    Case::typed().check_error(format!("n,t\n{long},y\n"), &[], &format!("'{}…' does not parse", &long[..64]));
}

#[test]
fn the_first_record_at_fault_is_named() {
    let case = Case::new(&[("a", Int64), ("b", Int64)]);
    case.check_error("a,b\n1,2\n3,x\ny,4\n", &["1|1|2"], "record 2, column 'b'");
    case.check_error("a,b\n1,2\nz,x\n", &["1|1|2"], "record 2, column 'a'");
    case.check_error("a,b\n1,2\nz,x\n1\n", &["1|1|2"], "record 2, column 'a'");
    case.check_error("a,b\n1,2\n1\nz,x\n", &["1|1|2"], "record 2 has 1 fields");
    let text = Case::typed();
    text.check_error(b"n,t\n1,\xff\nx,\xff", &[], "record 1, column 't': byte 0 is not UTF-8");
    text.check_error(b"n,t\nx,\n1,\xff\n", &[], "record 1, column 'n': 'x' does not parse as Int64");
    // Rows before a fatal one are settled as ever.
    text.on_bad_row(Skip).check_all(b"n,t\n1,a\nx,\n2,\xff\ny,\n", &["1|1|a"], 1, Some("record 3, column 't'"));
}

#[test]
fn a_null_does_not_fit_a_column_that_is_not_null() {
    let input = "n,t\n1,x\n,y\n3,z\nbad,w\n";
    let case = Case::typed().not_null();
    case.check_error(input, &["1|1|x"], "record 2, column 'n' is NOT NULL, but the value is NULL");
    for on_bad_row in [Skip, OnBadRow::Null] {
        case.clone().on_bad_row(on_bad_row).check_bad(input, &["1|1|x", "3|3|z"], 2);
    }
    let invalid = case.on_bad_row(Skip).on_invalid_utf8(OnInvalidUtf8::Null);
    invalid.check_bad(b"n,t\n1,\xff\n2,x\n", &["2|2|x"], 1);
}

#[test]
fn invalid_utf8() {
    let input = b"n,t\n1,a\xffb\n2,\xff\n3,\xc3\n4,\xa9\n5,\xc3\xa9\n";
    let check = |policy, rows: &[&str]| Case::typed().on_invalid_utf8(policy).check(input, rows);
    check(OnInvalidUtf8::Replace, &["1|1|a\u{fffd}b", "2|2|\u{fffd}", "3|3|\u{fffd}", "4|4|\u{fffd}", "5|5|é"]);
    check(OnInvalidUtf8::Ignore, &["1|1|ab", "2|2|NULL", "3|3|NULL", "4|4|NULL", "5|5|é"]);
    check(OnInvalidUtf8::Null, &["1|1|NULL", "2|2|NULL", "3|3|NULL", "4|4|NULL", "5|5|é"]);
    Case::typed().check_error(input, &[], "record 1, column 't': byte 1 is not UTF-8");
    // Two fields that are UTF-8 only together.
    Case::texts().check_error(b"b,a\n\xa9,\xc3\n", &[], "record 1, column 'a': byte 0 is not UTF-8");
    Case::texts().check_error(b"a,b\n\xc3,\n\xa9,\n", &[], "record 1, column 'a': byte 0 is not UTF-8");
    // In a number it is a value that does not parse; binary columns take it as it is.
    let error = "record 1, column 'n': '1\u{fffd}' does not parse as Int64";
    Case::typed().on_invalid_utf8(OnInvalidUtf8::Null).check_error(b"n,t\n1\xff,x\n", &[], error);
    Case::typed().on_bad_row(OnBadRow::Null).check_bad(b"n,t\n1\xff,x\n", &["1|NULL|x"], 1);
    for to in [DataType::Binary, DataType::BinaryView, DataType::LargeBinary] {
        Case::new(&[("n", Int64), ("t", to)]).check(b"n,t\n1,\xff\n2,\n", &["1|1|ff", "2|2|NULL"]);
    }
}

#[test]
fn null_regex_replaces_the_empty_field() {
    let case = Case::typed().csv(|csv| csv.null_regex = Some(null_regex("NA|N").unwrap()));
    case.check("n,t\n1,\nNA,NA\n2,CANADA\n3,\"N\"\n", &["1|1|", "2|NULL|NULL", "3|2|CANADA", "4|3|NULL"]);
    case.check_error("n,t\n,x\n", &[], "record 1, column 'n': '' does not parse as Int64");
    let both = Case::typed().csv(|csv| csv.null_regex = Some(null_regex("|NA").unwrap()));
    both.check("n,t\n,\nNA,NAN\n", &["1|NULL|NULL", "2|NULL|NAN"]);
    for pattern in ["(", "a)|(b"] {
        let error = null_regex(pattern).unwrap_err().to_string();
        assert!(error.starts_with(&format!("option 'null_regex' can't be '{pattern}': regex parse error")), "{error}");
    }
}

#[test]
fn every_type() {
    let utc = || Some(Arc::from("+02:00"));
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let cases = [
        (Boolean, "true,FALSE,t,0,yes", "2", vec!["true", "false", "true", "false", "true"]),
        (DataType::Int8, "1,-128", "128", vec!["1", "-128"]),
        (DataType::UInt64, "18446744073709551615", "-1", vec!["18446744073709551615"]),
        (DataType::Float32, "1.5,1e3,inf", "1,5", vec!["1.5", "1000.0", "inf"]),
        (Float64, "-0.5,NaN,1", "x", vec!["-0.5", "NaN", "1.0"]),
        (DataType::Utf8, "x,longer than twelve bytes", "", vec!["x", "longer than twelve bytes"]),
        (DataType::LargeUtf8, "x", "", vec!["x"]),
        (Utf8View, "x,longer than twelve bytes", "", vec!["x", "longer than twelve bytes"]),
        (dictionary, "x,y,x", "", vec!["x", "y", "x"]),
        (Date32, "2022-06-27", "2022-13-27", vec!["2022-06-27"]),
        (DataType::Time64(TimeUnit::Microsecond), "12:30:01.5", "25:00", vec!["12:30:01.500"]),
        (
            DataType::Timestamp(TimeUnit::Microsecond, None),
            "2022-06-27 12:00:00.000001,2022-06-27T12:00:00+02:00",
            "2022-06-27 25:00",
            vec!["2022-06-27T12:00:00.000001", "2022-06-27T10:00:00"],
        ),
        (DataType::Timestamp(TimeUnit::Second, utc()), "2022-06-27 12:00:00", "y", vec!["2022-06-27T12:00:00+02:00"]),
        (DataType::Decimal128(5, 2), "123.45,-1,1.239", "12345678", vec!["123.45", "-1.00", "1.24"]),
    ];
    for (to, good, bad, values) in cases {
        let case = Case::new(&[("v", to.clone())]).on_bad_row(OnBadRow::Null).csv(|csv| csv.delimiter = b';');
        let input = format!("v\n{}\n\"\"\n", good.replace(',', "\n"));
        let rows: Vec<_> = (1..).zip(values.iter().chain(&["NULL"])).map(|(n, value)| format!("{n}|{value}")).collect();
        case.check(&input, &rows.iter().map(String::as_str).collect::<Vec<_>>());
        if !bad.is_empty() {
            case.check_bad(format!("v\n{bad}\n"), &["1|NULL"], 1);
        }
    }
}

#[test]
fn what_text_cannot_become_is_refused() {
    let list = DataType::List(Arc::new(Field::new("item", Int64, true)));
    for to in [list, Null, DataType::Timestamp(TimeUnit::Second, Some(Arc::from("Nowhere/Land")))] {
        let error = format!("column 'v' can't be {to} here: no text can be read as it");
        Case::new(&[("v", to)]).check_error("v\n", &[], &error);
    }
    Case::texts().project(&[2]).check_error("a,b\n", &[], "the projection does not fit the columns");
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    type Change = fn(&mut CsvOptions);
    let cases: [(Change, &str); 4] = [
        (|csv| csv.quote = b',', "options 'delimiter' and 'quote' can't both be ','"),
        (|csv| csv.comment = Some(b'"'), "options 'quote' and 'comment' can't both be '\\\"'"),
        (|csv| csv.delimiter = b'\n', "option 'delimiter' can't be '\\n': it is one ASCII character"),
        (|csv| csv.escape = Some(0xa7), "option 'escape' can't be '\\xa7': it is one ASCII character"),
    ];
    for (change, error) in cases {
        Case::texts().csv(change).check_error("a,b\n1,2\n", &[], error);
    }
}

#[test]
fn tabs() {
    let case = Case { csv: CsvOptions::tsv(), ..Case::texts() };
    case.check("a\tb\n1,2\t\"3\t4\"\n", &["1|1,2|3\t4"]);
}

#[test]
fn what_is_cut_by_damage_does_not_come_out() {
    let case = Case { abandoned: true, ..Case::texts() };
    case.check("a,b\n1,2\n3,4", &["1|1|2"]);
    case.check("a,b\n1,2\n\"3,4", &["1|1|2"]);
    case.check("a,", &[]);
}

#[test]
fn a_record_beyond_the_limit_is_an_error_under_every_policy() {
    let case = Case { record_bytes_max: Some(10), ..Case::texts() }.on_bad_row(Skip);
    case.check("a,b\n12345,7890\r\n\"2345\",890\n", &["1|12345|7890", "2|2345|890"]);
    for newlines in [true, false] {
        let case = case.clone().csv(|csv| csv.newlines_in_values = newlines);
        for record in ["12345,78901", "\"2345\",8901", "\"234567890ab", "1234567890abcdef"] {
            for end in ["\n", "\r\n", ""] {
                let input = format!("a,b\n1,2\n{record}{end}");
                case.check_all(&input, &["1|1|2"], 0, Some("record 2 has more than"));
            }
        }
    }
    case.check_all("long,header", &[], 0, Some("the header has more than"));
}

#[test]
fn a_batch_of_large_rows_is_handed_on_early() {
    let value = "x".repeat(5 << 20);
    let input = format!("a,b\n{}", format!("{value},{value}\n").repeat(5));
    let (batches, error) =
        drain(Case::texts().decoder(1024, &Arc::default()).unwrap(), input.as_bytes(), 1 << 18, false);
    assert!(error.is_none());
    assert_eq!(batches.iter().map(|records| records.batch.num_rows()).collect::<Vec<_>>(), [2, 2, 1]);
}

#[test]
fn columns_are_inferred() {
    let timestamp = || DataType::Timestamp(TimeUnit::Microsecond, None);
    let cases: [(&str, DataType); 24] = [
        ("1 -2 0042", Int64),
        ("1 NULL", Int64),
        ("9223372036854775807", Int64),
        ("9223372036854775808", Utf8View),
        ("+1", Utf8View),
        ("-", Utf8View),
        ("1 2.5", Float64),
        (".5 5. -1e9 1E-3 1.5e+10 nan NaN inf -inf", Float64),
        (".", Utf8View),
        ("1e", Utf8View),
        ("e5", Utf8View),
        ("1.2.3", Utf8View),
        ("0x10", Utf8View),
        ("true False TRUE", Boolean),
        ("true 1", Utf8View),
        ("t", Utf8View),
        ("2022-06-27", Date32),
        ("2022-13-27", Utf8View),
        ("2022-06-27T12:00:00 2022-06-27T12:00:00.5Z", timestamp()),
        ("9999-12-31T00:00:00", timestamp()),
        ("2022-06-27T12:00:61", Utf8View),
        ("2022-06-27 2022-06-27T12:00:00", Utf8View),
        ("NULL", Null),
        ("x 1", Utf8View),
    ];
    for (values, expected) in cases {
        let input = format!("v;w\n{}", values.replace(' ', ";\n").replace("NULL", "") + ";\n");
        let csv = CsvOptions { delimiter: b';', ..CsvOptions::default() };
        let inferred = infer(input.as_bytes(), true, &csv, 1000, Fail).unwrap();
        assert_eq!(inferred, schema(&[("v", expected.clone()), ("w", Null)]), "{values}");
        // What is inferred can be read.
        let case = Case { csv, ..Case::new(&[]) };
        let case = Case { schema: unite([inferred]), ..case };
        assert_eq!(case.run(input.as_bytes(), usize::MAX, 1024).error, None, "{values}");
    }
}

#[test]
fn inference_reads_as_much_as_it_may() {
    let csv = CsvOptions::default();
    let plain = CsvOptions { has_header: false, ..CsvOptions::default() };
    let check = |input: &str, complete, csv: &CsvOptions, max_records, expected: Result<Schema, &str>| {
        let inferred = infer(input.as_bytes(), complete, csv, max_records, Fail).map_err(|error| error.to_string());
        match expected {
            Ok(expected) => assert_eq!(inferred, Ok(expected), "{input:?}"),
            Err(error) => assert!(inferred.as_ref().is_err_and(|e| e.contains(error)), "{input:?}: {inferred:?}"),
        }
    };
    check("a\n1\n2\nx\n", true, &csv, 2, Ok(schema(&[("a", Int64)])));
    check("a\n1\n2\nx\n", true, &csv, 3, Ok(schema(&[("a", Utf8View)])));
    check("a\n1\n", true, &csv, 0, Ok(schema(&[("a", Null)])));
    // The sample may have cut its last record.
    check("a\n1\n2\nx", true, &csv, 10, Ok(schema(&[("a", Utf8View)])));
    check("a\n1\n2\nx", false, &csv, 10, Ok(schema(&[("a", Int64)])));
    check("a,b", false, &csv, 10, Err("no record ends within the first 3 bytes; declare the columns instead"));
    check("a,b", true, &csv, 10, Ok(schema(&[("a", Null), ("b", Null)])));
    check("", true, &csv, 10, Ok(Schema::empty()));
    check("1,x\n", true, &plain, 10, Ok(schema(&[("column_1", Int64), ("column_2", Utf8View)])));
    check("1,x", true, &plain, 10, Ok(schema(&[("column_1", Int64), ("column_2", Utf8View)])));
    check("a,a,\n1,2.5,x", true, &csv, 10, Ok(schema(&[("a", Int64), ("a_1", Float64), ("column_3", Utf8View)])));
    check("a\n1\n2,3\n", true, &csv, 10, Err("record 2 has 2 fields instead of 1"));
    let skipping = infer(b"a\n1\n2,3\n\"x\n\xff", true, &csv, 10, Skip);
    assert_eq!(skipping.unwrap(), schema(&[("a", Utf8View)]));
    let with_regex = CsvOptions { null_regex: Some(null_regex("NA").unwrap()), ..csv.clone() };
    check("a,b\nNA,\n1,NA\n", true, &with_regex, 10, Ok(schema(&[("a", Int64), ("b", Utf8View)])));
}

/// A generator of numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.next(from.len() as u64)).unwrap()]
    }
}

#[test]
fn good_records_are_read_as_arrow_reads_them() {
    let mut numbers = Numbers(1);
    let columns = [
        ("i", Int64),
        ("f", Float64),
        ("b", Boolean),
        ("d", Date32),
        ("t", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("s", Utf8View),
        ("u", DataType::Utf8),
    ];
    let texts =
        ["", "plain", "\"quoted\"", "\"a,b\"", "\"\"\"\"", "\"\"", "\"new\nline\"", "ünïcödé, no", "\"x\r\ny\""];
    for round in 0..40 {
        let end = numbers.pick(&["\n", "\r\n"]);
        let mut input = format!("i,f,b,d,t,s,u{end}");
        for _ in 0..numbers.next(40) {
            let (i, f) = (numbers.next(1 << 30), numbers.next(1 << 30));
            let (day, second) = (numbers.next(28) + 1, numbers.next(60));
            let fields = [
                numbers.pick(&[i.to_string().as_str(), "-7", ""]).to_owned(),
                numbers.pick(&[format!("{f}.{i}").as_str(), "1e-7", "", "NaN"]).to_owned(),
                numbers.pick(&["true", "FALSE", ""]).to_owned(),
                format!("2022-06-{day:02}"),
                format!("2022-06-{day:02}T12:00:{second:02}.{:06}", i % 1_000_000),
                numbers.pick(&texts).replace(", no", ""),
                numbers.pick(&texts).replace(", no", ""),
            ];
            input += &fields.join(",");
            input += end;
        }
        let case = Case::new(&columns).csv(|csv| csv.newlines_in_values = true);
        let reader =
            ReaderBuilder::new(Arc::new(case.schema.clone())).with_header(true).build(input.as_bytes()).unwrap();
        let expected = concat(case.schema.clone(), &reader.map(|batch| batch.unwrap()).collect::<Vec<_>>());
        for piece in PIECES {
            let batch_size = numbers.pick(&BATCHES);
            let decoder = case.decoder(batch_size, &Arc::default()).unwrap();
            let (records, error) = drain(decoder, input.as_bytes(), piece, false);
            assert!(error.is_none(), "round {round}: {error:?}");
            let batches: Vec<_> = records.into_iter().map(|records| records.batch).collect();
            let found = concat(case.schema.clone(), &batches);
            assert_eq!(found.num_rows(), expected.num_rows(), "round {round}: {input:?}");
            for (found, expected) in found.columns().iter().zip(expected.columns()) {
                assert_eq!(&*as_texts(found), &*as_texts(expected), "round {round}, pieces of {piece}: {input:?}");
            }
        }
    }
}

fn concat(schema: Schema, batches: &[RecordBatch]) -> RecordBatch {
    concat_batches(&Arc::new(schema), batches).unwrap()
}

/// `NaN` is not itself, its text is.
fn as_texts(array: &ArrayRef) -> ArrayRef {
    cast(array, &DataType::Utf8).unwrap()
}

#[test]
fn any_bytes_are_read_the_same_in_any_pieces() {
    let mut numbers = Numbers(7);
    let alphabet = b"ab1,,,\"\"\n\n\r#\\ \xff\xc3\xa9\xef\xbb\xbf-.:eT20";
    for round in 0..400 {
        let length = numbers.next(80);
        let mut input = b"a,b\n".to_vec();
        input.extend((0..length).map(|_| numbers.pick(alphabet)));
        let case = Case::new(&[("a", numbers.pick(&[0, 1, 2]).into_type()), ("b", Utf8View)])
            .on_bad_row(numbers.pick(&[Fail, Skip, OnBadRow::Null]))
            .on_invalid_utf8(numbers.pick(&[OnInvalidUtf8::Fail, OnInvalidUtf8::Replace, OnInvalidUtf8::Null]))
            .csv(|csv| {
                csv.newlines_in_values = numbers.next(2) == 0;
                csv.escape = numbers.pick(&[None, Some(b'\\')]);
                csv.comment = numbers.pick(&[None, Some(b'#')]);
                csv.has_header = numbers.next(4) > 0;
            });
        let expected = case.run(&input, usize::MAX, 1024);
        for piece in PIECES {
            let mut outcome = case.run(&input, piece, numbers.pick(&BATCHES));
            if expected.error.is_some() {
                // A batch may have counted bad rows behind the one that ends the query.
                outcome.bad_rows = expected.bad_rows;
            }
            assert_eq!(outcome, expected, "round {round}, pieces of {piece}: {:?}", String::from_utf8_lossy(&input));
        }
        let _ = infer(&input, numbers.next(2) == 0, &case.csv, 10, case.on_bad_row);
    }
}

trait IntoType {
    fn into_type(self) -> DataType;
}

impl IntoType for i32 {
    fn into_type(self) -> DataType {
        [Utf8View, Int64, Float64][usize::try_from(self).unwrap()].clone()
    }
}

#[test]
fn casts_survive_any_text() {
    let mut numbers = Numbers(3);
    let types = [
        Boolean,
        Int64,
        DataType::UInt8,
        Float64,
        DataType::Float16,
        Date32,
        DataType::Date64,
        DataType::Time32(TimeUnit::Second),
        DataType::Time64(TimeUnit::Nanosecond),
        DataType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("+01:30"))),
        DataType::Decimal32(9, 2),
        DataType::Decimal128(38, 10),
        DataType::Decimal256(76, 76),
        DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano),
    ];
    let columns: Vec<_> = types.iter().map(|to| ("v", to.clone())).collect();
    let parts =
        ["0", "1", "9", "99999999", "-", "+", ".", "e", "E", ":", " ", "T", "Z", "2022-06-27", "12:30:00", "é", "day"];
    for _ in 0..1000 {
        let text: String = (0..numbers.next(9)).map(|_| numbers.pick(&parts)).collect();
        for column in &columns {
            let case = Case::new(std::slice::from_ref(column)).on_bad_row(OnBadRow::Null);
            let outcome = case.run(format!("v\nx{text}\n{text}\n").as_bytes(), usize::MAX, 1024);
            assert_eq!(outcome.error, None, "{text:?} as {}", column.1);
        }
    }
    let numbers = Case::typed().decoder(1, &Arc::default()).map(|decoder| drain(decoder, b"n,t\n7,x", 1, false));
    let (records, _) = numbers.unwrap();
    assert_eq!(records[0].batch.column(0).as_primitive::<Int64Type>().values(), &[7]);
}
