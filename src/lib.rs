//! tarsql: tar archives in object storage as SQL tables.

mod archive;
mod batch;
mod compression;
mod error;
mod locator;
mod member;
pub mod metrics;
mod policy;
mod report;
mod scan;
mod schema;
mod stats;
mod store;
mod table;
mod tar;

pub use crate::compression::Compression;
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::locator::{Locator, Scheme, StoreUrl};
pub use crate::member::MemberFormat;
pub use crate::policy::{OnBadRow, OnError, OnInvalidUtf8, OnUnreachable};
pub use crate::report::{Incident, ListingReport, PartitionReport, ScanReport};
pub use crate::stats::{Count, Stats};
pub use crate::store::StoreOptions;
pub use crate::table::{
    Partitioning, Progress, StoreRegistry, TarOptions, TarSource, TarTable, TarsqlConfig, measure, progress, register,
    register_url_tables, reports,
};
