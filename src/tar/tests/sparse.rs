//! Sparse members in all their encodings.

use super::*;

#[test]
fn gnu_sparse() {
    let new = Archive::new;
    let sparse = |size: u64, stored: u64, map: &[(u64, u64)]| {
        of_type(b'S', "s", stored).gnu().set(386, gnu_map(map)).set(483, format!("{size:011o}\0"))
    };
    check(
        "one block",
        new().header(sparse(10, 5, &[(2, 3), (7, 2), (10, 0)])).content("abcde").file("b", "").end(),
        &["file s 10 = ..abc..de.", "file b 0", "end 1024"],
    );
    check("all hole", new().header(sparse(4, 0, &[])).end(), &["file s 4 = ....", "end 1024"]);
    let pairs: Vec<(u64, u64)> = (0..30).map(|at| (2 * at + 1, 1)).collect();
    let content: Vec<u8> = (0..30).map(|at| b'A' + at).collect();
    let more = |pairs: &[(u64, u64)], is_extended: u8| {
        let mut block = [0; BLOCK_LEN];
        block[..24 * pairs.len()].copy_from_slice(gnu_map(pairs).as_bytes());
        block[504] = is_extended;
        block
    };
    let header = sparse(60, 30, &pairs[..4]).set(482, [1]);
    let extended = new().header(header).raw(more(&pairs[4..25], 1)).raw(more(&pairs[25..], 0));
    let file: String = (0..30).map(|at| format!(".{}", char::from(b'A' + at))).collect();
    let expected = format!("file s 60 = {}", file.as_bytes().escape_ascii());
    check("several blocks", extended.clone().content(content).end(), &[&expected, "end 1024"]);
    let cut = &extended.build()[..1024];
    check("cut", new().raw(cut), &["member 's' at offset 1024: archive is truncated in a sparse map"]);
    check(
        "stored bytes are missing",
        new().header(sparse(10, 4, &[(2, 5)])).end(),
        &["member 's' at offset 0: damaged sparse map: extents of 5 bytes for 4 stored bytes"],
    );
    let overlap = new().header(sparse(10, 6, &[(2, 4), (5, 2)])).end();
    check(
        "overlapping",
        overlap,
        &["member 's' at offset 0: damaged sparse map: extent at 5 begins before the end of the last one at 6"],
    );
}

