"""Whether an answer is right: rows are counted and columns summed by pyarrow, whoever wrote them."""
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import opensky

SUM_TOLERANCE = 1e-9


def parquet_files(out):
    """What a run wrote: one file or many."""
    files = [path for path in sorted(Path(out).rglob("*.parquet")) if path.is_file() and path.stat().st_size > 0]
    return [pq.ParquetFile(path) for path in files]


def sums(files, columns):
    """The count of all rows, and the sum of each column; of one of text, the bytes of its values."""
    totals = dict.fromkeys(columns, 0)
    for batch in (batch for file in files for batch in file.iter_batches(columns=list(columns))):
        for name in columns:
            column = batch[name]
            totals[name] += pc.sum(column if pa.types.is_floating(column.type) else lengths(column)).as_py() or 0
    return sum(file.metadata.num_rows for file in files), totals


def lengths(column):
    return pc.binary_length(column.cast("large_binary"))


def compared(name, got, expected):
    if isinstance(expected, float):
        return None if math.isclose(got, expected, rel_tol=SUM_TOLERANCE) else f"sum of {name} is {got!r} instead of {expected!r}"
    return None if got == expected else f"{name}: {got} instead of {expected}"


def first_problem(*problems):
    return next(filter(None, problems), None)


def parquet_sums(rows, **expected):
    """A check of a run's folder: this many rows, these sums, compressed with snappy as everybody's output has to be."""

    def check(out, printed):
        files = parquet_files(out)
        if not files:
            return "no output"
        codecs = {file.metadata.row_group(0).column(0).compression for file in files if file.metadata.num_row_groups}
        count, totals = sums(files, expected)
        differences = [compared(name, float(totals[name]), float(value)) for name, value in expected.items()]
        return first_problem(compared("codec", codecs, {"SNAPPY"}), compared("rows", count, rows), *differences)

    return check


def states(times=1, **total):
    """The check of what is written of state vectors, from their facts: rows, sums of numbers, bytes of text."""

    def check(out, printed):
        right = parquet_sums(total["kept"] * times, velocity=total["velocity"] * times, geoaltitude=total["geoaltitude"] * times)
        _, names = sums(parquet_files(out), opensky.NAMES)
        return first_problem(right(out, printed), compared("bytes of text", sum(names.values()), total["names_bytes"] * times))

    return check


def parquet_content(members, content):
    """As many contents as there are members, whose lengths add up, in however many columns of bytes they lie."""

    def check(out, printed):
        count = length = 0
        for file in parquet_files(out):
            binary = [field.name for field in file.schema_arrow if "binary" in str(field.type)]
            for batch in file.iter_batches(columns=binary, batch_size=1024):
                for column in batch.columns:
                    count += len(column) - column.null_count
                    length += pc.sum(lengths(column)).as_py() or 0
        return first_problem(compared("contents", count, members), compared("bytes", length, content))

    return check


def printed_numbers(*expected):
    """The last line that was printed has these numbers, in this order and maybe among others behind them."""

    def check(out, printed):
        words = printed.strip().splitlines()[-1].replace(",", " ").split() if printed.strip() else []
        got = [int(word) for word in words if word.isdigit()][:len(expected)]
        return compared("numbers", got, list(expected))

    return check


def nothing_to_check(out, printed):
    return None
