//! How a scan is cut, what it leaves unread, and what the engine does not have to do any more.

use std::fs;
use std::io::Write;
use std::sync::Arc;

use datafusion::physical_plan::collect;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::prelude::SessionConfig;
use futures::TryStreamExt;
use tempfile::TempDir;

use crate::archive::{BLOCK_LEN, gzip, tar};
use crate::session::{Answer, Session, file_url};
use crate::testdata::testdata;

const OPENSKY: &str = "opensky/states/**/*.csv.tar";

fn read(locator: &str, options: &str) -> String {
    format!("read_tar('{}'{options})", testdata(locator).display())
}

/// Small archives `s3://cut/NN.tar` of `files` files each.
async fn bucket(session: &Session, archives: usize, files: usize) {
    let archive = |archive: usize| tar((0..files).map(|file| (format!("{archive}-{file}.txt"), "one\ntwo\n")));
    session.bucket("cut", (0..archives).map(|number| (format!("{number:03}.tar"), archive(number)))).await;
}

#[tokio::test]
async fn an_archive_is_a_partition() {
    let session = Session::new();
    bucket(&session, 40, 1).await;
    for (set, sql, partitions) in [
        ("", "SELECT path FROM read_tar('s3://cut/00[0-4].tar')", 5),
        // Four times what the engine aims at, and sixteen at least.
        ("", "SELECT path FROM read_tar('s3://cut/*.tar')", 16),
        ("SET tarsql.max_partitions = 3", "SELECT path FROM read_tar('s3://cut/*.tar')", 3),
        ("", "SELECT path FROM read_tar('s3://cut/*.tar', partitioning = 'archive')", 40),
        ("", "SELECT path FROM read_tar('s3://cut/00[0-4].tar', partitioning = 'archive', repeat = 2)", 10),
        ("", "SELECT path FROM read_tar('s3://cut/*.tar', repeat = 2)", 3),
        ("SET tarsql.max_partitions = 100", "SELECT path FROM read_tar('s3://cut/*.tar')", 40),
        // Several locators are scans of their own.
        ("", "SELECT path FROM read_tar(['s3://cut/00[0-4].tar', 's3://cut/001.tar'])", 6),
    ] {
        if !set.is_empty() {
            session.ok(set).await;
        }
        let answer = session.ok(sql).await;
        assert_eq!(answer.partitions(), partitions, "{sql}:\n{}", answer.explained());
        assert!(sql.contains('[') || answer.explained().contains(&format!("{{{partitions} groups: [[")), "{sql}");
    }
}

#[tokio::test]
async fn with_partitioning_by_archive_partition_i_is_archive_i() {
    let session = Session::new();
    bucket(&session, 20, 3).await;
    let sql = "SELECT path FROM read_tar('s3://cut/*.tar', partitioning = 'archive')";
    let plan = session.ctx.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    for partition in 0..20 {
        let batches: Vec<_> = plan.execute(partition, session.ctx.task_ctx()).unwrap().try_collect().await.unwrap();
        let answer = Answer { batches, plan: Arc::clone(&plan), run: tarsql::metrics::RunReport::new(sql) };
        assert_eq!(answer.rows(), (0..3).map(|file| format!("{partition}-{file}.txt")).collect::<Vec<_>>());
    }
    // `auto` gives the same rows, in some order.
    let rows = |partitioning: &str| {
        session.ok(&format!("SELECT archive, path FROM read_tar('s3://cut/*.tar', partitioning = '{partitioning}')"))
    };
    assert_eq!(rows("auto").await.sorted(), rows("archive").await.sorted());
}

#[tokio::test]
async fn repeat_reads_every_archive_so_many_times() {
    let session = Session::new();
    let table =
        |repeat: usize| read(&format!("{OPENSKY} :: *.csv.gz"), &format!(", format = 'lines', repeat = {repeat}"));
    let once = session.ok(&format!("SELECT line_number FROM {}", table(1))).await;
    let thrice = session.ok(&format!("SELECT line_number FROM {}", table(3))).await;
    assert_eq!(thrice.row_count(), 3 * once.row_count());
    assert_eq!((thrice.run.listing.files, thrice.run.listing.bytes), (9, 3 * once.run.listing.bytes));
    assert_eq!((thrice.run.completeness, thrice.run.scan.rows), (Some(1.0), 3 * once.run.scan.rows));
}

