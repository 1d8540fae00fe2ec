#!/usr/bin/python3
"""Kills scribes of one log, and the helpers that settle its archives, at random moments: kill -9.

    storm.py [--scribes N] [--rate LINES] [--seed N] [--drop] [--writers-only] [--takers] SCRIBE LOG RECORDS KILLS

The scribes are started with this process's environment but for STORM_PRELOAD, which is their LD_PRELOAD; each that is
killed is followed by a new one. With --drop they become nobody when they have the log open: the helpers are its keepers.
Their records are RECORDS/told.1, .2 and so on. Ends after so many kills, about half of them of helpers (--writers-only:
none; --takers: some are of scribes that have only just begun), and fails if not even a fifth were, or if a scribe ended by itself, or the live path was missing.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import threading
import time

HELPER_PATIENCE = 0.2  # seconds that a helper is looked for
ENDLESS = "1000000000"  # lines: a scribe ends when it is killed, however late that is


class Storm:
    def __init__(self, arguments):
        self.arguments = arguments
        self.environment = dict(os.environ)
        self.environment["LD_PRELOAD"] = self.environment.pop("STORM_PRELOAD", "")
        self.scribes = []
        self.number = 0
        self.killed = {"scribes": 0, "takers": 0, "helpers": 0}

    def start_scribe(self):
        """Each opens the log as often as one of many kinds of programs does; some write lines of several pages."""
        self.number += 1
        told = os.path.join(self.arguments.records, f"told.{self.number}")
        reopen = 0 if self.arguments.drop else random.choice((0, 0, 1, 20))
        truncate = ["--truncate"] if reopen == 20 and random.random() < 0.5 else []
        length, rate = random.choice((("20-300", self.arguments.rate), ("20-9000", self.arguments.rate // 10)))
        drop = ["--drop"] if self.arguments.drop else []
        command = [self.arguments.scribe, *drop, f"--reopen={reopen}", f"--length={length}", *truncate, self.arguments.log,
                   str(self.number), ENDLESS, told, str(rate)]
        self.scribes.append(subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL))

    def find_helpers(self):
        """The processes that settle this log."""
        log = self.arguments.log.encode()
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"mplogshim") and b"settle" in words and log in words:
                yield int(entry)

    def kill_scribe(self):
        scribe = self.scribes.pop(random.randrange(len(self.scribes)))
        scribe.kill()
        status = scribe.wait()
        if status != -signal.SIGKILL:
            sys.exit(f"storm.py: a scribe ended by itself: {status}")
        self.killed["scribes"] += 1
        self.start_scribe()

    def kill_takers(self):
        """Whoever begins now takes over what the one that was killed has left."""
        for _ in range(random.randrange(3)):
            self.start_scribe()
            taker = self.scribes.pop()
            time.sleep(random.random() * 0.012)  # into the midst of it
            taker.kill()
            taker.wait()
            self.killed["takers"] += 1

    def kill_helper(self):
        deadline = time.monotonic() + HELPER_PATIENCE
        while time.monotonic() < deadline:
            for pid in self.find_helpers():
                time.sleep(random.choice((0, random.random() * 0.01)))  # into the midst of its work
                if pid in self.find_helpers():
                    os.kill(pid, signal.SIGKILL)
                    self.killed["helpers"] += 1
                    return

    def rage(self):
        for _ in range(self.arguments.scribes):
            self.start_scribe()
        while sum(self.killed.values()) < self.arguments.kills:
            time.sleep(random.random() * 0.06)
            if random.random() < 0.5 and not self.arguments.writers_only:
                self.kill_helper()
            else:
                self.kill_scribe()
                if self.arguments.takers:
                    self.kill_takers()

    def end(self):
        for scribe in self.scribes:
            scribe.terminate()
        for scribe in self.scribes:
            if scribe.wait() not in (0, -signal.SIGTERM):  # -SIGTERM: it had only just begun
                sys.exit(f"storm.py: a scribe failed: {scribe.returncode}")


def watch(log, missing):
    """The live path never goes missing."""
    while not os.path.exists(log):
        time.sleep(0.001)
    while not missing:
        if not os.path.exists(log):
            missing.append(time.monotonic())
        time.sleep(0.001)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--scribes", type=int, default=4)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    parser.add_argument("--writers-only", action="store_true")
    parser.add_argument("--takers", action="store_true")
    parser.add_argument("--drop", action="store_true")
    parser.add_argument("scribe")
    parser.add_argument("log")
    parser.add_argument("records")
    parser.add_argument("kills", type=int)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    random.seed(arguments.seed)

    missing = []
    threading.Thread(target=watch, args=(arguments.log, missing), daemon=True).start()
    storm = Storm(arguments)
    try:
        storm.rage()
        storm.end()
    finally:
        for scribe in storm.scribes:
            scribe.kill()
    print("killed: " + ", ".join(f"{count} {kind}" for kind, count in storm.killed.items()))
    if missing:
        sys.exit("storm.py: the live path was missing")
    if storm.killed["helpers"] < arguments.kills // 5 and not arguments.writers_only:
        sys.exit("storm.py: hardly a helper was there to be killed")


if __name__ == "__main__":
    main()
