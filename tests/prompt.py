"""Sits at the prompt of a program as a person does: types, and waits for what has to come.

usage: prompt.py STEPS PROGRAM ARGUMENT...    STEPS is a JSON list of [typed, pattern]; prints the exit status
"""
import json
import os
import pty
import re
import select
import sys
import time

STEP_TIMEOUT = 30

# What a person needs to see that a statement takes too long. Until it runs, the terminal takes Ctrl-C for a key.
PAUSE_BEFORE_CONTROL = 1


def read_until(terminal, pattern, seen):
    """Reads on until the pattern is there; returns everything behind it. No pattern waits for the end."""
    deadline = time.monotonic() + STEP_TIMEOUT
    while True:
        plain = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]|\r", b"", seen).decode(errors="replace")
        if pattern is not None and (found := re.search(pattern, plain)):
            return plain[found.end():].encode()
        ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            sys.exit(f"no {pattern!r} in {STEP_TIMEOUT} s, but:\n{plain}")
        try:
            read = os.read(terminal, 65536)
        except OSError:
            read = b""
        if not read:
            if pattern is None:
                return b""
            sys.exit(f"it ended before {pattern!r}:\n{plain}")
        seen += read


def main():
    steps, command = json.loads(sys.argv[1]), sys.argv[2:]
    child, terminal = pty.fork()
    if child == 0:
        os.execv(command[0], command)
    seen = read_until(terminal, "tarsql> ", b"")
    for typed, pattern in steps:
        if typed < " ":
            time.sleep(PAUSE_BEFORE_CONTROL)
        os.write(terminal, typed.encode())
        seen = read_until(terminal, pattern, seen)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status))


main()
