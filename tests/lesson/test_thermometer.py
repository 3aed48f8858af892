"""Tests of docs/thermometer.md: that its command still writes what stands there."""

from __future__ import annotations

import re

import pytest

from tests.bench import left_out, thermometer
from tests.lesson.printouts import difference

RELATIVE = 0.02


@pytest.fixture(name="tables", scope="module")
def _tables() -> dict[str, str]:
    """What stands between the page's markers."""
    page = thermometer.PAGE.read_text(encoding="utf-8")
    return dict(re.findall(r"<!-- begin: (\S+) -->\n(.*?)<!-- end: \1 -->", page, re.DOTALL))


@pytest.fixture(name="models", scope="module")
def _models(tables: dict[str, str]) -> dict[str, list[str]]:
    """The cells of each model left out, by its name."""
    rows = [line.strip("| ").split(" | ") for line in tables["left-out"].splitlines()[2:]]
    return {name: cells for name, *cells in rows}


def test_the_line_through_all_readings_is_recomputed(tables: dict[str, str]) -> None:
    """Closed form and gradient descent."""
    found = "\n".join(thermometer.all_readings())

    assert difference(tables["all"], found, RELATIVE) == ""


def test_every_model_is_on_the_page_in_its_order(models: dict[str, list[str]]) -> None:
    """Closed forms first, then the networks."""
    closed = [row.name for row in left_out.closed_forms()]

    assert list(models) == [*closed, *(recipe.name for recipe in left_out.recipes())]


def test_the_closed_forms_are_recomputed(tables: dict[str, str]) -> None:
    """Their rows need no training."""
    rows = list(left_out.closed_forms())
    (line,) = (row for row in rows if row.name == left_out.LINE)

    found = "\n".join(thermometer.model_line(row, line) for row in rows)

    shown = "\n".join(tables["left-out"].splitlines()[2 : 2 + len(rows)])
    assert difference(shown, found, RELATIVE) == ""


@pytest.mark.slow
def test_a_network_is_recomputed(models: dict[str, list[str]]) -> None:
    """The seed's recipe on its ten starts, with what rounding may do in 5000 epochs."""
    recipe = next(iter(left_out.recipes()))

    row = left_out.left_out(recipe)

    training, truth = (float(cell) for cell in models[recipe.name][1:3])
    assert row.training == pytest.approx(training, abs=0.03)
    assert row.truth == pytest.approx(truth, abs=0.05)


def test_what_the_page_concludes_follows_from_its_table(models: dict[str, list[str]]) -> None:
    """No model beats the line by two standard errors, and none is as near to the truth."""
    line = models.pop(left_out.LINE)
    for left_out_rmse, _, truth, against in models.values():
        gain, error = (float(number) for number in against.split(" +- "))
        assert -gain <= 2 * error
        assert float(truth) > float(line[2])
        assert left_out_rmse
