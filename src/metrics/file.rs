//! Appending to the metrics file, so that no reader ever sees half of it and no second writer loses a record.
//!
//! An array can't be appended to in place: the old records, the new ones and the closing bracket are written to a new
//! file beside it, which then takes its name. Writers take turns by a lock on the directory, because the file itself is
//! another one after each of them. Lines are appended in place, by one write under a lock on the file.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::record::{Record, to_lines};
use crate::error::{Error, ErrorKind, Result};

/// How long another writer may keep its turn. Appending takes milliseconds: who holds the lock for longer is stuck.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(60);
const LOCK_POLL: Duration = Duration::from_millis(5);

/// As many links as Linux follows.
const SYMLINKS_MAX: usize = 40;

/// How much of the end of a file is looked at together, for its last byte that is no white space.
const TAIL_LEN: usize = 4096;

/// Appends the records to the file, which is made if it is not there: a JSON array of records, or, if its name ends in
/// `.jsonl` or `.ndjson`, one record a line.
///
/// It either does that wholly or leaves the file as it was. Several threads and processes may append to one file, and
/// readers need no lock. It blocks, for as long as it takes to copy the file: not for an async task.
///
/// # Errors
/// [`ErrorKind::Option`] if the file is no such array (or, in lines, its last one is no JSON object), if it can't be read or
/// written, or if another writer keeps it locked.
pub fn append(path: &Path, records: &[Record]) -> Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    let append = if is_in_lines(path) { append_lines } else { append_to_array };
    follow_symlinks(path).and_then(|target| append(&target, records)).map_err(|fault| fault.into_error(path))
}

/// Looks whether [`append`] could add to the file, so that it is known before hours of work: it need not be there yet.
/// Nothing is written.
///
/// # Errors
/// Those of [`append`], as far as they can be foreseen.
pub fn check(path: &Path) -> Result<()> {
    let look = |target: PathBuf| {
        let mut file = match File::open(target) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if is_in_lines(path) {
            // A line may be half written.
            lock(&file)?;
        }
        match file.metadata()?.len() {
            0 => Ok(()),
            length if is_in_lines(path) => ends_in_object(&mut file, length).map(drop),
            _ => check_array(&mut file).map(drop),
        }
    };
    follow_symlinks(path).and_then(look).map_err(|fault| fault.into_error(path))
}

fn is_in_lines(path: &Path) -> bool {
    let is = |extension: &OsStr| ["jsonl", "ndjson"].iter().any(|lines| extension.eq_ignore_ascii_case(lines));
    path.extension().is_some_and(is)
}

