//! Where archives live: connections to object stores, their listings, and reading one object as a stream of pieces.
//!
//! Nothing here knows what a tar is. `Stores` turns a scheme, an authority and `StoreOptions` into a
//! `Connection`; `list` finds the objects that a pattern names; `ObjectReader` reads one of them in bounded,
//! prefetched ranges, resumes where a body broke off, and never mixes two versions of an object.

use std::fmt;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::list::PaginatedListStore;

mod connect;
mod credentials;
mod described;
mod fault;
mod fetch;
mod http;
mod list;
mod options;
mod profile;
mod retry;
mod s3;

pub(crate) use self::connect::{Purpose, Stores};
pub(crate) use self::described::{COMMITTING, DescribedStore, SUCCESS};
pub(crate) use self::fault::described;
pub(crate) use self::fetch::{FetchSettings, FetchTarget, ObjectReader};
pub(crate) use self::list::{ArchiveObject, Listing, list};
pub use self::options::StoreOptions;
pub(crate) use self::retry::RetryPolicy;

/// An object store with the settings of one bucket (or host) applied.
#[derive(Clone)]
pub(crate) struct Connection {
    /// The store itself.
    pub store: Arc<dyn ObjectStore>,
    /// The same store's lister by raw key prefix, where it has one (S3, GCS, Azure).
    pub pager: Option<Arc<dyn PaginatedListStore>>,
}

/// Not derived: the stores' own `Debug` prints what they were configured with.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("paged", &self.pager.is_some()).finish_non_exhaustive()
    }
}
