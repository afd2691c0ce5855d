"""Writes the report from the results that are there: what was to be reached and what was, then every line."""
import json, os, statistics, sys
from dataclasses import dataclass

import machine, work
from place import HERE

# Beyond this share of the machine, others were at work beside a run.
NOISE_SHARE = 0.05


@dataclass
class Measured:
    """The medians of a line's good runs."""

    name: str
    facts: dict
    runs: list

    def median(self, key):
        return statistics.median(run[key] for run in self.runs)

    @property
    def wall(self):
        return self.median("wall")

    @property
    def wall_each(self):
        return self.wall / self.facts["amount"]

    @property
    def peak_bytes(self):
        return max(run["peak_bytes"] for run in self.runs)

    @property
    def fetched(self):
        return self.median("fetched")

    @property
    def noise(self):
        """The share of the machine that neither the command nor the servers had."""
        return statistics.median(run["other_cpu"] / run["wall"] for run in self.runs) / os.cpu_count()

    def rate(self):
        rate, unit = self.facts["amount"] / self.wall, self.facts["unit"]
        if unit == "bytes":
            return f"{rate / 1e6:,.0f} MB/s"
        return f"{rate / 1e3:,.0f} k {unit}/s" if rate > 10_000 else f"{rate:,.0f} {unit}/s"

    def row(self):
        walls = sorted(run["wall"] for run in self.runs)
        spread = f" ({walls[0]:.2f}–{walls[-1]:.2f})" if len(walls) > 1 else ""
        fetched = f"{self.fetched / (1 << 20):,.1f}" if "fetched" in self.runs[0] else ""
        noise = f"{self.noise:.0%}" + (" !" if self.noise > NOISE_SHARE else "")
        return [self.name, f"{self.wall:.2f}{spread}", f"{self.median('cpu'):.2f}", f"{self.median('server_cpu'):.2f}",
                f"{self.peak_bytes / (1 << 20):.0f}", self.rate(), fetched, noise, str(len(self.runs)), self.facts["note"]]


HEAD = ["", "wall, s", "CPU, s", "servers' CPU, s", "peak, MiB", "rate", "fetched, MiB", "others", "n", ""]


def table(head, rows):
    line = lambda cells: "| " + " | ".join(cells) + " |"
    return "\n".join([line(head), line(["---"] * len(head)), *map(line, rows)])


def results(place, group):
    """The lines of a group in its order: those that were right, and what is wrong with the others."""
    path = place.results / f"{group.name}.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    good, wrong = {}, {}
    for name, facts in kept.items():
        problems = [run["problem"] for run in facts["runs"] if run["problem"]]
        if problems or not facts["runs"]:
            wrong[name] = problems[0] if problems else "not run"
        else:
            good[name] = Measured(name, facts, facts["runs"])
    return good, wrong


def target_rows(groups):
    for group, good, _ in groups:
        for target in group.targets:
            lines = [name for name in (target.line, getattr(target, "than", None), getattr(target, "of", None)) if name]
            if all(name in good for name in lines):
                measured, is_reached = target.measure(good)
                runs = {good[name].facts["run"] for name in lines}
                verdict = ("pass" if is_reached else "**short**") + (" (of different runs)" if len(runs) > 1 else "")
            else:
                measured, verdict = "–", "not measured"
            yield [group.name, target.line, str(target), measured, verdict]


def notes():
    """What is to be said of groups, by hand: `notes.md` has a section for each."""
    path = HERE / "notes.md"
    sections = path.read_text().split("\n## ")[1:] if path.exists() else []
    return {section.split("\n", 1)[0].strip(): section.split("\n", 1)[1].strip() for section in sections}


def write(place):
    groups = [(group, *results(place, group)) for group in work.GROUPS]
    groups = [(group, good, wrong) for group, good, wrong in groups if good or wrong]
    if not groups:
        sys.exit(f"there are no results in {place.results}")
    all_facts = [line.facts for _, good, _ in groups for line in good.values()]
    commits, runs = sorted({facts["commit"] for facts in all_facts}), sorted(facts["run"] for facts in all_facts)
    said = notes()
    parts = ["# Results\n\nWritten by `benches/peers/run`; what is measured and how is in [benches/README.md](README.md)."]
    if place.scale != 1:
        parts.append(f"**At scale {place.scale:g}: it shows that all works, the figures mean nothing.**")
    parts.append(f"- Date: {runs[0]} to {runs[-1]} UTC\n- tarsql: commit {', '.join(commits)}\n- Machine: {machine.description()}\n"
                 f"- Versions: {', '.join(f'{name} {version}' for name, version in machine.versions().items())}")
    parts.append("## What was to be reached\n\n" + table(["group", "line", "to be reached", "measured", ""], target_rows(groups)))
    for group, good, wrong in groups:
        rows = [good[name].row() for name in good]
        text = f"## {group.name}: {group.title}\n\n{table(HEAD, rows)}"
        text += "".join(f"\n\n{name}: **no right answer**: {problem}" for name, problem in wrong.items())
        parts.append(text + (f"\n\n{said[group.name]}" if group.name in said else ""))
    place.report.parent.mkdir(parents=True, exist_ok=True)
    place.report.write_text("\n\n".join(parts) + "\n")
