//! What no compiler looks at: which module uses which, what the repository's texts name, how long a file is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of code, tests apart, that no file may exceed. A file that wants to is asking a question about the design.
const CODE_LINES_MAX: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All files below a folder, by their path within the package.
fn files(folder: &str) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::from(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a folder of the package").flatten() {
            let path = folder.join(entry.file_name());
            match entry.file_type().expect("it is there").is_dir() {
                true => folders.push(path),
                false => found.push(path.to_str().expect("our names are UTF-8").replace('\\', "/")),
            }
        }
    }
    found.sort();
    found
}

/// A source file without its tests, line by line and without comments. Nothing is left of a file of tests.
fn code(file: &str) -> Vec<String> {
    if file.ends_with("/tests.rs") || file.contains("/tests/") {
        return Vec::new();
    }
    let text = read(file);
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default().trim_end().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

/// `table` for `src/table/mod.rs` and for `src/table.rs`; none for `lib.rs` and the program.
fn module_of(file: &str) -> Option<&str> {
    let file = file.strip_prefix("src/")?;
    let module = file.split('/').next()?.trim_end_matches(".rs");
    (!["lib", "bin"].contains(&module)).then_some(module)
}

fn sources() -> Vec<(String, Vec<String>)> {
    files("src").into_iter().map(|file| (code(&file), file)).map(|(code, file)| (file, code)).collect()
}

/// The words of a line that can be names in Rust.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// What follows each `crate::` of a line.
fn crate_paths(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").filter_map(|(at, found)| words(&line[at + found.len()..]).next())
}

/// The drawing of the layers in ARCHITECTURE.md: for each module its line, counted from the top, and its cell in it.
fn drawing() -> BTreeMap<String, (usize, usize)> {
    let modules: BTreeSet<_> = files("src").iter().filter_map(|file| module_of(file)).map(str::to_owned).collect();
    let text = read("ARCHITECTURE.md");
    let picture = text.split("```").nth(1).expect("a drawing");
    let mut drawn = BTreeMap::new();
    for (row, line) in picture.lines().enumerate() {
        let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        for (column, cell) in cells.enumerate() {
            let names: Vec<_> = cell.split(" · ").map(|name| words(name).next().unwrap_or_default()).collect();
            // The words behind the modules say what they do.
            if !names.iter().all(|name| modules.contains(*name)) {
                break;
            }
            for name in names {
                let before = drawn.insert(name.to_owned(), (row, column));
                assert_eq!(before, None, "{name} is drawn twice");
            }
        }
    }
    assert_eq!(drawn.keys().cloned().collect::<BTreeSet<_>>(), modules, "every module is drawn");
    drawn
}

#[test]
fn a_module_uses_only_what_is_drawn_below_it() {
    let drawn = drawing();
    let mut uses = 0;
    for (file, code) in sources() {
        let Some(module) = module_of(&file) else { continue };
        let is_top = file == format!("src/{module}.rs") || file == format!("src/{module}/mod.rs");
        for line in code {
            for used in crate_paths(&line).filter(|used| drawn.contains_key(*used) && *used != module) {
                let (of_module, of_used) = (drawn[module], drawn[used]);
                // Modules in one cell know each other; cells side by side don't.
                assert!(of_used.0 > of_module.0 || of_used == of_module, "{file} uses {used}: {line}");
                uses += 1;
            }
            let climbs = line.contains("super::super::") || (is_top && line.contains("super::"));
            assert!(!climbs, "{file} leaves its module by super::, where nobody looks: {line}");
        }
    }
    assert!(uses > 50, "the paths are still found: {uses}");
}

#[test]
fn a_library_is_named_only_where_it_belongs() {
    let engine = ["table", "sink"];
    let arrow = ["table", "sink", "scan", "member", "batch", "schema"];
    let network = ["table", "sink", "store"];
    let sources = sources();
    for (library, modules) in [
        ("datafusion", &engine[..]),
        ("datafusion_datasource", &engine),
        ("arrow", &arrow),
        ("arrow_avro", &["member"]),
        ("object_store", &network),
        // The loop gives way to other tasks; it waits for nothing itself.
        ("tokio", &["table", "sink", "store", "archive", "crew"]),
        ("zstd", &["compression", "member", "sink"]),
        ("crc32fast", &["compression", "member"]),
        ("csv_core", &["member"]),
    ] {
        let named: BTreeSet<&str> = sources
            .iter()
            .filter(|(_, code)| {
                code.iter()
                    .any(|line| words(line).any(|word| word == library) && line.contains(&format!("{library}::")))
            })
            .filter_map(|(file, _)| module_of(file))
            .collect();
        assert!(named.iter().all(|module| modules.contains(module)), "{library} is named in {named:?}");
        assert!(!named.is_empty(), "{library} is named nowhere: the rule is old");
    }
    // The pure modules: bytes in, facts out.
    for (file, code) in &sources {
        if !module_of(file).is_some_and(|module| ["tar", "compression"].contains(&module)) {
            continue;
        }
        for line in code {
            let shell = ["async ", ".await", "std::fs", "std::net", "std::env", "std::thread"];
            assert!(!shell.iter().any(|word| line.contains(word)), "{file} is pure: {line}");
        }
    }
}

#[test]
fn files_are_short_and_print_nothing() {
    for (file, code) in sources() {
        assert!(code.len() <= CODE_LINES_MAX, "{file} has {} lines of code", code.len());
        for line in &code {
            let prints = words(line).any(|word| ["println", "eprintln", "print", "eprint", "dbg"].contains(&word));
            assert!(!(prints && line.contains("!(")), "{file} prints: {line}");
        }
        assert!(code.is_empty() || read(&file).starts_with("//! "), "{file} does not say what it is");
    }
}

#[test]
fn every_bundled_file_is_named_somewhere() {
    let texts: Vec<String> = ["testdata/expected.json", "testdata/opensky/manifest.json", "testdata/README.md"]
        .into_iter()
        .map(str::to_owned)
        .chain(files("tests/it"))
        .map(read)
        .collect();
    let mut unnamed = Vec::new();
    for file in files("testdata").iter().filter(|file| !file.contains("__pycache__")) {
        let name = file.trim_start_matches("testdata/");
        let short = name.trim_start_matches("opensky/");
        // The scripts that made the rest stand at the top.
        if name.contains('/') && !texts.iter().any(|text| text.contains(name) || text.contains(short)) {
            unnamed.push(name.to_owned());
        }
    }
    assert_eq!(unnamed, Vec::<String>::new(), "files in testdata/ that nothing reads");
}

/// The blocks of a Markdown text in that language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_texts_name_files_that_exist() {
    let folders = ["sql/", "testdata/", "examples/", "tests/", "src/", ".ci/"];
    let mut named = BTreeSet::new();
    let texts: Vec<String> =
        ["README.md", "ARCHITECTURE.md", "testdata/README.md"].into_iter().map(str::to_owned).collect();
    for text in texts.iter().chain(&files("sql")).chain(&files("examples")) {
        let content = read(text);
        for word in content.split(|c: char| c.is_whitespace() || "'\"`(),;:[]".contains(c)) {
            let is_path = folders.iter().any(|folder| word.starts_with(folder)) && !word.contains(['*', '…', '{', '$']);
            if is_path {
                let path = word.trim_end_matches('.');
                assert!(root().join(path).exists(), "{text} names {path}, which is not there");
                named.insert(path.to_owned());
            }
        }
    }
    for file in files("sql").iter().chain(&files("examples")) {
        let readme = read("README.md");
        let name = file.split('/').next_back().expect("a name");
        assert!(named.contains(file) || readme.contains(name) || file.starts_with("examples/"), "nothing names {file}");
    }
    // The two commands that set everything up.
    let readme = read("README.md");
    let shell = blocks(&readme, "sh");
    assert!(shell[0].starts_with("cargo run --release -- -f sql/quickstart.sql --set OUT="), "{}", shell[0]);
    assert_eq!(shell[1], "cargo test\n");
}
