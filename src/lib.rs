//! tarsql: tar archives in object storage as SQL tables.

pub mod error;
pub mod policy;
pub mod stats;

pub use error::{Error, ErrorKind, Result};
