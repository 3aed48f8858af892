"""Tests of the pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from isotherm.trainer import charts, plots
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


def test_the_pictures_are_written_as_png_and_svg(fitted: Fitted, tmp_path: Path) -> None:
    """Losses, the chosen model, the leaderboard, and what rows left out were answered."""
    paths = plots.draw(fitted, tmp_path / "plots", dpi=20)

    names = ["loss", "fit-network", "leaderboard", "predicted", "residuals"]
    assert [path.name for path in paths] == [f"{name}.png" for name in names]
    assert {path.read_bytes()[:4] for path in paths} == {b"\x89PNG"}
    assert all("<svg" in path.with_suffix(".svg").read_text() for path in paths)


def test_labels_have_pictures_of_their_own(classified: Fitted) -> None:
    """Confusion and calibration in place of residuals."""
    names = [picture.name for picture in plots.pictures(classified)]

    assert names == ["loss", "leaderboard", "confusion", "calibration"]


def test_every_target_has_pictures_up_to_four(fitted: Fitted) -> None:
    """They are numbered."""
    many = dataclasses.replace(
        fitted,
        table=dataclasses.replace(
            fitted.table,
            targets=fitted.table.targets * 5,
            y=np.repeat(fitted.table.y, 5, axis=1),
        ),
    )

    names = [picture.name for picture in plots.pictures(many)]
    assert [name for name in names if name.startswith("res")] == [
        f"residuals-{number}" for number in (1, 2, 3, 4)
    ]


def test_a_large_table_is_thinned_out(fitted: Fitted) -> None:
    """A picture of every row of a million would hide them, and be megabytes of text."""
    rows = 50_000
    chosen = fitted.leaderboard.chosen
    large = dataclasses.replace(
        fitted,
        table=dataclasses.replace(
            fitted.table,
            x=np.resize(fitted.table.x, (rows, 1)),
            y=np.resize(fitted.table.y, (rows, 1)),
        ),
        leaderboard=dataclasses.replace(
            fitted.leaderboard,
            chosen=dataclasses.replace(
                chosen, held_out_residuals=np.resize(chosen.held_out_residuals, (rows, 1))
            ),
        ),
    )
    axes = Figure().add_subplot()

    charts.predicted(axes, large)

    assert np.shape(axes.lines[0].get_xydata())[0] <= 2000


def test_names_of_models_become_names_of_files(fitted: Fitted) -> None:
    """A recipe's names have brackets and commas in them."""
    chosen = dataclasses.replace(fitted.leaderboard.chosen, name="line (SGD 1e-2, 3 epochs)")
    board = dataclasses.replace(fitted.leaderboard, candidates=(chosen,), chosen=chosen)

    names = [one.name for one in plots.pictures(dataclasses.replace(fitted, leaderboard=board))]

    assert "fit-line-SGD-1e-2-3-epochs" in names
