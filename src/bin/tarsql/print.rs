//! Printers: record batches in, text out, a batch at a time. Nothing is written before the first batch or the end.

use std::io::Write;
use std::sync::Arc;

use clap::ValueEnum;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::{Field, SchemaRef};
use datafusion::arrow::json::writer::make_encoder;
use datafusion::arrow::util::pretty::pretty_format_batches_with_schema;
use datafusion::config::FormatOptions;
use datafusion::error::Result;

use crate::args::RowLimit;
use crate::cell;

/// Rows that are laid out together. A longer table gets its header again after each so many, which bounds what
/// `--maxrows inf` has to hold.
const TABLE_PAGE_ROWS: usize = 1000;

/// Names that `--format` and `\pset format` take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Csv,
    Tsv,
    Json,
    #[value(alias = "ndjson")]
    NdJson,
    Automatic,
}

/// Writes one result.
pub(crate) trait Printer: Send {
    /// Writes a batch, or takes note of it.
    fn print(&mut self, batch: &RecordBatch, out: &mut (dyn Write + Send)) -> Result<()>;

    /// Writes what is left (a header if there was no row) and returns how many rows were not shown.
    fn finish(&mut self, out: &mut (dyn Write + Send)) -> Result<u64>;
}

/// The printer of a format for a result of this schema.
pub(crate) fn printer(
    format: Format,
    schema: SchemaRef,
    maxrows: RowLimit,
    options: FormatOptions,
) -> Box<dyn Printer> {
    match format {
        Format::Table | Format::Automatic => Box::new(Table::new(schema, maxrows, options)),
        Format::Csv => Box::new(Csv { schema, delimiter: b',', has_header: false }),
        Format::Tsv => Box::new(Csv { schema, delimiter: b'\t', has_header: false }),
        Format::Json => Box::new(Json { before: "[", between: ",\n", after: "]\n", is_open: false }),
        Format::NdJson => Box::new(Json { before: "", between: "\n", after: "\n", is_open: false }),
    }
}

/// csv and tsv: RFC 4180 quoting, NULL is empty, bytes are hex, nested values are JSON.
struct Csv {
    schema: SchemaRef,
    delimiter: u8,
    has_header: bool,
}

impl Printer for Csv {
    fn print(&mut self, batch: &RecordBatch, out: &mut (dyn Write + Send)) -> Result<()> {
        let flat = cell::flat(batch)?;
        let builder = csv::WriterBuilder::new().with_delimiter(self.delimiter).with_header(!self.has_header);
        self.has_header = true;
        Ok(builder.build(out).write(&flat)?)
    }

    fn finish(&mut self, out: &mut (dyn Write + Send)) -> Result<u64> {
        if !self.has_header {
            self.print(&RecordBatch::new_empty(Arc::clone(&self.schema)), out)?;
        }
        Ok(0)
    }
}

/// json (one array, a row a line) and nd-json.
struct Json {
    before: &'static str,
    between: &'static str,
    after: &'static str,
    /// Whether a row has been written.
    is_open: bool,
}

impl Printer for Json {
    fn print(&mut self, batch: &RecordBatch, out: &mut (dyn Write + Send)) -> Result<()> {
        let rows = cell::jsonable(batch)?;
        let field = Arc::new(Field::new_struct("", rows.fields().clone(), false));
        let options = cell::json_options();
        let mut encoder = make_encoder(&field, &rows, &options)?;
        let mut json = Vec::new();
        for row in 0..batch.num_rows() {
            json.clear();
            json.extend_from_slice(if self.is_open { self.between } else { self.before }.as_bytes());
            encoder.encode(row, &mut json);
            self.is_open = true;
            out.write_all(&json)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut (dyn Write + Send)) -> Result<u64> {
        match (self.is_open, self.before) {
            (true, _) => out.write_all(self.after.as_bytes())?,
            (false, "") => {}
            (false, before) => write!(out, "{before}{}", self.after)?,
        }
        Ok(0)
    }
}

/// A box drawn around rows. It needs the width of its columns first, so it holds a page of rows, as the short text that
/// will be shown: the batches they came from can go.
struct Table {
    schema: SchemaRef,
    /// How `SET datafusion.format.…` wants values.
    options: FormatOptions,
    page: Vec<RecordBatch>,
    page_rows: usize,
    /// Rows that may still be shown.
    left: usize,
    hidden: u64,
    is_drawn: bool,
}

impl Table {
    fn new(schema: SchemaRef, maxrows: RowLimit, options: FormatOptions) -> Self {
        let schema = Arc::new(cell::shown_schema(&schema));
        let left = maxrows.0.unwrap_or(usize::MAX);
        Self { schema, options, page: Vec::new(), page_rows: 0, left, hidden: 0, is_drawn: false }
    }

