"""Who lists what: tarsql, GNU tar, bsdtar and Python's tarfile over every archive of testdata/.

    tests/differential.py [--check] [PROGRAM]

writes tests/differential.md, or with --check compares it and says what is not as recorded. PROGRAM is target/debug/tarsql unless
given. Every difference needs a reason in tests/reasons.py, and every reason a difference.
"""
import argparse
import collections
import concurrent.futures
import datetime
import difflib
import hashlib
import json
import os
import re
import sys

# The scripts of tests/ leave nothing behind.
sys.dont_write_bytecode = True

import readers  # noqa: E402
from reasons import REASONS  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", "testdata"))
TABLE = os.path.join(HERE, "differential.md")
# Files of testdata/ that are no archives.
OTHERS = (".py", ".pyc", ".md", ".json")
# Our peers, in the order of the columns.
PEERS = ("GNU tar", "bsdtar", "tarfile")
# Differences of one listing that are spelled out; the rest is counted.
SHOWN_MAX = 2
TEXT_CHARS_MAX = 90
THREADS = os.cpu_count() or 2


def archives():
    found = [os.path.join(folder, name) for folder, _, names in os.walk(ROOT) for name in names if not name.endswith(OTHERS)]
    return sorted(os.path.relpath(path, ROOT).replace(os.sep, "/") for path in found)


def observe(program, names):
    """By archive: our reading and those of the peers."""
    def one(name):
        theirs = {"GNU tar": readers.with_gnu_tar(ROOT, name), "bsdtar": readers.with_bsdtar(ROOT, name), "tarfile": readers.with_tarfile(ROOT, name)}
        return name, readers.with_tarsql(program, ROOT, name), theirs
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        return {name: (ours, theirs) for name, ours, theirs in pool.map(one, names)}


# ----- what differs

# Kinds of differences, as the summary counts them.
SILENT_DAMAGE, SILENT_LOSS, SILENT_CHANGE = "silent damage", "silent loss", "silent change"
WARNED, REFUSED, READS_MORE = "warned", "refused", "reads more"


def difference(ours, theirs):
    """None, or its kind and what a table's cell says."""
    unlike = unlike_fields(ours.members, theirs.members)
    loses = len(theirs.members) < len(ours.members)
    if ours.verdict == "error":
        if theirs.verdict == "error":
            return None
        kind = WARNED if theirs.verdict == "warning" else SILENT_DAMAGE
        return kind, f"{count(theirs.members)}, {said(theirs) or 'no error'}"
    if theirs.verdict == "error":
        return REFUSED, f"{count(theirs.members)}, then an error: {said(theirs)}"
    if len(theirs.members) == len(ours.members) and not unlike:
        return None
    what = "; ".join(unlike) if len(theirs.members) == len(ours.members) else f"{count(theirs.members)} of {len(ours.members)}"
    if theirs.verdict == "warning":
        return WARNED, f"{what}; warning: {said(theirs)}"
    return SILENT_LOSS if loses else SILENT_CHANGE, what


def unlike_fields(ours, theirs):
    """Fields that both tell, and not alike. A directory's trailing slash is one with us and GNU tar only."""
    unlike = []
    for mine, other in zip(ours, theirs):
        for key in ("path", "type", "size", "linkname", "mtime", "sha256"):
            if key in mine and key in other and plain(key, mine) != plain(key, other):
                unlike.append(shown_field(mine, key, other))
    if len(unlike) > SHOWN_MAX:
        unlike[SHOWN_MAX:] = [f"{len(unlike) - SHOWN_MAX} more"]
    return unlike


def plain(key, member):
    return member[key].rstrip("/") if key == "path" and member["type"] == "directory" else member[key]


def shown_field(mine, key, other):
    if key == "sha256":
        return f"other content in {code(mine['path'])}"
    place = "" if key == "path" else f" of {code(mine['path'])}"
    mine, other = mine[key], other[key]
    if key == "mtime":
        mine, other = instant(mine), instant(other)
    return f"{key}{place}: {code(other)}, not {code(mine)}"


def instant(microseconds):
    try:
        return (datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=microseconds)).isoformat(" ")
    except OverflowError:
        return f"{microseconds} µs"


