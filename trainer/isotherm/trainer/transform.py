"""The transform: the scale on which a target is learned, and the way back to its unit.

A network learns `log`, `log1p` (of 1 + y) or `sqrt` of a target, standardised; the graph ends in
the way back. That way is steep: a row far from those of the training would be answered with
infinity. So what is restored is first held within one range of the training rows beyond either end,
on the learned scale: of a log, prices from 10 to 1000 allow answers from 0.1 to 100 000. What the
graph does of this is in `restoring`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from isotherm.trainer.columns import Floats
from isotherm.trainer.errors import DataError
from isotherm.trainer.scaling import Scaling

# In ranges of the training rows on the learned scale, at either end.
BEYOND: Final = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    """One transform.

    Attributes:
        domain: what the target's values must be, as an error says it.
        least: the values must be larger than this, or as large where `closed`.
        low: of the learned scale: below it, and beyond `high`, float32 has no way back.
    """

    learn: Callable[[Floats], Floats]
    restore: Callable[[Floats], Floats]
    domain: str
    least: float
    closed: bool
    low: float
    high: float


_KINDS: Final[Mapping[str, _Kind]] = MappingProxyType(
    {
        "log": _Kind(
            learn=np.log,
            restore=np.exp,
            domain="numbers above 0",
            least=0.0,
            closed=False,
            low=-87.3,
            high=88.3,
        ),
        "log1p": _Kind(
            learn=np.log1p,
            restore=np.expm1,
            domain="numbers above -1",
            least=-1.0,
            closed=False,
            low=-16.0,
            high=88.3,
        ),
        "sqrt": _Kind(
            learn=np.sqrt,
            restore=np.square,
            domain="numbers from 0 on",
            least=0.0,
            closed=True,
            low=0.0,
            high=1.8e19,
        ),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Transform:
    """The way back of one target: from where on the learned scale, and by which function.

    Attributes:
        name: `log`, `log1p` or `sqrt`; empty where the target is learned as it is.
    """

    name: str
    low: float = -math.inf
    high: float = math.inf

    def restore(self, values: Floats) -> Floats:
        """Map the learned scale back to the target's unit, any shape."""
        if not self.name:
            return values
        return np.asarray(_KINDS[self.name].restore(np.clip(values, self.low, self.high)))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Outputs:
    """From targets to what a network learns, and back.

    Attributes:
        scaling: on the learned scale.
        transforms: one a target; empty where all are learned as they are.
    """

    scaling: Scaling
    transforms: tuple[Transform, ...] = ()

    @classmethod
    def of(cls, y: Floats, names: Sequence[str] = (), weights: Floats | None = None) -> Outputs:
        """Measure targets `y` of shape (rows, targets), each row as often as it counts."""
        learned = learn(y, names)
        ends = zip(names, learned.min(axis=0), learned.max(axis=0), strict=True) if names else ()
        return cls(
            scaling=Scaling.of(learned, weights),
            transforms=tuple(bounded(name, float(low), float(high)) for name, low, high in ends),
        )

    def standardise(self, y: Floats) -> Floats:
        """Map targets (rows, targets) to the learned scale, with mean 0 and deviation 1."""
        return self.scaling.standardise(learn(y, [one.name for one in self.transforms]))

    def restore(self, values: Floats) -> Floats:
        """Undo `standardise`, held within the transforms' bounds; shapes (..., targets)."""
        learned = self.scaling.restore(values)
        if not self.transforms:
            return learned
        columns = [one.restore(learned[..., i]) for i, one in enumerate(self.transforms)]
        return np.stack(columns, axis=-1)


def learn(y: Floats, names: Sequence[str]) -> Floats:
    """Map targets, shape (..., targets), to the scales that they are learned on."""
    if not any(names):
        return y
    columns = [_KINDS[name].learn(y[..., i]) if name else y[..., i] for i, name in enumerate(names)]
    return np.stack(columns, axis=-1)


def bounded(name: str, minimum: float, maximum: float) -> Transform:
    """Return a transform for training rows between these ends of the learned scale."""
    if not name:
        return Transform(name="")
    kind, beyond = _KINDS[name], BEYOND * ((maximum - minimum) or 1.0)
    return Transform(
        name=name, low=max(minimum - beyond, kind.low), high=min(maximum + beyond, kind.high)
    )


def check(where: str, values: Floats, name: str) -> None:
    """Raise DataError where one of a target's values (rows,) has no place on the learned scale."""
    kind = _KINDS[name]
    outside = values < kind.least if kind.closed else values <= kind.least
    if outside.any():
        row = int(np.argmax(outside))
        msg = (
            f"{where} has {values[row]:g} in row {row + 1}; the transform {name} takes "
            f"{kind.domain}: choose another (log, log1p, sqrt), or leave it out"
        )
        raise DataError(msg)
