"""The server's ports: bound so that nobody else has them."""

from __future__ import annotations

import socket
from typing import Any, Final, NoReturn

from isotherm.server.errors import PortError

# Connections that may wait until somebody accepts them.
_BACKLOG: Final = 1024


def reserve_port(host: str, port: int) -> tuple[socket.socket, str]:
    """Hold a port for the workers, who bind it with SO_REUSEPORT; return (holder, "address:port").

    Shared ports cannot tell a stranger from a brother: a second server would silently take half of
    the first one's calls. So the port is first bound exclusively, which fails when anyone has it.
    """
    try:
        with _bind(host, port) as probe:
            probe.listen()
            family, address = probe.family, probe.getsockname()
        holder = socket.socket(family, socket.SOCK_STREAM)
        try:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind(address)
        except OSError:
            holder.close()
            raise
    except OSError as error:
        _refuse("gRPC", f"{host}:{port}", error)
    return holder, shown(family, address)


def open_port(host: str, port: int) -> tuple[socket.socket, str]:
    """Listen on a port for HTTP; return (listener, "address:port")."""
    try:
        listener = _bind(host, port)
        try:
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        _refuse("HTTP", f"{host}:{port}", error)
    return listener, shown(listener.family, listener.getsockname())


def _bind(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _refuse(kind: str, wanted: str, error: OSError) -> NoReturn:
    reason = error.strerror or str(error)
    flag = f"--{kind.lower()}-port"
    msg = f"cannot bind the {kind} port {wanted}: {reason}; choose another ({flag})"
    raise PortError(msg) from error


def shown(family: int, address: Any) -> str:
    """Return the address of a socket as URLs and gRPC write it."""
    host = f"[{address[0]}]" if family == socket.AF_INET6 else address[0]
    return f"{host}:{address[1]}"
