"""How long a single write takes while its log rotates under two writers: with few and with many archives there, and
with archives of 100 MB being compressed meanwhile, which are files with a hole, so that making them costs nothing."""

import fcntl
import gzip
import os
import shutil
import signal
import struct
import subprocess
import tempfile

from bench_report import Failed, clean_environment

ROUNDS = 3
WRITERS = 2
LINES = 2500  # of each writer in each round
PAUSE = 300  # microseconds between two lines
ROTATIONS = 15  # in each round: more than 0.1 % of all writes, so p99.9 is that of a write that rotates
SIZE = 100 << 20
ARCHIVES = (0, 100, 2000)


def make_archives(log, count, compressed):
    content = (b"." * 99 + b"\n") * 10
    if compressed:
        content = gzip.compress(content)
    for number in range(1, count + 1):
        with open(f"{log}.{number}{'.gz' if compressed else ''}", "wb") as archive:
            archive.write(content)


def end_helper(lock_file):
    """The helper would be at work for seconds yet, and its work goes with its directory."""
    helper_byte = 3
    request = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, helper_byte, 1, 0)
    with open(lock_file, "r+b") as file:
        answer = struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_GETLK, request))
    if answer[0] != fcntl.F_UNLCK:
        os.kill(answer[4], signal.SIGKILL)


def measure_round(parent, program, library, archives, compressed):
    """Nanoseconds of each write in one round, and how many archives there were in the end."""
    directory = tempfile.mkdtemp(dir=parent)
    log = os.path.join(directory, "bench.log")
    make_archives(log, archives, compressed)
    environment = clean_environment()
    environment["LD_PRELOAD"] = library
    environment["MPLOGSHIM_LOGS"] = f"{log},max_bytes={SIZE},naming=number" + ",compress=gzip" * compressed
    writers = [
        subprocess.Popen([program, log, str(LINES), str(PAUSE), str(ROTATIONS if i == 0 else 0),
                          str(SIZE)], stdout=subprocess.PIPE, env=environment, text=True)
        for i in range(WRITERS)
    ]
    answers = [writer.communicate()[0] for writer in writers]
    if any(writer.returncode != 0 for writer in writers):
        raise Failed("a writer failed (stalls)")
    rotations = os.path.getsize(os.path.join(directory, ".bench.log.lock")) - 4096
    if rotations < ROTATIONS:
        raise Failed(f"{rotations} rotations, not {ROTATIONS} (stalls)")
    end_helper(os.path.join(directory, ".bench.log.lock"))
    shutil.rmtree(directory, ignore_errors=True)
    return [int(line) for answer in answers for line in answer.split()]


def summarise(durations, none):
    def share(values, most):
        return sorted(values)[min(len(values) - 1, int(len(values) * most))]

    figures = {name: share(durations, most) for name, most in
               (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1))}
    return {"ns": figures, "to_none": round(figures["p99.9"] / share(none, 0.999), 3)}


def measure_all(parent, program, library):
    cases = {(compressed, archives): [] for compressed in (False, True) for archives in ARCHIVES}
    for _ in range(ROUNDS):
        for (compressed, archives), durations in cases.items():
            durations += measure_round(parent, program, library, archives, compressed)
    return {
        f"{archives} archives" + ", gzip" * compressed: summarise(durations, cases[False, 0])
        for (compressed, archives), durations in cases.items()
    }


def print_report(stalls):
    print(f"\nµs of one write while the log rotates ({ROTATIONS} times in {WRITERS * LINES} writes,"
          f" archives of {SIZE >> 20} MB)")
    print(f"{'':<20}" + "".join(f"{name:>9}" for name in ("p50", "p99", "p99.9", "max")) + f"{'p99.9 / none':>14}")
    for name, figures in stalls.items():
        columns = "".join(f"{value / 1000:>9.1f}" for value in figures["ns"].values())
        print(f"{name:<20}{columns}{figures['to_none']:>14.2f}")
