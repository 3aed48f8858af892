"""gRPC, imported in one place: its core reads its settings when it is imported first.

By default core reads a connection on a thread that waits, parses on another, and wakes the
caller's: four switches a call. With its experiment `event_engine_client` off, whoever waits for the
answer reads it, with one. docs/decisions/0007 has the measurements. The setting holds for all of
gRPC in this process, and for no process that it starts. Where gRPC has been imported before, it
stays as it is; where the environment names the experiment, the environment decides.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Final

# The grpcio minors that the tests have run on with the experiment off.
TESTED_GRPCIO: Final = ((1, 71), (1, 85))

_VARIABLE: Final = "GRPC_EXPERIMENTS"
_EXPERIMENT: Final = "event_engine_client"


def _tested() -> bool:
    major, minor = (int(part) for part in version("grpcio").split(".")[:2])
    oldest, newest = TESTED_GRPCIO
    return oldest <= (major, minor) <= newest


@contextmanager
def _reading_where_waited() -> Iterator[None]:
    chosen = os.environ.get(_VARIABLE)
    if "grpc" in sys.modules or _EXPERIMENT in (chosen or "") or not _tested():
        yield
        return
    os.environ[_VARIABLE] = ",".join(filter(None, (chosen, f"-{_EXPERIMENT}")))
    try:
        yield
    finally:
        if chosen is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = chosen


with _reading_where_waited():
    import grpc
    import grpc.aio

__all__ = ["TESTED_GRPCIO", "grpc"]
