"""Which columns of a contract are watched, and what it knows of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from isotherm.server.drift.reference import Column, Reference
from isotherm.v1.contract_pb2 import Contract, Feature, Target

# Of one model: each has some thirty series on the metrics page. Predictions are few, and go first.
MAX_COLUMNS: Final = 64
MAX_PREDICTIONS: Final = 16


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
    )


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
    # Fields that a contract leaves out are zero.
    return (known.minimum, known.maximum) if known.minimum < known.maximum else (None, None)
