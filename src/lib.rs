//! tarsql makes tar archives in object storage SQL tables, for programs that use Apache DataFusion.
//!
//! Use [`register`] when SQL comes from users: it gives a `SessionContext` the function `read_tar(…)`, `STORED AS TAR`
//! and `SET tarsql.…`; [`register_url_tables`] adds `FROM 'x.tar.gz'`. Use [`TarTable`] when your code makes the tables.
//!
//! ```
//! use datafusion::prelude::SessionContext;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let ctx = SessionContext::new();
//! tarsql::register(&ctx)?;
//! let largest = ctx
//!     .sql("SELECT path, size FROM read_tar('testdata/opensky/states/**/*.csv.tar :: *.csv.gz') ORDER BY size DESC LIMIT 1")
//!     .await?
//!     .collect()
//!     .await?;
//! assert_eq!(largest[0].num_rows(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! A [`Locator`] names archives and members; [`TarOptions`] says what a row is and what happens to what does not fit.
//! While a query runs, [`progress`] tells how far it is; afterwards [`reports`] tell what was skipped, and [`measure`]
//! and [`metrics`] make numbers of it. How the crate is built is in `ARCHITECTURE.md`.

mod archive;
mod batch;
mod compression;
mod crew;
mod error;
mod locator;
mod member;
mod memory;
pub mod metrics;
mod policy;
mod report;
mod scan;
mod schema;
mod sink;
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
pub use crate::sink::{ParquetSinkExec, PublishExec, settle};
pub use crate::stats::{Count, Stats};
pub use crate::store::StoreOptions;
pub use crate::table::{
    IoRuntime, Partitioning, Progress, StoreRegistry, TarOptions, TarSource, TarTable, TarsqlConfig, measure, progress,
    register, register_url_tables, reports, written,
};

/// The README's examples are tests too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
