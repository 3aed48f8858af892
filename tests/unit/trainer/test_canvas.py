"""Tests of how pictures become files and parts of a page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from matplotlib.axes import Axes

from isotherm.trainer import canvas


def _draw(axes: Axes) -> None:
    axes.plot([1, 2], [3, 4], "o")
    axes.set_xlabel("Celsius")


def test_the_same_picture_has_the_same_bytes(tmp_path: Path) -> None:
    """Neither the time nor a random number is in it."""
    files = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        path = canvas.save(_draw, tmp_path / name, "picture", 30)
        files.append((path.read_bytes(), path.with_suffix(".svg").read_bytes()))

    assert files[0] == files[1]


def test_a_picture_in_a_page_is_one_element_in_the_colour_of_the_text() -> None:
    """Nothing black is left, so that it can be read on a dark page."""
    text = canvas.inline(_draw, "picture")

    root = ET.fromstring(text)  # noqa: S314  our own
    assert root.tag.endswith("svg")
    assert "currentColor" in text
    assert "#000000" not in text
    assert "Celsius" in text


def test_names_inside_two_pictures_do_not_meet() -> None:
    """A page has each id once, and what refers to one finds it."""
    first, second = (set(re.findall(r'id="([^"]+)"', canvas.inline(_draw, n))) for n in "ab")
    text = canvas.inline(_draw, "a")

    assert not first & second
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', text)
    assert used
    assert set(used) <= first
