"""The gRPC port: one that nobody else has, held for workers that share it."""

from __future__ import annotations

import socket

from isotherm.server.errors import PortError


def reserve_port(host: str, port: int) -> tuple[socket.socket, str]:
    """Hold a port for the workers, who bind it with SO_REUSEPORT; return (holder, "address:port").

    Shared ports cannot tell a stranger from a brother: a second server would silently take half of
    the first one's calls. So the port is first bound exclusively, which fails when anyone has it.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
            address = probe.getsockname()
        holder = socket.socket(family, socket.SOCK_STREAM)
        try:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind(address)
        except OSError:
            holder.close()
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        msg = f"cannot bind the gRPC port {host}:{port}: {reason}; choose another (--grpc-port)"
        raise PortError(msg) from error
    shown = f"[{address[0]}]" if family == socket.AF_INET6 else address[0]
    return holder, f"{shown}:{address[1]}"
