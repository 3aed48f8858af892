"""The plot: latency against load."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from isotherm.client.cli.bench.figures import Figures, Limits
from isotherm.client.cli.failure import Failure

SUFFIXES: Final = (".png", ".svg")
_LINES: Final = (("p50", "latency_p50_us"), ("p99", "latency_p99_us"), ("p99.9", "latency_p999_us"))
_INCHES: Final = (7.0, 4.5)


def check(path: Path) -> None:
    """Raise Failure, before anything is measured, when `path` could not be drawn."""
    if path.suffix not in SUFFIXES:
        msg = f"--plot {path}: expected a name that ends with {' or '.join(SUFFIXES)}"
        raise Failure(msg)
    if find_spec("matplotlib") is None:
        msg = "--plot needs matplotlib: pip install 'isotherm[bench]'"
        raise Failure(msg)
    if not path.absolute().parent.is_dir():
        msg = f"--plot {path}: there is no such folder"
        raise Failure(msg)


def draw(path: Path, title: str, loads: Sequence[Figures], limits: Limits | None) -> None:
    """Write the picture: rates as offered, in a closed loop as achieved; latencies on log scale."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter

    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.add_subplot()
    # A rate that a ramp tried twice is shown as it was the second time.
    ordered = sorted({_rate(load): load for load in loads}.values(), key=_rate)
    for name, field in _LINES:
        latencies_ms = [getattr(load, field) / 1000 for load in ordered]
        axes.plot([*map(_rate, ordered)], latencies_ms, marker="o", markersize=4, label=name)
    if limits is not None:
        axes.axhline(limits.p99_us / 1000, color="grey", linestyle=":", label="limit of p99")
    axes.set_yscale("log")
    # Milliseconds, not powers of ten; the labels between them where there is room.
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    axes.set_xlim(left=0)
    axes.set_xlabel("requests/s")
    axes.set_ylabel("latency [ms]")
    axes.set_title(title, fontsize=9)
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def _rate(load: Figures) -> float:
    return load.achieved_per_s if load.offered_per_s is None else load.offered_per_s
