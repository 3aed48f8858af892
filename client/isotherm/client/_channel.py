"""The channel's settings: message sizes, reconnecting, the retry policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import grpc

from isotherm.client._errors import InvalidInputError
from isotherm.client._methods import SERVICE
from isotherm.client._retry import Retry
from isotherm.client._security import Tls

_UNLIMITED: Final = -1
# What people paste from a browser; gRPC would look it up as a host name.
_FOREIGN_SCHEMES: Final = ("http://", "https://", "grpc://", "grpcs://")


def secure(tls: bool | Tls) -> Tls | None:
    """Return how TLS is to be spoken; None where it is not."""
    if isinstance(tls, Tls):
        return tls
    return Tls() if tls else None


def connect(
    target: str, settings: Sequence[tuple[str, int | str]], tls: Tls | None
) -> grpc.Channel:
    """Open a blocking channel."""
    if tls is None:
        return grpc.insecure_channel(target, settings)
    return grpc.secure_channel(target, tls.credentials(), settings)


def options(retry: Retry, tls: Tls | None = None) -> list[tuple[str, int | str]]:
    """Return the options for a channel and its asyncio twin."""
    return [
        *(tls.options() if tls is not None else ()),
        ("grpc.max_receive_message_length", _UNLIMITED),
        ("grpc.max_send_message_length", _UNLIMITED),
        # A restarted server is found within half a second; by default gRPC waits up to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 500),
        ("grpc.service_config", retry.service_config(SERVICE)),
    ]


def check_target(target: str) -> str:
    """Return `target`; refuse one that gRPC would misunderstand."""
    if not target or target.startswith(_FOREIGN_SCHEMES):
        msg = f"target is '{target}', expected HOST:PORT such as 127.0.0.1:8001"
        raise InvalidInputError(msg)
    return target
