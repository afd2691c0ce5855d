"""What the figures were measured with: the machine, and the versions of everything."""
import importlib.metadata, os, platform, re, subprocess

from place import HERE

# What prints a program's version, where it isn't one of Python's packages.
PROGRAMS = {"GNU tar": ["tar", "--version"], "bsdtar": ["bsdtar", "--version"], "curl": ["curl", "--version"],
            "igzip": ["igzip", "--version"], "Java": ["java", "-version"], "nginx": ["/usr/sbin/nginx", "-v"]}


def commit(project):
    """What is checked out, and whether it was changed since, if git is there to say."""
    try:
        git = lambda *arguments: subprocess.run(["git", *arguments], cwd=project, check=True, capture_output=True, text=True).stdout.strip()
        return git("rev-parse", "--short", "HEAD") + (" and changes" if git("status", "--porcelain", "src", "Cargo.toml") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def field(path, pattern):
    with open(path) as file:
        found = re.search(pattern, file.read(), re.MULTILINE)
    return found.group(1) if found else "unknown"


def description():
    processor = field("/proc/cpuinfo", r"^model name\s*: (.*)$")
    memory = int(field("/proc/meminfo", r"^MemTotal:\s*(\d+)")) / (1 << 20)
    system = field("/etc/os-release", r'^PRETTY_NAME="?([^"\n]*)')
    return f"{os.cpu_count()} cores ({processor}), {memory:.0f} GiB of memory, {system}, Linux {platform.release()}"


def versions():
    with open(HERE / "requirements.txt") as file:
        packages = [line.split("==")[0] for line in file if "==" in line]
    found = {name: importlib.metadata.version(name) for name in packages}
    for name, command in PROGRAMS.items():
        try:
            ran = subprocess.run(command, capture_output=True, text=True)
            found[name] = re.search(r"\d+(\.\d+)+", ran.stdout + ran.stderr).group(0)
        except (OSError, AttributeError):
            pass
    return {"Python": platform.python_version(), **found}
