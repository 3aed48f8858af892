"""The scan: one pass over all rows, after which it is known what is in each column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from isotherm.trainer import columns as kinds
from isotherm.trainer import transform
from isotherm.trainer.columns import Floats
from isotherm.trainer.config import DataConfig
from isotherm.trainer.errors import DataError
from isotherm.trainer.stream import holding
from isotherm.trainer.stream.files import Files, Group
from isotherm.trainer.stream.reading import Reader, Slice, Values, numbers
from isotherm.trainer.stream.sample import Sample, priorities
from isotherm.trainer.stream.statistics import Counts, Moments
from isotherm.trainer.world import World

# Told of the rows of each group that has been read.
OnRows = Callable[[int], None]

# Of so many times the moment is chosen that the held-out rows lie behind.
_TIMES: Final = 65_536

# A column of whole numbers with as many values is a label.
_PAIR: Final = 2
_WEIGHT: Final = ""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scanned:
    """What one pass over all rows has told.

    Attributes:
        moments: of each column of numbers, by name.
        learned: of each target of numbers, on the scale that is learned.
        counts: of each feature that is a category, and each target that is a label, by name.
        weight: mean of what a row counts, of those that count.
        latest: the moment behind which the held-out rows lie; None without times.
    """

    moments: Mapping[str, Moments]
    learned: Mapping[str, Moments]
    counts: Mapping[str, Counts]
    weight: float
    latest: float | None


class Scan:
    """Reads row groups, and keeps what is to be known of them."""

    def __init__(
        self, files: Files, config: DataConfig, categories: Sequence[str], seed: int
    ) -> None:
        """Take the features that are counted by value instead of measured."""
        self._files = files
        self._config = config
        self._seed = seed
        labels = [name for name in config.targets if may_be_label(files, name, config.task)]
        self._counts = {name: Counts(self._where(name)) for name in (*categories, *labels)}
        # Whole numbers are a label if there are two of them; until a third one is seen, both is
        # possible.
        self._undecided = {
            name
            for name in labels
            if config.task == "auto" and pa.types.is_integer(files.schema.field(name).type)
        }
        self._numbers = [
            name
            for name in (*config.features, *config.targets)
            if name not in self._counts or name in self._undecided
        ]
        self._parts: dict[tuple[int, str, bool], Moments] = {}
        self._times = Sample(_TIMES, 1, np.float64)
        extra = (config.weight, config.time)
        named = (*config.features, *config.targets, *(name for name in extra if name))
        self._reader = Reader(files, named)

    def read(self, group: Group) -> None:
        """Take the rows of a group.

        Raises:
            DataError: a cell cannot be used.
        """
        for part in self._reader.slices(group):
            weights = self._weights(part)
            for name in self._numbers:
                self._measure(name, part, weights)
            for name, counts in self._counts.items():
                counts.add(part.cells.column(name))
                if counts.missing and name in self._config.targets:
                    absent = kinds.missing(pa.chunked_array([part.cells.column(name)]))
                    self._refuse(name, part, int(np.argmax(absent)), "an empty cell")
            for name in [one for one in self._undecided if len(self._counts[one].values) > _PAIR]:
                self._undecided.discard(name)
                del self._counts[name]
            if self._config.time:
                keys = holding.times(self._where(self._config.time), part, self._config.time)
                drawn = priorities(part.numbers, self._seed, holding.SAMPLE)
                self._times.offer(drawn, keys[:, np.newaxis].astype(np.float64))

    def result(self, world: World) -> Scanned:
        """Return what all processes have found together, to the same bit for any number of them."""
        parts: dict[tuple[int, str, bool], Moments] = {}
        for other in world.gather(self._parts):
            parts.update(other)
        folded: dict[tuple[str, bool], Moments] = {}
        # In the order of the groups, whoever has read them.
        for key in sorted(parts):
            _, name, learned = key
            before = folded.get((name, learned), Moments())
            folded[name, learned] = before.merge(parts[key])
        counts = self._gathered(world)
        for name in counts:
            folded.pop((name, False), None)
            folded.pop((name, True), None)
        weight = folded.pop((_WEIGHT, False), None)
        return Scanned(
            moments={name: one for (name, learned), one in folded.items() if not learned},
            learned={name: one for (name, learned), one in folded.items() if learned},
            counts=counts,
            weight=weight.mean if weight else 1.0,
            latest=self._latest(world),
        )

    def _measure(self, name: str, part: Slice, weights: Floats | None) -> None:
        values = numbers(part.cells.column(name))
        # Whether one is infinite shows in the moments.
        with np.errstate(invalid="ignore"):
            moments = Moments.of(values, weights)
        if not np.isfinite([moments.minimum, moments.maximum]).all() and moments.count:
            row = int(np.argmax(np.isinf(values)))
            self._refuse(name, part, row, f"{part.cells.column(name)[row].as_py()}")
        target = name in self._config.targets
        if moments.missing and (target or not self._takes_gaps(name)):
            self._refuse(name, part, int(np.argmax(np.isnan(values))), "an empty cell")
        self._add(part, name, moments, learned=False)
        if target:
            scale = self._config.transforms.get(name, "")
            if scale:
                transform.check(self._where(name), values.astype(np.float64), scale)
            learned = transform.learn(values[:, np.newaxis].astype(np.float64), [scale])[:, 0]
            self._add(part, name, Moments.of(learned, weights), learned=True)

    def _add(self, part: Slice, name: str, moments: Moments, *, learned: bool) -> None:
        key = part.group.first, name, learned
        before = self._parts.get(key)
        self._parts[key] = before.merge(moments) if before else moments

    def _weights(self, part: Slice) -> Floats | None:
        name = self._config.weight
        if name is None:
            return None
        values = numbers(part.cells.column(name)).astype(np.float64)
        wrong = ~(np.isfinite(values) & (values >= 0))
        if wrong.any():
            self._refuse(
                name, part, int(np.argmax(wrong)), "no weight that is finite and from 0 on"
            )
        # Of the rows that count: those of weight 0 are not learned from.
        self._add(part, _WEIGHT, Moments.of(values[values > 0]), learned=False)
        return values

    def _takes_gaps(self, name: str) -> bool:
        policy = self._config.missing
        chosen = policy.get(name) if isinstance(policy, dict) else policy
        return chosen in {"mean", "indicator"}

    def _refuse(self, name: str, part: Slice, row: int, found: str) -> None:
        number = part.first + row
        remedy = "fill or remove the row"
        if found == "an empty cell" and name in self._config.features:
            remedy = "fill or remove the row, or choose --missing mean or indicator"
        msg = (
            f"{self._where(name)} has {found} in row {number + 1} (row "
            f"{number - part.group.first + 1} of {self._files.where(part.group)}); expected finite "
            f"32-bit numbers: {remedy}"
        )
        raise DataError(msg)

    def _where(self, name: str) -> str:
        return f"column '{name}' of {self._files.name}"

    def _gathered(self, world: World) -> dict[str, Counts]:
        found = world.gather(
            {name: (one.values, one.missing) for name, one in self._counts.items()}
        )
        merged: dict[str, Counts] = {}
        for name in self._counts:
            # Another process may have seen the third number.
            if not all(name in other for other in found):
                continue
            merged[name] = Counts(self._where(name))
            for other in found:
                merged[name].merge(*other[name])
            if name in self._undecided and len(merged[name].values) != _PAIR:
                del merged[name]
        return merged

    def _latest(self, world: World) -> float | None:
        if not self._config.time:
            return None
        sample = Sample(_TIMES, 1, np.float64)
        for other in world.gather(self._times.held()):
            sample.offer(*other)
        keys: Values | Floats = sample.held()[1][:, 0]
        latest = float(np.quantile(keys, 1 - self._config.held_out, method="lower"))
        if latest >= keys.max():
            # The last moment has more rows than are held out.
            latest = float(keys[keys < latest].max(initial=-np.inf))
        return latest


def may_be_label(files: Files, name: str, task: str) -> bool:
    """Whether a target's values have to be counted to know what it is."""
    kind: Any = files.schema.field(name).type
    if task == "regression":
        return False
    if task != "auto":
        return True
    told = kinds.is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_dictionary(kind)
    return bool(told or pa.types.is_integer(kind))
