//! Object stores on demand: `COPY … TO 's3://bucket/…'` and Parquet tables find their bucket without registration.

use std::sync::Arc;

use datafusion::error::Result as DataFusionResult;
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use url::{Position, Url};

use crate::locator::Scheme;
use crate::store::{DescribedStore, Purpose, StoreOptions, Stores};

/// A registry that connects to a bucket the first time it is asked for, with settings from the environment.
///
/// A session that has it as an extension too reads archives through connections of tarsql's own, which resume where a
/// read broke off.
///
/// ```
/// use std::sync::Arc;
///
/// use datafusion::execution::runtime_env::RuntimeEnvBuilder;
/// use datafusion::prelude::{SessionConfig, SessionContext};
///
/// let registry = Arc::new(tarsql::StoreRegistry::default());
/// let config = SessionConfig::new().with_extension(Arc::clone(&registry));
/// let runtime = RuntimeEnvBuilder::new().with_object_store_registry(registry).build_arc()?;
/// let ctx = SessionContext::new_with_config_rt(config, runtime);
/// tarsql::register(&ctx)?;
/// # Ok::<(), datafusion::error::DataFusionError>(())
/// ```
#[derive(Debug)]
pub struct StoreRegistry {
    registered: DefaultObjectStoreRegistry,
    stores: Stores,
}

impl Default for StoreRegistry {
    fn default() -> Self {
        let registered = DefaultObjectStoreRegistry::default();
        let url = Url::parse("file://").expect("a scheme and an empty host are a URL");
        let local = DescribedStore::new("file://", Arc::new(LocalFileSystem::new()));
        registered.register_store(&url, Arc::new(local));
        Self { registered, stores: Stores::default() }
    }
}

impl StoreRegistry {
    /// Requests through this registry's own stores that failed and were sent again, so far.
    pub fn resent(&self) -> u64 {
        self.stores.resent()
    }

    /// The store that somebody registered for `url`; none is made.
    pub(super) fn registered(&self, url: &Url) -> Option<Arc<dyn ObjectStore>> {
        self.registered.get_store(url).ok()
    }
}

impl ObjectStoreRegistry for StoreRegistry {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.registered.register_store(url, store)
    }

    fn deregister_store(&self, url: &Url) -> DataFusionResult<Arc<dyn ObjectStore>> {
        self.registered.deregister_store(url)
    }

    fn get_store(&self, url: &Url) -> DataFusionResult<Arc<dyn ObjectStore>> {
        let error = match self.registered.get_store(url) {
            Ok(store) => return Ok(store),
            Err(error) => error,
        };
        let Ok(scheme) = Scheme::parse(url.scheme()) else { return Err(error) };
        let authority = &url[Position::BeforeUsername..Position::AfterPort];
        let place = &url[..Position::AfterPort];
        let connected = self.stores.connection(scheme.as_str(), authority, &StoreOptions::default(), Purpose::Write);
        let store = connected.map_err(|error| error.in_archive(place))?.store;
        Ok(Arc::new(DescribedStore::new(place, store)))
    }
}
