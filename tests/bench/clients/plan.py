"""What is compared with what, and what is to be reached."""

from __future__ import annotations

from typing import Final, TypeAlias

from tests.bench.clients.callers import MOST_CALLERS, Seen
from tests.bench.clients.calls import MODEL
from tests.bench.clients.process import Kind

# By client and callers: what each round showed.
Rows: TypeAlias = dict[tuple[str, int], list[Seen]]
# By model, rows a batch and sender: rows/s of each round.
Rates: TypeAlias = dict[tuple[str, int, str], list[float]]
# By client and rows a batch, in MB.
Growths: TypeAlias = dict[tuple[str, int], float]

THEIR_AIO: Final = "`tritonclient.grpc.aio`"
THEIR_SYNC: Final = "`tritonclient.grpc`"
OUR_AIO: Final = "`AsyncClient`"
OUR_SYNC: Final = "`Client`"

# What the guide tells of; both libraries gain by it.
VARIABLES: Final = {"GRPC_EXPERIMENTS": "-event_engine_client"}
THEIR_SYNC_SET: Final = f"{THEIR_SYNC}, the variable set"
OUR_SYNC_SET: Final = f"{OUR_SYNC}, the variable set"

CLIENTS: Final = {
    THEIR_AIO: Kind("tritonclient", "aio"),
    OUR_AIO: Kind("isotherm", "aio"),
    "`AsyncClient(coalesce=False)`": Kind("isotherm", "aio", {"coalesce": False}),
    THEIR_SYNC: Kind("tritonclient", "sync"),
    OUR_SYNC: Kind("isotherm", "sync"),
    "`Client(coalesce=False)`": Kind("isotherm", "sync", {"coalesce": False}),
    THEIR_SYNC_SET: Kind("tritonclient", "sync", variables=VARIABLES),
    OUR_SYNC_SET: Kind("isotherm", "sync", variables=VARIABLES),
}
# Whom each client is measured against: with its defaults, always.
PEERS: Final = {
    name: THEIR_AIO if kind.shell == "aio" else THEIR_SYNC for name, kind in CLIENTS.items()
}
MANY: Final = MOST_CALLERS
# By number of callers. The variable is for single calls that block.
CALLED: Final = {
    MANY: tuple(name for name, kind in CLIENTS.items() if not kind.variables),
    1: tuple(CLIENTS),
}
# Of the peer's: predictions/s at least, p50 at most.
FASTER: Final = {(OUR_AIO, MANY): 10.0, (OUR_SYNC, MANY): 5.0}
SOONER: Final = {(OUR_SYNC, 1): 0.8}

WIDE: Final = "wide"
WIDE_WIDTHS: Final = (32, 64, 1)
FEATURES: Final = {MODEL: 1, WIDE: WIDE_WIDTHS[0]}
STREAMED: Final = {WIDE: "-".join(map(str, WIDE_WIDTHS)), MODEL: "y = 2 x, one feature"}
BATCHES: Final = (1024, 4096, 16384)
STREAMERS: Final = {name: CLIENTS[name] for name in (OUR_SYNC, OUR_AIO)}
# Of the rows/s that the server gives to h2load.
STREAM_SHARE: Final = 0.9
# Of the time that what every such client needs takes.
IMPORT_SHARE: Final = 1.15
