"""Batches: decoded rows as learners take them, on the device that they learn on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from isotherm.trainer.features import EncodedModel
from isotherm.trainer.stream.frame import Frame
from isotherm.trainer.stream.reading import Values


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HeldOut:
    """The rows that models are measured by.

    Attributes:
        x: encoded, shape (rows, width).
        y: targets as they are learned, shape (rows, targets).
        weights: shape (rows,), 1 in sum; 0 for a row that decides when to stop instead.
        watched: shape (rows,), likewise of the rows that do; all 0 where nothing is decided.
    """

    x: Tensor
    y: Tensor
    weights: Tensor
    watched: Tensor


class Batches:
    """Turns decoded rows into what learners take."""

    def __init__(self, frame: Frame, place: torch.device) -> None:
        self._frame = frame
        self._features, self._targets = len(frame.features), len(frame.targets)
        self._place = place
        self._one = torch.ones((), device=place)
        self._encoder = EncodedModel(nn.Sequential(), frame.encoding).to(place)

    def placed(self, rows: Tensor) -> Tensor:
        """Return decoded rows on the device, which then fetches them by itself.

        It does so while it computes, and while the next ones are dealt.
        """
        if self._place.type == "cuda":
            rows = rows.pin_memory()
        return rows.to(self._place, non_blocking=True)

    @torch.no_grad()
    def of(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return encoded features, targets as they are, and what each placed row counts."""
        x = self._encoder.encoded(rows[:, : self._features])
        y = rows[:, self._features : self._features + self._targets]
        weighted = self._frame.decoder.weight is not None
        return x, y, rows[:, -1] if weighted else self._one

    def held_out(self, rows: Values, *, stopping: bool) -> HeldOut:
        """Return the rows to measure by; `stopping`: every second one decides when to stop."""
        first, last = self._features, self._features + self._targets
        learned = rows.copy()
        if self._frame.outputs:
            learned[:, first:last] = self._frame.outputs.standardise(
                rows[:, first:last].astype(np.float64)
            )
        x, y, counts = self.of(self.placed(torch.from_numpy(learned)))
        counts = counts.expand(len(rows))
        deciding = torch.zeros(len(rows), device=self._place)
        if stopping:
            deciding[1::2] = 1.0
        weights, watched = counts * (1 - deciding), counts * deciding
        return HeldOut(
            x=x,
            y=y,
            weights=weights / weights.sum(),
            watched=watched / watched.sum().clamp(min=1e-30),
        )
