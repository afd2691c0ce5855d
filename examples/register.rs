//! tarsql in any DataFusion program: one call, and tar archives are tables.
//!
//! ```sh
//! cargo run --example register -- 'testdata/opensky/states/**/*.csv.tar'
//! ```

use datafusion::error::Result;
use datafusion::prelude::SessionContext;

#[tokio::main]
async fn main() -> Result<()> {
    let archives = std::env::args().nth(1).unwrap_or_else(|| "testdata/opensky/states/**/*.csv.tar".to_owned());

    let ctx = SessionContext::new();
    tarsql::register(&ctx)?;

    // A function…
    ctx.sql(&format!("SELECT path, type, size FROM read_tar('{archives}') ORDER BY archive, data_offset"))
        .await?
        .show()
        .await?;

    // …or a table.
    ctx.sql(&format!(
        "CREATE EXTERNAL TABLE states (time BIGINT, icao24 VARCHAR, velocity DOUBLE)
         STORED AS TAR LOCATION '{archives} :: *.csv.gz' OPTIONS ('format' 'csv', 'on_bad_row' 'null')"
    ))
    .await?;
    ctx.sql(
        "SELECT icao24, max(velocity) AS fastest FROM states GROUP BY icao24 ORDER BY fastest DESC NULLS LAST LIMIT 5",
    )
    .await?
    .show()
    .await
}
