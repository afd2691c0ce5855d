//! Where a COPY or INSERT writes: one file or a directory, in which store; and what is there already.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::datasource::physical_plan::FileSinkConfig;
use datafusion::execution::object_store::ObjectStoreUrl;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Error as StoreError, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions,
    PutPayload, Result as StoreResult,
};

use super::local::{Contents, LocalUpload, MadeFolders, blocking, contents};
use crate::error::{Error, ErrorKind, Result};
use crate::locator::redacted;
use crate::store::described;

/// Whether readers of a directory skip what has that name. `_archive=…` is a folder of a partition column, and data.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || (name.starts_with('_') && !name.contains('='))
}

/// Where to write, as a plan knows it.
#[derive(Debug, Clone)]
pub(super) struct TargetUrl {
    pub(super) store: ObjectStoreUrl,
    /// Key of the file, or prefix of the directory.
    pub(super) prefix: Path,
    /// As messages show it.
    pub(super) shown: Arc<str>,
    pub(super) is_directory: bool,
}

impl TargetUrl {
    /// # Errors
    /// The target of a COPY is a pattern.
    pub(super) fn of(config: &FileSinkConfig, is_copy: bool) -> Result<Self> {
        let Some(url) = config.table_paths.first() else {
            return Err(Error::new(ErrorKind::Target, "there is nowhere to write to"));
        };
        let shown: Arc<str> = redacted(url.get_url().as_str()).into();
        if is_copy && url.get_glob().is_some() {
            let message = format!("'{}' is a pattern (*, ?, […]), not a place to write to", config.original_url);
            return Err(Error::new(ErrorKind::Target, message));
        }
        Ok(Self {
            store: config.object_store_url.clone(),
            prefix: url.prefix().clone(),
            shown,
            // Folders of partitions make a directory of any name.
            is_directory: !config.table_partition_cols.is_empty() || !config.file_output_mode.single_file_output(url),
        })
    }

    pub(super) fn kind(&self) -> &'static str {
        if self.is_directory { "directory" } else { "file" }
    }
}

/// Where to write, with the store at hand.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) url: TargetUrl,
    pub(super) store: Arc<dyn ObjectStore>,
    /// Its files are the machine's own, so that they need not go through the store.
    is_local: bool,
    pub(super) made: Arc<MadeFolders>,
}

impl Target {
    pub(super) fn new(url: TargetUrl, store: Arc<dyn ObjectStore>) -> Self {
        // Somebody may have registered a store of another kind, or of another root, for `file:`.
        let is_local =
            url.store.as_str().starts_with("file:") && store.to_string().contains(&LocalFileSystem::new().to_string());
        Self { url, store, is_local, made: Arc::default() }
    }

    /// What messages call an object.
    pub(super) fn url_of(&self, location: &Path) -> Arc<str> {
        // The URL of a store ends in a slash.
        format!("{}{location}", self.url.store.as_str()).into()
    }

    pub(super) fn object(&self, name: &str) -> Path {
        self.url.prefix.clone().join(name)
    }

    fn local_path(&self, location: &Path) -> StoreResult<PathBuf> {
        LocalFileSystem::new().path_to_filesystem(location)
    }

