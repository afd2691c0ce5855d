//! The program as a shell sees it: arguments, stdin, stdout, stderr, exit status, signals.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::{Output, Tarsql};
use crate::python::run_script;
use crate::testdata::{json, testdata};

/// What has to come at once comes by then, on a busy machine too.
const SOON: Duration = Duration::from_secs(10);

/// A statement that takes minutes, and prints nothing before its end.
const LONG: &str =
    "SELECT count(DISTINCT sha256(content)) FROM read_tar('testdata/compressed/bzip2.tar.bz2', repeat = 100000)";

fn run(args: &[&str]) -> Output {
    Tarsql::new().args(args).run()
}

#[track_caller]
fn check(args: &[&str], status: i32, stdout: &str, stderr: &[&str]) {
    let output = run(args);
    assert_eq!((output.status, output.stdout.as_str()), (Some(status), stdout), "{args:?}: {}", output.stderr);
    assert_eq!(output.stderr.is_empty(), stderr.is_empty(), "{args:?}: {}", output.stderr);
    for part in stderr {
        assert!(output.stderr.contains(part), "{args:?}: no '{part}': {}", output.stderr);
    }
}

#[test]
fn statements_come_from_arguments_files_and_stdin() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("two.sql");
    fs::write(&file, "-- ${NOT_LOOKED_AT}\nSELECT ${X} AS b;\n\nSELECT '${X};' AS c;\n").expect("a file");
    let file = file.display().to_string();
    check(&["-c", "SELECT 1 AS a; SELECT 2 AS a", "-c", "SELECT 3 AS a"], 0, "a\n1\na\n2\na\n3\n", &[]);
    check(
        &["-c", "SELECT 1 AS a", "-f", &file, "--set", "X=7", "-c", "SELECT 9 AS d"],
        0,
        "a\n1\nb\n7\nc\n7;\nd\n9\n",
        &[],
    );
    check(&["-f", &file, "--set", "X=7", "-f", &file], 0, "b\n7\nc\n7;\nb\n7\nc\n7;\n", &[]);
    // A session is one for all of them.
    check(&["-c", "CREATE VIEW v AS SELECT 5 AS e", "-c", "SELECT e FROM v"], 0, "e\n5\n", &[]);
    for args in [&[][..], &["-f", "-"]] {
        let output = Tarsql::new().args(args).stdin("SELECT 1\n AS a;\nSELECT 'x' AS b").run();
        assert_eq!((output.status, output.stdout.as_str()), (Some(0), "a\n1\nb\nx\n"), "{args:?}: {}", output.stderr);
    }
    // What is piped in may hold commands, as if it were typed.
    let typed = "\\d missing\nSELECT 1 AS a;\n\\q\nSELECT nope;";
    assert_eq!(Tarsql::new().stdin(&typed["\\d missing\n".len()..]).ok(), "a\n1\n");
    let output = Tarsql::new().stdin(typed).run();
    assert_eq!((output.status, output.stdout.as_str()), (Some(1), ""), "{}", output.stderr);
    assert!(output.stderr.contains("missing"), "{}", output.stderr);
    let output = Tarsql::new().stdin("SELECT 1 AS a;\n\nSELECT nope;\nSELECT 2 AS a;").run();
    assert_eq!((output.status, output.stdout.as_str()), (Some(1), "a\n1\n"));
    assert!(output.stderr.starts_with("tarsql: stdin:3: "), "{}", output.stderr);
    let elsewhere = Tarsql::sql("SELECT count(*) AS n FROM read_tar('python/many.tar')").dir(testdata(""));
    assert_eq!(elsewhere.ok(), "n\n120\n");
    check(&["-p", "testdata", "-c", "SELECT count(*) AS n FROM read_tar('python/many.tar')"], 0, "n\n120\n", &[]);
}

