"""Archives that try a reader: each a few blocks, each named after what is wrong or odd about it.

`archives()` gives those that can be read, `damaged()` those that have to be an error, with what a reader has to say.
What is right for each is stated in src/scan/tests/cases.rs, case by case.
"""
import bz2
import gzip
import hashlib
import io
import struct
import subprocess
import zipfile
import zlib

from blocks import END, GNU, T0, USTAR, base256, entry, extension, header, long, padded, pax, record, signed_checksum

A = entry("a.txt", b"a\n")
B = entry("b.txt", b"b\n" * 300)
LAST = entry("last.txt", b"last\n") + END


def noise(size, seed):
    """`size` bytes that no compression shrinks, the same on every machine."""
    return b"".join(hashlib.sha256(f"{seed}/{at}".encode()).digest() for at in range(0, size, 32))[:size]


# ---- headers, numbers and names --------------------------------------------------------------------------------------

def star():
    """star's header: a prefix of 131 bytes, times where ustar's prefix goes on, a magic of its own at the end."""
    tail = [(476, b"%011o " % T0), (488, b"%011o " % T0), (508, b"tar\0")]
    return header("star.txt", 5, fields=[(345, b"dir/sub"), *tail]) + padded(b"star\n") + header("plain.txt", fields=tail)


def headers():
    yield "star.tar", star() + LAST
    yield "solaris-x.tar", pax(b"X", ("path", "solaris/long.txt")) + A + LAST
    yield "magic-versions.tar", b"".join(
        entry(f"{at}.txt", b"x", magic=magic) for at, magic in enumerate([b"ustar\0  ", b"ustar\0\0\0", b"ustar 00", b"ustar\x0099", b"", b"Ustar\0"])) + LAST
    yield "checksum-forms.tar", b"".join(
        entry(f"{at}.txt", b"x", checksum=form) for at, form in enumerate([b"%06o\0 ", b"%07o\0", b"%6o\0 ", b"%6o  ", b"  %o\0 ", b"%08o"])) + LAST
    yield "checksum-signed.tar", signed_checksum(entry("caf\u00e9 \u20ac.txt", b"signed\n")) + LAST
    yield "numbers.tar", numbers() + LAST
    yield "times-odd.tar", header("far", mtime=base256(1 << 61, 12)) + header("past", mtime=base256(-1 << 61, 12)) + header("junk", mtime=b"yesterday\0\0\0") + LAST
    yield "names.tar", b"".join(entry(name, b"x") for name in [
        "при.txt".encode("cp866"), "при.txt".encode("koi8_r"), "日本.txt".encode("euc_jp"), "é.txt".encode("latin1"),
        "é.txt", "e\u0301.txt", ".", "./a//b/../c.txt", "back\\slash.txt", " blank ", "n" * 100]) + LAST
    yield "names-control.tar", entry("tab\tnew\nline\x1b[31m\x7f", b"x") + LAST
    yield "names-prefix.tar", entry("n" * 100, b"x", fields=[(345, b"p" * 155)]) + LAST
    yield "names-slash.tar", header("v7dir/", 0, kind=b"\0", magic=b"") + header("ustardir/", 0) + header("no-slash", kind=b"5") + LAST
    yield "name-empty.tar", entry("", b"no name\n") + header("", kind=b"5") + entry("", b"prefix only\n", fields=[(345, b"prefix")]) + LAST
    yield "name-empty-long.tar", long(b"L", b"\0") + entry("header.txt", b"x") + LAST
    yield "names-binary.tar", pax(b"x", ("hdrcharset", "BINARY"), ("path", b"caf\xe9.txt"), ("uname", b"\xff\xfe")) + A + LAST
    yield "names-everywhere.tar", header(b"\xff\xfe", kind=b"2", fields=[(157, b"to \xe9"), (265, b"\xfc"), (297, b"\x80")]) + LAST
    yield "traversal.tar", b"".join(entry(name, b"x") for name in [
        "../../etc/passwd", "/etc/passwd", "C:\\windows\\x", "\\\\host\\share\\x", "a/../../b", "CON", "file:///etc/passwd", "%2e%2e/x"]) + (
        header("link", kind=b"2", fields=[(157, b"/etc")]) + entry("link/passwd", b"through\n") + LAST)
    yield "metadata-names.tar", b"".join(entry(name, b"x") for name in [
        "._a.txt", "a.txt", ".DS_Store", "__MACOSX/._b", "PaxHeader/a.txt", "././@LongLink", "@PaxHeader", "././@PaxHeader"]) + LAST
    yield "replaced.tar", entry("x", b"a file\n") + header("x/", kind=b"5") + header("x", kind=b"2", fields=[(157, b"y")]) + entry("x", b"again\n") + A + A + LAST


