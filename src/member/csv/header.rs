//! The first record of a member names its fields; columns find theirs by name.

use std::collections::{HashMap, HashSet};
use std::str;

use super::split::{Event, FIELDS_MAX, Fields};
use super::{misfit_of, quoted, too_long};
use crate::error::{Error, ErrorKind, Result};
use crate::member::{MissingColumn, RecordOptions};

/// Names that the error about a missing column lists.
const NAMES_LISTED_MAX: usize = 20;

/// The names that a header gives its fields, all different: a second `a` is `a_1`, and a field without a name is
/// `column_3` if it is the third.
///
/// # Errors
/// A header that is no good record, or not UTF-8.
pub(super) fn names(event: &Event<'_>) -> Result<Vec<String>> {
    let fields = match event {
        Event::Record(fields) => fields,
        Event::TooLong => return Err(too_long("the header")),
        misfit => return Err(damaged(format!("the header {}", misfit_of(misfit, 0)))),
    };
    let names = (0..width(fields)?).map(|place| {
        str::from_utf8(fields.get(place))
            .map_err(|error| damaged(format!("field {} of the header is not UTF-8", place + 1)).caused_by(error))
    });
    Ok(distinct(&names.collect::<Result<Vec<_>>>()?))
}

/// The names of the fields of a member without a header, as DataFusion has them.
///
/// # Errors
/// More fields than the limit.
pub(super) fn numbered(fields: &Fields<'_>) -> Result<Vec<String>> {
    Ok((1..=width(fields)?).map(numbered_name).collect())
}

/// Where in a record the projected columns of the table are: under their name, exactly or else in other case.
///
/// # Errors
/// A column of the table that `names` has twice but for the case; one that it lacks, projected or not, where that fails.
pub(super) fn places(names: &[String], options: &RecordOptions) -> Result<Vec<Option<usize>>> {
    let exact: HashMap<&str, usize> = names.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    let mut folded: HashMap<String, Vec<usize>> = HashMap::new();
    for (place, name) in names.iter().enumerate() {
        folded.entry(name.to_lowercase()).or_default().push(place);
    }
    let find = |column: &String| {
        if let Some(place) = exact.get(column.as_str()) {
            return Ok(Some(*place));
        }
        match folded.get(&column.to_lowercase()).map_or(&[][..], Vec::as_slice) {
            [place] => Ok(Some(*place)),
            [] if options.missing_column == MissingColumn::Null => Ok(None),
            [] => Err(missing(column, names)),
            [first, second, ..] => Err(damaged(format!(
                "column '{}' could be '{}' or '{}' of the header",
                quoted(column),
                quoted(&names[*first]),
                quoted(&names[*second])
            ))),
        }
    };
    let fields = options.schema.fields().iter();
    let places = fields.map(|field| find(field.name())).collect::<Result<Vec<_>>>()?;
    Ok(options.projection.iter().map(|column| places[*column]).collect())
}

fn width(fields: &Fields<'_>) -> Result<usize> {
    match fields.count() {
        count @ ..=FIELDS_MAX => Ok(count),
        count => {
            let message = format!("the first record has {count} fields, more than the limit of {FIELDS_MAX}");
            Err(Error::new(ErrorKind::Limit, message))
        }
    }
}

fn distinct(names: &[&str]) -> Vec<String> {
    let given: HashSet<&str> = names.iter().copied().collect();
    let mut used: HashSet<String> = HashSet::with_capacity(names.len());
    // The next suffix to try for a name: without it, a million equal names would take a million million steps.
    let mut suffixes: HashMap<String, usize> = HashMap::new();
    let mut result = Vec::with_capacity(names.len());
    for (place, name) in names.iter().enumerate() {
        let base = if name.is_empty() { numbered_name(place + 1) } else { (*name).to_owned() };
        let mut candidate = base.clone();
        while used.contains(&candidate) || (candidate != *name && given.contains(candidate.as_str())) {
            let suffix = suffixes.entry(base.clone()).or_insert(0);
            *suffix += 1;
            candidate = format!("{base}_{suffix}");
        }
        used.insert(candidate.clone());
        result.push(candidate);
    }
    result
}

fn numbered_name(number: usize) -> String {
    format!("column_{number}")
}

fn missing(column: &str, names: &[String]) -> Error {
    let mut listed = names.iter().take(NAMES_LISTED_MAX).map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    if names.len() > NAMES_LISTED_MAX {
        listed.push_str(", …");
    }
    let column = quoted(column);
    damaged(format!("column '{column}' is not among the {} columns of the header: {listed}", names.len()))
}

/// The member as a whole can't be read: no single record is at fault.
fn damaged(message: String) -> Error {
    Error::new(ErrorKind::Member, message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Fields, Schema};

    use super::*;
    use crate::policy::{OnBadRow, OnInvalidUtf8};

    #[test]
    fn names_become_distinct() {
        let cases: [(&[&str], &[&str]); 5] = [
            (&["a", "b"], &["a", "b"]),
            (&["a", "a", "a"], &["a", "a_1", "a_2"]),
            (&["a", "a", "a_1", "a_1"], &["a", "a_2", "a_1", "a_1_1"]),
            (&["", "x", ""], &["column_1", "x", "column_3"]),
            (&["", "column_1"], &["column_1_1", "column_1"]),
        ];
        for (given, expected) in cases {
            assert_eq!(distinct(given), expected, "{given:?}");
        }
        assert_eq!(distinct(&vec!["a"; 100_000]).last().map(String::as_str), Some("a_99999"));
    }

    #[test]
    fn columns_find_their_fields() {
        let schema = |columns: &[&str]| {
            Schema::new(columns.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect::<Fields>())
        };
        let names = ["Time", "lat", "LAT", "Lon", "lon_x"].map(str::to_owned);
        let check = |columns: &[&str], projection: &[usize], missing_column| {
            let options = RecordOptions {
                schema: Arc::new(schema(columns)),
                projection: projection.to_vec(),
                missing_column,
                batch_size: 1,
                on_bad_row: OnBadRow::Fail,
                on_invalid_utf8: OnInvalidUtf8::Fail,
                bad_rows: crate::report::BadRows::default(),
                allowance: crate::memory::Allowance::unlimited(),
            };
            places(&names, &options).map_err(|error| error.to_string())
        };
        let found = check(&["time", "alt", "LAT"], &[2, 0, 1], MissingColumn::Null);
        assert_eq!(found, Ok(vec![Some(2), Some(0), None]));
        let check = |columns: &[&str], projection: &[usize]| check(columns, projection, MissingColumn::Fail);
        assert_eq!(check(&["time", "lat", "LAT"], &[2, 0, 1]), Ok(vec![Some(2), Some(0), Some(1)]));
        assert_eq!(check(&["LON"], &[]), Ok(vec![]));
        assert_eq!(check(&["Lat"], &[]).unwrap_err(), "column 'Lat' could be 'lat' or 'LAT' of the header");
        let error = check(&["time", "alt"], &[0]).unwrap_err();
        assert_eq!(error, "column 'alt' is not among the 5 columns of the header: Time, lat, LAT, Lon, lon_x");
    }
}
