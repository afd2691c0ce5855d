"""Python by hand: tarfile reads on, isal inflates, pyarrow decodes and writes; two processes, an archive each at a time.

    with_pyarrow.py states|typed|log OUT ARCHIVE...
"""
import sys
from multiprocessing import Pool

import opensky

PROCESSES = 2


def csv_batches(stream, task):
    import pyarrow as pa, pyarrow.compute as pc, pyarrow.csv as csv
    types = {"text": pa.string(), "double": pa.float64(), "long": pa.int64(), "boolean": pa.bool_()}
    columns = {name: types[kind] for name, kind in opensky.TASKS[task].items()}
    reader = csv.open_csv(pa.PythonFile(stream, "r"), read_options=csv.ReadOptions(block_size=opensky.BLOCK_BYTES),
                          convert_options=csv.ConvertOptions(column_types=columns))
    for batch in reader:
        yield batch.filter(pc.is_valid(batch["velocity"]))


def json_batches(stream):
    import pyarrow as pa, pyarrow.json as json
    options = json.ReadOptions(block_size=opensky.BLOCK_BYTES)
    yield from json.read_json(pa.BufferReader(stream.read()), read_options=options).to_batches()


def convert(job):
    task, out, number, archive = job
    import pyarrow as pa, pyarrow.parquet as pq
    from isal import igzip
    pa.set_cpu_count(1)
    writer = None
    with opensky.members(archive, ".jsonl.gz" if task == "log" else ".csv.gz") as members:
        for _, packed in members:
            stream = igzip.IGzipFile(fileobj=packed, mode="rb")
            for batch in json_batches(stream) if task == "log" else csv_batches(stream, task):
                writer = writer or pq.ParquetWriter(f"{out}/part-{number:05d}.parquet", batch.schema, compression="snappy")
                writer.write_batch(batch)
    if writer:
        writer.close()


if __name__ == "__main__":
    task, out, *archives = sys.argv[1:]
    with Pool(PROCESSES) as pool:
        for _ in pool.imap_unordered(convert, [(task, out, *pair) for pair in enumerate(archives)]):
            pass
