//! The integration tests: one binary, so that DataFusion links once.

mod archive;
mod cli;
mod crates;
mod credentials;
mod damaged;
mod doors;
mod embed;
mod http;
mod listing;
mod lock;
mod measured;
mod metrics;
mod metrics_file;
mod opensky;
mod program;
mod python;
mod records;
mod refused;
mod s3;
mod scan;
mod session;
mod sql;
mod testdata;
mod text;
mod tidy;
mod weed;
