//! What a statement names outside the database, before the engine sees it: `~/` in targets and locations, and formats
//! that COPY can't write, which the engine would guess around.

use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::sql::parser::Statement as ParsedStatement;

/// Formats that COPY has an extension for, as the engine knows them.
const WRITTEN: [&str; 4] = ["parquet", "csv", "json", "arrow"];

/// Puts the home folder into what begins with `~/`, and refuses formats that can't be written.
pub(crate) fn resolve(statement: &mut ParsedStatement, state: &SessionState) -> Result<()> {
    match statement {
        ParsedStatement::CopyTo(copy) => {
            if let Some(format) = &copy.stored_as
                && state.get_file_format_factory(format).is_none()
            {
                return plan_err!("COPY can't write {format}: it writes {}", WRITTEN.join(", "));
            }
            expand_home(&mut copy.target);
        }
        ParsedStatement::CreateExternalTable(table) => table.locations.iter_mut().for_each(expand_home),
        _ => {}
    }
    Ok(())
}

fn expand_home(name: &mut String) {
    // A home that is no UTF-8, or none at all, leaves the name as it is: then the engine says what is wrong with it.
    if let Some(rest) = name.strip_prefix("~/")
        && let Ok(home) = std::env::var("HOME")
    {
        *name = format!("{}/{rest}", home.trim_end_matches('/'));
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;
    use datafusion::sql::parser::DFParser;

    use super::*;

    #[test]
    fn homes_are_expanded_and_unknown_formats_refused() {
        let state = SessionContext::new().state();
        let home = std::env::var("HOME").unwrap();
        let resolved = |sql: &str| {
            let mut statement = DFParser::parse_sql(sql).unwrap().pop_front().unwrap();
            resolve(&mut statement, &state).map(|()| statement.to_string()).map_err(|error| error.strip_backtrace())
        };
        assert!(resolved("COPY t TO '~/x.csv'").unwrap().contains(&format!("{home}/x.csv")));
        assert!(resolved("COPY t TO 'a~/x.csv'").unwrap().contains("a~/x.csv"));
        let table = "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '~/x.csv'";
        assert!(resolved(table).unwrap().contains(&format!("{home}/x.csv")));
        for format in ["TAR", "PARKET"] {
            let error = resolved(&format!("COPY t TO 'x' STORED AS {format}")).unwrap_err();
            assert!(
                error.contains(&format!("COPY can't write {format}: it writes parquet, csv, json, arrow")),
                "{error}"
            );
        }
    }
}
