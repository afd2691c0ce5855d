use super::*;

fn parse(text: &str) -> Locator {
    Locator::parse(text).unwrap_or_else(|error| panic!("'{text}': {error}"))
}

/// Text, registry URL, key, literal prefix, whether it is literal, member pattern.
type Case<'a> = (&'a str, &'a str, &'a str, &'a str, bool, Option<&'a str>);

#[test]
fn locators_say_where_and_what() {
    let table: &[Case<'_>] = &[
        ("s3://b/x.tar", "s3://b", "x.tar", "x.tar", true, None),
        ("s3a://b/x.tar", "s3://b", "x.tar", "x.tar", true, None),
        ("S3://b/d/*.tar :: *.csv", "s3://b", "d/*.tar", "d/", false, Some("*.csv")),
        ("s3://b/x.tar  ::\t d/*.csv ", "s3://b", "x.tar", "x.tar", true, Some("d/*.csv")),
        ("s3://b/x.tar :: a :: b", "s3://b", "x.tar", "x.tar", true, Some("a :: b")),
        ("s3://b/a::b.tar", "s3://b", "a::b.tar", "a::b.tar", true, None),
        ("s3://b/a ::b.tar", "s3://b", "a ::b.tar", "a ::b.tar", true, None),
        ("s3://b/a%20b+c d#e?.tar", "s3://b", "a%20b+c d#e?.tar", "a%20b+c d#e", false, None),
        ("s3://b/s-{000..002}.tar", "s3://b", "s-{000..002}.tar", "s-00", false, None),
        ("s3://b/x.tar ", "s3://b", "x.tar ", "x.tar ", true, None),
        ("gs://b.example/x", "gs://b.example", "x", "x", true, None),
        ("azure://c/x", "az://c", "x", "x", true, None),
        ("adl://c/x", "az://c", "x", "x", true, None),
        ("abfs://c/x", "az://c", "x", "x", true, None),
        ("abfs://c@a.dfs.core.windows.net/x", "abfss://c@a.dfs.core.windows.net", "x", "x", true, None),
        ("http://h:8080/a%20b*.tar", "http://h:8080", "a%20b*.tar", "a%20b*.tar", true, None),
        ("https://h/x{1..3}.tar?t=*", "https://h", "x{1..3}.tar", "x", false, None),
        ("https://h/x{1..3}.tar?t=* :: *.csv", "https://h", "x{1..3}.tar", "x", false, Some("*.csv")),
        ("x.tar", "file://", "x.tar", "x.tar", true, None),
        ("./d/*.tar", "file://", "./d/*.tar", "./d/", false, None),
        ("/d/*.tar", "file://", "d/*.tar", "d/", false, None),
        ("//d/x", "file://", "d/x", "d/x", true, None),
        ("file:///d/a%20b.tar", "file://", "d/a b.tar", "d/a b.tar", true, None),
        ("file:/d/x", "file://", "d/x", "d/x", true, None),
        ("file://localhost/d/x", "file://", "d/x", "d/x", true, None),
        ("file:///d%5B1%5D/100%25%/*", "file://", "d[1]/100%%/*", "d", false, None),
        ("file.tar", "file://", "file.tar", "file.tar", true, None),
        ("a:b.tar", "file://", "a:b.tar", "a:b.tar", true, None),
        ("d/a://b", "file://", "d/a://b", "d/a://b", true, None),
        ("**.tar", "file://", "**.tar", "", false, None),
    ];
    for (text, registry, key, prefix, literal, member) in table {
        let locator = parse(text);
        let found = (locator.store().registry_url(), locator.key(), locator.literal_prefix(), locator.is_literal());
        assert_eq!(found, ((*registry).into(), *key, *prefix, *literal), "{text}");
        assert_eq!(locator.member(), *member, "{text}");
        assert_eq!(locator.text(), *text);
    }
}

#[test]
fn what_is_no_locator_is_refused() {
    let table = [
        ("", "names no archive"),
        ("  ", "names no archive"),
        (":: *.csv", "names no archive"),
        (" :: *.csv", "names no archive"),
        ("s3://b/x.tar ::", "member pattern"),
        ("s3://b/x.tar :: ", "member pattern"),
        ("s3://b/x.tar :: **.csv", "'**'"),
        ("ftp://h/x.tar", "one of file, s3, s3a, gs, az, azure, adl, abfs, abfss, http, https"),
        ("s3://", "bucket is missing"),
        ("s3:///x.tar", "bucket is missing"),
        ("s3://*/x.tar", "can't be a pattern"),
        ("s3://b", "'s3://b/*.tar'"),
        ("s3://b/", "'s3://b/*.tar'"),
        ("s3://b/d/", "'s3://b/d/*.tar'"),
        ("d/", "'d/*.tar'"),
        ("/", "'/*.tar'"),
        ("~", "'~/*.tar'"),
        ("http:///x", "host is missing"),
        ("http://h/", "'http://h/*.tar'"),
        ("http://h/x.tar#f", "%23"),
        ("http://h/x.tar?part={1..3}", "not expanded"),
        ("http://a b/x", "host"),
        ("file://host/x.tar", "no absolute path"),
        ("file:///a%FF.tar", "not UTF-8"),
        ("abfss://@a.dfs.core.windows.net/x", "container is missing"),
    ];
    for (text, expected) in table {
        let error = Locator::parse(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Locator, "{text}");
        assert!(error.to_string().contains(expected), "'{text}': {error}");
    }
    assert!(Locator::parse(&"a".repeat(TEXT_BYTES_MAX + 1)).is_err());
}

#[test]
fn secrets_stay_out_of_messages() {
    for text in
        ["s3://KEY:hunter2@b/x", "https://me:hunter2@h/x", "https://h/?sig=hunter2", "https://h/a#b?sig=hunter2"]
    {
        let error = Locator::parse(text).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
    let locator = parse("https://h/x.tar?sig=hunter2");
    assert_eq!(locator.to_string(), "https://h/x.tar?…");
    assert_eq!(locator.store().connect_authority(), "h?sig=hunter2");
    assert_eq!(locator.url_of("x.tar"), "https://h/x.tar?sig=hunter2");
}

#[test]
fn escapes_of_file_urls_are_quoted_in_patterns() {
    for (path, pattern) in [("a%5B1%5D*", "a[[]1[]]*"), ("%C3%A9%2a", "é[*]"), ("100%", "100%"), ("%zz%41", "%zzA")] {
        assert_eq!(quoted(path), pattern);
    }
    let pattern = parse("file:///d%5B1%5D/*.tar");
    assert!(pattern.pattern().unwrap().matches("d[1]/x.tar"));
    assert!(!pattern.pattern().unwrap().matches("d1/x.tar"));
}

#[test]
fn home_and_accounts_are_found() {
    if let Some(home) = std::env::home_dir() {
        let locator = parse("~/d/x.tar");
        assert_eq!((locator.base(), locator.key()), (home.as_path(), "d/x.tar"));
    }
    let locator = parse("abfss://c@a.dfs.core.windows.net/x");
    assert_eq!((locator.store().bucket(), locator.store().authority()), ("c", "c@a.dfs.core.windows.net"));
}