#[tokio::test]
async fn every_number_of_partitions_gives_the_same_rows() {
    let session = Session::new();
    let locator = testdata("opensky/states/**/*.tar").display().to_string();
    let sql = format!(
        "SELECT archive, path, line_number, line FROM read_tar('{locator}', format = 'lines', on_invalid_utf8 = 'replace')"
    );
    let expected = session.ok(&sql).await.sorted();
    assert!(expected.len() > 3_000);
    for (partitions, batch_size) in [(1, 8192), (2, 100), (3, 1000), (64, 7)] {
        session.ok(&format!("SET tarsql.max_partitions = {partitions}")).await;
        session.ok(&format!("SET datafusion.execution.batch_size = {batch_size}")).await;
        assert!(session.ok(&sql).await.sorted() == expected, "{partitions} partitions, {batch_size} rows a batch");
    }
}

/// `dt=…/hour=…/x.tar`, each with a CSV of one row, and the table `t` over them.
async fn hive(session: &Session) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (dt, hour) in [("2022-06-20", 0), ("2022-06-20", 1), ("2022-06-27", 0), ("2022-06-27", 13)] {
        let folder = dir.path().join(format!("dt={dt}/hour={hour}"));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("x.tar"), tar([("m.csv", format!("a,b\n{hour},{dt}\n"))])).expect("a file");
    }
    let location = dir.path().display();
    session
        .ok(&format!(
            "CREATE EXTERNAL TABLE t (a BIGINT, b VARCHAR, dt DATE, hour BIGINT) STORED AS TAR \
             PARTITIONED BY (dt, hour) LOCATION '{location}/**/x.tar' OPTIONS ('format' 'csv', 'provenance' 'true')"
        ))
        .await;
    dir
}

#[tokio::test]
async fn filters_on_the_archives_name_prune() {
    let session = Session::new();
    let dir = hive(&session).await;
    let first = file_url(&dir.path().join("dt=2022-06-20/hour=0/x.tar"));
    for (filter, rows, archives) in [
        ("true", &["0|2022-06-20", "0|2022-06-27", "13|2022-06-27", "1|2022-06-20"][..], 4),
        ("dt = '2022-06-20'", &["0|2022-06-20", "1|2022-06-20"], 2),
        ("hour > 0", &["13|2022-06-27", "1|2022-06-20"], 2),
        ("dt > DATE '2022-06-20' AND hour IN (13, 14)", &["13|2022-06-27"], 1),
        // A filter on both is no filter on the name alone.
        ("dt = '2022-06-20' AND a = 1", &["1|2022-06-20"], 2),
        ("hour = a AND dt = '2022-06-27'", &["0|2022-06-27", "13|2022-06-27"], 2),
        (&format!("_archive = '{first}'"), &["0|2022-06-20"], 1),
        ("_archive LIKE '%/hour=13/%'", &["13|2022-06-27"], 1),
        ("dt = '1999-01-01'", &[], 0),
        ("hour IS NULL", &[], 0),
    ] {
        let answer = session.ok(&format!("SELECT hour, dt FROM t WHERE {filter}")).await;
        assert_eq!(answer.sorted(), rows, "{filter}");
        assert_eq!(answer.run.listing.files, archives, "{filter}");
        assert_eq!(answer.count(|stats| stats.archives_opened.value()), archives, "{filter}");
    }
    let types = session.rows("SELECT DISTINCT arrow_typeof(dt), arrow_typeof(hour), arrow_typeof(a) FROM t").await;
    assert_eq!(types, ["Date32|Int64|Int64"]);

    bucket(&session, 10, 1).await;
    let sql = "SELECT path FROM read_tar('s3://cut/*.tar') WHERE archive >= 's3://cut/008.tar' AND size > 0";
    let answer = session.ok(sql).await;
    assert_eq!(answer.sorted(), ["8-0.txt", "9-0.txt"]);
    assert_eq!(answer.count(|stats| stats.requests.value()), 2, "one request an archive, none for the others");
}

