"""Tar archives put together block by block, sane or not: what no tool writes, or only on a bad day."""

T0 = 1656288000  # 2022-06-27T00:00:00Z
END = b"\0" * 1024
USTAR = b"ustar\x0000"
GNU = b"ustar  \0"


def header(name, size=0, kind=b"0", magic=USTAR, mtime=T0, fields=(), checksum=b"%06o\0 "):
    """One header; `fields` are bytes to put somewhere, `checksum` how to write its sum."""
    block = bytearray(512)
    def put(at, value):
        block[at:at + len(value)] = value
    put(0, name if isinstance(name, bytes) else name.encode())
    put(100, b"0000644\0" b"0001750\0" b"0000144\0")
    put(124, size if isinstance(size, bytes) else b"%011o\0" % size)
    put(136, mtime if isinstance(mtime, bytes) else b"%011o\0" % mtime)
    put(156, kind)
    put(257, magic)
    for at, value in fields:
        put(at, value)
    put(148, b" " * 8)
    put(148, checksum % sum(block) if b"%" in checksum else checksum)
    return bytes(block)


def padded(data):
    return data + b"\0" * (-len(data) % 512)


def entry(name, data=b"", **fields):
    return header(name, len(data), **fields) + padded(data)


def record(key, value):
    """One line of an extended header: its length counts itself."""
    parts = [part if isinstance(part, bytes) else part.encode() for part in (key, value)]
    body = b" " + parts[0] + b"=" + parts[1] + b"\n"
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length += 1
    return str(length).encode() + body


def pax(kind, *pairs):
    return extension(kind, b"".join(record(key, value) for key, value in pairs))


def extension(kind, body, name="PaxHeaders/x", **fields):
    """A header that is about other headers."""
    return entry(name, body, kind=kind, **fields)


def long(kind, name):
    """GNU's header for a long name (`L`) or link target (`K`)."""
    return extension(kind, name if isinstance(name, bytes) else name.encode() + b"\0", name="././@LongLink", magic=GNU)


def base256(value, width):
    return (value % (1 << 8 * width) | 0x80 << 8 * (width - 1)).to_bytes(width, "big")


def signed_checksum(block):
    """Some old writers summed signed bytes: a name past ASCII then gives another checksum, and readers take both."""
    block = bytearray(block)
    block[148:156] = b" " * 8
    total = sum(byte - 256 if byte > 127 else byte for byte in block[:512])
    block[148:156] = b"%06o\0 " % total
    return bytes(block)
