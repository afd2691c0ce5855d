"""What Python's tarfile finds in .crate files: members and bytes of each, and hashes of the content of some.

usage: crates.py SAMPLE CRATE...    hashes the first SAMPLE crates; prints JSON by path
"""
import hashlib
import json
import sys
import tarfile


def describe(path, with_hashes):
    members, size, hashes = 0, 0, []
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            members += 1
            size += member.size
            if with_hashes and member.isfile():
                hashes.append([member.name, hashlib.sha256(archive.extractfile(member).read()).hexdigest()])
    return {"members": members, "bytes": size, "hashes": sorted(hashes) if with_hashes else None}


def main():
    sample, paths = int(sys.argv[1]), sys.argv[2:]
    print(json.dumps({path: describe(path, n < sample) for n, path in enumerate(paths)}))


main()
