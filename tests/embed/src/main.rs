//! Somebody else's program: a bare `SessionContext` on a runtime with one thread, and one call to tarsql.

use datafusion::arrow::util::display::array_value_to_string;
use datafusion::error::Result;
use datafusion::prelude::SessionContext;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let archives = std::env::args().nth(1).expect("usage: embed LOCATOR");
    let ctx = SessionContext::new();
    tarsql::register(&ctx)?;
    tarsql::register_url_tables(&ctx)?;

    let sql = format!("SELECT type, count(*), sum(size) FROM read_tar('{archives}') GROUP BY type ORDER BY type");
    for batch in ctx.sql(&sql).await?.collect().await? {
        for row in 0..batch.num_rows() {
            let cells: Result<Vec<_>, _> = batch.columns().iter().map(|c| array_value_to_string(c, row)).collect();
            println!("{}", cells?.join(","));
        }
    }
    Ok(())
}
