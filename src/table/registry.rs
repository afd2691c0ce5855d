//! Object stores on demand: `COPY … TO 's3://bucket/…'` and Parquet tables find their bucket without registration.

use std::sync::Arc;

use datafusion::error::Result as DataFusionResult;
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use object_store::ObjectStore;
use url::{Position, Url};

use crate::locator::Scheme;
use crate::store::{Purpose, StoreOptions, Stores};

/// A registry that connects to a bucket the first time it is asked for, with settings from the environment.
///
/// ```
/// use std::sync::Arc;
///
/// use datafusion::execution::runtime_env::RuntimeEnvBuilder;
///
/// let registry = Arc::new(tarsql::StoreRegistry::default());
/// let runtime = RuntimeEnvBuilder::new().with_object_store_registry(registry).build()?;
/// # let _ = runtime;
/// # Ok::<(), datafusion::error::DataFusionError>(())
/// ```
#[derive(Debug, Default)]
pub struct StoreRegistry {
    registered: DefaultObjectStoreRegistry,
    stores: Stores,
}

impl StoreRegistry {
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
        let connection = self.stores.connection(scheme.as_str(), authority, &StoreOptions::default(), Purpose::Write);
        Ok(connection?.store)
    }
}
