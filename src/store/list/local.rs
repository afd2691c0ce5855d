//! Files of this machine, found by walking directories segment by segment.
//!
//! Only directories that can hold a match are read, and a segment that is a plain name is not even listed. Each
//! directory is visited once with all places of the pattern that lead there, so that braces and `**` cost nothing
//! twice. Directories never match, symbolic links are followed, and what can't be read is an error with its name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Weak};

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use tokio::sync::oneshot;
use url::Url;

use super::{ArchiveObject, HEADS_MAX, Lister, Listing, within_limit};
use crate::error::{Error, ErrorKind, Result};
use crate::locator::{Locator, Pattern, Segment};
use crate::store::fault::describe;

/// Where in the pattern a walk stands: the alternative, and the segment that the next name has to match.
type Places = BTreeSet<(usize, usize)>;

pub(super) async fn list(lister: &Lister<'_>) -> Result<Listing> {
    let locator = lister.locator.clone();
    // A walk can't be cancelled from outside: it looks whether anybody still waits for it.
    let waiting = Arc::new(());
    let watched = Arc::downgrade(&waiting);
    let walk = tokio::task::spawn_blocking(move || find(&locator, watched)).await;
    drop(waiting);
    let walk = walk.map_err(|error| lister.error(ErrorKind::Unreachable, format!("can't be listed: {error}")))??;
    let files = walk.files.into_iter().map(|file| lister.location(file)).collect::<Result<Vec<_>>>()?;
    let metas = heads(lister, files.iter().map(|(_, location)| location.clone()).collect()).await;
    let archives = files.into_iter().zip(metas).map(|(file, meta)| lister.file(file, meta));
    let archives = stream::iter(archives).buffered(HEADS_MAX).try_collect().await?;
    Ok(Listing { archives, keys: walk.names, requests: walk.directories, ..Listing::default() })
}

/// What the store that reads them later says of files, where it says so at the first time.
///
/// A task and a thread's turn for each would take longer than all else. On a thread without a runtime the local store
/// answers at once.
async fn heads(lister: &Lister<'_>, locations: Vec<Path>) -> Vec<Option<ObjectMeta>> {
    let (files, store) = (locations.len(), Arc::clone(&lister.connection.store));
    let (sender, receiver) = oneshot::channel();
    let ask = move || {
        let mut metas = Vec::with_capacity(locations.len());
        for location in &locations {
            // A listing can't be cancelled from outside: it looks whether anybody still waits for it.
            if sender.is_closed() {
                return;
            }
            metas.push(store.head(location).now_or_never().and_then(Result::ok));
        }
        // Nobody left to tell: then nobody waits.
        let _ = sender.send(metas);
    };
    // Where the system has no thread to give, nothing is said of any file.
    let _ = std::thread::Builder::new().spawn(ask);
    let metas = receiver.await.unwrap_or_default();
    let answered = metas.iter().flatten().count() as u64;
    lister.requests.add(answered);
    lister.stats.requests.add(answered);
    metas.into_iter().chain(std::iter::repeat(None)).take(files).collect()
}

impl Lister<'_> {
    /// A file's URL, and what the store that reads it calls it.
    fn location(&self, file: PathBuf) -> Result<(Url, Path)> {
        let refuse = |reason: &str| Error::new(ErrorKind::Locator, format!("'{}': {reason}", shown(&file)));
        let url = Url::from_file_path(&file).map_err(|()| refuse("is no absolute path"))?;
        let location = Path::from_absolute_path(&file).map_err(|_| {
            refuse("names with control characters or bytes that are not UTF-8 can't be read: rename it")
        })?;
        // The local store keeps `name#123` for uploads that are under way.
        match LocalFileSystem::new().path_to_filesystem(&location) {
            Ok(path) if path == file => Ok((url, location)),
            Ok(_) => Err(refuse("the name can't be read: rename it")),
            Err(_) => Err(refuse("names that end in '#' and digits can't be read: rename it")),
        }
    }

    /// One file, as that store sees it; it is asked again where it said nothing.
    async fn file(&self, (url, location): (Url, Path), meta: Option<ObjectMeta>) -> Result<ArchiveObject> {
        let meta = match meta {
            Some(meta) => meta,
            None => self.head(&location).await.map_err(|failure| describe(&failure, url.as_str()))?,
        };
        Ok(self.archive(url.into(), meta))
    }
}

