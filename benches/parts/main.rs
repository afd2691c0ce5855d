//! Benchmarks of what tarsql is made of, each next to its limit; `README.md` beside this file says how to run and read them.
//!
//! They go through the public API, over archives in memory: a query is what users have, and what is inside may change
//! without the benchmarks changing with it. The cost of a query as such (planning it, listing one object) is well below a
//! millisecond, the inputs are 16 MiB and more, so that it does not show.

mod batches;
mod decompressors;
mod inputs;
mod parquet;
mod parser;
mod records;
mod workbench;

use std::time::Duration;

use criterion::Criterion;

/// The least that criterion takes: an iteration is tens of milliseconds long, so that ten of them agree.
const SAMPLES: usize = 10;
const WARM_UP: Duration = Duration::from_millis(500);
const MEASUREMENT: Duration = Duration::from_secs(2);

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(SAMPLES)
        .warm_up_time(WARM_UP)
        .measurement_time(MEASUREMENT)
        .without_plots()
        .configure_from_args();
    parser::bench(&mut criterion);
    decompressors::bench(&mut criterion);
    records::bench(&mut criterion);
    batches::bench(&mut criterion);
    parquet::bench(&mut criterion);
    criterion.final_summary();
}
