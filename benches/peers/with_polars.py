"""polars, which reads no tars: of archives by way of tarfile, a whole member at a time; of bare .csv.gz by itself.

    with_polars.py states|typed tar OUT ARCHIVE...
    with_polars.py states|typed bare OUT PATTERN
"""
import sys

import polars as pl

import opensky

TYPES = {"text": pl.String, "double": pl.Float64, "long": pl.Int64, "boolean": pl.Boolean}

if __name__ == "__main__":
    task, kind, out, *inputs = sys.argv[1:]
    schema = {name: TYPES[kind_of_column] for name, kind_of_column in opensky.TASKS[task].items()}
    kept = pl.col("velocity").is_not_null()
    if kind == "bare":
        pl.scan_csv(inputs[0], schema=schema).filter(kept).sink_parquet(f"{out}/out.parquet", compression="snappy")
    else:
        for number, archive in enumerate(inputs):
            with opensky.members(archive, ".csv.gz") as members:
                for _, packed in members:
                    frame = pl.read_csv(packed.read(), schema=schema).filter(kept)
                    frame.write_parquet(f"{out}/part-{number:05d}.parquet", compression="snappy")
