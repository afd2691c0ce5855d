//! Whoever decodes a member, the same comes of it: rows, their numbers, errors and what is said of bad rows.

use std::future::poll_fn;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_avro::writer::WriterBuilder;
use arrow_avro::writer::format::AvroOcfFormat;
use tokio::runtime::{Builder, Handle, Runtime};

use super::*;
use crate::member::avro::AvroDecoder;
use crate::member::csv::{CsvDecoder, CsvOptions};
use crate::member::json::JsonDecoder;
use crate::member::lines::LinesDecoder;
use crate::member::tests::{Dice, End, Outcome, in_one_go, shown};
use crate::member::{MissingColumn, RecordOptions};
use crate::memory::MemoryPool;
use crate::memory::tests::FakePool;
use crate::policy::{OnBadRow, OnInvalidUtf8};
use crate::report::{ListingReport, ScanReport};

type Make<'a> = &'a dyn Fn(BadRows) -> Box<dyn RecordDecoder>;

/// Feeds a member to its decoding.
struct Feed {
    report: Arc<ScanReport>,
    decoding: Decoding,
    rows: Vec<String>,
}

impl Feed {
    fn new(make: Make<'_>, crew: &Crew) -> Self {
        Self::within(make, crew, &Allowance::unlimited())
    }

    fn within(make: Make<'_>, crew: &Crew, allowance: &Allowance) -> Self {
        let report = Arc::new(ScanReport::new(ListingReport::default(), 1));
        let stats = Arc::clone(&report.partitions[0].stats);
        let counted = BadRows::counted(Arc::clone(&stats));
        let bad_rows = counted.noted(&report, &"a.tar".into(), "m".to_owned(), 0);
        let decoder = Decoder { records: make(bad_rows.clone()), bad_rows };
        let decoding = Decoding::new(decoder, crew, &stats, allowance);
        Self { report, decoding, rows: Vec::new() }
    }

    async fn run(&mut self, pieces: &[&[u8]], end: End) -> Result<()> {
        for piece in pieces {
            self.decoding.push(Bytes::copy_from_slice(piece));
            self.drain().await?;
        }
        match end {
            End::Whole => self.decoding.end(),
            End::Damaged => self.decoding.catch_up(),
        }
        self.drain().await?;
        if end == End::Damaged {
            self.decoding.abandon()?;
            self.drain().await?;
        }
        assert!(self.decoding.is_finished());
        Ok(())
    }

    async fn drain(&mut self) -> Result<()> {
        loop {
            match self.decoding.next_records()? {
                Some(records) => self.rows.extend(shown(&records, 0)),
                None if self.decoding.is_waiting() => poll_fn(|context| self.decoding.poll_waiting(context)).await,
                None => return Ok(()),
            }
        }
    }

    async fn outcome(mut self, pieces: &[&[u8]], end: End) -> Outcome {
        let error = self.run(pieces, end).await.err().map(|error| error.to_string());
        if error.is_some() {
            // As a policy that leaves the rest out does.
            let _ = self.decoding.abandon();
            let _ = self.drain().await;
            // What of the batch behind the error was looked at depends on where the batch ended.
            return Outcome { rows: self.rows, error, ..Outcome::default() };
        }
        let mut problems: Vec<_> = self.report.bad_rows().0.into_iter().map(|incident| incident.message).collect();
        problems.sort();
        Outcome { rows: self.rows, error, bad_rows: self.report.totals().bad_rows.value(), problems }
    }
}

fn runtimes() -> [Runtime; 2] {
    [Builder::new_current_thread().build().unwrap(), Builder::new_multi_thread().worker_threads(2).build().unwrap()]
}

