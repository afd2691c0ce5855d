//! `--memory-limit` holds, whatever the archive: the program runs over archives that would like to have gigabytes, and
//! its resident memory is watched from outside and by its own metrics.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use crate::archive::BLOCK_LEN;
use crate::measured::Metrics;
use crate::program::Tarsql;

const LIMIT: &str = "256m";

/// One and a half times the limit.
const RSS_MAX: u64 = 384 << 20;

/// No case takes a quarter of this.
const TIMEOUT: Duration = Duration::from_secs(300);

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A folder with archives for one test. Nothing in them was ever on disk where they are sparse.
struct Archives(TempDir);

/// What an archive is written of.
enum Part<'a> {
    Bytes(&'a [u8]),
    Zeros(u64),
}

use Part::{Bytes, Zeros};

impl Archives {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file whose zeros are holes.
    fn sparse(&self, name: &str, parts: &[Part<'_>]) -> &Self {
        let mut file = File::create(self.path(name)).expect("a file");
        for part in parts {
            match part {
                Bytes(bytes) => file.write_all(bytes).expect("room on the disk"),
                Zeros(bytes) => {
                    file.seek(SeekFrom::Current(i64::try_from(*bytes).expect("below 2^63"))).expect("a file can seek");
                }
            }
        }
        let length = file.stream_position().expect("a place");
        file.set_len(length).expect("a length");
        self
    }

    /// A plain archive of one file of zeros.
    fn zeros(&self, name: &str, bytes: u64) -> &Self {
        let header = header("zeros.bin", bytes, b'0');
        self.sparse(name, &[Bytes(&header), Zeros(padded(bytes)), Bytes(&END)])
    }

    /// A plain archive of one file with that content.
    fn file(&self, name: &str, member: &str, content: &[u8]) -> &Self {
        let header = header(member, content.len() as u64, b'0');
        let padding = padded(content.len() as u64) - content.len() as u64;
        self.sparse(name, &[Bytes(&header), Bytes(content), Zeros(padding), Bytes(&END)])
    }

    /// A compressed archive.
    fn gzip(&self, name: &str, parts: &[Part<'_>]) -> &Self {
        std::fs::write(self.path(name), gzip(parts)).expect("room on the disk");
        self
    }
}

const END: [u8; 2 * BLOCK_LEN] = [0; 2 * BLOCK_LEN];

fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_LEN as u64)
}

fn header(path: &str, size: u64, flag: u8) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path).expect("a short path");
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(1_656_288_000);
    header.set_entry_type(tar::EntryType::new(flag));
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// Compressed as it is made: neither a bomb nor its content is ever held.
fn gzip(parts: &[Part<'_>]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let zeros = vec![0; 1 << 20];
    for part in parts {
        match part {
            Bytes(bytes) => encoder.write_all(bytes).expect("memory can be written to"),
            Zeros(bytes) => {
                let mut left = *bytes;
                while left > 0 {
                    let piece = usize::try_from(left.min(MIB)).expect("a MiB");
                    encoder.write_all(&zeros[..piece]).expect("memory can be written to");
                    left -= piece as u64;
                }
            }
        }
    }
    encoder.finish().expect("memory can be written to")
}

/// A member of `size` bytes, all of them holes but the last `tail`, as GNU tar stores it (pax, version 1.0).
fn sparse_member(path: &str, size: u64, tail: u64) -> Vec<u8> {
    let mut map = format!("1\n{}\n{tail}\n", size - tail).into_bytes();
    map.resize(BLOCK_LEN, 0);
    let records = [
        ("GNU.sparse.major", "1".to_owned()),
        ("GNU.sparse.minor", "0".to_owned()),
        ("GNU.sparse.name", path.to_owned()),
        ("GNU.sparse.realsize", size.to_string()),
    ];
    let mut body = String::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length = rest + (rest + 2).to_string().len();
        body.push_str(&format!("{length} {key}={value}\n"));
    }
    let mut member = header("pax", body.len() as u64, b'x');
    member.extend(body.as_bytes());
    member.resize(member.len().next_multiple_of(BLOCK_LEN), 0);
    member.extend(header(path, BLOCK_LEN as u64 + tail, b'0'));
    member.extend(map);
    member.resize(member.len() + usize::try_from(padded(tail)).expect("small"), b'x');
    member
}

