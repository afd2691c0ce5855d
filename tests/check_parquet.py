"""Reads Parquet as a stranger would, with pyarrow: rows, and of each numeric column how many values and their sum.

usage: check_parquet.py PATH        a file or a folder; or BUCKET/KEY with AWS_ENDPOINT_URL and the credentials in the
                                    environment and s3:// before it
"""
import json
import os
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from pyarrow import fs


def open_dataset(path):
    if not path.startswith("s3://"):
        return ds.dataset(path, format="parquet")
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    scheme, _, host = endpoint.partition("://")
    store = fs.S3FileSystem(endpoint_override=host, scheme=scheme, region=os.environ.get("AWS_REGION", "us-east-1"),
                            access_key=os.environ["AWS_ACCESS_KEY_ID"], secret_key=os.environ["AWS_SECRET_ACCESS_KEY"])
    return ds.dataset(path.removeprefix("s3://"), format="parquet", filesystem=store)


def main():
    dataset = open_dataset(sys.argv[1])
    rows, counts, sums = 0, {}, {}
    for batch in dataset.to_batches():
        rows += batch.num_rows
        for name, column in zip(batch.schema.names, batch.columns):
            counts[name] = counts.get(name, 0) + len(column) - column.null_count
            if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
                sums[name] = sums.get(name, 0) + (pc.sum(column).as_py() or 0)
    types = {field.name: str(field.type) for field in dataset.schema}
    print(json.dumps({"files": len(dataset.files), "rows": rows, "counts": counts, "sums": sums, "types": types}))


main()
