"""Where gRPC's core reads sockets: on the thread that polls, not on threads of its own.

By default core reads on a thread that waits, parses on another, and wakes a third, ours, for every
message. With its experiment `event_engine_listener` off, whoever polls a server's queue reads and
parses as well: no hand-over, a fifth of the latency less. docs/decisions/0006 has the measurements.
The setting is read once, when core is first used, from the environment.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Final

# The grpcio minors that the whole conformance suite has run on with `core`, and the experiment off.
TESTED_GRPCIO: Final = ((1, 71), (1, 85))

_VARIABLE: Final = "GRPC_EXPERIMENTS"
_EXPERIMENT: Final = "event_engine_listener"


def tested(grpcio: str) -> bool:
    """Tell whether a version of grpcio lies within the tested ones."""
    major, minor = (int(part) for part in grpcio.split(".")[:2])
    oldest, newest = TESTED_GRPCIO
    return oldest <= (major, minor) <= newest


def read_where_polled() -> None:
    """Have core read on the polling thread; call before grpc is imported.

    Does nothing on an untested grpcio, nor where the environment already names the experiment.
    """
    chosen = os.environ.get(_VARIABLE, "")
    if _EXPERIMENT in chosen or not tested(version("grpcio")):
        return
    os.environ[_VARIABLE] = ",".join(filter(None, (chosen, f"-{_EXPERIMENT}")))


def reads_where_polled() -> bool:
    """Tell whether core was told to read on the polling thread."""
    return f"-{_EXPERIMENT}" in os.environ.get(_VARIABLE, "").split(",")
