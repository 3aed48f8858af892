"""The proxy itself, between plain sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from tests.support.proxy import Proxy, proxied
from tests.support.relay import HOST, Way
from tests.support.server import eventually

DELAY_S = 0.2
# Long enough for what would come to have come.
SILENCE_S = 0.1


class Listener:
    """A server's end: what is accepted here came through the proxy."""

    def __init__(self) -> None:
        self.socket = socket.create_server((HOST, 0))
        self.socket.settimeout(5)

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self.socket.getsockname()[1]
        return port

    def accept(self) -> socket.socket:
        """Return the next connection."""
        connection, _ = self.socket.accept()
        connection.settimeout(5)
        return connection


@pytest.fixture(name="listener")
def _listener() -> Iterator[Listener]:
    listener = Listener()
    with listener.socket:
        yield listener


@pytest.fixture(name="proxy")
def _proxy(listener: Listener) -> Iterator[Proxy]:
    with proxied(listener.port) as proxy:
        yield proxy


def connected(proxy: Proxy) -> socket.socket:
    """Connect to the proxy as a caller does."""
    return socket.create_connection((HOST, proxy.port), 5)


def silent(connection: socket.socket) -> bool:
    """Tell whether nothing comes, not even the end."""
    connection.settimeout(SILENCE_S)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(5)
    return False


