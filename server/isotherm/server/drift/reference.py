"""What a model was trained on, column by column: what live rows are compared with."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal, Self

Kind = Literal["feature", "prediction"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column at training time, in its own unit."""

    kind: Kind
    name: str
    # None: not known.
    minimum: float | None = None
    maximum: float | None = None
    mean: float = 0.0
    # 0: not known, or the column was constant.
    standard_deviation: float = 0.0
    # `counts[i]` training rows lie in (edges[i], edges[i + 1]]; empty: not known.
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        """How many training rows the histogram holds."""
        return sum(self.counts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """One model version's watched columns: features first, then predictions."""

    name: str
    version: int
    columns: tuple[Column, ...]
    # Columns of the model beyond what is watched.
    unwatched: int = 0

    @property
    def features(self) -> int:
        """How many of the columns are features."""
        return sum(column.kind == "feature" for column in self.columns)

    @property
    def predictions(self) -> int:
        """How many of the columns are predictions."""
        return len(self.columns) - self.features

    def to_json(self) -> str:
        """Return the reference as JSON, for the supervisor."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Restore what `to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        columns = tuple(_column(column) for column in values.pop("columns"))
        return cls(columns=columns, **values)


def _column(values: dict[str, Any]) -> Column:
    lists: dict[str, Any] = {name: tuple(values[name]) for name in ("edges", "counts")}
    return Column(**values | lists)
