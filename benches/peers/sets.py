"""The data, made from nothing: the same bytes on every machine that has the same versions of numpy and pyarrow.

A set is a folder of archives with a `manifest.json` beside them that says what a right answer over them is. All sizes go
with `scale`; 1 is what benches/RESULTS.md is about.
"""
import gzip, io, json, math, os, shutil, subprocess, sys, tarfile, time
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from opensky import COLUMNS, NAMES

# State vectors as the OpenSky Network publishes them: hourly CSV files in tars, one row per aircraft and ten seconds.
FIRST_HOUR = 1656288000  # 2022-06-27, midnight
STEPS = 360
KNOT = 0.5144444444444445  # metres per second
METRES_PER_DEGREE = 111_320
# Positions are sent in 17 bits within a zone, so that they are no round numbers and print in up to 17 digits.
LATITUDE_GRID, LONGITUDE_GRID = 6 / 2**17, 360 / 47 / 2**17
AIRLINES = "DLH BAW AFR RYR UAL AAL SWA DAL KLM EZY SWR THY N".split()
BESIDE = [("LICENSE.txt", b"State vectors made for a benchmark: of nobody, about nothing.\n" * 20),
          ("README.txt", b"One row per aircraft and ten seconds, one file an hour.\n" * 60)]
WORDS = [a + b for a in "ba de fi go hu ka le mi no pu ra se ti vo".split() for b in "n rt s lk mm x dor ven gis pal tok zur".split()]


def states(seed, hour, rows):
    """An hour of state vectors, ordered by time, then by aircraft."""
    import pyarrow as pa
    random = np.random.default_rng(seed)
    aircraft = max(1, math.ceil(rows / STEPS))
    shape = (STEPS, aircraft)

    def walk(start, spread, share=1.0):
        """Whole numbers that change by a few now and then, as what an aircraft sends does."""
        steps = np.rint(random.normal(0, spread, shape)) * (random.random(shape) < share)
        return start + np.cumsum(steps, axis=0)

    def rare(share, of_aircraft=0.0):
        """What is missing: single values, and all of some aircraft's."""
        return (random.random(shape) < share) | (random.random(aircraft) < of_aircraft)[None, :]

    east, north = (walk(np.rint(random.normal(0, 300, aircraft)), 1.2, 0.5) for _ in range(2))
    at_start = random.uniform(25, 60, aircraft), random.uniform(-125, 30, aircraft)
    latitude = at_start[0] + np.cumsum(north * KNOT * 10, axis=0) / METRES_PER_DEGREE
    circle = METRES_PER_DEGREE * np.cos(np.radians(at_start[0]))
    longitude = at_start[1] + np.cumsum(east * KNOT * 10, axis=0) / circle
    pressure = np.clip(walk(np.rint(random.uniform(40, 480, aircraft)), 0.7), 0, 520) * 25 * 0.3048
    above = np.rint(random.normal(12, 8, aircraft)) + np.rint(random.normal(0, 0.5, shape))
    climb = np.rint(random.normal(0, 6, shape)) * (random.random(shape) < 0.4) * 0.32512
    now = np.broadcast_to((FIRST_HOUR + 3600 * hour + 10 * np.arange(STEPS))[:, None], shape)
    stale = np.where(random.random(shape) < 0.06, 300.0, 0.0)
    seen = now - np.round(random.exponential(1.2, shape), 3)
    heard = np.maximum(seen, now - np.round(random.exponential(0.4, shape), 3))
    no_position, no_velocity = rare(0, 0.07), rare(0.03, 0.05)

    def column(values, missing=None):
        flat = lambda array: np.ascontiguousarray(np.broadcast_to(array, shape)).reshape(-1)[:rows]
        return pa.array(flat(values), mask=None if missing is None else flat(missing))

    def names(values, share_missing):
        missing = random.random(aircraft) < share_missing
        one_each = pa.array([None if gone else str(value) for value, gone in zip(values, missing)], pa.string())
        return one_each.take(pa.array(np.tile(np.arange(aircraft, dtype=np.int32), STEPS)[:rows]))

    addresses = [f"{number:06x}" for number in random.choice(2**24, aircraft, replace=False)]
    flights = [f"{AIRLINES[i]}{number}".ljust(8) for i, number in zip(random.integers(0, len(AIRLINES), aircraft), random.integers(1, 9999, aircraft))]
    squawks = [f"{number:04o}" for number in random.integers(0, 4096, aircraft)]
    return pa.table({
        "time": column(now),
        "icao24": names(addresses, 0),
        "lat": column(np.rint(latitude / LATITUDE_GRID) * LATITUDE_GRID, no_position),
        "lon": column(np.rint(longitude / LONGITUDE_GRID) * LONGITUDE_GRID, no_position),
        "velocity": column(np.hypot(east, north) * KNOT, no_velocity),
        "heading": column(np.degrees(np.arctan2(east, north)) % 360, no_velocity),
        "vertrate": column(np.round(climb, 5) + 0.0, no_velocity),
        "callsign": names(flights, 0.04),
        "onground": column(rare(0, 0.04)),
        "alert": column(rare(0.001)),
        "spi": column(rare(0.002)),
        "squawk": names(squawks, 0.12),
        "baroaltitude": column(np.round(pressure, 2), rare(0.02)),
        "geoaltitude": column(np.round(pressure + above * 7.62, 2), rare(0.02, 0.08)),
        "lastposupdate": column(seen - stale, no_position),
        "lastcontact": column(heard),
    })


