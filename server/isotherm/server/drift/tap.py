"""The worker's side: rows of the batches that have run, copied into the ring."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

from numpy.typing import NDArray

from isotherm.server.drift import watched
from isotherm.server.drift.reference import Reference
from isotherm.server.drift.ring import MAX_NUMBERS, MAX_ROWS, Ring, Writer
from isotherm.server.loader import Model

Array = NDArray[Any]

# Up to so many rows a batch is copied whole or not at all: most then cost next to nothing.
_WHOLE_ROWS: Final = 64


class Tap:
    """Copies rows of one model; called with the inputs and outputs of each batch, on one thread."""

    def __init__(
        self, writer: Writer, number: int, reference: Reference, output: int, columns: list[int]
    ) -> None:
        """`output` is the prediction's place among the outputs, `columns` what to take of it."""
        self.number = number
        self._writer = writer
        self._output = output
        self._features = reference.features
        self._predictions = len(columns)
        first = columns == list(range(len(columns)))
        self._columns: slice | list[int] = slice(len(columns)) if first else columns
        # What the reader must know before it sees the first row.
        self._unsaid: bytes | None = reference.to_json().encode()
        writer.open(number)
        self._counts, self._seen, self._stride = writer.counts(number)

    def __call__(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """Copy a batch, or an even share of its rows; the arrays may be overwritten afterwards.

        Where more rows come than the reader looks at, each has the same chance, whatever its place
        in its batch and its batch's place among the others.
        """
        features = inputs[0]
        rows = len(features)
        counts = self._counts
        counts[self._seen] += rows
        stride = counts[self._stride]
        first = int(random.random() * stride) if stride > 1 else 0
        if rows <= _WHOLE_ROWS:
            if first or not rows:
                return
            predictions = outputs[self._output]
        else:
            if rows > MAX_ROWS * stride:
                stride = -(-rows // MAX_ROWS)
                first = int(random.random() * stride)
            features = features[first::stride]
            predictions = outputs[self._output][first::stride]
            if not len(features):
                return
        if self._unsaid is not None and not self._say(self._unsaid):
            return
        if features.shape[1] != self._features:
            features = features[:, : self._features]
        if predictions.shape[1] != self._predictions:
            predictions = predictions[:, self._columns]
        self._writer.rows(self.number, features, predictions)

    def refused(self, features: Array) -> None:
        """Copy rows that the model refused, of shape (rows, features), or an even share of them."""
        self._counts[self._seen] += len(features)
        stride = max(self._counts[self._stride], -(-len(features) // MAX_ROWS))
        wanted = features[int(random.random() * stride) :: stride, : self._features]
        if len(wanted) and (self._unsaid is None or self._say(self._unsaid)):
            self._writer.rows(self.number, wanted, wanted[:, :0], refused=True)

    def _say(self, text: bytes) -> bool:
        if not self._writer.text(self.number, text):
            return False
        self._unsaid = None
        return True


class Taps:
    """The taps of one worker, and the numbers by which their models go in its ring."""

    def __init__(self, ring: Ring) -> None:
        self._writer = Writer(ring)
        self._free = list(range(MAX_NUMBERS - 1, -1, -1))

    @classmethod
    def inherited(cls, fds: Sequence[int]) -> Taps | None:
        """Return the taps into an inherited ring; None where there is none: nothing is watched."""
        return cls(Ring(fds[0])) if fds else None

    def open(self, model: Model) -> Tap | None:
        """Return a version's tap; None without a contract to compare with, or a free number."""
        contract = model.contract
        if contract is None or not self._free:
            return None
        outputs = [spec.name for spec in model.session.outputs]
        return Tap(
            self._writer,
            self._free.pop(),
            watched.reference(model.name, model.version, contract),
            outputs.index(contract.tensors.prediction),
            watched.prediction_columns(contract),
        )

    def close(self, tap: Tap) -> None:
        """Let another model have the tap's number; the tap is called no more."""
        self._free.append(tap.number)
