//! What a scan takes from its pool: enough for what it holds, within the limit, and nothing when it is over, however
//! that comes about.

use super::*;
use crate::memory::MemoryPool;
use crate::memory::tests::FakePool;
use crate::tar::builder::HeaderBuilder;

const MIB: usize = 1 << 20;

/// An archive of files of these sizes.
fn archive(sizes: &[usize]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (number, &size) in sizes.iter().enumerate() {
        archive.extend(HeaderBuilder::file(format!("file-{number}"), size as u64).build());
        // Lines of a hundred bytes, each of which is a record of two fields.
        let line = format!("{:>48},{:>50}\n", number, "x");
        archive.extend(line.bytes().cycle().take(size));
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.extend([0; 1024]);
    archive
}

/// When the scan is dropped.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Until {
    End,
    Batch(usize),
}

/// Reads the archive with so much memory; gives the rows, how many batches, and the error.
async fn read(reading: &Reading, archive: &[u8], pool: &FakePool, until: Until) -> (usize, usize, Option<Error>) {
    read_by(Crew::alone(), reading, archive, pool, until).await
}

/// As [`read`], with the help of `crew`.
async fn read_by(
    crew: Crew,
    reading: &Reading,
    archive: &[u8],
    pool: &FakePool,
    until: Until,
) -> (usize, usize, Option<Error>) {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let location = Key::from("archive");
    store.put(&location, Bytes::copy_from_slice(archive).into()).await.unwrap();
    let size = Some(archive.len() as u64);
    let target = FetchTarget { store, location, url: URL.to_owned(), size, e_tag: None, version: None };
    let projection = (0..reading.schema.fields().len()).collect();
    let selection = Selection { projection, header_filter: None, row_filter: None, batch_size: 8192 };
    let report = Arc::new(ScanReport::new(ListingReport::default(), 1));
    let options = Arc::new(ScanOptions { fetch: FetchSettings::default(), ..reading.options() });
    let allowance = Allowance::new(&pool.memory());
    let partition = Partition { index: 0, report, allowance, crew };
    let mut scan = ArchiveScan::new(target, options, &selection, partition).unwrap();
    let (mut rows, mut batches) = (0, 0);
    let error = loop {
        if until == Until::Batch(batches) {
            break None;
        }
        match scan.next_batch().await {
            Ok(Some(batch)) => (rows, batches) = (rows + batch.num_rows(), batches + 1),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    drop(scan);
    // A request under way gives its bytes back when it notices that nobody wants them.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    (rows, batches, error)
}

fn readings() -> [Reading; 5] {
    [
        Reading::members(),
        Reading::text(),
        Reading::lines(),
        Reading::records(MemberFormat::Csv, &["a", "b"]),
        Reading::records(MemberFormat::Tsv, &["a"]),
    ]
}

#[tokio::test]
async fn nothing_is_left_however_a_scan_ends() {
    let plain = archive(&[10, MIB, 70_000, 0, 3 * MIB, 5]);
    let cut = &plain[..plain.len() - 2 * MIB];
    for (compression, compress) in FORMATS.into_iter().chain([(Compression::None, <[u8]>::to_vec as fn(&[u8]) -> _)]) {
        for archive in [compress(&plain), compress(cut), compress(&plain)[..compress(&plain).len() / 2].to_vec()] {
            for reading in readings() {
                let crews = [Crew::alone(), Crew::in_pieces(2, 200_000)];
                let untils = [Until::End, Until::Batch(0), Until::Batch(1), Until::Batch(2)];
                for (crew, until) in crews.iter().flat_map(|crew| untils.map(|until| (crew.clone(), until))) {
                    let pool = FakePool::new(64 << 20);
                    let (rows, batches, error) =
                        read_by(crew, &reading.clone().or_fail(), &archive, &pool, until).await;
                    let how = format!("{compression:?}, {:?}, {until:?}: {rows} rows, {error:?}", reading.format);
                    assert_eq!(pool.reserved(), 0, "{how}");
                    assert!(pool.peak() <= 64 << 20, "{how}");
                    assert!(until != Until::Batch(batches) || error.is_none(), "{how}");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_is_held_is_taken() {
    let archive = archive(&[20 * MIB, 3]);
    for (reading, least) in [(Reading::members(), 20 * MIB), (Reading::text(), 20 * MIB), (Reading::lines(), MIB)] {
        let pool = FakePool::new(256 << 20);
        let (_, batches, error) = read(&reading, &archive, &pool, Until::End).await;
        assert!(error.is_none() && batches > 0, "{error:?}");
        assert!(pool.peak() >= least as u64, "{:?} took {} bytes", reading.format, pool.peak());
    }
}

#[tokio::test]
async fn batches_and_ranges_shrink_with_the_memory() {
    let archive = archive(&[100_000; 200]);
    let mut before = 0;
    for limit in [256 << 20, 32 << 20, 8 << 20, 4 << 20] {
        let pool = FakePool::new(limit);
        let (rows, batches, error) = read(&Reading::members(), &archive, &pool, Until::End).await;
        assert!(error.is_none() && rows == 200, "{limit}: {error:?}");
        assert!(batches >= before && pool.peak() <= limit, "{limit}: {batches} batches, {} bytes", pool.peak());
        before = batches;
    }
    assert!(before > 20, "{before} batches");
}

#[tokio::test]
async fn a_member_that_does_not_fit_is_skipped_or_fails() {
    let archive = archive(&[1000, 20 * MIB, 2000]);
    let pool = FakePool::new(8 << 20);
    let (rows, _, error) = read(&Reading::members(), &archive, &pool, Until::End).await;
    assert_eq!((rows, error.map(|error| error.to_string())), (2, None));
    let (rows, _, error) = read(&Reading::members().or_fail(), &archive, &pool, Until::End).await;
    let error = error.unwrap().to_string();
    assert_eq!(rows, 1, "the rows before it came out first");
    assert!(
        error.starts_with("memory:///archive: member 'file-1' at offset 1536: the content of the member needs"),
        "{error}"
    );
    assert!(error.contains("the memory limit of 8388608 bytes"), "{error}");
    assert_eq!(pool.reserved(), 0);
}

#[tokio::test]
async fn a_cut_member_is_cut_and_not_too_large() {
    let archive = archive(&[1000, 20 * MIB]);
    let pool = FakePool::new(8 << 20);
    let (_, _, error) = read(&Reading::members().or_fail(), &archive[..2 * MIB], &pool, Until::End).await;
    let error = error.unwrap().to_string();
    assert!(error.contains("the archive is truncated"), "{error}");
}
