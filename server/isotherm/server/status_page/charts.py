"""Curves over the last minutes as inline SVG: a chart with its scale, and a sparkline."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from isotherm.server.status_page.markup import Markup, element

# A value a sample; None where there was none, and the curve has a gap.
Curve = Sequence[float | None]

_WIDTH: Final = 560
_HEIGHT: Final = 150
# Room for the scale at the left, and for the times below.
_LEFT: Final = 62
_BOTTOM: Final = 20
_TOP: Final = 8
_SPARK_WIDTH: Final = 110
_SPARK_HEIGHT: Final = 22
# What an axis may end at, times a power of ten. The last one is for what rounding leaves over.
_STEPS: Final = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0)


def chart(
    title: str,
    curves: Mapping[str, Curve],
    *,
    places: int,
    span: str,
    scale: Callable[[float], str],
) -> Markup:
    """Return a chart with room for `places` samples, the newest at the right edge.

    `curves` go by the names in the legend; their classes are `curve-0`, `curve-1` and so on. `span`
    names the time at the left edge, `scale` writes a value of the axis.
    """
    high = _highest(curves.values())
    right, bottom = _WIDTH - 8, _HEIGHT - _BOTTOM
    content: list[Markup] = []
    for part in (0.0, 0.5, 1.0):
        y = bottom - part * (bottom - _TOP)
        content.append(element("line", class_="grid", x1=_LEFT, x2=right, y1=y, y2=y))
        text = scale(part * high)
        content.append(element("text", text, class_="axis end", x=_LEFT - 6, y=y + 4))
    content.append(element("text", span, class_="axis", x=_LEFT, y=_HEIGHT - 4))
    content.append(element("text", "now", class_="axis end", x=right, y=_HEIGHT - 4))
    for number, curve in enumerate(curves.values()):
        box = (_LEFT, right, _TOP, bottom)
        content += _drawn(curve, box, high, places, f"curve-{number}", area=number == 0)
    legend = [
        element("span", name, class_=f"key key-{number}") for number, name in enumerate(curves)
    ]
    return element(
        "figure",
        element("figcaption", element("b", title), *legend),
        element("svg", *content, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=title),
    )


def sparkline(curve: Curve, *, places: int, label: str) -> Markup:
    """Return a curve the height of a line of text, from zero to its highest value."""
    box = (1, _SPARK_WIDTH - 1, 2, _SPARK_HEIGHT - 2)
    drawn = _drawn(curve, box, _highest([curve]), places, "curve-0", area=True)
    return element(
        "svg",
        *drawn,
        class_="spark",
        viewBox=f"0 0 {_SPARK_WIDTH} {_SPARK_HEIGHT}",
        role="img",
        aria_label=label,
    )


def _highest(curves: Iterable[Curve]) -> float:
    """Return a round number at or above every value."""
    high = max((value for curve in curves for value in curve if value is not None), default=0.0)
    if not high:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(high))
    return next(step * unit for step in _STEPS if step * unit >= high)


def _drawn(
    curve: Curve, box: tuple[float, ...], high: float, places: int, name: str, *, area: bool
) -> Iterator[Markup]:
    """Yield the pieces of a curve, with the area below them if asked for.

    `box` is left, right, top and bottom; the newest of `places` samples is at the right.
    """
    left, right, top, bottom = box
    step = (right - left) / max(1, places - 1)
    start = right - step * (len(curve) - 1)
    points = [
        None if value is None else (start + step * place, bottom - (bottom - top) * value / high)
        for place, value in enumerate(curve)
    ]
    for there, group in groupby(points, key=lambda point: point is not None):
        piece = [point for point in group if point is not None]
        if not there:
            continue
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in piece)
        if len(piece) == 1:
            (x, y) = piece[0]
            yield element("circle", class_=f"dot {name}", cx=f"{x:.1f}", cy=f"{y:.1f}", r=1.5)
            continue
        if area:
            below = f"{piece[0][0]:.1f},{bottom} {line} {piece[-1][0]:.1f},{bottom}"
            yield element("polygon", class_=f"area {name}", points=below)
        yield element("polyline", class_=f"curve {name}", points=line)