def numbers():
    def member(name, at, value, data=b"x", **fields):
        return header(name, len(data), fields=[(at, value)], **fields) + padded(data)
    return b"".join([
        member("blanks", 108, b"   1750\0"), member("blank-end", 108, b"001750 \0"), member("nuls", 108, b"\0" * 8), member("no-end", 108, b"00001750"),
        member("left", 108, b"1750\0\0\0\0"), member("junk-behind", 108, b"1750\0xyz"), member("base256", 108, base256(5_000_000, 8)),
        member("negative", 108, base256(-2, 8)), member("size-twelve", 124, b"000000000003", b"abc"), member("size-left", 124, b"3 \0junk\0\0\0\0\0", b"abc"),
        member("size-base256", 124, base256(3, 12), b"abc"), header("mtime-1969", mtime=base256(-1, 12)), header("mtime-2242", mtime=b"777777777777"),
        header("mode", fields=[(100, b"0177777\0")])])


# ---- extended headers ------------------------------------------------------------------------------------------------

def extensions():
    inner = entry("smuggled.txt", b"never a member\n")
    name = "n" * 120
    yield "pax-size-and-long-name.tar", pax(b"x", ("size", "3")) + long(b"L", name) + header("short", 0, magic=GNU) + padded(b"abc") + LAST
    yield "pax-size-and-global.tar", pax(b"x", ("size", "3")) + pax(b"g", ("comment", "c" * 40)) + header("abc", 0) + padded(b"abc") + LAST
    yield "pax-size-smuggles.tar", pax(b"x", ("size", str(len(inner)))) + header("outer.bin", 0) + padded(inner) + LAST
    yield "pax-size-shrinks.tar", pax(b"x", ("size", "5")) + header("five.txt", 2048) + padded(b"five\n") + LAST
    yield "pax-size-next-only.tar", pax(b"x", ("size", "3")) + header("abc", 0) + padded(b"abc") + A + LAST
    yield "pax-duplicate-keys.tar", pax(b"x", ("path", "first"), ("path", "last"), ("size", "9"), ("size", "2"), ("k", "1"), ("k", "2")) + A + LAST
    yield "pax-nul.tar", pax(b"x", ("path", "visible\0hidden")) + A + pax(b"x", ("linkpath", "to\0hidden")) + header("link", kind=b"2", fields=[(157, b"x")]) + LAST
    yield "pax-empty-values.tar", pax(b"x", ("path", ""), ("linkpath", ""), ("size", ""), ("mtime", ""), ("comment", ""), ("uname", "")) + (
        header("a.txt", 2, fields=[(265, b"alice")]) + padded(b"a\n") + LAST)
    yield "pax-xattrs.tar", pax(
        b"x", ("SCHILY.xattr.user.bin", b"\0\x01\xff="), ("SCHILY.acl.access", "user::rw-\ngroup::r--\n"), ("RHT.security.selinux", "unconfined_u:object_r\0"),
        ("LIBARCHIVE.xattr.user%2Ekey", "dmFsdWU"), ("LIBARCHIVE.creationtime", "1.5"), ("VENDOR.x", "ключ"), ("a=b", "c=d")) + A + LAST
    yield "pax-global-twice.tar", (
        pax(b"g", ("comment", "one"), ("gname", "everyone")) + A + pax(b"g", ("comment", "two")) + A + pax(b"g", ("comment", "")) + A + LAST)
    yield "pax-global-only.tar", pax(b"g", ("comment", "5fc0b59b9281df4d0170c77b9316f3383d77e430")) + END
    yield "pax-global-concatenated.tar", pax(b"g", ("comment", "of the first"), ("uname", "first")) + A + END + entry("b.txt", b"b\n") + LAST
    yield "pax-global-size.tar", pax(b"g", ("size", "5"), ("GNU.sparse.size", "9")) + A + LAST
    yield "long-name-twice.tar", long(b"L", "f" * 120) + long(b"L", "g" * 120) + long(b"K", "k" * 120) + long(b"K", "l" * 120) + (
        header("short", kind=b"2", magic=GNU, fields=[(157, b"near")]) + LAST)
    yield "long-name-and-pax.tar", long(b"L", "gnu" * 40) + pax(b"x", ("path", "pax.txt")) + A + pax(b"x", ("path", "pax.txt")) + long(b"L", "gnu" * 40) + A + LAST
    yield "long-name-nul.tar", long(b"L", b"visible\0hidden\0") + A + LAST
    yield "long-name-path-max.tar", long(b"L", "/".join(["d" * 99] * 50)) + A + LAST
    yield "headers-in-a-row.tar", b"".join(pax(b"g", ("comment", f"{at}")) for at in range(8)) + b"".join(pax(b"x", ("k", f"{at}")) for at in range(8)) + A + LAST
    yield "pax-times.tar", b"".join(pax(b"x", ("mtime", time)) + header(time.replace("/", "_")) for time in [
        "1.5", "-0.000001", "nan", "-inf", "1e9", "9223372036854.775807", "9223372036854.775808", "99999999999999999999", "253402300800", "5.", ".5"]) + LAST