#[tokio::test]
async fn partition_columns_want_their_segments() {
    let session = Session::new();
    let dir = hive(&session).await;
    let table = |name: &str, columns: &str, by: &str| {
        let location = dir.path().display();
        format!(
            "CREATE EXTERNAL TABLE {name} {columns} STORED AS TAR PARTITIONED BY ({by}) LOCATION '{location}/**/x.tar'"
        )
    };
    // Without a column list they are text.
    session.ok(&table("members", "", "dt, hour")).await;
    let rows = session.ok("SELECT path, dt, hour FROM members WHERE hour = '13'").await;
    assert_eq!((rows.rows(), rows.run.listing.files), (vec!["m.csv|2022-06-27|13".to_owned()], 1));
    session.ok(&table("missing", "", "dt, minute")).await;
    session.error("SELECT * FROM missing").await.says(&["x.tar: the key has no", "'minute=…'"]);
    let columns = "(a BIGINT, dt BIGINT)";
    session.ok(&format!("{} OPTIONS ('format' 'csv')", table("mistyped", columns, "dt"))).await;
    session.error("SELECT * FROM mistyped").await.says(&["x.tar: 'dt=2022-06-20' in the key is no Int64"]);
}

#[tokio::test]
async fn the_source_takes_the_filters_that_it_can() {
    let session = Session::new();
    for (table, filter, left_to_the_engine) in [
        (read("python/types.tar", ""), "size > 3 AND path LIKE '%.txt'", false),
        (read("python/types.tar", ""), "content = 'a file'", false),
        (read("text/lines.tar", ", format = 'text'"), "text LIKE '%one%' AND type = 'file'", false),
        (read("text/lines.tar", ", format = 'lines'"), "line_number > 1 AND line <> '' AND size > 3", false),
        (read("text/lines.tar", ", format = 'lines'"), "random() < 2", true),
        (read("csv/bom.tar", ", format = 'csv'"), "id > 1", true),
        (read("csv/bom.tar", ", format = 'csv', provenance = true"), "_path = 'bom.csv'", true),
        (read("json/logs.tar", ", format = 'json'"), "status > 300", true),
    ] {
        let sql = format!("SELECT * FROM {table} WHERE {filter}");
        let explained = session.ok(&sql).await.explained();
        assert_eq!(explained.contains("FilterExec"), left_to_the_engine, "{sql}:\n{explained}");
        assert_eq!(explained.contains("predicate="), !left_to_the_engine, "{sql}:\n{explained}");
    }
}

/// A tar of `files` files of `bytes` each, on disk.
fn big_tar(dir: &TempDir, files: usize, bytes: usize) -> String {
    let path = dir.path().join(format!("{files}.tar"));
    let mut file = fs::File::create(&path).expect("a file");
    let row = b"1234567,abcdefg,1.5\n";
    let content: Vec<u8> = row.iter().copied().cycle().take(bytes).collect();
    let mut builder = tar::Builder::new(Vec::new());
    for number in 0..files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, format!("{number}.csv"), content.as_slice()).expect("a member");
    }
    file.write_all(&builder.into_inner().expect("memory can be written to")).expect("room on disk");
    path.display().to_string()
}

const MIB: usize = 1 << 20;

