"""Prediction intervals: what a model predicts, and the bounds that the truth lies between."""

from __future__ import annotations

from typing import NamedTuple

from isotherm.v1.tensors import Array


class Interval(NamedTuple):
    """A prediction with its bounds: three arrays of shape `(rows, targets)`, in the targets' units.

    Attributes:
        prediction: What the model predicts.
        lower: The lower bounds.
        upper: The upper bounds.
        coverage: Which share of truths is promised to lie within, 0..1.
    """

    prediction: Array
    lower: Array
    upper: Array
    coverage: float


class IntervalTensors(NamedTuple):
    """What the three arrays are called in a model."""

    prediction: str
    lower: str
    upper: str
