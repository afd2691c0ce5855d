"""Counts the lines of an archive of JSON lines whose status is 400 or more, by level. Prints JSON.

usage: logs.py ARCHIVE
"""
import bz2
import collections
import gzip
import json
import lzma
import sys
import tarfile

import pyarrow as pa

DECOMPRESS = {
    "jsonl": bytes,
    "gz": gzip.decompress,
    "bz2": bz2.decompress,
    "xz": lzma.decompress,
    "zst": lambda data: pa.CompressedInputStream(pa.BufferReader(data), "zstd").read(),
}


def main():
    counts = collections.Counter()
    with tarfile.open(sys.argv[1]) as archive:
        for member in archive:
            content = DECOMPRESS[member.name.rpartition(".")[2]](archive.extractfile(member).read())
            documents = [json.loads(line) for line in content.splitlines()]
            counts.update(document["level"] for document in documents if document["status"] >= 400)
    print(json.dumps(counts))


main()
