"""Which columns of a contract are watched, and what it knows of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from isotherm.server.drift.reference import MISSING, UNKNOWN, Column, Reference
from isotherm.v1.contract import takes_missing
from isotherm.v1.contract_pb2 import Contract, Feature, Target

# Of one model: each has some thirty series on the metrics page. Predictions are few, and go first.
MAX_COLUMNS: Final = 64
MAX_PREDICTIONS: Final = 16
# Of a value's name, as a label.
_SHOWN: Final = 60


def reference(name: str, version: int, contract: Contract) -> Reference:
    """Return the reference of a model version: its first features and its first predictions."""
    predictions = [_prediction(target) for target in _numbers(contract)[:MAX_PREDICTIONS]]
    features = [
        _feature(feature) for feature in contract.features[: MAX_COLUMNS - len(predictions)]
    ]
    columns = (*features, *predictions)
    return Reference(
        name=name,
        version=version,
        columns=columns,
        unwatched=len(contract.features) + len(_numbers(contract)) - len(columns),
    )


def prediction_columns(contract: Contract) -> list[int]:
    """Return where in the prediction tensor the watched predictions are: numbers, no classes."""
    return [*_positions(contract)][:MAX_PREDICTIONS]


def _numbers(contract: Contract) -> list[Target]:
    return [target for target in contract.targets if not target.classes]


def _positions(contract: Contract) -> Iterator[int]:
    position = 0
    for target in contract.targets:
        if not target.classes:
            yield position
        position += len(target.classes) or 1


def _feature(known: Feature) -> Column:
    minimum, maximum = _range(known)
    return Column(
        kind="feature",
        name=known.name,
        minimum=minimum,
        maximum=maximum,
        mean=known.mean,
        standard_deviation=known.standard_deviation,
        edges=tuple(known.deciles.edges),
        counts=tuple(known.deciles.counts),
        names=_bin_names(known),
        category=bool(known.categories),
        absent=_absent(known),
    )


def _absent(known: Feature) -> float | None:
    """Return the share of training rows in no bin; None where such rows are refused."""
    if known.categories:
        return known.unknown_rate
    return known.missing_rate if takes_missing(known) else None


def _bin_names(known: Feature) -> tuple[str, ...]:
    """Return what a category's bins hold; empty where that would not tell them apart."""
    names = []
    for index, (low, high) in enumerate(pairwise(known.deciles.edges)):
        first = math.floor(low) + 1 if index else math.ceil(low)
        values = known.categories[max(first, 0) : math.floor(high) + 1]
        if not values:
            return ()
        more = f" and {len(values) - 1} more" if len(values) > 1 else ""
        name = values[0]
        names.append((name if len(name) <= _SHOWN else f"{name[:_SHOWN]}...") + more)
    distinct = len({*names, MISSING, UNKNOWN}) == len(names) + 2
    return tuple(names) if distinct else ()


def _prediction(known: Target) -> Column:
    # What the model predicts varies less than the truth does: compared with the truth's histogram,
    # a model that explains little would seem to drift from the first day on.
    minimum, maximum = _range(known)
    return Column(
        kind="prediction",
        name=known.name,
        minimum=minimum,
        maximum=maximum,
        mean=known.predictions.mean,
        standard_deviation=known.predictions.standard_deviation,
        edges=tuple(known.predictions.deciles.edges),
        counts=tuple(known.predictions.deciles.counts),
    )


def _range(known: Feature | Target) -> tuple[float, float] | tuple[None, None]:
    if isinstance(known, Feature) and known.categories:
        return 0.0, len(known.categories) - 1.0
    # Fields that a contract leaves out are zero.
    return (known.minimum, known.maximum) if known.minimum < known.maximum else (None, None)
