"""The canvas: one style for all pictures, as PNG and SVG files, or as SVG inside a page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Draw = Callable[[Axes], None]

# Of Okabe and Ito: told apart by everyone, on white and on black.
BLUE: Final = "#0072B2"
ORANGE: Final = "#D55E00"
GREEN: Final = "#009E73"

_INK: Final = "#000000"


def save(draw: Draw, folder: Path, name: str, dpi: int) -> Path:
    """Write `<name>.png` and `<name>.svg`; return the path of the PNG."""
    path = folder / f"{name}.png"
    with _style():
        figure = _figure(draw, dpi)
        figure.savefig(path, dpi=dpi)
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    return path


def inline(draw: Draw, name: str) -> str:
    """Return the picture as an SVG element that takes the colour of the text around it."""
    buffer = io.StringIO()
    with _style():
        _figure(draw, 100).savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = text.replace(_INK, "currentColor")
    # What matplotlib does not colour is black by default.
    text = text.replace("<svg ", f'<svg role="img" aria-label="{name}" fill="currentColor" ', 1)
    # Names are unique in a page, not only in a picture.
    text = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    return re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', text)


@contextmanager
def _style() -> Iterator[None]:
    with mpl.rc_context(
        {
            "axes.grid": True,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "figure.figsize": (6.4, 4.0),
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "grid.alpha": 0.25,
            "legend.frameon": False,
            # Text stays text, and the same picture has the same bytes.
            "svg.fonttype": "none",
            "svg.hashsalt": "isotherm",
        }
    ):
        yield


def _figure(draw: Draw, dpi: int) -> Figure:
    # A figure of its own, without pyplot: no global state, and no display is looked for.
    figure = Figure(dpi=dpi)
    draw(figure.add_subplot())
    return figure
