//! The integration tests: one binary, so that DataFusion links once.

mod archive;
mod credentials;
mod damaged;
mod doors;
mod embed;
mod http;
mod listing;
mod lock;
mod measured;
mod opensky;
mod program;
mod python;
mod records;
mod refused;
mod s3;
mod scan;
mod session;
mod testdata;
mod text;
mod weed;
