//! A table without SQL: options by method, the result as a `DataFrame`.
//!
//! ```sh
//! cargo run --example builder -- 'testdata/json/logs.tar :: *.jsonl*'
//! ```

use std::error::Error;
use std::sync::Arc;

use datafusion::functions_aggregate::expr_fn::{avg, count};
use datafusion::prelude::{SessionContext, col, lit};
use tarsql::{TarOptions, TarTable};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let locator = std::env::args().nth(1).unwrap_or_else(|| "testdata/json/logs.tar :: *.jsonl*".to_owned());

    let ctx = SessionContext::new();
    let table = TarTable::open(&ctx.state(), &locator, TarOptions::json()).await?;
    ctx.register_table("logs", Arc::new(table))?;

    ctx.table("logs")
        .await?
        .filter(col("status").gt_eq(lit(400)))?
        .aggregate(vec![col("level")], vec![count(lit(1)), avg(col("latency_ms"))])?
        .show()
        .await?;
    Ok(())
}
