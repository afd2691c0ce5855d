//! The `tar` crate writes and we read, and the other way round.

use super::*;

/// A second opinion: the `tar` crate writes, we read.
#[test]
fn archives_of_the_tar_crate() {
    let mut builder = ::tar::Builder::new(Vec::new());
    let long = "d/".repeat(80) + "name";
    let mut expected = Vec::new();
    for (at, name) in ["a", "b/c", &long].into_iter().enumerate() {
        let mut header = ::tar::Header::new_gnu();
        let content = "x".repeat(at * 500);
        header.set_size(content.len() as u64);
        header.set_mode(0o640);
        header.set_uid(3_000_000);
        header.set_mtime(5);
        builder.append_pax_extensions([("comment", name.as_bytes())]).unwrap();
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
        expected.push(format!("file {name} {} mode=640 3000000:0 : mtime=Some(5000000) comment={name}", at * 500));
    }
    let mut header = ::tar::Header::new_gnu();
    header.set_entry_type(::tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "l", &long).unwrap();
    expected.push(format!("symlink l 0 -> {long} mode=0 0:0 : mtime=Some(0)"));
    expected.push("end 1024".to_owned());
    assert_eq!(lines(&builder.into_inner().unwrap(), Limits::default()), expected);
}

/// And the other way round.
#[test]
fn archives_for_the_tar_crate() {
    let long = "n".repeat(300);
    let archive = Archive::new()
        .file("a", "abc")
        .header(file("b", 0).prefix("p"))
        .pax(&[("path", "q"), ("size", "4"), ("mtime", "7.5")])
        .header(file("c", 0))
        .content("abcd")
        .extension(b'L', format!("{long}\0"))
        .header(of_type(b'2', "l", 0).gnu().linkname("target"))
        .end()
        .build();
    let ours = read_all(&archive, Limits::default()).members;
    let mut theirs = ::tar::Archive::new(archive.as_slice());
    let theirs: Vec<_> = theirs
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.path_bytes().into_owned(), entry.size(), entry.raw_file_position())
        })
        .collect();
    let ours: Vec<_> = ours.into_iter().map(|(member, _)| (member.path, member.size, member.data_offset)).collect();
    assert_eq!(ours, theirs);
}
