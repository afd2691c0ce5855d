//! Every plain tar of `testdata/`, hostile and damaged ones too: the same members and the same end at every chunk size,
//! and the same members as the `tar` crate finds.

use std::path::Path;

use super::*;

/// Where the `tar` crate reads something else, and why we don't.
const UNLIKE: [(&str, &str); 12] = [
    ("gnu/sparse-0.0.tar", NO_PAX_SPARSE),
    ("gnu/sparse-0.1.tar", NO_PAX_SPARSE),
    ("gnu/sparse-1.0.tar", NO_PAX_SPARSE),
    ("gnu/sparse-old.tar", "its position is that of the extension blocks, not of the content behind them"),
    (
        "hostile/long-name-and-pax.tar",
        "GNU's name wins over pax, where the later and more precise one should, as in GNU tar",
    ),
    ("hostile/long-name-nul.tar", "GNU's name goes on behind its NUL"),
    ("hostile/name-empty.tar", "a name that ends in a slash is a file's"),
    ("hostile/pax-duplicate-keys.tar", "the first of two records counts, where POSIX has the last"),
    ("hostile/pax-empty-values.tar", "an empty path takes the header's place, where POSIX has it take the record back"),
    ("hostile/solaris-x.tar", "Solaris's extended header is a member"),
    ("hostile/sparse-bomb.tar", NO_PAX_SPARSE),
    ("hostile/sparse-no-file.tar", NO_PAX_SPARSE),
];

const NO_PAX_SPARSE: &str = "sparse files in pax archives are not known, and give their map for content";

/// Name and bytes of each.
fn archives() -> Vec<(String, Vec<u8>)> {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut archives = Vec::new();
    for folder in ["bsdtar", "csv", "damaged", "gnu", "hand", "hostile", "json", "python", "text"] {
        for file in std::fs::read_dir(testdata.join(folder)).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "tar") {
                let name = path.strip_prefix(&testdata).unwrap().to_str().unwrap().to_owned();
                archives.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    archives.sort();
    archives
}

#[test]
fn every_bundled_archive_at_every_chunk_size() {
    let archives = archives();
    let members: usize = archives.iter().map(|(_, bytes)| read_all(bytes, Limits::default()).members.len()).sum();
    assert!(archives.len() > 150 && members > 500, "{} archives, {members} members", archives.len());
}

/// Path, bytes stored, and where.
type Place = (Vec<u8>, u64, u64);

/// `None` where it does not read the archive to its end.
fn with_tar_crate(bytes: &[u8]) -> Option<Vec<Place>> {
    let mut archive = ::tar::Archive::new(bytes);
    archive.set_ignore_zeros(true);
    let entries: Option<Vec<_>> = archive.entries().ok()?.map(Result::ok).collect();
    // Global headers are members there, and whatever has a size has content.
    let members = entries?.into_iter().filter(|entry| !entry.header().entry_type().is_pax_global_extensions());
    let place = |entry: ::tar::Entry<'_, &[u8]>| {
        let size = if matches!(entry.header().as_bytes()[156], b'1'..=b'6') { 0 } else { entry.size() };
        (entry.path_bytes().into_owned(), size, entry.raw_file_position())
    };
    Some(members.map(place).collect())
}

#[test]
fn the_tar_crate_finds_the_same_members() {
    let (mut compared, mut unlike) = (0, Vec::new());
    for (name, bytes) in archives() {
        let ours = read_all(&bytes, Limits::default());
        let (Ok(_), Some(theirs)) = (ours.trailer, with_tar_crate(&bytes)) else { continue };
        // Of a sparse file they have the size with the holes.
        let place = |member: &Member| {
            let size = if member.sparse.is_some() { member.size } else { member.stored_size };
            (member.path.clone(), size, member.data_offset)
        };
        let ours: Vec<Place> = ours.members.iter().map(|(member, _)| place(member)).collect();
        if ours != theirs {
            unlike.push(name);
        }
        compared += 1;
    }
    let known: Vec<&str> = UNLIKE.iter().map(|(name, _)| *name).collect();
    assert_eq!(unlike, known);
    assert!(compared > 90, "{compared} archives");
}
