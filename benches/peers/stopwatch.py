"""Runs one command and says what it cost: seconds, CPU seconds, peak memory, of it and everything that it starts.

    stopwatch.py RESULT.json OUTPUT.log TIMEOUT_SECONDS COMMAND...

A process of its own, so that all its descendants are the command's: it adopts those whose parents end before them, as
Spark's do. CPU is what the kernel accounts to waited-for children, or what samples saw where that is more, since workers
that are killed rather than waited for are in no account. Memory is the proportional set size, summed over the tree at
each sample, or the largest resident set of a single process where that is more.
"""
import ctypes, json, os, signal, subprocess, sys, threading, time

PR_SET_CHILD_SUBREAPER = 36
TICKS = os.sysconf("SC_CLK_TCK")
# Samples are this far apart, and further where they would take more than a fiftieth of a core.
SAMPLE_SECONDS, SAMPLE_SHARE = 0.05, 1 / 50


def busy_seconds():
    """CPU seconds that all cores together have spent, on whatever."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, irq, softirq = map(int, file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / TICKS


def descendants(root):
    """Pairs of process and CPU seconds of its own, for all below `root`."""
    parents, used = {}, {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rsplit(b")", 1)[1].split()
        except OSError:
            continue  # It has ended meanwhile.
        parents.setdefault(int(fields[1]), []).append(int(name))
        used[int(name)] = (int(fields[11]) + int(fields[12])) / TICKS
    found, queue = [], list(parents.get(root, []))
    while queue:
        process = queue.pop()
        found.append((process, used[process]))
        queue += parents.get(process, [])
    return found


def memory_bytes(process):
    try:
        with open(f"/proc/{process}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


class Sampler(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.done, self.peak, self.used = threading.Event(), 0, {}

    def run(self):
        pause = SAMPLE_SECONDS
        while not self.done.wait(pause):
            before = time.thread_time()
            tree = descendants(os.getpid())
            self.used.update(tree)
            self.peak = max(self.peak, sum(memory_bytes(process) for process, _ in tree))
            pause = max(SAMPLE_SECONDS, (time.thread_time() - before) / SAMPLE_SHARE)


def main():
    result, log, timeout, command = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4:]
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    sampler, late = Sampler(), threading.Event()
    with open(log, "wb") as output, open(log + ".err", "wb") as errors:
        busy, started = busy_seconds(), time.monotonic()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True)
        sampler.start()

        def stop():
            late.set()
            os.killpg(child.pid, signal.SIGKILL)

        timer = threading.Timer(timeout, stop)
        timer.start()
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except KeyboardInterrupt:
            stop()
            raise
        wall, busy = time.monotonic() - started, busy_seconds() - busy
    timer.cancel()
    sampler.done.set()
    sampler.join()
    cpu, largest = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
    # What the command has left behind ends with it.
    while tree := descendants(os.getpid()):
        for process, _ in tree:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            _, _, usage = os.wait4(-1, 0)
        except ChildProcessError:
            break
        cpu, largest = cpu + usage.ru_utime + usage.ru_stime, max(largest, usage.ru_maxrss * 1024)
    report = {"wall": wall, "cpu": max(cpu, sum(sampler.used.values())), "peak_bytes": max(sampler.peak, largest),
              "busy": busy, "status": os.waitstatus_to_exitcode(status), "is_late": late.is_set()}
    with open(result, "w") as file:
        json.dump(report, file)


if __name__ == "__main__":
    main()
