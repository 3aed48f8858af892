"""Which transport carries the calls: the fast one where it is known to work, or the portable."""

from __future__ import annotations

import logging
from typing import Literal

import grpc

from isotherm.server.transport.aio import AioTransport
from isotherm.server.transport.call import Observer, Transport, TransportConfig
from isotherm.server.transport.experiments import TESTED_GRPCIO, tested

_log = logging.getLogger(__name__)


def choose_transport(
    name: Literal["auto", "core", "aio"],
    observe: Observer,
    config: TransportConfig,
) -> tuple[str, Transport]:
    """Build the transport asked for, and return its name beside it.

    `auto` takes `core` between the oldest and the newest tested grpcio, if its self-check passes;
    any other grpcio costs one warning and speed, not service.
    """
    if name == "aio":
        return "aio", AioTransport(observe, config)
    if name == "auto" and not tested(grpc.__version__):
        _log.warning(
            "transport core is untested on grpcio %s (tested: %s to %s): taking aio, which is "
            "slower; --transport core insists",
            grpc.__version__,
            *(".".join(map(str, minor)) for minor in TESTED_GRPCIO),
        )
        return "aio", AioTransport(observe, config)
    try:
        from isotherm.server.transport.core import CoreTransport

        return "core", CoreTransport(observe, config)
    except (AttributeError, ImportError, OSError, RuntimeError, TypeError) as error:
        if name == "core":
            raise
        _log.warning(
            "transport core does not work on grpcio %s (%s): taking aio, which is slower",
            grpc.__version__,
            error,
        )
        return "aio", AioTransport(observe, config)
