//! A member that is cut and decoded apart gives what it gives in one go.

use super::*;

impl Case {
    /// Feeds `input` to a decoder and its forks as a scan does: what lies between two cuts is decoded by a fork that
    /// doesn't know how many records come before, and again by one that does, if anything is wrong with it.
    fn run_cut(&self, input: &[u8], piece: usize, batch_size: usize, numbers: &mut Numbers) -> (Outcome, usize) {
        let stats = Arc::new(Stats::default());
        let first = self.decoder(batch_size, &stats).unwrap();
        let mut cutter = first.cutter().unwrap();
        let mut stretches = vec![Vec::new()];
        for piece in input.chunks(piece.min(input.len().max(1))) {
            let cut = cutter.cut(piece).filter(|_| numbers.next(3) > 0);
            let (before, behind) = piece.split_at(cut.unwrap_or(0));
            if cut.is_some() {
                stretches.last_mut().unwrap().extend_from_slice(before);
                stretches.push(Vec::new());
            }
            stretches.last_mut().unwrap().extend_from_slice(behind);
        }
        let mut rows = Vec::new();
        let mut forks = 0;
        let mut head: Box<dyn RecordDecoder> = Box::new(first);
        let mut error = None;
        // Until the header is read, everything goes to the first decoder.
        let mut rest = stretches.iter().enumerate().map(|(index, stretch)| (index + 1 == stretches.len(), stretch));
        for (is_last, stretch) in rest.by_ref() {
            let (batches, failed) = decode(&mut head, stretch, piece, is_last);
            rows.extend(batches.iter().flat_map(show));
            error = failed;
            if error.is_some() || head.fork(Before::default(), BadRows::default()).is_some() {
                break;
            }
        }
        let mut before = head.read_so_far();
        let private = Arc::new(Stats::default());
        for (is_last, stretch) in rest {
            if error.is_some() {
                break;
            }
            forks += 1;
            let bad_before = private.bad_rows.value();
            let mut fork = head.fork(Before::default(), BadRows::counted(Arc::clone(&private))).unwrap();
            let (mut batches, failed) = decode(&mut fork, stretch, piece, is_last);
            let counted = fork.read_so_far();
            assert!(failed.is_some() || counted.bytes == stretch.len() as u64);
            if failed.is_some() || private.bad_rows.value() > bad_before {
                let mut again = head.fork(before, BadRows::counted(Arc::clone(&stats))).unwrap();
                (batches, error) = decode(&mut again, stretch, piece, is_last);
                assert_eq!(error.is_some(), failed.is_some());
                before = again.read_so_far();
            } else {
                for records in &mut batches {
                    let shifted = records.row_numbers.values().iter().map(|number| number + before.records);
                    records.row_numbers = shifted.collect::<Vec<_>>().into();
                }
                before.records += counted.records;
                before.bytes += counted.bytes;
            }
            rows.extend(batches.iter().flat_map(show));
        }
        assert!(error.is_some() || before.bytes == input.len() as u64);
        let error = error.map(|error| error.to_string());
        (Outcome { rows, bad_rows: stats.bad_rows.value(), error }, forks)
    }
}

/// What a decoder makes of a stretch. A flush ends the batch under way, without saying that the member ends there.
fn decode(
    decoder: &mut Box<dyn RecordDecoder>,
    stretch: &[u8],
    piece: usize,
    is_last: bool,
) -> (Vec<Records>, Option<Error>) {
    let mut result = Ok(());
    for piece in stretch.chunks(piece.min(stretch.len().max(1))) {
        result = result.and_then(|()| decoder.decode(Bytes::copy_from_slice(piece)));
    }
    let result = result.and_then(|()| if is_last { decoder.finish() } else { decoder.abandon() });
    (std::iter::from_fn(|| decoder.next_records()).collect(), result.err())
}

