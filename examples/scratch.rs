//! scratch
use datafusion::prelude::*;
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ctx = SessionContext::new();
    tarsql::register(&ctx)?;
    tarsql::register_url_tables(&ctx)?;
    for sql in std::env::args().skip(1) {
        let start = std::time::Instant::now();
        match ctx.sql(&sql).await {
            Ok(df) => if let Err(e) = df.show().await { println!("ERR {e}") },
            Err(e) => println!("ERR {e}"),
        }
        println!("{:?}", start.elapsed());
    }
    Ok(())
}
