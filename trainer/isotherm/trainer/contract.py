"""The contract: what the model file says of itself, as the message `isotherm.v1.Contract`."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from types import MappingProxyType
from typing import Final

import numpy as np

from isotherm.trainer import precision, transform
from isotherm.trainer.config import TrainConfig
from isotherm.trainer.data import Column, Floats, Table
from isotherm.trainer.estimator import Fitted
from isotherm.v1 import contract_pb2 as v1
from isotherm.v1.categories import histogram
from isotherm.v1.contract import MAX_GOLDEN_ROWS, SCHEMA_VERSION

INPUT: Final = "x"
# The contract's names for the outputs, in the order in which the served module gives them.
_OUTPUTS: Final = ("prediction", "lower", "upper")

# float32 on two runtimes differs by some 1e-6 of the target's deviation; a wrong model, or TF32
# arithmetic, by 1e-3 and more.
RELATIVE_TOLERANCE: Final = 1e-5

_GOLDEN_NUMBERS: Final = 8192

_MISSING: Final = MappingProxyType(
    {
        # Which reads as MISSING_REFUSE, and is what a contract of numbers always had.
        "refuse": v1.MISSING_UNSPECIFIED,
        "mean": v1.MISSING_MEAN,
        "indicator": v1.MISSING_INDICATOR,
        "unknown": v1.MISSING_UNKNOWN,
    }
)

PACKAGES: Final = ("isotherm", "numpy", "onnx", "onnxscript", "torch")


@precision.exact()
def describe(fitted: Fitted, config: TrainConfig, created_at: datetime) -> v1.Contract:
    """Build the contract of a fitted model."""
    table = fitted.table
    return v1.Contract(
        schema_version=SCHEMA_VERSION,
        model_name=config.name,
        features=features(table),
        targets=targets(table, fitted.served.answers(table.x)),
        tensors=v1.Tensors(input=INPUT, **dict(zip(_OUTPUTS, fitted.served.outputs, strict=False))),
        non_finite=v1.NON_FINITE_REFUSE,
        golden=_golden_of(fitted, config.fit.seed),
        interval=None if fitted.classes else _interval(fitted),
        provenance=_provenance(fitted, config, created_at),
    )


def features(table: Table) -> list[v1.Feature]:
    """Describe the columns in."""
    return [_feature(*pair) for pair in zip(table.features, table.x.T, strict=True)]


def targets(table: Table, answers: Floats) -> list[v1.Target]:
    """Describe the columns out.

    Args:
        table: what the model was trained on.
        answers: the model's for each of its rows, shape (rows, columns).
    """
    return [*_targets(table, answers)]


def golden(inputs: Floats, outputs: Floats, spread: float, steepness: float = 1.0) -> v1.Golden:
    """Return rows whose answers are known.

    Args:
        inputs: shape (rows, features).
        outputs: shape (rows, columns).
        spread: what the prediction's columns differ by, in their unit.
        steepness: by how much the graph's end makes relative differences larger.
    """
    return v1.Golden(
        rows=len(inputs),
        inputs=inputs.ravel().tolist(),
        outputs=outputs.ravel().tolist(),
        absolute_tolerance=RELATIVE_TOLERANCE * spread,
        relative_tolerance=RELATIVE_TOLERANCE * steepness,
    )


def origin(
    table: Table, *, seed: int, created_at: datetime, packages: Iterable[str] = PACKAGES
) -> v1.Provenance:
    """Say from which rows a model's description was made, when, and by what; no leaderboard."""
    versions = {"python": platform.python_version()}
    versions |= {package: metadata.version(package) for package in packages}
    return v1.Provenance(
        data_sha256=table.sha256,
        rows=table.total or table.rows,
        seed=seed,
        created_at=created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        weight_column=table.weight_column,
        git_commit=_git_commit(),
        package_versions=versions,
    )


