"""The pictures of a fit: which there are, and the seed's own of readings and curve."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from matplotlib.axes import Axes

from isotherm.trainer import canvas, charts
from isotherm.trainer.columns import Floats
from isotherm.trainer.data import Column, Table
from isotherm.trainer.document import Picture
from isotherm.trainer.estimator import Fitted, serve

_UNITS: Final = MappingProxyType({"degC": "Celsius", "degF": "Fahrenheit"})

# The seed's resolution is for its own picture; at six times the size of a screen, the others would
# only take longer.
_CHART_DPI: Final = 200
_TARGETS: Final = 4


def pictures(fitted: Fitted) -> Iterator[Picture]:
    """Yield the pictures that this fit has.

    The fit itself is drawn for tables with one feature and one number: for the chosen model, and
    for the network where that was not chosen.
    """
    board = fitted.leaderboard
    yield Picture(
        name="loss",
        caption=f"Losses of the {board.candidates[-1].name} over the epochs.",
        draw=partial(charts.losses, fitted=fitted),
    )
    yield from _fits(fitted)
    yield Picture(
        name="leaderboard",
        caption=f"The models that were compared ({board.method}); bars are standard errors, * is "
        "served.",
        draw=partial(charts.leaderboard, fitted=fitted),
    )
    yield from _of_labels(fitted) if fitted.classes else _of_numbers(fitted)


def draw(fitted: Fitted, folder: Path, dpi: int) -> list[Path]:
    """Write the pictures as PNG and SVG into `folder`; return the paths of the PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for picture in pictures(fitted):
        sharp = dpi if picture.name.startswith("fit-") else min(dpi, _CHART_DPI)
        paths.append(canvas.save(picture.draw, folder, picture.name, sharp))
    return paths


def draw_fit(axes: Axes, table: Table, predict: Callable[[Floats], Floats]) -> None:
    """Draw readings as `o`, the model as a cyan curve, and its answers to the readings as `x`."""
    grid = curve_grid(table.x[:, 0])[:, np.newaxis]
    axes.set_xlabel(_label(table.features[0]))
    axes.set_ylabel(_label(table.targets[0]))
    axes.plot(table.x[:, 0], table.y[:, 0], "o")
    axes.plot(grid[:, 0], predict(grid)[:, 0], "c-")
    axes.plot(table.x[:, 0], predict(table.x)[:, 0], "kx")


def curve_grid(values: Floats) -> Floats:
    """Return where the curve is drawn: outward to round numbers, ten points a round step.

    The readings 21.8 .. 81.9 give `arange(20., 90.)`.
    """
    low, high = float(values.min()), float(values.max())
    step = 10.0 ** math.floor(math.log10(high - low))
    first, last = math.floor(low / step), math.ceil(high / step)
    return np.arange(10 * first, 10 * last, dtype=np.float64) * (step / 10)


def _fits(fitted: Fitted) -> Iterator[Picture]:
    table, board = fitted.table, fitted.leaderboard
    if fitted.classes or not table.x.shape[1] == table.y.shape[1] == 1:
        return
    for candidate in board.candidates:
        if candidate is board.chosen or candidate.name == "network":
            chosen = candidate is board.chosen
            served = fitted.served if chosen else serve(table, candidate, fitted.half_width)
            yield Picture(
                name=f"fit-{_file_name(candidate.name)}",
                caption=f"The {candidate.name}: readings (o), its curve, and its answers to the "
                "readings (x).",
                draw=partial(draw_fit, table=table, predict=served.answers),
            )


def _of_numbers(fitted: Fitted) -> Iterator[Picture]:
    targets = fitted.table.targets[:_TARGETS]
    for index, target in enumerate(targets):
        suffix = f"-{index + 1}" if len(targets) > 1 else ""
        yield Picture(
            name=f"predicted{suffix}",
            caption=f"Predicted against actual {target.name}; each row was left out of the fit "
            "that predicts it.",
            draw=partial(charts.predicted, fitted=fitted, target=index),
        )
        yield Picture(
            name=f"residuals{suffix}",
            caption=f"What the predictions of {target.name} miss by; the band is the interval.",
            draw=partial(charts.residuals, fitted=fitted, target=index),
        )


def _of_labels(fitted: Fitted) -> Iterator[Picture]:
    yield Picture(
        name="confusion",
        caption="Rows by their class and by the class that was predicted while they were left out.",
        draw=partial(charts.confusion, fitted=fitted),
    )
    yield Picture(
        name="calibration",
        caption="Whether probabilities mean what they say.",
        draw=partial(charts.calibration, fitted=fitted),
    )


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-")


def _label(column: Column) -> str:
    if column.unit in _UNITS:
        return _UNITS[column.unit]
    return f"{column.name} ({column.unit})" if column.unit else column.name