#[test]
fn wrong_usage_ends_with_2_and_prints_nothing() {
    for (args, says) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["-c"], "-c"),
        (&["stray"], "stray"),
        (&["--format", "yaml", "-c", "SELECT 1"], "yaml"),
        (&["-m", "2x", "-c", "SELECT 1"], "512m or 2g"),
        (&["-m", "-5", "-c", "SELECT 1"], "-5"),
        (&["-m", "0", "-c", "SELECT 1"], "above zero"),
        (&["-m", "99999999999999g", "-c", "SELECT 1"], "512m or 2g"),
        (&["-b", "0", "-c", "SELECT 1"], "0"),
        (&["--threads", "0", "-c", "SELECT 1"], "0"),
        (&["--maxrows", "some", "-c", "SELECT 1"], "inf"),
        (&["--set", "X", "-c", "SELECT 1"], "NAME=VALUE"),
        (&["--set", "1X=2", "-c", "SELECT 1"], "1X"),
        (&["-f", "nowhere.sql"], "nowhere.sql"),
        (&["-f", "testdata"], "testdata"),
        (&["-p", "nowhere", "-c", "SELECT 1"], "nowhere"),
        // Nothing runs before everything is known to be able to.
        (&["-c", "SELECT 1", "-f", "nowhere.sql"], "nowhere.sql"),
        (&["-c", "SELECT 1", "-c", "SELECT ${X}"], "${X} is not set: give --set X=VALUE"),
    ] {
        check(args, 2, "", &[says]);
    }
    let help = run(&["--help"]);
    assert_eq!((help.status, help.stderr.as_str()), (Some(0), ""));
    for flag in ["--command", "--file", "--format", "--set", "--metrics", "Exit status"] {
        assert!(help.stdout.contains(flag), "{flag}: {}", help.stdout);
    }
    check(&["--version"], 0, &format!("tarsql {}\n", env!("CARGO_PKG_VERSION")), &[]);
}

/// What python/pax.tar has, as `expected.json` says: a member with a nested column, and one without.
const NESTED: &str = "SELECT path, pax, linkname, size, content FROM read_tar('testdata/python/pax.tar') \
                      WHERE path IN ('tagged.txt', 'fraction.txt') ORDER BY path";

/// What is in the quoted field that the text begins with; a quote in it is there twice.
fn unquoted(text: &str) -> String {
    let parts = text.strip_prefix('"').expect("a quote").split('"');
    // An odd part is what stands between two quotes that follow each other: nothing.
    let mut field = String::new();
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        field.push_str(part);
        match parts.next_if(|next| next.is_empty()) {
            Some(_) => field.push('"'),
            None => return field,
        }
    }
    field
}

#[test]
fn every_format_shows_nested_values_bytes_and_null() {
    let expected = json("expected.json");
    let members = expected["archives"]["python/pax.tar"]["members"].as_array().expect("a list");
    let tagged = members.iter().find(|member| member["path"] == "tagged.txt").expect("it is there");
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let fraction = hex("sub-second mtime\n");

    for format in ["nd-json", "ndjson", "json"] {
        let output = run(&["--format", format, "-c", NESTED]);
        let rows: Vec<Value> = match format {
            "json" => serde_json::from_str(&output.stdout).expect("an array"),
            _ => output.stdout.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect(),
        };
        assert_eq!(rows.len(), 2, "{format}");
        assert_eq!(
            rows[0],
            json!({"path": "fraction.txt", "pax": null, "linkname": null, "size": 17, "content": fraction})
        );
        assert_eq!((&rows[1]["pax"], &rows[1]["size"]), (&tagged["pax"], &tagged["size"]), "{format}");
        assert_eq!(rows[1]["content"].as_str().map(str::len), Some(22), "{format}");
    }
    for (format, delimiter) in [("csv", b','), ("tsv", b'\t'), ("automatic", b',')] {
        let output = run(&["--format", format, "-c", NESTED]);
        let separator = char::from(delimiter);
        let header = ["path", "pax", "linkname", "size", "content"].join(&separator.to_string());
        let first = format!("fraction.txt{separator}{separator}{separator}17{separator}{fraction}");
        let mut lines = output.stdout.lines();
        assert_eq!((lines.next(), lines.next()), (Some(header.as_str()), Some(first.as_str())), "{format}");
        // The nested value is JSON in one quoted field.
        let rest = lines.collect::<Vec<_>>().join("\n");
        let field = rest.strip_prefix(&format!("tagged.txt{separator}")).unwrap_or_else(|| panic!("{format}: {rest}"));
        assert_eq!(serde_json::from_str::<Value>(&unquoted(field)).expect("JSON"), tagged["pax"], "{format}");
    }
    let table = run(&["--format", "table", "-c", NESTED]).stdout;
    let widths: Vec<_> = table.lines().map(|line| line.chars().count()).collect();
    assert!(widths.len() >= 6 && widths.iter().all(|width| *width == widths[0]), "{table}");
    assert!(table.contains("| fraction.txt |") && table.contains("… (17 bytes)"), "{table}");
}

