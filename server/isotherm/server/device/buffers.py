"""Device memory bound to one session for good: where its batches lie while they run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from isotherm.server.device.device import ALIGNMENT_BYTES, Array, Device, Octets
from isotherm.server.session import Binding, RunOptions, Session

_MAX_BINDINGS: Final = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tensor:
    name: str
    row: Array
    address: int


class DeviceBuffers:
    """Inputs and outputs of batches of up to `max_rows`, in one piece of device memory."""

    def __init__(self, device: Device, stream: int, session: Session, max_rows: int) -> None:
        """Allocate for `max_rows`; raise MemoryError when the device has no room."""
        inputs, outputs = session.rows()
        self.max_rows = max_rows
        rows = [*inputs.values(), *outputs.values()]
        self.size_bytes = _offsets(rows, max_rows)[-1]
        self._device = device
        self._stream = stream
        self._session = session
        self._address = device.allocate(self.size_bytes)
        addresses = [self._address + offset for offset in _offsets(rows, max_rows)]
        tensors = [
            _Tensor(name=name, row=row, address=address)
            for (name, row), address in zip(
                [*inputs.items(), *outputs.items()], addresses, strict=False
            )
        ]
        self._inputs = tensors[: len(inputs)]
        self._outputs = tensors[len(inputs) :]
        self._bindings: dict[int, Binding] = {}
        # Each bucket's graph has an id of its own: under another's, that one would be replayed,
        # which nobody would notice.
        self._graphs: dict[int, tuple[Binding, RunOptions]] = {}
        self._eagerly = session.bound_options()
        # Rows from here on are zeros in the inputs.
        self._used_rows = 0
        try:
            # New memory holds anything.
            for tensor in self._inputs:
                device.zero(tensor.address, max_rows * tensor.row.nbytes, stream)
        except BaseException:
            self.close()
            raise

    def lent_bytes(self, rows: int) -> int:
        """Return how much host memory so many rows need, in and out."""
        return _offsets([one.row for one in (*self._inputs, *self._outputs)], rows)[-1]

    def views(self, memory: Octets, rows: int) -> tuple[list[Array], list[Array]]:
        """Return the inputs and outputs of so many rows in host memory of `lent_bytes`."""
        tensors = (*self._inputs, *self._outputs)
        offsets = _offsets([one.row for one in tensors], rows)
        arrays: list[Array] = [
            np.ndarray((rows, *one.row.shape), one.row.dtype, memory.data, offset)
            for one, offset in zip(tensors, offsets, strict=False)
        ]
        return arrays[: len(self._inputs)], arrays[len(self._inputs) :]

    def send(self, inputs: Sequence[Array], bucket: int = 0) -> None:
        """Copy the rows in, and zeros up to the `bucket` where there were others before."""
        device, stream = self._device, self._stream
        rows = len(inputs[0])
        for tensor, array in zip(self._inputs, inputs, strict=True):
            device.copy_in(tensor.address, array, stream)
        used = self._used_rows
        if used <= rows:
            self._used_rows = rows
        elif rows < bucket:
            for tensor in self._inputs:
                start = tensor.address + rows * tensor.row.nbytes
                device.zero(start, (used - rows) * tensor.row.nbytes, stream)
            self._used_rows = rows

    def run(self, rows: int) -> None:
        """Run the graph on exactly so many rows of what was sent."""
        binding = self._bindings.get(rows) or self._bind(rows)
        self._session.run_bound(binding, self._eagerly)

    def replay(self, bucket: int) -> None:
        """Replay the CUDA graph of a bucket; the first call for a bucket captures it."""
        binding, options = self._graphs.get(bucket) or self._graph(bucket)
        self._session.run_bound(binding, options)

    def receive(self, outputs: Sequence[Array]) -> None:
        """Copy the answers out, and wait until they are there."""
        for tensor, array in zip(self._outputs, outputs, strict=True):
            self._device.copy_out(array, tensor.address, self._stream)
        self._device.wait(self._stream)

    def close(self) -> None:
        """Let go of the session, which can then be closed, and free the memory; nothing may run."""
        self._bindings.clear()
        self._graphs.clear()
        self._device.free(self._address)

    def _graph(self, bucket: int) -> tuple[Binding, RunOptions]:
        graph_id = len(self._graphs) + 1
        graph = self._binding(bucket), self._session.bound_options(graph_id)
        self._graphs[bucket] = graph
        return graph

    def _bind(self, rows: int) -> Binding:
        if len(self._bindings) >= _MAX_BINDINGS:
            self._bindings.clear()
        binding = self._bindings[rows] = self._binding(rows)
        return binding

    def _binding(self, rows: int) -> Binding:
        binding = self._session.binding()
        kind, number = self._device.kind, self._device.number
        for bind, tensors in (
            (binding.bind_input, self._inputs),
            (binding.bind_output, self._outputs),
        ):
            for one in tensors:
                shape = (rows, *one.row.shape)
                bind(one.name, kind, number, one.row.dtype.type, shape, one.address)
        return binding


def _offsets(rows: Sequence[Array], count: int) -> list[int]:
    """Return where each tensor of `count` rows begins in memory for all, and where it ends."""
    offsets = [0]
    for row in rows:
        size = count * row.nbytes
        offsets.append(offsets[-1] + -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES)
    return offsets
