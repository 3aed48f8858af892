"""Batches: the standardised table, sliced where it lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from isotherm.trainer.config import FitConfig

# A table of so few rows is one batch; a larger one is cut into batches of the second number.
WHOLE_ROWS: Final = 2048
BATCH_ROWS: Final = 1024

# Rows that are answered at once where nothing is learned from them.
_EVALUATED_ROWS: Final = 65_536


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rows:
    """The standardised table as each copy sees it.

    The first copy learns from all rows; each other one leaves a fold out. A fold is left out by its
    weight, so that all copies have the same shape. C is copies, R rows.

    Attributes:
        x: shape (C, R, features).
        y: shape (C, R, targets).
        training: shape (C, R); what a row counts in the copy's loss, 1 in sum.
        held_out: shape (C, R); the same for the rows that a fold leaves out.
        validation: shape (C, R); the same for the rows that decide when to stop, if any do.
        worth: shape (C,); how many rows each copy learns from, for its penalty; None: R of them.
    """

    x: Tensor
    y: Tensor
    training: Tensor
    held_out: Tensor
    validation: Tensor | None = None
    worth: Tensor | None = None

    def to(self, device: torch.device) -> Rows:
        """Return the rows on a device."""
        return Rows(
            x=self.x.to(device),
            y=self.y.to(device),
            training=self.training.to(device),
            held_out=self.held_out.to(device),
            validation=None if self.validation is None else self.validation.to(device),
            worth=None if self.worth is None else self.worth.to(device),
        )

    def folds(self, copies: int | None = None) -> int:
        """Return how many of the first `copies` hold rows out."""
        return int((self.held_out[:copies] > 0).any(dim=1).sum())

    @property
    def tested(self) -> bool:
        """Whether the answers to rows that are not learned from matter."""
        return self.validation is not None or bool(self.held_out.any())

    def slices(self) -> Iterator[slice]:
        """Yield slices that cover the rows, none too large for the memory."""
        for start in range(0, self.x.shape[1], _EVALUATED_ROWS):
            yield slice(start, start + _EVALUATED_ROWS)


class Batches:
    """Iterate over the rows to learn from, in another order every epoch, where they lie.

    There is no DataLoader: gathering row by row in Python costs several times the arithmetic.
    """

    def __init__(self, rows: Rows, config: FitConfig) -> None:
        # Rows that no copy learns from must not reach batch statistics.
        members = (rows.training > 0).any(dim=0).nonzero()[:, 0]
        count = len(members)
        every_row = count == rows.x.shape[1]
        parts = (rows.x, rows.y, rows.training)
        # Rows first: a batch is then gathered in one piece.
        self._parts = [
            (part if every_row else part.index_select(1, members)).transpose(0, 1).contiguous()
            for part in parts
        ]
        # LBFGS compares the loss of one step with that of the next.
        small = count <= WHOLE_ROWS or config.optimizer == "lbfgs"
        wanted = config.batch_size or (count if small else BATCH_ROWS)
        self._steps = -(-count // wanted)
        self._rows = count
        # Whether one batch holds every row, in the table's order.
        self.whole = every_row and self._steps == 1
        self._batch = tuple(part.transpose(0, 1) for part in self._parts)
        self.generator = torch.Generator(rows.x.device)
        self.generator.manual_seed(config.seed)

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield what `take` makes each batch of: nothing where one batch has all rows."""
        if self._steps == 1:
            yield ()
            return
        device = self.generator.device
        order = torch.randperm(self._rows, generator=self.generator, device=device)
        # Equal parts: a last batch of one row has no statistics.
        for chosen in order.tensor_split(self._steps):
            yield (chosen,)

    def take(self, *chosen: Tensor) -> tuple[Tensor, ...]:
        """Return x, y and the weights of a batch, as `Rows` has them."""
        if not chosen:
            return self._batch
        (rows,) = chosen
        x, y, weights = (part.index_select(0, rows).transpose(0, 1) for part in self._parts)
        return x, y, weights * (self._rows / len(rows))
