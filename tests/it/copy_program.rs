//! COPY as the program runs it: Ctrl-C, SIGKILL, a full disk, a real S3 server.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::copy::{data_files, small_groups, tree};
use crate::program::Tarsql;
use crate::weed::weed;

/// Gives rows for hours.
const ENDLESS: &str = "SELECT value, 'some text ' || value AS t, sha256(CAST(value AS VARCHAR)) AS h \
                       FROM generate_series(1, 1000000000000)";

/// Bytes are written early.
const SMALL_PARTS: &str = "SET datafusion.execution.objectstore_writer_buffer_size = 100000";

/// Whatever a test waits for comes sooner.
const SOON: Duration = Duration::from_secs(60);

/// Gives rows for a while, and then an error.
fn fails_late() -> &'static str {
    "SELECT value, md5(CAST(value AS VARCHAR)) AS t, CAST(CASE WHEN value = 90000 THEN 'x' ELSE '7' END AS INT) AS n \
     FROM generate_series(1, 100000)"
}

#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < SOON, "{what} takes too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, signal: &str) {
    let status = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
    assert!(status.expect("kill can be run").success());
}

fn bytes_below(folder: &Path) -> u64 {
    let files = tree(folder).into_iter().filter_map(|name| folder.join(name).metadata().ok());
    files.filter(|file| file.is_file()).map(|file| file.len()).sum()
}

/// Uploads that nobody has completed or aborted, as anybody may see them who may list the bucket.
fn unfinished_uploads(prefix: &str) -> Vec<String> {
    let address = weed().endpoint.trim_start_matches("http://");
    let mut connection = TcpStream::connect(address).expect("the server is there");
    write!(connection, "GET /public?uploads&prefix={prefix} HTTP/1.0\r\nHost: {address}\r\n\r\n").expect("a request");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.0 200") && answer.contains("<ListMultipartUploadsResult"), "{answer}");
    let keys = answer.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
    keys.filter(|key| key.trim_start_matches('/').starts_with(prefix)).map(str::to_owned).collect()
}

/// Formats with a file and a directory each.
fn targets() -> impl Iterator<Item = (String, &'static str)> {
    ["parquet", "csv", "json"]
        .into_iter()
        .flat_map(|format| [(format!("x.{format}"), format), (format!("d-{format}/"), format)])
}

#[test]
fn ctrl_c_leaves_nothing() {
    for (target, format) in targets() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (folder_name, options) = (folder.path().display(), small_groups(format));
        let copy = format!("COPY ({ENDLESS}) TO '{folder_name}/{target}' STORED AS {format} {options}");
        let mut child = Tarsql::sql(&format!("{SMALL_PARTS}; {copy}")).spawn();
        wait_until("writing", || bytes_below(folder.path()) > 1 << 20);
        assert!(data_files(folder.path()).is_empty(), "nothing is visible yet: {:?}", tree(folder.path()));
        signal(&child, "INT");
        assert_eq!(child.wait().expect("it ends").code(), Some(130), "{target}");
        assert_eq!(tree(folder.path()), Vec::<String>::new(), "{target}");
    }
}

#[test]
fn ctrl_c_aborts_uploads() {
    for (number, (target, format)) in targets().enumerate() {
        let prefix = format!("ctrl-c-{number}");
        let copy = format!("COPY ({ENDLESS}) TO 's3://public/{prefix}/{target}' STORED AS {format}");
        let mut child = Tarsql::sql(&copy).env(weed().env()).spawn();
        wait_until("the upload", || !unfinished_uploads(&prefix).is_empty());
        signal(&child, "INT");
        assert_eq!(child.wait().expect("it ends").code(), Some(130), "{target}");
        assert_eq!(unfinished_uploads(&prefix), Vec::<String>::new(), "{target}");
        assert_eq!(weed().keys("public", &prefix), Vec::<String>::new(), "{target}");
    }
}

#[test]
fn a_failed_copy_leaves_nothing_on_s3() {
    for (number, (target, format)) in targets().enumerate() {
        let prefix = format!("failed-{number}");
        let url = format!("s3://public/{prefix}/{target}");
        if !target.ends_with('/') {
            weed().put("public", &format!("{prefix}/{target}"), "precious");
        }
        let before = weed().keys("public", &prefix);
        let copy = format!("COPY ({}) TO '{url}' STORED AS {format}", fails_late());
        let error = Tarsql::sql(&copy).env(weed().env()).fails();
        assert!(error.contains("Cannot cast string 'x'"), "{error}");
        assert_eq!(unfinished_uploads(&prefix), Vec::<String>::new(), "{target}");
        assert_eq!(weed().keys("public", &prefix), before, "{target}");
        if !target.ends_with('/') {
            assert_eq!(&weed().get("public", &format!("{prefix}/{target}"))[..], b"precious");
        }
        // And the same without the error.
        let copy = copy.replace("value = 90000", "false");
        Tarsql::sql(&copy).env(weed().env()).ok();
        assert_eq!(unfinished_uploads(&prefix), Vec::<String>::new(), "{target}");
        let keys = weed().keys("public", &prefix);
        assert_eq!(keys.iter().any(|key| key.ends_with("/_SUCCESS")), target.ends_with('/'), "{keys:?}");
        let header = if format == "csv" { "OPTIONS ('has_header' 'true')" } else { "" };
        let count = format!(
            "CREATE EXTERNAL TABLE t STORED AS {format} LOCATION '{url}' {header}; SELECT count(*), sum(value) FROM t"
        );
        let stdout = Tarsql::sql(&count).env(weed().env()).ok();
        assert_eq!(stdout.lines().nth(1), Some("100000,5000050000"), "{target}");
    }
}

