"""Why tarsql is right where another reader says something else: one entry a reason, in the order of tests/differential.md.

`who` names, per group of readers, the archives of testdata/ on which they differ for that reason. tests/differential.py fails where a
difference has no reason here, and where a reason has no difference any more.
"""

GNU, BSD, PYTHON = "GNU tar", "bsdtar", "tarfile"

REASONS = [
    {"title": "A damaged header is not the end of the archive",
     "why": """The members behind the damage are lost, and nobody can say how many. So it is an error that names the offset, and with
               `on_error = 'skip'` a counted one. tarfile takes any bad header but the first for the end, and reports success; bsdtar
               looks for the next header that seems right, which may lie inside a member's content, and ends with status 0.""",
     "who": [((BSD, PYTHON), "damaged/bad-checksum.tar damaged/text-in-middle.tar")]},
    {"title": "A number that is none has no value",
     "why": """The size says where the next header is. `12x45678901` is no octal number, so neither what belongs to the member nor
               where the next one begins is known. bsdtar takes the digits before the `x` for the size; tarfile ends there without a
               word.""",
     "who": [((BSD, PYTHON), "damaged/bad-size.tar")]},
    {"title": "A malformed pax record may be the name or the size of the member",
     "why": """Half of an extended header is not used: what could not be read may have said whose bytes follow. tarfile drops what it
               does not understand, and lists the member under the name that the record should have replaced.""",
     "who": [((PYTHON,), "damaged/bad-pax.tar")]},
    {"title": "An archive that stops inside a header is cut off",
     "why": """512 bytes are a header; 200 are what is left of an archive whose end is missing. GNU tar and tarfile take it for the end.""",
     "who": [((GNU, PYTHON), "damaged/cut-in-header.tar")]},
    {"title": "An extension header without its member is cut off",
     "why": """A long name stands before the member that it is for. Where nothing follows, at least that member is missing. GNU tar says
               nothing.""",
     "who": [((GNU,), "damaged/lost-long-name.tar")]},
    {"title": "A checksum is there to be checked",
     "why": """gzip ends with the CRC and the length of what it holds. bsdtar does not verify them; tarfile stops reading at the end marker
               of the tar, before it has seen them, and so misses that they are wrong, or cut off.""",
     "who": [((BSD, PYTHON), "damaged/gzip-bad-crc.tar.gz"), ((PYTHON,), "damaged/gzip-no-trailer.tar.gz")]},
    {"title": "Nothing is not an archive",
     "why": """An empty object is what a failed upload leaves. An archive without members has at least an end marker.""",
     "who": [((BSD,), "damaged/empty-file.tar")]},
    {"title": "Archives behind each other are one archive",
     "why": """`cat a.tar b.tar` and `tar -A` make such files. Members behind the first end marker are there, and a reader that stops before them
               loses them. The others read on with an option (`--ignore-zeros`, `read_concatenated_archives`, `ignore_zeros=True`), which one has to
               know of.""",
     "who": [((GNU, BSD, PYTHON), "hand/concatenated.tar")]},
    {"title": "What compresses the archive is found by its magic bytes",
     "why": """The format is known, so it is read, with all its frames, streams and skippable frames. GNU tar knows no lz4, bsdtar takes
               an lz4 file that begins with a skippable frame for zstd, Python 3.11 has neither lz4 nor zstd and reads xz to the end of
               its first stream.""",
     "who": [((GNU, PYTHON), "compressed/lz4.tar.lz4"), ((GNU, BSD, PYTHON), "compressed/lz4-frames.tar.lz4"),
             ((PYTHON,), "compressed/lies.txt compressed/xz-streams.tar.xz compressed/zstd.tar.zst compressed/zstd-frames.tar.zst "
                         "compressed/zstd-skippable.tar.zst")]},
    {"title": "Of two extended headers before one member the last one counts",
     "why": """POSIX has each extended header describe the member that follows; GNU tar and libarchive let a later one win. tarfile keeps
               the first. bsdtar lists as we do, but ends with an error about a record that is well-formed.""",
     "who": [((BSD, PYTHON), "hand/pax-twice.tar")]},
    {"title": "A global header's time holds for the members behind it",
     "why": """POSIX: the records of a global header are in effect for all following files that do not override them. libarchive ignores
               them.""",
     "who": [((BSD,), "hand/pax-global-mtime.tar")]},
    {"title": "Old GNU headers have no prefix",
     "why": """Behind `ustar  ` with two blanks stand the times of last access and change where POSIX has the prefix of the name. tarfile puts
               the number in front of the name.""",
     "who": [((PYTHON,), "hand/gnu-atime.tar")]},
    {"title": "A time before 1970 with a fraction is rounded to no side",
     "why": """-1.5 is half a second before 23:59:59 of 1969's last day. GNU tar takes the sign from the whole seconds only, and shows -0.5.""",
     "who": [((GNU,), "python/pax.tar")]},
    {"title": "Every header is a row",
     "why": """A volume label (type `V`) is in the archive, so it is listed, as `other` and without content. bsdtar hides it.""",
     "who": [((BSD,), "gnu/volume-label.tar")]},
    {"title": "A type that no standard names is no file",
     "why": """POSIX leaves it to the reader. As `other` it is listed and its content is not taken for a file's; bsdtar calls it one.""",
     "who": [((BSD,), "hand/unknown-type.tar")]},
]
