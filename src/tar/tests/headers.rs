//! What one header says: layouts, names, types, numbers, sizes.

use super::*;

#[test]
fn layouts_and_names() {
    let long = "n".repeat(100);
    let prefix = "p".repeat(155);
    let new = Archive::new;
    let gnu_times = |header: HeaderBuilder| header.gnu().set(345, "12574544345\x0012574544345\0");
    check("ustar", new().file("a", "abc").end(), &["file a 3 = abc", "end 1024"]);
    check("v7", new().header(file("a", 0).v7()).end(), &["file a 0 :", "end 1024"]);
    check("nul type", new().header(of_type(0, "a", 1)).content("x").end(), &["file a 1 = x", "end 1024"]);
    check("gnu", new().header(gnu_times(file("a", 0))).end(), &["file a 0", "end 1024"]);
    check("prefix", new().header(file("a", 0).prefix("b/c")).end(), &["file b/c/a 0", "end 1024"]);
    check("v7 has no prefix", new().header(file("a", 0).v7().prefix("b")).end(), &["file a 0 :", "end 1024"]);
    check(
        "names fill their fields",
        new().header(file(&long, 0).prefix(&prefix)).end(),
        &[&format!("file {prefix}/{long} 0"), "end 1024"],
    );
    check(
        "version of blanks",
        new().header(file("a", 0).prefix("b").set(263, "  ")).end(),
        &["file b/a 0", "end 1024"],
    );
    // A prefix of 131 bytes, then two times.
    let star = file("a", 0).prefix("b").set(476, "14524770000 14524770000 ").set(508, "tar\0");
    check("star", new().header(star).end(), &["file b/a 0", "end 1024"]);
    check("no name", new().header(file("", 0)).end(), &["file  0", "end 1024"]);
    check("odd names", new().header(file("./../\\", 0)).end(), &["file ./../\\\\ 0", "end 1024"]);
    let latin1 = HeaderBuilder::file(b"caf\xe9", 0);
    check("not UTF-8", new().header(latin1).end(), &["file caf\\xe9 0", "end 1024"]);
}

#[test]
fn types() {
    let new = Archive::new;
    let one = |header: HeaderBuilder| new().header(header).end();
    let links = "target";
    check("directory", one(of_type(b'5', "d/", 0)), &["directory d/ 0", "end 1024"]);
    check("v7 directory", one(of_type(0, "d/", 0).v7()), &["directory d/ 0 :", "end 1024"]);
    check("directory by its name", one(file("d/", 0)), &["directory d/ 0", "end 1024"]);
    check("symlink", one(of_type(b'2', "l", 0).linkname(links)), &["symlink l 0 -> target", "end 1024"]);
    check("hard link", one(of_type(b'1', "l", 0).linkname(links)), &["hardlink l 0 -> target", "end 1024"]);
    check("linkname of a file", one(file("a", 0).linkname(links)), &["file a 0", "end 1024"]);
    check("character", one(of_type(b'3', "c", 0)), &["character c 0", "end 1024"]);
    check("block", one(of_type(b'4', "b", 0)), &["block b 0", "end 1024"]);
    check("fifo", one(of_type(b'6', "f", 0)), &["fifo f 0", "end 1024"]);
    check("contiguous", new().header(of_type(b'7', "f", 1)).content("x").end(), &["file f 1 = x", "end 1024"]);
    check("volume label", one(of_type(b'V', "v", 0).gnu()), &["other v 0", "end 1024"]);
    for typeflag in [b'M', b'N', b'A', b'Z', b'~', b'S', 0xff] {
        let archive = new().header(of_type(typeflag, "o", 600)).content([b'o'; 600]).file("a", "").end();
        check("unknown type", archive, &["other o 600", "file a 0", "end 1024"]);
    }
    let dump = new().header(of_type(b'D', "d/", 600).gnu()).content([b'Y'; 600]).file("a", "").end();
    check("listing of a directory", dump, &["directory d/ 0", "file a 0", "end 1024"]);
}

