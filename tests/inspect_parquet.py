"""Says how a Parquet file is built, as pyarrow sees it: row groups, columns and their encodings, metadata, sort order.

usage: inspect_parquet.py FILE
"""
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq


def column(chunk):
    return {"path": chunk.path_in_schema, "compression": chunk.compression, "encodings": list(chunk.encodings),
            "has_statistics": chunk.is_stats_set, "has_dictionary": chunk.has_dictionary_page}


def main():
    file = pq.ParquetFile(sys.argv[1])
    meta = file.metadata
    groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
    rows = file.read()
    # The order of the rows is that of the file; texts and bytes would only make the answer long.
    numbers = {name: rows[name].to_pylist() for name in rows.schema.names
               if pa.types.is_integer(rows.schema.field(name).type) and rows.num_rows <= 100_000}
    print(json.dumps({
        "rows": meta.num_rows,
        "version": meta.format_version,
        "created_by": meta.created_by,
        "metadata": sorted(key.decode() for key in (meta.metadata or {})),
        "groups": [{"rows": g.num_rows, "bytes": sum(g.column(c).total_compressed_size for c in range(g.num_columns)),
                    "sorting": [[s.column_index, s.descending] for s in g.sorting_columns],
                    "columns": [column(g.column(c)) for c in range(g.num_columns)]} for g in groups],
        "names": rows.schema.names,
        "numbers": numbers,
    }))


main()
