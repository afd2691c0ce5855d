//! What the fuzz targets check, as plain functions from bytes: `fuzz_targets/` hands them to libFuzzer, and
//! `tests/replay.rs` runs them over `testdata/` and over mutations of it with no fuzzer at all.
//!
//! tarsql's layers below the engine are compiled into this package from their own files, so that it builds in a minute
//! and without DataFusion, and sees what is private to the crate.

pub mod allocation;
mod chunks;
pub mod mutate;
mod reading;
mod second_opinion;
mod targets;

pub use targets::{TARGETS, Target, named};

use tarsql::{archive, compression, crew, error, locator, member, memory, stats, store, tar};

/// The files of the crate itself. What nothing here calls is called there.
#[path = "../../src"]
#[allow(dead_code, unused_imports)]
mod tarsql {
    pub(crate) mod archive;
    pub(crate) mod compression;
    pub(crate) mod crew;
    pub(crate) mod error;
    pub(crate) mod locator;
    pub(crate) mod memory;
    pub(crate) mod stats;
    pub(crate) mod tar;

    /// What cuts content into records, without what makes Arrow of them. The checks lie beside it, since it is private
    /// to its format.
    pub(crate) mod member {
        pub(crate) mod avro {
            #[path = "../../../fuzz/src/member/avro.rs"]
            pub(crate) mod check;
            mod container;
        }

        pub(crate) mod csv {
            #[path = "../../../fuzz/src/member/csv.rs"]
            pub(crate) mod check;
            mod split;

            /// Of the options those that say where a field ends.
            pub(crate) struct CsvOptions {
                pub(crate) delimiter: u8,
                pub(crate) quote: u8,
                pub(crate) escape: Option<u8>,
                pub(crate) comment: Option<u8>,
                pub(crate) newlines_in_values: bool,
            }
        }

        pub(crate) mod json {
            #[path = "../../../fuzz/src/member/json.rs"]
            pub(crate) mod check;
            mod documents;
            mod value;
        }
    }

    /// Reading an object, without what connects to servers: the options of those are the engine's.
    pub(crate) mod store {
        mod credentials;
        mod fault;
        mod fetch;
        mod http;
        mod retry;

        pub(crate) use self::fetch::{FetchSettings, FetchTarget, ObjectReader};
    }
}

/// What libFuzzer calls, for the target of that name.
#[cfg(feature = "targets")]
#[macro_export]
macro_rules! fuzz_program {
    ($name:literal) => {
        libfuzzer_sys::fuzz_target!(|data: &[u8]| ($crate::named($name).check)(data));

        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            $crate::mutate::for_libfuzzer($crate::named($name), data, size, max_size, seed)
        });
    };
}