/// What can go wrong, before it is known of which path the user spoke.
enum Fault {
    Io(io::Error),
    NotRecords { what: &'static str, source: Option<serde_json::Error> },
    Locked,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Fault {
    fn into_error(self, path: &Path) -> Error {
        let path = path.display();
        let error = |message| Error::new(ErrorKind::Option, message);
        match self {
            Self::Io(source) => error(format!("can't write metrics file '{path}'")).caused_by(source),
            Self::NotRecords { what, source } => {
                let message =
                    format!("metrics file '{path}' is not {what} and was left as it is: move it away or name another");
                match source {
                    Some(source) => error(message).caused_by(source),
                    None => error(message),
                }
            }
            Self::Locked => {
                let secs = LOCK_WAIT_MAX.as_secs();
                error(format!("metrics file '{path}' is locked by another process for more than {secs} seconds"))
            }
        }
    }
}

/// The file that is meant, which need not be there yet; a link to it stays a link.
fn follow_symlinks(path: &Path) -> Result<PathBuf, Fault> {
    let mut path = path.to_path_buf();
    for _ in 0..SYMLINKS_MAX {
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_symlink() => {
                let target = fs::read_link(&path)?;
                path = directory_of(&path).join(target);
            }
            // Not a device: a rename would put a file in its place.
            Ok(metadata) if !metadata.is_file() => {
                return Err(Fault::NotRecords { what: "a regular file", source: None });
            }
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::other("too many symbolic links").into())
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// `.name.suffix` beside the file.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(suffix);
    directory_of(path).join(name)
}

fn append_to_array(path: &Path, records: &[Record]) -> Result<(), Fault> {
    let turn = take_turn(path)?;
    let mut old = match File::open(path) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let (old_len, separator) = match &mut old {
        Some(file) if file.metadata()?.len() > 0 => check_array(file)?,
        _ => (0, "[\n"),
    };
    let temporary = Temporary::create(beside(path, ".tmp"))?;
    let mut file = &temporary.file;
    if let Some(old) = &mut old {
        file.set_permissions(old.metadata()?.permissions())?;
        old.rewind()?;
        // The kernel copies, where it can.
        let copied = io::copy(&mut old.take(old_len), &mut file)?;
        if copied != old_len {
            return Err(io::Error::other("it was cut while it was read").into());
        }
    }
    let new = [separator.as_bytes(), &to_lines(records, ",\n"), b"\n]\n"].concat();
    file.write_all(&new)?;
    file.sync_all()?;
    temporary.rename_to(path)?;
    // For a crash right after: where directories can't be synced, the rename is only as durable as the system makes it.
    let _ = turn.sync_all();
    Ok(())
}

/// Waits for this writer's turn, which ends when the returned file is closed.
fn take_turn(path: &Path) -> Result<File, Fault> {
    let directory = directory_of(path);
    match File::open(directory).map(|directory| lock(&directory).map(|()| directory)) {
        Ok(Ok(locked)) => Ok(locked),
        Ok(Err(Fault::Locked)) => Err(Fault::Locked),
        // Windows opens no directories and some network file systems lock none: there a file is left behind, for all
        // writers meet the same refusal.
        _ => {
            let file = File::options().create(true).write(true).truncate(false).open(beside(path, ".lock"))?;
            lock(&file)?;
            Ok(file)
        }
    }
}

fn lock(file: &File) -> Result<(), Fault> {
    let deadline = Instant::now() + LOCK_WAIT_MAX;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(LOCK_POLL),
            Err(TryLockError::WouldBlock) => return Err(Fault::Locked),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
}

/// A file that is removed again, unless it is renamed.
struct Temporary {
    file: File,
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    /// The name is always the same, so that a writer that crashed leaves one such file at most; this one has the lock.
    fn create(path: PathBuf) -> io::Result<Self> {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = File::create_new(&path)?;
        Ok(Self { file, path, renamed: false })
    }

    fn rename_to(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // The error that brought us here is the one to report.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Checks that the file is an array of objects. Returns how many of its bytes to keep (all before the closing bracket),
/// and what to put between them and the next record.
fn check_array(file: &mut File) -> Result<(u64, &'static str), Fault> {
    let no_array = |source| Fault::NotRecords { what: "a JSON array of objects", source };
    let mut deserializer = serde_json::Deserializer::from_reader(BufReader::new(&*file));
    let read = ObjectArray::deserialize(&mut deserializer).and_then(|array| deserializer.end().map(|()| array));
    let array = read.map_err(|error| if error.is_io() { Fault::Io(error.into()) } else { no_array(Some(error)) })?;
    let (bracket_at, last) = last_byte_before(file, u64::MAX)?.ok_or_else(|| no_array(None))?;
    let (content_at, _) = last_byte_before(file, bracket_at)?.ok_or_else(|| no_array(None))?;
    debug_assert_eq!(last, b']', "what has been read is an array");
    Ok((content_at + 1, if array.is_empty { "\n" } else { ",\n" }))
}

/// Finds the last byte before `end` that is no white space.
fn last_byte_before(file: &mut File, end: u64) -> io::Result<Option<(u64, u8)>> {
    let mut end = end.min(file.metadata()?.len());
    let mut tail = [0; TAIL_LEN];
    while end > 0 {
        let from = end.saturating_sub(TAIL_LEN as u64);
        let length = usize::try_from(end - from).expect("no more than TAIL_LEN");
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(&mut tail[..length])?;
        if let Some(at) = tail[..length].iter().rposition(|byte| !byte.is_ascii_whitespace()) {
            return Ok(Some((from + at as u64, tail[at])));
        }
        end = from;
    }
    Ok(None)
}

/// An array of objects, of which nothing is kept.
struct ObjectArray {
    is_empty: bool,
}

impl<'de> Deserialize<'de> for ObjectArray {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;

        impl<'de> Visitor<'de> for Elements {
            type Value = ObjectArray;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of objects")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<ObjectArray, A::Error> {
                let mut is_empty = true;
                while elements.next_element::<Object>()?.is_some() {
                    is_empty = false;
                }
                Ok(ObjectArray { is_empty })
            }
        }

        deserializer.deserialize_seq(Elements)
    }
}

/// An object, of which nothing is kept.
struct Object;

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Object, A::Error> {
                while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Object)
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

fn append_lines(path: &Path, records: &[Record]) -> Result<(), Fault> {
    let mut file = File::options().read(true).append(true).create(true).open(path)?;
    lock(&file)?;
    let old_len = file.metadata()?.len();
    let mut lines = to_lines(records, "\n");
    lines.push(b'\n');
    if !ends_in_object(&mut file, old_len)? {
        lines.insert(0, b'\n');
    }
    if let Err(error) = file.write_all(&lines).and_then(|()| file.sync_data()) {
        // Half a line (of a full disk) would spoil the next one too.
        let _ = file.set_len(old_len);
        return Err(error.into());
    }
    Ok(())
}

/// Whether the next line can follow at once: none is there, or the last one has its newline. Any other file than one of
/// JSON objects is refused; its last line stands for all.
fn ends_in_object(file: &mut File, length: u64) -> Result<bool, Fault> {
    if length == 0 {
        return Ok(true);
    }
    let no_lines = |source| Fault::NotRecords { what: "one JSON object a line", source };
    let (last_at, _) = last_byte_before(file, length)?.ok_or_else(|| no_lines(None))?;
    let from = line_start(file, last_at)?;
    file.seek(SeekFrom::Start(from))?;
    let mut deserializer = serde_json::Deserializer::from_reader(BufReader::new(&*file));
    Object::deserialize(&mut deserializer).and_then(|_| deserializer.end()).map_err(|error| no_lines(Some(error)))?;
    let mut last = [0];
    file.seek(SeekFrom::Start(length - 1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Where the line begins that the byte at `at` is in.
fn line_start(file: &mut File, at: u64) -> io::Result<u64> {
    let mut tail = [0; TAIL_LEN];
    let mut end = at;
    while end > 0 {
        let from = end.saturating_sub(TAIL_LEN as u64);
        let length = usize::try_from(end - from).expect("no more than TAIL_LEN");
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(&mut tail[..length])?;
        if let Some(newline) = tail[..length].iter().rposition(|byte| *byte == b'\n') {
            return Ok(from + newline as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::RunReport;

    fn records(sql: &str) -> Vec<Record> {
        RunReport::new(sql).records()
    }

    fn read_array(path: &Path) -> Vec<serde_json::Value> {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    fn names_in(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_there_stays_and_records_follow() {
        let run = records("SELECT 'ü'").len();
        let long = format!("[{{\"a\": \"{}\"}}{}]{}", "x".repeat(10_000), " ".repeat(10_000), "\n".repeat(9_000));
        let cases = [
            ("", 0),
            ("[]", 0),
            (" [ \n ] \n", 0),
            ("[{\"metric\": \"Duration\"}]", 1),
            ("[\n  {\"a\": {\"b\": [1]}},\n  {}\n]\n\n", 2),
            ("[{\"a\": \"]\"}]", 1),
            (&long, 1),
        ];
        for (before, count) in cases {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("m.json");
            fs::write(&path, before).unwrap();
            for round in 1..=2 {
                check(&path).unwrap();
                append(&path, &records("SELECT 'ü'")).unwrap();
                let array = read_array(&path);
                assert_eq!(array.len(), count + round * run, "{:?}", &before[..before.len().min(30)]);
                assert_eq!(array.last().unwrap()["metric"], "Status");
                assert!(fs::read(&path).unwrap().is_ascii());
            }
            assert_eq!(names_in(directory.path()), ["m.json"]);
        }
    }

    #[test]
    fn what_is_no_array_of_objects_stays_untouched() {
        let arrays = ["{}", "x", " ", "[1]", "[{}", "[{}] x", "[{},]", "[[{}]]", "null", "[{\"a\": }]", "\u{feff}[]"];
        let lines = ["x\n", "{}\n[]\n", "{\"a\": 1", " \n", "{} {}\n", "[{}]"];
        let arrays = arrays.map(|content| ("m.json", content, "is not a JSON array of objects"));
        let lines = lines.map(|content| ("m.jsonl", content, "is not one JSON object a line"));
        for (name, content, expected) in arrays.into_iter().chain(lines) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join(name);
            fs::write(&path, content).unwrap();
            let error = append(&path, &records("SELECT 1")).unwrap_err().to_string();
            assert_eq!(check(&path).unwrap_err().to_string(), error);
            assert!(error.contains(expected) && error.contains(name) && error.contains("name another"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert_eq!(names_in(directory.path()), [name]);
        }
    }

    #[test]
    fn lines_are_appended() {
        let run = records("SELECT 1").len();
        for (before, count) in [("", 0), ("{\"a\": 1}\n", 1), ("{\"a\": 1}\n{\"b\": 2}", 2), ("{}\n\n", 1)] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("m.NDJSON");
            fs::write(&path, before).unwrap();
            append(&path, &records("SELECT 1")).unwrap();
            check(&path).unwrap();
            append(&path, &records("SELECT 1")).unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let objects: Vec<serde_json::Value> =
                text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(objects.len(), count + 2 * run, "{before:?}");
            assert!(text.starts_with(before) && text.ends_with('\n'));
        }
    }

    #[test]
    fn writers_at_once_lose_nothing_and_readers_see_whole_files() {
        for name in ["m.json", "m.jsonl"] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join(name);
            let (writers, rounds, run) = (6, 5, records("").len());
            append(&path, &records("")).unwrap();
            thread::scope(|scope| {
                for writer in 0..writers {
                    let path = &path;
                    scope.spawn(move || {
                        for round in 0..rounds {
                            append(path, &records(&format!("{writer} {round}"))).unwrap();
                            if name == "m.json" {
                                assert_eq!(read_array(path).len() % run, 0);
                            }
                        }
                    });
                }
            });
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(text.matches("\"metric\": \"Duration\"").count(), writers * rounds + 1);
            for writer in 0..writers {
                for round in 0..rounds {
                    assert!(text.contains(&format!("\"details\": \"{writer} {round}\"")), "{writer} {round}");
                }
            }
            assert_eq!(names_in(directory.path()), [name]);
        }
    }

    #[test]
    fn nothing_to_append_makes_no_file() {
        let directory = tempfile::tempdir().unwrap();
        append(&directory.path().join("m.json"), &[]).unwrap();
        check(&directory.path().join("m.json")).unwrap();
        assert!(names_in(directory.path()).is_empty());
        let error = append(&directory.path().join("no/m.json"), &records("")).unwrap_err();
        assert!(error.to_string().starts_with("can't write metrics file '"), "{error}");
        let error = append(directory.path(), &records("")).unwrap_err();
        assert!(error.to_string().contains("is not a regular file"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn links_and_permissions_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};

        let directory = tempfile::tempdir().unwrap();
        let (link, target) = (directory.path().join("m.json"), directory.path().join("sub/real.json"));
        fs::create_dir(directory.path().join("sub")).unwrap();
        symlink("sub/real.json", &link).unwrap();
        append(&link, &records("")).unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
        append(&link, &records("")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(read_array(&target).len(), 2 * records("").len());
        symlink("loop.json", directory.path().join("loop.json")).unwrap();
        let error = append(&directory.path().join("loop.json"), &records("")).unwrap_err();
        assert!(error.to_string().contains("too many symbolic links"), "{error}");
    }
}