/// Compares crews of any size with a partition alone, and that with a decoder alone. Says how many tasks there were.
fn check(runtimes: &[Runtime], make: Make<'_>, content: &[u8]) {
    let mut dice = Dice(0x5bd1_e995 ^ (content.len() as u64) << 20);
    for end in [End::Whole, End::Damaged] {
        for bytes_max in [1, 7, 60, content.len() + 1] {
            let pieces = dice.pieces(content, bytes_max);
            for runtime in runtimes {
                let outcome = |crew: Crew| {
                    let _shift = crew.begin();
                    runtime.block_on(Feed::new(make, &crew).outcome(&pieces, end))
                };
                let alone = outcome(Crew::alone());
                if alone.error.is_none() {
                    assert_eq!(alone, in_one_go(make, content, end));
                }
                for cores in [1, 2, 8] {
                    let crew = Crew::in_pieces(cores, 1 + dice.next(100));
                    let how = format!("{crew:?}, {end:?}, {:?}", String::from_utf8_lossy(content));
                    assert_eq!(outcome(crew), alone, "{how}");
                }
            }
        }
    }
}

fn options(columns: &[(&str, DataType)], batch_size: usize) -> RecordOptions {
    let fields = columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    RecordOptions {
        schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
        projection: (0..columns.len()).collect(),
        missing_column: MissingColumn::Fail,
        batch_size,
        on_bad_row: OnBadRow::Fail,
        on_invalid_utf8: OnInvalidUtf8::Fail,
        allowance: Allowance::unlimited(),
        bad_rows: BadRows::default(),
    }
}

const BATCHES: [usize; 3] = [1, 3, 1024];
const POLICIES: [OnBadRow; 3] = [OnBadRow::Fail, OnBadRow::Skip, OnBadRow::Null];

#[test]
fn lines_are_the_same_whoever_decodes() {
    let contents: [&[u8]; 4] = [
        b"",
        b"one\ntwo\r\n\nthree, which is longer than the others, by far, and more than a stretch of some crews has\nx",
        b"a\nb\nc\nd\n\xff\nf\ng\nh\ni\n",
        b"one line without an end that no cutter can cut anywhere, however long it may become",
    ];
    let runtimes = runtimes();
    for content in contents {
        for on_invalid_utf8 in [OnInvalidUtf8::Fail, OnInvalidUtf8::Replace, OnInvalidUtf8::Null] {
            for batch_size in BATCHES {
                let options = RecordOptions { on_invalid_utf8, ..options(&[("line", DataType::Utf8View)], batch_size) };
                let make = |bad_rows| {
                    let options = RecordOptions { bad_rows, ..options.clone() };
                    Box::new(LinesDecoder::new(options).unwrap()) as Box<dyn RecordDecoder>
                };
                check(&runtimes, &make, content);
            }
        }
    }
}

#[test]
fn csv_is_the_same_whoever_decodes() {
    let mut long = b"a,b\n".to_vec();
    for number in 0..60 {
        long.extend(format!("{number},\"text \"\"{number}\"\"\"\n").into_bytes());
    }
    let contents: [&[u8]; 6] = [
        b"a,b\n",
        b"\xef\xbb\xbfa,b\n1,x\n2,y\n\n# no comment\n3,z",
        b"a,b\n1,\"x\ny\"\n2,\"\"\"\n\"\n3,z\n4,w\n5,\"never closed\n6,u\n",
        b"b,a\nx,1\ny,two\nz\nw,4,5\nv,5\n\xff,6\nu,seven\nt,8\n",
        b"a,c\n1,2\n",
        &long,
    ];
    let runtimes = runtimes();
    for content in contents {
        for (newlines_in_values, on_bad_row) in
            [false, true].into_iter().flat_map(|newlines| POLICIES.map(|policy| (newlines, policy)))
        {
            for batch_size in BATCHES {
                let columns = [("a", DataType::Int64), ("b", DataType::Utf8View)];
                let options = RecordOptions { on_bad_row, ..options(&columns, batch_size) };
                let csv = CsvOptions { newlines_in_values, ..CsvOptions::default() };
                let make = |bad_rows| {
                    let options = RecordOptions { bad_rows, ..options.clone() };
                    Box::new(CsvDecoder::new(options, csv.clone()).unwrap()) as Box<dyn RecordDecoder>
                };
                check(&runtimes, &make, content);
            }
        }
    }
}