@pytest.fixture(name="pair")
def _pair(proxy: Proxy, listener: Listener) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection through the proxy: the caller's end, and the server's."""
    with connected(proxy) as caller, listener.accept() as server:
        yield caller, server


def test_bytes_go_both_ways_and_are_counted(proxy, pair):
    """What goes in comes out."""
    caller, server = pair
    caller.sendall(b"question")
    assert server.recv(100) == b"question"
    server.sendall(b"yes")
    assert caller.recv(100) == b"yes"

    assert (proxy.accepted, proxy.connections) == (1, 1)
    assert proxy.passed[Way.REQUESTS] == 8
    assert proxy.passed[Way.ANSWERS] == 3


def test_much_more_than_a_buffer_holds_arrives_whole(pair):
    """The slower side sets the pace."""
    caller, server = pair
    sent = bytes(range(256)) * 100_000
    caller.setblocking(False)
    received = bytearray()
    begun = 0
    while len(received) < len(sent):
        with suppress(BlockingIOError):
            begun += caller.send(sent[begun : begun + 1_000_000]) if begun < len(sent) else 0
        received += server.recv(1_000_000)

    assert received == sent


def test_an_end_is_passed_on_and_leaves_the_other_way_open(proxy, pair):
    """Half-closed as TCP has it; closed on both sides, it is forgotten."""
    caller, server = pair
    caller.shutdown(socket.SHUT_WR)
    assert server.recv(100) == b""
    server.sendall(b"late")
    assert caller.recv(100) == b"late"
    server.close()
    assert caller.recv(100) == b""

    assert eventually(lambda: proxy.connections == 0)


def test_chunks_are_late_and_in_order(proxy, pair):
    """Each by as much: they do not wait for each other."""
    caller, server = pair
    proxy.delay(DELAY_S)
    begin = time.monotonic()
    for text in (b"a", b"b", b"c"):
        caller.sendall(text)
    received = b""
    while len(received) < 3:
        received += server.recv(100)
    took_s = time.monotonic() - begin

    assert received == b"abc"
    assert took_s >= DELAY_S


def test_healing_lets_go_what_was_delayed(proxy, pair):
    """At once."""
    caller, server = pair
    proxy.delay(60)
    caller.sendall(b"late")
    assert silent(server)
    proxy.heal()

    assert server.recv(100) == b"late"


def test_a_reset_reaches_both_ends(proxy, pair):
    """As a reset, not as an end; the next connection works."""
    caller, server = pair
    number = proxy.reset()
    for end in (caller, server):
        with pytest.raises(ConnectionResetError):
            end.recv(1)

    assert number == 1
    assert proxy.connections == 0


def test_a_servers_reset_is_passed_on(proxy, pair):
    """And so is that of a server which is not there."""
    caller, server = pair
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    server.close()
    with pytest.raises(ConnectionResetError):
        caller.recv(1)
    proxy.target = 1
    with pytest.raises(ConnectionResetError), connected(proxy) as other:
        other.recv(1)


def test_what_is_held_is_not_lost(proxy, pair):
    """Bytes and ends wait for the network to come back."""
    caller, server = pair
    proxy.hold()
    caller.sendall(b"question")
    assert silent(server)
    server.sendall(b"answer")
    server.shutdown(socket.SHUT_WR)
    assert silent(caller)
    proxy.heal()

    assert server.recv(100) == b"question"
    assert caller.recv(100) == b"answer"
    assert caller.recv(100) == b""


@pytest.mark.parametrize("way", [Way.REQUESTS, Way.ANSWERS])
def test_one_way_may_be_lost_alone(proxy, pair, way):
    """The other one goes on."""
    caller, server = pair
    proxy.swallow(way)
    caller.sendall(b"question")
    server.sendall(b"answer")
    lost, kept = (server, caller) if way is Way.REQUESTS else (caller, server)
    kept_bytes = kept.recv(100)

    assert kept_bytes == (b"answer" if kept is caller else b"question")
    assert silent(lost)


def test_what_lost_bytes_is_reset_when_more_come(proxy, pair):
    """The peer no longer knows the connection."""
    caller, server = pair
    proxy.swallow()
    caller.sendall(b"question")
    server.close()
    assert eventually(lambda: proxy.swallowed[Way.REQUESTS] == 8)
    assert silent(caller)
    proxy.heal()
    assert silent(caller)
    caller.sendall(b"question")

    with pytest.raises(ConnectionResetError):
        caller.recv(1)


def test_what_lost_bytes_may_stay_silent_forever(proxy, listener, pair):
    """New connections work beside it."""
    caller, _ = pair
    proxy.swallow()
    caller.sendall(b"question")
    assert eventually(lambda: proxy.swallowed[Way.REQUESTS] == 8)
    proxy.heal(silent=True)
    caller.sendall(b"question")
    assert silent(caller)
    with connected(proxy) as other, listener.accept() as server:
        other.sendall(b"other")
        received = server.recv(100)

    assert received == b"other"


def test_a_half_open_proxy_takes_new_connections_in_silence(proxy, listener):
    """They are accepted and lead nowhere, also once it is healed; those after it work."""
    proxy.swallow()
    with connected(proxy) as caller:
        caller.sendall(b"question")
        assert eventually(lambda: proxy.swallowed[Way.REQUESTS] == 8)
        assert silent(caller)
        proxy.heal()
        caller.sendall(b"question")
        with pytest.raises(ConnectionResetError):
            caller.recv(1)
    with connected(proxy) as caller, listener.accept() as server:
        caller.sendall(b"question")
        received = server.recv(100)

    assert received == b"question"
    assert proxy.accepted == 2


def test_a_half_open_proxy_may_refuse_new_connections(proxy, pair):
    """Those that are open stay, in silence."""
    caller, _ = pair
    proxy.swallow(refuses=True)
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)
    caller.sendall(b"question")

    assert silent(caller)


def test_a_refusing_proxy_keeps_what_is_open_and_listens_again(proxy, listener, pair):
    """On the same port."""
    caller, server = pair
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)
    caller.sendall(b"old")
    old = server.recv(100)
    proxy.heal()
    with connected(proxy) as other, listener.accept() as server:
        other.sendall(b"new")
        new = server.recv(100)

    assert (old, new) == (b"old", b"new")


def test_the_target_may_move(proxy, pair):
    """New connections go to the new one; open ones stay where they are."""
    caller, server = pair
    second = Listener()
    with closing(second.socket):
        proxy.target = second.port
        with connected(proxy) as other, second.accept() as moved:
            other.sendall(b"new")
            caller.sendall(b"old")
            received = moved.recv(100), server.recv(100)

    assert received == (b"new", b"old")
