"""Python's tarfile counts the members of an archive and adds up their sizes.

    with_tarfile.py ARCHIVE
"""
import sys, tarfile

count = size = 0
with tarfile.open(sys.argv[1]) as archive:
    for member in archive:
        count, size = count + 1, size + member.size
        archive.members = []  # Or it would keep them all.
print(count, size)