/// What a statement is to come to.
enum Outcome<'a> {
    /// It prints these lines.
    Prints(&'a str),
    /// It fails, with all of these in its message.
    Fails(&'a [&'a str]),
}

use Outcome::{Fails, Prints};

/// Every message about something that does not fit names these.
const REMEDY: [&str; 2] = ["memory limit of 268435456 bytes", "--memory-limit (embedded: the session's memory pool)"];

/// Runs a statement over the archives of `dir` with the limit, and watches its memory.
#[track_caller]
fn check(archives: &Archives, sql: &str, expected: Outcome<'_>) {
    let metrics = archives.path("metrics.json");
    let mut program = Tarsql::sql(sql)
        .args(["--memory-limit", LIMIT, "--format", "csv", "--no-progress", "--metrics"])
        .args([&metrics])
        .dir(archives.0.path());
    let (status, stdout, stderr, peak) = watch(&mut program);
    let measured = Metrics::read(&metrics).value("PeakMemory");
    std::fs::remove_file(&metrics).expect("it is there");
    match expected {
        Prints(lines) => assert_eq!((status, stdout.as_str()), (Some(0), lines), "{sql}\n{stderr}"),
        Fails(parts) => {
            assert_eq!(status, Some(1), "{sql}\n{stdout}\n{stderr}");
            for part in parts.iter().chain(&REMEDY) {
                assert!(stderr.contains(part), "{sql}: {part} is not in: {stderr}");
            }
        }
    }
    assert!(peak < RSS_MAX, "{sql}: {} MiB were resident", peak >> 20);
    assert!(measured < RSS_MAX as f64, "{sql}: {measured} bytes were resident, by its own measure");
}

