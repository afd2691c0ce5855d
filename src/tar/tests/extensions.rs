//! What extension headers say: pax records, global ones, GNU long names.

use super::*;

#[test]
fn pax_headers() {
    let new = Archive::new;
    let one = |records: &[(&str, &str)]| new().pax(records).file("a", "abc").end();
    check("path", one(&[("path", "b/c")]), &["file b/c 3 = abc", "end 1024"]);
    check("trailing slash", new().pax(&[("path", "b/")]).file("a", "").end(), &["directory b/ 0", "end 1024"]);
    check(
        "owners",
        one(&[("uid", "5000000000"), ("gid", "-7"), ("uname", "\u{fc}"), ("gname", "")]),
        &["file a 3 = abc 5000000000:-7 \\xc3\\xbc:", "end 1024"],
    );
    check("mtime", one(&[("mtime", "-1.25")]), &["file a 3 = abc mtime=Some(-1250000)", "end 1024"]);
    check("bad mtime", one(&[("mtime", "nan")]), &["file a 3 = abc mtime=None mtime=nan", "end 1024"]);
    check(
        "others",
        one(&[("comment", "c"), ("SCHILY.dev", "1"), ("atime", "0.5"), ("ctime", "")]),
        &["file a 3 = abc SCHILY.dev=1 atime=0.5 comment=c", "end 1024"],
    );
    check(
        "the last of a key",
        one(&[("path", "b"), ("path", "c"), ("x", "1"), ("x", "2")]),
        &["file c 3 = abc x=2", "end 1024"],
    );
    check("an empty value", one(&[("path", "b"), ("path", "")]), &["file a 3 = abc", "end 1024"]);
    check("a NUL in the path", one(&[("path", "b\0c")]), &["file b\\x00c 3 = abc", "end 1024"]);
    let binary: [(&str, &[u8]); 2] = [("hdrcharset", b"BINARY"), ("path", b"\xff")];
    check("binary", new().pax(&binary).file("a", "").end(), &["file \\xff 0 hdrcharset=BINARY", "end 1024"]);
    let link = new().pax(&[("linkpath", "far")]).header(of_type(b'2', "l", 0).linkname("near")).end();
    check("linkpath", link, &["symlink l 0 -> far", "end 1024"]);
    let solaris = new().extension(b'X', pax_body(&[("path", "b")])).file("a", "").end();
    check("solaris", solaris, &["file b 0", "end 1024"]);
    let next = new().pax(&[("path", "b"), ("x", "1")]).file("a", "").file("c", "").end();
    check("one member only", next, &["file b 0 x=1", "file c 0", "end 1024"]);
    let repeated = new().pax(&[("path", "b"), ("x", "1")]).pax(&[("x", "2")]).file("a", "").end();
    check("the last header", repeated, &["file a 0 x=2", "end 1024"]);
    check("no records", new().pax::<&str, &str>(&[]).file("a", "").end(), &["file a 0", "end 1024"]);
    let padded = new().extension(b'x', "10 path=b\n\0\0\0").file("a", "").end();
    check("NULs behind the records", padded, &["file b 0", "end 1024"]);
}

#[test]
fn pax_size() {
    let new = Archive::new;
    let size = new().pax(&[("size", "3")]);
    let wins = size.clone().header(file("a", 700)).content("abc").file("b", "").end();
    check("wins over the header's", wins, &["file a 3 = abc", "file b 0", "end 1024"]);
    let unreadable = size.clone().header(file("a", 0).set(124, "************")).content("abc").end();
    check("stands in for the header's", unreadable, &["file a 3 = abc", "end 1024"]);
    // A reader that takes it for the long name's own size sees other members.
    let name = [b"long".as_slice(), &[0; 600]].concat();
    let between = size.extension(b'L', name).header(file("a", 0)).content("abc").file("b", "").end();
    check("not for a header between", between, &["file long 3 = abc", "file b 0", "end 1024"]);
    check(
        "no number",
        new().pax(&[("size", "-1")]).file("a", "").end(),
        &["member 'a' at offset 1024: size in a pax header is no number within 63 bits ('-1')"],
    );
    check(
        "too big",
        new().pax(&[("size", "9223372036854775808")]).file("a", "").end(),
        &["member 'a' at offset 1024: size in a pax header is no number within 63 bits ('9223372036854775808')"],
    );
    check(
        "malformed",
        new().file("a", "").extension(b'x', "6 a=b\n6 a=bc\n").file("b", "").end(),
        &["file a 0", "at offset 1030: malformed pax record: no newline at its end"],
    );
}

#[test]
fn global_headers() {
    let new = Archive::new;
    let global = new().global(&[("path", "g"), ("mtime", "1"), ("comment", "c")]);
    let ends = " mtime=Some(1000000) comment=c";
    check(
        "all members until replaced",
        global
            .clone()
            .file("a", "")
            .pax(&[("path", "b"), ("comment", "")])
            .file("a", "")
            .global(&[("path", ""), ("comment", "d")])
            .file("c", "")
            .end(),
        &[
            &format!("file g 0{ends}"),
            "file b 0 mtime=Some(1000000)",
            "file c 0 mtime=Some(1000000) comment=d",
            "end 1024",
        ],
    );
    check("alone", new().global(&[("comment", "c")]).end(), &["end 1024"]);
    check("alone without end", new().global(&[("comment", "c")]), &["no end"]);
    check("not behind an end marker", global.clone().end().file("a", "").end(), &["file a 0", "end 1024"]);
    check(
        "but behind one zero block",
        global.raw([0; 512]).file("a", "").end(),
        &[&format!("file g 0{ends}"), "end 1024"],
    );
    let size = new().global(&[("size", "3"), ("GNU.sparse.map", "0,1")]).file("a", "").file("b", "").end();
    check("no size for all", size, &["file a 0", "file b 0", "end 1024"]);
    let between = new().pax(&[("path", "b")]).global(&[("x", "1")]).file("a", "").end();
    check("between a header and its member", between, &["file b 0 x=1", "end 1024"]);
}

#[test]
fn gnu_long_names() {
    let new = Archive::new;
    let long = "n".repeat(5000);
    let name = new().extension(b'L', format!("{long}\0"));
    check("name", name.clone().file("a", "").file("b", "").end(), &[&format!("file {long} 0"), "file b 0", "end 1024"]);
    let both = name.clone().extension(b'K', "target\0");
    let link = of_type(b'2', "l", 0).gnu().linkname("x");
    check("name and link", both.header(link).end(), &[&format!("symlink {long} 0 -> target"), "end 1024"]);
    check("the last", name.clone().extension(b'L', "b").file("a", "").end(), &["file b 0", "end 1024"]);
    check("up to the first NUL", new().extension(b'L', "b\0c").file("a", "").end(), &["file b 0", "end 1024"]);
    check("pax wins", new().pax(&[("path", "p")]).extension(b'L', "b").file("a", "").end(), &["file p 0", "end 1024"]);
    check("a directory", new().extension(b'L', "b/\0").file("a", "").end(), &["directory b/ 0", "end 1024"]);
}
