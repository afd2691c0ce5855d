//! Containers to rows.

use super::*;
use crate::policy::*;
use crate::stats::Stats;
#[test]
fn explore() {
    for c in ["null","deflate","snappy","zstandard","bzip2","xz"] {
        let bytes = std::fs::read(format!("/tmp/hjson/fa-{c}.avro")).unwrap();
        let schema = Arc::new(infer(&bytes).unwrap());
        if c == "null" { eprintln!("{schema:#?}"); }
        let n = schema.fields().len();
        for projection in [(0..n).collect(), vec![3, 1], vec![]] {
        let mut d = AvroDecoder::new(RecordOptions { schema: schema.clone(), projection, batch_size: 8, on_bad_row: OnBadRow::Fail, on_invalid_utf8: OnInvalidUtf8::Fail, stats: Arc::new(Stats::default()) });
        d.decode(&bytes).unwrap();
        d.finish().unwrap();
        while let Some(r) = d.next_records() {
            eprintln!("{c} {} {:?}", r.batch.num_rows(), r.row_numbers.values());
            if c == "null" && r.batch.num_columns() > 0 { let o = arrow::util::display::FormatOptions::new().with_null("NULL");
            let f: Vec<_> = r.batch.columns().iter().map(|c| arrow::util::display::ArrayFormatter::try_new(c, &o).unwrap()).collect();
            for i in 0..r.batch.num_rows() { eprintln!("{}", f.iter().map(|f| f.value(i).to_string()).collect::<Vec<_>>().join(" | ")); } }
        }
        }
    }
}
