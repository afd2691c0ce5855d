//! The integration tests: one binary, so that DataFusion links once.

mod archive;
mod damaged;
mod embed;
mod listing;
mod lock;
mod program;
mod python;
mod session;
mod testdata;
mod weed;