#[test]
fn what_is_cut_and_decoded_apart_is_the_same() {
    let mut numbers = Numbers(11);
    let alphabet = b"ab1,,,\"\"\n\n\n\r#\xc3\xa9\xef\xbb\xbf";
    let parts: [&[u8]; 12] = [
        b"1,2\n",
        b"a,\"b\"\r\n",
        b"\"x\ny\",3\n",
        b"#\"c\n",
        b"\n",
        b"x\"y,\"\"\"\"\n",
        b"\"z\"w\",\"\n",
        b"\"\"",
        b",",
        b"\n#",
        b"\r",
        b"#,\"\n",
    ];
    let (mut forks, mut rows) = (0, 0);
    for round in 0..500 {
        let mut input = if numbers.next(4) > 0 { b"\xef\xbb\xbfa,b\n".to_vec() } else { b"a,b\n".to_vec() };
        input.drain(..numbers.pick(&[0, 0, 0, 1, 3]));
        for _ in 0..numbers.next(30) {
            match numbers.next(3) {
                0 => input.push(numbers.pick(alphabet)),
                _ => input.extend_from_slice(numbers.pick(&parts)),
            }
        }
        let case = Case::new(&[("a", numbers.pick(&[0, 1]).into_type()), ("b", Utf8View)])
            .on_bad_row(numbers.pick(&[Fail, Skip, Skip, OnBadRow::Null]))
            .on_invalid_utf8(numbers.pick(&[OnInvalidUtf8::Fail, OnInvalidUtf8::Replace]))
            .csv(|csv| {
                csv.newlines_in_values = numbers.next(4) > 0;
                csv.comment = numbers.pick(&[None, Some(b'#')]);
                csv.has_header = numbers.next(4) > 0;
                csv.escape = if csv.newlines_in_values { None } else { numbers.pick(&[None, Some(b'\\')]) };
            });
        let expected = case.run(&input, usize::MAX, 1024);
        for piece in PIECES {
            let batch_size = numbers.pick(&BATCHES);
            let (mut found, count) = case.run_cut(&input, piece, batch_size, &mut numbers);
            if expected.error.is_some() {
                // A batch may have counted bad rows behind the one that ends the query.
                found.bad_rows = expected.bad_rows;
            }
            forks += count;
            rows += found.rows.len();
            assert_eq!(found, expected, "round {round}, pieces of {piece}: {:?}", String::from_utf8_lossy(&input));
        }
    }
    assert!(forks > 2_000 && rows > 2_000, "{forks} forks, {rows} rows: the test tests little");
}

#[test]
fn a_cut_is_where_a_record_ends() {
    let newlines = |csv: &mut CsvOptions| (csv.newlines_in_values, csv.comment) = (true, Some(b'#'));
    let lines = |csv: &mut CsvOptions| csv.comment = Some(b'#');
    type Change = fn(&mut CsvOptions);
    let cases: [(Change, &str, &[Option<usize>]); 12] = [
        (newlines, "a\nb", &[Some(2)]),
        (newlines, "a\r|\nb", &[Some(2), Some(1)]),
        (newlines, "a,\"\n|\n\"|\nb", &[None, None, Some(1)]),
        (newlines, "a,\"\"|\"\n|\"\n", &[None, None, Some(2)]),
        (newlines, "a\"\nb", &[Some(3)]),
        (newlines, "\"a\"b\"\nc", &[Some(6)]),
        (newlines, "#\"\nb\"\n\n", &[Some(7)]),
        (newlines, "#\"|,\"\n\"\n", &[None, Some(3)]),
        (newlines, "1\n#,|\"\n\"\n", &[Some(2), Some(2)]),
        (newlines, "\u{feff}\"\n\"\n\"\n", &[Some(7)]),
        (newlines, "a\n\u{feff}\"\n\"\n", &[Some(7)]),
        (lines, "a,\"\n|\n\"\nb", &[Some(4), Some(3)]),
    ];
    for (change, input, expected) in cases {
        let case = Case::texts().csv(change);
        let mut cutter = case.decoder(1, &Arc::default()).unwrap().cutter().unwrap();
        let cuts: Vec<_> = input.split('|').map(|piece| cutter.cut(piece.as_bytes())).collect();
        assert_eq!(cuts, expected, "{input:?}");
    }
    let escaped = Case::texts().csv(|csv| (csv.escape, csv.newlines_in_values) = (Some(b'\\'), true));
    assert!(escaped.decoder(1, &Arc::default()).unwrap().cutter().is_none());
}
