//! Where archives end, rightly or not: trailers, limits, truncation, damage.

use super::*;

#[test]
fn ends() {
    let new = Archive::new;
    let a = || new().file("a", "abc");
    check("two zero blocks", a().end(), &["file a 3 = abc", "end 1024"]);
    check("one zero block", a().raw([0; 512]), &["file a 3 = abc", "end 512"]);
    check("none", a(), &["file a 3 = abc", "no end"]);
    check("a whole record of zeros", a().raw([0; 10240]), &["file a 3 = abc", "end 10240"]);
    check("part of a zero block", a().end().raw([0; 100]), &["file a 3 = abc", "end 1124"]);
    check("nothing but zeros", new().end(), &["end 1024"]);
    check("appended", a().end().file("b", "").end(), &["file a 3 = abc", "file b 0", "end 1024"]);
    check("appended, not ended", a().end().file("b", ""), &["file a 3 = abc", "file b 0", "no end"]);
    check("garbage", a().end().raw([b'x'; 700]), &["file a 3 = abc", "garbage 700 at 2048"]);
    check("a little garbage", a().end().raw("x"), &["file a 3 = abc", "garbage 1 at 2048"]);
    check("zeros behind garbage", a().end().raw([b'x'; 512]).raw([0; 99]), &["file a 3 = abc", "garbage 611 at 2048"]);
    check(
        "a member behind garbage",
        a().end().raw([b'x'; 512]).file("b", ""),
        &["file a 3 = abc", "garbage 1024 at 2048"],
    );
    let no_header = "header checksum is no number (stored 'xxxxxxxx', computed 60736)";
    check(
        "garbage without an end",
        a().raw([b'x'; 512]).file("b", ""),
        &["file a 3 = abc", &format!("at offset 1024: {no_header}")],
    );
    check("no archive", new().raw([b'x'; 512]), &[&format!("at offset 0: not a tar archive ({no_header})")]);
    check(
        "no archive behind zeros",
        new().end().raw([b'x'; 512]),
        &[&format!("at offset 1024: not a tar archive ({no_header})")],
    );
    check("empty", new(), &["not a tar archive (it is empty)"]);
    check("short", new().raw("abc"), &["not a tar archive (it has 3 bytes, and a header takes 512)"]);
    check(
        "part of a header",
        a().raw("abc"),
        &["file a 3 = abc", "at offset 1024: archive is truncated in a header (3 of 512 bytes)"],
    );
    let memberless = "behind an extension header, before the member that it is for";
    let pax = new().pax(&[("path", "b")]);
    check("no member", pax.clone(), &[&format!("at offset 1024: archive is truncated {memberless}")]);
    check("no member, end marker", pax.clone().end(), &[&format!("at offset 1024: archive ends {memberless}")]);
    check(
        "part of an extension",
        new().raw(&pax.build()[..600]),
        &["at offset 600: archive is truncated in an extension header"],
    );
    let mut damaged = new().file("a", "").file("b", "").end().build();
    damaged[512] = b'c';
    check(
        "damaged header",
        new().raw(damaged),
        &["file a 0", "at offset 512: header checksum mismatch (stored 4195, computed 4196)"],
    );
}

