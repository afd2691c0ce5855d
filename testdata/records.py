"""The archives whose members hold records: OpenSky-shaped state vectors, logs, CSV with its quirks, old text.

`archives` yields them; `MANIFEST` is filled on the way and says what a query over the state vectors must find.
"""
import bz2
import gzip
import io
import json
import lzma
import math
import random

T0 = 1656288000  # 2022-06-27T00:00:00Z
COLUMNS = ("time icao24 lat lon velocity heading vertrate callsign onground alert spi squawk baroaltitude geoaltitude "
           "lastposupdate lastcontact").split()
TEXTS = {"icao24", "callsign", "squawk"}
ROWS = {0: 1200, 1: 1500, 2: 1000, 3: 1100}
MANIFEST = {}


def states(hour, rows):
    """One hour of aircraft, a position each ten seconds: dictionaries with None where nothing was received."""
    rng = random.Random(7000 + hour)
    fleet = []
    for _ in range(max(1, rows // 60)):
        fleet.append({
            "icao24": f"{rng.randrange(1 << 24):06x}", "lat": rng.uniform(25, 60), "lon": rng.uniform(-120, 30),
            "speed": rng.uniform(60, 270), "heading": rng.uniform(0, 360), "altitude": rng.randrange(40, 480) * 7.62,
            "callsign": rng.choice(["DLH", "BAW", "AFR", "SWR", "N"]) + str(rng.randrange(1, 9999)),
            "squawk": f"{rng.randrange(4096):04o}" if rng.random() > 0.1 else None, "mute": rng.random() < 0.05})
    for number in range(rows):
        plane, step = fleet[number % len(fleet)], number // len(fleet)
        time = T0 + hour * 3600 + 10 * step
        seen = rng.random() > 0.05
        moving = seen and not plane["mute"] and rng.random() > 0.04
        speed = round(plane["speed"] + rng.gauss(0, 2), 11)
        yield {
            "time": time, "icao24": plane["icao24"],
            "lat": round(plane["lat"] + step * 0.001, 13) if seen else None,
            "lon": round(plane["lon"] + step * 0.002, 13) if seen else None,
            "velocity": speed if moving else None,
            "heading": round(plane["heading"], 11) if moving else None,
            "vertrate": rng.choice([0.0, 0.0, 0.32512, -0.32512, 3.2512]) if moving else None,
            "callsign": plane["callsign"].ljust(8) if rng.random() > 0.03 else None,
            "onground": rng.random() < 0.04, "alert": rng.random() < 0.002, "spi": rng.random() < 0.002,
            "squawk": plane["squawk"],
            "baroaltitude": round(plane["altitude"] + rng.randrange(-3, 4) * 7.62, 2) if seen else None,
            "geoaltitude": round(plane["altitude"] + 60.96 + rng.randrange(-3, 4) * 7.62, 2) if rng.random() > 0.06 else None,
            "lastposupdate": round(time - rng.random(), 3) if seen else None,
            "lastcontact": round(time - rng.random() / 4, 3),
        }


def field(value):
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def csv_hour(hour):
    """The CSV of an hour, with rows that do not fit sown in, and its line of the manifest."""
    kept, strict, lines = [], [], [",".join(COLUMNS)]
    counts = {"wrong_fields": 0, "bad_velocity": 0, "bad_geoaltitude": 0, "bad_rows": 0}
    for number, row in enumerate(states(hour, ROWS[hour])):
        fields = [field(row[column]) for column in COLUMNS]
        if number % 400 == 150:
            lines.append(",".join(fields[:9]))
            counts["wrong_fields"] += 1
            counts["bad_rows"] += 1
            continue
        if number % 400 == 250:
            lines.append(",".join(fields + ["one", "too many"]))
            counts["wrong_fields"] += 1
            counts["bad_rows"] += 1
            continue
        bad = set()
        if number % 300 in (70, 170):
            bad.add("velocity")
        if number % 300 in (120, 170):
            bad.add("geoaltitude")
        for column in bad:
            counts["bad_" + column] += 1
            fields[COLUMNS.index(column)] = "bad"
            row[column] = None
        counts["bad_rows"] += bool(bad)
        lines.append(",".join(fields))
        kept.append(row)
        if not bad:
            strict.append(row)
    text = "\n".join(lines) + "\n"
    return text.encode(), {"lines": len(lines) - 1, **counts, **sums(kept), "skip": sums(strict)}


def sums(rows):
    flying = [row for row in rows if row["velocity"] is not None]
    altitudes = [row["geoaltitude"] for row in flying if row["geoaltitude"] is not None]
    return {"rows": len(rows), "rows_with_velocity": len(flying), "sum_velocity": math.fsum(row["velocity"] for row in flying),
            "rows_with_velocity_and_geoaltitude": len(altitudes), "sum_geoaltitude_with_velocity": math.fsum(altitudes)}


def avro_hour(hour):
    import fastavro
    always = {"time": "long", "onground": "boolean", "alert": "boolean", "spi": "boolean", "lastcontact": "double"}
    schema = {"type": "record", "name": "StateVector", "fields": [
        {"name": column, "type": always.get(column) or ["null", "string" if column in TEXTS else "double"]} for column in COLUMNS]}
    rows, out = list(states(hour, ROWS[hour])), io.BytesIO()
    fastavro.writer(out, fastavro.parse_schema(schema), rows, codec="deflate", sync_interval=8000, sync_marker=bytes(range(16)))
    return out.getvalue(), {"lines": len(rows), "wrong_fields": 0, "bad_rows": 0, **sums(rows), "skip": sums(rows)}


def opensky(archive, info):
    around = [info("LICENSE.txt", b"Made-up state vectors, free for any use.\n" * 12), info("README.txt", b"One row per aircraft and ten seconds.\n" * 20)]
    for hour in ROWS:
        stem = f"states_2022-06-27-{hour:02d}"
        if hour == 3:
            name, (data, found) = f"{stem}.avro", avro_hour(hour)
            path = f"opensky/states/.2022-06-27/{hour:02d}/{stem}.avro.tar"
        else:
            text, found = csv_hour(hour)
            name, data = f"{stem}.csv.gz", gzip.compress(text, 9, mtime=0)
            path = f"opensky/states/.2022-06-27/{hour:02d}/{stem}.csv.tar"
        MANIFEST[path.removeprefix("opensky/")] = found
        yield path, archive([*around, info(name, data)])


def log(part, rows):
    rng = random.Random(9000 + part)
    for number in range(rows):
        yield {"ts": (T0 + number) * 1000, "level": rng.choice(["debug", "info", "warn", "error"]), "status": rng.choice([200, 204, 301, 404, 500]),
               "latency_ms": round(rng.expovariate(0.03), 3), "user": {"id": rng.randrange(10000), "tags": rng.sample(["a", "b", "c"], 2)}, "msg": f"request {number} doné"}


def json_archives(archive, info, compressed):
    parts = ["".join(json.dumps(row, ensure_ascii=False) + "\n" for row in log(part, 200)).encode() for part in range(5)]
    yield "json/logs.tar", archive([
        info("logs/part-0.jsonl", parts[0]), info("logs/part-1.jsonl.gz", gzip.compress(parts[1], 9, mtime=0)),
        info("logs/part-2.jsonl.zst", compressed("zstd", parts[2])), info("logs/part-3.jsonl.xz", lzma.compress(parts[3])),
        info("logs/part-4.jsonl.bz2", bz2.compress(parts[4]))])
    rows = list(log(5, 30))
    yield "json/shapes.tar", archive([
        info("array.json", json.dumps(rows).encode()), info("array-pretty.json", json.dumps(rows, indent=2).encode()),
        info("document.json", json.dumps(rows[0], indent=2).encode()),
        info("lines.ndjson", "".join(json.dumps(row) + "\r\n" for row in rows).encode()),
        info("no-newline.json", "\n".join(json.dumps(row) for row in rows).encode()), info("empty.json", b""), info("empty-array.json", b"[ ]\n")])
    yield "json/bad.tar", archive([info("bad.jsonl", b'{"a": 1, "b": "x"}\n{"a": 2, "b": \n{"a": 3, "b": "z"}\n\n{"a": "four", "b": "w"}\n')])


def csv_archives(archive, info):
    # One archive a quirk: within an archive all members have the same columns.
    yield "csv/quotes.tar", archive([info("quotes.csv", b'id,name,note\n1,"Smith, J.","said ""hi"""\n2,"",plain\n3,,\n4,"two\nlines","a\r\nb"\n5,last,row')])
    yield "csv/bom.tar", archive([info("bom.csv", b"\xef\xbb\xbfid,name\n1,one\n2,two\n"), info("no-bom.csv", b"id,name\r\n3,three\r\n\r\n4,four\r\n")])
    yield "csv/semicolon.tar", archive([info("semicolon.csv", "# exported\nid;price;city\n1;9,95;Zürich\n2;10,00;Genève\n".encode())])
    yield "csv/tabs.tar", archive([info("tabs.tsv", b"id\tname\tnote\n1\tone\t\"q\"\n2\ttwo\t\n")])
    yield "csv/columns-move.tar", archive([info("1.csv", b"a,b,c\n1,x,1.5\n2,y,2.5\n"), info("2.csv", b"c,a,b,extra\n3.5,3,z,!\n"), info("3.csv", b"A,B,C\n4,w,4.5\n")])
    yield "csv/types-widen.tar", archive([info("1.csv", b"a,b\n1,1\n2,2\n")])
    yield "csv/types-widen-2.tar", archive([info("1.csv", b"a,b\n1.5,x\n2,y\n")])
    yield "csv/header-only.tar", archive([info("1.csv", b"a,b\n"), info("2.csv", b"a,b\n1,2\n"), info("3.csv", b"")])


def text_archives(archive, info):
    yield "text/old.tar", archive([info("latin1.txt", "Zürich\nGenève\n".encode("latin-1")), info("utf8.txt", "Zürich\nGenève\n".encode())])
    yield "text/lines.tar", archive([
        info("unix.txt", b"one\ntwo\n\nfour\n"), info("windows.txt", b"one\r\ntwo\r\n"), info("no-newline.txt", b"one\ntwo"),
        info("empty.txt", b""), info("packed.txt.gz", gzip.compress(b"packed one\npacked two\n", 9, mtime=0)), info("d/", type=b"5", mode=0o755)])


def archives(archive, info, compressed):
    yield from opensky(archive, info)
    yield from json_archives(archive, info, compressed)
    yield from csv_archives(archive, info)
    yield from text_archives(archive, info)
