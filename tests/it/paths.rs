//! No name in an archive becomes a name on disk: hostile archives go through every statement that writes, in a folder
//! where anything that appears would be seen. And no name reaches a terminal as a command.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tar::{EntryType, Header};
use tempfile::TempDir;

use crate::program::{Output, Tarsql};
use crate::testdata::testdata;

/// A folder to work in, and around it what must stay as it is.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a temporary folder"));
        for folder in ["a/work", "tmp", "home"] {
            fs::create_dir_all(place.0.path().join(folder)).expect("a folder");
        }
        fs::write(place.0.path().join("kept.txt"), "kept").expect("a file");
        fs::write(place.0.path().join("a/kept.txt"), "kept").expect("a file");
        place
    }

    fn work(&self) -> std::path::PathBuf {
        self.0.path().join("a/work")
    }

    /// Everything in and around the folder: paths, and the content of what was there before.
    fn contents(&self) -> BTreeSet<String> {
        let (mut found, mut folders) = (BTreeSet::new(), vec![self.0.path().to_path_buf()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a folder").flatten() {
                let path = entry.path();
                let shown = path.strip_prefix(self.0.path()).expect("below it").to_string_lossy().into_owned();
                if entry.file_type().expect("it is there").is_dir() {
                    found.insert(format!("{shown}/"));
                    folders.push(path);
                } else if path.ends_with("kept.txt") {
                    found.insert(format!("{shown}: {}", fs::read_to_string(&path).expect("a file")));
                } else {
                    found.insert(shown);
                }
            }
        }
        found
    }

    /// Runs a statement there, and everything that may have been left over in folders of its own.
    fn run(&self, sql: &str) -> Output {
        let folder = |name| (name, self.0.path().join(if name == "TMPDIR" { "tmp" } else { "home" }));
        Tarsql::sql(sql).dir(self.work()).env(["TMPDIR", "HOME", "XDG_STATE_HOME"].map(folder)).run()
    }
}

/// One member with just this name, whatever it is: the crate's own builder would refuse most.
fn member(archive: &mut Vec<u8>, name: &str, kind: EntryType, link: &str) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o666);
    let content: &[u8] = if kind == EntryType::Regular { b"x" } else { b"" };
    header.set_size(content.len() as u64);
    let fields = header.as_old_mut();
    for (field, text) in [(&mut fields.name, name), (&mut fields.linkname, link)] {
        field[..text.len()].copy_from_slice(text.as_bytes());
    }
    header.set_cksum();
    archive.extend_from_slice(header.as_bytes());
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

/// Names that lead out of a folder, or that a system takes for something else.
fn hostile(place: &Path) -> Vec<u8> {
    let mut archive = Vec::new();
    let absolute = format!("{}/absolute.txt", place.display());
    let up = format!("{}{}/up.txt", "../".repeat(12), place.display());
    for name in [
        "../out.txt",
        "../../out.txt",
        "a/../../b.txt",
        "..",
        ".",
        "./",
        "//x",
        &absolute,
        &up,
        "C:\\x",
        "\\\\host\\x",
        "CON",
        "nul.txt",
        "%2e%2e/x",
        "path=x/../../y",
        "~/x",
        "$HOME/x",
        "`touch x`",
        "-rf",
        "x\ny",
        "\u{1b}]0;x\u{7}",
        "caf\u{e9}",
        " ",
        "file:///tmp/x",
        "s3://b/x",
        "_SUCCESS",
        "*",
    ] {
        member(&mut archive, name, EntryType::Regular, "");
    }
    member(&mut archive, "link", EntryType::Symlink, "../..");
    member(&mut archive, "link/through.txt", EntryType::Regular, "");
    member(&mut archive, "hard", EntryType::Link, "/etc/passwd");
    member(&mut archive, "kept.txt", EntryType::Symlink, "../kept.txt");
    member(&mut archive, "null", EntryType::Char, "");
    member(&mut archive, "disk", EntryType::Block, "");
    member(&mut archive, "pipe", EntryType::Fifo, "");
    member(&mut archive, "../folder/", EntryType::Directory, "");
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// Everything below the target is one folder a value deep, its name one value.
#[track_caller]
fn is_partitioned(place: &Place, target: &str, column: &str) -> usize {
    let target = place.work().join(target);
    let mut folders = 0;
    for entry in fs::read_dir(&target).expect("the target").flatten() {
        let name = entry.file_name().into_string().expect("names are UTF-8");
        if entry.file_type().expect("it is there").is_file() {
            assert_eq!(name, "_SUCCESS");
            continue;
        }
        assert!(name.starts_with(&format!("{column}=")), "{name}");
        assert!(!name.contains(|c: char| c.is_control() || matches!(c, '/' | '\\')), "{name:?}");
        folders += 1;
        for file in fs::read_dir(entry.path()).expect("a folder").flatten() {
            let name = file.file_name().into_string().expect("names are UTF-8");
            assert!(file.file_type().expect("it is there").is_file(), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)), "{name}");
        }
    }
    folders
}

