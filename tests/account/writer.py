#!/usr/bin/python3
"""Writes the numbered lines of line.h with Python: writer.py WAY LOG WRITER COUNT [RATE]"""

import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import time

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-" * 6
SHARES = 3


def make_line(writer, number):
    length = 20 + (37 * number + 11 * writer) % 281
    offset = (7 * number + 13 * writer) % 64
    checksum = (7919 * number + 10473 * writer + 31 * length + offset) % 65521
    return f"w={writer} n={number} len={length} {LETTERS[offset:offset + length]} sum={checksum}"


def write_lines(put, writer, count, rate):
    for number in range(1, count + 1):
        put(make_line(writer, number))
        if rate and number % 16 == 0:
            time.sleep(16 / rate)


def make_logger(log):
    handler = logging.StreamHandler(sys.stdout) if log == "-" else logging.FileHandler(log)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("writer")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    return logger


def open_log(log, buffering=-1):
    return sys.stdout if log == "-" else open(log, "a", buffering)


def write_logging(log, *lines):
    write_lines(make_logger(log).info, *lines)


def write_print(log, *lines):
    with open_log(log) as output:
        write_lines(lambda line: print(line, file=output), *lines)


def write_linewise(log, *lines):
    with open_log(log, 1) as output:
        write_lines(lambda line: output.write(line + "\n"), *lines)


def write_os_write(log, *lines):
    fd = 1 if log == "-" else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    write_lines(lambda line: os.write(fd, line.encode() + b"\n"), *lines)
    os.close(fd)


def write_open_each(log, *lines):
    """Opens and closes the log for each line."""

    def put(line):
        with open(log, "a") as output:
            output.write(line + "\n")

    write_lines(put, *lines)


def write_threads(log, writer, count, rate):
    """Threads on one handler."""
    logger = make_logger(log)
    threads = [threading.Thread(target=write_lines, args=(logger.info, writer + share, count, rate))
               for share in range(SHARES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def write_multiprocessing(log, writer, count, rate):
    """Forked children on one handler that was opened before the fork."""
    logger = make_logger(log)
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=write_lines, args=(logger.info, writer + share, count, rate))
                for share in range(SHARES)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        if child.exitcode != 0:
            sys.exit(f"a child failed: {child.exitcode}")


def write_subprocess(log, writer, count, rate):
    """Children by vfork and exec, each with lines of writer WRITER+1 on the descriptor that it inherits."""
    lines_of_a_child = 10
    with open_log(log) as output:
        number = 1
        for first in range(1, count + 1, lines_of_a_child):
            last = min(first + lines_of_a_child - 1, count)
            for number in range(first, last + 1):
                output.write(make_line(writer, number) + "\n")
            output.flush()
            lines = [make_line(writer + 1, number) for number in range(first, last + 1)]
            subprocess.run(["printf", "%s\\n", *lines], stdout=output, check=True)
            if rate:
                time.sleep(2 * lines_of_a_child / rate)


def main():
    way, log, writer, count, *rate = sys.argv[1:]
    globals()["write_" + way](log, int(writer), int(count), int(rate[0]) if rate else 0)


if __name__ == "__main__":
    main()