def count(members):
    return "1 member" if len(members) == 1 else f"{len(members)} members"


def said(reading):
    return code(reading.message) if reading.message else ""


def code(value):
    """Of a table's cell: printable, on one line, without what Markdown would take for its own."""
    value = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))
    if value in ("", "None"):
        return "(none)"
    value = value if len(value) <= TEXT_CHARS_MAX else value[:TEXT_CHARS_MAX] + "…"
    return "`" + value.replace("|", "¦").replace("`", "'") + "`"


def differences(observed):
    found, given = {}, reasons()
    for name, (ours, theirs) in observed.items():
        for peer in PEERS:
            different = difference(ours, theirs[peer])
            if different:
                beyond_us = (name, peer) in given and REASONS[given[name, peer]].get("is_our_limit")
                found[name, peer] = (READS_MORE, different[1]) if beyond_us else different
    return found


def reasons():
    """By archive and peer: the number of its reason."""
    given = {}
    for number, reason in enumerate(REASONS):
        for peers, names in reason["who"]:
            for name in names.split():
                for peer in peers:
                    if (name, peer) in given:
                        raise SystemExit(f"tests/reasons.py: {name} has two reasons for {peer}")
                    given[name, peer] = number
    return given


def unreasoned(found, masked):
    """Differences without a reason, and reasons without a difference (but for readers of another version)."""
    given = reasons()
    problems = [f"{name}: {peer} differs, and tests/reasons.py does not say why we are right: {found[name, peer][1]}"
                for name, peer in sorted(set(found) - set(given))]
    return problems + [f"{name}: {peer} agrees with us now: take it out of tests/reasons.py"
                       for name, peer in sorted(set(given) - set(found)) if peer not in masked]


# ----- the table

def digest(members):
    return hashlib.sha256(json.dumps(members, sort_keys=True).encode()).hexdigest()[:12]


def our_cell(ours):
    if ours.verdict == "error":
        return f"{count(ours.members)}, then an error: {said(ours)}"
    warning = f", warning: {said(ours)}" if ours.verdict == "warning" else ""
    return f"{count(ours.members)}{warning}"


def link(name):
    return f"[{name}](../testdata/{name})"


def summary(observed, found):
    damaged = sum(ours.verdict == "error" for ours, _ in observed.values())
    differing = {name for name, _ in found}
    yield f"{len(observed)} archives: {len(observed) - damaged} that can be read, {damaged} that are damaged and have to be an error.\n"
    yield f"All four readers agree on {len(observed) - len(differing)}. Of the others, each differs from tarsql on:\n"
    yield "| | GNU tar | bsdtar | tarfile |"
    yield "|---|---|---|---|"
    kinds = [(SILENT_DAMAGE, "**silent damage**: the archive is damaged, and nothing is said"),
             (SILENT_LOSS, "**silent loss**: members of a good archive are missing, and nothing is said"),
             (SILENT_CHANGE, "**silent change**: a name, size, time, type or content is another, and nothing is said"),
             (WARNED, "warned: one of these with a warning, but success"), (REFUSED, "refused: an error where the archive is good"),
             (READS_MORE, "reads more: what tarsql refuses: another format, or a compression within another")]
    for kind, meaning in kinds:
        yield f"| {meaning} | " + " | ".join(str(sum(who == peer and what == kind for (_, who), (what, _) in found.items())) for peer in PEERS) + " |"


def sections(observed, found):
    given = reasons()
    for number, reason in enumerate(REASONS):
        names = sorted({name for name, peer in found if given.get((name, peer)) == number})
        if not names:
            continue
        yield f"\n### {reason['title']}\n\n{' '.join(reason['why'].split())}\n"
        yield "| archive | tarsql | GNU tar | bsdtar | tarfile |"
        yield "|---|---|---|---|---|"
        for name in names:
            cells = [found[name, peer][1] if given.get((name, peer)) == number and (name, peer) in found else
                     "(elsewhere)" if (name, peer) in found else "agrees" for peer in PEERS]
            yield f"| {link(name)} | {our_cell(observed[name][0])} | {' | '.join(cells)} |"