#[test]
fn limits() {
    let limits = Limits { extension_bytes_max: 1000, sparse_extents_max: 3, extension_headers_max: 4 };
    let fails = |archive: Archive, reason: &str| {
        assert_eq!(lines(&archive.end().build(), limits), [format!("at offset {reason}")]);
    };
    let new = Archive::new;
    fails(new().header(of_type(b'x', "x", 1001)), "0: extension header of 1001 bytes is over the limit of 1000");
    fails(
        new().header(of_type(b'L', "x", 1 << 32)),
        "0: extension header of 4294967296 bytes is over the limit of 1000",
    );
    let g = |archive: Archive, key: &str| archive.global(&[(key, &"v".repeat(500))]);
    fails(g(g(new(), "a"), "b"), "1536: global pax records of 1130 bytes are over the limit of 1000");
    let many = (0..5).fold(new(), |archive, _| archive.pax(&[("a", "b")]));
    fails(many, "4096: more than 4 extension headers in a row");
    // Not one of them is held, so that any number of them costs nothing.
    let endless = new().pax(&[("a", "b")]).build().repeat(100_000);
    assert_eq!(
        read(&endless, usize::MAX, Limits::default()).trailer.unwrap_err(),
        "at offset 16384: more than 16 extension headers in a row"
    );
    let separate = (0..5).fold(new(), |archive, _| archive.pax(&[("a", "b")]).file("a", ""));
    assert_eq!(lines(&separate.build(), limits).last().unwrap(), "no end");
    let appended = (0..5).fold(new(), |archive, _| archive.global(&[("a", "b")]).end());
    assert_eq!(lines(&appended.build(), limits), ["end 1024"]);
    let map = [("GNU.sparse.size", "9"), ("GNU.sparse.map", "0,1,2,1,4,1,6,1")];
    assert_eq!(
        lines(&new().pax(&map).file("s", "abcd").end().build(), limits),
        ["member 's' at offset 1024: sparse map of 4 or more extents is over the limit of 3",]
    );
}

/// An archive with everything in it, cut at every byte: an error, unless a reader can't tell that it was cut.
#[test]
fn truncation_at_every_byte() {
    let sparse = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "10")];
    let parts = [
        Archive::new().file("a", "abc"),
        Archive::new().pax(&[("path", "b")]).extension(b'L', "c").file("d", [b'x'; 600]),
        Archive::new().pax(&sparse).file("s", format!("{:\0<512}de", "1\n4\n2\n")),
        Archive::new().header(of_type(b'5', "d", 0)),
        Archive::new().global(&[("comment", "c")]),
    ];
    let mut archive = Vec::new();
    let mut boundaries = vec![];
    for part in parts {
        archive.extend(part.build());
        boundaries.push(archive.len());
    }
    // Whoever sees the end of the last member can't know that a global header was to follow.
    let end = archive.len();
    archive.extend([0; 1024]);
    let whole = read(&archive, usize::MAX, Limits::default());
    for cut in 0..archive.len() {
        let Found { members, trailer } = read(&archive[..cut], usize::MAX, Limits::default());
        assert_eq!(members, whole.members[..members.len()], "cut at {cut}");
        match trailer {
            Ok(trailer) if cut >= end + 512 => assert!(trailer.end_marker, "cut at {cut}"),
            Ok(trailer) => assert!(!trailer.end_marker && boundaries.contains(&cut), "cut at {cut}"),
            Err(_) => assert!(cut < end + 512 && !boundaries.contains(&cut), "cut at {cut}"),
        }
    }
}

/// No byte of an archive can be so wrong that the parser panics, or answers differently at another chunk size.
#[test]
fn damage_at_every_byte() {
    let sparse = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "10")];
    let archive = Archive::new()
        .pax(&sparse)
        .file("s", format!("{:\0<512}de", "1\n4\n2\n"))
        .header(of_type(b'S', "s", 2).gnu().set(386, gnu_map(&[(0, 2)])).set(483, "00000000004\0"))
        .content("ab")
        .end()
        .build();
    for at in 0..archive.len() {
        for wrong in [0, b'\n', b'9', 0x80, 0xff] {
            let mut damaged = archive.clone();
            damaged[at] = wrong;
            // With a checksum that fits again, so that more than the checksum is tested.
            for block in damaged.chunks_exact_mut(BLOCK_LEN).filter(|block| block[257..262] == *b"ustar") {
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
                block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            }
            let limits = Limits::default();
            assert_eq!(read(&damaged, 7, limits), read(&damaged, usize::MAX, limits), "{wrong:#04x} at {at}");
        }
    }
}
