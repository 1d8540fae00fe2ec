#!/usr/bin/python3
"""A writer of scripts/bench-peers with Python's logging: peer_python.py HANDLER LOG TOLD WRITER LINES LENGTH

HANDLER is `file` (logging.FileHandler), `rotating` (RotatingFileHandler), `larger` (the same, for files of twice the
size, which somebody else's rotation keeps it from reaching) or `concurrent` (concurrent-log-handler's).
Lines, slots and the start together are those of peer.h.
"""

import logging
import logging.handlers
import mmap
import resource
import struct
import sys
import time

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-" * 300
ROTATE_AT = 10 << 20
BACKUPS = 1000
SLOT_SIZE = 64
READY, TOLD, BEGIN, END, CPU = range(5)


class Slot:
    def __init__(self, path, writer):
        self.at = (writer - 1) * SLOT_SIZE
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)

    def set(self, field, value):
        struct.pack_into("=q", self.map, self.at + 8 * field, value)


def make_line(writer, number, length):
    offset = (7 * number + 13 * writer) % 64
    checksum = (7919 * number + 10473 * writer + 31 * length + offset) % 65521
    return f"w={writer} n={number} len={length} {LETTERS[offset:offset + length]} sum={checksum}"


def make_handler(name, log):
    if name == "file":
        return logging.FileHandler(log)
    if name in ("rotating", "larger"):
        size = ROTATE_AT * (2 if name == "larger" else 1)
        return logging.handlers.RotatingFileHandler(log, maxBytes=size, backupCount=BACKUPS)
    from concurrent_log_handler import ConcurrentRotatingFileHandler
    return ConcurrentRotatingFileHandler(log, maxBytes=ROTATE_AT, backupCount=BACKUPS)


def cpu_now():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return int((usage.ru_utime + usage.ru_stime) * 1e9)


def main():
    handler, log, told = sys.argv[1:4]
    writer, lines, length = map(int, sys.argv[4:])
    slot = Slot(told, writer)
    logger = logging.getLogger("log")
    logger.addHandler(make_handler(handler, log))
    logger.setLevel(logging.INFO)
    slot.set(READY, 1)
    sys.stdin.read()
    cpu = cpu_now()
    slot.set(BEGIN, time.monotonic_ns())
    for number in range(1, lines + 1):
        logger.info(make_line(writer, number, length))
        slot.set(TOLD, number)
    logging.shutdown()
    slot.set(END, time.monotonic_ns())
    slot.set(CPU, cpu_now() - cpu)


if __name__ == "__main__":
    main()
