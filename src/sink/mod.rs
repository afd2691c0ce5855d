//! What COPY and INSERT write, in whatever format: whole, or not at all.
//!
//! [`PublishExec`] is the node on top. It runs a sink (our own for Parquet, the engine's for all else) against a stage
//! that stands in for the target's store, and publishes what is staged once the sink has ended well. The sinks know
//! nothing of that: they write files under their final names. Register the formats with [`register`].

mod cleanup;
mod exec;
mod format;
mod local;
mod options;
mod parquet;
mod publish;
mod stage;
mod target;

pub use self::cleanup::settle;
pub use self::exec::PublishExec;
pub(crate) use self::format::register;
pub use self::parquet::ParquetSinkExec;