def facts(table):
    """What a right answer over these rows is: those with a velocity are kept."""
    import pyarrow.compute as pc
    kept = table.filter(table["velocity"].is_valid())
    total = lambda name: pc.sum(kept[name]).as_py() or 0.0
    return {"rows": table.num_rows, "kept": kept.num_rows, "velocity": total("velocity"), "geoaltitude": total("geoaltitude"),
            "names_bytes": sum(pc.sum(pc.binary_length(kept[name])).as_py() or 0 for name in NAMES)}


def write_tar(path, members):
    """Members are pairs of a name and either bytes or a file's path."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.mtime, header.mode = FIRST_HOUR, 0o644
            is_file = isinstance(content, Path)
            header.size = content.stat().st_size if is_file else len(content)
            with open(content, "rb") if is_file else io.BytesIO(content) as source:
                archive.addfile(header, source)


def hour_path(folder, hour, ending):
    path = folder / "2022-06-27" / f"{hour:02d}" / f"states_2022-06-27-{hour:02d}.{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def csv_archive(folder, hour, rows, seed):
    import pyarrow.csv
    table, text = states(seed, hour, rows), io.BytesIO()
    text.write((",".join(COLUMNS) + "\n").encode())
    pyarrow.csv.write_csv(table, text, pyarrow.csv.WriteOptions(include_header=False, quoting_style="none"))
    packed = gzip.compress(text.getbuffer(), 6, mtime=FIRST_HOUR)
    path = hour_path(folder, hour, "csv.tar")
    write_tar(path, [*BESIDE, (path.name.replace(".tar", ".gz"), packed)])
    return {"path": str(path.relative_to(folder)), "bytes": path.stat().st_size, "text_bytes": len(text.getbuffer()), **facts(table)}


def csv_archives(pool, folder, rows, seed):
    return pool.starmap(csv_archive, [(folder, hour, count, seed + hour) for hour, count in enumerate(rows)], chunksize=1)


def opensky(pool, folder, scale):
    return csv_archives(pool, folder, [int(1_000_000 * scale)] * 8, 1000)


def skewed(pool, folder, scale, small, large, seed):
    return csv_archives(pool, folder, [int(rows * scale) for rows in (small, small, large, small, small, small)], seed)


def packed_members(folder):
    """The compressed CSV files in the archives of `opensky`."""
    for path in sorted((folder.parent / "opensky").rglob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                if member.name.endswith(".csv.gz"):
                    yield member.name, archive.extractfile(member).read()


def of_opensky(folder):
    """The facts of all of `opensky`, for what holds the same rows otherwise."""
    archives = json.loads((folder.parent / "opensky/manifest.json").read_text())["archives"]
    return {key: sum(archive[key] for archive in archives) for key in ("text_bytes", "rows", "kept", "velocity", "geoaltitude", "names_bytes")}


def opensky_bare(pool, folder, scale):
    """The same files outside of tars, for those who can't read tars."""
    for name, content in packed_members(folder):
        (folder / name).write_bytes(content)
    size = sum(path.stat().st_size for path in folder.glob("*.gz"))
    return [{"path": "*.csv.gz", "bytes": size, **of_opensky(folder)}]


