"""A name server: gRPC asks it for the addresses of `dns://HOST:PORT/NAME:PORT`."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

HOST = "127.0.0.1"
NAME = "pods.test"
_HEADER_BYTES = 12
_A, _IN = 1, 1
_ANSWERS_WITH_AUTHORITY = 0x8580
# Shorter than anybody waits before asking again.
_TTL_S = 0
# A pointer to the name in the question, right behind the header.
_SAME_NAME = b"\xc0\x0c"


class NameServer:
    """Answers every question for addresses of version 4 with the same ones.

    Attributes:
        addresses: What it answers.
        silent: Whether it answers nothing.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self.addresses = tuple(addresses)
        self.silent = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, 0))
        self._thread = threading.Thread(target=self._serve, name="names")

    def target(self, port: int) -> str:
        """What a client is to call: the name, its port, and whom to ask for it."""
        return f"dns://{HOST}:{self._socket.getsockname()[1]}/{NAME}:{port}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer nothing any more."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            question, caller = self._socket.recvfrom(4096)
            if not question:
                return
            answer = self._answer(question)
            if not self.silent:
                self._socket.sendto(answer, caller)

    def _answer(self, question: bytes) -> bytes:
        end = question.index(b"\0", _HEADER_BYTES) + 1
        kind, _ = struct.unpack_from("!HH", question, end)
        addresses = self.addresses if kind == _A else ()
        counts = struct.pack("!HHHHH", _ANSWERS_WITH_AUTHORITY, 1, len(addresses), 0, 0)
        records = (
            _SAME_NAME + struct.pack("!HHIH", _A, _IN, _TTL_S, 4) + socket.inet_aton(address)
            for address in addresses
        )
        return question[:2] + counts + question[_HEADER_BYTES : end + 4] + b"".join(records)


@contextmanager
def naming(*addresses: str) -> Iterator[NameServer]:
    """Run a name server until the block ends."""
    server = NameServer(addresses)
    server.start()
    try:
        yield server
    finally:
        server.stop()
