"""Curves as SVG."""

from __future__ import annotations

import re

import pytest

from isotherm.server.status_page.charts import chart, sparkline


@pytest.mark.parametrize(
    ("highest", "axis"),
    [(0.0, ["0", "0.5", "1"]), (84.0, ["0", "50", "100"]), (21.0, ["0", "15", "30"])],
)
def test_the_scale_ends_at_a_round_number(highest: float, axis: list[str]):
    """Above every value, and not far."""
    svg = chart("Title", {"a": [0.0, highest]}, places=10, span="then", scale="{:g}".format)

    assert re.findall(r">([\d.]+)</text>", svg) == axis


def test_the_newest_value_is_at_the_right_edge_and_the_highest_at_the_top():
    """Whatever is missing is missing at the left."""
    svg = sparkline([0.0, 10.0], places=11, label="of something")
    (points,) = re.findall(r'<polyline class="curve curve-0" points="([^"]*)"', svg)

    assert points == "98.2,20.0 109.0,2.0"


def test_a_label_is_escaped():
    """It may hold a name."""
    assert 'aria-label="&lt;&quot;&gt;"' in sparkline([], places=2, label='<">')


def test_what_is_not_there_is_not_drawn():
    """A gap parts the curve; a single point is a dot."""
    svg = sparkline([1.0, 1.0, None, 1.0], places=4, label="of something")

    assert (svg.count("<polyline"), svg.count("<circle")) == (1, 1)