#[test]
fn a_result_without_rows_still_has_its_columns() {
    let none = "SELECT path, size FROM read_tar('testdata/python/many.tar') WHERE size < 0";
    for (format, expected) in [
        ("csv", "path,size\n"),
        ("tsv", "path\tsize\n"),
        ("json", "[]\n"),
        ("nd-json", ""),
        ("table", "+------+------+\n| path | size |\n+------+------+\n+------+------+\n"),
    ] {
        check(&["--format", format, "-c", none], 0, expected, &[]);
    }
}

#[test]
fn tables_say_what_they_do_not_show() {
    let many = "SELECT path FROM read_tar('testdata/python/many.tar')";
    for (maxrows, lines) in [("0", 4), ("7", 11), ("120", 124), ("inf", 124)] {
        let output = run(&["--format", "table", "--maxrows", maxrows, "-c", many]);
        assert_eq!((output.status, output.stdout.lines().count()), (Some(0), lines), "{maxrows}");
        let says = format!("{maxrows} of 120 rows shown");
        assert_eq!(output.stderr.contains(&says), lines < 124, "{maxrows}: {}", output.stderr);
    }
    assert_eq!(run(&["--format", "csv", "--maxrows", "7", "-c", many]).stdout.lines().count(), 121);
    for more in [&["--threads", "1"][..], &["-b", "3"], &["--threads", "3", "-b", "50", "-m", "512m"]] {
        assert_eq!(run(&[&["-c", many][..], more].concat()).stdout, run(&["-c", many]).stdout, "{more:?}");
    }
}

#[test]
fn results_go_to_stdout_and_everything_else_to_stderr() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let copy = format!("COPY (SELECT 1 AS a) TO '{}'", dir.path().join("a.parquet").display());
    check(&["-c", &copy], 0, "", &["COPY 1 row"]);
    check(&["-q", "-c", &copy], 0, "", &[]);
    check(&["-c", "SET tarsql.on_error = 'skip'", "-c", "SELECT 1 AS a"], 0, "a\n1\n", &[]);
    // What was odd is said, -q or not, and the status stays.
    for quiet in [&[][..], &["-q"]] {
        let read = ["-c", "SELECT path FROM read_tar('testdata/hand/no-end.tar')"];
        check(&[&read, quiet].concat(), 0, "path\na.txt\nb.txt\n", &["hand/no-end.tar", "no end marker"]);
    }
    // What was left out makes it 3, though a later statement is whole.
    let skip = "SELECT path FROM read_tar('testdata/damaged/cut-in-body.tar', on_error = 'skip')";
    let says = ["damaged/cut-in-body.tar: member 'b.txt' at offset 1024", "1 archive or member was left out"];
    check(&["-q", "-c", skip, "-c", "SELECT 1 AS a"], 3, "path\na.txt\nb.txt\na\n1\n", &says);
    let missing = "SELECT path FROM read_tar('testdata/{damaged/cut-in-header,python/dot-slash}.tar', on_error = 'skip') WHERE path = 'nothing'";
    check(&["-c", missing], 3, "path\n", &["1 archive or member was left out"]);
    let bad_rows = "SELECT count(*) AS n FROM read_tar('testdata/opensky/**/*-00.csv.tar :: *.gz', format = 'csv', columns = 'time BIGINT, velocity DOUBLE', on_bad_row = 'skip')";
    check(&["-c", bad_rows], 0, &format!("n\n{}\n", 1_200 - 6 - 8), &["14 rows did not fit"]);
}