#[test]
fn json_is_the_same_whoever_decodes() {
    let contents: [&[u8]; 4] = [
        b"{\"a\": 1, \"b\": \"x\"}\n{\"a\": 2}\n\n{\"b\": \"a text\\nof some length\"}\n{\"a\": 4}\n{\"a\": 5}",
        b"{\"a\": 1}\n{\"a\": 2}\n{\"a\": nothing}\n{\"a\": 4}\n{\"a\": \"five\"}\n{\"a\": 6}\n[7]\n{\"a\": 8}\n{\"a\":",
        b"[{\"a\": 1},\n {\"a\": 2},\n {\"a\": 3}]\n",
        b"{\n  \"a\": 1,\n  \"b\": \"one document\"\n}\n",
    ];
    let runtimes = runtimes();
    for content in contents {
        for on_bad_row in POLICIES {
            for batch_size in BATCHES {
                let columns = [("a", DataType::Int64), ("b", DataType::Utf8View)];
                let options = RecordOptions { on_bad_row, ..options(&columns, batch_size) };
                let make = |bad_rows| {
                    let options = RecordOptions { bad_rows, ..options.clone() };
                    Box::new(JsonDecoder::new(options).unwrap()) as Box<dyn RecordDecoder>
                };
                check(&runtimes, &make, content);
            }
        }
    }
}

/// Eight blocks of five records.
fn container() -> Vec<u8> {
    let schema = Schema::new(vec![Field::new("a", DataType::Int64, false), Field::new("b", DataType::Utf8, false)]);
    let mut writer = WriterBuilder::new(schema.clone()).build::<_, AvroOcfFormat>(Vec::new()).unwrap();
    for block in 0..8_i64 {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(block * 5..block * 5 + 5));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..5).map(|row| "text ".repeat(row))));
        writer.write(&RecordBatch::try_new(Arc::new(schema.clone()), vec![numbers, texts]).unwrap()).unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner()
}

#[test]
fn avro_is_the_same_whoever_decodes() {
    let whole = container();
    let mut damaged = whole.clone();
    let place = damaged.len() - 40;
    damaged[place] ^= 0x55;
    let runtimes = runtimes();
    for content in [&whole[..], &whole[..whole.len() - 20], &damaged] {
        for batch_size in BATCHES {
            let options = options(&[("a", DataType::Int64), ("b", DataType::Utf8View)], batch_size);
            let make = |bad_rows| {
                let options = RecordOptions { bad_rows, ..options.clone() };
                Box::new(AvroDecoder::new(options)) as Box<dyn RecordDecoder>
            };
            check(&runtimes, &make, content);
        }
    }
}

#[test]
fn bad_rows_without_number_are_counted() {
    let content = format!("a\n{}", "x\n1\n".repeat(1_000));
    let options = RecordOptions { on_bad_row: OnBadRow::Skip, ..options(&[("a", DataType::Int64)], 1024) };
    let make = |bad_rows| {
        let options = RecordOptions { bad_rows, ..options.clone() };
        Box::new(CsvDecoder::new(options, CsvOptions::default()).unwrap()) as Box<dyn RecordDecoder>
    };
    for runtime in runtimes() {
        let outcome = |crew: Crew| {
            let _shift = crew.begin();
            let pieces: Vec<&[u8]> = content.as_bytes().chunks(10).collect();
            runtime.block_on(Feed::new(&make, &crew).outcome(&pieces, End::Whole))
        };
        let (alone, together) = (outcome(Crew::alone()), outcome(Crew::in_pieces(4, 50)));
        assert_eq!((alone.bad_rows, alone.problems.len()), (1_000, 100));
        assert_eq!(together, alone);
    }
}

/// Lines, of which forks make what they are told.
struct Odd {
    lines: Box<dyn RecordDecoder>,
    fork: fn(Box<dyn RecordDecoder>) -> Box<dyn RecordDecoder>,
    /// What it wants on top.
    bytes: usize,
}

