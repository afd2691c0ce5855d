"""fastavro decodes, pyarrow writes; two processes, an archive each at a time.

    with_fastavro.py OUT ARCHIVE...
"""
import itertools, sys
from multiprocessing import Pool

import opensky

PROCESSES, ROWS = 2, 50_000


def convert(job):
    out, number, archive = job
    import fastavro, pyarrow as pa, pyarrow.parquet as pq
    types = {"text": pa.string(), "double": pa.float64(), "long": pa.int64(), "boolean": pa.bool_()}
    schema = pa.schema([(name, types[kind]) for name, kind in opensky.TYPED.items()])
    with opensky.members(archive, ".avro") as members, pq.ParquetWriter(f"{out}/part-{number:05d}.parquet", schema, compression="snappy") as writer:
        for _, container in members:
            records = (record for record in fastavro.reader(container) if record["velocity"] is not None)
            while some := list(itertools.islice(records, ROWS)):
                writer.write_batch(pa.RecordBatch.from_pylist(some, schema=schema))


if __name__ == "__main__":
    out, *archives = sys.argv[1:]
    with Pool(PROCESSES) as pool:
        for _ in pool.imap_unordered(convert, [(out, *pair) for pair in enumerate(archives)]):
            pass
