"""What four readers say is in a tar archive: tarsql, GNU tar, bsdtar and Python's tarfile, each as people use it.

A reading is how far a reader came (`ok`, `warning` or `error`, with the first line that it said) and its members, each a dictionary of the
fields that all of them tell: path, type, size, linkname, mtime in microseconds, and the SHA-256 of a file's content where the reader gives it
reliably. A field that a reader does not tell is missing. `tar -xO` is never asked for a sparse file: it writes other bytes than `tar -x`.
"""
import codecs
import dataclasses
import datetime
import decimal
import hashlib
import io
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile

# A reader that takes longer hangs: the archives are small.
TIMEOUT_S = 120
# A reader that wants more is taken in by an archive that only claims to be large.
MEMORY_BYTES_MAX = 2 << 30
# Larger files are compared without their content: a sparse file can be a thousand times as large as its archive.
CONTENT_BYTES_MAX = 16 << 20
# More of a re-encoded archive is not read.
OUTPUT_BYTES_MAX = 256 << 20
# More than any archive here has: whoever lists so many reads one header again and again.
MEMBERS_MAX = 10_000

# What the readers may call. GNU tar has a program for each compression, so what is installed would decide what it reads.
PROGRAMS = ("sh", "tar", "bsdtar", "gzip", "bzip2", "xz", "lzma", "zstd", "sha256sum")


def only_programs():
    """A folder for PATH with these programs and no others."""
    folder = tempfile.TemporaryDirectory()
    for program in PROGRAMS:
        path = shutil.which(program)
        if path is None:
            raise SystemExit(f"'{program}' is missing: install tar, libarchive-tools, gzip, bzip2, xz-utils and zstd")
        os.symlink(path, os.path.join(folder.name, program))
    return folder


BIN = only_programs()
ENVIRONMENT = {"PATH": BIN.name, "HOME": "/nonexistent", "LC_ALL": "C", "TZ": "UTC0"}
# libarchive turns names into the locale's characters and back, so it needs one that has all of them.
UTF8 = {**ENVIRONMENT, "LC_ALL": "C.UTF-8"}


@dataclasses.dataclass
class Reading:
    members: list
    verdict: str = "ok"
    message: str = ""

    def fail(self, message):
        # The first thing that went wrong says most.
        if self.verdict != "error":
            self.verdict, self.message = "error", message