impl Odd {
    fn make(fork: fn(Box<dyn RecordDecoder>) -> Box<dyn RecordDecoder>) -> Box<dyn RecordDecoder> {
        Self::wanting(0, fork)
    }

    fn wanting(bytes: usize, fork: fn(Box<dyn RecordDecoder>) -> Box<dyn RecordDecoder>) -> Box<dyn RecordDecoder> {
        let lines = LinesDecoder::new(options(&[("line", DataType::Utf8View)], 100)).unwrap();
        Box::new(Self { lines: Box::new(lines), fork, bytes })
    }
}

impl RecordDecoder for Odd {
    fn decode(&mut self, piece: Bytes) -> Result<()> {
        self.lines.decode(piece)
    }

    fn finish(&mut self) -> Result<()> {
        self.lines.finish()
    }

    fn abandon(&mut self) -> Result<()> {
        self.lines.abandon()
    }

    fn next_records(&mut self) -> Option<Records> {
        self.lines.next_records()
    }

    fn bytes_wanted(&self, piece_bytes: usize) -> usize {
        self.lines.bytes_wanted(piece_bytes) + self.bytes
    }

    fn cutter(&self) -> Option<Box<dyn Cutter>> {
        self.lines.cutter()
    }

    fn fork(&self, before: Before, bad_rows: BadRows) -> Option<Box<dyn RecordDecoder>> {
        let lines = self.lines.fork(before, bad_rows)?;
        let odd = Box::new(Self { lines, fork: self.fork, bytes: self.bytes });
        // Whoever knows what came before decodes in place.
        Some(if before.records > 0 { odd } else { (self.fork)(odd) })
    }

    fn read_so_far(&self) -> Before {
        self.lines.read_so_far()
    }
}

/// Breaks as soon as it is used.
struct Broken(Box<dyn RecordDecoder>);

impl RecordDecoder for Broken {
    fn decode(&mut self, _piece: Bytes) -> Result<()> {
        panic!("this is expected")
    }

    fn finish(&mut self) -> Result<()> {
        self.0.finish()
    }

    fn abandon(&mut self) -> Result<()> {
        self.0.abandon()
    }

    fn next_records(&mut self) -> Option<Records> {
        None
    }

    fn bytes_wanted(&self, piece_bytes: usize) -> usize {
        piece_bytes
    }
}

#[test]
fn a_task_that_panics_is_done_again_in_place() {
    let content = "line\n".repeat(50);
    let pieces: Vec<&[u8]> = content.as_bytes().chunks(20).collect();
    for runtime in runtimes() {
        let outcome = |crew: Crew, fork| {
            let _shift = crew.begin();
            runtime.block_on(Feed::new(&|_| Odd::make(fork), &crew).outcome(&pieces, End::Whole))
        };
        let expected = outcome(Crew::alone(), |fork| fork);
        assert_eq!(expected.rows.len(), 50);
        assert_eq!(outcome(Crew::in_pieces(2, 30), |fork| fork), expected);
        assert_eq!(outcome(Crew::in_pieces(2, 30), |fork| Box::new(Broken(fork))), expected);
    }
}

/// An odd stretch wants more than there is, and what is missing is with the tasks behind it.
#[test]
fn nobody_waits_for_memory_of_tasks_behind() {
    const MIB: usize = 1 << 20;
    let content = "a line of some length\n".repeat(8 * MIB / 22);
    let [runtime, _] = runtimes();
    runtime.block_on(async {
        let pool = FakePool::new(32 << 20);
        let memory = pool.memory();
        let allowance = Allowance::new(&memory);
        let crew = Crew::in_pieces(2, MIB / 2);
        let _shift = crew.begin();
        let make: Make<'_> = &|_| Odd::wanting(5 * MIB, |fork| Box::new(Broken(fork)));
        let mut feed = Feed::within(make, &crew, &allowance);
        feed.decoding.push(Bytes::from(content.clone()));
        feed.decoding.end();
        while !feed.decoding.is_waiting() {
            feed.rows.extend(feed.decoding.next_records().unwrap().iter().flat_map(|records| shown(records, 0)));
        }
        // Somebody above takes all the rest.
        let mut others = allowance.reservation();
        assert!(others.try_hard((32 << 20) - pool.reserved()));
        loop {
            feed.drain().await.unwrap();
            match feed.decoding.shortage() {
                Some(shortage) => shortage.settle().await.unwrap(),
                None => break,
            }
        }
        assert!(feed.decoding.is_finished());
        assert_eq!(feed.rows.len(), content.lines().count());
    });
}