/// Runs the program; also says how much of it was resident at most.
fn watch(program: &mut Tarsql) -> (Option<i32>, String, String, u64) {
    let mut child = program.spawn();
    drop(child.stdin.take());
    let drain = |mut pipe: Box<dyn std::io::Read + Send>| {
        std::thread::spawn(move || {
            let mut text = String::new();
            pipe.read_to_string(&mut text).expect("the program prints UTF-8");
            text
        })
    };
    let stdout = drain(Box::new(child.stdout.take().expect("a pipe")));
    let stderr = drain(Box::new(child.stderr.take().expect("a pipe")));
    let peak = Arc::new(AtomicU64::new(0));
    let status_file = format!("/proc/{}/status", child.id());
    let started = Instant::now();
    let status = loop {
        peak.fetch_max(resident(Path::new(&status_file)), Ordering::Relaxed);
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if started.elapsed() > TIMEOUT {
            let _ = child.kill();
            panic!("it did not end in {} s", TIMEOUT.as_secs());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let (stdout, stderr) = (stdout.join().expect("no panic"), stderr.join().expect("no panic"));
    (status.code(), stdout, stderr, peak.load(Ordering::Relaxed))
}

/// The high-water mark of a process as Linux counts it; 0 elsewhere, where the program's own measure has to do.
fn resident(status: &Path) -> u64 {
    let status = std::fs::read_to_string(status).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[test]
fn one_huge_member() {
    let archives = Archives::new();
    archives.zeros("huge.tar", 10 * GIB).zeros("large.tar", GIB);
    check(&archives, "SELECT path, size FROM 'huge.tar'", Prints("path,size\nzeros.bin,10737418240\n"));
    check(&archives, "SELECT content FROM 'huge.tar'", Fails(&["huge.tar", "zeros.bin", "10737418240 bytes"]));
    check(&archives, "SELECT content FROM 'large.tar'", Fails(&["large.tar", "zeros.bin", "1073741824 bytes"]));
    check(
        &archives,
        "SELECT text FROM read_tar('large.tar', format = 'text')",
        Fails(&["large.tar", "zeros.bin", "text of the member"]),
    );
    check(
        &archives,
        "SELECT count(*) FROM read_tar('large.tar', format = 'lines')",
        Fails(&["large.tar", "zeros.bin", "a line of the member"]),
    );
}

#[test]
fn a_large_member_that_fits() {
    let archives = Archives::new();
    archives.zeros("fits.tar", 60 * MIB);
    check(&archives, "SELECT length(content) AS n FROM 'fits.tar'", Prints("n\n62914560\n"));
}

#[test]
fn many_members_and_many_archives() {
    let archives = Archives::new();
    let mut tiny = Vec::new();
    for number in 0..50_000 {
        tiny.extend(header(&format!("d/{number:07}"), 3, b'0'));
        tiny.extend(b"abc");
        tiny.resize(tiny.len().next_multiple_of(BLOCK_LEN), 0);
    }
    archives.sparse("tiny.tar", &[Bytes(&tiny), Bytes(&END)]);
    for number in 0..500 {
        archives.sparse(&format!("many-{number}.tar"), &[Bytes(&tiny[..64 * BLOCK_LEN]), Bytes(&END)]);
    }
    let expected = "n,size,paths,contents\n50000,150000,450000,150000\n";
    let sums = "count(*) AS n, sum(size) AS size, sum(length(path)) AS paths, sum(length(content)) AS contents";
    check(&archives, &format!("SELECT {sums} FROM 'tiny.tar'"), Prints(expected));
    let expected = "n,size,paths,contents\n16000,48000,144000,48000\n";
    check(&archives, &format!("SELECT {sums} FROM read_tar('many-*.tar')"), Prints(expected));
    let by_archive = format!("SELECT {sums} FROM read_tar('many-*.tar', partitioning = 'archive')");
    check(&archives, &by_archive, Prints(expected));
}

#[test]
fn contents_through_operators() {
    let archives = Archives::new();
    for archive in 0..16 {
        let members = (0..12).map(|member| header(&format!("{archive:02}-{member:02}"), MIB, b'0')).collect::<Vec<_>>();
        let parts = members.iter().flat_map(|header| [Bytes(header), Zeros(MIB)]).chain([Bytes(&END)]);
        archives.sparse(&format!("content-{archive}.tar"), &parts.collect::<Vec<_>>());
    }
    let from = "FROM read_tar('content-*.tar')";
    check(&archives, &format!("SELECT length(content) AS n {from} LIMIT 1"), Prints("n\n1048576\n"));
    check(
        &archives,
        &format!("SELECT max(n) AS n, count(*) AS rows FROM (SELECT path, length(content) AS n {from})"),
        Prints("n,rows\n1048576,192\n"),
    );
    check(
        &archives,
        &format!("SELECT path, length(content) AS n {from} ORDER BY path DESC LIMIT 2"),
        Prints("path,n\n15-11,1048576\n15-10,1048576\n"),
    );
}

#[test]
fn bombs() {
    let archives = Archives::new();
    let huge = header("zeros.bin", GIB, b'0');
    archives.gzip("bomb.tar.gz", &[Bytes(&huge), Zeros(GIB), Bytes(&END)]);
    let holes: Vec<u8> = (0..4).flat_map(|number| sparse_member(&format!("hole-{number}"), 4 << 40, 512)).collect();
    let hole = sparse_member("hole", GIB, 512);
    archives.sparse("holes.tar", &[Bytes(&holes), Bytes(&END)]).sparse("hole.tar", &[Bytes(&hole), Bytes(&END)]);
    check(&archives, "SELECT count(*) AS n, sum(size) AS size FROM 'bomb.tar.gz'", Prints("n,size\n1,1073741824\n"));
    check(&archives, "SELECT content FROM 'bomb.tar.gz'", Fails(&["bomb.tar.gz", "zeros.bin", "1073741824 bytes"]));
    check(&archives, "SELECT count(*) AS n, sum(size) AS size FROM 'holes.tar'", Prints("n,size\n4,17592186044416\n"));
    check(&archives, "SELECT content FROM 'holes.tar'", Fails(&["holes.tar", "hole-0", "4398046511104 bytes"]));
    check(&archives, "SELECT content FROM 'hole.tar'", Fails(&["hole.tar", "member 'hole'", "1073741824 bytes"]));
}

#[test]
fn decompressors_that_want_much() {
    let archives = Archives::new();
    // A frame of ten bytes that claims a window of that many bits.
    let frame = |window_log: u8| {
        let block = (1 | 10_u32 << 3).to_le_bytes();
        [&[0x28, 0xb5, 0x2f, 0xfd, 0, (window_log - 10) << 3], &block[..3], b"0123456789"].concat()
    };
    archives.file("window-29.tar", "a.zst", &frame(29)).file("window-26.tar", "a.zst", &frame(26));
    let text = |archive: &str| format!("SELECT text FROM read_tar('{archive}', format = 'text')");
    check(&archives, &text("window-29.tar"), Fails(&["window-29.tar", "a.zst", "window of the frame"]));
    check(&archives, &text("window-26.tar"), Prints("text\n0123456789\n"));
    archives.file("dictionary.tar", "a.xz", &with_large_dictionary(crate::archive::xz(b"0123456789")));
    check(&archives, &text("dictionary.tar"), Fails(&["dictionary.tar", "a.xz", "xz block"]));
}

/// An xz stream whose block claims a dictionary of 768 MiB.
fn with_large_dictionary(mut stream: Vec<u8>) -> Vec<u8> {
    // The block header follows the stream header: its size, flags, the filter's id (LZMA2), the size of its properties
    // and the dictionary's; its CRC32 is at its end.
    const BLOCK: usize = 12;
    const LZMA2: u8 = 0x21;
    const DICTIONARY_768_MIB: u8 = 35;
    assert_eq!(stream[BLOCK + 2..BLOCK + 4], [LZMA2, 1]);
    stream[BLOCK + 4] = DICTIONARY_768_MIB;
    let crc_at = BLOCK + 4 * usize::from(stream[BLOCK]);
    let mut crc = flate2::Crc::new();
    crc.update(&stream[BLOCK..crc_at]);
    stream[crc_at..crc_at + 4].copy_from_slice(&crc.sum().to_le_bytes());
    stream
}

#[test]
fn long_headers_and_long_lines() {
    let archives = Archives::new();
    let pax = header("pax", 4 * GIB, b'x');
    archives.sparse("pax.tar", &[Bytes(&pax), Zeros(4 * GIB), Bytes(&header("f", 0, b'0')), Bytes(&END)]);
    let mut program = Tarsql::sql("SELECT path FROM 'pax.tar'").args(["--memory-limit", LIMIT]).dir(archives.0.path());
    let (status, _, stderr, peak) = watch(&mut program);
    assert!(status == Some(1) && stderr.contains("pax.tar") && stderr.contains("1048576"), "{stderr}");
    assert!(peak < RSS_MAX, "{peak}");
    let line = gzip(&[Zeros(512 * MIB), Bytes(b"\nshort\n")]);
    archives.file("line.tar", "line.txt.gz", &line);
    let fits = gzip(&[Zeros(20 * MIB), Bytes(b"\nshort\n")]);
    archives.file("fits.tar", "line.txt.gz", &fits);
    let lines =
        |archive| format!("SELECT line_number, octet_length(line) AS n FROM read_tar('{archive}', format = 'lines')");
    check(&archives, &lines("line.tar"), Fails(&["line.tar", "line.txt.gz", "a line of the member"]));
    check(&archives, &lines("fits.tar"), Prints("line_number,n\n1,20971520\n2,5\n"));
}

#[test]
fn records_of_many_archives() {
    let archives = Archives::new();
    let mut csv = b"a,b,c\n".to_vec();
    for row in 0..20_000 {
        csv.extend(format!("{row},text {row},{row}.5\n").as_bytes());
    }
    let csv = gzip(&[Bytes(&csv)]);
    for archive in 0..64 {
        archives.file(&format!("csv-{archive}.tar"), "x.csv.gz", &csv);
    }
    check(
        &archives,
        "SELECT count(*) AS n, sum(a) AS a, max(b) AS b FROM read_tar('csv-*.tar :: *.csv.gz', format = 'csv')",
        Prints("n,a,b\n1280000,12799360000,text 9999\n"),
    );
}

/// They take memory that nobody uses. The program has to start itself anew for that, which shows only from outside.
#[cfg(target_os = "linux")]
#[test]
fn the_program_has_no_huge_pages() {
    // It waits for statements.
    let mut child = Tarsql::new().spawn();
    let status = format!("/proc/{}/status", child.id());
    let has_none = || {
        let status = std::fs::read_to_string(&status).expect("the program runs");
        status.lines().any(|line| line.split_whitespace().eq(["THP_enabled:", "0"]))
    };
    let start = Instant::now();
    while !has_none() {
        assert!(start.elapsed() < TIMEOUT / 10, "it has huge pages");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(child.stdin.take());
    assert!(child.wait().expect("the program ends").success());
}
