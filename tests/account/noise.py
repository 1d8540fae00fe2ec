#!/usr/bin/python3
"""What a process that has a lock file open can do to it: noise.py WAY SECONDS [FILE] <>LOCK_FILE

bytes: random ones; empty: no length; huge: an absurd length; lies: a page that looks right and says what is not true;
hold: the write lock; settle: the lock of who settles archives; these two until FILE is there, if that is sooner.
"""

import fcntl
import os
import random
import sys
import time

LOCK = 0
PAGE = 4096
WRITE_BYTE, SETTLE_BYTE = 0, 1


def fill_with_bytes():
    os.pwrite(LOCK, random.randbytes(random.choice((1, 64, PAGE, 3 * PAGE))), random.choice((0, 16, 1024, PAGE - 1)))


def make_empty():
    os.ftruncate(LOCK, 0)


def make_huge():
    os.ftruncate(LOCK, random.choice((1 << 40, (1 << 43) + 1, PAGE + 7)))


def tell_lies():
    """In the layout of mplogshim.h: begun long ago, settled, nobody's socket, and a policy that keeps next to nothing."""
    page = bytearray(os.pread(LOCK, PAGE, 0).ljust(PAGE, b"\0"))
    fields = {0: "mplogshim 1    \n", 16: f"begun=+{1:024}\n", 48: f"settled=+{1 << 40:022}\n", 256: f"keeper=+{7:023}\n"}
    policy = ("max_bytes=1", "when=S", "interval=1", "at=00:00:00", "utc=1", "backups=1", "max_age=1s", "max_total=1",
              "naming=number", "compress=gzip:9")
    for number, word in enumerate(policy):
        fields[1024 + 32 * number] = word.ljust(31) + "\n"
    for offset, text in fields.items():
        page[offset:offset + len(text)] = text.encode()
    os.pwrite(LOCK, page, 0)


def hold(byte, seconds, stop):
    fcntl.lockf(LOCK, fcntl.LOCK_EX, 1, byte)
    end = time.monotonic() + seconds
    while time.monotonic() < end and not (stop and os.path.exists(stop)):
        time.sleep(0.02)
    fcntl.lockf(LOCK, fcntl.LOCK_UN, 1, byte)


def main():
    way, seconds = sys.argv[1], float(sys.argv[2])
    if way in ("hold", "settle"):
        hold(WRITE_BYTE if way == "hold" else SETTLE_BYTE, seconds, sys.argv[3] if len(sys.argv) > 3 else None)
        return
    make = {"bytes": fill_with_bytes, "empty": make_empty, "huge": make_huge, "lies": tell_lies}[way]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        make()
        time.sleep(0.003)


main()
