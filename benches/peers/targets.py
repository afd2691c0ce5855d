"""What is to be reached: each a ratio of two lines of one group, or a bound on one of them."""
from dataclasses import dataclass

MIB = 1 << 20


@dataclass
class Faster:
    """This many times as fast as a peer's line."""

    line: str
    than: str
    times: float

    def __str__(self):
        return f"≥ {self.times:g} × {self.than}"

    def measure(self, lines):
        ratio = lines[self.than].wall / lines[self.line].wall
        return f"{ratio:.2f} ×", ratio >= self.times


@dataclass
class AtRate:
    """At the rate of another line, but for this factor: seconds per row, or per byte."""

    line: str
    of: str
    factor: float

    def __str__(self):
        return f"wall ≤ {self.factor:g} × its amount at the rate of “{self.of}”"

    def measure(self, lines):
        ratio = lines[self.line].wall_each / lines[self.of].wall_each
        return f"{ratio:.2f} ×", ratio <= self.factor


@dataclass
class Share:
    """This share of another line's time at most."""

    line: str
    of: str
    share: float

    def __str__(self):
        return f"≤ {self.share:.0%} of “{self.of}”"

    def measure(self, lines):
        share = lines[self.line].wall / lines[self.of].wall
        return f"{share:.1%}", share <= self.share


@dataclass
class Peak:
    """Memory of the tree of processes at most."""

    line: str
    mib: float

    def __str__(self):
        return f"peak ≤ {self.mib:g} MiB"

    def measure(self, lines):
        peak = lines[self.line].peak_bytes / MIB
        return f"{peak:.0f} MiB", peak <= self.mib


@dataclass
class Fetched:
    """Bytes that the servers had to send at most, by the program's own account."""

    line: str
    mib: float

    def __str__(self):
        return f"fetches < {self.mib:g} MiB"

    def measure(self, lines):
        fetched = lines[self.line].fetched / MIB
        return f"{fetched:.2f} MiB", fetched < self.mib