    fn error(&self, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Target, message).in_archive(&*self.url.shown)
    }

    /// Begins to write an object that nobody sees until it is completed.
    pub(super) async fn begin(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        let url = self.url_of(location);
        if !self.is_local {
            let begun = self.store.put_multipart_opts(location, options).await;
            return begun.map_err(|error| described(error, &url, "can't be written"));
        }
        let (path, made) = (self.local_path(location)?, Arc::clone(&self.made));
        // The inner error is ours, so that the outer one can't be but for a panic.
        let (created, shown) = (move || Ok(LocalUpload::create(path, url, &made)), Arc::clone(&self.url.shown));
        Ok(Box::new(blocking(shown, "can't be written", created).await??))
    }

    /// Refuses a target that can't be written, or must not.
    ///
    /// # Errors
    /// It is a folder where a file is wanted.
    pub(super) async fn check(&self) -> StoreResult<()> {
        if !self.is_local {
            return Ok(());
        }
        let (path, wants_folder) = (self.local_path(&self.url.prefix)?, self.url.is_directory);
        blocking(Arc::clone(&self.url.shown), "can't be written", move || match path.metadata() {
            Ok(found) if found.is_dir() && !wants_folder => Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) if !found.is_dir() && wants_folder => Err(io::ErrorKind::NotADirectory.into()),
            _ => Ok(()),
        })
        .await
    }

    /// An error if the directory holds data.
    pub(super) async fn check_is_empty(&self) -> DataResult {
        let data = if self.is_local {
            self.data().await?.first_name()
        } else {
            let mut objects = self.list();
            objects.try_next().await?.map(|location| self.url_of(&location).to_string())
        };
        match data {
            None => Ok(()),
            Some(found) => Err(self
                .error(format!(
                    "the directory holds data ({found}): choose another one, or say \
                     OPTIONS ('write_mode' 'append') or OPTIONS ('write_mode' 'overwrite')"
                ))
                .into()),
        }
    }

    /// All that the directory holds now.
    pub(super) async fn data(&self) -> StoreResult<Data> {
        if self.is_local {
            let path = self.local_path(&self.url.prefix)?;
            let read = blocking(Arc::clone(&self.url.shown), "can't be listed", move || contents(&path));
            return Ok(Data::Files(read.await?));
        }
        Ok(Data::Objects(self.list().try_collect().await?))
    }

    fn list(&self) -> futures::stream::BoxStream<'static, StoreResult<Path>> {
        let (prefix, url) = (self.url.prefix.clone(), Arc::clone(&self.url.shown));
        let listed = self.store.list(Some(&prefix)).map_err(move |error| described(error, &url, "can't be listed"));
        let data = listed.try_filter_map(move |object| {
            let is_data = object
                .location
                .prefix_match(&prefix)
                .is_some_and(|mut segments| !segments.any(|segment| is_hidden(segment.as_ref())));
            futures::future::ready(Ok(is_data.then_some(object.location)))
        });
        data.boxed()
    }

    /// Removes what [`Target::data`] found, and the folders that are empty then.
    pub(super) async fn remove(&self, data: Data) -> StoreResult<()> {
        match data {
            Data::Files(Contents { files, folders }) => {
                blocking(Arc::clone(&self.url.shown), "old data can't be removed", move || {
                    // All of them, whatever becomes of one; somebody else may have removed some.
                    let failed = files.into_iter().filter_map(|file| std::fs::remove_file(file).err());
                    let failed = failed.filter(|error| error.kind() != io::ErrorKind::NotFound);
                    let first = failed.fold(None, |first, error| first.or(Some(error)));
                    // Those that hold new files stay.
                    folders.into_iter().rev().for_each(|folder| drop(std::fs::remove_dir(folder)));
                    first.map_or(Ok(()), Err)
                })
                .await
            }
            Data::Objects(objects) => self.delete_all(objects).await,
        }
    }

    /// Deletes objects; those that are not there don't matter.
    pub(super) async fn delete_all(&self, objects: Vec<Path>) -> StoreResult<()> {
        let locations = futures::stream::iter(objects).map(Ok).boxed();
        let url = Arc::clone(&self.url.shown);
        let deleted = self.store.delete_stream(locations).filter_map(|deleted| async {
            match deleted {
                Ok(_) | Err(StoreError::NotFound { .. }) => None,
                Err(error) => Some(error),
            }
        });
        // All of them, whatever becomes of one.
        match deleted.collect::<Vec<_>>().await.into_iter().next() {
            None => Ok(()),
            Some(error) => Err(described(error, &url, "old data can't be removed")),
        }
    }

    /// Whether an object of that name is there.
    pub(super) async fn has(&self, name: &str) -> StoreResult<bool> {
        match self.store.head(&self.object(name)).await {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(described(error, &self.url.shown, "can't be read")),
        }
    }

    /// Creates an empty object; `false` if it is there already. Only one of several writers gets `true`.
    pub(super) async fn create(&self, name: &str) -> StoreResult<bool> {
        let location = self.object(name);
        if self.is_local {
            // Not through the store: it would make a link, which not every file system has.
            let path = self.local_path(&location)?;
            let create = move || match std::fs::OpenOptions::new().write(true).create_new(true).open(path) {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(error),
            };
            return blocking(Arc::clone(&self.url.shown), "can't be written", create).await;
        }
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&location, PutPayload::default(), options).await {
            Ok(_) => Ok(true),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(false),
            // As good as it gets there: two writers that look at the same moment both go on.
            Err(StoreError::NotImplemented { .. }) => match self.has(name).await? {
                true => Ok(false),
                false => self.store.put(&location, PutPayload::default()).await.map(|_| true),
            },
            Err(error) => Err(described(error, &self.url_of(&location), "can't be written")),
        }
    }
}

/// The store's errors, and ours.
pub(super) type DataResult<T = ()> = datafusion::error::Result<T>;

/// What a directory holds.
#[derive(Debug)]
pub(super) enum Data {
    Files(Contents),
    Objects(Vec<Path>),
}

impl Data {
    fn first_name(&self) -> Option<String> {
        match self {
            Self::Files(contents) => contents.files.iter().min().map(|file| file.display().to_string()),
            Self::Objects(objects) => objects.first().map(Path::to_string),
        }
    }
}

/// An error of the system's as a store's whose source is ours: `url: can't be written: permission denied (os error 13)`.
pub(super) fn failed(url: &str, can_not: &str, error: &io::Error) -> StoreError {
    let cause = error.to_string();
    let mut letters = cause.chars();
    let lower = letters.next().map(|first| first.to_lowercase().chain(letters).collect::<String>());
    let message = format!("{can_not}: {}", lower.unwrap_or_default());
    let source = Box::new(Error::new(ErrorKind::Target, message).in_archive(url));
    StoreError::Generic { store: "file", source }
}