def rows(observed, found):
    """The last table, cell by cell: archive, our digest, then what a peer does."""
    for name, (ours, _) in observed.items():
        yield [name, f"{len(ours.members)} {ours.verdict} {digest(ours.members)}", *(found[name, peer][0] if (name, peer) in found else "" for peer in PEERS)]


def rendered(versions, observed, found):
    yield "# Who lists what\n"
    yield ("<!-- Written by tests/differential.py: change the archives, the code or tests/reasons.py, and run it again. -->\n\n"
           "The same archives, read by four programs as people use them, without options: members in order with path, type, size,\n"
           "link target, time to the microsecond, and the SHA-256 of a file's content. Where a peer differs from tarsql, the reason\n"
           "stands above it. A directory's trailing slash, which bsdtar and tarfile drop, is not counted.\n")
    yield "\n".join(f"- {peer}: {versions[peer]}" for peer in PEERS) + "\n"
    yield from summary(observed, found)
    yield "\n## Where they differ, and why our answer is right"
    yield from sections(observed, found)
    yield "\n## All archives\n\nMembers, verdict and a digest of what tarsql lists; nothing stands where a peer agrees.\n"
    yield "| archive | tarsql | GNU tar | bsdtar | tarfile |"
    yield "|---|---|---|---|---|"
    for name, *cells in rows(observed, found):
        yield f"| {link(name)} | {' | '.join(cells)} |"


# ----- the check

def recorded_rows(text):
    """The last table of a recorded text, by archive."""
    table = text.partition("\n## All archives\n")[2]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| [")]
    return {re.match(r"\[(.*)\]\(", first)[1]: others for first, *others in cells}


def check(text, versions, observed, found):
    with open(TABLE, encoding="utf-8") as file:
        recorded = file.read()
    others = {peer: re.search(rf"^- {re.escape(peer)}: (.*)$", recorded, re.MULTILINE) for peer in PEERS}
    others = {peer: at[1] if at else "none" for peer, at in others.items()}
    masked = {peer for peer in PEERS if others[peer] != versions[peer]}
    problems = unreasoned(found, masked)
    if not masked:
        problems += list(difflib.unified_diff(recorded.splitlines(), text.splitlines(), "recorded", "now", lineterm=""))
    else:
        compared = ["tarsql", *(peer for peer in PEERS if peer not in masked)]
        for peer in sorted(masked):
            print(f"NOTE: {peer} is {versions[peer]} here, and {others[peer]} in the table: its column is NOT compared.")
        print(f"NOTE: compared are {', '.join(compared)}, and that no peer differs from us without a reason. For all of it, run this with the "
              "recorded versions; or write the table anew with yours, and read its diff.")
        now = {name: cells for name, *cells in rows(observed, found)}
        before = recorded_rows(recorded)
        for name in sorted(set(now) | set(before)):
            for at, column in enumerate(["tarsql", *PEERS]):
                was, is_now = (table.get(name, [None] * 4)[at] for table in (before, now))
                if column in compared and was != is_now:
                    problems.append(f"{name}: {column}: '{was}' is recorded, it is '{is_now}'")
    if problems:
        print("\n".join(problems), file=sys.stderr)
        raise SystemExit("tests/differential.md is not current: run tests/differential.py, and look at what has changed")
    print(f"tests/differential.md is current: {len(observed)} archives, {len(found)} differences, each with a reason")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments.add_argument("program", nargs="?", default=os.path.join(HERE, "..", "target", "debug", "tarsql"))
    given = arguments.parse_args()
    versions = readers.versions()
    observed = observe(os.path.abspath(given.program), archives())
    found = differences(observed)
    text = "\n".join(rendered(versions, observed, found)) + "\n"
    if given.check:
        check(text, versions, observed, found)
        return
    with open(TABLE, "w", encoding="utf-8") as file:
        file.write(text)
    problems = unreasoned(found, set())
    kinds = collections.Counter(kind for kind, _ in found.values())
    print(f"{len(observed)} archives, {len(found)} differences: {dict(kinds)}")
    if problems:
        raise SystemExit("\n".join(problems))


if __name__ == "__main__":
    main()
