"""What each archive holds: read with Python's tarfile, checked with GNU tar, corrected where one of them is wrong.

A listing is `{"members": […]}`, with `why` where the two readers disagree or one can't read the archive, and
`warnings` where a reader should warn. `mtime_us` is in microseconds, rounded down; `path` is as stored, a directory's
trailing slash included, with U+FFFD for bytes that are no UTF-8; `sha256` is of a file's content.
"""
import bz2
import decimal
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
import tempfile

TYPES = {tarfile.REGTYPE: "file", tarfile.AREGTYPE: "file", tarfile.CONTTYPE: "file", tarfile.GNUTYPE_SPARSE: "file",
         tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "symlink", tarfile.LNKTYPE: "hardlink",
         tarfile.CHRTYPE: "character", tarfile.BLKTYPE: "block", tarfile.FIFOTYPE: "fifo"}
LETTERS = {"-": "file", "d": "directory", "l": "symlink", "h": "hardlink", "c": "character", "b": "block", "p": "fifo", "C": "file", "V": "other"}
# Extended header records that a column of the listing holds.
COLUMNS = {"path", "linkpath", "size", "mtime", "uid", "gid", "uname", "gname"}


def unpacked(data):
    """The plain tar in `data`, frames and skippable frames and all."""
    if data[257:262] == b"ustar" or not data.strip(b"\0"):
        return data
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)
    if data[:3] == b"BZh":
        return bz2.decompress(data)
    if data[:6] == b"\xfd7zXZ\0":
        return subprocess.run(["xz", "-dcq"], input=data, stdout=subprocess.PIPE, check=True).stdout
    if data[:4] == b"\x28\xb5\x2f\xfd" or data[:4] == b"\x50\x2a\x4d\x18":
        return subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE, check=True).stdout
    if data[:4] in (b"\x04\x22\x4d\x18", b"\x53\x2a\x4d\x18", b"\x02\x21\x4c\x18"):
        return subprocess.run(["lz4", "-dcq"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return data


def text(name):
    return os.fsencode(name).decode("utf-8", "replace")


def with_tarfile(tar):
    members = []
    # Archives put one after the other are one archive: what follows an end marker counts.
    with tarfile.open(fileobj=io.BytesIO(tar), ignore_zeros=True, encoding="utf-8", errors="surrogateescape") as reader:
        for member in reader:
            kind = TYPES.get(member.type, "other")
            mtime = decimal.Decimal(member.pax_headers.get("mtime", member.mtime))
            extra = {text(key): text(value) for key, value in member.pax_headers.items() if key not in COLUMNS and not key.startswith("GNU.sparse.")}
            members.append({
                "path": text(member.name), "type": kind, "size": member.size,
                "sha256": hashlib.sha256(reader.extractfile(member).read()).hexdigest() if kind == "file" else None,
                "mtime_us": int((mtime * 1_000_000).to_integral_value(decimal.ROUND_FLOOR)), "mode": member.mode & 0o7777,
                "uid": member.uid, "gid": member.gid, "uname": text(member.uname) or None, "gname": text(member.gname) or None,
                "linkname": (text(member.linkname) or None) if kind in ("symlink", "hardlink") else None,
                **({"pax": extra} if extra else {})})
    return members


def with_gnu_tar(tar):
    """What GNU tar says: names, types, sizes, times, owners; contents of what it extracts, by name."""
    base = ["tar", "--ignore-zeros", "-P", "-f", "-"]
    quiet = {"input": tar, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "env": {**os.environ, "LC_ALL": "C", "TZ": "UTC0"}}
    names = subprocess.run([*base, "-t", "--quoting-style=literal", "--show-stored-names"], **quiet).stdout.split(b"\n")[:-1]
    rows = subprocess.run([*base, "-tvv", "--numeric-owner", "--full-time", "--quoting-style=escape"], **quiet).stdout.decode().split("\n")[:-1]
    pattern = re.compile(r"(.)(.{9}) (\d+)/(\d+) +(\d+(?:,\d+)?) (\S+ \S+) (.*)")
    members = []
    for name, row in zip(names, rows, strict=True):
        letter, bits, uid, gid, size, when, _ = pattern.match(row).groups()
        members.append({"path": name.decode("utf-8", "replace"), "type": LETTERS.get(letter, "other"), "mode": mode(bits), "uid": int(uid),
                        "gid": int(gid), "size": None if "," in size else int(size), "when": when})
    return members


def mode(bits):
    value = sum(1 << (8 - at) for at, bit in enumerate(bits) if bit in "rwxst")
    return value | sum(bit << 9 for bit, at, letters in ((4, 2, "sS"), (2, 5, "sS"), (1, 8, "tT")) if bits[at] in letters)


def contents_with_gnu_tar(tar):
    """SHA-256 of the regular files that GNU tar extracts; `tar -xO` is wrong for sparse files."""
    with tempfile.TemporaryDirectory() as out:
        exclude = [f"--exclude={name}" for name in ("*/null", "*/loop0")]
        subprocess.run(["tar", "-x", "-f", "-", "-C", out, "--ignore-zeros", "--no-same-owner", *exclude], input=tar, stderr=subprocess.DEVNULL)
        found = {}
        for folder, _, files in os.walk(out):
            for name in files:
                path = os.path.join(folder, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    with open(path, "rb") as file:
                        found[text(os.path.relpath(path, out))] = hashlib.sha256(file.read()).hexdigest()
        return found


# Why a listing is not what one of the readers says. `gnu` and `python` name who is not followed, and in what.
DISAGREE = {
    "hand/gnu-atime.tar": {"python": ["path"], "why": "old GNU headers have atime and ctime where ustar has the prefix; tarfile takes them for a prefix"},
    "hand/pax-twice.tar": {"python": ["path", "pax"], "why": "of two extended headers before one member the last one counts (GNU tar, libarchive); tarfile takes the first"},
    "hand/unknown-type.tar": {"python": ["type", "sha256"], "gnu": ["type"], "why": "a type that no standard names is listed as 'other', so that its content is not taken for a file's; tarfile and GNU tar extract it as a file"},
    "gnu/volume-label.tar": {"python": ["type", "sha256"], "why": "GNU's volume label is a header of type V without content; tarfile takes it for an empty file"},
}
WARNINGS = {"hand/no-end.tar": ["no_end_marker"], "hand/trailing-garbage.tar": ["trailing_garbage"]}


# Hostile archives of which tarfile says something else than tarsql, and GNU tar the same or nothing, and why.
UNLIKE = {
    "hostile/headers-in-a-row.tar": "of several extended headers before one member tarfile takes the first, and GNU tar does not list what else is in them",
    "hostile/garbage-then-member.tar": "told to read on behind zeros, both also skip what is no header there; tarsql takes that for the end, and warns",
    "hostile/pax-global-twice.tar": "an empty value takes a record back; tarfile keeps it as an empty one",
    "hostile/pax-size-and-global.tar": "a global header between an extended one and its member holds for that member too; tarfile leaves it out",
    "hostile/pax-global-concatenated.tar": "both let the global header of an archive hold in the archive that was appended to it",
}


def corrected(name, members, sparse):
    if name == "hand/gnu-atime.tar":
        members[0]["path"] = "foo"
    if name == "hand/pax-twice.tar":
        members[0]["path"] = "last.txt"
        members[0].pop("pax", None)
    if name.startswith("gnu/sparse-"):
        for member in members:
            data = sparse[member["path"]]
            member["size"], member["sha256"] = len(data), hashlib.sha256(data).hexdigest()
    return members


def check(name, members, tar, differs):
    """GNU tar has to agree in everything but what `differs` allows."""
    theirs = with_gnu_tar(tar)
    problem = []
    if len(theirs) != len(members):
        return [f"{name}: GNU tar lists {len(theirs)} members, not {len(members)}"]
    contents = contents_with_gnu_tar(tar)
    last = {member["path"]: member for member in members}
    for ours, other in zip(members, theirs):
        if ours["type"] == "directory" and other["path"].endswith("/"):
            ours["path"] = ours["path"].rstrip("/") + "/"  # tarfile drops it
        for key in ("path", "type", "mode", "uid", "gid", "size"):
            mine = ours[key]
            if key == "size" and other["size"] is None or key in differs:
                continue
            if mine != other[key]:
                problem.append(f"{name}: {ours['path']}: {key} is {mine!r}, {other[key]!r} with GNU tar")
        found = contents.get(ours["path"].lstrip("/").removeprefix("./"))
        extracted = ours["type"] == "file" and last[ours["path"]] is ours and ".." not in ours["path"] and "\ufffd" not in ours["path"]
        if extracted and found != ours["sha256"]:
            problem.append(f"{name}: {ours['path']}: GNU tar extracts other content ({found})")
    return problem


def agreed(root, name):
    """The listing of a hostile archive, if tarfile and GNU tar agree on it in everything, and it is right; else nothing."""
    if name in UNLIKE:
        return None
    tar = unpacked((root / name).read_bytes())
    try:
        members = with_tarfile(tar)
        problem = check(name, members, tar, [])
    except (tarfile.TarError, ValueError, ArithmeticError, AttributeError, MemoryError):
        return None
    return None if problem else {"members": members}


def listings(root, names, sparse):
    out, problems = {}, []
    for name in names:
        tar = unpacked((root / name).read_bytes())
        rule = DISAGREE.get(name, {})
        try:
            raw = with_tarfile(tar)
        except tarfile.TarError as error:
            problems.append(f"{name}: tarfile: {error}")
            continue
        if any(key in rule.get("python", []) for key in ("type",)):
            for member in raw:
                if member["type"] == "other":
                    member["sha256"] = None
        members = corrected(name, json.loads(json.dumps(raw)), sparse)
        if members != raw and "why" not in rule:
            problems.append(f"{name}: tarfile differs from what was put in: {[m for m in raw if m not in members]}")
        problems += check(name, members, tar, rule.get("gnu", []))
        out[name] = {"members": members, **({"why": rule["why"]} if rule.get("why") else {}), **({"warnings": WARNINGS[name]} if name in WARNINGS else {})}
    if problems:
        raise SystemExit("\n".join(problems))
    return out


def to_json(expected):
    """One member a line: a diff of this file is a diff of members."""
    lines = ["{", ' "archives": {']
    archives = sorted(expected["archives"].items())
    for number, (name, found) in enumerate(archives):
        lines.append(f"  {json.dumps(name)}: {{")
        for key in ("why", "warnings"):
            if key in found:
                lines.append(f"   {json.dumps(key)}: {json.dumps(found[key])},")
        rows = [f"    {json.dumps(member)}" for member in found["members"]]
        lines += ['   "members": [', ",\n".join(rows) + "]" if rows else "   ]"]
        lines.append("  }" + ("," if number + 1 < len(archives) else ""))
    lines += [" },", f' "disputed": {json.dumps(sorted(expected["disputed"]))},', ' "damaged": {']
    rows = [f"  {json.dumps(name)}: {json.dumps(what)}" for name, what in sorted(expected["damaged"].items())]
    lines += [",\n".join(rows), " }", "}"]
    json.loads("\n".join(lines))
    return ("\n".join(lines) + "\n").encode()
