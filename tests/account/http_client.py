#!/usr/bin/python3
"""Sends numbered requests to an HTTP server on a Unix socket:

    http_client.py SOCKET CONNECTIONS FIRST_WRITER COUNT SERVED WORKER_PID...

Each connection stays open and sends requests 1 to COUNT, each when the one before it was answered; the line of line.h
is in its X-Line header, for the server to log. The connections are dealt out to the workers in turn: while one is made,
the other workers are stopped. SERVED is a file to which the workers add a line after they have logged a request: none is
stopped before that, when it may have the log's lock.
"""

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import time

sys.dont_write_bytecode = True

from writer import make_line

PATIENCE = 60  # seconds


def read_answer(stream):
    status = stream.readline()
    if b" 204 " not in status:
        sys.exit(f"not the answer that was expected: {status}")
    while stream.readline() not in (b"\r\n", b""):
        pass


def send_request(connection, stream, writer, number):
    request = f"GET /{writer}/{number} HTTP/1.1\r\nHost: test\r\nX-Line: {make_line(writer, number)}\r\n\r\n"
    connection.sendall(request.encode())
    read_answer(stream)


def wait_until(condition, *arguments):
    deadline = time.monotonic() + PATIENCE
    while not condition(*arguments):
        if time.monotonic() > deadline:
            sys.exit(f"waited in vain for: {condition.__name__} {arguments}")
        time.sleep(0.002)


def is_stopped(pid):
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0] == b"T"


def has_lines(path, count):
    with open(path, "rb") as file:
        return file.read().count(b"\n") >= count


@contextlib.contextmanager
def alone(worker, workers):
    """Until all the others are stopped, the kernel could choose one of them to tell it of a connection."""
    others = [pid for pid in workers if pid != worker]
    try:
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        for pid in others:
            wait_until(is_stopped, pid)
        yield
    finally:
        for pid in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def run_connection(connection, stream, writer, count):
    for number in range(2, count + 1):
        send_request(connection, stream, writer, number)


def main():
    path, connections, first, count, served, *workers = sys.argv[1:]
    first, count, workers = int(first), int(count), [int(pid) for pid in workers]
    children = []
    for i in range(int(connections)):
        connection = socket.socket(socket.AF_UNIX)
        stream = connection.makefile("rb")
        with alone(workers[i % len(workers)], workers):
            connection.connect(path)
            send_request(connection, stream, first + i, 1)
            wait_until(has_lines, served, i + 1)
        children.append(multiprocessing.Process(target=run_connection, args=(connection, stream, first + i, count)))
    for child in children:
        child.start()
    for child in children:
        child.join()
    sys.exit(any(child.exitcode for child in children))


main()
