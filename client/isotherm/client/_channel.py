"""The channel's settings: message sizes, reconnecting, balancing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import grpc

from isotherm.client._errors import InvalidInputError
from isotherm.client._methods import METHODS
from isotherm.client._security import Tls, tls_options

_UNLIMITED: Final = -1
# What people paste from a browser; gRPC would look it up as a host name.
_FOREIGN_SCHEMES: Final = ("http://", "https://", "grpc://", "grpcs://")
# Names that stand for several servers: HOST:PORT alone is one, and is asked even while it says that
# it is not ready.
_BALANCED_SCHEMES: Final = ("dns:", "ipv4:", "ipv6:")
# Calls go round over all servers that say they are healthy. Where a server has no health service,
# gRPC takes it for healthy.
_BALANCING: Final = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": ""},
    }
)
# Two names a second at most: gRPC's own half a minute is how long a new pod would stay unknown.
_RESOLUTION_PAUSE_MS: Final = 500


def secure(tls: bool | Tls) -> Tls | None:
    """Return how TLS is to be spoken; None where it is not."""
    if isinstance(tls, Tls):
        return tls
    return Tls() if tls else None


def connect(
    target: str,
    settings: Sequence[tuple[str, int | str]],
    credentials: grpc.ChannelCredentials | None,
) -> grpc.Channel:
    """Open a blocking channel."""
    if credentials is None:
        return grpc.insecure_channel(target, settings)
    return grpc.secure_channel(target, credentials, settings)


def stubs(channel: Any) -> Mapping[str, Any]:
    """Return what makes the calls of each method, blocking or asyncio as the channel is."""
    return {
        method.path: channel.unary_unary(method.path, method.serialize, method.parse)
        for method in METHODS
    }


def options(target: str, tls: Tls | None = None) -> list[tuple[str, int | str]]:
    """Return the options for a channel to `target`, blocking or asyncio."""
    balancing = [("grpc.service_config", _BALANCING)] if _is_balanced(target) else []
    return [
        *tls_options(tls),
        ("grpc.max_receive_message_length", _UNLIMITED),
        ("grpc.max_send_message_length", _UNLIMITED),
        # A restarted server is found within half a second; by default gRPC waits up to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 500),
        # How long an attempt to connect may take: three round trips of a slow link. The default is
        # 20 s, long after a network that swallowed everything for a moment is well again.
        ("grpc.min_reconnect_backoff_ms", 1000),
        ("grpc.dns_min_time_between_resolutions_ms", _RESOLUTION_PAUSE_MS),
        # Repeating is the client's: it counts attempts, keeps a budget, and changes connections.
        ("grpc.enable_retries", 0),
        # Channels with equal settings would share one connection.
        ("grpc.use_local_subchannel_pool", 1),
        *balancing,
    ]


def _is_balanced(target: str) -> bool:
    """Tell whether the target's name stands for several servers."""
    return target.startswith(_BALANCED_SCHEMES)


def check_target(target: str) -> str:
    """Return `target`; refuse one that gRPC would misunderstand."""
    if not target or target.startswith(_FOREIGN_SCHEMES):
        msg = f"target is '{target}', expected HOST:PORT such as 127.0.0.1:8001"
        raise InvalidInputError(msg)
    return target
