"""The embeddings: a learned vector for each value of a category, as a network's first layer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from isotherm.trainer.data import Column
from isotherm.trainer.encoding import Encoding, width

# The name of the layer in front of a network's own.
LAYER: Final = "embeddings"

# Small against standardised numbers: an untrained vector is near the average one.
_DEVIATION: Final = 0.1


class Embeddings(nn.Module):
    """Puts vectors in the place of the codes, which stand last in a row.

    A table's last row is the unknown value's, and 0 at first; `settle` gives it a value where no
    row of training did.
    """

    def __init__(self, plain: int, tables: Sequence[Tensor]) -> None:
        """Take how many numbers stand before the codes, and each table as it is at first."""
        super().__init__()
        self.plain = plain
        self.tables = nn.ParameterList(nn.Parameter(table) for table in tables)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` of shape (..., plain + codes) to (..., plain + the vectors' widths)."""
        return self.look_up(x, [*self.tables])

    def stacked(self, x: Tensor, tensors: Mapping[str, Tensor], name: str) -> Tensor:
        """Do the same for copies, (C, R, numbers), each with its tables (C, rows, width).

        `tensors` has them by name, `name` is this layer's.
        """
        count = len(x)
        tables = [tensors[f"{name}.tables.{index}"] for index in range(len(self.tables))]
        # One long table, in which the copies' tables follow each other.
        starts = [torch.arange(count, device=x.device)[:, None] * part.shape[1] for part in tables]
        return self.look_up(x, [part.flatten(0, 1) for part in tables], starts)

    def look_up(self, x: Tensor, tables: Sequence[Tensor], starts: Sequence[Tensor] = ()) -> Tensor:
        """Look the codes of `x` up, each from its place in the table on."""
        lengths = [self.plain, *[1] * len(tables)] if self.plain else [1] * len(tables)
        parts = [*torch.split(x, lengths, dim=-1)]
        first = len(parts) - len(tables)
        for index, table in enumerate(tables):
            places = parts[first + index].squeeze(-1).long()
            if starts:
                places = places + starts[index]
            parts[first + index] = functional.embedding(places, table)
        return torch.cat(parts, dim=-1)


def of(columns: Sequence[Column]) -> Embeddings | None:
    """Return the layer with its initial weights, drawn from torch's state; None without codes."""
    embedded = [column for column in columns if column.embedding]
    tables = []
    for column in embedded:
        table = torch.zeros(len(column.categories) + 1, column.embedding)
        nn.init.normal_(table[:-1], std=_DEVIATION)
        tables.append(table)
    return Embeddings(width(columns) - len(embedded), tables) if embedded else None


def before(layer: nn.Module, network: nn.Module) -> nn.Sequential:
    """Return the network with its embeddings in front."""
    return nn.Sequential(OrderedDict([(LAYER, layer), ("network", network)]))


def inner_width(columns: Sequence[Column]) -> int:
    """Return the numbers that a network's own layers see of a row."""
    return width(columns) + sum(max(column.embedding - 1, 0) for column in columns)


@torch.no_grad()
def settle(state: Mapping[str, Tensor], encodings: Sequence[Encoding]) -> None:
    """Make the unknown value the mean of the others where no row of training taught it.

    Args:
        state: of copies, as `Copies.state` gives it; tables of one copy have no axis of copies.
        encodings: one a copy.
    """
    for index, _ in enumerate(encodings[0].embedded_shares):
        tables = state[f"{LAYER}.tables.{index}"]
        single = tables.ndim == 2  # noqa: PLR2004  values and their vectors
        for table, encoding in zip([tables] if single else tables, encodings, strict=True):
            shares = encoding.embedded_shares[index]
            if not shares[-1]:
                weights = torch.tensor(shares[:-1], dtype=table.dtype, device=table.device)
                table[-1] = weights @ table[:-1]
