"""Where things lie: the project, the working folder, the data, the programs."""
import json, os, shutil, subprocess, sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent


@dataclass
class Place:
    work: Path
    data: Path
    tarsql: Path
    port: int
    scale: float

    def program(self, name):
        """One of the environment's programs, or of the system's."""
        own = self.work / "venv/bin" / name
        found = own if own.exists() else shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        return found or sys.exit(f"{name} is not there")

    def python(self, script, *arguments):
        """The command that runs a peer's script."""
        return [sys.executable, str(HERE / script), *map(str, arguments)]

    @property
    def results(self):
        return self.work / "results" / f"scale-{self.scale:g}"

    @property
    def report(self):
        return PROJECT / "benches/RESULTS.md" if self.scale == 1 else self.work / f"RESULTS-{self.scale:g}.md"


def built_tarsql():
    """The release build of what is checked out here."""
    print("builds tarsql ...", file=sys.stderr)
    subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=PROJECT, check=True)
    metadata = subprocess.run(["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=PROJECT, check=True, capture_output=True)
    return Path(json.loads(metadata.stdout)["target_directory"]) / "release/tarsql"