#[tokio::test]
async fn what_is_not_asked_for_is_not_read() {
    let session = Session::new();
    let dir = tempfile::tempdir().expect("a temporary folder");
    // 64 MiB, as many members and as one.
    let many = big_tar(&dir, 32, 2 * MIB);
    let one = big_tar(&dir, 1, 64 * MIB);
    let csv = "format = 'csv', has_header = false, columns = 'a BIGINT, b VARCHAR, c DOUBLE'";
    for (sql, rows, bytes_max) in [
        (format!("SELECT path, size FROM read_tar('{many}')"), 32, 4 * MIB),
        (format!("SELECT count(*) FROM read_tar('{many}')"), 1, 4 * MIB),
        (format!("SELECT path FROM read_tar('{many}') LIMIT 3"), 3, MIB),
        (format!("SELECT path, content FROM read_tar('{many}') LIMIT 2"), 2, 24 * MIB),
        // A filter must not make the scan gather more rows than the LIMIT wants: the next ones may be far away.
        (format!("SELECT path FROM read_tar('{many}') WHERE size > 0 LIMIT 1"), 1, MIB),
        (format!("SELECT path, content FROM read_tar('{many}') WHERE size > 0 LIMIT 1"), 1, 24 * MIB),
        (
            format!("SELECT path FROM read_tar('{many}') WHERE length(path) > 0 AND content IS NOT NULL LIMIT 1"),
            1,
            24 * MIB,
        ),
        (format!("SELECT path, content FROM read_tar('{many}') WHERE path = '30.csv'"), 1, 24 * MIB),
        (format!("SELECT line FROM read_tar('{one}', format = 'lines') LIMIT 10"), 10, 8 * MIB),
        (format!("SELECT a, c FROM read_tar('{one}', {csv}) LIMIT 10"), 10, 8 * MIB),
        (format!("SELECT a FROM read_tar('{one} :: *.txt', {csv})"), 0, MIB),
    ] {
        let answer = session.ok(&sql).await;
        assert_eq!(answer.row_count(), rows, "{sql}");
        let fetched = answer.run.scan.bytes_fetched;
        assert!(fetched > BLOCK_LEN as u64 && fetched <= bytes_max as u64, "{sql}: {fetched} bytes fetched");
        if !sql.contains("LIMIT") {
            assert_eq!(answer.run.completeness, Some(1.0), "{sql}");
            let hopped = answer.count(|stats| stats.bytes_hopped.value());
            assert_eq!(fetched + hopped, answer.run.listing.bytes, "{sql}: fetched and hopped");
        }
    }
}

#[tokio::test]
async fn limits_end_what_filters_leave() {
    let session = Session::new();
    let types = read("python/types.tar", "");
    let lines = read("text/lines.tar", ", format = 'lines'");
    let csv = read("csv/bom.tar", ", format = 'csv'");
    for (sql, rows) in [
        (format!("SELECT path FROM {types} LIMIT 0"), &[][..]),
        (format!("SELECT path FROM {types} WHERE size > 6 LIMIT 2"), &["d/file.txt", "d/setuid"]),
        (
            format!("SELECT path FROM {types} WHERE content IS NOT NULL AND size > 6 LIMIT 2"),
            &["d/file.txt", "d/setuid"],
        ),
        (format!("SELECT path FROM {types} LIMIT 2 OFFSET 3"), &["d/setuid", "d/symlink"]),
        (format!("SELECT line FROM {lines} WHERE line LIKE 'packed%' LIMIT 1"), &["packed one"]),
        (format!("SELECT name FROM {csv} WHERE id > 2 LIMIT 1"), &["three"]),
    ] {
        assert_eq!(session.rows(&sql).await, rows, "{sql}");
    }
}

#[tokio::test]
async fn every_scan_lists_anew() {
    let session = Session::new();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let location = dir.path().display();
    let sql = format!(
        "CREATE EXTERNAL TABLE t (a BIGINT) STORED AS TAR LOCATION '{location}/*.tar' OPTIONS ('format' 'csv')"
    );
    session.ok(&sql).await;
    session.error("SELECT * FROM t").await.says(&["no file matches"]);
    for number in 1..=3 {
        fs::write(dir.path().join(format!("{number}.tar")), tar([("m.csv", format!("a\n{number}\n"))]))
            .expect("a file");
        assert_eq!(session.rows("SELECT count(*), max(a) FROM t").await, [format!("{number}|{number}")]);
    }
}

