"""ratarmount makes the index from which it would serve an archive as a folder.

    with_ratarmount.py ARCHIVE OUT
"""
import sqlite3, sys

from ratarmountcore.mountsource.factory import open_mount_source

archive, out = sys.argv[1:]
open_mount_source(archive, writeIndex=True, clearIndexCache=True, indexFilePath=f"{out}/index", printDebug=0)
with sqlite3.connect(f"{out}/index") as index:
    print(*index.execute("SELECT count(*), sum(size) FROM files WHERE size > 0").fetchone())
