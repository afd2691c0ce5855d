"""What the peers' programs share: the columns of the state vectors, and how to open an archive."""
import contextlib, os

COLUMNS = ("time icao24 lat lon velocity heading vertrate callsign onground alert spi squawk baroaltitude geoaltitude "
           "lastposupdate lastcontact").split()
# Text, however they are typed.
NAMES = ["icao24", "callsign", "squawk"]
# As the table of reference has them: text, but for the two columns that are computed with.
AS_TEXT = {name: "double" if name in ("velocity", "geoaltitude") else "text" for name in COLUMNS}
# As they naturally are.
TYPED = {name: "double" for name in COLUMNS} | {"time": "long", "icao24": "text", "callsign": "text", "squawk": "text",
                                                "onground": "boolean", "alert": "boolean", "spi": "boolean"}
TASKS = {"states": AS_TEXT, "typed": TYPED}
SQL_TYPES = {"text": "VARCHAR", "double": "DOUBLE", "long": "BIGINT", "boolean": "BOOLEAN"}
# How much of an archive is read at a time, and how much text is decoded at a time.
READ_BYTES, BLOCK_BYTES = 256 << 10, 4 << 20


def sql_columns(task):
    """`time VARCHAR, icao24 VARCHAR, …`"""
    return ", ".join(f"{name} {SQL_TYPES[kind]}" for name, kind in TASKS[task].items())


@contextlib.contextmanager
def members(archive, ending):
    """The members of an archive, a local one or `s3://bucket/key`, whose names end so: pairs of name and stream."""
    import tarfile
    if archive.startswith("s3://"):
        import boto3
        bucket, key = archive.removeprefix("s3://").split("/", 1)
        stream = boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"]
    else:
        stream = open(archive, "rb")
    with stream, tarfile.open(fileobj=stream, mode="r|", bufsize=READ_BYTES) as tar:
        yield ((member.name, tar.extractfile(member)) for member in tar if member.isfile() and member.name.endswith(ending))


def shell_source(archive):
    """A command that prints an archive's bytes."""
    if archive.startswith("s3://"):
        return f"curl -sSf '{os.environ['AWS_ENDPOINT_URL']}/{archive.removeprefix('s3://')}'"
    return f"cat '{archive}'"
