//! Parquet files, written by all cores: the plan node.
//!
//! The engine's own sink wants one input partition, encodes one row group at a time, and holds a million rows of it
//! whatever their size. Here the partitions of the input feed a bounded queue, encoders take batches from it and encode
//! row groups of their own, and a file is the row groups of all of them, one behind the other. Where the input has an
//! order, one encoder keeps it, and the columns are encoded in parallel instead.

mod column;
mod encoder;
mod feed;
mod file;
mod partition;
mod properties;
mod row_group;
mod writer;

pub use self::writer::ParquetSinkExec;
