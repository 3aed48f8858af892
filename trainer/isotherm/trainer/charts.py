"""The charts of a fit: how far its answers are from the truth, on rows that it never saw."""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from isotherm.trainer import outcomes
from isotherm.trainer.canvas import BLUE, GREEN, ORANGE
from isotherm.trainer.columns import Floats
from isotherm.trainer.estimator import Fitted
from isotherm.trainer.report import with_unit

# Points beyond so many hide each other, and make a picture of megabytes.
_POINTS: Final = 2000
_DARK: Final = 0.5


def losses(axes: Axes, fitted: Fitted) -> None:
    """Draw both losses over the epochs, on a logarithmic scale."""
    history = fitted.leaderboard.history
    axes.set_xlabel("Epoch")
    axes.set_ylabel("Cross-entropy" if fitted.classes else "Loss (of standardised targets)")
    axes.set_yscale("log")
    named = (
        ("training (all rows)", history.training, BLUE),
        ("validation (rows left out)", history.validation, ORANGE),
    )
    for label, values, colour in named:
        if values:
            axes.plot(range(1, len(values) + 1), values, label=label, color=colour)
    axes.legend()


def leaderboard(axes: Axes, fitted: Fitted) -> None:
    """Draw each model's error on rows left out with its standard error, and on rows learned."""
    board = fitted.leaderboard
    models = board.candidates[::-1]
    places = np.arange(len(models))
    left_out = [model.cross_validation_error for model in models]
    bars = [outcomes.error_bar(fitted, model) for model in models]
    axes.errorbar(
        left_out, places, xerr=bars, fmt="o", capsize=4, color=BLUE, label="rows left out"
    )
    learned = [model.training_error for model in models]
    axes.plot(learned, places, "x", color=ORANGE, label="rows learned from")
    names = [f"{model.name} *" if model is board.chosen else model.name for model in models]
    axes.set_yticks(places, names)
    axes.set_ylim(-0.5, len(models) - 0.5)
    axes.set_xlim(left=0)
    unit = fitted.table.targets[0].unit if not fitted.classes else ""
    axes.set_xlabel(f"{board.metric} ({unit})" if unit else board.metric)
    axes.legend()


def predicted(axes: Axes, fitted: Fitted, target: int = 0) -> None:
    """Draw predictions of rows left out against the truth, and the line where they agree."""
    truth = fitted.tested.y[:, target]
    given = outcomes.left_out(fitted, fitted.leaderboard.chosen)[:, target]
    shown = _some(len(truth))
    name = with_unit(fitted.table.targets[target])
    axes.plot(truth[shown], given[shown], "o", color=BLUE, alpha=0.6, markersize=4)
    middle = float(truth.mean())
    axes.axline((middle, middle), slope=1, color=ORANGE, label="predicted = actual")
    axes.set_xlabel(f"Actual {name}")
    axes.set_ylabel(f"Predicted {name}")
    axes.legend()


def residuals(axes: Axes, fitted: Fitted, target: int = 0) -> None:
    """Draw what predictions of rows left out miss by, and the interval around them."""
    chosen = fitted.leaderboard.chosen
    given = outcomes.left_out(fitted, chosen)[:, target]
    shown = _some(len(given))
    missed = chosen.held_out_residuals[shown, target]
    name, width = with_unit(fitted.table.targets[target]), float(fitted.half_width[target])
    axes.plot(given[shown], missed, "o", color=BLUE, alpha=0.6, markersize=4)
    axes.axhline(0, color=ORANGE)
    label = f"interval, {fitted.coverage:.0%}"
    if fitted.table.targets[target].transform:
        # Of one width on the scale that was learned, so of another at each answer.
        answers = np.sort(given)
        lower, upper = outcomes.bounds(fitted, target, answers)
        axes.fill_between(
            answers, answers - upper, answers - lower, color=GREEN, alpha=0.12, label=label
        )
    else:
        axes.axhspan(-width, width, color=GREEN, alpha=0.12, label=label)
    axes.set_xlabel(f"Predicted {name}")
    axes.set_ylabel(f"Predicted - actual {name}")
    axes.legend()


def confusion(axes: Axes, fitted: Fitted) -> None:
    """Draw how many rows of each class were predicted as which."""
    counts = outcomes.confusion(fitted)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.grid(visible=False)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    names = fitted.classes
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("Predicted (rows left out)")
    axes.set_ylabel("Actual")
    _write_counts(axes, counts, shares)


def calibration(axes: Axes, fitted: Fitted) -> None:
    """Draw how often a class was right among the rows to which it was given that probability."""
    mean, share, counts = outcomes.calibration(fitted)
    axes.axline((0.0, 0.0), slope=1, color=ORANGE, label="as often as said")
    sizes = 20 + 180 * counts / counts.max()
    axes.scatter(
        mean, share, s=sizes, color=BLUE, alpha=0.7, label="rows left out (area: how many)"
    )
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlabel("Predicted probability")
    axes.set_ylabel("Share that was right")
    axes.legend()


def _write_counts(axes: Axes, counts: NDArray[np.int64], shares: Floats) -> None:
    for (row, column), count in np.ndenumerate(counts):
        # Near black, not black: it stands on its own ground, whatever the page's.
        ink = "#ffffff" if shares[row, column] > _DARK else "#111111"
        axes.text(column, row, str(count), ha="center", va="center", color=ink)


def _some(rows: int) -> NDArray[np.int64]:
    return np.linspace(0, rows - 1, min(rows, _POINTS), dtype=np.int64)