#[tokio::test]
async fn a_plan_can_be_run_again() {
    let session = Session::new();
    let sql = format!("SELECT path FROM {} ORDER BY archive, data_offset", read("python/*.tar", ""));
    let first = session.ok(&sql).await;
    // As the engine does it for recursive queries.
    let plan = reset_plan_states(Arc::clone(&first.plan)).expect("every node can be reset");
    let second = collect(plan, session.ctx.task_ctx()).await.expect("a second run");
    assert_eq!(first.batches, second);
    assert!(first.row_count() > 100);
}

/// One archive of small members, with a few large ones, compressed ones, and every odd thing in the midst of them.
fn crowd(dir: &TempDir) -> String {
    const MEMBERS: usize = 4_000;
    let csv = |number: usize| {
        let lines = if number.is_multiple_of(997) { 60_000 } else { 5 + number % 60 };
        let line = |line: usize| match (number % 500, line) {
            (77, 3) => "1,2,3\n".to_owned(),
            _ => format!("{},\"text {number}, {line}\"\n", number * 100 + line),
        };
        "n,text\n".to_owned() + &(0..lines).map(line).collect::<String>()
    };
    let content = |number: usize| match number % 1_500 {
        800 => gzip(csv(number).as_bytes())[..40].to_vec(),
        number if number % 10 == 3 => gzip(csv(number).as_bytes()),
        _ => csv(number).into_bytes(),
    };
    let path = dir.path().join("crowd.tar");
    fs::write(&path, tar((1..=MEMBERS).map(|number| (format!("{number}.csv"), content(number))))).expect("a file");
    format!(
        "read_tar('{}', format = 'csv', columns = 'n BIGINT, text VARCHAR', provenance = true, on_error = '{{error}}', \
         on_bad_row = '{{bad}}')",
        path.display()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_members_are_shared_and_their_rows_stay_in_order() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let table = crowd(&dir);
    let read = async |cores, error, bad| {
        let session = Session::with(SessionConfig::new().with_target_partitions(cores));
        let table = table.replace("{error}", error).replace("{bad}", bad);
        let answer = session.ok(&format!("SELECT _path, _row, n, text FROM {table}")).await;
        let (bad_rows, left_out) = tarsql::reports(&answer.plan)[0].bad_rows();
        let bad_rows: Vec<_> = bad_rows.iter().map(|row| row.message.clone()).collect();
        let incidents: Vec<_> = answer.incidents().iter().map(|incident| incident.message.clone()).collect();
        (answer.rows(), incidents, bad_rows, left_out, answer.run.scan.bad_rows, answer.run.completeness)
    };
    let alone = read(1, "skip", "skip").await;
    assert!(alone.0.len() > 300_000 && alone.1.len() == 3 && alone.4 == 8, "{:?}", (alone.0.len(), &alone.1, alone.4));
    for cores in [2, 8] {
        assert!(read(cores, "skip", "skip").await == alone, "{cores} cores");
        let session = Session::with(SessionConfig::new().with_target_partitions(cores));
        for (error, bad, says) in
            [("fail", "skip", "member '800.csv' at offset"), ("skip", "fail", "member '77.csv' at offset")]
        {
            let table = table.replace("{error}", error).replace("{bad}", bad);
            session.error(&format!("SELECT count(n) FROM {table}")).await.says(&[says]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_over_small_members_reads_few_of_them() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let text = "a line of some length\n".repeat(50);
    let path = dir.path().join("many.tar");
    fs::write(&path, tar((0..10_000).map(|number| (format!("{number}.txt"), &text)))).expect("a file");
    for cores in [1, 8] {
        let session = Session::with(SessionConfig::new().with_target_partitions(cores));
        let lines = format!("SELECT line FROM read_tar('{}', format = 'lines') LIMIT", path.display());
        let few = session.ok(&format!("{lines} 2")).await;
        assert_eq!(few.row_count(), 2);
        let fetched = few.count(|stats| stats.bytes_fetched.value());
        assert!(fetched < 1 << 20, "{cores} cores fetched {fetched} bytes");
        assert_eq!(session.ok(&format!("{lines} 400000")).await.row_count(), 400_000);
    }
}

/// Large archives take turns; who wants the last partition first gets it all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_read_in_whatever_order_somebody_wants() {
    const ARCHIVES: usize = 6;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let text = "a line of some length, again and again\n".repeat(150_000);
    for number in 0..ARCHIVES {
        fs::write(dir.path().join(format!("{number}.tar")), tar([("m.txt", &text)])).expect("a file");
    }
    let session = Session::with(SessionConfig::new().with_target_partitions(2));
    let sql = format!(
        "SELECT line FROM read_tar('{}/*.tar', format = 'lines', partitioning = 'archive')",
        dir.path().display()
    );
    let plan = session.ctx.sql(&sql).await.expect("a statement").create_physical_plan().await.expect("a plan");
    let mut streams = Vec::new();
    for partition in 0..ARCHIVES {
        let mut stream = plan.execute(partition, session.ctx.task_ctx()).expect("a stream");
        let first = stream.try_next().await.expect("a batch").map_or(0, |batch| batch.num_rows());
        streams.push((first, stream));
    }
    for (first, stream) in streams.into_iter().rev() {
        assert!(first > 0 && first < 150_000, "{first} rows in one batch");
        let rest = stream.try_fold(0, |rows, batch| std::future::ready(Ok(rows + batch.num_rows()))).await;
        assert_eq!(rest.expect("batches") + first, 150_000);
    }
}

/// Whether the record of [`huge`] is bad: two hundred are, all of them behind the first few MiB.
fn is_bad(row: usize) -> bool {
    row > 100_000 && row % 500 == 7
}

/// An archive of one CSV member of some MiB, compressed, with records of two lines, and bad ones.
fn huge(dir: &TempDir, rows: usize) -> String {
    let mut csv = "n,text\n".to_owned();
    for row in 1..=rows {
        let text = if is_bad(row) { "1,2" } else { "\"some text,\nand \"\"more\"\"\"" };
        csv += &format!("{row},{text}\n");
    }
    let path = dir.path().join("huge.tar");
    fs::write(&path, tar([("huge.csv.gz", gzip(csv.as_bytes()))])).expect("a file");
    format!(
        "read_tar('{}', format = 'csv', columns = 'n BIGINT, text VARCHAR', newlines_in_values = true, \
         provenance = true, partitioning = '{{by}}', on_bad_row = '{{bad}}')",
        path.display()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_huge_member_is_shared_and_its_rows_stay_in_order() {
    const ROWS: usize = 200_000;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let table = huge(&dir, ROWS);
    for (cores, by) in [(1, "archive"), (2, "archive"), (8, "archive"), (8, "auto")] {
        let session = Session::with(SessionConfig::new().with_target_partitions(cores));
        let table = |bad| table.replace("{by}", by).replace("{bad}", bad);
        let answer = session.ok(&format!("SELECT _row, n FROM {}", table("skip"))).await;
        let expected = (1..=ROWS).filter(|row| !is_bad(*row)).map(|row| format!("{row}|{row}"));
        assert!(answer.rows() == expected.collect::<Vec<_>>(), "{cores} cores, by {by}");
        assert_eq!(answer.run.completeness, Some(1.0));
        assert_eq!(answer.run.scan.bad_rows, 200);
        let (bad_rows, left_out) = tarsql::reports(&answer.plan)[0].bad_rows();
        let first = bad_rows[0].message.split(": ").last().map(str::to_owned);
        assert_eq!(first.as_deref(), Some("record 100007 has 3 fields instead of 2"));
        assert_eq!((bad_rows.len(), left_out), (100, 100));
        session.error(&format!("SELECT _row, n FROM {}", table("fail"))).await.says(&["record 100007 has 3 fields"]);
        // What nobody asks for fails nothing.
        let few = session.ok(&format!("SELECT n FROM {} LIMIT 6", table("fail"))).await;
        assert_eq!((few.rows(), few.incidents()), ((1..=6).map(|row| row.to_string()).collect(), Vec::new()));
    }
}
