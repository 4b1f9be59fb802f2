"""Names for guests and their containers: those of the bench, and nothing else."""

import socket
import struct
import threading

from .guest import SERVICES

A, ANY = 1, 255


def answer(query, known):
    """Returns the answer to a query: our address for a known name, no such name for all others."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace"))
        at += 1 + query[at]
    question = query[12 : at + 5]
    kind = struct.unpack(">H", query[at + 1 : at + 3])[0]
    found = known(".".join(labels).lower())
    records = b""
    if found and kind in (A, ANY):
        records = b"\xc0\x0c" + struct.pack(">HHIH", A, 1, 5, 4) + socket.inet_aton(SERVICES)
    flags = 0x8580 | (0 if found else 3)
    return query[:2] + struct.pack(">HHHHH", flags, 1, 1 if records else 0, 0, 0) + question + records


def serve(known):
    """Answers from now on; `known(name)` says whether a name is ours."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((SERVICES, 53))

    def loop():
        while True:
            query, client = server.recvfrom(4096)
            try:
                server.sendto(answer(query, known), client)
            except (IndexError, struct.error, OSError):
                pass

    threading.Thread(target=loop, daemon=True).start()
