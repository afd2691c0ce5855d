"""Runs groups of work, line after line and round after round, checks every answer, and keeps the results; see `run`."""
import argparse, json, os, shutil, signal, subprocess, sys, time
from pathlib import Path

import machine, report, sets, work
from place import HERE, PROJECT, Place, built_tarsql
from servers import S3, Slow

ROUNDS = 5
TIMEOUT_SECONDS = 600
PORT = 18433


def parse():
    parser = argparse.ArgumentParser(prog="benches/peers/run", description="Measures tarsql beside its peers and writes benches/RESULTS.md.")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"{', '.join(group.name for group in work.GROUPS)}; A means A-typed too; all if none is named")
    parser.add_argument("--peers", help="only these, separated by commas, tarsql for instance")
    parser.add_argument("-n", "--rounds", type=int, default=ROUNDS, help=f"of what isn't slow; {ROUNDS} if not said")
    parser.add_argument("--scale", type=float, default=1, help="of the data; anything but 1 is for trying whether all works")
    parser.add_argument("--tarsql", type=Path, help="the program; the release build of this project if not said")
    parser.add_argument("--work", type=Path, required=True, help="where all that this needs is put: target/peers if not said")
    parser.add_argument("--data", type=Path, help="where the data is made: in that folder if not said")
    parser.add_argument("--port", type=int, default=PORT, help=f"of the S3 server, {PORT} if not said; the others are near it")
    parser.add_argument("--report", action="store_true", help="only write the report anew, from the results that are there")
    return parser.parse_args()


def chosen(names):
    for name in names:
        if not any(is_meant(group.name, name) for group in work.GROUPS):
            sys.exit(f"there is no group {name}: {', '.join(group.name for group in work.GROUPS)}")
    return [group for group in work.GROUPS if not names or any(is_meant(group.name, name) for name in names)]


def is_meant(group, name):
    return group == name or group.startswith(name + "-")


class Runner:
    """Runs lines; knows the servers, whose CPU time is told apart."""

    def __init__(self, place, servers):
        self.place, self.servers = place, servers
        self.out = place.work / "out"

    def run(self, line):
        """One run, checked: what it cost, and what is wrong with it."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)
        result, log = self.place.work / "stopwatch.json", self.place.work / "command.log"
        command = [part.replace("{out}", str(self.out)) for part in line.command]
        served = self.served()
        subprocess.run([sys.executable, str(HERE / "stopwatch.py"), str(result), str(log), str(TIMEOUT_SECONDS), *command], check=True)
        run = json.loads(result.read_text())
        run["server_cpu"] = self.served() - served
        run["other_cpu"] = max(0.0, run["busy"] - run["cpu"] - run["server_cpu"])
        run["problem"] = self.problem(line, run, log)
        if (metrics := self.out / "metrics.json").exists():
            run["fetched"] = sum(one["value"] for one in json.loads(metrics.read_text()) if one["metric"] == "BytesFetched")
        shutil.rmtree(self.out)
        return run

    def served(self):
        return sum(server.cpu_seconds() for server in self.servers)

    def problem(self, line, run, log):
        if run["is_late"]:
            return f"not done after {TIMEOUT_SECONDS} s"
        if run["status"] != 0:
            said = Path(f"{log}.err").read_text(errors="replace").strip().splitlines()
            return f"status {run['status']}: {said[-1][:200] if said else 'nothing was said'}"
        return line.check(self.out, log.read_text(errors="replace"))


def measure(group, lines, runner, rounds):
    """Every line once, then every line again: what the machine does beside hits neighbours alike."""
    runs = {line.name: [] for line in lines}
    for number in range(rounds):
        for line in lines:
            done = runs[line.name]
            if number >= (line.rounds or rounds) or (done and done[-1]["problem"]):
                continue
            run = runner.run(line)
            done.append(run)
            print(f"{group.name:8} {line.name:45} {run['wall']:8.2f} s {run['cpu']:8.2f} CPU-s {run['peak_bytes'] >> 20:6} MiB  {run['problem'] or ''}", flush=True)
    return runs


def keep(place, group, lines, runs, facts):
    """Lines that were run replace what the file says of them; the others stay."""
    path = place.results / f"{group.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    before = json.loads(path.read_text()) if path.exists() else {}
    for line in lines:
        before[line.name] = {"peer": line.peer, "note": line.note, "amount": line.amount, "unit": line.unit, "runs": runs[line.name], **facts}
    path.write_text(json.dumps(before, indent=1, ensure_ascii=False) + "\n")


def prime(bench, group):
    """Reads what the group reads, so that all find it in the page cache."""
    paths = [path for name in group.sets for path in bench.sets[name].paths() if "*" not in path.name]
    subprocess.run(["cat", *map(str, paths)], stdout=subprocess.DEVNULL, check=True)
    if group.s3:
        for name in group.sets:
            for key in bench.sets[name].keys():
                subprocess.run(["curl", "-s", "-o", "/dev/null", f"{bench.urls['s3']}/bench/{key}"], check=True)


def main():
    options = parse()
    groups, peers = chosen(options.groups), options.peers and set(options.peers.split(","))
    place = Place(options.work, (options.data or options.work / f"data-{options.scale:g}").resolve(), None, options.port, options.scale)
    if options.report:
        report.write(place)
        return
    place.tarsql = options.tarsql.resolve() if options.tarsql else built_tarsql()
    made = sets.see_to({name for group in groups for name in group.sets}, place.data, place.scale)
    s3, slow = S3(place), Slow(place)
    servers = [server for server, is_needed in ((s3, any(group.s3 for group in groups)), (slow, any(group.slow for group in groups))) if is_needed]
    started = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # So that the servers stop, too.
    try:
        for server in servers:
            server.start()
        if s3 in servers:
            s3.see_to([made[name] for name in sorted({name for group in groups if group.s3 for name in group.sets if name != "opensky-bare"})])
            os.environ.update(s3.environment())
        bench, runner = work.Bench(place, made, {"s3": s3.url, "slow": slow.url}), Runner(place, servers)
        facts = {"commit": machine.commit(PROJECT), "run": time.strftime("%Y-%m-%d %H:%M", time.gmtime())}
        for group in groups:
            lines = [line for line in group.lines(bench) if not peers or line.peer in peers]
            if not lines:
                continue
            prime(bench, group)
            keep(place, group, lines, measure(group, lines, runner, options.rounds), facts)
            report.write(place)
    finally:
        for server in servers:
            server.stop()
    print(f"{(time.monotonic() - started) / 60:.0f} minutes; see {place.report}", file=sys.stderr)


if __name__ == "__main__":
    main()
