//! Hive-style partitions: the `dt=2024-01-01` directories of a key.

use percent_encoding::percent_decode_str;

/// The values that the directories of `key` give to `names`, in the order of `names`, percent-decoded as Hive writes
/// them. None when one of them is missing. The first directory with a name counts; the object's own name doesn't.
pub(crate) fn hive_values(key: &str, names: &[String]) -> Option<Vec<String>> {
    let (directories, _) = key.rsplit_once('/').unwrap_or_default();
    let value = |name: &String| {
        let mut values =
            directories.split('/').filter_map(|directory| directory.strip_prefix(name.as_str())?.strip_prefix('='));
        values.next().map(|value| match percent_decode_str(value).decode_utf8() {
            Ok(decoded) => decoded.into_owned(),
            // Not an escape that Hive wrote: the text as it is.
            Err(_) => value.to_owned(),
        })
    };
    names.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case<'a> = (&'a str, &'a [&'a str], Option<&'a [&'a str]>);

    #[test]
    fn directories_give_values() {
        let table: &[Case<'_>] = &[
            ("t/dt=2024-01-01/hr=03/x.tar", &["dt", "hr"], Some(&["2024-01-01", "03"])),
            ("t/dt=2024-01-01/hr=03/x.tar", &["hr", "dt"], Some(&["03", "2024-01-01"])),
            ("dt=a/x.tar", &["dt"], Some(&["a"])),
            ("dt=/x.tar", &["dt"], Some(&[""])),
            ("dt=a%20b%2Fc/x.tar", &["dt"], Some(&["a b/c"])),
            ("dt=50%/x.tar", &["dt"], Some(&["50%"])),
            ("dt=%FF/x.tar", &["dt"], Some(&["%FF"])),
            ("dt=a=b/x.tar", &["dt"], Some(&["a=b"])),
            ("dt=a/dt=b/x.tar", &["dt"], Some(&["a"])),
            ("t/dt=a", &["dt"], None),
            ("dtx=a/x.tar", &["dt"], None),
            ("DT=a/x.tar", &["dt"], None),
            ("x.tar", &["dt"], None),
            ("x.tar", &[], Some(&[])),
        ];
        for (key, names, expected) in table {
            let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
            let values = hive_values(key, &names);
            assert_eq!(
                values.as_deref(),
                expected.map(|e| e.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>()).as_deref(),
                "{key}"
            );
        }
    }
}
