"""Buffers that are bound to a model for good, so that a small batch costs little beside its run.

An ordinary run turns arrays into the runtime's values and allocates its answers; for one row of a
small network that is half of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from isotherm.server.runtime import ort

Array = NDArray[Any]

# Beyond so many rows, or bytes of a tensor, copying into buffers costs what they save.
MAX_ROWS: Final = 64
MAX_BYTES: Final = 64 << 10


class BoundRun:
    """Inputs and outputs of a batch of one size: a run converts nothing and allocates nothing."""

    def __init__(
        self,
        session: ort.InferenceSession,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
    ) -> None:
        self.inputs = tuple(inputs.values())
        self.outputs = tuple(outputs.values())
        self.size_bytes = sum(array.nbytes for array in self.inputs)
        self._session = session
        self._binding = session.io_binding()
        for bind, arrays in (
            (self._binding.bind_input, inputs),
            (self._binding.bind_output, outputs),
        ):
            for name, array in arrays.items():
                bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)

    def run(self) -> None:
        """Run the graph on what is in `inputs`; the answer is in `outputs` until the next run."""
        self._session.run_with_iobinding(self._binding)


class Buffers:
    """The bound runs of one session, made when their sizes are first seen."""

    def __init__(
        self,
        session: ort.InferenceSession,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
    ) -> None:
        """`inputs` and `outputs` have one row of each tensor, by its name."""
        widest = max(row.nbytes for row in (*inputs.values(), *outputs.values()))
        self._session = session
        self._max_rows = min(MAX_ROWS, MAX_BYTES // max(1, widest))
        self._inputs = {name: _repeated(row, self._max_rows) for name, row in inputs.items()}
        self._outputs = {name: _repeated(row, self._max_rows) for name, row in outputs.items()}
        self._runs: dict[int, BoundRun] = {}

    def of(self, rows: int) -> BoundRun | None:
        """Return the run of so many rows; None when there are too many, or the graph lies."""
        if rows > self._max_rows:
            return None
        return self._runs.get(rows) or self._bind(rows)

    def _bind(self, rows: int) -> BoundRun | None:
        run = BoundRun(
            self._session,
            {name: array[:rows] for name, array in self._inputs.items()},
            {name: array[:rows] for name, array in self._outputs.items()},
        )
        try:
            run.run()
        except Exception:  # noqa: BLE001  the file declares other shapes than it computes
            self._max_rows = 0
            return None
        self._runs[rows] = run
        return run


def _repeated(row: Array, rows: int) -> Array:
    return np.zeros((rows, *row.shape), row.dtype)