#[test]
fn no_name_in_an_archive_becomes_a_path() {
    let place = Place::new();
    fs::write(place.work().join("evil.tar"), hostile(place.0.path())).expect("a file");
    let archives = fs::read_dir(testdata("hostile")).expect("test data").flatten();
    for archive in archives.filter(|archive| archive.path().to_string_lossy().contains(".tar")) {
        fs::copy(archive.path(), place.work().join(archive.file_name())).expect("a copy");
    }
    let before = place.contents();
    let rows = |columns: &str| {
        format!(
            "(SELECT {columns} FROM read_tar(['evil.tar', 'traversal.tar', 'links.tar', 'names.tar', 'names-control.tar', 'pax-nul.tar']))"
        )
    };
    for (sql, target) in [
        (format!("SELECT * FROM {}", rows("*")), None),
        (format!("SELECT * FROM {} ORDER BY content, path", rows("*")), None),
        (format!("COPY {} TO 'out.parquet'", rows("*")), Some("out.parquet")),
        (format!("COPY {} TO 'out.csv'", rows("path, linkname")), Some("out.csv")),
        (format!("COPY {} TO 'all/' STORED AS PARQUET", rows("*")), Some("all/")),
    ] {
        let output = place.run(&sql);
        assert_eq!(output.status, Some(0), "{sql}: {}", output.stderr);
        left(&place, &before, target);
    }
    for format in ["PARQUET", "CSV", "JSON"] {
        for column in ["path", "linkname"] {
            let target = format!("{column}-{}/", format.to_ascii_lowercase());
            let columns = format!("{column}, size");
            let sql = format!("COPY {} TO '{target}' STORED AS {format} PARTITIONED BY ({column})", rows(&columns));
            let output = place.run(&sql);
            assert_eq!(output.status, Some(0), "{sql}: {}", output.stderr);
            assert!(is_partitioned(&place, &target, column) > 3, "{sql}");
            left(&place, &before, Some(&target));
        }
    }
    // All the others: most are damaged, and nothing may be left of those either.
    let output = place.run("COPY (SELECT path, size FROM read_tar('*.tar*', on_error = 'skip')) TO 'rest/' STORED AS PARQUET PARTITIONED BY (path)");
    assert_eq!(output.stdout, "", "{}", output.stderr);
    left(&place, &before, Some("rest/"));
}

/// Asserts that nothing but the target has appeared, and removes it.
#[track_caller]
fn left(place: &Place, before: &BTreeSet<String>, target: Option<&str>) {
    if let Some(target) = target {
        let path = place.work().join(target);
        match target.ends_with('/') {
            true => fs::remove_dir_all(path).unwrap_or_default(),
            false => fs::remove_file(path).expect("the target"),
        }
    }
    let now = place.contents();
    let changed: Vec<_> = now.symmetric_difference(before).collect();
    assert!(changed.is_empty(), "{changed:?}");
}

/// What a terminal would obey, or be misled by, as a name, a link and a value.
const COMMAND: &str = "x\u{1b}]0;owned\u{7}\u{1b}[2J\r\u{8}\u{9b}31m\u{202e}y";

#[test]
fn messages_hold_nothing_that_a_terminal_obeys() {
    let place = Place::new();
    let mut archive = Vec::new();
    member(&mut archive, &format!("{COMMAND}.csv"), EntryType::Regular, "");
    member(&mut archive, &format!("{COMMAND}.txt"), EntryType::Symlink, COMMAND);
    let cut = archive.len() - 512;
    fs::write(place.work().join("cut.tar"), &archive[..cut + 300]).expect("a file");
    archive.resize(archive.len() + 1024, 0);
    fs::write(place.work().join("whole.tar"), &archive).expect("a file");
    let quoted = COMMAND.replace('\'', "''");
    for (sql, status, says) in [
        ("SELECT path FROM 'cut.tar'", 1, "cut.tar"),
        ("SELECT path FROM read_tar('cut.tar', on_error = 'skip')", 3, "cut.tar"),
        ("SELECT * FROM read_tar('whole.tar', format = 'csv', columns = 'a BIGINT', has_header = false)", 1, "csv"),
        (
            "SELECT * FROM read_tar('whole.tar', format = 'csv', columns = 'a BIGINT', has_header = false, on_bad_row = 'skip')",
            0,
            "1 row did not fit",
        ),
        ("SELECT * FROM read_tar('whole.tar', format = 'json', columns = 'a BIGINT')", 1, "csv"),
        ("SELECT * FROM read_tar('whole.tar', format = 'avro', on_error = 'skip', columns = 'a BIGINT')", 3, "csv"),
        ("SELECT CAST(path AS INT) FROM 'whole.tar'", 1, "csv"),
        (&format!("SELECT \"{quoted}\" FROM 'whole.tar'"), 1, "owned"),
        (&format!("SELECT * FROM '{quoted}.tar'"), 1, "owned"),
        (&format!("SELECT * FROM read_tar('whole.tar', format = '{quoted}')"), 1, "owned"),
        (&format!("COPY (SELECT 1) TO '{quoted}/x.parquet' STORED AS {}", "NOTHING"), 1, "NOTHING"),
    ] {
        let output = place.run(sql);
        assert_eq!(output.status, Some(status), "{sql}: {}", output.stderr);
        let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!output.stderr.contains(obeyed), "{sql}: {:?}", output.stderr);
        assert!(output.stderr.contains(says), "{sql}: {:?}", output.stderr);
        // A table is for eyes, whatever it is printed to; csv in a pipe is for programs, and verbatim.
        let table = Tarsql::new().args(["--format", "table", "-c", sql]).dir(place.work()).run();
        assert!(!table.stdout.contains(obeyed), "{sql}: {:?}", table.stdout);
    }
    let verbatim = place.run("SELECT path FROM 'whole.tar'");
    assert!(verbatim.stdout.contains(COMMAND), "{:?}", verbatim.stdout);
}
