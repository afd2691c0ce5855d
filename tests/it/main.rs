//! The integration tests: one binary, so that DataFusion links once.

mod archive;
mod damaged;
mod doors;
mod embed;
mod listing;
mod lock;
mod program;
mod python;
mod records;
mod refused;
mod scan;
mod session;
mod testdata;
mod text;
mod weed;
