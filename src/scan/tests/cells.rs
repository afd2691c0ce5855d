//! Contents in cells are views into what was fetched or decompressed: they hold what a copy would, a block belongs to one
//! batch, and nobody keeps more than about twice the bytes that he looks at.

use std::ops::Range;

use super::*;
use crate::memory::MemoryPool;
use crate::memory::tests::FakePool;
use crate::tar::builder::Archive;

/// The lengths about which something is decided: by Arrow, by the format, and by us.
const LENGTHS: [usize; 21] =
    [0, 0, 1, 3, 12, 12, 13, 13, 100, 511, 512, 513, 1023, 1024, 1025, 4096, 5000, 65_535, 65_536, 65_537, 300_000];

/// Columns of the table.
const PATH: usize = 1;
const CELL: usize = 13;

/// The next number of a sequence that looks random (splitmix64).
fn random(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((z ^ (z >> 31)) % (below as u64)).unwrap()
}

/// An archive of files, directories and files with a hole, and what the cells of the files have to hold.
fn generated(seed: u64, members: usize) -> (Bytes, Vec<Vec<u8>>) {
    let (mut state, mut archive, mut cells) = (seed, Archive::new(), Vec::new());
    for number in 0..members {
        let length = LENGTHS[random(&mut state, LENGTHS.len())];
        let mut content: Vec<u8> = (0..length).map(|at| b'a' + u8::try_from(at * (number + 7) % 26).unwrap()).collect();
        let name = format!("{number}-{length}");
        archive = match random(&mut state, 16) {
            0 => archive.directory(&name),
            1 if length > 0 => {
                let map = format!("3,{length}");
                let size = (length + 3).to_string();
                let records = [("GNU.sparse.size", &*size), ("GNU.sparse.numblocks", "1"), ("GNU.sparse.map", &*map)];
                let archive = archive.pax(&records).file(&name, &content);
                content.splice(0..0, [0; 3]);
                cells.push(content);
                archive
            }
            _ => {
                let archive = archive.file(&name, &content);
                cells.push(content);
                archive
            }
        };
    }
    (archive.end().build().into(), cells)
}

/// An archive of so many files of so many bytes.
fn files(count: usize, bytes: usize) -> Bytes {
    let content = vec![b'x'; bytes];
    (0..count).fold(Archive::new(), |archive, number| archive.file(&format!("{number}"), &content)).end().build().into()
}

/// Keeps what has `00` at the end of its path, and looks at its content.
struct OneInAHundred;

impl RowFilter for OneInAHundred {
    fn keep(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        assert_eq!(batch.num_columns(), 2);
        Ok(batch.column(0).as_string_view().iter().map(|path| path.map(|path| path.ends_with("00"))).collect())
    }
}

/// How a test reads: all of an archive, with paths and cells.
struct Reader<'a> {
    reading: Reading,
    batch_size: usize,
    filter: bool,
    pool: Option<&'a FakePool>,
}

impl Reader<'_> {
    fn of(reading: Reading) -> Self {
        Self { reading, batch_size: 8192, filter: false, pool: None }
    }

    async fn read(&self, archive: &Bytes) -> Vec<RecordBatch> {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let location = Key::from("archive");
        store.put(&location, archive.clone().into()).await.unwrap();
        let size = Some(archive.len() as u64);
        let target = FetchTarget { store, location, url: URL.to_owned(), size, e_tag: None, version: None };
        let filter = || FilteredBy { filter: Arc::new(OneInAHundred), columns: vec![PATH, CELL] };
        let row_filter = self.filter.then(filter);
        let projection = vec![PATH, CELL];
        let selection = Selection { projection, header_filter: None, row_filter, batch_size: self.batch_size };
        let report = Arc::new(ScanReport::new(ListingReport::default(), 1));
        let allowance = self.pool.map_or_else(Allowance::unlimited, |pool| Allowance::new(&pool.memory()));
        let partition = Partition { index: 0, report, allowance, crew: Crew::alone() };
        let options = Arc::new(self.reading.clone().or_fail().options());
        let mut scan = ArchiveScan::new(target, options, &selection, partition).unwrap();
        let mut batches = Vec::new();
        while let Some(batch) = scan.next_batch().await.unwrap() {
            assert!(batch.num_rows() <= self.batch_size);
            batches.push(batch);
        }
        batches
    }
}

/// What the cells of the files hold; those of others are NULL.
fn cells(batches: &[RecordBatch]) -> Vec<Vec<u8>> {
    let cells = batches.iter().flat_map(|batch| match batch.column(1).data_type() {
        DataType::Utf8View => {
            let cells = batch.column(1).as_string_view().iter().flatten();
            cells.map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>()
        }
        _ => batch.column(1).as_binary_view().iter().flatten().map(<[u8]>::to_vec).collect(),
    });
    cells.collect()
}