def golden_inputs(x: Floats, seed: int, columns: Sequence[Column] = ()) -> Floats:
    """Return 8 to 64 made rows that cover where the table lies, and a little beyond.

    The first rows walk all columns at once: below the minimum, the minimum, points between
    neighbouring quantiles, the maximum, above the maximum. With several columns, as many again mix
    the levels of different columns. No row is copied from the table, because the file travels.

    Of a category, they walk the codes, with an unknown one at either end. Where a cell may be
    missing, it is in two of the rows: once all of them together, once each by itself.

    Args:
        x: the table's features, shape (rows, features), or some of its rows.
        seed: of the mixed rows.
        columns: what the features are; empty: numbers that are never missing.
    """
    features = x.shape[1]
    # A wide table gets fewer rows, so that the contract stays below its limit.
    rows = min(MAX_GOLDEN_ROWS, max(_GOLDEN_NUMBERS // features, 8))
    walked = rows if features == 1 else rows // 2
    quantiles = _quantiles(x, walked - 3)
    between = (quantiles[:-1] + quantiles[1:]) / 2
    low, high = quantiles[0], quantiles[-1]
    margin = 0.1 * (high - low)
    levels = np.vstack([low - margin, low, between, high, high + margin])
    for index, column in enumerate(columns):
        if column.categories:
            last = len(column.categories) - 1
            codes = np.linspace(0, last, walked - 2).round()
            levels[:, index] = [-1.0, *codes, last + 1.0]
    if features > 1:
        order = np.random.default_rng(seed).integers(walked, size=(rows - walked, features))
        levels = np.vstack([levels, np.take_along_axis(levels, order, axis=0)])
    takes = [index for index, column in enumerate(columns) if column.missing != "refuse"]
    for place, index in enumerate(takes):
        if features > 1:
            # Among the mixed rows: the ends of a walk are nowhere else.
            levels[rows - 2 - place % (rows // 4), index] = np.nan
        levels[rows - 1 if features > 1 else rows // 2, index] = np.nan
    return levels.astype(np.float32).astype(np.float64)


def _quantiles(x: Floats, count: int) -> Floats:
    """Return so many quantiles of each column, of the cells that are there."""
    places = np.linspace(0, 1, count)
    return np.asarray(
        np.nanquantile(x, places, axis=0) if np.isnan(x).any() else np.quantile(x, places, axis=0)
    )


def _golden_of(fitted: Fitted, seed: int) -> v1.Golden:
    inputs = golden_inputs(fitted.table.x, seed, fitted.table.features)
    return golden(inputs, fitted.served.answers(inputs), _spread(fitted), _steepness(fitted))


def _spread(fitted: Fitted) -> float:
    """Return what the prediction's columns differ by: probabilities by 1."""
    return 1.0 if fitted.classes else float(fitted.table.y.std(axis=0).max())


def _steepness(fitted: Fitted) -> float:
    """Return by how much a relative difference may grow: a log's way back multiplies.

    What differs on the learned scale by a share of its deviation differs by a share of the answer,
    times that deviation.
    """
    names = [target.transform for target in fitted.table.targets]
    spreads = transform.learn(fitted.table.y, names).std(axis=0)
    logs = [spread for name, spread in zip(names, spreads, strict=True) if name.startswith("log")]
    return float(max([1.0, *logs]))


def _interval(fitted: Fitted) -> v1.Interval:
    measured = fitted.measured_coverage
    weighted = "weighted " if fitted.table.weights is not None else ""
    return v1.Interval(
        coverage=fitted.coverage,
        half_width=fitted.half_width.tolist(),
        # Not CV+ itself, whose width varies: the quantile of its residuals around one model.
        method=f"conformal, {weighted}{fitted.leaderboard.method} residuals"
        + (f"; measured coverage {measured:.1%}" if measured is not None else ""),
    )


def _targets(table: Table, answers: Floats) -> Iterable[v1.Target]:
    classes = table.classes or ((),) * len(table.targets)
    position = 0
    for column, values, names in zip(table.targets, table.y.T, classes, strict=True):
        if names:
            # The order of classes means nothing, so a label has no range and no deciles.
            yield v1.Target(name=column.name, datatype=column.datatype, classes=names)
        else:
            yield _target(column, values, answers[:, position])
        position += len(names) or 1


def _feature(column: Column, cells: Floats) -> v1.Feature:
    absent = np.isnan(cells)
    values = cells[~absent]
    feature = v1.Feature(
        name=column.name,
        unit=column.unit,
        datatype=column.datatype,
        missing_rate=absent.mean(),
        missing=_MISSING[column.missing],
    )
    if column.categories:
        size = len(column.categories)
        values = values[values >= 0]
        feature.categories.extend(column.categories)
        feature.unknown_rate = 1 - len(values) / len(cells)
        feature.minimum, feature.maximum = 0.0, size - 1.0
        counts = np.bincount(values.astype(np.int64), minlength=size)
        feature.deciles.CopyFrom(histogram(counts.tolist()))
    else:
        feature.minimum, feature.maximum = values.min(), values.max()
        feature.deciles.CopyFrom(deciles(values))
    feature.mean, feature.standard_deviation = values.mean(), values.std()
    return feature


def _target(column: Column, values: Floats, answers: Floats) -> v1.Target:
    return v1.Target(
        name=column.name,
        unit=column.unit,
        datatype=column.datatype,
        minimum=values.min(),
        maximum=values.max(),
        mean=values.mean(),
        standard_deviation=values.std(),
        deciles=deciles(values),
        transform=column.transform,
        predictions=_predictions(answers[np.isfinite(answers)]),
    )


def _predictions(answers: Floats) -> v1.Predictions | None:
    if not len(answers):
        return None
    return v1.Predictions(
        mean=answers.mean(), standard_deviation=answers.std(), deciles=deciles(answers)
    )


def deciles(values: Floats) -> v1.Histogram:
    """Count `values` of shape (rows,) in up to ten bins that hold about as many rows each.

    Equal values make no bin: the histogram is then empty.
    """
    # Rounded like the values: an edge that is a value must compare equal to it.
    quantiles = np.quantile(values, np.linspace(0, 1, 11)).astype(np.float32)
    edges = np.unique(quantiles).astype(np.float64)
    if len(edges) < 2:  # noqa: PLR2004  a bin has two
        return v1.Histogram()
    # side="left" makes the bins (low, high]; the minimum would fall before the first.
    bins = np.maximum(np.searchsorted(edges, values, side="left") - 1, 0)
    counts = np.bincount(bins, minlength=len(edges) - 1)
    return v1.Histogram(edges=edges.tolist(), counts=counts.tolist())


def _provenance(fitted: Fitted, config: TrainConfig, created_at: datetime) -> v1.Provenance:
    provenance = origin(fitted.table, seed=config.fit.seed, created_at=created_at)
    provenance.leaderboard.extend(_leaderboard(fitted))
    provenance.error_metric = fitted.leaderboard.metric
    return provenance


def _leaderboard(fitted: Fitted) -> Iterable[v1.Candidate]:
    board = fitted.leaderboard
    for candidate in board.candidates:
        yield v1.Candidate(
            name=candidate.name,
            parameters=candidate.parameters,
            cross_validation_error=candidate.cross_validation_error,
            training_error=candidate.training_error,
            cross_validation=board.method,
            chosen=candidate is board.chosen,
        )


def _git_commit() -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    command = [git, "rev-parse", "--verify", "--quiet", "HEAD"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return answer.stdout.strip() if answer.returncode == 0 else ""
