"""What the scrape says of each worker process, and of the calls that they have ended."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from prometheus_client.metrics_core import Metric

from isotherm.server.counters import OTHER_RPC, Block
from isotherm.server.families import calls, workers
from isotherm.server.model_metrics import CODE_NAMES
from isotherm.server.rpcs import STREAMING_RPCS

_GO_SPELLING: Final = {"OK": "OK", "CANCELLED": "Canceled"}


def families(blocks: Sequence[Block], restarts: Sequence[int]) -> Iterator[Metric]:
    """Yield the workers' families of one scrape; `restarts` has an entry a block."""
    up = workers.UP.collect()
    age = workers.HEARTBEAT_AGE.collect()
    lag = workers.LOOP_LAG.collect()
    cpu = workers.CPU.collect()
    memory = workers.MEMORY.collect()
    restarted = workers.RESTARTS.collect()
    for slot, (block, times) in enumerate(zip(blocks, restarts, strict=True)):
        worker = [str(slot)]
        up.add_metric(worker, block.serving)
        restarted.add_metric(worker, times)
        if block.serving:
            age.add_metric(worker, block.heartbeat_age_s())
            lag.add_metric(worker, block.loop_lag_s)
        usage = _process_usage(block.pid)
        if usage is not None:
            cpu.add_metric(worker, usage[0])
            memory.add_metric(worker, usage[1])
    yield from (up, age, lag, cpu, memory, restarted)
    yield _handled(blocks)


def _handled(blocks: Sequence[Block]) -> Metric:
    handled = calls.HANDLED.collect()
    counts = np.sum([block.rpc_counts() for block in blocks], axis=0)
    for path, row in zip(blocks[0].rpcs, counts, strict=True):
        if path == OTHER_RPC:
            labels = ["unary", OTHER_RPC, OTHER_RPC]
        else:
            _, service, method = path.split("/")
            labels = ["bidi_stream" if path in STREAMING_RPCS else "unary", service, method]
        for code, count in enumerate(row.tolist()):
            if count or code == 0:
                handled.add_metric([*labels, _camel_case(CODE_NAMES[code])], count)
    return handled


def _camel_case(code: str) -> str:
    # As Go's gRPC writes them, whose metric this is.
    if code in _GO_SPELLING:
        return _GO_SPELLING[code]
    return "".join(word.capitalize() for word in code.split("_"))


def _process_usage(pid: int) -> tuple[float, int] | None:
    """Return (CPU seconds, resident bytes) of a process; None where that cannot be known."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            # The name in parentheses may hold blanks; what follows it has fixed places.
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
