"""One run of one row of scripts/bench-peers: its processes, what they took, and the account of every line."""

import ctypes
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import tempfile
import time

from bench_report import Failed, clean_environment
from peer_rows import Place

SLOT = struct.Struct("=5q24x")  # ready, told, begin, end, cpu: peer.h
PATIENCE = 60  # seconds that anything is waited for
PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    """The library's helpers are nobody's children: here they end as ours, and what they took is known."""
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise Failed("prctl")


def wait_until(holds, what):
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise Failed(f"waited in vain for {what}")
        time.sleep(0.001)


class Run:
    def __init__(self, row, place, writers, lines, length):
        self.row, self.place, self.length = row, place, length
        self.lines = lines // writers
        self.environment = clean_environment() | row.environment(place)
        self.told = place.path("told")
        self.writers, self.others, self.cpu = [], [], 0
        os.mkdir(place.logs)
        with open(self.told, "wb") as file:
            file.write(bytes(SLOT.size * writers))
        try:
            self.start(writers)
        except BaseException:
            self.kill(self.writers + self.others)
            raise

    def slots(self):
        with open(self.told, "rb") as file:
            return list(SLOT.iter_unpack(file.read()))

    def launch(self, words, **options):
        return subprocess.Popen(words, stderr=subprocess.DEVNULL, cwd=self.place.directory, **options)

    def start(self, writers):
        """Everybody is there, the log is open, and nobody has written yet."""
        output = subprocess.DEVNULL
        if self.row.logger:
            reading, output = os.pipe()
            self.others.append(self.launch(self.row.logger(self.place), stdin=reading, stdout=subprocess.DEVNULL))
            os.close(reading)
        start_read, self.go = os.pipe()
        for writer in range(1, writers + 1):
            words = self.row.writer_command(self.place) + [self.told, str(writer), str(self.lines), str(self.length)]
            self.writers.append(self.launch(words, stdin=start_read, stdout=output, env=self.environment))
        os.close(start_read)
        if self.row.logger:
            os.close(output)
        wait_until(lambda: all(slot[0] for slot in self.slots()) or self.ended(), f"the writers of {self.row.name}")
        if self.ended():
            raise Failed(f"a process of {self.row.name} did not start")
        if self.row.beside:
            self.others.append(self.launch(self.row.beside(self.place), stdin=subprocess.DEVNULL,
                                           stdout=subprocess.DEVNULL))

    def ended(self):
        """Whether somebody has; nobody is waited for, or what he took would be lost."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return any(os.waitid(os.P_PID, process.pid, options) for process in self.writers + self.others)

    def wait(self, process):
        """Returns the seconds of CPU that it took, with its children."""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_utime + usage.ru_stime

    def kill(self, processes):
        """Nobody is waited for here either, as Popen.kill does."""
        for process in processes:
            if process.returncode is None:
                os.kill(process.pid, signal.SIGKILL)

    def finish(self):
        """Everybody has ended. Returns the moment of the logger's end."""
        for writer in self.writers:
            self.wait(writer)
        with open(self.place.path("stop"), "wb"):
            pass
        self.cpu += sum(self.wait(other) for other in self.others) * 1e9
        return time.monotonic_ns() if self.row.logger else 0

    def settle(self):
        """The library's helper does its work: every archive has its name. What that takes is the library's too."""
        if not self.row.keys:
            return
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        wait_until(lambda: not any(name.endswith(".pending") for name in os.listdir(self.place.logs)), "the helper")
        end_orphans()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpu += (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e9

    def settle_at_once(self):
        """What killed writers left behind: as the next process to open the log would find it."""
        if not self.row.keys:
            return
        environment = {name: value for name, value in self.environment.items() if name != "LD_PRELOAD"}
        command = os.path.join(os.path.dirname(self.place.library), "mplogshim")
        subprocess.run([command, "settle", self.place.log], env=environment, check=True, stdout=subprocess.DEVNULL)

    def account(self, killed=False):
        """
        What this repository promises must hold; the others are as they are. Lines that stdio buffered are lost with
        their process, and one of each may be cut by it in the middle of its write.
        """
        words = [os.path.join(self.place.programs, "peer_account"), self.place.logs, str(self.length), self.told,
                 str(len(self.writers))]
        answer = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout
        account = dict(zip(("told", "lost", "torn", "doubled", "strange"), map(int, answer.split())))
        buffered = killed and self.row.buffered
        lost = 0 if buffered else account["lost"]
        torn = max(0, account["torn"] - len(self.writers)) if buffered else account["torn"]
        if self.row.keys and lost + torn + account["doubled"] > 0:
            raise Failed(f"the account of {self.row.name} is wrong: {account}")
        return account

    def measure(self):
        os.close(self.go)
        end = self.finish()
        self.settle()
        if any(writer.returncode != 0 for writer in self.writers):
            raise Failed(f"a writer of {self.row.name} failed")
        slots = self.slots()
        total = self.lines * len(self.writers)
        wall = max(end, *(slot[3] for slot in slots)) - min(slot[2] for slot in slots)
        cpu = self.cpu + sum(slot[4] for slot in slots)
        return {"wall": wall / total, "cpu": cpu / total} | self.account()

    def measure_killed(self):
        """kill -9 of the logger, or of the writers that do the logging themselves, somewhere in the middle."""
        moment = self.lines * len(self.writers) * random.uniform(0.2, 0.8)
        os.close(self.go)
        wait_until(lambda: sum(slot[1] for slot in self.slots()) >= moment or self.ended(), "a moment to kill")
        self.kill(self.others if self.row.logger else self.writers)
        self.finish()
        self.settle_at_once()
        return self.account(killed=True)


def children():
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return [int(pid) for pid in file.read().split()]


def end_orphans():
    """All others have ended; the work of these is done, or it goes with its directory."""
    for pid in children():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def run_fresh(row, parent, programs, library, writers, lines, length, killed=False):
    """One run in a directory of its own, which is gone afterwards."""
    place = Place(tempfile.mkdtemp(prefix="run.", dir=parent), programs, library)
    try:
        run = Run(row, place, writers, lines // row.share, length)
        try:
            return run.measure_killed() if killed else run.measure()
        except BaseException:
            run.kill(run.writers + run.others)
            raise
    finally:
        end_orphans()
        shutil.rmtree(place.directory, ignore_errors=True)
