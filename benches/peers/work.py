"""The work: groups of commands that do the same job, and what is to be reached in each.

A command writes below `{out}`, or prints. Its line in the report has a name that is unique in the group; what runs next to
what is the order here.
"""
from dataclasses import dataclass, field

import answers, opensky
from targets import AtRate, Faster, Fetched, Peak, Share

# Rounds of peers that are slow or that no target names.
ONCE, FEW = 1, 3
TARSQL, PYARROW = "tarsql", "pyarrow + isal"
# Of eight archives, for what is to be seen at ten times that.
REPEAT = 10
CONNECTIONS = 8
STATES_FACTS = ("kept", "velocity", "geoaltitude", "names_bytes")


@dataclass
class Line:
    """A command, what a right answer to it is, and how much it works through."""

    name: str
    peer: str
    command: list
    check: object
    amount: float
    unit: str
    rounds: int | None = None
    note: str = ""


@dataclass
class Group:
    name: str
    title: str
    sets: list
    lines: object
    targets: list = field(default_factory=list)
    s3: bool = False
    slow: bool = False


class Bench:
    """What the groups need to write their commands down."""

    def __init__(self, place, sets, urls):
        self.place, self.sets, self.urls = place, sets, urls

    def tarsql(self, name, sql, check, amount, unit, **more):
        command = [str(self.place.tarsql), "--no-progress", "--quiet", "--format", "csv", "--metrics", "{out}/metrics.json", "-c", sql]
        return Line(name, "tarsql", command, check, amount, unit, **more)

    def copy(self, name, query, check, amount, unit, **more):
        options = "STORED AS PARQUET OPTIONS ('format.compression' 'snappy')"
        return self.tarsql(name, f"COPY ({query}) TO '{{out}}/out.parquet' {options}", check, amount, unit, **more)

    def states(self, name, locator, task, rows, check, options="", **more):
        """State vectors to Parquet, those that have a velocity."""
        columns = opensky.sql_columns(task)
        query = f"SELECT * FROM read_tar('{locator} :: *.csv.gz', format = 'csv', columns = '{columns}'{options}) WHERE velocity IS NOT NULL"
        return self.copy(name, query, check, rows, "rows", **more)

    def peer(self, name, peer, script, arguments, check, amount, unit, **more):
        return Line(name, peer, self.place.python(script, *arguments), check, amount, unit, **more)

    def shell(self, name, peer, command, check, amount, unit, **more):
        return Line(name, peer, ["bash", "-c", f"set -o pipefail; {command}"], check, amount, unit, **more)

    def s3(self, name):
        """The archives of a set, as the peers are told of them."""
        return [f"s3://bench/{key}" for key in self.sets[name].keys()]

    def kept(self, name, times=1):
        """The check of what is written of a set of state vectors: its rows that have a velocity."""
        return answers.states(times, **{key: self.sets[name].total(key) for key in STATES_FACTS})

    def ranged_get(self, name, url, size, connections, **more):
        """What a server gives to this many connections, an equal range of the object each."""
        step = -(-size // connections)
        ranges = " ".join(f"{start}-{min(start + step, size) - 1}" for start in range(0, size, step))
        command = (f"printf '%s\\n' {ranges} | xargs -P {connections} -I RANGE curl -sSf -o /dev/null -w '%{{size_download}}\\n' -r RANGE {url}"
                   " | awk '{n += $1} END {printf \"%.0f\\n\", n}'")
        return self.shell(name, "curl", command, answers.printed_numbers(size), size, "bytes", **more)


def text(b):
    rows, check = b.sets["opensky"].total("rows"), b.kept("opensky")
    archives = b.s3("opensky")
    return [
        b.states(TARSQL, "s3://bench/opensky/**/*.tar", "states", rows, check),
        b.peer(PYARROW, "pyarrow", "with_pyarrow.py", ["states", "{out}", *archives], check, rows, "rows", note="two processes"),
        b.peer("polars", "polars", "with_polars.py", ["states", "tar", "{out}", *archives], check, rows, "rows", rounds=ONCE, note="archives by tarfile"),
        b.peer("DuckDB", "duckdb", "with_duckdb.py", ["states", "{out}", *archives], check, rows, "rows", rounds=ONCE, note="curl, tar, igzip; two processes"),
        b.peer("ClickHouse", "clickhouse", "with_clickhouse.py", ["states", "{out}", *archives], check, rows, "rows", rounds=ONCE, note="curl, tar, igzip"),
        b.peer("Spark", "spark", "with_spark.py", ["{out}", *archives], check, rows, "rows", rounds=ONCE, note="a partition per archive"),
    ]


def typed(b):
    rows, check = b.sets["opensky"].total("rows"), b.kept("opensky")
    archives = b.s3("opensky")
    return [
        b.states(TARSQL, "s3://bench/opensky/**/*.tar", "typed", rows, check),
        b.peer(PYARROW, "pyarrow", "with_pyarrow.py", ["typed", "{out}", *archives], check, rows, "rows", note="two processes"),
        b.peer("polars, no tar", "polars", "with_polars.py", ["typed", "bare", "{out}", f"{b.sets['opensky-bare'].folder}/*.csv.gz"], check, rows, "rows",
               note="local .csv.gz files: neither S3 nor tar"),
        b.peer("DuckDB", "duckdb", "with_duckdb.py", ["typed", "{out}", *archives], check, rows, "rows", rounds=ONCE, note="curl, tar, igzip; two processes"),
    ]


def skewed(b):
    lines = [b.states(f"{TARSQL}, even", "s3://bench/opensky/**/*.tar", "states", b.sets["opensky"].total("rows"), b.kept("opensky"))]
    for name, times in (("skew10", 10), ("skew100", 100)):
        rows, check = b.sets[name].total("rows"), b.kept(name)
        lines.append(b.states(f"{TARSQL}, one archive {times}×", f"s3://bench/{name}/**/*.tar", "states", rows, check))
        lines.append(b.peer(f"{PYARROW}, one archive {times}×", "pyarrow", "with_pyarrow.py", ["states", "{out}", *b.s3(name)], check, rows, "rows", rounds=FEW))
    return lines


def single(b):
    rows, check = b.sets["opensky"].total("rows"), b.kept("opensky")
    return [
        b.states(f"{TARSQL}, eight archives", "s3://bench/opensky/**/*.tar", "states", rows, check),
        b.states(f"{TARSQL}, one archive of eight members", "s3://bench/opensky-members/*.tar", "states", rows, check),
        b.states(f"{TARSQL}, one archive of one member", "s3://bench/opensky-member/*.tar", "states", rows, check),
    ]


def avro(b):
    rows, check, folder = b.sets["avro"].total("rows"), b.kept("avro"), b.sets["avro"].folder
    query = f"SELECT * FROM read_tar('{folder}/**/*.tar :: *.avro', format = 'avro') WHERE velocity IS NOT NULL"
    return [
        b.copy(TARSQL, query, check, rows, "rows"),
        b.peer("ClickHouse", "clickhouse", "with_clickhouse.py", ["avro", "{out}", f"{folder}/*/*/*.tar"], check, rows, "rows", note="reads such tars by itself"),
        b.peer("fastavro + pyarrow", "fastavro", "with_fastavro.py", ["{out}", *b.sets["avro"].paths()], check, rows, "rows", rounds=ONCE, note="two processes"),
    ]


def log(b):
    log = b.sets["log"]
    rows, check = log.total("rows"), answers.parquet_sums(log.total("rows"), latency_ms=log.total("latency_ms"))
    return [
        b.copy(TARSQL, f"SELECT * FROM read_tar('{log.folder}/*.tar', format = 'json')", check, rows, "rows"),
        b.peer("DuckDB", "duckdb", "with_duckdb.py", ["log", "{out}", *log.paths()], check, rows, "rows", note="tar, igzip; two processes"),
        b.peer(PYARROW, "pyarrow", "with_pyarrow.py", ["log", "{out}", *log.paths()], check, rows, "rows", rounds=FEW, note="two processes"),
    ]


def listing(ending, extra):
    """Count and sum of sizes, over the archive that ends so."""

    def lines(b):
        many = b.sets["many"]
        about, path = many.archives[0], many.folder / f"many.tar{ending}"
        members = about["members"]
        both = answers.printed_numbers(members, about["content"])
        verbose = "awk '{n++; s += $5} END {printf \"%d %.0f\\n\", n, s}'"
        yield b.tarsql(TARSQL, f"SELECT count(*), sum(size) FROM read_tar('{path}')", both, members, "members")
        if "gnutar" in extra:
            yield b.shell("tar tf", "gnutar", f"tar -tf '{path}' | wc -l", answers.printed_numbers(members), members, "members", note="names only")
        yield b.shell("bsdtar tvf", "bsdtar", f"bsdtar -tvf '{path}' | {verbose}", both, members, "members", note="awk adds up beside it")
        if "tarfile" in extra:
            yield b.peer("tarfile", "tarfile", "with_tarfile.py", [path], both, members, "members", rounds=FEW)
        if "indexes" in extra:
            yield b.peer("ratarmount", "ratarmount", "with_ratarmount.py", [path, "{out}"], both, members, "members", rounds=ONCE, note="makes its index")
            yield b.peer("ClickHouse", "clickhouse", "with_clickhouse.py", ["list", path], both, members, "members", rounds=ONCE)

    return lambda b: list(lines(b))


def samples(b):
    shards = b.sets["webdataset"]
    size, check = shards.total("bytes"), answers.parquet_content(shards.total("members"), shards.total("content"))
    return [
        b.copy(TARSQL, "SELECT path, content FROM read_tar('s3://bench/webdataset/*.tar')", check, size, "bytes"),
        b.peer("webdataset", "webdataset", "with_webdataset.py", ["{out}", *b.s3("webdataset")], check, size, "bytes", note="curl; pyarrow writes; two processes"),
    ]


def everything(b, name, locator, **more):
    """All contents are looked at, and nothing is done with them."""
    big = b.sets["big"]
    sql = f"SELECT count(*), sum(size) FROM read_tar('{locator}') WHERE content <> X'00'"
    return b.tarsql(name, sql, answers.printed_numbers(20, big.total("content")), big.total("bytes"), "bytes", **more)


def big(b):
    big = b.sets["big"]
    size, content, url = big.total("bytes"), big.total("content"), f"{b.urls['s3']}/bench/big/big.tar"
    table = "read_tar('s3://bench/big/big.tar')"
    of_one = f"SELECT content FROM {table} WHERE path = 'blob_010.bin'"
    return [
        everything(b, f"{TARSQL}, scan", "s3://bench/big/big.tar"),
        b.ranged_get("curl, eight ranges", url, size, CONNECTIONS),
        b.ranged_get("curl, one GET", url, size, 1, rounds=FEW),
        b.copy(f"{TARSQL}, all contents to Parquet", f"SELECT content FROM {table}", answers.parquet_content(20, content), size, "bytes", rounds=FEW),
        b.copy(f"{TARSQL}, one member to Parquet", of_one, answers.parquet_content(1, content // 20), content / 20, "bytes"),
        b.tarsql(f"{TARSQL}, list", f"SELECT count(*), sum(size) FROM {table}", answers.printed_numbers(20, content), 20, "members"),
    ]


def slow(b):
    size, url = b.sets["big"].total("bytes"), f"{b.urls['slow']}/big/big.tar"
    return [
        everything(b, f"{TARSQL}, scan", url, rounds=FEW),
        b.ranged_get("curl, eight ranges", url, size, CONNECTIONS, rounds=FEW),
        b.ranged_get("curl, one GET", url, size, 1, rounds=ONCE),
    ]


def scale(b):
    opensky_set = b.sets["opensky"]
    first = opensky_set.archives[0]
    one = answers.states(**{key: first[key] for key in STATES_FACTS})
    rows, archives = opensky_set.total("rows"), b.s3("opensky")
    cases = [
        ("1 archive", archives[0], "", first["rows"], one, archives[:1], None),
        ("8 archives", "s3://bench/opensky/**/*.tar", "", rows, b.kept("opensky"), archives, FEW),
        ("80 archives", "s3://bench/opensky/**/*.tar", f", repeat = {REPEAT}", rows * REPEAT, b.kept("opensky", times=REPEAT), archives * REPEAT, ONCE),
    ]
    lines = []
    for name, locator, options, amount, check, listed, rounds in cases:
        lines.append(b.states(f"{TARSQL}, {name}", locator, "states", amount, check, options=options, rounds=rounds))
        lines.append(b.peer(f"{PYARROW}, {name}", "pyarrow", "with_pyarrow.py", ["states", "{out}", *listed], check, amount, "rows", rounds=ONCE))
    return lines


def limits(b):
    paths, bare = b.sets["opensky"].paths(), b.sets["opensky-bare"]
    size, text_bytes, nothing = b.sets["opensky"].total("bytes"), bare.total("text_bytes"), answers.nothing_to_check
    files = " ".join(f"'{path}'" for path in paths)
    urls = " ".join(f"{b.urls['s3']}/bench/{key}" for key in b.sets["opensky"].keys())
    packed = f"'{bare.folder}'/*.csv.gz"
    return [
        b.shell("cat", "limits", f"cat {files} > /dev/null", nothing, size, "bytes", rounds=FEW, note="of compressed bytes"),
        b.shell("GET from S3, one connection", "limits", f"curl -sSf {urls} > /dev/null", nothing, size, "bytes", rounds=FEW, note="of compressed bytes"),
        b.shell("GET from S3, eight connections", "limits", f"echo {urls} | xargs -n 1 -P 8 curl -sSf -o /dev/null", nothing, size, "bytes", rounds=FEW, note="of compressed bytes"),
        b.shell("tar xO", "limits", f"for f in {files}; do tar -xOf $f > /dev/null; done", nothing, size, "bytes", rounds=FEW, note="of compressed bytes"),
        b.shell("igzip", "limits", f"cat {packed} | igzip -dc > /dev/null", nothing, text_bytes, "bytes", rounds=FEW, note="of inflated bytes"),
        b.shell("igzip, two at a time", "limits", f"ls {packed} | xargs -n 1 -P 2 igzip -dc > /dev/null", nothing, text_bytes, "bytes", rounds=FEW, note="of inflated bytes"),
    ]


GROUPS = [
    Group("A", "OpenSky csv.gz in tar, S3 → Parquet, 14 columns of text and two doubles", ["opensky"], text, s3=True,
          targets=[Faster(TARSQL, PYARROW, 2), Faster(TARSQL, "Spark", 20)]),
    Group("A-typed", "the same with natural types", ["opensky", "opensky-bare"], typed, s3=True,
          targets=[Faster(TARSQL, PYARROW, 2), Faster(TARSQL, "polars, no tar", 1.3)]),
    Group("B", "skewed: six archives, one of them 10× or 100× the others", ["opensky", "skew10", "skew100"], skewed, s3=True,
          targets=[AtRate(f"{TARSQL}, one archive {times}×", f"{TARSQL}, even", 1.15) for times in (10, 100)]),
    Group("one", "all of (A) in a single archive", ["opensky", "opensky-members", "opensky-member"], single, s3=True,
          targets=[AtRate(f"{TARSQL}, one archive of {members}", f"{TARSQL}, eight archives", 1.15) for members in ("eight members", "one member")]),
    Group("C", "avro in tar, local → Parquet", ["avro"], avro,
          targets=[Faster(TARSQL, "ClickHouse", 1.5), Faster(TARSQL, "fastavro + pyarrow", 15)]),
    Group("G", "jsonl.gz in tar, local → Parquet", ["log"], log, targets=[Faster(TARSQL, "DuckDB", 2)]),
    Group("E", "count and sum of sizes of 300,000 members, plain tar, local", ["many"], listing("", ["gnutar", "tarfile", "indexes"]),
          targets=[Faster(TARSQL, "tar tf", 2), Faster(TARSQL, "tarfile", 20)]),
    Group("E-gz", "the same in .tar.gz", ["many"], listing(".gz", []), targets=[Faster(TARSQL, "bsdtar tvf", 1.3)]),
    Group("E-zst", "the same in .tar.zst", ["many"], listing(".zst", []), targets=[Faster(TARSQL, "bsdtar tvf", 1.3)]),
    Group("D", "WebDataset shards, all members with content, S3 → Parquet", ["webdataset"], samples, s3=True,
          targets=[Faster(TARSQL, "webdataset", 3), Peak(TARSQL, 400)]),
    Group("F", "2 GiB plain tar of twenty members on S3", ["big"], big, s3=True, targets=[
        Faster(f"{TARSQL}, scan", "curl, eight ranges", 0.85),
        Share(f"{TARSQL}, one member to Parquet", f"{TARSQL}, all contents to Parquet", 0.05),
        Fetched(f"{TARSQL}, list", 1)]),
    Group("F-slow", "the same from a server with 50 ms to the first byte and 25 MB/s a connection", ["big"], slow, slow=True,
          targets=[Faster(f"{TARSQL}, scan", "curl, one GET", 6), Faster(f"{TARSQL}, scan", "curl, eight ranges", 0.85)]),
    Group("scale", "(A) with 1, 8 and 80 archives", ["opensky"], scale, s3=True, targets=[
        AtRate(f"{TARSQL}, 1 archive", f"{TARSQL}, 8 archives", 1.1),
        AtRate(f"{TARSQL}, 80 archives", f"{TARSQL}, 8 archives", 1.1),
        Peak(f"{TARSQL}, 8 archives", 400),
        Peak(f"{TARSQL}, 80 archives", 400)]),
    Group("limits", "what the machine and the servers give", ["opensky", "opensky-bare"], limits, s3=True),
]
