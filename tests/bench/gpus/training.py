"""The trainer on the device: rows/s with its step recorded as a graph, and eager."""

from __future__ import annotations

import importlib
from typing import Any, Final

from tests.bench.gpus.figures import Trained

# Small ones are bound by launches: there a recorded step pays most.
SHAPES: Final = (((1, 13, 1), 1024), ((64, 256, 256, 8), 4096), ((256, 1024, 1024, 32), 4096))


def measured() -> list[Trained]:
    """Return the trainer's paces by network and batch."""
    device: Any = importlib.import_module("tests.bench.trainer_device")
    return [
        Trained(
            network="-".join(map(str, pace.widths)),
            batch=pace.batch,
            eager=pace.eager,
            recorded=pace.recorded,
            note=pace.note,
        )
        for pace in device.paces(SHAPES, "cuda", more=8)
    ]
