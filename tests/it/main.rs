//! The integration tests: one binary, so that DataFusion links once.

mod embed;
mod lock;
mod program;
mod python;
mod testdata;
mod weed;