#[test]
fn a_member_pattern_that_names_nothing_is_said() {
    let many = "testdata/python/many.tar";
    let says = |locator: &str, read: &str| format!("no member matches '{locator}' ({read} read): check the pattern");
    let none = |locator: &str, options: &str| format!("SELECT path FROM read_tar('{locator}'{options})");
    for (sql, expected) in [
        (none(&format!("{many} :: *.TXT"), ""), Some(says(&format!("{many} :: *.TXT"), "1 archive was"))),
        (
            none("testdata/python/{many,dot-slash}.tar :: x/*", ", format = 'lines', repeat = 2"),
            Some(says("testdata/python/{many,dot-slash}.tar :: x/*", "4 archives were")),
        ),
        // What a filter leaves out was named, and what was not read to its end may have more.
        (none(&format!("{many} :: *"), "") + " WHERE path = 'x'", None),
        (none(&format!("{many} :: *.TXT"), "") + " LIMIT 0", None),
        (none("testdata/damaged/cut-in-body.tar :: c.*", ", on_error = 'skip'"), None),
        (none(many, "") + " WHERE path = 'x'", None),
    ] {
        for quiet in [&[][..], &["-q"]] {
            let output = run(&[&["-c", &sql], quiet].concat());
            assert_eq!(output.stdout, "path\n", "{sql}: {}", output.stderr);
            let expected = expected.as_deref().filter(|_| quiet.is_empty());
            let said = output.stderr.lines().filter(|line| line.contains("no member")).count();
            assert_eq!(said, usize::from(expected.is_some()), "{sql}: {}", output.stderr);
            assert!(expected.is_none_or(|expected| output.stderr.starts_with(expected)), "{sql}: {}", output.stderr);
        }
    }
}

#[test]
fn a_failure_is_one_line_that_names_the_thing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let name = |name: &str| dir.path().join(name).display().to_string();
    std::os::unix::fs::symlink("/nowhere", dir.path().join("dangling.tar")).expect("a link");
    fs::create_dir(dir.path().join("folder.tar")).expect("a folder");
    File::create(dir.path().join("empty.tar")).expect("a file");
    let forbidden = dir.path().join("forbidden.tar");
    fs::copy(testdata("python/many.tar"), &forbidden).expect("a copy");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    fs::set_permissions(&forbidden, mode).expect("it is ours");
    let mut cases = vec![
        (name("dangling.tar"), "link to a file that does not exist"),
        (name("folder.tar"), "is a directory"),
        (name("empty.tar"), "empty"),
        (name("missing.tar"), "no file"),
        (format!("{}/", dir.path().display()), "is a directory"),
        (name("none-*.tar"), "no file matches"),
        ("testdata/README.md".into(), "not a tar archive"),
        ("testdata/damaged/error-page.tar".into(), "not a tar archive"),
        ("testdata/damaged/cut-in-header.tar".into(), "at offset 1024"),
    ];
    // The superuser may read everything.
    if File::open(&forbidden).is_err() {
        cases.push((name("forbidden.tar"), "permission denied"));
    }
    for (archive, says) in &cases {
        let stderr = Tarsql::sql(&format!("SELECT content FROM read_tar('{archive}')")).fails();
        assert!(stderr.starts_with("tarsql: ") && stderr.contains(says), "{archive}: {stderr}");
        assert!(stderr.contains(archive.as_str()), "{archive}: {stderr}");
    }
    for (sql, says) in [
        ("SELEC 1", "Line: 1, Column: 1"),
        ("SELECT nope", "nope"),
        (
            "SELECT path FROM read_tar('testdata/python/many.tar', fromat = 'csv')",
            "unknown option 'fromat': did you mean 'format'?",
        ),
        ("SELECT path FROM read_tar('testdata/python/many.tar', format = 'xlsx')", "'xlsx'"),
        (
            "SELECT path FROM read_tar('testdata/python/many.tar', format = 'parquet')",
            "format 'parquet' can't be read yet",
        ),
        ("SELECT path FROM read_tar('ftp://host/a.tar')", "ftp"),
        ("SELECT CAST(path AS BIGINT) FROM read_tar('testdata/python/many.tar')", "n/0000.txt"),
        ("SELECT path + 1 FROM read_tar('testdata/python/many.tar')", "Utf8View + Int64"),
    ] {
        let stderr = Tarsql::sql(sql).fails();
        assert!(stderr.contains(says), "{sql}: {stderr}");
    }
    let file = dir.path().join("bad.sql");
    fs::write(&file, "SELECT 1 AS a;\n\nSELECT nope;\nSELECT 2 AS a;\n").expect("a file");
    let output = run(&["-f", &file.display().to_string()]);
    assert_eq!((output.status, output.stdout.as_str()), (Some(1), "a\n1\n"), "nothing runs behind a failure");
    assert!(output.stderr.contains("bad.sql:3: "), "{}", output.stderr);
}

