//! Files on disk: written under a temporary name beside the target, and renamed when they are whole.
//!
//! object_store does the same, but it holds every file open until the end (a thousand partitions are more than a process
//! may open), never syncs, leaves the folders that it made, and tries for ever where a folder is there but nothing can be
//! created in it, as below `/proc`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use object_store::{MultipartUpload, PutPayload, PutResult, Result as StoreResult, UploadPart};

use super::target::failed;

/// Temporary names of one target that may be taken, by other writers or by what a killed process left.
const TEMPORARY_NAMES_MAX: u32 = 10_000;

/// How often a folder may vanish before a file is created in it: as often as other jobs give up at that very moment.
const VANISHED_FOLDERS_MAX: usize = 100;

/// Bytes after which a file goes to disk while more of it is made: enough to keep a disk busy, and so few that the end has
/// little to wait for.
const SYNC_BYTES: u64 = 32 << 20;

/// Folders that a writer made, to be removed again if it publishes nothing.
#[derive(Debug, Default)]
pub(super) struct MadeFolders(Mutex<BTreeSet<PathBuf>>);

impl MadeFolders {
    /// Makes `folder` and what is missing above it.
    fn make(&self, folder: &Path) -> io::Result<()> {
        let missing: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
        for folder in missing.into_iter().rev() {
            match fs::create_dir(folder) {
                Ok(()) => drop(self.made().insert(folder.to_owned())),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes those that are empty, the deepest first.
    pub(super) fn remove(&self) {
        for folder in std::mem::take(&mut *self.made()).into_iter().rev() {
            // Not empty: somebody else writes there too.
            let _ = fs::remove_dir(folder);
        }
    }

    fn made(&self) -> std::sync::MutexGuard<'_, BTreeSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file under its temporary name. It is not held open between parts.
#[derive(Debug)]
pub(super) struct LocalUpload {
    target: PathBuf,
    /// What errors call it.
    url: Arc<str>,
    /// Gone once it is renamed or removed.
    temporary: Option<PathBuf>,
    offset: u64,
    /// Parts are written one after the other: the system lets only one into a file, and threads that wait for that keep a core
    /// busy.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl LocalUpload {
    /// Creates the temporary file, and the folders above it. Blocks.
    ///
    /// # Errors
    /// The system's, which the caller has not seen the last of if it ignores them: nothing can be written there.
    pub(super) fn create(target: PathBuf, url: Arc<str>, made: &MadeFolders) -> StoreResult<Self> {
        let create = || {
            if let Some(folder) = target.parent() {
                made.make(folder)?;
            }
            create_temporary(&target)
        };
        let mut created = create();
        for _ in 0..VANISHED_FOLDERS_MAX {
            match &created {
                // Another job made the folder, had nothing to publish, and took it away as soon as we had found it.
                Err(error) if error.kind() == ErrorKind::NotFound => created = create(),
                _ => break,
            }
        }
        match created {
            Ok(temporary) => Ok(Self { target, url, temporary: Some(temporary), offset: 0, turn: Arc::default() }),
            Err(error) => Err(failed(&url, "can't be written", &error)),
        }
    }
}

/// Creates a file of a temporary name beside `target`.
fn create_temporary(target: &Path) -> io::Result<PathBuf> {
    for number in 1..=TEMPORARY_NAMES_MAX {
        let temporary = temporary_name(target, number);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(_) => return Ok(temporary),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    let taken = format!("all {TEMPORARY_NAMES_MAX} temporary names beside it are taken");
    Err(io::Error::new(ErrorKind::AlreadyExists, taken))
}

/// `.name#1`: hidden from those who skip a leading dot, from those who look for an ending, and from object_store, which
/// skips a `#` and a number at the end.
fn temporary_name(target: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!("#{number}"));
    target.with_file_name(name)
}

#[async_trait]
impl MultipartUpload for LocalUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let offset = self.offset;
        self.offset += data.content_length() as u64;
        let is_much = self.offset / SYNC_BYTES > offset / SYNC_BYTES;
        let (temporary, url, turn) = (self.temporary.clone(), Arc::clone(&self.url), Arc::clone(&self.turn));
        Box::pin(async move {
            let turn = turn.lock_owned().await;
            blocking(url, "can't be written", move || {
                let mut file = OpenOptions::new().write(true).open(temporary.ok_or(ErrorKind::NotFound)?)?;
                file.seek(SeekFrom::Start(offset))?;
                data.iter().try_for_each(|piece| file.write_all(piece))?;
                drop((data, turn));
                if is_much { file.sync_data() } else { Ok(()) }
            })
            .await
        })
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        let (temporary, target) = (self.temporary.take(), self.target.clone());
        blocking(Arc::clone(&self.url), "can't be written", move || {
            let temporary = temporary.ok_or(ErrorKind::NotFound)?;
            let renamed = sync(&temporary).and_then(|()| fs::rename(&temporary, &target));
            if renamed.is_err() {
                let _ = fs::remove_file(&temporary);
            }
            renamed?;
            sync_folder(&target);
            Ok(PutResult { e_tag: None, version: None })
        })
        .await
    }

    async fn abort(&mut self) -> StoreResult<()> {
        let Some(temporary) = self.temporary.take() else { return Ok(()) };
        blocking(Arc::clone(&self.url), "can't be removed", move || fs::remove_file(temporary)).await
    }
}

impl Drop for LocalUpload {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            let _ = fs::remove_file(temporary);
        }
    }
}

