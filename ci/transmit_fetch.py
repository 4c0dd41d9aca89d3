"""Asks the example file_server for its file, and compares every byte of the answer: head, file, tail, end.

usage: transmit_fetch.py HOST PORT FILE

Prints one line of figures, and exits with 1 if anything differs. Both sides go through a digest, so that neither has to
be held.
"""

import hashlib
import os
import socket
import sys
import time

CHUNK = 1 << 20


def digest(pieces):
    sha, size = hashlib.sha256(), 0
    for piece in pieces:
        sha.update(piece)
        size += len(piece)
    return sha.hexdigest(), size


def expected(path):
    size = os.path.getsize(path)
    yield b"FILE %d\n" % size
    with open(path, "rb") as file:
        while piece := file.read(CHUNK):
            yield piece
    yield b"\nEND %d\n" % size


def answer(host, port):
    with socket.create_connection((host, port), timeout=60) as server:
        server.sendall(b"please\n")
        while piece := server.recv(CHUNK):
            yield piece


def main():
    host, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    started = time.monotonic()
    got = digest(answer(host, port))
    seconds = time.monotonic() - started
    wanted = digest(expected(path))
    verdict = "ok" if got == wanted else "FAILED"
    print(f"bytes={got[1]} wanted={wanted[1]} sha256={got[0]} seconds={seconds:.2f} {verdict}")
    return 0 if got == wanted else 1


if __name__ == "__main__":
    sys.exit(main())
