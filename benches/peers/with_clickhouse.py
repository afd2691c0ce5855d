"""ClickHouse in process (chdb). It reads tars, but no compressed member of one: those come through a pipe.

    with_clickhouse.py states|typed OUT ARCHIVE...   curl or cat, GNU tar and igzip in front, an archive after the other
    with_clickhouse.py avro OUT PATTERN              by itself
    with_clickhouse.py list ARCHIVE
"""
import subprocess, sys

import chdb

import opensky

TYPES = {"text": "String", "double": "Nullable(Float64)", "long": "Int64", "boolean": "Bool"}
# It would trim text otherwise.
SETTINGS = ("SETTINGS output_format_parquet_compression_method='snappy', engine_file_truncate_on_insert=1, "
            "input_format_csv_trim_whitespaces=0")


def insert(out, number, source):
    chdb.query(f"INSERT INTO FUNCTION file('{out}/part-{number:05d}.parquet', 'Parquet') SELECT * FROM {source} "
               f"WHERE velocity IS NOT NULL {SETTINGS}")


def main():
    task, *rest = sys.argv[1:]
    if task == "list":
        print(chdb.query(f"SELECT count(), sum(_size) FROM file('{rest[0]} :: **.txt', 'One')", "TabSeparated"), end="")
        return
    out, *archives = rest
    if task == "avro":
        insert(out, 0, f"file('{archives[0]} :: *.avro', 'Avro')")
        return
    columns = ", ".join(f"{name} {TYPES[kind]}" for name, kind in opensky.TASKS[task].items())
    for number, archive in enumerate(archives):
        command = f"set -o pipefail; {opensky.shell_source(archive)} | tar -xO --wildcards '*.csv.gz' | igzip -dc"
        pipe = subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE)
        insert(out, number, f"file('/dev/fd/{pipe.stdout.fileno()}', 'CSVWithNames', '{columns}')")
        pipe.stdout.close()
        if pipe.wait() != 0:
            sys.exit(f"{command} failed")


if __name__ == "__main__":
    main()
