"""The contract: what the model file says of itself, as the message `isotherm.v1.Contract`."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from typing import Final

import numpy as np

from isotherm.trainer.config import TrainConfig
from isotherm.trainer.data import Column, Floats, Table
from isotherm.trainer.estimator import Fitted
from isotherm.v1 import contract_pb2 as v1
from isotherm.v1.contract import MAX_GOLDEN_ROWS, SCHEMA_VERSION

INPUT: Final = "x"
# The contract's names for the outputs, in the order in which the served module gives them.
_OUTPUTS: Final = ("prediction", "lower", "upper")

# float32 on two runtimes differs by some 1e-6 of the target's deviation; a wrong model, or TF32
# arithmetic, by 1e-3 and more.
RELATIVE_TOLERANCE: Final = 1e-5

_GOLDEN_NUMBERS: Final = 8192

PACKAGES: Final = ("isotherm", "numpy", "onnx", "onnxscript", "torch")


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


def golden(inputs: Floats, outputs: Floats, spread: float) -> v1.Golden:
    """Return rows whose answers are known.

    Args:
        inputs: shape (rows, features).
        outputs: shape (rows, columns).
        spread: what the prediction's columns differ by, in their unit.
    """
    return v1.Golden(
        rows=len(inputs),
        inputs=inputs.ravel().tolist(),
        outputs=outputs.ravel().tolist(),
        absolute_tolerance=RELATIVE_TOLERANCE * spread,
        relative_tolerance=RELATIVE_TOLERANCE,
    )


def origin(
    table: Table, *, seed: int, created_at: datetime, packages: Iterable[str] = PACKAGES
) -> v1.Provenance:
    """Say from which rows a model's description was made, when, and by what; no leaderboard."""
    versions = {"python": platform.python_version()}
    versions |= {package: metadata.version(package) for package in packages}
    return v1.Provenance(
        data_sha256=table.sha256,
        rows=table.rows,
        seed=seed,
        created_at=created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        git_commit=_git_commit(),
        package_versions=versions,
    )


def golden_inputs(x: Floats, seed: int) -> Floats:
    """Return 8 to 64 made rows that cover where the table lies, and a little beyond.

    The first rows walk all columns at once: below the minimum, the minimum, points between
    neighbouring quantiles, the maximum, above the maximum. With several columns, as many again mix
    the levels of different columns. No row is copied from the table, because the file travels.

    Args:
        x: the table's features, shape (rows, features).
        seed: of the mixed rows.
    """
    features = x.shape[1]
    # A wide table gets fewer rows, so that the contract stays below its limit.
    rows = min(MAX_GOLDEN_ROWS, max(_GOLDEN_NUMBERS // features, 8))
    walked = rows if features == 1 else rows // 2
    quantiles = np.quantile(x, np.linspace(0, 1, walked - 3), axis=0)
    between = (quantiles[:-1] + quantiles[1:]) / 2
    low, high = quantiles[0], quantiles[-1]
    margin = 0.1 * (high - low)
    levels = np.vstack([low - margin, low, between, high, high + margin])
    if features > 1:
        order = np.random.default_rng(seed).integers(walked, size=(rows - walked, features))
        levels = np.vstack([levels, np.take_along_axis(levels, order, axis=0)])
    return levels.astype(np.float32).astype(np.float64)


def _golden_of(fitted: Fitted, seed: int) -> v1.Golden:
    inputs = golden_inputs(fitted.table.x, seed)
    return golden(inputs, fitted.served.answers(inputs), _spread(fitted))


def _spread(fitted: Fitted) -> float:
    """Return what the prediction's columns differ by: probabilities by 1."""
    return 1.0 if fitted.classes else float(fitted.table.y.std(axis=0).max())


def _interval(fitted: Fitted) -> v1.Interval:
    measured = fitted.measured_coverage
    return v1.Interval(
        coverage=fitted.coverage,
        half_width=fitted.half_width.tolist(),
        # Not CV+ itself, whose width varies: the quantile of its residuals around one model.
        method=f"conformal, {fitted.leaderboard.method} residuals"
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


def _feature(column: Column, values: Floats) -> v1.Feature:
    return v1.Feature(
        name=column.name,
        unit=column.unit,
        datatype=column.datatype,
        minimum=values.min(),
        maximum=values.max(),
        mean=values.mean(),
        standard_deviation=values.std(),
        # A table with missing cells is refused.
        missing_rate=0.0,
        deciles=deciles(values),
    )


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
