#!/usr/bin/env python3
"""Makes every archive in this folder, and the listings that the tests compare with.

    python3 testdata/make.py            # all of it, in place
    python3 testdata/make.py --check    # fails unless what is here is what would be made

Needs Linux, Python 3.11 or newer with `fastavro` (for the one Avro archive), and on PATH: GNU tar, bsdtar
(libarchive-tools), zstd, lz4, xz. Made with GNU tar 1.34, bsdtar 3.6.2, CPython 3.11, zstd 1.5.4 and lz4 1.9.4; other
versions may write other bytes, which is fine as long as `expected.json` stays the same.

Nothing here depends on the clock, on the user or on the order of a directory: owners, times and order are all given.
"""
import argparse
import bz2
import filecmp
import gzip
import hashlib
import io
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import hostile
import listing
import records
from blocks import END, T0, entry, header, padded, pax, signed_checksum

HERE = Path(__file__).resolve().parent
# What belongs to people and not to this script.
KEPT = {"README.md", "make.py", "blocks.py", "hostile.py", "listing.py", "records.py", "__pycache__"}


def noise(size, seed):
    """`size` bytes that no compression shrinks, the same on every machine."""
    out = b""
    while len(out) < size:
        out += hashlib.sha256(f"{seed}/{len(out)}".encode()).digest()
    return out[:size]


def compressed(tool, data, *args):
    return subprocess.run([tool, "-q", "-c", *args], input=data, stdout=subprocess.PIPE, check=True).stdout


def gz(data, level=9):
    return gzip.compress(data, level, mtime=0)


# ---- Python's tarfile ------------------------------------------------------------------------------------------------

def info(name, data=b"", **fields):
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = len(data), T0, 0o644
    member.uid, member.gid, member.uname, member.gname = 1000, 100, "alice", "staff"
    for field, value in fields.items():
        setattr(member, field, value)
    return member, data


def archive(members, fmt=tarfile.USTAR_FORMAT, **options):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=fmt, **options) as tar:
        for member, data in members:
            tar.addfile(member, io.BytesIO(data) if data else None)
    return out.getvalue()


