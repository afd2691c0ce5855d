//! The metrics file: what each statement cost, as flat JSON records that a notebook reads without further ado.
//!
//! Fill a [`RunReport`] when a statement ends, well or not, and [`append`] its records to the file, which is worth a
//! [`check`] before. [`UsageMeter`]
//! measures what the process used meanwhile. Nothing here knows how statements run: it takes numbers and writes JSON.
//!
//! ```
//! use tarsql::metrics::{RunReport, append};
//!
//! # let directory = std::env::temp_dir().join(format!("tarsql-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&directory)?;
//! # let path = directory.join("pipeline_metrics.json");
//! let mut report = RunReport::new("SELECT count(*) FROM read_tar('s3://b/*.tar')");
//! report.scan.rows = 7;
//! report.duration_secs = 0.25;
//! append(&path, &report.records())?;
//!
//! let records: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(&path)?)?;
//! let last: Vec<_> = records.iter().rev().take(3).map(|record| record["metric"].as_str()).collect();
//! assert_eq!(last, [Some("Status"), Some("Duration"), Some("RowCount")]);
//! # std::fs::remove_dir_all(&directory)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod file;
mod record;
mod redact;
mod run;
mod usage;

pub use file::{append, check};
pub use record::Record;
pub use redact::redact;
pub(crate) use redact::redact_url;
pub use run::{ArchiveTime, Listing, PartitionTime, RunReport, Scan, Written};
pub use usage::{Usage, UsageMeter};
