//! Archives that end too early, at every byte, in every format: an error or a counted skip, never fewer rows in silence,
//! and never a record that the cut has changed.

use arrow::array::{ArrayRef, StringArray};
use arrow_avro::writer::WriterBuilder;
use arrow_avro::writer::format::AvroOcfFormat;

use super::*;
use crate::tar::BLOCK_LEN;
use crate::tar::builder::Archive;

/// A format, and files in it: some as they are, some compressed as `wrapped` does it.
struct Sample {
    reading: Reading,
    /// Name, content, and index of the compression in [`FORMATS`].
    files: Vec<(&'static str, Vec<u8>, Option<usize>)>,
}

/// Each with a last record that has no end of its own, so that a cut one looks whole.
fn samples() -> Vec<Sample> {
    let lines = || b"one\ntwo, a longer one\n\nthe last line".to_vec();
    let csv = || b"1,one\n2,\"two\nlines\"\n3,three\n4,12345".to_vec();
    let json = || b"{\"a\": 1, \"b\": \"one\"}\n{\"a\": 2}\n{\"b\": [1, {\"c\": 2}]} 77".to_vec();
    let of = |reading, files: &[(&'static str, Vec<u8>, Option<usize>)]| Sample { reading, files: files.to_vec() };
    let texts = [
        ("a.txt", lines(), None),
        ("empty", Vec::new(), None),
        ("b.gz", lines(), Some(0)),
        ("c.txt", b"12345".to_vec(), None),
    ];
    let (columns, records) = (&["a", "b"][..], Reading::records);
    vec![
        of(Reading::members(), &texts),
        of(Reading { content: false, hop_bytes_min: 1, ..Reading::members() }, &texts),
        of(Reading::text(), &texts),
        of(Reading::lines(), &texts),
        of(
            records(MemberFormat::Csv, columns),
            &[("a.csv", csv(), None), ("b.csv.zst", csv(), Some(1)), ("c.csv", csv(), None)],
        ),
        of(
            records(MemberFormat::Json, columns),
            &[
                ("a.json", json(), None),
                ("b.json.bz2", json(), Some(2)),
                ("c.json", b"[{\"a\": 1}, {\"a\": 2}]".to_vec(), None),
            ],
        ),
        of(
            records(MemberFormat::Avro, columns),
            &[("a.avro", avro(), None), ("b.avro.xz", avro(), Some(3)), ("c.avro", avro(), None)],
        ),
    ]
}

/// Two blocks of two records each.
fn avro() -> Vec<u8> {
    let fields = ["a", "b"].map(|name| Field::new(name, DataType::Utf8, false));
    let schema = Schema::new(fields.to_vec());
    let mut writer = WriterBuilder::new(schema.clone()).build::<_, AvroOcfFormat>(Vec::new()).unwrap();
    for values in [["1", "2"], ["3", "4"]] {
        let column: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
        writer
            .write(&RecordBatch::try_new(Arc::new(schema.clone()), vec![Arc::clone(&column), column]).unwrap())
            .unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner()
}

/// The archive without its end marker, and where each of its members ends.
fn pack(files: &[(&str, Vec<u8>, Option<usize>)]) -> (Archive, Vec<usize>) {
    let (mut archive, mut ends) = (Archive::new(), Vec::new());
    for (name, content, compression) in files {
        let content = compression.map_or_else(|| content.clone(), |index| FORMATS[index].1(content));
        archive = archive.file(name, content);
        ends.push(archive.clone().build().len());
    }
    (archive, ends)
}

fn is_error(line: &str) -> bool {
    line.starts_with("error archive: ") || line.starts_with("error compression: ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_at_every_byte_is_told_in_every_format() {
    let mut cuts = 0;
    for Sample { reading, files } in samples() {
        let (archive, ends) = pack(&files);
        let members_end = *ends.last().unwrap();
        let whole = Bytes::from(archive.end().build());
        // How many rows there are once each member is whole.
        let mut rows_at_ends = vec![];
        for &end in &ends {
            rows_at_ends.push(reading.read(&whole.slice(..end)).await.rows.len());
        }
        for (wrapping, bytes) in wrapped(&whole) {
            let all = reading.read(&bytes).await;
            assert_eq!((all.incidents.len(), all.rows.len()), (0, rows_at_ends[files.len() - 1]), "{all:?}");
            for cut in 0..bytes.len() {
                let found = reading.read(&bytes.slice(..cut)).await;
                let what =
                    format!("{:?}, {wrapping}, the first {cut} of {} bytes: {found:#?}", reading.format, bytes.len());
                assert!(all.rows.starts_with(&found.rows), "a cut record came out, or another one: {what}");
                let is_plain = wrapping == "plain";
                match found.incidents.as_slice() {
                    [error] if is_error(error) => assert!(!is_plain || cut < members_end + BLOCK_LEN, "{what}"),
                    [warning] if warning.starts_with("warning no_end_marker: ") => {
                        assert!(is_plain && ends.contains(&cut), "{what}");
                    }
                    // One zero block is an end.
                    [] => assert!(is_plain && cut >= members_end + BLOCK_LEN && found.rows == all.rows, "{what}"),
                    _ => panic!("{what}"),
                }
                let whole_members = ends.iter().filter(|&&end| end <= cut).count();
                if is_plain && whole_members > 0 {
                    assert!(found.rows.len() >= rows_at_ends[whole_members - 1], "a whole member is missing: {what}");
                }
                if cut % 16 == 0 {
                    let failed = reading.clone().or_fail().read(&bytes.slice(..cut)).await;
                    assert_eq!(failed.incidents.first(), found.incidents.first(), "{what}");
                }
                cuts += 1;
            }
        }
    }
    assert!(cuts > 40_000, "{cuts} cuts");
}

/// The archive is whole, and the content of a member ends too early.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_member_that_is_cut_is_told_in_every_format() {
    /// What is shorter is not recognised, and may be a file of so many bytes.
    const MAGIC_LEN: usize = 6;
    for Sample { reading, files } in samples() {
        if reading.format == MemberFormat::Members {
            continue;
        }
        let (name, content, _) = files[0].clone();
        for (compression, compress) in FORMATS {
            let compressed = compress(&content);
            let archive = |middle: &[u8]| {
                let archive = Archive::new().file(name, &content).file("middle", middle).file("last", &content).end();
                Bytes::from(archive.build())
            };
            let all = reading.read(&archive(&compressed)).await;
            let rows = all.rows.len() / 3;
            assert_eq!((all.incidents.len(), all.rows.len()), (0, rows * 3), "{all:?}");
            for cut in MAGIC_LEN..compressed.len() {
                let found = reading.read(&archive(&compressed[..cut])).await;
                let what = format!(
                    "{:?}, {} cut at {cut} of {}: {found:#?}",
                    reading.format,
                    compression.as_str(),
                    compressed.len()
                );
                let middle = found.rows.len().checked_sub(2 * rows).expect(&what);
                let expected = [&all.rows[..rows + middle], &all.rows[2 * rows..]].concat();
                let without_size =
                    |rows: &[String]| rows.iter().map(|row| row.replace(&format!(" {cut} "), " ")).collect::<Vec<_>>();
                assert_eq!(without_size(&found.rows), without_size(&expected), "{what}");
                assert!(
                    matches!(found.incidents.as_slice(), [error] if error.starts_with("error compression: member 'middle'")),
                    "{what}"
                );
            }
        }
    }
}