# ---- what a member is, and where it ends -----------------------------------------------------------------------------

def kinds():
    def link(name, kind, target, size=0, data=b""):
        return header(name, size, kind=kind, fields=[(157, target)]) + padded(data)
    yield "links.tar", b"".join([
        link("self-hard", b"1", b"self-hard"), link("self-soft", b"2", b"self-soft"), link("to-later", b"1", b"a.txt"), link("loop-a", b"2", b"loop-b"),
        link("loop-b", b"2", b"loop-a"), link("nowhere", b"2", b""), link("full", b"2", b"t" * 100)]) + A + LAST
    def sized(data):
        return b"".join([header("d/", 600, kind=b"5"), data, link("s", b"2", b"a.txt", 600, data), link("h", b"1", b"a.txt", 600, data),
                         header("f", 600, kind=b"6"), data, header("c", 600, kind=b"3"), data])
    yield "sizes-without-content.tar", A + sized(b"") + LAST
    yield "sizes-with-content.tar", A + sized(padded(b"not a header\n" * 47)[:1024]) + LAST
    yield "hard-link-of-zeros.tar", A + link("h", b"1", b"a.txt", 1536, b"\0" * 512 + b"x" * 1024) + LAST
    yield "vendor-types.tar", b"".join(entry(kind, b"content\n", kind=kind.encode()) for kind in ["A", "I", "N", "Z", "~", "9"]) + (
        header("label", kind=b"V", magic=GNU) + entry("contiguous", b"seven\n", kind=b"7") + entry("null", b"zero\n", kind=b"\0") + LAST)
    yield "gnu-incremental.tar", extension(b"D", b"Ya.txt\0Nsub\0Dd\0\0", name="dir/", magic=GNU, fields=[(345, b"%011o\0" % T0), (357, b"%011o\0" % T0)]) + (
        entry("dir/a.txt", b"a\n", magic=GNU, fields=[(345, b"%011o\0" % T0)]) + LAST)
    yield "multi-volume-2.tar", header("big.csv", 9, kind=b"M", magic=GNU, fields=[(369, b"%011o\0" % 600), (483, b"%011o\0" % 609)]) + padded(b"5,6\n7,8\n\n") + LAST
    yield "nested-crafted.tar", entry("outer.bin", (entry("inner.txt", b"never\n") + header("../x", 1 << 33)) * 3 + END + entry("inner-2.txt", b"never\n")) + LAST
    yield "zero-block-inside.tar", A + b"\0" * 512 + B + LAST
    yield "garbage-then-member.tar", A + END + b"no header".ljust(512, b".") + LAST
    yield "ends-in-half-a-block.tar", A + END + b"\0" * 100
    yield "sparse-bomb.tar", A + sparse_1_0("bomb", 1 << 40, b"1\n%d\n5\n" % ((1 << 40) - 5), b"bomb\n") + LAST
    yield "sparse-forms.tar", sparse_forms() + LAST
    records = ("GNU.sparse.size", "10"), ("GNU.sparse.numblocks", "1"), ("GNU.sparse.name", "mapped"), ("GNU.sparse.map", "0,4")
    yield "sparse-no-file.tar", pax(b"x", *records) + entry("GNUSparseFile.0/mapped", b"abcd", kind=b"N") + LAST