def opensky_members(pool, folder, scale):
    """All of `opensky` in one archive, as the eight members that they are."""
    path = folder / "states.tar"
    write_tar(path, packed_members(folder))
    return [{"path": path.name, "bytes": path.stat().st_size, **of_opensky(folder)}]


def opensky_member(pool, folder, scale):
    """All of `opensky` as one member: one gzip stream of one file, with one header."""
    from isal import igzip
    path, packed = folder / "states.tar", folder / "states.csv.gz"
    with gzip.GzipFile("states.csv", "wb", 6, open(packed, "wb"), mtime=FIRST_HOUR) as stream:
        for number, (_, content) in enumerate(packed_members(folder)):
            text = igzip.decompress(content)
            stream.write(text if number == 0 else memoryview(text)[text.index(b"\n") + 1:])
        stream.fileobj.flush()
    write_tar(path, [*BESIDE, (packed.name, packed)])
    packed.unlink()
    return [{"path": path.name, "bytes": path.stat().st_size, **of_opensky(folder)}]


def avro_archive(folder, hour, rows, seed, codec):
    import fastavro
    table = states(seed, hour, rows)
    always = {"time": "long", "onground": "boolean", "alert": "boolean", "spi": "boolean", "lastcontact": "double"}
    text = {"icao24", "callsign", "squawk"}
    fields = [{"name": name, "type": always.get(name) or ["null", "string" if name in text else "double"]} for name in COLUMNS]
    schema = fastavro.parse_schema({"type": "record", "name": "StateVector", "fields": fields})
    records = (record for batch in table.to_batches(max_chunksize=20_000) for record in batch.to_pylist())
    container = io.BytesIO()
    fastavro.writer(container, schema, records, codec=codec, sync_interval=256 << 10, sync_marker=bytes(range(16)))
    path = hour_path(folder, hour, "avro.tar")
    write_tar(path, [*BESIDE, (path.name.removesuffix(".tar"), container.getvalue())])
    return {"path": str(path.relative_to(folder)), "bytes": path.stat().st_size, **facts(table)}


def opensky_avro(pool, folder, scale):
    rows = int(500_000 * scale)
    jobs = [(folder, hour, rows, 3000 + hour, "deflate" if hour % 2 else "null") for hour in range(4)]
    return pool.starmap(avro_archive, jobs, chunksize=1)


def shard(folder, number, samples, seed):
    """Samples as training data has them: a picture (noise of a picture's size), a JSON document, a caption, a class."""
    random = np.random.default_rng(seed)

    def members():
        for sample in range(samples):
            key = f"{number * samples + sample:06d}"
            width, height, label = random.integers(1, 1000, 3).tolist()
            about = {"id": key, "width": width, "height": height, "label": label, "score": random.random(), "url": f"https://example.org/{key}.jpg"}
            yield f"{key}.jpg", b"\xff\xd8\xff\xe0" + random.bytes(random.integers(20_000, 60_000))
            yield f"{key}.json", json.dumps(about).encode()
            yield f"{key}.txt", " ".join(random.choice(WORDS, 12)).encode()
            yield f"{key}.cls", str(label).encode()

    content = list(members())
    path = folder / f"shard-{number:06d}.tar"
    write_tar(path, content)
    return {"path": path.name, "bytes": path.stat().st_size, "samples": samples, "members": len(content), "content": sum(len(c) for _, c in content)}


def webdataset(pool, folder, scale):
    return pool.starmap(shard, [(folder, number, int(2500 * scale), 4000 + number) for number in range(8)], chunksize=1)


def many_small(pool, folder, scale):
    """Texts of 200 to 2000 bytes in one archive: plain, gzip -6, zstd -3."""
    random, members = np.random.default_rng(5000), int(300_000 * scale)
    prose = " ".join(random.choice(WORDS, 400_000)).encode()
    sizes, starts = random.integers(200, 2001, members).tolist(), random.integers(0, len(prose) - 2000, members).tolist()
    path = folder / "many.tar"
    with open(path, "wb", buffering=1 << 20) as archive:
        for number, (size, start) in enumerate(zip(sizes, starts)):
            header = tarfile.TarInfo(f"docs/{number // 1000:04d}/doc_{number:07d}.txt")
            header.size, header.mtime, header.mode = size, FIRST_HOUR + number, 0o644
            archive.write(header.tobuf(tarfile.USTAR_FORMAT) + prose[start:start + size] + bytes(-size % 512))
        archive.write(bytes(1024))
    subprocess.run(["gzip", "-6", "--keep", "--no-name", "--force", path], check=True)
    subprocess.run(["zstd", "-3", "--quiet", "--force", path], check=True)
    same = {"members": members, "content": sum(sizes)}
    return [{"path": name, "bytes": (folder / name).stat().st_size, **same} for name in ("many.tar", "many.tar.gz", "many.tar.zst")]


