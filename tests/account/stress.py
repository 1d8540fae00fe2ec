#!/usr/bin/python3
"""Everything at once on one log for some seconds: programs of many languages, kill -9 of them, of helpers and keepers,
stopped processes, an administrator who settles by hand, moves or truncates the live file and spoils the lock file, and
a disk that is full for moments or programs without descriptors.

    stress.py [--seed N] [--disk] [--java CLASSES] BUILD LOG RECORDS SECONDS

The programs are started with this process's environment but for STRESS_PRELOAD, which is their LD_PRELOAD. What scribes
were told is RECORDS/told.N; what the others wrote is RECORDS/writers (arguments for told.py, one a line), and what an
administrator took away is in the log's directory, below aside/. Ends when everybody has ended, and fails if somebody
failed, if the live path was missing for no reason, or if somebody had more descriptors than the program asked for.
"""

import argparse
import contextlib
import fcntl
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
WRITE_BYTE = 0
PAGE = 4096
RATE = 150  # lines a second of each program that is no scribe
DESCRIPTORS_MOST = 16
PATIENCE = 120  # seconds, on the busiest machine


def fail(text):
    sys.exit(f"stress.py: {text}")


def cannot_open_more():
    resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))


class Stress:
    def __init__(self, arguments):
        self.arguments = arguments
        self.log = arguments.log
        self.directory, base = os.path.split(arguments.log)
        self.lock = os.path.join(self.directory, f".{base}.lock")
        self.aside = os.path.join(self.directory, "aside")
        self.ballast = os.path.join(self.directory, "ballast")
        self.environment = dict(os.environ)
        self.environment["LD_PRELOAD"] = self.environment.pop("STRESS_PRELOAD", "")
        self.scribes = []
        self.others = {}  # of each program: the numbers of its writers, and how many lines each has
        self.settlers = []
        self.stopped = {}  # process: when it goes on
        self.number = 0
        self.spoiled = 0  # when the lock file was last touched
        self.has_limits = not arguments.disk and random.random() < 0.5
        self.counts = {}
        os.mkdir(self.aside)

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def start(self, command, **options):
        return subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, **options)

    # The programs.

    def start_scribe(self):
        self.number += 1
        reopen = random.choice((0, 0, 1, 20))
        options = ["--truncate"] if reopen == 20 and random.random() < 0.5 else []
        length, rate = random.choice((("20-300", 500), ("20-9000", 60)))
        if self.arguments.disk and random.random() < 0.1:
            options.append(f"--file-size={random.choice((8192, 30000, 200000))}")
        limit = {"preexec_fn": cannot_open_more} if self.has_limits and random.random() < 0.3 else {}
        command = [os.path.join(self.arguments.build, "tests/scribe"), f"--reopen={reopen}", f"--length={length}",
                   *options, self.log, str(self.number), "1000000",
                   os.path.join(self.arguments.records, f"told.{self.number}"), str(rate)]
        self.scribes.append(self.start(command, **limit))

    def commands(self, count):
        """Command, number of writers, and whether its standard output is the log: {} is the first writer's number."""
        writer = os.path.join(self.arguments.build, "tests/writer")
        cpp = os.path.join(self.arguments.build, "tests/account/writer_cpp")
        python, shell, perl = ([program, os.path.join(HERE, script)] for program, script in (
            (sys.executable, "writer.py"), ("bash", "writer.sh"), ("perl", "writer.pl")))
        end = ["{}", str(count), str(RATE)]
        commands = [
            ([writer, "--buffering", "full", "fprintf", self.log, *end], 1, False),
            ([writer, "--forks", "3", "write", self.log, *end], 3, False),
            ([writer, "--threads", "4", "writev", self.log, *end], 4, False),
            ([writer, "printf", "-", *end], 1, True),
            ([cpp, "ofstream", self.log, *end], 1, False),
            ([*python, "logging", self.log, *end], 1, False),
            ([*python, "multiprocessing", self.log, *end], 3, False),
            ([*python, "print", "-", *end], 1, True),
            ([*shell, "echo_each", self.log, *end], 1, False),
            ([*perl, "print", self.log, *end], 1, False),
            ([*perl, "forks", self.log, *end], 3, False),
            (["mawk", "-v", f"log_file={self.log}", "-v", "writer={}", "-v", f"count={count}", "-f",
              os.path.join(HERE, "writer.awk")], 1, False),
        ]
        if os.geteuid() == 0:
            commands += [([os.path.join(self.arguments.build, "tests/dropper"), "setuid", self.log, *end], 1, False)] * 2
        if self.arguments.java:
            commands += [(["java", "-Xshare:auto", "-Xmx64m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
                           "-XX:-UsePerfData", "-cp", self.arguments.java, "Writer", "buffered", self.log, *end], 1, False),
                         (["node", os.path.join(HERE, "writer.js"), "stream", self.log, *end], 1, False)]
        return commands

    def start_other(self):
        """Long enough to be killed in its midst, short enough to end by itself."""
        count = random.choice((20, 200, 400))
        command, writers, redirected = random.choice(self.commands(count))
        first = self.number + 1
        self.number += writers
        words = [word.replace("{}", str(first)) for word in command]
        options = {}
        if redirected:
            options["stdout"] = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        process = self.start(words, **options)
        if redirected:
            os.close(options["stdout"])
        self.others[process] = (range(first, first + writers), count)

    def note_writers(self, process, whole):
        """The account of children that were not killed with their parent is theirs: they write on."""
        writers, count = self.others.pop(process)
        with open(os.path.join(self.arguments.records, "writers"), "a", encoding="ascii") as file:
            for writer in writers:
                file.write(f"--writer={writer}={count if whole else f'0-{count}'}\n")

    def collect_others(self):
        for process in list(self.others):
            if process.poll() is not None:
                if process.returncode != 0:
                    fail(f"{process.args} ended with {process.returncode}")
                self.note_writers(process, True)

    # What befalls them.

    def helpers(self):
        """The processes that settle this log, and its keepers."""
        log = self.log.encode()
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError), open(f"/proc/{entry}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
                    if words[0].endswith(b"mplogshim") and b"settle" in words and log in words:
                        yield int(entry)

    def kill_scribe(self):
        scribe = self.scribes.pop(random.randrange(len(self.scribes)))
        scribe.kill()
        if scribe.wait() != -signal.SIGKILL:
            fail(f"a scribe ended by itself: {scribe.returncode}")
        self.stopped.pop(scribe, None)
        self.start_scribe()

    def kill_other(self):
        """Only one without children, which would go on."""
        alone = [process for process, (writers, _) in self.others.items() if len(writers) == 1 and process.poll() is None]
        if alone:
            process = random.choice(alone)
            process.kill()
            whole = process.wait() == 0
            self.stopped.pop(process, None)
            self.note_writers(process, whole)

    def kill_helper(self):
        """Not those by hand, whose answer is looked at."""
        by_hand = {settler.pid for settler in self.settlers}
        for pid in self.helpers():
            if pid not in by_hand:
                time.sleep(random.choice((0, random.random() * 0.01)))
                with contextlib.suppress(OSError):
                    if pid in self.helpers():
                        os.kill(pid, signal.SIGKILL)
                        return

    def stop_somebody(self):
        somebody = [process for process in [*self.scribes, *self.others] if process not in self.stopped]
        process = random.choice(somebody) if somebody else None
        if process and process.poll() is None:
            process.send_signal(signal.SIGSTOP)
            self.stopped[process] = time.monotonic() + random.choice((0.01, 0.1, 0.8))

    def let_go_on(self, everybody=False):
        for process, end in list(self.stopped.items()):
            if everybody or time.monotonic() >= end:
                process.send_signal(signal.SIGCONT)
                del self.stopped[process]

    def settle_by_hand(self):
        """Status 1 is an answer too: the lock file is gone, or somebody has an archive open."""
        environment = {**self.environment, "LD_PRELOAD": ""}
        command = os.path.join(self.arguments.build, "mplogshim")
        self.settlers.append(subprocess.Popen([command, "settle", self.log], env=environment, stdin=subprocess.DEVNULL,
                                              stderr=subprocess.DEVNULL))

    def collect_settlers(self, patience=0.0):
        for settler in list(self.settlers):
            with contextlib.suppress(subprocess.TimeoutExpired):
                if settler.wait(patience) not in (0, 1):
                    fail(f"mplogshim settle ended with {settler.returncode}")
                self.settlers.remove(settler)

    # The administrator.

    def spoil_lock(self):
        how = random.choice(("delete", "empty", "shorten", "noise", "huge", "replace"))
        self.spoiled = time.monotonic()
        self.count(how)
        with contextlib.suppress(OSError):
            if how == "delete":
                os.unlink(self.lock)
            elif how == "replace":
                other = os.path.join(self.aside, "lock")
                with open(other, "wb") as file:
                    file.write(random.randbytes(random.choice((0, 100, 5000))))
                os.rename(other, self.lock)
            else:
                lock = os.open(self.lock, os.O_RDWR)
                if how == "noise":
                    os.pwrite(lock, random.randbytes(random.choice((1, 64, PAGE))), random.choice((0, 16, 130, 1024)))
                else:
                    os.ftruncate(lock, {"empty": 0, "shorten": PAGE + 1, "huge": 1 << 43}[how])
                os.close(lock)

    def move_live(self):
        self.count("move")
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.log, os.path.join(self.aside, f"moved.{time.monotonic_ns()}"))

    def truncate_live(self):
        """As logrotate's copytruncate, but within the log's lock: what is cut off is kept, and nothing else is lost.

        Not where writers are soon tired of waiting for the lock: then they go on without it.
        """
        impatient = "lock_timeout=200ms" in self.environment.get("MPLOGSHIM_LOGS", "")
        if time.monotonic() - self.spoiled < 3 or self.stopped or self.has_limits or impatient:
            return
        with contextlib.suppress(OSError):
            lock = os.open(self.lock, os.O_RDWR)
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, WRITE_BYTE)
                if os.fstat(lock).st_ino == os.stat(self.lock).st_ino:
                    shutil.copyfile(self.log, os.path.join(self.aside, f"cut.{time.monotonic_ns()}"))
                    os.truncate(self.log, 0)
                    self.count("truncate")
            finally:
                os.close(lock)

    def fill_disk(self):
        """For a moment, to the last byte."""
        if os.path.exists(self.ballast):
            os.unlink(self.ballast)
            return
        with contextlib.suppress(OSError), open(self.ballast, "wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    # The course of it.

    def actions(self):
        actions = [(self.kill_scribe, 8), (self.kill_helper, 12), (self.stop_somebody, 6), (self.settle_by_hand, 2)]
        if self.arguments.disk:
            return actions + [(self.fill_disk, 5), (self.spoil_lock, 1)]
        return actions + [(self.kill_other, 3), (self.start_other, 12), (self.spoil_lock, 2), (self.move_live, 1),
                          (self.truncate_live, 6)]

    def rage(self):
        for _ in range(3):
            self.start_scribe()
        functions, weights = zip(*self.actions())
        end = time.monotonic() + self.arguments.seconds
        while time.monotonic() < end:
            time.sleep(random.random() * 0.08)
            function = random.choices(functions, weights)[0]
            if function == self.start_other and len(self.others) > 6:
                continue
            self.count(function.__name__)
            function()
            self.let_go_on()
            self.collect_others()
            self.collect_settlers()
            if any(scribe.poll() is not None for scribe in self.scribes):
                fail("a scribe ended by itself")

    def look_at_descriptors(self):
        for scribe in self.scribes:
            with contextlib.suppress(OSError):
                names = os.listdir(f"/proc/{scribe.pid}/fd")
                if len(names) > DESCRIPTORS_MOST:
                    fail(f"a scribe has {len(names)} descriptors")

    def lift_limit(self, scribe):
        """Nobody may be left who can rotate, and a scribe ends behind a whole line only."""
        with contextlib.suppress(ProcessLookupError):
            most = resource.prlimit(scribe.pid, resource.RLIMIT_FSIZE)[1]
            resource.prlimit(scribe.pid, resource.RLIMIT_FSIZE, (most, most))

    def end(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.ballast)
        self.let_go_on(everybody=True)
        time.sleep(1.2)  # within a second, everybody is on the live path and has a lock file
        deadline = time.monotonic() + PATIENCE
        while not os.path.exists(self.log):  # who has no processor is later
            if time.monotonic() > deadline:
                fail("the live path is missing")
            time.sleep(0.02)
        self.look_at_descriptors()
        for process in list(self.others):
            process.wait(PATIENCE)
        self.collect_others()
        for scribe in self.scribes:
            self.lift_limit(scribe)
            scribe.terminate()
        for scribe in self.scribes:
            if scribe.wait(PATIENCE) not in (0, -signal.SIGTERM):  # -SIGTERM: it had only just begun
                fail(f"a scribe failed: {scribe.returncode}")
        while self.settlers:
            self.collect_settlers(1)

    def kill_all(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for process in [*self.scribes, *self.others, *self.settlers]:
            process.kill()
            process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=time.time_ns())
    parser.add_argument("--disk", action="store_true", help="the log's directory is a disk of its own, to be filled")
    parser.add_argument("--java", help="where the class Writer is: node takes part then, too")
    parser.add_argument("build")
    parser.add_argument("log")
    parser.add_argument("records")
    parser.add_argument("seconds", type=float)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stress.py: stopped"))  # by way of `finally`: nobody is left
    stress = Stress(arguments)
    try:
        stress.rage()
        stress.end()
    finally:
        stress.kill_all()
        counts = ", ".join(f"{count} x {what}" for what, count in sorted(stress.counts.items()))
        print(f"seed {arguments.seed}: {stress.number} writers; {counts}")


if __name__ == "__main__":
    main()
