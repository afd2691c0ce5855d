"""Why tarsql is right where another reader says something else: one entry a reason, in the order of tests/differential.md.

`is_our_limit` marks what tarsql could read and does not. `who` names, per group of readers, the archives of testdata/ on which they differ for that reason. tests/differential.py fails where a
difference has no reason here, and where a reason has no difference any more.
"""

GNU, BSD, PYTHON = "GNU tar", "bsdtar", "tarfile"

REASONS = [
    {"title": "A damaged header is not the end of the archive",
     "why": """The members behind the damage are lost, and nobody can say how many. So it is an error that names the offset, and with
               `on_error = 'skip'` a counted one. tarfile takes any bad header but the first for the end, and reports success; bsdtar
               looks for the next header that seems right, which may lie inside a member's content, and ends with status 0.""",
     "who": [((BSD, PYTHON), "damaged/bad-checksum.tar damaged/text-in-middle.tar hostile/checksum-junk.tar hostile/checksum-zero.tar")]},
    {"title": "A number that is none has no value",
     "why": """The size says where the next header is. `12x45678901` is no octal number, so neither what belongs to the member nor
               where the next one begins is known; a size of `-1` or `12x` in a pax record is no better, nor a first byte that POSIX and
               GNU leave undefined. bsdtar takes the digits before the `x` for the size; tarfile ends there without a word. An id that is
               `alice` is damage too, even where the next header can still be found: who reads on must not say that all is well.""",
     "who": [((BSD, PYTHON), "damaged/bad-size.tar hostile/pax-size-junk.tar hostile/uid-junk.tar hostile/pax-uid-junk.tar"),
             ((PYTHON,), "hostile/size-reserved.tar hostile/pax-size-negative.tar")]},
    {"title": "A malformed pax record may be the name or the size of the member",
     "why": """Half of an extended header is not used: what could not be read may have said whose bytes follow. tarfile drops what it
               does not understand, and lists the member under the name that the record should have replaced; GNU tar and bsdtar take it
               for a keyword that they don't know.""",
     "who": [((PYTHON,), """damaged/bad-pax.tar hostile/pax-length-long.tar hostile/pax-length-negative.tar hostile/pax-length-short.tar
                            hostile/pax-length-zero.tar hostile/pax-no-equals.tar hostile/pax-no-length.tar
                            hostile/pax-no-newline.tar"""),
             ((GNU, PYTHON), "hostile/pax-no-key.tar"), ((GNU, BSD, PYTHON), "hostile/pax-key-not-utf8.tar")]},
    {"title": "A chain of extended headers has an end",
     "why": """No member needs 17 of them, but an archive of nothing else is a way to keep a reader busy. tarsql stops at 16 with an error that
               says so; tarfile, which recurses, would end in a RecursionError a little later.""",
     "who": [((GNU, PYTHON), "hostile/headers-without-end.tar")]},
    {"title": "An archive that stops inside a header is cut off",
     "why": """512 bytes are a header; 200 are what is left of an archive whose end is missing. GNU tar and tarfile take it for the end.""",
     "who": [((GNU, PYTHON), "damaged/cut-in-header.tar")]},
    {"title": "An extension header without its member is cut off",
     "why": """A long name stands before the member that it is for. Where nothing follows, at least that member is missing. GNU tar says
               nothing.""",
     "who": [((GNU,), "damaged/lost-long-name.tar hostile/pax-without-member.tar")]},
    {"title": "A checksum is there to be checked",
     "why": """gzip ends with the CRC and the length of what it holds. bsdtar does not verify them; tarfile stops reading at the end marker
               of the tar, before it has seen them, and so misses that they are wrong, or cut off, or that something follows which is no
               gzip. A gzip header may have a checksum of its own, too.""",
     "who": [((BSD, PYTHON), """damaged/gzip-bad-crc.tar.gz hostile/gzip-bad-isize.tar.gz hostile/gzip-bad-header-crc.tar.gz
                                hostile/gzip-garbage-behind.tar.gz"""),
             ((PYTHON,), "damaged/gzip-no-trailer.tar.gz")]},
    {"title": "A sparse map that contradicts itself says nothing about the content",
     "why": """Extents out of order, over one another, behind the file's end, more or fewer than announced or stored: whichever is used, some
               bytes stand in the wrong place. It is an error before the first of them is read. The others put something together, each
               something else, and report success.""",
     "who": [((GNU, BSD, PYTHON), """hostile/sparse-beyond.tar hostile/sparse-count.tar hostile/sparse-overlap.tar hostile/sparse-short.tar
                                     hostile/sparse-unsorted.tar"""),
             ((GNU, PYTHON), "hostile/sparse-overflow.tar"), ((BSD, PYTHON), "hostile/sparse-odd.tar"),
             ((PYTHON,), "hostile/sparse-negative.tar")]},
    {"title": "Nothing is not an archive",
     "why": """An empty object is what a failed upload leaves. An archive without members has at least an end marker.""",
     "who": [((BSD,), "damaged/empty-file.tar")]},
    {"title": "Archives behind each other are one archive",
     "why": """`cat a.tar b.tar` and `tar -A` make such files. Members behind the first end marker are there, and a reader that stops before them
               loses them. The others read on with an option (`--ignore-zeros`, `read_concatenated_archives`, `ignore_zeros=True`), which one has to
               know of.""",
     "who": [((GNU, BSD, PYTHON), "hand/concatenated.tar hostile/pax-global-concatenated.tar")]},
    {"title": "A block of zeros is not the end as long as headers follow",
     "why": """The end is two blocks of zeros. Behind a single one a valid header goes on, so what it begins is read; a link may have content that
               begins with zeros, which its size says. The others stop, GNU tar with a warning, and lose what follows. Where zeros are
               followed by something that is no header and no member came before, the object is no archive at all.""",
     "who": [((GNU, BSD, PYTHON), "hostile/zero-block-inside.tar hostile/hard-link-of-zeros.tar hostile/zeros-then-text.tar")]},
    {"title": "What compresses the archive is found by its magic bytes",
     "why": """The format is known, so it is read, with all its frames, streams and skippable frames. GNU tar knows no lz4, bsdtar takes
               an lz4 file that begins with a skippable frame for zstd, Python 3.11 has neither lz4 nor zstd and reads xz to the end of
               its first stream.""",
     "who": [((GNU, PYTHON), "compressed/lz4.tar.lz4 hostile/lz4-legacy.tar.lz4"), ((GNU, BSD, PYTHON), "compressed/lz4-frames.tar.lz4"),
             ((PYTHON,), "compressed/lies.txt compressed/xz-streams.tar.xz compressed/zstd.tar.zst compressed/zstd-frames.tar.zst "
                         "compressed/zstd-skippable.tar.zst hostile/zstd-no-size.tar.zst hostile/zstd-two-sizes.tar.zst")]},
    {"title": "Other formats and rarer compressions are named, not read",
     "why": """tarsql reads tar, in gzip, zstd, bzip2, xz and lz4. What it does not read it recognizes, and the error says what it is and what to do.
               bsdtar reads more (of the RAR archive it makes an empty listing, and no error).""",
     "is_our_limit": True,
     "who": [((BSD,), "hostile/zip.tar hostile/rar.tar hostile/gzip-twice.tar.gz"), ((GNU, BSD), "hostile/compress.tar.Z"),
             ((BSD, PYTHON), "hostile/lzip.tar.lz hostile/lzma.tar.lzma")]},
    {"title": "Of two extended headers before one member the last one counts",
     "why": """POSIX has each extended header describe the member that follows; GNU tar and libarchive let a later one win. tarfile keeps
               the first, of long names too. bsdtar lists as we do, but ends with an error about a record that is well-formed.""",
     "who": [((BSD, PYTHON), "hand/pax-twice.tar"), ((BSD,), "hostile/headers-in-a-row.tar"), ((PYTHON,), "hostile/long-name-twice.tar")]},
    {"title": "A pax record wins over GNU's long name",
     "why": """POSIX: a record overrides whatever else says the same of the following file, wherever it stands. bsdtar and tarfile go by which
               of the two stands nearer to the member.""",
     "who": [((BSD, PYTHON), "hostile/long-name-and-pax.tar")]},
    {"title": "An empty record takes back what a global header said",
     "why": """POSIX: a record of zero length takes back what was said before it under that name. What is left is what the member's own header
               says, without which there is no member. The others try to read a number in it.""",
     "who": [((GNU, BSD, PYTHON), "hostile/pax-empty-values.tar")]},
    {"title": "A global header's time holds for the members behind it",
     "why": """POSIX: the records of a global header are in effect for all following files that do not override them. libarchive ignores
               them.""",
     "who": [((BSD,), "hand/pax-global-mtime.tar")]},
    {"title": "A global header can't say how long each member is",
     "why": """A size, or a sparse map, for all following files would make every one of them as long as the first. Nobody writes that but to make
               readers disagree about where a member ends (a member can be smuggled in that way). The member's own size counts, as with
               libarchive.""",
     "who": [((GNU, PYTHON), "hostile/pax-global-size.tar")]},
    {"title": "An archive of a global header alone is one without members",
     "why": """`git archive` writes such a thing for a tree without files. tarfile refuses it.""",
     "who": [((PYTHON,), "hostile/pax-global-only.tar")]},
    {"title": "Old GNU headers have no prefix",
     "why": """Behind `ustar  ` with two blanks stand the times of last access and change where POSIX has the prefix of the name. tarfile puts
               the number in front of the name. GNU's incremental archives are of this kind, with folders of type `D` whose
               content is a list of names: a folder has no content of ours, so its size is 0; GNU tar shows the length of that list.""",
     "who": [((PYTHON,), "hand/gnu-atime.tar"), ((GNU, PYTHON), "hostile/gnu-incremental.tar")]},
    {"title": "A time before 1970 with a fraction is rounded to no side",
     "why": """-1.5 is half a second before 23:59:59 of 1969's last day. GNU tar takes the sign from the whole seconds only, and shows -0.5.""",
     "who": [((GNU,), "python/pax.tar")]},
    {"title": "A time that is none is NULL, and the member is there",
     "why": """`nan`, `-inf`, `yesterday`, a time a million million years ahead: nothing but the time is unknown, so the member is listed and its mtime
               is NULL. GNU tar ends with an error, bsdtar crashes when it prints such a time, tarfile takes the header for the
               end.""",
     "who": [((GNU, BSD), "hostile/pax-times.tar"), ((GNU, BSD, PYTHON), "hostile/times-odd.tar")]},
    {"title": "Ids may be negative",
     "why": """Base-256 numbers have a sign, and `uid` is a BIGINT. GNU tar reports an error for a user -2.""",
     "who": [((GNU,), "hostile/numbers.tar")]},
    {"title": "Links, folders and devices have a size only if it leads to the next header",
     "why": """Some archivers store a size with members that have no content: for folders (as much as they may hold), and for links (as large as their
               target). Some store the content, too. Whether the next header stands right behind or behind the content decides, and
               either way all members are found, and the size shown is that of what they hold: none. GNU tar and tarfile lose
               members, or report the size of what is not there.""",
     "who": [((GNU, PYTHON), "hostile/sizes-with-content.tar hostile/sizes-without-content.tar")]},
    {"title": "A name ends where the format says, not at a NUL",
     "why": """A pax record has a length, so a NUL in it belongs to the name. Two readers that cut it off would see another file than one that
               does not: as it is stored, it can be seen.""",
     "who": [((GNU, BSD), "hostile/pax-nul.tar")]},
    {"title": "No name is an empty name",
     "why": """The member is there and has content; without a name it has the empty one. GNU tar calls it `.`, bsdtar leaves it out with an
               error.""",
     "who": [((GNU, BSD), "hostile/name-empty.tar hostile/name-empty-long.tar")]},
    {"title": "A file's name with a trailing slash is a folder's",
     "why": """v7 had no type for folders, and writers have kept the slash since; so GNU tar and libarchive read it that way in every format.
               tarfile does only where the type is v7's.""",
     "who": [((PYTHON,), "hostile/name-empty.tar hostile/names-slash.tar")]},
    {"title": "A part of a file is not the file",
     "why": """The member of type `M` goes on from another volume. It is listed as `other`, with the size of the part, and its bytes are not taken for
               the file's. GNU tar wants the volume before it; bsdtar shows the size of the whole file, of which 9 bytes are here.""",
     "who": [((GNU, BSD), "hostile/multi-volume-2.tar")]},
    {"title": "A sparse map may be empty, or touch itself",
     "why": """A file of one hole has no extent but at its end, and two extents may adjoin. A map may go on in an extension block before the
               header's places for it are taken. GNU tar lists these members, and then reports an error about one of them.""",
     "who": [((GNU,), "hostile/sparse-forms.tar")]},
    {"title": "A type that nobody knows does no harm",
     "why": """POSIX has a reader take a type that it doesn't know for a file. One with a sparse map in front of it is listed with the
               length that the map gives it. bsdtar refuses the archive there.""",
     "who": [((BSD,), "hostile/sparse-no-file.tar")]},
    {"title": "Every header is a row",
     "why": """A volume label (type `V`) is in the archive, so it is listed, as `other` and without content. bsdtar hides it.""",
     "who": [((BSD,), "gnu/volume-label.tar")]},
    {"title": "A type that no standard names is no file",
     "why": """POSIX leaves it to the reader. As `other` it is listed and its content is not taken for a file's; bsdtar calls it one, and hides Solaris' ACLs (type
               `A`), on which it also fails.""",
     "who": [((BSD,), "hand/unknown-type.tar hostile/vendor-types.tar")]},
]
