"""What a model was trained on, column by column: what live rows are compared with."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

Kind = Literal["feature", "prediction"]

# The bin of a number's missing cells, and that of a category's values that are not in its list.
MISSING: Final = "(missing)"
UNKNOWN: Final = "(unknown)"


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
    # Of a category the values in each bin, for people; empty: bins are numbered.
    names: tuple[str, ...] = ()
    category: bool = False
    # Share of training rows in no bin: missing, or unknown to a category. None: there are none.
    absent: float | None = None

    @property
    def labels(self) -> list[str]:
        """What the bins are called, with the one of rows that are in no other."""
        labels = list(self.names) or [str(index) for index in range(len(self.counts))]
        return [*labels, UNKNOWN if self.category else MISSING] if self._compares_absent else labels

    @property
    def trained(self) -> list[float]:
        """How many training rows lay in each of them."""
        found = float(sum(self.counts))
        absent = self.absent or 0.0
        # As many as make that share of all.
        rest = [found * absent / (1 - absent)] if self._compares_absent else []
        return [*map(float, self.counts), *rest]

    @property
    def rows(self) -> float:
        """How many training rows are compared with."""
        return sum(self.trained)

    @property
    def _compares_absent(self) -> bool:
        return bool(self.counts) and self.absent is not None and self.absent < 1


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
    lists: dict[str, Any] = {name: tuple(values[name]) for name in ("edges", "counts", "names")}
    return Column(**values | lists)