/// A rename must not become durable before what it renames.
fn sync(file: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.sync_all()
}

/// Makes a rename durable. Not every file system can, and then it is as durable as it gets.
fn sync_folder(target: &Path) {
    if cfg!(unix)
        && let Some(folder) = target.parent()
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
}

/// Does file work where it may block, and makes its error ours.
pub(super) async fn blocking<T: Send + 'static>(
    url: Arc<str>,
    can_not: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> StoreResult<T> {
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| failed(&url, can_not, &error))
}

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) files: Vec<PathBuf>,
    /// Each after the one that it is in.
    pub(super) folders: Vec<PathBuf>,
}

/// All files below `root` but for those with a name that begins with `_` or `.`, or in a folder with one. A link to a
/// folder is a file here: what it points to is somebody else's. Nothing, if `root` is not there. Blocks.
pub(super) fn contents(root: &Path) -> io::Result<Contents> {
    let mut found = Contents::default();
    let mut next = vec![root.to_owned()];
    while let Some(folder) = next.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound && folder == root => return Ok(found),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            if super::target::is_hidden(&entry.file_name().to_string_lossy()) {
                continue;
            }
            match entry.file_type()?.is_dir() {
                true => next.push(entry.path()),
                false => found.files.push(entry.path()),
            }
        }
        if folder != root {
            found.folders.push(folder);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a/b/x.csv");
        let made = MadeFolders::default();
        let create = || LocalUpload::create(target.clone(), "file:///x.csv".into(), &made).unwrap();
        let (mut first, mut second) = (create(), create());
        first.put_part("hello ".into()).await.unwrap();
        first.put_part("world".into()).await.unwrap();
        assert_eq!(names(&folder.path().join("a/b")), [".x.csv#1", ".x.csv#2"]);
        second.abort().await.unwrap();
        drop(create());
        made.remove();
        first.complete().await.unwrap();
        assert_eq!(names(&folder.path().join("a/b")), ["x.csv"]);
        assert_eq!(fs::read(&target).unwrap(), b"hello world");
    }

    #[test]
    fn a_folder_that_another_job_takes_away_is_made_again() {
        const ROUNDS: usize = 2_000;

        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a/b/x.csv");
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            // It makes and removes the same folders all the time, as jobs do that fail.
            scope.spawn(|| {
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    let other = MadeFolders::default();
                    // It may lose the race itself.
                    let _ = other.make(&folder.path().join("a/b"));
                    other.remove();
                }
            });
            let created = (0..ROUNDS).map(|_| {
                let made = MadeFolders::default();
                let created = LocalUpload::create(target.clone(), "file:///x.csv".into(), &made).map(drop);
                made.remove();
                created
            });
            let failed = created.filter_map(Result::err).next();
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(failed.is_none(), "{failed:?}");
        });
    }

    #[test]
    fn only_folders_that_were_made_are_removed_and_only_empty_ones() {
        let folder = tempfile::tempdir().unwrap();
        let made = MadeFolders::default();
        made.make(&folder.path().join("a/b")).unwrap();
        made.make(&folder.path().join("a/c")).unwrap();
        fs::write(folder.path().join("a/c/x"), "").unwrap();
        made.remove();
        assert_eq!(names(folder.path()), ["a"]);
        assert_eq!(names(&folder.path().join("a")), ["c"]);
    }

    #[test]
    fn hidden_names_and_links_to_folders_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("in"), folder.path().join("out"));
        fs::create_dir_all(inside.join("k=1")).unwrap();
        fs::create_dir_all(inside.join(".git")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        for file in ["in/k=1/x", "in/_SUCCESS", "in/.y#1", "in/.git/z", "out/precious"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        let mut found = contents(&inside).unwrap();
        found.files.sort();
        let expected = if cfg!(unix) { vec!["k=1/x", "link"] } else { vec!["k=1/x"] };
        assert_eq!(found.files, expected.into_iter().map(|file| inside.join(file)).collect::<Vec<_>>());
        assert_eq!(found.folders, [inside.join("k=1")]);
        assert!(contents(&folder.path().join("none")).unwrap().files.is_empty());
    }
}
