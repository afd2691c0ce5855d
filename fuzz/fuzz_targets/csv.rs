#![no_main]
tarsql_fuzz::fuzz_program!("csv");
