"""What one rotation costs while it holds the log's lock, with few and with many archives there: time and system calls.

The time is that of making a file, which is the file system's, and of all else. Where thousands of files were removed a
moment ago, as between the cases here, ext4 takes long to make one."""

import os
import re
import shutil
import statistics
import subprocess
import tempfile

from bench_report import Failed, clean_environment
from bench_stalls import end_helper, make_archives

ROTATIONS = 100
TRACED = 8
SIZE = 10 << 20
ARCHIVES = (0, 100, 2000)

LOCKED = re.compile(r"fcntl\(\d+, F_SETLK, \{l_type=F_WRLCK, l_whence=SEEK_SET, l_start=0, l_len=1\}\) = 0")
UNLOCKED = re.compile(r"fcntl\(\d+, F_SETLK, \{l_type=F_UNLCK, l_whence=SEEK_SET, l_start=0, l_len=1\}\) = 0")


def run(words, environment):
    answer = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if answer.returncode != 0:
        raise Failed(f"{os.path.basename(words[0])} failed")
    return answer.stdout


def measure_times(program, log):
    """Microseconds under the lock, those of making the new file in them, and all the others."""
    lines = run([program, log, str(ROTATIONS)], clean_environment()).splitlines()
    pairs = [tuple(map(int, line.split())) for line in lines]
    rows = [(held, creating, held - creating) for held, creating in pairs]
    return [round(statistics.median(values) / 1000, 1) for values in zip(*rows)]


def count_calls(trace):
    """System calls between lock and unlock, the two included, of each write that rotated, and of each that did not."""
    rotating, plain, calls = [], [], None
    with open(trace, encoding="utf-8", errors="replace") as file:
        for line in file:
            if LOCKED.search(line):
                calls, renamed = 0, False
            if calls is None:
                continue
            calls += 1
            renamed = renamed or line.startswith("renameat2(")
            if UNLOCKED.search(line):
                (rotating if renamed else plain).append(calls)
                calls = None
    return rotating, plain


def measure_calls(programs, library, log):
    """With the library, as a program has it; its helpers are not traced."""
    trace = log + ".trace"
    environment = [f"LD_PRELOAD={library}", f"MPLOGSHIM_LOGS={log},max_bytes={SIZE},naming=number"]
    words = [os.path.join(programs, "bench_stall"), log, str(TRACED * 2), "1000", str(TRACED), str(SIZE)]
    run(["strace", "-qq", "-o", trace, "env", *environment, *words], clean_environment())
    rotating, plain = count_calls(trace)
    if len(rotating) < TRACED:
        raise Failed(f"{len(rotating)} rotations were seen, not {TRACED}")
    end_helper(os.path.join(os.path.dirname(log), ".bench.log.lock"))
    return statistics.median(rotating), statistics.median(plain)


def measure(parent, programs, library, archives):
    directory = tempfile.mkdtemp(dir=parent)
    log = os.path.join(directory, "bench.log")
    try:
        make_archives(log, archives, False)
        held, creating, others = measure_times(os.path.join(programs, "bench_rotation"), log)
        rotating, plain = measure_calls(programs, library, log)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return {"us": held, "us_creating": creating, "us_others": others, "calls": rotating, "calls_without": plain}


def measure_all(parent, programs, library):
    return {f"{archives} archives": measure(parent, programs, library, archives) for archives in ARCHIVES}


def print_report(report):
    print(f"\none rotation: under the lock, medians of {ROTATIONS}, and system calls there")
    print(f"{'':<20}{'µs':>9}{'making the file':>17}{'all else':>10}{'calls':>7}{'without rotation':>18}")
    for name, figures in report.items():
        print(f"{name:<20}{figures['us']:>9.1f}{figures['us_creating']:>17.1f}{figures['us_others']:>10.1f}"
              f"{figures['calls']:>7.0f}{figures['calls_without']:>18.0f}")