#[test]
fn sizes_of_what_is_no_file() {
    for typeflag in *b"123456" {
        let name = MemberType::as_str(match typeflag {
            b'1' => MemberType::Hardlink,
            b'2' => MemberType::Symlink,
            b'3' => MemberType::Character,
            b'4' => MemberType::Block,
            b'5' => MemberType::Directory,
            _ => MemberType::Fifo,
        });
        let member = format!("{name} m 0");
        let header = || Archive::new().header(of_type(typeflag, "m", 600));
        check("no content, member", header().file("a", "").end(), &[&member, "file a 0", "end 1024"]);
        check("no content, end marker", header().end(), &[&member, "end 1024"]);
        check("no content, end", header(), &[&member, "no end"]);
        let content = header().content([b'x'; 600]);
        check("content, member", content.clone().file("a", "").end(), &[&member, "file a 0", "end 1024"]);
        check("content, end", content, &[&member, "no end"]);
        check(
            "one block of content",
            header().content([b'x'; 512]),
            &[
                &member,
                "at offset 1024: archive is truncated in the content of a member that is no file (512 bytes are missing)",
            ],
        );
    }
    let slash = Archive::new().header(file("d/", 1)).content("x").file("a", "").end();
    check("directory by its name with content", slash, &["directory d/ 0", "file a 0", "end 1024"]);
    let pax = Archive::new().pax(&[("size", "3")]).header(of_type(b'1', "l", 0)).content("abc").file("a", "").end();
    check("hard link with pax size", pax, &["hardlink l 0", "file a 0", "end 1024"]);
    let zeros = [[0; 512], [b'x'; 512]].concat();
    let zeros_first = Archive::new().header(of_type(b'1', "l", 1024)).raw(&zeros).file("a", "").end();
    check("content that begins with zeros", zeros_first, &["hardlink l 0", "file a 0", "end 1024"]);
    let zeros_only = Archive::new().header(of_type(b'1', "l", 1024)).raw([0; 1024]).file("a", "").end();
    check("content of zeros", zeros_only, &["hardlink l 0", "file a 0", "end 1024"]);
    let cut = Archive::new().header(of_type(b'1', "l", 2048)).raw(&zeros);
    check(
        "content that begins with zeros, cut",
        cut,
        &[
            "hardlink l 0",
            "at offset 1536: archive is truncated in the content of a member that is no file (1024 bytes are missing)",
        ],
    );
    let huge = Archive::new().pax(&[("size", "9223372036854775807")]).header(of_type(b'5', "d", 0)).file("a", "").end();
    check("no content, huge size", huge, &["directory d 0", "file a 0", "end 1024"]);
    let twice = Archive::new().header(of_type(b'5', "d", 1)).content("x").content("y");
    check("only once", twice, &["directory d 0", "at offset 1024: header checksum mismatch (stored 0, computed 377)"]);
}

#[test]
fn numbers() {
    let new = Archive::new;
    let one = |header: HeaderBuilder| new().header(header).end();
    let base256 = |value: i64, len: usize| {
        let mut field = vec![if value < 0 { 0xff } else { 0 }; len - 8];
        field.extend(value.to_be_bytes());
        field[0] |= 0x80;
        field
    };
    let a = || file("a", 0);
    check("blank", one(a().set(108, [0; 16])), &["file a 0 0:0", "end 1024"]);
    check("base-256 uid", one(a().set(108, base256(0x7000_0000, 8))), &["file a 0 1879048192:100", "end 1024"]);
    check("negative gid", one(a().set(116, [0xff; 7]).set(123, [0xfe])), &["file a 0 1000:-2", "end 1024"]);
    check("negative mtime", one(a().set(136, base256(-1, 12))), &["file a 0 mtime=Some(-1000000)", "end 1024"]);
    check("past any calendar", one(a().set(136, base256(8_210_266_876_800, 12))), &["file a 0 mtime=None", "end 1024"]);
    check("far mtime", one(a().set(136, base256(i64::MAX, 12))), &["file a 0 mtime=None", "end 1024"]);
    check("no mtime", one(a().set(136, "tomorrow \0\0\0")), &["file a 0 mtime=None", "end 1024"]);
    check("mode", one(a().set(100, "0104755\0")), &["file a 0 mode=4755", "end 1024"]);
    check(
        "bad mode",
        one(a().set(100, "rw-r--r-")),
        &["member 'a' at offset 0: mode in a header is no number (stored 'rw-r--r-')"],
    );
    check("negative size", one(a().set(124, base256(-512, 12))), &["member 'a' at offset 0: size is negative (-512)"]);
    check(
        "size over 63 bits",
        one(a().set(124, [0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0])),
        &["member 'a' at offset 0: size in a header is not within ±9223372036854775807 (stored \
            '\\x80\\x00\\x00\\x00\\x80\\x00\\x00\\x00\\x00\\x00\\x00\\x00')"],
    );
    check(
        "content over 63 bits",
        one(a().set(124, base256(i64::MAX, 12))),
        &["member 'a' at offset 0: content of 9223372036854775807 bytes ends behind byte 9223372036854775807"],
    );
}

#[test]
fn sizes_over_8_gib() {
    let size = (9u64 << 30) + 1;
    let archive = Archive::new().header(file("big", 0).set(124, [0x80, 0, 0, 0]).set(128, size.to_be_bytes())).build();
    let mut parser = Parser::new(Limits::default());
    let (consumed, Step::Member(member)) = parser.parse(&archive).unwrap() else { panic!("no member") };
    assert_eq!((consumed, member.size, member.stored_size, member.padding()), (512, size, size, 511));
    assert_eq!(parser.offset(), 512 + size + 511);
    let (_, step) = parser.parse(&Archive::new().file("next", "").build()).unwrap();
    assert!(matches!(step, Step::Member(next) if next.offset == 512 + size + 511 && next.path == b"next"));
}

#[test]
fn offsets_are_those_of_the_first_header() {
    let archive = Archive::new()
        .global(&[("comment", "c")])
        .pax(&[("path", "p")])
        .extension(b'L', "l")
        .file("a", "abc")
        .file("b", "")
        .end()
        .build();
    let found = read_all(&archive, Limits::default());
    let offsets: Vec<_> = found.members.iter().map(|(member, _)| (member.offset, member.data_offset)).collect();
    assert_eq!(offsets, [(1024, 3584), (4096, 4608)]);
}