#[test]
fn nothing_is_left_of_a_decoding_that_is_dropped() {
    let content = format!("{}\u{fffd}\n", "a line\n".repeat(2_000)).into_bytes();
    for runtime in runtimes() {
        runtime.block_on(async {
            for given_out in [0, 1, 10, 500] {
                let crew = Crew::in_pieces(2, 30);
                let shift = crew.begin();
                let mut feed = Feed::new(&|_| Odd::make(|fork| fork), &crew);
                feed.decoding.push(Bytes::copy_from_slice(&content[..140]));
                feed.drain().await.unwrap();
                feed.decoding.push(Bytes::copy_from_slice(&content[140..]));
                while feed.rows.len() < given_out {
                    match feed.decoding.next_records().unwrap() {
                        Some(records) => feed.rows.extend(shown(&records, 0)),
                        None => poll_fn(|context| feed.decoding.poll_waiting(context)).await,
                    }
                }
                drop(feed);
                while Handle::current().metrics().num_alive_tasks() > 0 {
                    tokio::task::yield_now().await;
                }
                let hands: Vec<_> = std::iter::from_fn(|| crew.hand(Trade::Decode)).collect();
                assert_eq!(hands.len(), 3, "all hands are back");
                drop(shift);
            }
        });
    }
}

#[test]
fn what_nobody_asks_for_is_not_told() {
    let content = format!("a\n{}x\n", "1\n".repeat(2_000)).into_bytes();
    for on_bad_row in POLICIES {
        let options = RecordOptions { on_bad_row, ..options(&[("a", DataType::Int64)], 10) };
        let make = |bad_rows| {
            let options = RecordOptions { bad_rows, ..options.clone() };
            Box::new(CsvDecoder::new(options, CsvOptions::default()).unwrap()) as Box<dyn RecordDecoder>
        };
        for runtime in runtimes() {
            runtime.block_on(async {
                let crew = Crew::in_pieces(8, 200);
                let _shift = crew.begin();
                let mut feed = Feed::new(&make, &crew);
                for piece in content.chunks(500) {
                    feed.decoding.push(Bytes::copy_from_slice(piece));
                    // Only as much as fills the hands: the last record is decoded, and what is in front is not taken.
                    while feed.rows.len() < 100
                        && let Some(records) = feed.decoding.next_records().unwrap()
                    {
                        feed.rows.extend(shown(&records, 0));
                    }
                    if feed.rows.len() >= 100 {
                        break;
                    }
                }
                assert_eq!(feed.report.totals().bad_rows.value(), 0);
                assert_eq!(feed.report.bad_rows(), (Vec::new(), 0));
            });
        }
    }
}

#[test]
fn a_task_keeps_no_more_than_it_may() {
    let records = |rows: usize| {
        let numbers = Int64Array::from_iter_values(0..i64::try_from(rows).unwrap());
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, false)]);
        let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(numbers.clone())]).unwrap();
        Records { batch, row_numbers: numbers }
    };
    for (rows, batches, fits) in [(1_000, 100, true), (1_000, 1_000, false), (1_000_000, 1, false)] {
        let (mut made, mut kept) = (Made::default(), 0);
        let mut left = batches;
        let next = || {
            let is_any = left > 0;
            left -= usize::from(is_any);
            Ok(is_any.then(|| records(rows)))
        };
        let taken = made.take_all(next, |_| kept += 1);
        assert_eq!((taken.is_ok(), kept == batches), (fits, fits), "{batches} of {rows}: {kept} kept");
    }
}