def run(command, root, env=ENVIRONMENT, memory_bytes_max=MEMORY_BYTES_MAX):
    """Standard output, exit status (None if it had to be stopped) and the lines of standard error."""
    # A shell's limit, since `preexec_fn` is not safe beside threads.
    limited = ["sh", "-c", f'ulimit -v {memory_bytes_max >> 10}; exec "$@"', "sh", *command] if memory_bytes_max else command
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(limited, cwd=root, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        try:
            status = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = None
        out.seek(0)
        err.seek(0)
        lines = [line.strip() for line in err.read(1 << 20).decode("utf-8", "replace").split("\n")]
        return out.read(OUTPUT_BYTES_MAX), status, [line for line in lines if line]


def reading(members, status, lines):
    if status is None:
        return Reading(members, "error", f"is not done after {TIMEOUT_S} s")
    message = lines[0] if lines else ""
    if status == 0:
        return Reading(members, "warning" if lines else "ok", message)
    return Reading(members, "error", message or (f"killed by signal {-status}" if status < 0 else f"exit status {status}"))


# ----- tarsql

def with_tarsql(program, root, name):
    columns = "path, type, size, linkname, mtime, data_offset"
    members, status, lines = tarsql_rows(program, root, name, columns)
    whole = reading(members, status, lines)
    if whole.verdict == "error":
        # What came before the damage. Without `skip` the rows of an unfinished batch are not printed.
        whole.members, _, _ = tarsql_rows(program, root, name, columns, ", on_error = 'skip', on_unreachable = 'skip'")
    contents, status, lines = tarsql_rows(program, root, name, "data_offset, encode(sha256(content), 'hex') AS sha256",
                                          where=f"WHERE type = 'file' AND size <= {CONTENT_BYTES_MAX}")
    if status != 0:
        whole.fail(reading([], status, lines).message)
    digests = {row["data_offset"]: row["sha256"] for row in contents}
    for member in whole.members:
        offset, mtime = member.pop("data_offset"), member.pop("mtime")
        member["linkname"] = member["linkname"] or ""
        if offset in digests:
            member["sha256"] = digests[offset]
        if mtime is not None:
            member["mtime"] = microseconds(mtime.rstrip("Z").replace("T", " "))
    return whole


def tarsql_rows(program, root, name, columns, options="", where=""):
    quoted = name.replace("'", "''")
    sql = f"SELECT {columns} FROM read_tar('{quoted}', partitioning = 'archive'{options}) {where}"
    # Ours bounds itself; its allocator reserves addresses by the gigabyte, and uses few of them.
    out, status, lines = run([program, "--no-progress", "--format", "nd-json", "-c", sql], root, memory_bytes_max=None)
    try:
        rows = [json.loads(line) for line in out.decode().split("\n") if line]
    except ValueError as error:
        raise SystemExit(f"{name}: tarsql prints what is no JSON: {error}: {out[:1000]!r}") from error
    # Messages name the archive by its URL, which is another one in every clone.
    url = f"file://{os.path.realpath(root)}/{name}: "
    return rows, status, [line.removeprefix("tarsql: ").removeprefix(url) for line in lines]


def microseconds(when):
    """Of `2022-06-27 00:00:00.25`, rounded down, whatever the year, or of seconds since 1970."""
    if re.fullmatch(r"-?[\d.]+", when):
        return int((decimal.Decimal(when) * 1_000_000).to_integral_value(decimal.ROUND_FLOOR))
    year, month, day, hour, minute, second = re.fullmatch(r"([-+]?\d+)-(\d+)-(\d+) (\d+):(\d+)(?::([\d.]+))?", when).groups()
    # Years beyond those of `datetime` repeat every 400 years.
    eras, year = divmod(int(year) - 1, 400)
    days = datetime.date(year + 1, int(month), int(day)).toordinal() - datetime.date(1970, 1, 1).toordinal() + eras * 146_097
    seconds = days * 86_400 + int(hour) * 3600 + int(minute) * 60
    return int(((seconds + decimal.Decimal(second or 0)) * 1_000_000).to_integral_value(decimal.ROUND_FLOOR))


# ----- GNU tar

GNU_TYPES = {"-": "file", "d": "directory", "l": "symlink", "h": "hardlink", "c": "character", "b": "block", "p": "fifo", "C": "file"}
GNU_ROW = re.compile(rb'(.)\S{9}\S? +\S+ +(\d+|\d+,\d+) (\S+(?: [\d:.]+)?) +"((?:[^"\\]|\\.)*)"(/?)(.*)', re.DOTALL)


def with_gnu_tar(root, name):
    # Names in quotes with escapes, so that a line is a member whatever a name contains.
    out, status, lines = run(["tar", "-P", "-tvv", "--full-time", "--numeric-owner", "--quoting-style=c", "--show-stored-names", "-f", name], root)
    whole = reading([gnu_member(row) for row in out.split(b"\n")[:-1]], status, tar_messages(lines))
    files = [member for member in whole.members if member["type"] == "file"]
    if is_sparse(root, name):
        found = contents_by_extraction(["tar", "--no-same-owner", "--no-same-permissions"], root, name, files)
        digests = [content and content[0] for content in found]
    else:
        out, status, lines = run(["tar", "-P", "-x", "--to-command=sha256sum", "-f", name], root)
        digests = [line.split()[0].decode() for line in out.split(b"\n")[:-1]]
        if status != 0:
            whole.fail(reading([], status, tar_messages(lines)).message)
    # Where it writes more or fewer files than it lists, nobody can say which is whose.
    if len(digests) == len(files):
        for member, digest in zip(files, digests):
            if digest is not None and member["size"] <= CONTENT_BYTES_MAX:
                member["sha256"] = digest
    return whole


def tar_messages(lines):
    return [re.sub(r"^tar: ", "", line) for line in lines if "Exiting with failure status" not in line] or lines


def gnu_member(row):
    letter, size, when, path, slash, rest = GNU_ROW.fullmatch(row).groups()
    link = re.match(rb' (?:->|link to) "((?:[^"\\]|\\.)*)"', rest)
    member = {"path": unescaped(path + slash), "type": GNU_TYPES.get(letter.decode(), "other"), "mtime": microseconds(when.decode()),
              "linkname": unescaped(link[1]) if link else ""}
    if b"," not in size:
        member["size"] = int(size)
    return member


def unescaped(name):
    return codecs.escape_decode(name)[0].decode("utf-8", "replace")


def is_sparse(root, name):
    """Whether some member may be sparse; only plain tars of ours are."""
    with open(os.path.join(root, name), "rb") as file:
        data = file.read()
    return b"GNU.sparse." in data or any(data[at + 156:at + 157] == b"S" and data[at + 257:at + 262] == b"ustar" for at in range(0, len(data), 512))


def contents_by_extraction(command, root, name, files):
    """SHA-256 and time of what a reader extracts into an empty folder, None for what is not there."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        run([*command, "-x", "-C", folder, "-f", os.path.join(root, name)], root, UTF8)
        for member in files:
            path = os.path.join(folder, member["path"].lstrip("/"))
            inside = os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep)
            found.append(None)
            if inside and os.path.isfile(path) and os.path.getsize(path) <= CONTENT_BYTES_MAX:
                with open(path, "rb") as file:
                    found[-1] = hashlib.sha256(file.read()).hexdigest(), os.stat(path).st_mtime_ns // 1000
    return found


# ----- bsdtar

BSD_ROW = re.compile(rb"(.)\S{9}\S? +\d+ +\d+ +\d+ +(\d+|\d+,\d+) \S+ +\S+ +[\d:]+ (.*)", re.DOTALL)


def with_bsdtar(root, name):
    out, status, lines = run(["bsdtar", "-P", "-tvf", name, "--numeric-owner"], root, UTF8)
    messages = [re.sub(r"^bsdtar: ", "", line) for line in lines if "Error exit delayed" not in line] or lines
    listed = [bsd_member(row) for row in out.split(b"\n")[:-1]]
    if is_sparse(root, name):
        files = [member for member in listed if member["type"] == "file"]
        for member, content in zip(files, contents_by_extraction(["bsdtar", "--no-same-owner"], root, name, files)):
            if content:
                member["sha256"], member["mtime"] = content
    else:
        # The listing has no seconds. As a pax archive it tells all that it has understood, in a form that any reader can
        # read; only a warning ends that early.
        out, _, _ = run(["bsdtar", "-P", "-cf", "-", "--format=pax", f"@{name}"], root, UTF8)
        encoded, _ = tarfile_members(io.BytesIO(out))
        if len(encoded) == len(listed):
            listed = encoded
    return reading(listed, status, messages)


def bsd_member(row):
    letter, size, path = BSD_ROW.fullmatch(row).groups()
    kind = GNU_TYPES.get(letter.decode(), "other")
    # A hard link with content of its own has the letter of a file.
    kind = "hardlink" if kind == "file" and b" link to " in path else kind
    arrow = {"symlink": b" -> ", "hardlink": b" link to "}.get(kind)
    path, _, link = path.partition(arrow) if arrow else (path, b"", b"")
    member = {"path": unescaped(path), "type": kind, "linkname": unescaped(link)}
    if b"," not in size:
        member["size"] = int(size)
    return member


# ----- Python's tarfile

TARFILE_TYPES = {tarfile.REGTYPE: "file", tarfile.AREGTYPE: "file", tarfile.CONTTYPE: "file", tarfile.GNUTYPE_SPARSE: "file",
                 tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "symlink", tarfile.LNKTYPE: "hardlink", tarfile.CHRTYPE: "character",
                 tarfile.BLKTYPE: "block", tarfile.FIFOTYPE: "fifo"}


def with_tarfile(root, name):
    # In a process of its own: an archive can make it loop or take all memory.
    out, status, lines = run([sys.executable, os.path.abspath(__file__), name], root, memory_bytes_max=None)
    if status != 0:
        return reading([], status, lines[-1:])
    found = json.loads(out)
    return Reading(found["members"], "error" if found["error"] else "ok", found["error"])


def tarfile_members(file):
    """All members up to the first error, and that."""
    members = []
    try:
        with tarfile.open(fileobj=file, encoding="utf-8", errors="surrogateescape") as archive:
            for member in archive:
                members.append(tarfile_member(member))
                if len(members) > MEMBERS_MAX:
                    return [], f"has more than {MEMBERS_MAX} members: it goes round in circles"
                if member.isreg() and member.size <= CONTENT_BYTES_MAX:
                    members[-1]["sha256"] = hashlib.sha256(archive.extractfile(member).read()).hexdigest()
    except Exception as error:  # Whatever it raises is its answer.
        return members, f"{type(error).__name__}: {error}".splitlines()[0]
    return members, ""


def tarfile_member(member):
    kind = TARFILE_TYPES.get(member.type, "other")
    described = {"path": text(member.name), "type": kind, "size": member.size,
                 "linkname": text(member.linkname) if kind in ("symlink", "hardlink") else ""}
    # It keeps times as floats, which lose microseconds; the text that a float came from has them.
    stored = member.pax_headers.get("mtime")
    mtime = decimal.Decimal(stored if stored is not None and float(stored) == member.mtime else member.mtime)
    if mtime.is_finite():
        described["mtime"] = int((mtime * 1_000_000).to_integral_value(decimal.ROUND_FLOOR))
    return described


def text(name):
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


# ----- versions

def versions():
    def first_line(command):
        return run([command, "--version"], ".")[0].decode().split("\n")[0]
    libarchive = re.search(r"bsdtar [\d.]+ - libarchive [\d.]+", first_line("bsdtar"))
    return {"GNU tar": first_line("tar"), "bsdtar": libarchive[0] if libarchive else first_line("bsdtar"),
            "tarfile": f"Python {platform.python_version()}"}


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    with open(sys.argv[1], "rb") as archive_file:
        found_members, found_error = tarfile_members(archive_file)
    json.dump({"members": found_members, "error": found_error}, sys.stdout)
