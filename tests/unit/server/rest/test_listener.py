"""A listening socket that takes nobody new, on the real kernel."""

from __future__ import annotations

import socket

import pytest

from isotherm.server.rest.listener import hush


def test_who_has_come_is_accepted_and_nobody_new_gets_in():
    """And those who are in go on; at the end of all the port is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        listener.settimeout(5)
        with socket.create_connection(address) as early:
            hush(listener)
            with pytest.raises(TimeoutError):
                socket.create_connection(address, timeout=0.2)
            accepted, _ = listener.accept()
            with accepted:
                early.sendall(b"question")
                heard = accepted.recv(16)
                accepted.sendall(b"answer")
                answer = early.recv(16)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)

    assert (heard, answer) == (b"question", b"answer")