def sparse_1_0(name, size, text, data):
    records = ("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.name", name), ("GNU.sparse.realsize", str(size))
    return pax(b"x", *records) + entry(f"GNUSparseFile.0/{name}", padded(text) + data)


def sparse_0_1(name, size, numbers, data, count=None):
    count = str(count if count is not None else (numbers.count(",") + 1) // 2)
    records = ("GNU.sparse.size", str(size)), ("GNU.sparse.numblocks", count), ("GNU.sparse.name", name), ("GNU.sparse.map", numbers)
    return pax(b"x", *records) + entry(f"GNUSparseFile.0/{name}", data)


def sparse_gnu(name, size, pairs, data, more=()):
    """An old GNU header; `more` are the pairs of extension blocks."""
    def numbers(pairs):
        return b"".join(base256(n, 12) if n < 0 else b"%011o\0" % n for pair in pairs for n in pair)
    fields = [(386, numbers(pairs)), (482, b"\x01" if more else b"\0"), (483, b"%011o\0" % size)]
    blocks = b"".join(numbers(block).ljust(504, b"\0") + (b"\x01" if at + 1 < len(more) else b"\0") + b"\0" * 7 for at, block in enumerate(more))
    return header(name, len(data), kind=b"S", magic=GNU, fields=fields) + blocks + padded(data)


def sparse_forms():
    return b"".join([
        sparse_0_1("empty-map", 4, "4,0", b""), sparse_0_1("touching", 8, "0,4,4,4", b"abcdefgh"), sparse_1_0("no-extent", 6, b"0\n", b""),
        sparse_gnu("old", 12, [(2, 2), (6, 2)], b"abcdef", more=[[(9, 1)], [(11, 1), (12, 0)]])])


# ---- compressions ----------------------------------------------------------------------------------------------------

def gzip_member(data, extra=b"", name=b"", comment=b"", crc=False, level=9):
    flags = (4 if extra else 0) | (8 if name else 0) | (16 if comment else 0) | (2 if crc else 0)
    head = b"\x1f\x8b\x08" + bytes([flags]) + struct.pack("<I", T0) + b"\0\x03"
    head += (struct.pack("<H", len(extra)) + extra if extra else b"") + (name + b"\0" if name else b"") + (comment + b"\0" if comment else b"")
    head += struct.pack("<H", zlib.crc32(head) & 0xFFFF) if crc else b""
    deflate = zlib.compressobj(level, zlib.DEFLATED, -15)
    return head + deflate.compress(data) + deflate.flush() + struct.pack("<II", zlib.crc32(data), len(data))


def zstd_frame(data, descriptor, fields):
    """A frame of raw blocks, by hand: what stands in its header is what is tried."""
    return b"\x28\xb5\x2f\xfd" + bytes([descriptor]) + fields + (len(data) << 3 | 1).to_bytes(3, "little") + data


def tool(command, data):
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def compressions():
    tar = A + LAST
    yield "gzip-fields.tar.gz", gzip_member(tar[:700], b"BC\x02\0\0\0", b"a-name.tar", b"a comment", True) + gzip_member(tar[700:], name=b"\xe9")
    yield "gzip-stored.tar.gz", gzip_member(tar, level=0)
    yield "zstd-no-size.tar.zst", zstd_frame(tar, 0, b"\x10")
    yield "zstd-two-sizes.tar.zst", zstd_frame(tar[:700], 0x60, struct.pack("<H", 700 - 256)) + zstd_frame(tar[700:], 0xA0, struct.pack("<I", len(tar) - 700))
    yield "lz4-legacy.tar.lz4", tool(["lz4", "-l", "-q", "-c"], tar)


def archives():
    for source in (headers(), extensions(), kinds(), compressions()):
        for name, data in source:
            yield f"hostile/{name}", data


# ---- errors ----------------------------------------------------------------------------------------------------------

def malformed_records():
    """Extended headers of which a careless reader uses half, or runs for ever."""
    for name, body, what in [
        ("length-zero", b"0 path=x\n", "a record of length 0"), ("length-short", b"4 a=\n", "a length that ends before the record does"),
        ("length-long", b"99 path=x\n", "a length past the header's end"), ("length-negative", b"-9 path=x\n", "a negative length"),
        ("length-huge", b"99999999999999999999 path=x\n", "a length past 64 bits"), ("no-length", b"path=x\n", "no length"),
        ("no-equals", b"8 path\n" + b"\n", "a record without '='"), ("no-key", b"5 =x\n", "a record without a key"), ("no-newline", b"9 path=xx", "a record that ends in no newline"),
        ("key-not-utf8", record(b"k\xff", "v"), "a key that is not UTF-8"), ("size-junk", record("size", "12x"), "a size that is no number"),
        ("size-negative", record("size", "-1"), "a negative size"), ("size-overflow", record("size", "99999999999999999999"), "a size past 64 bits"),
        ("uid-junk", record("uid", "alice"), "a user id that is no number")]:
        yield f"pax-{name}.tar", A + extension(b"x", body) + B + END, "archive", what, 1


def bad_sparse_maps():
    for name, data, what in [
        ("unsorted", sparse_0_1("s", 10, "5,2,0,2", b"abcd"), "extents out of order"), ("overlap", sparse_0_1("s", 10, "0,4,2,4", b"abcdefgh"), "extents that overlap"),
        ("beyond", sparse_0_1("s", 10, "8,4", b"abcd"), "an extent past the file's end"), ("overflow", sparse_0_1("s", 10, "9223372036854775807,9223372036854775807", b"x"), "an extent past 63 bits"),
        ("short", sparse_0_1("s", 10, "0,4", b"ab"), "extents of more bytes than are stored"), ("odd", sparse_0_1("s", 10, "0,4,6", b"abcd", 2), "an offset without a length"),
        ("count", sparse_0_1("s", 10, "0,4", b"abcd", 7), "fewer extents than announced"), ("negative", sparse_gnu("s", 10, [(-1, 4)], b"abcd"), "a negative offset"),
        ("not-a-number", sparse_1_0("s", 10, b"1\nx\n4\n", b"abcd"), "a map that is no number")]:
        yield f"sparse-{name}.tar", A + data + LAST, "archive", what, 1
    yield "sparse-millions.tar", A + sparse_1_0("s", 1 << 40, b"999999999999\n0\n1\n", b"x") + LAST, "limit", "a map that announces a million million extents", 1


def looks_like():
    """Objects with a tar's name that are something else."""
    page = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>\n" + b"<p>Please sign in.</p>\n" * 30 + b"</body></html>\n"
    fault = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr(zipfile.ZipInfo("a.txt"), b"a\n" * 400)
    deb = b"!<arch>\n" + b"debian-binary   1656288000  0     0     100644  4         `\n2.0\n" + noise(600, "deb")
    yield from [
        ("page.tar", page, "archive", "an HTML page", 0), ("page.tar.gz", gzip.compress(page, mtime=0), "archive", "an HTML page that is compressed", 0),
        ("s3-fault.tar", fault, "archive", "what a store answers instead of the archive", 0), ("json-fault.tar", b'{"error": "not found"}', "archive", "a JSON answer", 0),
        ("zip.tar", archive.getvalue(), "archive", "a zip archive", 0), ("7z.tar", b"7z\xbc\xaf\x27\x1c\0\x04" + noise(600, "7z"), "archive", "a 7z archive", 0),
        ("rar.tar", b"Rar!\x1a\x07\x01\0" + noise(600, "rar"), "archive", "a RAR archive", 0), ("parquet.tar", b"PAR1" + noise(600, "parquet") + b"PAR1", "archive", "a Parquet file", 0),
        ("deb.tar", deb, "archive", "a Debian package: an ar archive", 0), ("cpio.tar", b"070701" + b"0" * 600, "archive", "a cpio archive", 0),
        ("csv.tar", b"time,icao24,lat\n" + b"1,abc,2.5\n" * 60, "archive", "a CSV file", 0), ("short.csv.tar", b"a,b\n1,2\n", "archive", "a short CSV file", 0),
        ("gzip-twice.tar.gz", gzip.compress(gzip.compress(A + LAST, mtime=0) + b"\0" * 512, mtime=0), "archive", "a tar that is compressed twice", 0),
        ("zeros-then-text.tar", b"\0" * 512 + b"text".ljust(512, b"."), "archive", "zeros and then no header", 0),
        ("junk-first.tar", b"#!/bin/sh\n" + A + LAST, "archive", "a tar that begins behind something else", 0),
        ("compress.tar.Z", tool(["bsdtar", "-c", "-b1", "-Z", "-f", "-", "@-"], A + LAST), "archive", "the compression of `compress`", 0),
        ("lzip.tar.lz", tool(["bsdtar", "-c", "-b1", "--lzip", "-f", "-", "@-"], A + LAST), "archive", "the compression of lzip", 0),
        ("lzma.tar.lzma", tool(["xz", "--format=lzma", "-c", "-q"], A + LAST), "archive", "the compression before xz", 0),
        ("lzop.tar.lzo", b"\x89LZO\0\x0d\x0a\x1a\x0a" + noise(600, "lzo"), "archive", "the compression of lzop", 0),
    ]


def bad_compressions():
    tar = A + LAST
    yield "gzip-bad-isize.tar.gz", gzip_member(tar)[:-4] + struct.pack("<I", len(tar) + 1), "compression", "a length in the trailer that is one too many", 2
    yield "gzip-garbage-behind.tar.gz", gzip_member(tar) + b"garbage", "compression", "garbage behind the stream", 2
    yield "gzip-bad-header-crc.tar.gz", gzip_member(tar, name=b"x", crc=True).replace(b"x\0", b"y\0", 1), "compression", "a wrong checksum of its own header", 0
    yield "zstd-dictionary.tar.zst", zstd_frame(tar, 0x01, b"\x10\x2a"), "compression", "a frame that needs a dictionary", 0
    yield "zstd-length.tar.zst", zstd_frame(tar, 0xA0, struct.pack("<I", len(tar) + 1)), "compression", "a frame that announces a byte more than it has", 2
    yield "zstd-window.tar.zst", zstd_frame(tar, 0, b"\xa8"), "limit", "a frame with a window of 2 GiB", 0


def other_damage():
    at = len(A)
    yield "checksum-zero.tar", A + header("b.txt", checksum=b"0000000\0") + LAST, "archive", "a checksum of zero", 1, at
    yield "checksum-junk.tar", A + header("b.txt", checksum=b"checksum") + LAST, "archive", "a checksum that is no number", 1, at
    yield "size-negative.tar", A + header("b.txt", base256(-512, 12)) + LAST, "archive", "a size of -512", 1, at
    yield "size-overflow.tar", A + header("b.txt", b"\x80\0\0\0\x80" + b"\0" * 7) + LAST, "archive", "a size past 63 bits", 1, at
    yield "size-reserved.tar", A + header("b.txt", b"\xc0" + b"\0" * 11) + LAST, "archive", "a first byte of a number that nobody defined", 1, at
    yield "size-wraps.tar", A + header("b.txt", base256((1 << 63) - 1, 12)) + LAST, "archive", "a size that ends behind what an offset can be", 1, at
    yield "size-9-gib.tar", A + header("b.txt", base256(9 << 30, 12)) + LAST, "archive", "9 GiB in base-256 that are not there", 1, at
    yield "pax-size-9-gib.tar", A + pax(b"x", ("size", str(9 << 30))) + header("b.txt") + LAST, "archive", "9 GiB in an extended header that are not there", 1, at
    yield "uid-junk.tar", A + header("b.txt", fields=[(108, b"alice\0\0\0")]) + LAST, "archive", "a user id that is no number", 1, at
    yield "pax-over-limit.tar", A + header("PaxHeaders/x", 2 << 20, kind=b"x") + LAST, "limit", "an extended header of 2 MiB", 1, at
    yield "pax-global-over-limit.tar", A + header("PaxHeaders/x", 4 << 30, kind=b"g") + LAST, "limit", "a global header of 4 GiB", 1, at
    yield "long-name-over-limit.tar", A + header("././@LongLink", 1 << 33, kind=b"L", magic=GNU) + LAST, "limit", "a long name of 8 GiB", 1, at
    yield "headers-without-end.tar", A + pax(b"x", ("k", "v")) * 17 + LAST, "limit", "more extended headers than any member has", 1
    yield "pax-without-member.tar", A + pax(b"x", ("path", "lost.txt")) + END, "archive", "an extended header and then the end", 1
    yield "multi-volume-1.tar", A + header("big.csv", 609, magic=GNU) + b"1,2\n" * 128, "archive", "the first volume: a member goes on in the next", 1, at
    yield "part-2.tar", (noise(700, "part") + b"\0" * 324) + A + LAST, "archive", "the second part of a tar that was split", 0, 0


def damaged():
    for source in (malformed_records(), bad_sparse_maps(), looks_like(), bad_compressions(), other_damage()):
        for name, data, kind, what, whole_members, *offset in source:
            yield f"hostile/{name}", data, {"kind": kind, "what": what, "whole_members": whole_members, "offset": offset[0] if offset else None}
