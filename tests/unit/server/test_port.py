"""Reserving the port that the workers share. What the supervisor does with them: integration."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from isotherm.server.errors import PortError
from isotherm.server.port import open_port, reserve_port


@contextlib.contextmanager
def listener(*, shared: bool) -> Iterator[int]:
    """Hold a port that listens; `shared` as gRPC servers do by default."""
    with socket.socket() as stranger:
        if shared:
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        yield stranger.getsockname()[1]


def test_any_free_port_will_do():
    """Port nought becomes a real one, in the address that the workers get."""
    holder, address = reserve_port("127.0.0.1", 0)
    with holder:
        port = holder.getsockname()[1]

    assert port > 0
    assert address == f"127.0.0.1:{port}"


def test_workers_can_share_the_port_and_a_stranger_cannot():
    """The holder never listens, so no call goes to it."""
    holder, address = reserve_port("127.0.0.1", 0)
    port = int(address.rpartition(":")[2])
    with holder, contextlib.ExitStack() as workers:
        for _ in range(2):
            worker = workers.enter_context(socket.socket())
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            worker.bind(("127.0.0.1", port))
            worker.listen()
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", port))


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
def test_a_port_that_anyone_has_is_an_error(shared: bool):
    """Also one that would let itself be shared: its calls are not ours."""
    with listener(shared=shared) as port, pytest.raises(PortError) as error:
        reserve_port("127.0.0.1", port)

    assert str(error.value) == (
        f"cannot bind the gRPC port 127.0.0.1:{port}: Address already in use; "
        "choose another (--grpc-port)"
    )


def test_a_reserved_port_cannot_be_reserved_again():
    """Two servers on one machine need two ports."""
    holder, address = reserve_port("127.0.0.1", 0)
    with holder, pytest.raises(PortError):
        reserve_port("127.0.0.1", int(address.rpartition(":")[2]))


def test_a_name_is_resolved_once():
    """Workers get an address, so they all bind the same one."""
    holder, address = reserve_port("localhost", 0)
    holder.close()

    assert "localhost" not in address


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_a_host_that_is_not_this_machine_is_an_error(host: str):
    """An address of nobody (RFC 5737), and a name of nobody (RFC 2606)."""
    with pytest.raises(PortError, match=f"cannot bind the gRPC port {host}:0: "):
        reserve_port(host, 0)


def test_an_ipv6_address_is_written_in_brackets():
    """As gRPC wants it."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    holder, address = reserve_port("::1", 0)
    with holder:
        assert address == f"[::1]:{holder.getsockname()[1]}"


def test_the_http_port_is_listened_on_at_once():
    """Callers queue in the kernel until the gateway, which gets the socket, accepts them."""
    listening, address = open_port("127.0.0.1", 0)
    with listening, socket.create_connection(listening.getsockname()) as caller:
        accepted, _ = listening.accept()
        with accepted:
            peer = caller.getpeername()

    assert address == "{}:{}".format(*peer)


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
def test_an_http_port_that_anyone_has_is_an_error(shared: bool):
    """The flag is named."""
    with listener(shared=shared) as port, pytest.raises(PortError, match=r"\(--http-port\)"):
        open_port("127.0.0.1", port)