def big_members(pool, folder, scale):
    """Twenty members of 100 MiB that no compression helps."""
    random, size, path = np.random.default_rng(6000), int((100 << 20) * scale), folder / "big.tar"
    write_tar(path, ((f"blob_{number:03d}.bin", random.bytes(size)) for number in range(20)))
    return [{"path": path.name, "bytes": path.stat().st_size, "members": 20, "content": 20 * size}]


def log_archive(folder, number, members, rows, seed):
    random, latencies, packed = np.random.default_rng(seed), 0.0, []
    for member in range(members):
        times = FIRST_HOUR * 1000 + np.cumsum(random.integers(0, 40, rows))
        levels = random.choice(["debug", "info", "warn", "error"], rows)
        statuses = random.choice([200, 200, 200, 204, 301, 404, 500], rows)
        latency, users = np.round(random.exponential(35, rows), 3), random.integers(0, 1 << 31, rows)
        pairs = random.choice(WORDS, (rows, 2))
        lines = (f'{{"ts":{time},"level":"{level}","status":{status},"latency_ms":{taken},"user":{{"id":{user},"tags":["{one}","{two}"]}},'
                 f'"path":"/{one}/{two}","msg":"request {user} done"}}\n'
                 for time, level, status, taken, user, (one, two)
                 in zip(times.tolist(), levels.tolist(), statuses.tolist(), latency.tolist(), users.tolist(), pairs.tolist()))
        packed.append((f"logs/part-{member:02d}.jsonl.gz", gzip.compress("".join(lines).encode(), 6, mtime=FIRST_HOUR)))
        latencies += float(latency.sum())
    path = folder / f"logs-{number:03d}.tar"
    write_tar(path, packed)
    return {"path": path.name, "bytes": path.stat().st_size, "rows": rows * members, "latency_ms": latencies}


def log(pool, folder, scale):
    return pool.starmap(log_archive, [(folder, number, 4, int(100_000 * scale), 7000 + number) for number in range(8)], chunksize=1)


# Name, what makes it; in this order, since some are made of `opensky`.
SETS = {
    "opensky": opensky,
    "opensky-bare": opensky_bare,
    "opensky-members": opensky_members,
    "opensky-member": opensky_member,
    "skew10": lambda pool, folder, scale: skewed(pool, folder, scale, 200_000, 2_000_000, 2000),
    "skew100": lambda pool, folder, scale: skewed(pool, folder, scale, 20_000, 2_000_000, 2100),
    "avro": opensky_avro,
    "webdataset": webdataset,
    "many": many_small,
    "big": big_members,
    "log": log,
}


class Set:
    """A set that is there: its folder, its archives, and sums over what the manifest says of them."""

    def __init__(self, folder):
        self.name, self.folder = folder.name, folder
        self.archives = json.loads((folder / "manifest.json").read_text())["archives"]

    def total(self, key):
        return sum(archive[key] for archive in self.archives)

    def paths(self):
        return [self.folder / archive["path"] for archive in self.archives]

    def keys(self):
        return [f"{self.name}/{archive['path']}" for archive in self.archives]


def see_to(names, root, scale):
    """Makes what is not there yet of these sets, at this scale; gives all of them."""
    wanted = set(names)
    if any(name.startswith("opensky-") for name in wanted):
        wanted.add("opensky")
    with Pool(2) as pool:
        for name, make in SETS.items():
            folder = root / name
            manifest = folder / "manifest.json"
            if name not in wanted or (manifest.exists() and json.loads(manifest.read_text())["scale"] == scale):
                continue
            started = time.monotonic()
            print(f"makes {name} ...", end="", file=sys.stderr, flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            archives = make(pool, folder, scale)
            manifest.write_text(json.dumps({"scale": scale, "archives": archives}, indent=1) + "\n")
            print(f" {time.monotonic() - started:.0f} s", file=sys.stderr)
    return {name: Set(root / name) for name in wanted}