fn finish(mut child: Child, since: Instant) -> (Option<i32>, String) {
    let status = child.wait().expect("it can be waited for");
    assert!(since.elapsed() < SOON, "it took {:?}", since.elapsed());
    let mut stderr = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("text");
    (status.code(), stderr)
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    for format in ["csv", "nd-json", "json"] {
        let mut tarsql = Tarsql::sql("SELECT path FROM read_tar('testdata/python/many.tar', repeat = 20000)")
            .args(["--format", format]);
        let mut child = tarsql.spawn();
        let mut first = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        stdout.read_line(&mut first).expect("text");
        assert!(first.contains("path"), "{first}");
        drop(stdout);
        assert_eq!(finish(child, Instant::now()), (Some(0), String::new()), "{format}");
    }
}

/// Whoever looks at the first lines only must not be what makes a COPY behind them not happen.
#[test]
fn behind_a_closed_pipe_the_rest_runs() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (target, metrics) = (dir.path().join("out.csv"), dir.path().join("metrics.jsonl"));
    let many = "SELECT path FROM read_tar('testdata/python/many.tar', repeat = 20000)";
    let copy = format!("COPY (SELECT path FROM 'testdata/python/many.tar') TO '{}'", target.display());
    for (last, status, message) in [("SET tarsql.on_error = 'skip'", 0, None), ("SELECT nothing", 1, Some("nothing"))] {
        let statements = format!("{many};\n\\h\n{many};\n{copy};\n{last};\n");
        for is_piped in [true, false] {
            let tarsql = if is_piped { Tarsql::new() } else { Tarsql::sql(&statements.replace("\\h\n", "")) };
            let mut child = tarsql.args(["--metrics".as_ref(), metrics.as_os_str()]).spawn();
            let mut stdin = child.stdin.take().expect("a pipe");
            stdin.write_all(if is_piped { statements.as_bytes() } else { b"" }).expect("it reads");
            drop(stdin);
            let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
            stdout.read_line(&mut String::new()).expect("text");
            drop(stdout);
            let (ended, stderr) = finish(child, Instant::now());
            assert_eq!(ended, Some(status), "{stderr}");
            let lines: Vec<&str> = stderr.lines().collect();
            assert!(
                lines[0].starts_with("COPY 120 rows.") && lines.len() == 1 + usize::from(message.is_some()),
                "{stderr}"
            );
            assert!(message.is_none_or(|message| stderr.contains(message)), "{stderr}");
            assert_eq!(fs::read_to_string(&target).expect("a file").lines().count(), 121);
            fs::remove_file(&target).expect("it is there");
            // Of those that return rows only the first one ran.
            let records = fs::read_to_string(&metrics).expect("lines");
            let runs = records.lines().filter(|line| line.contains("\"Duration\"")).count();
            assert_eq!(runs, 2 + usize::from(message.is_some()), "{records}");
            fs::remove_file(&metrics).expect("it is there");
        }
    }
}

#[test]
fn ctrl_c_ends_it_with_130() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let target = dir.path().join("out.parquet");
    let copy = format!("COPY ({LONG}) TO '{}'", target.display());
    // Nobody answers there: the statement is still planned, since its columns are not known.
    let unanswered = "SELECT * FROM read_tar('http://127.0.0.1:1/x.tar', format = 'csv')";
    for (sql, signal, status, says) in [
        (LONG, "INT", 130, "interrupted"),
        (copy.as_str(), "INT", 130, "interrupted"),
        (unanswered, "INT", 130, "interrupted"),
        (LONG, "TERM", 143, "terminated"),
    ] {
        let metrics = dir.path().join(format!("{status}.json"));
        let mut tarsql =
            Tarsql::sql("SELECT 1 AS ready").args(["-c", sql, "--metrics", &metrics.display().to_string()]);
        let mut child = tarsql.spawn();
        let mut ready = [0; 8];
        child.stdout.as_mut().expect("a pipe").read_exact(&mut ready).expect("the first statement's result");
        // It has begun when the first statement has ended; a moment later it is at work.
        std::thread::sleep(Duration::from_millis(500));
        let kill = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        assert!(kill.expect("kill can be run").success());
        let (ended, stderr) = finish(child, Instant::now());
        // What comes before is that it waits for a server.
        let last = stderr.lines().last().unwrap_or_default();
        assert_eq!((ended, last), (Some(status), format!("tarsql: {says}").as_str()), "{sql}: {stderr}");
        assert!(fs::read_to_string(&metrics).expect("a run").contains(says), "a cancelled run is a failed one");
    }
    let left: Vec<_> =
        fs::read_dir(dir.path()).expect("it is there").flatten().map(|entry| entry.file_name()).collect();
    assert!(
        left.iter().all(|name| Path::new(name).extension().is_some_and(|extension| extension == "json")),
        "{left:?}"
    );
}