def every_type():
    return [
        info("d/", type=tarfile.DIRTYPE, mode=0o755),
        info("d/file.txt", b"a file\n"),
        info("d/empty"),
        info("d/setuid", b"#!/bin/sh\n", mode=0o4755),
        info("d/symlink", type=tarfile.SYMTYPE, linkname="file.txt", mode=0o777),
        info("d/hardlink", type=tarfile.LNKTYPE, linkname="d/file.txt"),
        info("d/fifo", type=tarfile.FIFOTYPE, mode=0o600),
        info("d/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
        info("d/loop0", type=tarfile.BLKTYPE, devmajor=7, devminor=0, mode=0o660),
        info("d/contiguous", b"type 7\n", type=tarfile.CONTTYPE),
    ]


def python_archives():
    yield "python/types.tar", archive(every_type())
    yield "python/pax.tar", archive([
        info("ключ/" + "é" * 120 + ".txt", b"long and not ASCII\n", uname="Ünal"),
        info("fraction.txt", b"sub-second mtime\n", mtime=T0 + 0.123456),
        info("before-1970.txt", b"negative mtime\n", mtime=-1.5),
        info("big-ids.txt", b"ids past 21 bits\n", uid=4_000_000_000, gid=3_000_000),
        info("tagged.txt", b"attributes\n", pax_headers={
            "SCHILY.xattr.user.comment": "with = and\nnewline", "LIBARCHIVE.creationtime": "1656288000", "comment": "hello"}),
        info("link", type=tarfile.SYMTYPE, linkname="ключ/" + "x" * 150),
        info("plain.txt", b"no extended header\n"),
    ], tarfile.PAX_FORMAT)
    yield "python/pax-global.tar", archive(
        [info("a.txt", b"a\n"), info("b.txt", b"b\n", pax_headers={"comment": "its own"})],
        tarfile.PAX_FORMAT, pax_headers={"comment": "5fc0b59b9281df4d0170c77b9316f3383d77e430"})
    yield "python/gnu-base256.tar", archive([
        info("ids.txt", b"ids past 21 bits\n", uid=4_000_000_000, gid=3_000_000),
        info("before-1970.txt", b"negative mtime\n", mtime=-86400),
        info("far-future.txt", b"year 2242\n", mtime=8_600_000_000),
    ], tarfile.GNU_FORMAT)
    yield "python/duplicates.tar", archive(
        [info("a.txt", b"first\n"), info("b.txt", b"between\n"), info("a.txt", b"second, longer\n")])
    yield "python/dot-slash.tar", archive(
        [info("./", type=tarfile.DIRTYPE, mode=0o755), info("./a.txt", b"a\n"), info("./d/b.txt", b"b\n"),
         info("/absolute.txt", b"root\n"), info("../up.txt", b"up\n")])
    yield "python/latin1-names.tar", archive(
        [info("caf\udce9.txt", b"one byte, 0xE9\n"), info("ok.txt", b"ok\n"), info("\udcff\udcfe/\udc80", b"three\n")],
        tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape")
    # A name that looks like bzip2's magic bytes: a valid header is a tar, whatever it begins with.
    yield "python/magic-name.tar", archive([info("BZh9notes.txt", b"not bzip2\n")])
    yield "python/macos.tar", archive([
        info("./._data.csv", b"\0\x05\x16\x07\0\x02\0\0Mac OS X        "), info("./data.csv", b"a,b\n1,2\n3,4\n"),
        info("./sub/._more.csv", b"\0\x05\x16\x07\0\x02\0\0Mac OS X        "), info("./sub/more.csv", b"a,b\n5,6\n")])
    yield "python/empty.tar", archive([])
    yield "python/many.tar", archive([info(f"n/{i:04d}.txt", f"{i}\n".encode(), mtime=T0 + i) for i in range(120)])
    yield "python/nested.tar", archive(
        [info("inner.tar", archive([info("x.txt", b"inside\n" * 40)])), info("after.txt", b"after\n")])


# ---- bytes by hand: what no tool writes, or only on a bad day --------------------------------------------------------

def hand_archives():
    a, b = entry("a.txt", b"a\n"), entry("b.txt", b"b\n" * 300)
    yield "hand/no-end.tar", a + b
    yield "hand/one-zero-block.tar", a + b + b"\0" * 512
    yield "hand/trailing-garbage.tar", a + b + END + b"not a header" * 100
    yield "hand/trailing-zeros.tar", a + b + b"\0" * 51200
    yield "hand/concatenated.tar", a + END + b + b"\0" * 10240 + entry("c.txt", b"c\n") + END
    yield "hand/base256-size.tar", header("a.txt", b"\x80" + (6).to_bytes(11, "big")) + padded(b"6 byte") + b + END
    # Old GNU headers keep atime and ctime where ustar keeps the prefix.
    gnu = b"ustar  \0"
    times = [(345, b"14256177600\0"), (357, b"14256177601\0")]
    yield "hand/gnu-atime.tar", entry("foo", b"foo\n", magic=gnu, fields=times) + entry("bar", b"bar\n", magic=gnu) + END
    yield "hand/v7-directory.tar", (
        header("old/", kind=b"\0", magic=b"") + header("old/a.txt", 2, kind=b"\0", magic=b"") + padded(b"a\n") + END)
    yield "hand/unknown-type.tar", entry("odd", b"what is it\n", kind=b"Z") + a + END
    yield "hand/pax-twice.tar", (
        pax(b"x", ("path", "first.txt"), ("comment", "one")) + pax(b"x", ("path", "last.txt")) + a + b + END)
    yield "hand/pax-global-mtime.tar", (
        pax(b"g", ("mtime", "1000000000"), ("uname", "everyone")) + a + pax(b"x", ("mtime", "1000000001.5")) + b + END)
    yield "hand/pax-size.tar", pax(b"x", ("size", "600")) + header("b.txt", 0) + padded(b"b\n" * 300) + a + END
    yield "hand/pax-nanoseconds.tar", pax(b"x", ("mtime", "1656288000.123456789"), ("atime", "1.5")) + a + END
    yield "hand/signed-checksum.tar", signed_checksum(entry("caf\u00e9.txt", b"a\n")) + END


# ---- GNU tar and bsdtar ----------------------------------------------------------------------------------------------

def write_tree(root, files):
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if data is None:
            path.mkdir(exist_ok=True)
        else:
            write_with_holes(path, data)
            path.chmod(0o644)
    for path in root.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)


def write_with_holes(path, data):
    """GNU tar looks for holes only in a file that takes less room than its size."""
    with open(path, "wb") as file:
        file.truncate(len(data))
        for at in range(0, len(data), 4096):
            if data[at:at + 4096].strip(b"\0"):
                file.seek(at)
                file.write(data[at:at + 4096])


SMALL = {"d": None, "d/a.txt": b"alpha\n", "d/b.txt": b"beta\n" * 200, "d/empty": b""}
DEEP = "/".join(["directory-%02d" % i for i in range(12)])  # 155 characters: a ustar prefix
LONG = {"d/" + "n" * 200 + ".txt": b"long name\n", DEEP + "/file.txt": b"deep\n"}


def holes(*extents, size):
    data = bytearray(size)
    for at, length in extents:
        data[at:at + length] = noise(length, at)
    return bytes(data)


SPARSE = {
    "begins-with-a-hole": holes((65536, 1024), size=70000),
    "ends-with-a-hole": holes((0, 512), size=100000),
    "all-hole": holes(size=50000),
    "thirty-extents": holes(*((i * 8192, 512) for i in range(30)), size=30 * 8192),
    "dense": noise(3000, "dense"),
}


def gnu_tar(root, *args, names):
    command = ["tar", "--create", "--file=-", "--no-recursion", "--owner=alice:1000", "--group=staff:100",
               f"--mtime=@{T0}", "--sort=name", *args, "--", *names]
    return subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"}).stdout


def with_time(data):
    """A volume label bears the time of its making; give it ours."""
    return header_changed(data, 0, lambda block: block.__setitem__(slice(136, 148), b"%011o\0" % T0))


def header_changed(data, at, change):
    block = bytearray(data[at:at + 512])
    change(block)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return data[:at] + bytes(block) + data[at + 512:]


def without_pid(data):
    """GNU tar puts its process id into the names of pax sparse members; readers never show them. Make it 0."""
    at = 0
    while (at := data.find(b"GNUSparseFile.", at)) >= 0:
        start = at - at % 512
        if data[start + 257:start + 262] == b"ustar":
            head, _, tail = data[start:start + 100].rstrip(b"\0").partition(b"GNUSparseFile.")
            name = head + b"GNUSparseFile.0" + tail[tail.index(b"/"):]
            data = header_changed(data, start, lambda block: block.__setitem__(slice(0, 100), name.ljust(100, b"\0")))
        at = start + 512
    return data


def gnu_archives(tmp):
    root = tmp / "gnu"
    write_tree(root, {**SMALL, **LONG})
    os.symlink("a.txt", root / "d/symlink")
    os.symlink("t" * 180, root / "d/long-symlink")
    os.link(root / "d/a.txt", root / "d/hardlink")
    os.mkfifo(root / "d/fifo", 0o600)
    small = ["d", "d/a.txt", "d/b.txt", "d/empty", "d/hardlink", "d/symlink"]
    deep, name = [DEEP + "/file.txt"], ["d/" + "n" * 200 + ".txt"]
    posix = ["--format=posix", "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"]
    yield "gnu/v7.tar", gnu_tar(root, "--format=v7", names=small)
    yield "gnu/oldgnu.tar", gnu_tar(root, "--format=oldgnu", names=small + ["d/fifo"])
    yield "gnu/ustar-prefix.tar", gnu_tar(root, "--format=ustar", names=small + deep + ["d/fifo"])
    yield "gnu/long-names.tar", gnu_tar(root, "--format=gnu", names=small + deep + name + ["d/long-symlink"])
    yield "gnu/posix.tar", gnu_tar(root, *posix, f"--mtime=@{T0}.25", names=small + deep + name + ["d/long-symlink"])
    yield "gnu/volume-label.tar", with_time(gnu_tar(root, "--format=gnu", "--label=backup 7", names=["d/a.txt"]))
    yield "gnu/big-owner.tar", gnu_tar(root, "--format=gnu", "--owner=big:4000000000", names=["d/a.txt"])
    sparse = tmp / "sparse"
    write_tree(sparse, SPARSE)
    raw = ["--sparse", "--hole-detection=raw"]
    names = sorted(SPARSE)
    yield "gnu/sparse-old.tar", gnu_tar(sparse, "--format=gnu", *raw, names=names)
    for version in "0.0", "0.1", "1.0":
        data = gnu_tar(sparse, *posix, *raw, f"--sparse-version={version}", names=names)
        yield f"gnu/sparse-{version}.tar", without_pid(data)


def bsdtar(root, fmt, spec):
    """bsdtar takes every attribute from an mtree specification, so that nothing comes from this machine."""
    (root / "spec.mtree").write_text("#mtree\n" + "\n".join(spec) + "\n")
    command = ["bsdtar", "-c", "-f", "-", f"--format={fmt}", "@spec.mtree"]
    return subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"}).stdout


def bsdtar_archives(tmp):
    root = tmp / "bsd"
    write_tree(root, {"a.txt": b"alpha\n", "b.txt": b"beta\n" * 200, "empty": b""})
    owner = "uid=1000 gid=100 uname=alice gname=staff"
    def line(path, kind="file", **extra):
        extra = {"mode": "0644", "time": f"{T0}.0", **extra}
        return f"./{path} type={kind} {owner} " + " ".join(f"{key}={value}" for key, value in extra.items())
    spec = [
        line("d", "dir", mode="0755"), line("d/a.txt", contents="a.txt"), line("d/b.txt", contents="b.txt"),
        line("d/empty", contents="empty"), line("d/symlink", "link", link="a.txt", mode="0777"),
        line("d/fifo", "fifo", mode="0600"), line("d/null", "char", device="native,1,3", mode="0666"),
    ]
    long = [line("d/" + "n" * 200 + ".txt", contents="a.txt"), line(r"d/caf\303\251.txt", contents="a.txt"),
            line("d/fraction.txt", contents="a.txt", time=f"{T0}.123456000")]
    yield "bsdtar/ustar.tar", bsdtar(root, "ustar", spec)
    yield "bsdtar/v7.tar", bsdtar(root, "v7", [row for row in spec if "type=fifo" not in row and "type=char" not in row])
    yield "bsdtar/pax.tar", bsdtar(root, "pax", spec + long)
    yield "bsdtar/gnutar.tar", bsdtar(root, "gnutar", spec + long[:2])


# ---- compression -----------------------------------------------------------------------------------------------------

def lz4_skippable(payload):
    return (0x184D2A53).to_bytes(4, "little") + len(payload).to_bytes(4, "little") + payload


def compressed_archives():
    """The same small tar in every wrapping, with a part of it in each frame, member or stream."""
    tar = archive([info("one.txt", b"one\n" * 100), info("two.bin", noise(12000, "two")), info("three.txt", b"three\n" * 500)])
    parts = [tar[at:at + 6000] for at in range(0, len(tar), 6000)]
    yield "compressed/plain.tar", tar
    yield "compressed/gzip.tar.gz", gz(tar)
    yield "compressed/gzip-members.tar.gz", b"".join(gz(part) for part in parts)
    yield "compressed/gzip-empty-member.tar.gz", gz(b"") + gz(tar) + gz(b"")
    yield "compressed/gzip-zeros-after.tar.gz", gz(tar) + b"\0" * 2048
    yield "compressed/bgzf.tar.gz", bgzf(parts)
    named = io.BytesIO()
    with gzip.GzipFile("a-name.tar", "wb", 9, named, mtime=T0) as stream:
        stream.write(tar)
    yield "compressed/gzip-named.tgz", named.getvalue()
    yield "compressed/zstd.tar.zst", compressed("zstd", tar, "--check")
    frames = [compressed("zstd", part) for part in parts]
    skip = lambda magic: magic.to_bytes(4, "little") + (11).to_bytes(4, "little") + b"not content"
    yield "compressed/zstd-frames.tar.zst", b"".join(frames)
    yield "compressed/zstd-skippable.tar.zst", skip(0x184D2A50) + frames[0] + skip(0x184D2A5F) + b"".join(frames[1:])
    yield "compressed/bzip2.tar.bz2", bz2.compress(tar)
    yield "compressed/bzip2-streams.tar.bz2", b"".join(bz2.compress(part) for part in parts)
    yield "compressed/xz.tar.xz", lzma.compress(tar)
    yield "compressed/xz-streams.tar.xz", b"\0\0\0\0".join(lzma.compress(part) for part in parts)
    yield "compressed/lz4.tar.lz4", compressed("lz4", tar, "--content-size")
    yield "compressed/lz4-frames.tar.lz4", (
        lz4_skippable(b"x" * 7) + compressed("lz4", parts[0], "-BD") + b"".join(compressed("lz4", part, "-B4") for part in parts[1:]))
    yield "compressed/lies.tar", gz(tar)
    yield "compressed/lies.tar.gz", tar
    yield "compressed/lies.txt", compressed("zstd", tar)
    yield "compressed/no-extension", bz2.compress(tar)


def bgzf(parts):
    """Blocked gzip: each member says its own length in an extra field, and an empty one ends the file."""
    import zlib
    out = b""
    for part in [*parts, b""]:
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        body = deflate.compress(part) + deflate.flush()
        out += b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + (len(body) + 25).to_bytes(2, "little")
        out += body + zlib.crc32(part).to_bytes(4, "little") + len(part).to_bytes(4, "little")
    return out


# ---- damage ----------------------------------------------------------------------------------------------------------

def damaged_archives():
    """What each is, with what a reader has to say of it, for `expected.json`.

    `whole_members` counts those whose bytes all come before the damage: `on_error = 'skip'` gives at least them.
    """
    a, b, c = entry("a.txt", b"a\n"), entry("b.txt", noise(5000, "b")), entry("c.txt", b"c\n")
    tar = a + b + c + END
    big = archive([info("a.txt", b"a\n"), info("b.hex", noise(15000, "damaged").hex().encode()), info("c.txt", b"c\n")])
    flip = lambda data, at: data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1:]
    at_b, at_c = len(a), len(a + b)
    def say(name, data, kind, what, members, offset=None):
        return f"damaged/{name}", data, {"kind": kind, "what": what, "whole_members": members, "offset": offset}
    yield say("cut-in-header.tar", tar[:at_b + 200], "archive", "ends inside the second header", 1, at_b)
    yield say("cut-in-body.tar", tar[:at_b + 512 + 1000], "archive", "ends inside the second member's content", 1)
    yield say("cut-in-padding.tar", tar[:at_b + 512 + 5000 + 5], "archive", "ends inside the second member's padding", 1)
    yield say("bad-checksum.tar", flip(tar, at_b + 3), "archive", "the second header's checksum is wrong", 1, at_b)
    yield say("bad-size.tar", tar[:at_c] + header("c.txt", b"12x45678901\0") + tar[at_c + 512:], "archive", "the third header's size is no number", 2, at_c)
    yield say("huge-size.tar", tar[:at_c] + header("c.txt", 0o77777777777) + tar[at_c + 512:], "archive", "the third header claims 8 GiB", 2)
    yield say("text-in-middle.tar", a + b"this is no header".ljust(512, b".") + c + END, "archive", "text where the second header should be", 1, at_b)
    yield say("lost-long-name.tar", a + entry("././@LongLink", b"n" * 150 + b"\0", kind=b"L", magic=b"ustar  \0") + END, "archive", "a long name with no member after it", 1)
    yield say("bad-pax.tar", a + entry("PaxHeaders/x", b"99 path=short\n", kind=b"x") + b + END, "archive", "a pax record longer than its header", 1)
    zipped = gz(big, 6)
    yield say("gzip-bit-flip.tar.gz", flip(zipped, len(zipped) // 2), "compression", "one bit of the deflate stream is flipped", 1)
    yield say("gzip-bad-crc.tar.gz", flip(zipped, len(zipped) - 6), "compression", "the gzip trailer's CRC is wrong", 3)
    yield say("gzip-cut.tar.gz", zipped[:len(zipped) * 2 // 3], "compression", "the gzip stream ends early", 1)
    yield say("gzip-no-trailer.tar.gz", zipped[:-8], "compression", "the gzip trailer is missing", 3)
    yield say("zstd-cut.tar.zst", compressed("zstd", big)[:8000], "compression", "the zstd frame ends early", 0)
    yield say("xz-cut.tar.xz", lzma.compress(big)[:8000], "compression", "the xz stream ends early", 1)
    yield say("bzip2-cut.tar.bz2", bz2.compress(big)[:8000], "compression", "the bzip2 stream ends early", 0)
    yield say("lz4-cut.tar.lz4", compressed("lz4", big)[:8000], "compression", "the lz4 frame ends early", 0)
    page = b"<!DOCTYPE html>\n<html><head><title>403 Forbidden</title></head><body><h1>Forbidden</h1></body></html>\n"
    yield say("error-page.tar", page, "archive", "an HTML page with a tar's name", 0)
    yield say("long-error-page.tar", page * 20, "archive", "an HTML page longer than a block", 0)
    yield say("empty-file.tar", b"", "archive", "no byte at all", 0)
    yield say("text.tar.gz", gz(page * 20), "archive", "gzip, but no tar inside", 0)
    member = archive([info("ok.csv", b"a,b\n1,2\n"), info("bad.csv.gz", flip(gz(b"a,b\n" + b"3,4\n" * 5000, 1)[:-4] + b"\0\0\0\0", 30)), info("z.csv", b"a,b\n5,6\n")])
    yield say("member-gzip.tar", member, "compression", "a whole tar with a damaged .csv.gz member", 3)


# ---- putting it together ---------------------------------------------------------------------------------------------

def make(root, tmp):
    def put(name, data):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    archives, damage = [], {}
    for source in (python_archives(), hand_archives(), gnu_archives(tmp), bsdtar_archives(tmp), compressed_archives()):
        for name, data in source:
            put(name, data)
            archives.append(name)
    for name, data, what in [*damaged_archives(), *hostile.damaged()]:
        put(name, data)
        damage[name] = what
    for name, data in records.archives(archive, info, compressed):
        put(name, data)
        archives.append(name)
    put("opensky/manifest.json", (json.dumps(records.MANIFEST, indent=1, sort_keys=True) + "\n").encode())
    expected = {"archives": listing.listings(root, archives, SPARSE), "disputed": [], "damaged": damage}
    for name, data in hostile.archives():
        put(name, data)
        agreed = listing.agreed(root, name)
        if agreed:
            expected["archives"][name] = agreed
        else:
            expected["disputed"].append(name)
    put("expected.json", listing.to_json(expected))
    return archives


def files_of(root):
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.relative_to(root).parts[0] not in KEPT}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with what is here instead of writing it")
    check = parser.parse_args().check
    missing = [tool for tool in ("tar", "bsdtar", "zstd", "lz4", "xz") if shutil.which(tool) is None]
    if missing:
        sys.exit(f"needs {', '.join(missing)} on PATH")
    with tempfile.TemporaryDirectory() as tmp:
        made = Path(tmp) / "made"
        made.mkdir()
        make(made, Path(tmp))
        if check:
            here, there = files_of(HERE), files_of(made)
            differing = sorted(here ^ there) + [name for name in sorted(here & there) if not filecmp.cmp(HERE / name, made / name, False)]
            sys.exit("differs: " + ", ".join(differing) if differing else 0)
        for old in HERE.iterdir():
            if old.name not in KEPT:
                shutil.rmtree(old) if old.is_dir() else old.unlink()
        shutil.copytree(made, HERE, dirs_exist_ok=True)
        print(f"{len(files_of(HERE))} files, {sum((HERE / name).stat().st_size for name in files_of(HERE))} bytes")


if __name__ == "__main__":
    main()