    fn draw(&mut self, out: &mut (dyn Write + Send)) -> Result<()> {
        let drawing = pretty_format_batches_with_schema(Arc::clone(&self.schema), &self.page)?;
        writeln!(out, "{drawing}")?;
        self.page.clear();
        self.page_rows = 0;
        self.is_drawn = true;
        Ok(())
    }
}

impl Printer for Table {
    fn print(&mut self, batch: &RecordBatch, out: &mut (dyn Write + Send)) -> Result<()> {
        let mut offset = 0;
        while offset < batch.num_rows() && self.left > 0 {
            let rows = (batch.num_rows() - offset).min(self.left).min(TABLE_PAGE_ROWS - self.page_rows);
            let options = (&self.options).try_into()?;
            self.page.push(cell::shown(&batch.slice(offset, rows), &options)?);
            self.page_rows += rows;
            self.left -= rows;
            offset += rows;
            if self.page_rows == TABLE_PAGE_ROWS {
                self.draw(out)?;
            }
        }
        let hidden = batch.num_rows() - offset;
        if hidden > 0 && self.hidden == 0 && self.page_rows > 0 {
            // Counting the rest may take an hour; what is to be seen can be seen now.
            self.draw(out)?;
        }
        self.hidden += hidden as u64;
        Ok(())
    }

