"""On the path of a server that is measured without its metrics: nothing of a request is counted.

There is no such setting, since nobody should want it; here it shows what the counters cost.
"""

from __future__ import annotations

from isotherm.server import counters, model_counters


def _nothing(*_values: object) -> None:
    pass


for _owner, *_names in (
    (counters.RpcRecorder, "__call__"),
    (model_counters.ModelCounters, "queue", "closed_batch"),
    (model_counters.ModelCounters, "executed", "executed_in", "answered", "answered_in"),
):
    for _name in _names:
        setattr(_owner, _name, _nothing)