#[test]
fn write_modes_on_s3() {
    let copy = |rows: u32, mode: &str| {
        let copy =
            format!("COPY (SELECT value FROM generate_series(1, {rows})) TO 's3://public/modes/' STORED AS PARQUET");
        Tarsql::sql(&format!("{copy} {mode}")).env(weed().env())
    };
    let count = || Tarsql::sql("SELECT count(*) FROM 's3://public/modes/'").env(weed().env()).ok();
    copy(10, "").ok();
    let error = copy(20, "").fails();
    assert!(error.contains("s3://public/modes/: the directory holds data (s3://public/modes/"), "{error}");
    assert_eq!(count().lines().nth(1), Some("10"));
    copy(20, "OPTIONS ('write_mode' 'append')").ok();
    assert_eq!(count().lines().nth(1), Some("30"));
    copy(5, "OPTIONS ('write_mode' 'overwrite')").ok();
    assert_eq!(count().lines().nth(1), Some("5"));
    weed().put("public", "modes/_committing", "");
    let error = copy(20, "OPTIONS ('write_mode' 'append')").fails();
    assert!(error.contains("delete _committing"), "{error}");
    assert_eq!(count().lines().nth(1), Some("5"));
    assert_eq!(unfinished_uploads("modes"), Vec::<String>::new());
}

/// Nothing can be done at SIGKILL. What is left is not to be seen by those who read, nor in the way of those who write.
#[test]
fn a_kill_leaves_only_what_nobody_sees() {
    for (target, format) in targets() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(&target);
        let is_directory = target.ends_with('/');
        if !is_directory {
            fs::write(&path, "precious").expect("room");
        }
        let copy =
            |query: &str| format!("COPY ({query}) TO '{}' STORED AS {format} {}", path.display(), small_groups(format));
        let mut child = Tarsql::sql(&format!("{SMALL_PARTS}; {}", copy(ENDLESS))).spawn();
        wait_until("writing", || bytes_below(folder.path()) > 1 << 20);
        signal(&child, "KILL");
        assert_eq!(child.wait().expect("it ends").code(), None);
        let left = tree(folder.path());
        assert!(left.iter().any(|name| name.contains(".#") || name.contains('#')), "{left:?}");
        if is_directory {
            assert!(data_files(folder.path()).is_empty(), "{left:?}");
        } else {
            assert_eq!(fs::read_to_string(&path).expect("it is there"), "precious");
        }
        Tarsql::sql(&copy("SELECT 7 AS seven")).ok();
        let header = if format == "csv" { "OPTIONS ('has_header' 'true')" } else { "" };
        let select = format!(
            "CREATE EXTERNAL TABLE t STORED AS {format} LOCATION '{}' {header}; SELECT seven FROM t",
            path.display()
        );
        assert_eq!(Tarsql::sql(&select).ok().lines().nth(1), Some("7"), "{target}");
    }
}

/// A limit on the size of files is met as a full disk is: a write fails half-way, only with another number.
#[test]
fn a_full_disk_is_an_error_and_leaves_nothing() {
    for (target, format) in targets() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(&target);
        let query =
            format!("SELECT md5(CAST(value AS VARCHAR)) AS t FROM ({})", ENDLESS.replace("1000000000000", "2000000"));
        let copy = format!("COPY ({query}) TO '{}' STORED AS {format} {}", path.display(), small_groups(format));
        let copy = copy.replace("'max_file_bytes' '1000000'", "'max_file_bytes' '100000000'");
        let output = Command::new("sh")
            // The signal would end the process; ignored, the write fails.
            .args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_tarsql"), "-c", &copy])
            .output()
            .expect("sh can be run");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{target}: {stderr}");
        assert!(stderr.contains("can't be written: file too large (os error 27)"), "{stderr}");
        assert!(stderr.contains(folder.path().to_str().expect("text")), "{stderr}");
        assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
        assert_eq!(tree(folder.path()), Vec::<String>::new(), "{target}");
    }
}

#[test]
fn nothing_is_read_for_a_target_that_cannot_be_written() {
    for (target, format) in targets() {
        let copy = format!(
            "COPY (SELECT path, size FROM read_tar('testdata/python/many.tar')) TO '/proc/tarsql/{target}' STORED AS {format}"
        );
        let (output, metrics) = Tarsql::sql(&copy).measured();
        assert_eq!(output.status, Some(1), "{}", output.stderr);
        assert!(
            output.stderr.contains("can't be written: no such file or directory (os error 2)"),
            "{}",
            output.stderr
        );
        assert_eq!((metrics.count("BytesFetched"), metrics.count("WrittenFiles")), (0, 0), "{target}");
    }
}

#[test]
fn the_memory_limit_holds_for_large_cells() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = folder.path().join("cells.tar");
    let cell: Vec<u8> = (0..1_u32 << 20).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[2]).collect();
    let members = (0..16).map(|n| (format!("{n}.bin"), cell.clone()));
    fs::write(&archive, crate::archive::tar(members)).expect("room");
    let target = folder.path().join("out.parquet");
    let copy = format!(
        "COPY (SELECT path, content FROM read_tar('{}', repeat = 32)) TO '{}'",
        archive.display(),
        target.display()
    );
    let tarsql = Tarsql::sql(&copy).args(["--memory-limit", "256m", "--threads", "4"]);
    let (_, metrics) = tarsql.measured_ok();
    assert_eq!(metrics.count("WrittenRows"), 16 * 32);
    let peak = metrics.value("PeakMemory");
    assert!(peak < f64::from(384 << 20), "{peak} bytes");
}