/// The files that `locator` names: the one with exactly this name, or else the pattern's.
fn find(locator: &Locator, waiting: Weak<()>) -> Result<Walk> {
    let base = match locator.base() {
        base if base.as_os_str().is_empty() => std::env::current_dir().map_err(|error| {
            Error::new(ErrorKind::Unreachable, "the current directory can't be told").caused_by(error)
        })?,
        base => base.to_path_buf(),
    };
    let mut walk = Walk { waiting, files: Vec::new(), names: 0, directories: 0 };
    let named = base.join(locator.key());
    match fs::metadata(&named) {
        Ok(metadata) if metadata.is_dir() => {
            let message = format!("'{locator}' is a directory: name the archives in it, e.g. '{locator}/*.tar'");
            return Err(Error::new(ErrorKind::Locator, message));
        }
        Ok(metadata) => {
            walk.names = 1;
            walk.take(absolute(&named)?, &metadata)?;
            return Ok(walk);
        }
        Err(error) if is_missing(&error) && fs::symlink_metadata(&named).is_ok() => return Err(dangling(&named)),
        Err(error) if locator.is_literal() && is_missing(&error) => {
            let message = format!("there is no file '{}': check the name, case counts", shown(&named));
            return Err(Error::new(ErrorKind::Unreachable, message).in_archive(locator.to_string()));
        }
        Err(error) if locator.is_literal() => return Err(unreadable(&named, error)),
        Err(_) => {}
    }
    walk.run(base, locator.pattern()?)?;
    Ok(walk)
}

struct Walk {
    /// Gone when nobody waits for the answer any more.
    waiting: Weak<()>,
    files: Vec<PathBuf>,
    /// Names that were compared with the pattern.
    names: u64,
    /// Directories that were read.
    directories: u64,
}

impl Walk {
    /// Ends because a file system is finite and [`leads_back`] keeps links from making it look otherwise.
    fn run(&mut self, base: PathBuf, pattern: &Pattern) -> Result<()> {
        let start: Places = (0..pattern.alternatives().len()).map(|alternative| (alternative, 0)).collect();
        let mut todo = vec![(base, start)];
        while let Some((directory, places)) = todo.pop() {
            if self.waiting.strong_count() == 0 {
                break;
            }
            for (name, places) in self.children(&directory, places, pattern)? {
                self.visit(&directory, &name, places, pattern, &mut todo)?;
            }
        }
        Ok(())
    }

    /// The names in `directory` that lead on, each with the places reached there.
    fn children(
        &mut self,
        directory: &FilePath,
        places: Places,
        pattern: &Pattern,
    ) -> Result<BTreeMap<String, Places>> {
        let mut children: BTreeMap<String, Places> = BTreeMap::new();
        let mut wild = Places::new();
        let mut todo: Vec<(usize, usize)> = places.into_iter().collect();
        while let Some((alternative, at)) = todo.pop() {
            match pattern.alternatives()[alternative].segments().get(at) {
                None => {}
                Some(Segment::Literal(name)) if name.is_empty() || name == "." => todo.push((alternative, at + 1)),
                Some(Segment::Literal(name)) => {
                    self.names += 1;
                    children.entry(name.clone()).or_default().insert((alternative, at + 1));
                }
                Some(segment) => {
                    let new = wild.insert((alternative, at));
                    // `**` is also no directory at all.
                    todo.extend((new && *segment == Segment::Deep).then_some((alternative, at + 1)));
                }
            }
        }
        if !wild.is_empty() {
            self.read(directory, &wild, pattern, &mut children)?;
        }
        Ok(children)
    }

