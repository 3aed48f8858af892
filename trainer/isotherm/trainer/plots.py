"""The pictures: readings and curve as the seed draws them, and the losses over the epochs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from isotherm.trainer.data import Column, Floats, Table
from isotherm.trainer.estimator import Fitted, serve
from isotherm.trainer.loop import History

Draw = Callable[[Axes], None]

_UNITS: Final = MappingProxyType({"degC": "Celsius", "degF": "Fahrenheit"})


def draw(fitted: Fitted, folder: Path, dpi: int) -> list[Path]:
    """Write the pictures as PNG into `folder` and return their paths.

    The fit is drawn for tables with one feature and one target: for the chosen model, and for the
    network where that was not chosen.
    """
    table, board = fitted.table, fitted.leaderboard
    folder.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, Draw] = {"loss": lambda axes: draw_losses(axes, board.history)}
    if table.x.shape[1] == table.y.shape[1] == 1:
        for candidate in board.candidates:
            if candidate is board.chosen or candidate.name == "network":
                served = serve(table, candidate, fitted.half_width)
                pictures[f"fit-{candidate.name}"] = _fit_drawer(table, served.answers)
    return [_save(draw_on, folder / f"{name}.png", dpi) for name, draw_on in pictures.items()]


def draw_fit(axes: Axes, table: Table, predict: Callable[[Floats], Floats]) -> None:
    """Draw readings as `o`, the model as a cyan curve, and its answers to the readings as `x`."""
    grid = curve_grid(table.x[:, 0])[:, np.newaxis]
    axes.set_xlabel(_label(table.features[0]))
    axes.set_ylabel(_label(table.targets[0]))
    axes.plot(table.x[:, 0], table.y[:, 0], "o")
    axes.plot(grid[:, 0], predict(grid)[:, 0], "c-")
    axes.plot(table.x[:, 0], predict(table.x)[:, 0], "kx")


def draw_losses(axes: Axes, history: History) -> None:
    """Draw both losses over the epochs, on a logarithmic scale."""
    epochs = range(1, len(history.training) + 1)
    axes.set_xlabel("Epoch")
    axes.set_ylabel("Mean squared error, standardised")
    axes.set_yscale("log")
    axes.plot(epochs, history.training, label="training (all rows)")
    axes.plot(epochs, history.validation, label="validation (rows left out)")
    axes.legend()


def curve_grid(values: Floats) -> Floats:
    """Return where the curve is drawn: outward to round numbers, ten points a round step.

    The readings 21.8 .. 81.9 give `arange(20., 90.)`.
    """
    low, high = float(values.min()), float(values.max())
    step = 10.0 ** math.floor(math.log10(high - low))
    first, last = math.floor(low / step), math.ceil(high / step)
    return np.arange(10 * first, 10 * last, dtype=np.float64) * (step / 10)


def _fit_drawer(table: Table, predict: Callable[[Floats], Floats]) -> Draw:
    return lambda axes: draw_fit(axes, table, predict)


def _save(draw_on: Draw, path: Path, dpi: int) -> Path:
    # A figure of its own, without pyplot: no global state, and no display is looked for.
    figure = Figure(dpi=dpi)
    draw_on(figure.add_subplot())
    figure.savefig(path, dpi=dpi)
    return path


def _label(column: Column) -> str:
    if column.unit in _UNITS:
        return _UNITS[column.unit]
    return f"{column.name} ({column.unit})" if column.unit else column.name
