"""DuckDB, which reads no tars, behind a pipe of curl or cat, GNU tar and igzip; two processes, an archive each at a time.

    with_duckdb.py states|typed|log OUT ARCHIVE...
"""
import subprocess, sys
from multiprocessing import Pool

import opensky

PROCESSES = 2
LOG = {"ts": "BIGINT", "level": "VARCHAR", "status": "INTEGER", "latency_ms": "DOUBLE",
       "user": "STRUCT(id BIGINT, tags VARCHAR[])", "path": "VARCHAR", "msg": "VARCHAR"}


def convert(job):
    task, out, number, archive = job
    import duckdb
    ending = ".jsonl.gz" if task == "log" else ".csv.gz"
    # Where a member has no header, the next one's would be data: there is one CSV file in an archive.
    command = f"set -o pipefail; {opensky.shell_source(archive)} | tar -xO --wildcards '*{ending}' | igzip -dc"
    pipe = subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE)
    source = f"/dev/fd/{pipe.stdout.fileno()}"
    if task == "log":
        rows = f"read_ndjson('{source}', columns={LOG})"
    else:
        columns = {name: opensky.SQL_TYPES[kind] for name, kind in opensky.TASKS[task].items()}
        rows = f"(FROM read_csv('{source}', header=true, delim=',', quote='\"', columns={columns}) WHERE velocity IS NOT NULL)"
    duckdb.sql("SET threads=2")
    duckdb.sql(f"COPY (SELECT * FROM {rows}) TO '{out}/part-{number:05d}.parquet' (FORMAT parquet, COMPRESSION snappy)")
    pipe.stdout.close()
    if pipe.wait() != 0:
        sys.exit(f"{command} failed")


if __name__ == "__main__":
    task, out, *archives = sys.argv[1:]
    with Pool(PROCESSES) as pool:
        for _ in pool.imap_unordered(convert, [(task, out, *pair) for pair in enumerate(archives)]):
            pass