    fn read(
        &mut self,
        directory: &FilePath,
        wild: &Places,
        pattern: &Pattern,
        children: &mut BTreeMap<String, Places>,
    ) -> Result<()> {
        self.directories += 1;
        for entry in fs::read_dir(directory).map_err(|error| unreadable(directory, error))? {
            let entry = entry.map_err(|error| unreadable(directory, error))?;
            self.names += 1;
            let name = entry.file_name();
            let lossy = name.to_string_lossy();
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            let mut reached = Places::new();
            for (alternative, at) in wild {
                let segments = pattern.alternatives()[*alternative].segments();
                let next = match &segments[*at] {
                    Segment::Deep => *at,
                    segment if segment.matches(&lossy) => *at + 1,
                    _ => continue,
                };
                // Nothing lies below a file.
                if !is_file || next == segments.len() {
                    reached.insert((*alternative, next));
                }
            }
            if reached.is_empty() {
                continue;
            }
            let Some(name) = name.to_str() else {
                let path = shown(&entry.path());
                return Err(Error::new(ErrorKind::Locator, format!("'{path}': the name is not UTF-8: rename it")));
            };
            children.entry(name.into()).or_default().append(&mut reached);
        }
        Ok(())
    }

    /// Takes the file, or enters the directory, if the places reached with its name say so.
    fn visit(
        &mut self,
        directory: &FilePath,
        name: &str,
        mut places: Places,
        pattern: &Pattern,
        todo: &mut Vec<(PathBuf, Places)>,
    ) -> Result<()> {
        let path = match name {
            // The system's idea of a parent, not the text's: the directory may be a link.
            ".." => fs::canonicalize(directory.join("..")).map_err(|error| unreadable(directory, error))?,
            name => directory.join(name),
        };
        let segments = |alternative: usize| pattern.alternatives()[alternative].segments();
        let before = places.len();
        places.retain(|(alternative, at)| *at < segments(*alternative).len());
        let wanted = places.len() < before;
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if !is_missing(&error) => return Err(unreadable(&path, error)),
            Err(_) if wanted && fs::symlink_metadata(&path).is_ok() => return Err(dangling(&path)),
            Err(_) => return Ok(()),
        };
        if !metadata.is_dir() {
            return if wanted { self.take(path, &metadata) } else { Ok(()) };
        }
        let deep = places.iter().any(|(alternative, at)| segments(*alternative)[*at] == Segment::Deep);
        let round = deep && leads_back(directory, &path);
        if !places.is_empty() && !round {
            todo.push((path, places));
        }
        Ok(())
    }

    fn take(&mut self, path: PathBuf, metadata: &fs::Metadata) -> Result<()> {
        if !metadata.is_file() {
            let message = format!("'{}' is no regular file: pipes and devices can't be read in ranges", shown(&path));
            return Err(Error::new(ErrorKind::Locator, message));
        }
        self.files.push(path);
        within_limit(self.files.len())
    }
}

/// Whether `path` is a link to a directory that holds it: below it is nothing that is not also elsewhere, for ever.
fn leads_back(directory: &FilePath, path: &FilePath) -> bool {
    let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    is_link
        && match (fs::canonicalize(directory), fs::canonicalize(path)) {
            (Ok(directory), Ok(target)) => directory.starts_with(target),
            _ => false,
        }
}

/// Without `.`; a parent that the path goes up from is looked up, since it may be a link.
fn absolute(path: &FilePath) -> Result<PathBuf> {
    let goes_up = path.components().any(|component| component == std::path::Component::ParentDir);
    let found = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if goes_up => fs::canonicalize(parent).map(|parent| parent.join(name)),
        _ => std::path::absolute(path),
    };
    found.map_err(|error| unreadable(path, error))
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn unreadable(path: &FilePath, error: io::Error) -> Error {
    Error::new(ErrorKind::Unreachable, format!("'{}' can't be read", shown(path))).caused_by(error)
}

fn dangling(path: &FilePath) -> Error {
    Error::new(ErrorKind::Locator, format!("'{}' is a link to a file that does not exist", shown(path)))
}

/// For messages: a name may hold a newline.
fn shown(path: &FilePath) -> String {
    path.to_string_lossy().escape_debug().to_string()
}
