"""webdataset reads shards as samples, pyarrow writes every member's bytes; two processes, half of the shards each.

    with_webdataset.py OUT SHARD...
"""
import sys
from multiprocessing import Pool

import opensky

PROCESSES, ROWS = 2, 500
PARTS = ["jpg", "json", "txt", "cls"]


def convert(job):
    out, number, shards = job
    import pyarrow as pa, pyarrow.parquet as pq, webdataset
    schema = pa.schema([("key", pa.string())] + [(part, pa.binary()) for part in PARTS])
    samples = webdataset.WebDataset([f"pipe:{opensky.shell_source(shard)}" for shard in shards], shardshuffle=False)
    with pq.ParquetWriter(f"{out}/part-{number}.parquet", schema, compression="snappy") as writer:
        rows = []
        for sample in samples:
            rows.append({"key": sample["__key__"]} | {part: bytes(sample[part]) for part in PARTS})
            if len(rows) == ROWS:
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
                rows = []
        if rows:
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))


if __name__ == "__main__":
    out, *shards = sys.argv[1:]
    with Pool(PROCESSES) as pool:
        pool.map(convert, [(out, number, shards[number::PROCESSES]) for number in range(PROCESSES)], chunksize=1)