/// Where the buffers of the cells are, and how many of their bytes are looked at.
fn buffers(batch: &RecordBatch) -> (Vec<Range<usize>>, usize) {
    let (buffers, used) = match batch.column(1).data_type() {
        DataType::Utf8View => {
            let cells = batch.column(1).as_string_view();
            (cells.data_buffers(), cells.total_buffer_bytes_used())
        }
        _ => {
            let cells = batch.column(1).as_binary_view();
            (cells.data_buffers(), cells.total_buffer_bytes_used())
        }
    };
    let place = |start: usize, length: usize| start..start + length;
    (buffers.iter().map(|buffer| place(buffer.data_ptr().addr().get(), buffer.capacity())).collect(), used)
}

#[tokio::test]
async fn cells_hold_what_was_written() {
    for seed in 0..2 {
        let (archive, expected) = generated(seed, 60);
        for (name, archive) in wrapped(&archive) {
            let chunks = [500, 512, 4096, 65_536, 1 << 20, u64::MAX];
            for reading in [Reading::members(), Reading::text()] {
                for &chunk in if name == "plain" { &chunks[..] } else { &chunks[4..] } {
                    for batch_size in [8192, 7] {
                        let reader = Reader { batch_size, ..Reader::of(reading.clone().in_chunks(chunk)) };
                        let is = cells(&reader.read(&archive).await) == expected;
                        assert!(is, "{seed}, {name}, {:?}, {chunk}, {batch_size}", reading.format);
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_block_belongs_to_one_batch_that_uses_most_of_it() {
    let sizes = [(100_000, 8192), (1 << 20, 8192), (1 << 20, 300), (u64::MAX, 8192), (u64::MAX, 7)];
    for (count, bytes) in [(3000, 13), (3000, 400), (600, 2000), (40, 70_000), (6, 700_000)] {
        for (name, archive) in wrapped(&files(count, bytes)).take(2) {
            for reading in [Reading::members(), Reading::text()] {
                for (chunk, batch_size) in sizes {
                    let how = format!("{count} of {bytes}, {name}, {:?}, {chunk}, {batch_size}", reading.format);
                    let reader = Reader { batch_size, ..Reader::of(reading.clone().in_chunks(chunk)) };
                    let batches = reader.read(&archive).await;
                    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), count, "{how}");
                    check_buffers(&batches, &how);
                    let batches = Reader { filter: true, ..reader }.read(&archive).await;
                    let kept = (count - 1) / 100;
                    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), kept, "{how}");
                    check_buffers(&batches, &how);
                }
            }
        }
    }
}

/// No two batches share a byte, and each uses half of its bytes, however little of it is worth a copy.
fn check_buffers(batches: &[RecordBatch], how: &str) {
    let mut places = Vec::new();
    for batch in batches {
        let (buffers, used) = buffers(batch);
        let held: usize = buffers.iter().map(Range::len).sum();
        assert!(held <= (2 * used).max(4096), "{how}: {held} bytes are held, {used} used");
        places.extend(buffers);
    }
    places.sort_by_key(|place| place.start);
    for pair in places.windows(2) {
        assert!(pair[0].end <= pair[1].start, "{how}: two batches share {pair:?}");
    }
}

#[tokio::test]
async fn views_are_not_copies() {
    let archive = files(1000, 1000);
    let range = archive.as_ptr().addr()..archive.as_ptr().addr() + archive.len();
    let batches = Reader::of(Reading::members()).read(&archive).await;
    let (places, used) = buffers(&batches[0]);
    assert_eq!((batches.len(), places, used), (1, vec![range], 1_000_000));
}

#[tokio::test]
async fn blocks_are_given_back_with_their_batches() {
    let archive = files(1500, 5000);
    for (name, archive) in wrapped(&archive).take(2) {
        let pool = FakePool::new(64 << 20);
        let reader = Reader { pool: Some(&pool), ..Reader::of(Reading::members().in_chunks(1 << 20)) };
        let mut batches = reader.read(&archive).await;
        assert!(batches.len() > 1 && pool.reserved() > 6 << 20, "{name}: {} batches", batches.len());
        while let Some(batch) = batches.pop() {
            drop(batch);
            let left: usize = batches.iter().flat_map(|batch| buffers(batch).0).map(|place| place.len()).sum();
            // In tests nobody claims the buffers of batches, and copies are not accounted.
            let reserved = usize::try_from(pool.reserved()).unwrap();
            assert!(reserved <= left, "{name}: {reserved} bytes for {left}");
        }
        assert_eq!(pool.reserved(), 0, "{name}");
    }
}