#[test]
fn pax_sparse() {
    let new = Archive::new;
    let stored = |archive: Archive, content: &str| archive.file("dir/GNUSparseFile.1/s", content).file("b", "").end();
    let expected = ["file s 10 = ..abc..de.", "file b 0", "end 1024"];
    let v00 = [
        ("GNU.sparse.size", "10"),
        ("GNU.sparse.numblocks", "2"),
        ("GNU.sparse.offset", "2"),
        ("GNU.sparse.numbytes", "3"),
        ("GNU.sparse.offset", "7"),
        ("GNU.sparse.numbytes", "2"),
        ("path", "s"),
    ];
    check("0.0", stored(new().pax(&v00), "abcde"), &expected);
    let named = ("GNU.sparse.name", "s");
    let v01 = |map| [named, ("GNU.sparse.size", "10"), ("GNU.sparse.numblocks", "2"), ("GNU.sparse.map", map)];
    check("0.1", stored(new().pax(&v01("2,3,7,2")), "abcde"), &expected);
    let v10 = [named, ("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "10")];
    let map = format!("{:\0<512}", "2\n2\n3\n7\n2\n");
    check("1.0", stored(new().pax(&v10), &(map + "abcde")), &expected);
    // Numbers that are cut by the end of a block.
    let pairs: String = (0..100).map(|at| format!("{}\n1\n", 1_000_000 + at * 2)).collect();
    let long = [named, ("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "2000000")];
    let map = format!("{:\0<1024}{}", format!("100\n{pairs}"), "x".repeat(100));
    check("1.0, two blocks", stored(new().pax(&long), &map), &["file s 2000000", "file b 0", "end 1024"]);
    let hole = [named, ("GNU.sparse.size", "3"), ("GNU.sparse.numblocks", "0")];
    check("all hole", stored(new().pax(&hole), ""), &["file s 3 = ...", "file b 0", "end 1024"]);
    check(
        "all hole, 1.0",
        stored(new().pax(&v10), &format!("{:\0<512}", "0\n")),
        &["file s 10 = ..........", "file b 0", "end 1024"],
    );
    let dir = new().pax(&v01("2,3,7,2")).directory("d").end();
    check("no file", dir, &["directory s 0", "end 1024"]);

    let fails = |records: &[(&str, &str)], content: &str, reason: &str| {
        let found = lines(&stored(new().pax(records), content).build(), Limits::default());
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("member 's' at offset ") && found[0].ends_with(reason), "{}", found[0]);
    };
    fails(&v01("2,3,7"), "abcde", "damaged sparse map: an odd count of numbers");
    fails(&v01("2,3,7,2,10,0"), "abcde", "damaged sparse map: 3 extents where 2 are announced");
    fails(&v01("2,3,7,x"), "abcde", "number of a sparse map in a pax header is no number within 63 bits ('x')");
    fails(&v01("2,3,7,4"), "abcdefg", "damaged sparse map: extent of 4 bytes at 7 ends behind the file's 10 bytes");
    fails(&[named, ("GNU.sparse.offset", "2")], "", "damaged sparse map: 1 offsets and 0 lengths");
    fails(&[named, ("GNU.sparse.map", "0,1")], "x", "damaged sparse map: the size of the file is missing");
}

#[test]
fn pax_sparse_maps_in_the_content() {
    let records = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "10")];
    let too_many = "999999999999\n";
    let cases: &[(&str, &str)] = &[
        ("x\n", "damaged sparse map: byte 0x78 where a digit is due"),
        ("\n", "damaged sparse map: an empty line"),
        ("1\n2\n", "damaged sparse map: byte 0x00 where a digit is due"),
        ("1\n99999999999999999999\n", "damaged sparse map: a number is over 9223372036854775807"),
        (too_many, "sparse map of 999999999999 or more extents is over the limit of 262144"),
    ];
    for (map, reason) in cases {
        let archive = Archive::new().pax(&records).file("s", format!("{map:\0<512}")).end();
        check(reason, archive, &[&format!("member 's' at offset 1536: {reason}")]);
    }
    check(
        "no content",
        Archive::new().pax(&records).file("s", "").end(),
        &["member 's' at offset 1536: damaged sparse map: longer than the content (0 bytes are left)"],
    );
    let endless = "9".repeat(512).replace("99", "1\n");
    let archive = Archive::new().pax(&records).file("s", &endless.replacen("1\n", "500\n", 1)[..512]).end();
    check(
        "longer than the content",
        archive,
        &["member 's' at offset 2048: damaged sparse map: longer than the content (0 bytes are left)"],
    );
    let version = Archive::new().pax(&[("GNU.sparse.major", "2")]).file("s", "").end();
    check("unknown version", version, &["member 's' at offset 1024: sparse format 2.0 is not known"]);
}

/// A terabyte of holes and a map of what fits the limit cost no more than their extents.
#[test]
fn a_sparse_bomb_is_a_number() {
    let size = i64::MAX.to_string();
    let records = [("GNU.sparse.size", size.as_str()), ("GNU.sparse.map", "9223372036854775806,1")];
    let archive = Archive::new().pax(&records).file("s", "x").end().build();
    let (_, Step::Member(member)) = Parser::new(Limits::default()).parse(&archive).unwrap() else {
        panic!("no member")
    };
    assert_eq!((member.size, member.stored_size), (i64::MAX.unsigned_abs(), 1));
    assert_eq!(Expander::new(member.sparse.unwrap()).next(), Piece::Hole(9_223_372_036_854_775_806));
}