    fn finish(&mut self, out: &mut (dyn Write + Send)) -> Result<u64> {
        if self.page_rows > 0 || !self.is_drawn {
            self.draw(out)?;
        }
        Ok(self.hidden)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{
        ArrayRef, BinaryArray, BinaryViewArray, Int64Array, ListArray, MapBuilder, StringArray, StringBuilder,
        StringViewArray, TimestampMicrosecondArray,
    };
    use datafusion::arrow::datatypes::Int64Type;

    use super::*;

    fn batch() -> RecordBatch {
        let mut pax = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        pax.keys().append_value("k");
        pax.values().append_value("v\"");
        pax.append(true).unwrap();
        pax.append(false).unwrap();
        let columns: [(&str, ArrayRef); 7] = [
            ("n", Arc::new(Int64Array::from(vec![Some(1), None]))),
            ("s", Arc::new(StringArray::from(vec![Some("a,\tb \"c\""), None]))),
            ("v", Arc::new(StringViewArray::from(vec![Some("esc \u{1b}[0m\r\nline"), None]))),
            ("b", Arc::new(BinaryArray::from(vec![Some(&[0xde, 0xad][..]), None]))),
            ("w", Arc::new(BinaryViewArray::from(vec![Some(&[0xab; 20][..]), None]))),
            ("l", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None]), None]))),
            ("p", Arc::new(pax.finish())),
        ];
        let mtime = TimestampMicrosecondArray::from(vec![Some(1_656_288_000_500_000), None]).with_timezone("UTC");
        let columns = columns.into_iter().chain([("t", Arc::new(mtime) as ArrayRef)]);
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    /// What is written for these batches, and how many rows were hidden.
    fn printed(format: Format, batches: &[RecordBatch], maxrows: Option<usize>) -> (String, u64) {
        let mut out = Vec::new();
        let mut printer = printer(format, batches[0].schema(), RowLimit(maxrows), FormatOptions::default());
        for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
            printer.print(batch, &mut out).unwrap();
        }
        let hidden = printer.finish(&mut out).unwrap();
        (String::from_utf8(out).unwrap(), hidden)
    }

    const JSON_ROWS: [&str; 2] = [
        r#"{"n":1,"s":"a,\tb \"c\"","v":"esc \u001b[0m\r\nline","b":"dead","w":"abababababababababababababababababababab","l":[1,null],"p":{"k":"v\""},"t":"2022-06-27T00:00:00.500Z"}"#,
        r#"{"n":null,"s":null,"v":null,"b":null,"w":null,"l":null,"p":null,"t":null}"#,
    ];

    #[test]
    fn csv_and_tsv() {
        let row = "\"a,\tb \"\"c\"\"\",\"esc \u{1b}[0m\r\nline\",dead,abababababababababababababababababababab,\"[1,null]\",\"{\"\"k\"\":\"\"v\\\"\"\"\"}\",2022-06-27T00:00:00.500Z";
        let expected = format!("n,s,v,b,w,l,p,t\n1,{row}\n,,,,,,,\n");
        let halves = [batch().slice(0, 1), batch().slice(1, 1)];
        assert_eq!(printed(Format::Csv, &[batch()], None), (expected.clone(), 0));
        assert_eq!(printed(Format::Csv, &halves, None), (expected, 0));
        assert_eq!(printed(Format::Csv, &[batch().slice(0, 0)], None).0, "n,s,v,b,w,l,p,t\n");
        assert_eq!(printed(Format::Tsv, &[batch().slice(1, 1)], None).0, "n\ts\tv\tb\tw\tl\tp\tt\n\t\t\t\t\t\t\t\n");
    }

    #[test]
    fn json_and_nd_json() {
        let [first, second] = JSON_ROWS;
        for batches in [&[batch()][..], &[batch().slice(0, 1), batch().slice(1, 1)]] {
            assert_eq!(printed(Format::Json, batches, None).0, format!("[{first},\n{second}]\n"));
            assert_eq!(printed(Format::NdJson, batches, None).0, format!("{first}\n{second}\n"));
        }
        assert_eq!(printed(Format::Json, &[batch().slice(0, 0)], None).0, "[]\n");
        assert_eq!(printed(Format::NdJson, &[batch().slice(0, 0)], None).0, "");
    }

    #[test]
    fn a_table_is_safe_to_look_at() {
        let columns = batch().project(&[0, 2, 4]).unwrap();
        let expected = "\
+---+-------------------+------------------------------------------------+
| n | v                 | w                                              |
+---+-------------------+------------------------------------------------+
| 1 | esc \\u{1b}[0m\\r   | abababababababababababababababab… (20 bytes) |
|   | line              |                                                |
|   |                   |                                                |
+---+-------------------+------------------------------------------------+
";
        let (table, hidden) = printed(Format::Table, &[columns], Some(40));
        let squeezed = |text: &str| text.replace([' ', '-'], "");
        assert_eq!(squeezed(&table), squeezed(expected), "{table}");
        assert_eq!(hidden, 0);
    }

    #[test]
    fn a_table_hides_what_is_too_much() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..2500));
        let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
        for (maxrows, lines, hidden) in
            [(Some(0), 4, 2500), (Some(1), 5, 2499), (Some(2500), 2500 + 3 * 4, 0), (None, 2500 + 3 * 4, 0)]
        {
            let (table, actual) = printed(Format::Table, std::slice::from_ref(&batch), maxrows);
            assert_eq!((table.lines().count(), actual), (lines, hidden), "{maxrows:?}");
        }
        let empty = printed(Format::Table, &[batch.slice(0, 0)], Some(40)).0;
        assert_eq!(empty.lines().nth(1), Some("| n |"));
    }
}