/// A tar of one member that begins with five lines, behind which a gigabyte without a line end follows.
fn huge(file: &Path) {
    let lines = b"one\ntwo\nthree\nfour\nfive\n";
    let mut header = tar::Header::new_ustar();
    header.set_path("huge.txt").expect("a short path");
    header.set_size(1 << 30);
    header.set_mode(0o644);
    header.set_cksum();
    let mut file = File::create(file).expect("a file");
    file.write_all(header.as_bytes()).and_then(|()| file.write_all(lines)).expect("room on the disk");
    // A hole: it takes no room.
    file.set_len(512 + (1 << 30) + 1024).expect("a file system with holes");
}

#[test]
fn a_limit_over_a_huge_archive_answers_at_once() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    huge(&dir.path().join("huge.tar"));
    let started = Instant::now();
    let sql =
        format!("SELECT line FROM read_tar('{}', format = 'lines') LIMIT 5", dir.path().join("huge.tar").display());
    let (stdout, metrics) = Tarsql::sql(&sql).measured_ok();
    assert_eq!(stdout, "line\none\ntwo\nthree\nfour\nfive\n");
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    assert!(metrics.count("PeakMemory") < 400 << 20 && metrics.count("BytesFetched") < 200 << 20);
}

#[test]
fn the_prompt() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let state = home.path().display().to_string();
    let env = [("HOME", state.as_str()), ("XDG_STATE_HOME", &state), ("TERM", "xterm")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    // What has to come, and the prompt again. Nothing of it is in what is typed, which the terminal shows.
    let line = |typed: &str, comes: &str| json!([format!("{typed}\r"), format!("{comes}(?s:.*)tarsql> ")]);
    let steps = json!([
        line("SELECT 40 + 2 AS answer;", "\\| 42 +\\|"),
        // A statement ends with its semicolon, not with its line.
        ["SELECT 40 +\r", "\n"],
        line("3 AS answer;", "\\| 43 +\\|"),
        line("SELECT nothing;", "tarsql: .*nothing"),
        line("CREATE EXTERNAL TABLE t STORED AS TAR LOCATION 'testdata/python/many.tar';", "Done"),
        line("\\d", "\\| t +\\|"),
        line("\\d t", "\\| data_offset +\\|"),
        line("\\?", "\\\\pset maxrows N"),
        line("\\nope", "unknown command"),
        line("\\pset format csv", "csv\n"),
        line("SELECT count(*) + 1 AS n FROM t;", "n\\s+121"),
        // Ctrl-C ends the statement and comes back to the prompt.
        [format!("{LONG};\r"), "\n"],
        ["\u{3}", "interrupted(?s:.*)tarsql> "],
        line("SELECT 44 + 1 AS answer;", "45"),
        line("SELECT count(*) + 2 FROM read_tar('testdata/python/many.tar', aws.secret_access_key = 'hush');", "122"),
        ["\\q\r", null],
    ]);
    let args = [steps.to_string(), env!("CARGO_BIN_EXE_tarsql").to_owned(), "--no-progress".to_owned()];
    assert_eq!(run_script("prompt.py", args, &env).trim(), "0");
    let history = fs::read_to_string(home.path().join("tarsql/history")).expect("a history");
    assert!(history.contains("SELECT 40 + 2") && !history.contains("hush"), "{history}");
}
