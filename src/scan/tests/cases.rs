//! The cases that readers of tar get wrong, one after the other: what is in each archive, or what has to be said of it.
//!
//! A line is a row or what was noted of the archive. Every archive is read whole, byte by byte and in pieces that cross
//! blocks, as it is and inside each compression; the lines have to be the same. What readers disagree on is decided here,
//! and in the comments why.

use super::*;

/// A case, a file of `testdata/`, and its lines.
type Case = (u8, &'static str, &'static [&'static str]);

const LAST: &str = "file 'last.txt' 5 = 'last\\n'";
const A: &str = "file 'a.txt' 2 = 'a\\n'";
const B: &str = "file 'b.txt' 600 = #02e7b9fd";

/// Headers, numbers, names. Fields that are not named here are as the generator writes them.
#[rustfmt::skip]
const HEADERS: &[Case] = &[
    // v7, ustar and old GNU headers are in gnu/ and bsdtar/, read by tests/it/listing.rs.
    (1, "hand/v7-directory.tar", &["directory 'old/' 0 = NULL", "file 'old/a.txt' 2 = 'a\\n'"]),
    (1, "hostile/star.tar", &["file 'dir/sub/star.txt' 5 = 'star\\n'", "file 'plain.txt' 0 = ''", LAST]),
    (1, "hostile/solaris-x.tar", &["file 'solaris/long.txt' 2 = 'a\\n'", LAST]),
    (1, "hostile/magic-versions.tar", &[
        "file '0.txt' 1 = 'x'", "file '1.txt' 1 = 'x'", "file '2.txt' 1 = 'x'", "file '3.txt' 1 = 'x'", "file '4.txt' 1 = 'x'",
        "file '5.txt' 1 = 'x'", LAST]),
    (2, "hand/signed-checksum.tar", &["file 'café.txt' 2 = 'a\\n'"]),
    (2, "hostile/checksum-signed.tar", &["file 'café €.txt' 7 = 'signed\\n'", LAST]),
    (2, "hostile/checksum-forms.tar", &[
        "file '0.txt' 1 = 'x'", "file '1.txt' 1 = 'x'", "file '2.txt' 1 = 'x'", "file '3.txt' 1 = 'x'", "file '4.txt' 1 = 'x'",
        "file '5.txt' 1 = 'x'", LAST]),
    (2, "hostile/checksum-zero.tar", &[A, "error archive: at offset 1024: header checksum mismatch (stored 0, computed 3586)"]),
    (2, "hostile/checksum-junk.tar", &[A, "error archive: at offset 1024: header checksum is no number (stored 'checksum', computed 3586)"]),
    (3, "hostile/numbers.tar", &[
        "file 'blanks' 1 = 'x'", "file 'blank-end' 1 = 'x'", "file 'nuls' 1 owner=0:100 = 'x'", "file 'no-end' 1 = 'x'", "file 'left' 1 = 'x'",
        "file 'junk-behind' 1 = 'x'", "file 'base256' 1 owner=5000000:100 = 'x'", "file 'negative' 1 owner=-2:100 = 'x'",
        "file 'size-twelve' 3 = 'abc'", "file 'size-left' 3 = 'abc'", "file 'size-base256' 3 = 'abc'", "file 'mtime-1969' 0 mtime=-1000000 = ''",
        "file 'mtime-2242' 0 mtime=68719476735000000 = ''", "file 'mode' 0 mode=7777 = ''", LAST]),
    (3, "hostile/size-reserved.tar", &[A, "error archive: member 'b.txt' at offset 1024: size in a header is not within \
        ±9223372036854775807 (stored '\\xc0\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00')"]),
    (3, "hostile/size-overflow.tar", &[A, "error archive: member 'b.txt' at offset 1024: size in a header is not within \
        ±9223372036854775807 (stored '\\x80\\x00\\x00\\x00\\x80\\x00\\x00\\x00\\x00\\x00\\x00\\x00')"]),
    (3, "hostile/uid-junk.tar", &[A, "error archive: member 'b.txt' at offset 1024: uid in a header is no number (stored 'alice\\x00\\x00\\x00')"]),
    (3, "damaged/bad-size.tar", &[A, "file 'b.txt' 5000 = #b8427099", "error archive: member 'c.txt' at offset 6656: size in a header is no \
        number (stored '12x45678901\\x00')"]),
    (4, "hostile/size-9-gib.tar", &[A, "error archive: member 'b.txt' at offset 1024: the archive is truncated, or goes on in another \
        volume: it ends at byte 3584, after 2048 of 9663676416 bytes of content"]),
    (4, "hostile/pax-size-9-gib.tar", &[A, "error archive: member 'b.txt' at offset 1024: the archive is truncated, or goes on in another \
        volume: it ends at byte 4608, after 2048 of 9663676416 bytes of content"]),
    (4, "hostile/size-wraps.tar", &[A, "error archive: member 'b.txt' at offset 1024: content of 9223372036854775807 bytes ends behind byte 9223372036854775807"]),
    (10, "hand/gnu-atime.tar", &["file 'foo' 4 = 'foo\\n'", "file 'bar' 4 = 'bar\\n'"]),
    (24, "hostile/names.tar", &[
        "file '��.txt' 1 = 'x'", "file '���.txt' 1 = 'x'", "file '����.txt' 1 = 'x'", "file '�.txt' 1 = 'x'", "file 'é.txt' 1 = 'x'",
        "file 'e\u{301}.txt' 1 = 'x'", "file '.' 1 = 'x'", "file './a//b/../c.txt' 1 = 'x'", "file 'back\\\\slash.txt' 1 = 'x'",
        "file ' blank ' 1 = 'x'", "file 'nnnnnnnnnn…' (100 #4e9d8231) 1 = 'x'", LAST]),
    (24, "hostile/names-prefix.tar", &["file 'pppppppppp…' (256 #6b6c9190) 1 = 'x'", LAST]),
    // GNU tar and libarchive go by the slash in every format, tarfile in v7 only.
    (24, "hostile/names-slash.tar", &["directory 'v7dir/' 0 = NULL", "directory 'ustardir/' 0 = NULL", "directory 'no-slash' 0 = NULL", LAST]),
    (24, "hostile/name-empty.tar", &["file '' 8 = 'no name\\n'", "directory '' 0 = NULL", "directory 'prefix/' 0 = NULL", LAST]),
    (24, "hostile/name-empty-long.tar", &["file '' 1 = 'x'", LAST]),
    (24, "hostile/names-control.tar", &["file 'tab\\tnew\\nline\\u{1b}[31m\\u{7f}' 1 = 'x'", LAST]),
    (24, "hostile/names-binary.tar", &["file 'caf�.txt' 2 uname='��' hdrcharset='BINARY' = 'a\\n'", LAST]),
    (24, "hostile/names-everywhere.tar", &["symlink '��' 0 -> 'to �' uname='�' gname='�' = NULL", LAST]),
    // No path here becomes one on disk: all of them are rows, as stored.
    (25, "hostile/traversal.tar", &[
        "file '../../etc/passwd' 1 = 'x'", "file '/etc/passwd' 1 = 'x'", "file 'C:\\\\windows\\\\x' 1 = 'x'", "file '\\\\\\\\host\\\\share\\\\x' 1 = 'x'",
        "file 'a/../../b' 1 = 'x'", "file 'CON' 1 = 'x'", "file 'file:///etc/passwd' 1 = 'x'", "file '%2e%2e/x' 1 = 'x'",
        "symlink 'link' 0 -> '/etc' = NULL", "file 'link/passwd' 8 = 'through\\n'", LAST]),
    // Nothing is hidden, whatever its name. Record formats leave `._*` out: tests/it/records.rs.
    (32, "hostile/metadata-names.tar", &[
        "file '._a.txt' 1 = 'x'", "file 'a.txt' 1 = 'x'", "file '.DS_Store' 1 = 'x'", "file '__MACOSX/._b' 1 = 'x'", "file 'PaxHeader/a.txt' 1 = 'x'",
        "file '././@LongLink' 1 = 'x'", "file '@PaxHeader' 1 = 'x'", "file '././@PaxHeader' 1 = 'x'", LAST]),
    // Every version is a row; which is the last one is SQL's to say.
    (19, "hostile/replaced.tar", &[
        "file 'x' 7 = 'a file\\n'", "directory 'x/' 0 = NULL", "symlink 'x' 0 -> 'y' = NULL", "file 'x' 6 = 'again\\n'", A, A, LAST]),
    (34, "hostile/times-odd.tar", &["file 'far' 0 mtime=NULL = ''", "file 'past' 0 mtime=NULL = ''", "file 'junk' 0 mtime=NULL = ''", LAST]),
];

/// Extended headers and GNU's long names.
#[rustfmt::skip]
const EXTENSIONS: &[Case] = &[
    (5, "hand/pax-size.tar", &[B, A]),
    (5, "hostile/pax-size-and-long-name.tar", &["file 'nnnnnnnnnn…' (120 #0467d948) 3 = 'abc'", LAST]),
    (5, "hostile/pax-size-and-global.tar", &[
        "file 'abc' 3 comment='cccccccccccccccccccccccccccccccccccccccc' = 'abc'",
        "file 'last.txt' 5 comment='cccccccccccccccccccccccccccccccccccccccc' = 'last\\n'"]),
    // What is inside the content is no member: a reader that goes by the header's size would list it.
    (5, "hostile/pax-size-smuggles.tar", &["file 'outer.bin' 1024 = #c47279bb", LAST]),
    (5, "hostile/pax-size-shrinks.tar", &["file 'five.txt' 5 = 'five\\n'", LAST]),
    (5, "hostile/pax-size-next-only.tar", &["file 'abc' 3 = 'abc'", A, LAST]),
    (6, "hostile/pax-length-zero.tar", &[A, "error archive: at offset 1536: malformed pax record: shorter than possible"]),
    (6, "hostile/pax-length-short.tar", &[A, "error archive: at offset 1536: malformed pax record: shorter than possible"]),
    (6, "hostile/pax-length-long.tar", &[A, "error archive: at offset 1536: malformed pax record: longer than its header"]),
    (6, "hostile/pax-length-negative.tar", &[A, "error archive: at offset 1536: malformed pax record: no length"]),
    (6, "hostile/pax-length-huge.tar", &[A, "error archive: at offset 1536: malformed pax record: no length"]),
    (6, "hostile/pax-no-length.tar", &[A, "error archive: at offset 1536: malformed pax record: no length"]),
    (6, "hostile/pax-no-equals.tar", &[A, "error archive: at offset 1536: malformed pax record: no '='"]),
    (6, "hostile/pax-no-key.tar", &[A, "error archive: at offset 1536: malformed pax record: no key"]),
    (6, "hostile/pax-no-newline.tar", &[A, "error archive: at offset 1536: malformed pax record: no newline at its end"]),
    (6, "hostile/pax-key-not-utf8.tar", &[A, "error archive: at offset 1536: malformed pax record: a key that is not UTF-8"]),
    (6, "hostile/pax-size-junk.tar", &[A, "error archive: member 'b.txt' at offset 2048: size in a pax header is no number within 63 bits ('12x')"]),
    (6, "hostile/pax-size-overflow.tar", &[A, "error archive: member 'b.txt' at offset 2048: size in a pax header is no number within 63 bits ('99999999999999999999')"]),
    (6, "hostile/pax-uid-junk.tar", &[A, "error archive: member 'b.txt' at offset 2048: uid in a pax header is no number within 63 bits ('alice')"]),
    (6, "hostile/pax-over-limit.tar", &[A, "error limit: at offset 1024: extension header of 2097152 bytes is over the limit of 1048576"]),
    // In a pax record a NUL is a character of the name, and what is behind it may not vanish. In GNU's header it ends the name.
    (7, "hostile/pax-nul.tar", &["file 'visible\\0hidden' 2 = 'a\\n'", "symlink 'link' 0 -> 'to\\0hidden' = NULL", LAST]),
    (7, "hostile/long-name-nul.tar", &["file 'visible' 2 = 'a\\n'", LAST]),
    (8, "hostile/pax-global-twice.tar", &[
        "file 'a.txt' 2 gname='everyone' comment='one' = 'a\\n'", "file 'a.txt' 2 gname='everyone' comment='two' = 'a\\n'",
        "file 'a.txt' 2 gname='everyone' = 'a\\n'", "file 'last.txt' 5 gname='everyone' = 'last\\n'"]),
    (8, "hostile/pax-global-only.tar", &[]),
    // The second archive is another one: what the first says of all its members does not hold there.
    (8, "hostile/pax-global-concatenated.tar", &[
        "file 'a.txt' 2 uname='first' comment='of the first' = 'a\\n'", "file 'b.txt' 2 = 'b\\n'", LAST]),
    // One size for all members can't be meant.
    (8, "hostile/pax-global-size.tar", &[A, LAST]),
    (8, "hostile/pax-global-over-limit.tar", &[A, "error limit: at offset 1024: extension header of 4294967296 bytes is over the limit of 1048576"]),
    // The last of a kind wins, and pax over GNU, whichever comes first.
    (9, "hand/pax-twice.tar", &["file 'last.txt' 2 = 'a\\n'", B]),
    (9, "hostile/pax-duplicate-keys.tar", &["file 'last' 2 k='2' = 'a\\n'", LAST]),
    (9, "hostile/pax-empty-values.tar", &["file 'a.txt' 2 = 'a\\n'", LAST]),
    (9, "hostile/long-name-twice.tar", &["symlink 'gggggggggg…' (120 #fd04b521) 0 -> 'llllllllll…' (120 #6847b679) = NULL", LAST]),
    (9, "hostile/long-name-and-pax.tar", &["file 'pax.txt' 2 = 'a\\n'", "file 'pax.txt' 2 = 'a\\n'", LAST]),
    (9, "hostile/long-name-path-max.tar", &["file 'dddddddddd…' (4999 #209ad7ea) 2 = 'a\\n'", LAST]),
    (9, "hostile/long-name-over-limit.tar", &[A, "error limit: at offset 1024: extension header of 8589934592 bytes is over the limit of 1048576"]),
    (9, "hostile/pax-without-member.tar", &[A, "error archive: at offset 2048: archive ends behind an extension header, before the member that it is for"]),
    (30, "hostile/headers-in-a-row.tar", &["file 'a.txt' 2 comment='7' k='7' = 'a\\n'", "file 'last.txt' 5 comment='7' = 'last\\n'"]),
    (30, "hostile/headers-without-end.tar", &[A, "error limit: at offset 17408: more than 16 extension headers in a row"]),
    (33, "hostile/pax-xattrs.tar", &[
        "file 'a.txt' 2 LIBARCHIVE.creationtime='1.5' LIBARCHIVE.xattr.user%2Ekey='dmFsdWU' RHT.security.selinux='unconfined_u:object_r\\0' \
         SCHILY.acl.access='user::rw-\\ngroup::r--\\n' SCHILY.xattr.user.bin='\\0\\u{1}�=' VENDOR.x='ключ' a='b=c=d' = 'a\\n'", LAST]),
    // What can't be represented is NULL, and stays readable among the records.
    (34, "hostile/pax-times.tar", &[
        "file '1.5' 0 mtime=1500000 = ''", "file '-0.000001' 0 mtime=-1 = ''", "file 'nan' 0 mtime=NULL mtime='nan' = ''",
        "file '-inf' 0 mtime=NULL mtime='-inf' = ''", "file '1e9' 0 mtime=NULL mtime='1e9' = ''",
        "file '9223372036854.775807' 0 mtime=NULL mtime='9223372036854.775807' = ''", "file '9223372036854.775808' 0 mtime=NULL mtime='9223372036854.775808' = ''",
        "file '99999999999999999999' 0 mtime=NULL mtime='99999999999999999999' = ''", "file '253402300800' 0 mtime=253402300800000000 = ''",
        "file '5.' 0 mtime=5000000 = ''", "file '.5' 0 mtime=NULL mtime='.5' = ''", LAST]),
];

/// What a member is, and where it ends.
#[rustfmt::skip]
const MEMBERS: &[Case] = &[
    // The forms that GNU tar writes are in gnu/sparse-*.
    (11, "hostile/sparse-forms.tar", &[
        "file 'empty-map' 4 = '\\x00\\x00\\x00\\x00'", "file 'touching' 8 = 'abcdefgh'", "file 'no-extent' 6 = '\\x00\\x00\\x00\\x00\\x00\\x00'",
        "file 'old' 12 = '\\x00\\x00ab\\x00\\x00cd\\x00e\\x00f'", LAST]),
    (11, "hostile/sparse-unsorted.tar", &[A, "error archive: member 's' at offset 2048: damaged sparse map: extent at 0 begins before the end of the last one at 7"]),
    (11, "hostile/sparse-overlap.tar", &[A, "error archive: member 's' at offset 2048: damaged sparse map: extent at 2 begins before the end of the last one at 4"]),
    (11, "hostile/sparse-beyond.tar", &[A, "error archive: member 's' at offset 2048: damaged sparse map: extent of 4 bytes at 8 ends behind the file's 10 bytes"]),
    (11, "hostile/sparse-overflow.tar", &[A, "error archive: member 's' at offset 2048: damaged sparse map: extent of 9223372036854775807 bytes at \
        9223372036854775807 ends behind the file's 10 bytes"]),
    (11, "hostile/sparse-short.tar", &[A, "error archive: member 's' at offset 2048: damaged sparse map: extents of 4 bytes for 2 stored bytes"]),
    (11, "hostile/sparse-odd.tar", &[A, "error archive: member 's' at offset 2048: damaged sparse map: an odd count of numbers"]),
    (11, "hostile/sparse-count.tar", &[A, "error archive: member 's' at offset 2048: damaged sparse map: 1 extents where 7 are announced"]),
    (11, "hostile/sparse-not-a-number.tar", &[A, "error archive: member 's' at offset 2560: damaged sparse map: byte 0x78 where a digit is due"]),
    // Its row is there for whoever does not ask for its content.
    (12, "hostile/sparse-bomb.tar", &[A, LAST, "error limit: member 'bomb' at offset 1024: 1099511627776 bytes don't fit one value (2147483647 bytes at \
        most): leave the content out of the query"]),
    (12, "hostile/sparse-millions.tar", &[A, "error limit: member 's' at offset 2560: sparse map of 999999999999 or more extents is over the limit of 262144"]),
    (13, "hostile/sparse-negative.tar", &[A, "error archive: member 's' at offset 1024: offset in a sparse map is negative (-1)"]),
    (13, "hostile/size-negative.tar", &[A, "error archive: member 'b.txt' at offset 1024: size is negative (-512)"]),
    (13, "hostile/pax-size-negative.tar", &[A, "error archive: member 'b.txt' at offset 2048: size in a pax header is no number within 63 bits ('-1')"]),
    // Whether there is content behind a directory or a link, what follows its header decides. Readers that go by the size alone lose members.
    (14, "hostile/sizes-without-content.tar", &[
        A, "directory 'd/' 0 = NULL", "symlink 's' 0 -> 'a.txt' = NULL", "hardlink 'h' 0 -> 'a.txt' = NULL", "fifo 'f' 0 = NULL", "character 'c' 0 = NULL", LAST]),
    (14, "hostile/sizes-with-content.tar", &[
        A, "directory 'd/' 0 = NULL", "symlink 's' 0 -> 'a.txt' = NULL", "hardlink 'h' 0 -> 'a.txt' = NULL", "fifo 'f' 0 = NULL", "character 'c' 0 = NULL", LAST]),
    (14, "hostile/hard-link-of-zeros.tar", &[A, "hardlink 'h' 0 -> 'a.txt' = NULL", LAST]),
    (15, "hostile/links.tar", &[
        "hardlink 'self-hard' 0 -> 'self-hard' = NULL", "symlink 'self-soft' 0 -> 'self-soft' = NULL", "hardlink 'to-later' 0 -> 'a.txt' = NULL",
        "symlink 'loop-a' 0 -> 'loop-b' = NULL", "symlink 'loop-b' 0 -> 'loop-a' = NULL", "symlink 'nowhere' 0 = NULL",
        "symlink 'full' 0 -> 'tttttttttt…' (100 #0fe47695) = NULL", A, LAST]),
    // Content of what no standard names is not taken for a file's.
    (16, "hostile/vendor-types.tar", &[
        "other 'A' 8 = NULL", "other 'I' 8 = NULL", "other 'N' 8 = NULL", "other 'Z' 8 = NULL", "other '~' 8 = NULL", "other '9' 8 = NULL",
        "other 'label' 0 = NULL", "file 'contiguous' 6 = 'seven\\n'", "file 'null' 5 = 'zero\\n'", LAST]),
    (16, "hostile/sparse-no-file.tar", &["other 'mapped' 10 = NULL", LAST]),
    (17, "hostile/multi-volume-1.tar", &[A, "error archive: member 'big.csv' at offset 1024: the archive is truncated, or goes on in another volume: \
        it ends at byte 2048, after 512 of 609 bytes of content"]),
    // The end of a file is no file. Formats that read files refuse it: see `a_file_that_began_in_another_volume`.
    (17, "hostile/multi-volume-2.tar", &["other 'big.csv' 9 = NULL", LAST]),
    (17, "hostile/part-2.tar", &["error archive: at offset 0: not a tar archive (header checksum is no number (stored '\\xe5^\\xb6\\xff\\x19\\x138\\xcd', computed 63987))"]),
    (18, "hostile/gnu-incremental.tar", &["directory 'dir/' 0 = NULL", "file 'dir/a.txt' 2 = 'a\\n'", LAST]),
    (20, "hand/no-end.tar", &[A, B, "warning no_end_marker: at offset 2560: the archive has no end marker: its last members may be missing"]),
    (20, "hand/one-zero-block.tar", &[A, B]),
    (20, "hostile/ends-in-half-a-block.tar", &[A]),
    (21, "damaged/cut-in-header.tar", &[A, "error archive: at offset 1024: archive is truncated in a header (200 of 512 bytes)"]),
    (21, "damaged/cut-in-body.tar", &[A, "error archive: member 'b.txt' at offset 1024: the archive is truncated, or goes on in another volume: it ends at byte 2536, \
        after 1000 of 5000 bytes of content"]),
    (21, "damaged/cut-in-padding.tar", &[A, "file 'b.txt' 5000 = #b8427099", "error archive: member 'b.txt' at offset 1024: the archive is truncated: it ends at byte 6541, in the padding behind the content"]),
    (22, "hand/concatenated.tar", &[A, B, "file 'c.txt' 2 = 'c\\n'"]),
    (22, "hostile/zero-block-inside.tar", &[A, B, LAST]),
    (23, "hand/trailing-garbage.tar", &[A, B, "warning trailing_garbage: at offset 3584: 1200 bytes behind the end marker are no tar and were left out"]),
    (23, "hostile/garbage-then-member.tar", &[A, "warning trailing_garbage: at offset 2048: 2560 bytes behind the end marker are no tar and were left out"]),
    (23, "hostile/junk-first.tar", &["error archive: at offset 0: not a tar archive (header checksum mismatch (stored 5709408, computed 4211))"]),
    // Headers inside a member are content, however valid they look.
    (31, "hostile/nested-crafted.tar", &["file 'outer.bin' 6656 = #0bbc3114", LAST]),
];

/// Compressions, and what is no tar at all.
#[rustfmt::skip]
const WRAPPINGS: &[Case] = &[
    (26, "hostile/gzip-fields.tar.gz", &[A, LAST]),
    (26, "hostile/gzip-stored.tar.gz", &[A, LAST]),
    (26, "hostile/gzip-bad-isize.tar.gz", &[A, LAST, "error compression: at offset 3072: gzip stream is damaged at compressed byte 117: length mismatch (stored 3073, inflated 3072)"]),
    (26, "hostile/gzip-bad-header-crc.tar.gz", &["error compression: at offset 0: gzip stream is damaged at compressed byte 13: header crc16 mismatch (stored 00001485, computed 000025c4)"]),
    (26, "hostile/gzip-garbage-behind.tar.gz", &[A, LAST, "error compression: at offset 3072: garbage at compressed byte 117, behind a complete gzip stream"]),
    (27, "hostile/zstd-no-size.tar.zst", &[A, LAST]),
    (27, "hostile/zstd-two-sizes.tar.zst", &[A, LAST]),
    (27, "hostile/zstd-dictionary.tar.zst", &["error compression: at offset 0: zstd stream is damaged at compressed byte 0: its frame needs dictionary 42, and tarsql has no dictionaries"]),
    (27, "hostile/zstd-length.tar.zst", &[A, LAST, "error compression: at offset 3071: zstd stream is damaged at compressed byte 3083: invalid data or checksum \
        there or behind it, in the frame from 0: Data corruption detected"]),
    (27, "hostile/zstd-window.tar.zst", &["error limit: at offset 0: zstd window of the frame at compressed byte 0 needs 2147483648 bytes of memory, and the limit is 1073741824: raise the memory limit, --memory-limit (embedded: the session's memory pool)"]),
    (28, "hostile/lz4-legacy.tar.lz4", &[A, LAST]),
    (28, "hostile/compress.tar.Z", &["error archive: at offset 0: not a tar archive, but data compressed by compress (.Z): decompress it first, or compress it with gzip, zstd, bzip2, xz or lz4"]),
    (28, "hostile/lzip.tar.lz", &["error archive: at offset 0: not a tar archive, but data compressed by lzip: decompress it first, or compress it with gzip, zstd, bzip2, xz or lz4"]),
    (28, "hostile/lzma.tar.lzma", &["error archive: not a tar archive, but data compressed by lzma: decompress it first, or compress it with gzip, zstd, bzip2, xz or lz4"]),
    (28, "hostile/lzop.tar.lzo", &["error archive: at offset 0: not a tar archive, but data compressed by lzop: decompress it first, or compress it with gzip, zstd, bzip2, xz or lz4"]),
    (29, "hostile/page.tar", &["error archive: at offset 0: not a tar archive, but an HTML page: it may be what a server answers instead of the archive: check the URL and the credentials"]),
    (29, "hostile/page.tar.gz", &["error archive: at offset 0: not a tar archive, but an HTML page: it may be what a server answers instead of the archive: check the URL and the credentials"]),
    (29, "hostile/s3-fault.tar", &["error archive: not a tar archive, but an XML document: it may be what a server answers instead of the archive: check the URL and the credentials"]),
    (29, "hostile/json-fault.tar", &["error archive: not a tar archive, but a JSON document: it may be what a server answers instead of the archive: check the URL and the credentials"]),
    (29, "hostile/zip.tar", &["error archive: at offset 0: not a tar archive, but a zip archive: unpack it, and pack it as tar"]),
    (29, "hostile/7z.tar", &["error archive: at offset 0: not a tar archive, but a 7z archive: unpack it, and pack it as tar"]),
    (29, "hostile/rar.tar", &["error archive: at offset 0: not a tar archive, but a RAR archive: unpack it, and pack it as tar"]),
    (29, "hostile/parquet.tar", &["error archive: at offset 0: not a tar archive, but a Parquet file: read it as one: STORED AS PARQUET"]),
    (29, "hostile/deb.tar", &["error archive: at offset 0: not a tar archive, but a Debian package: take the data.tar out of it: ar x"]),
    (29, "hostile/cpio.tar", &["error archive: at offset 0: not a tar archive, but a cpio archive: unpack it, and pack it as tar"]),
    (29, "hostile/csv.tar", &["error archive: at offset 0: not a tar archive, but text: check the locator"]),
    (29, "hostile/short.csv.tar", &["error archive: not a tar archive, but text: check the locator"]),
    (29, "hostile/zeros-then-text.tar", &["error archive: at offset 512: not a tar archive (header checksum is no number (stored '........', computed 23709))"]),
    (29, "damaged/empty-file.tar", &["error archive: not a tar archive (it is empty)"]),
    (30, "hostile/gzip-twice.tar.gz", &["error archive: at offset 0: not a tar archive, but gzip data: it may be compressed twice, or another archive_compression than it has was asked for"]),
];

/// Pieces that archives are read in: single bytes, and what falls before, on and behind the end of a block.
const CHUNKS: [u64; 8] = [u64::MAX, 1, 2, 511, 512, 513, 1000, 4096];

fn is_error(line: &str) -> bool {
    line.starts_with("error ")
}

/// What only whoever asks for the content can say.
fn is_about_content(line: &str) -> bool {
    line.contains("bytes don't fit one value")
}

/// With all columns: the lines, and an account that closes unless something is missing.
fn reads_right(expected: &[&str], outcome: &Outcome) -> bool {
    let is_whole = !expected.iter().any(|line| is_error(line) && !is_about_content(line));
    outcome.clone().lines() == *expected && (outcome.accounted == outcome.length) == is_whole
}

/// Without content: the beginnings of the same rows. A header that is whole is a row, even if the content behind it is
/// not, or can't be a value.
fn lists_right(expected: &[&str], outcome: &Outcome) -> bool {
    let (rows, notes): (Vec<&str>, Vec<&str>) =
        expected.iter().partition(|line| !is_error(line) && !line.starts_with("warning "));
    let is_cut = notes.iter().any(|note| note.contains("the archive is truncated") && note.contains("of content"));
    let notes: Vec<&str> = notes.into_iter().filter(|note| !is_about_content(note)).collect();
    let mut listed = outcome.rows.clone();
    listed.retain(|row| !row.starts_with("file 'bomb' "));
    if is_cut {
        listed.pop();
    }
    listed.len() == rows.len()
        && listed.iter().zip(rows).all(|(listed, row)| row.starts_with(listed.as_str()))
        && outcome.incidents == notes
}

/// With `on_error = 'fail'`: the error, and whatever came before. The rows of the last batch go with it.
fn fails_right(expected: &[&str], outcome: &Outcome) -> bool {
    match expected.iter().find(|line| is_error(line)) {
        Some(error) => outcome.incidents.iter().any(|line| line == error),
        None => outcome.clone().lines() == *expected,
    }
}

async fn check(cases: &[Case]) {
    let (mut problems, mut checks) = (Vec::new(), 0);
    for (number, file, expected) in cases {
        let plain = archive(file);
        // How long a compressed archive is nobody knows: see `a_size_that_no_value_has`.
        let is_plain_alone = plain.is_empty() || !file.ends_with(".tar") || file.contains("9-gib");
        let wrappings: Vec<_> = match is_plain_alone {
            true => vec![("as it is", plain)],
            false => wrapped(&plain).collect(),
        };
        for (wrapping, bytes) in wrappings {
            let mut expect = |reading: &Reading, is_right: fn(&[&str], &Outcome) -> bool, outcome: Outcome| {
                checks += 1;
                if !is_right(expected, &outcome) {
                    let chunk = reading.chunk_bytes;
                    problems
                        .push(format!("case {number}, {file}, {wrapping}, {chunk}: {outcome:#?} is not {expected:#?}"));
                }
            };
            for chunk in CHUNKS {
                let reading = Reading::members().in_chunks(chunk);
                expect(&reading, reads_right, reading.read(&bytes).await);
            }
            for chunk in [u64::MAX, 512] {
                let hops = Reading { content: false, hop_bytes_min: 1, ..Reading::members().in_chunks(chunk) };
                expect(&hops, lists_right, hops.read(&bytes).await);
                let fails = Reading::members().in_chunks(chunk).or_fail();
                expect(&fails, fails_right, fails.read(&bytes).await);
            }
        }
    }
    assert!(checks >= cases.len() * (CHUNKS.len() + 4), "{checks} checks of {} archives", cases.len());
    // One is often wrong in each compression and at each size of pieces: a few show why.
    assert!(problems.is_empty(), "{} problems: {}", problems.len(), problems[..problems.len().min(4)].join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers() {
    check(HEADERS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extensions() {
    check(EXTENSIONS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members() {
    check(MEMBERS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrappings() {
    check(WRAPPINGS).await;
}

#[test]
fn every_case_and_every_archive_is_there() {
    let cases: Vec<&Case> = [HEADERS, EXTENSIONS, MEMBERS, WRAPPINGS].into_iter().flatten().collect();
    // 35 and 36 are about servers: tests/it/faults.rs.
    for number in 1..=34 {
        assert!(cases.iter().any(|case| case.0 == number), "case {number}");
    }
    for file in std::fs::read_dir(testdata().join("hostile")).unwrap() {
        let name = format!("hostile/{}", file.unwrap().file_name().to_str().unwrap());
        assert!(cases.iter().any(|case| case.1 == name), "{name} is in no case");
    }
}

/// Behind a size that no value can have, a plain archive is known to be cut. A compressed one only turns out to be.
#[tokio::test]
async fn a_size_that_no_value_has() {
    for (file, end) in [("hostile/size-9-gib.tar", 3584), ("hostile/pax-size-9-gib.tar", 4608)] {
        for (wrapping, bytes) in wrapped(&archive(file)).skip(1) {
            let place = "member 'b.txt' at offset 1024:";
            let limit = format!(
                "error limit: {place} 9663676416 bytes don't fit one value (2147483647 bytes at most): leave the content out \
                 of the query"
            );
            let cut = format!(
                "error archive: {place} the archive is truncated, or goes on in another volume: it ends at byte {end}, after \
                 2048 of 9663676416 bytes of content"
            );
            assert_eq!(Reading::members().read(&bytes).await.lines(), [A, &limit, &cut], "{file} in {wrapping}");
            assert_eq!(Reading::members().or_fail().read(&bytes).await.lines(), [limit], "{file} in {wrapping}");
            let listed = Reading { content: false, ..Reading::members() }.read(&bytes).await;
            assert_eq!(listed.lines(), ["file 'a.txt' 2", "file 'b.txt' 9663676416", &cut], "{file} in {wrapping}");
        }
    }
}

/// The second volume has only the end of the file: to read that as if it were the file would give other rows, and to
/// leave it out in silence fewer.
#[tokio::test]
async fn a_file_that_began_in_another_volume() {
    let bytes = archive("hostile/multi-volume-2.tar");
    let refusal = "error member: member 'big.csv' at offset 0: the file begins in another volume: only its end is here";
    for (reading, last) in [
        (Reading::text(), "file 'last.txt' 5 = 'last\\n'"),
        (Reading::lines(), "last.txt|1|last"),
        (Reading::records(MemberFormat::Csv, &["a"]), "last|memory:///archive|last.txt|1"),
    ] {
        assert_eq!(reading.read(&bytes).await.lines(), [last, refusal]);
        let failed = reading.or_fail().read(&bytes).await;
        assert!(failed.rows.is_empty() && failed.incidents[0].starts_with(refusal), "{failed:?}");
    }
}

/// Every archive that is read at all reads the same in pieces, in every compression, and its account closes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_archive_of_the_test_data_in_pieces() {
    const LENGTH_MAX: u64 = 64 << 10;
    let expected: serde_json::Value = serde_json::from_slice(&archive("expected.json")).unwrap();
    let names = expected["archives"].as_object().unwrap().keys().filter(|name| !name.starts_with("hostile/"));
    let mut read = 0;
    for name in names {
        let plain = archive(name);
        let whole = Reading::members().read(&plain).await;
        assert_eq!(whole.accounted, whole.length, "{name}");
        let is_plain = whole.length == plain.len() as u64;
        if !is_plain || whole.length > LENGTH_MAX {
            continue;
        }
        for (wrapping, bytes) in wrapped(&plain) {
            for chunk in [7, 513, 4096].into_iter().filter(|chunk| bytes.len() as u64 / chunk < 3000) {
                assert_eq!(
                    Reading::members().in_chunks(chunk).read(&bytes).await,
                    whole,
                    "{name}, {wrapping} in {chunk}"
                );
            }
        }
        read += 1;
    }
    assert!(read > 40, "{read} archives");
}
