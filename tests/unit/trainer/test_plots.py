"""Tests of the pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from isotherm.trainer import plots
from isotherm.trainer.estimator import Fitted


def test_the_curve_is_drawn_over_the_seeds_range(fitted: Fitted) -> None:
    """The readings 21.8 to 81.9 give arange(20., 90.)."""
    np.testing.assert_allclose(plots.curve_grid(fitted.table.x[:, 0]), np.arange(20.0, 90.0))


@pytest.mark.parametrize(("low", "high"), [(0.001, 0.0042), (-3e6, 5e6), (99.9, 100.1)])
def test_the_curve_covers_tables_of_any_size(low: float, high: float) -> None:
    """It starts below the first value and ends within a step of the last, in a hundred points."""
    grid = plots.curve_grid(np.array([low, high]))

    assert grid[0] <= low
    assert grid[-1] >= high - (high - low) / 10
    assert 10 <= len(grid) <= 120


def test_the_picture_is_that_of_the_seed(fitted: Fitted) -> None:
    """Fahrenheit against Celsius; readings `o`, curve `c-`, answers `kx`."""
    axes = Figure().add_subplot()

    plots.draw_fit(axes, fitted.table, fitted.served.answers)

    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Fahrenheit", "Celsius")
    assert [(line.get_marker(), line.get_linestyle()) for line in axes.lines] == [
        ("o", "None"),
        ("None", "-"),
        ("x", "None"),
    ]
    assert [line.get_color() for line in axes.lines[1:]] == ["c", "k"]


def test_the_pictures_are_written_as_png(fitted: Fitted, tmp_path: Path) -> None:
    """One for the losses, one for the chosen model."""
    paths = plots.draw(fitted, tmp_path / "plots", dpi=20)

    assert [path.name for path in paths] == ["loss.png", "fit-network.png"]
    assert {path.read_bytes()[:4] for path in paths} == {b"\x89PNG"}
