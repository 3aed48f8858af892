"""Intervals around predictions, on the scale that a target was learned on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np

from isotherm.server.residuals import Table

_Function = Callable[[Table], Table]

# There and back, and from where on the way there is defined.
_SCALES: Final[Mapping[str, tuple[_Function, _Function, float]]] = MappingProxyType(
    {
        "": (np.positive, np.positive, -np.inf),
        "log": (np.log, np.exp, 0.0),
        "log1p": (np.log1p, np.expm1, -1.0),
        "sqrt": (np.sqrt, np.square, 0.0),
    }
)


def are_known(transforms: Sequence[str]) -> bool:
    """Tell whether all are scales that intervals can be made on: a newer trainer may have more."""
    return all(name in _SCALES for name in transforms)


def bounds(prediction: Table, half_widths: Table, transforms: Sequence[str]) -> tuple[Table, Table]:
    """Return what lies half a width below and above predictions, in the targets' units.

    Args:
        prediction: Shape (rows, targets).
        half_widths: Shape (targets,), each on the scale of its target's transform.
        transforms: One a target, of those that are known.
    """
    lower, upper = np.empty_like(prediction), np.empty_like(prediction)
    for column, (name, half_width) in enumerate(zip(transforms, half_widths, strict=True)):
        there, back, least = _SCALES[name]
        # The least of a log is infinitely far, and the way back from far above is infinity.
        with np.errstate(divide="ignore", over="ignore"):
            middle = there(np.maximum(prediction[:, column], least))
            # The root has no values below that of nothing, so that its way back would turn round.
            floor = 0.0 if name == "sqrt" else -np.inf
            lower[:, column] = back(np.maximum(middle - half_width, floor))
            upper[:, column] = back(middle + half_width)
    return lower, upper
