"""The trainer on a device: rows a second with its steps made by Python, and replayed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import torch
from torch import nn

from isotherm.trainer import loop, precision, steps
from isotherm.trainer.batches import Rows
from isotherm.trainer.config import FitConfig
from isotherm.trainer.stack import Single

# Steps of an epoch; and epochs of a short training and of one to compare it with. Both are of more
# steps than a training needs to be recorded, which costs both as much.
STEPS: Final = 64
SHORT: Final = 4
ROUNDS: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """Rows a second of one network and batch; None where that is not to be had.

    Attributes:
        widths: of the network, the inputs first.
        batch: rows a step.
        eager: with steps that Python makes.
        recorded: with steps that are replayed from a CUDA graph.
        note: why they are not, or how long a step takes by either way.
    """

    widths: tuple[int, ...]
    batch: int
    eager: float | None
    recorded: float | None
    note: str


def paces(
    shapes: Sequence[tuple[tuple[int, ...], int]], device: str, *, more: int = 16
) -> list[Pace]:
    """Measure each network and batch: `more` epochs beyond a short training, by either way."""
    return [_pace(widths, batch, torch.device(device), more) for widths, batch in shapes]


def _pace(widths: tuple[int, ...], batch: int, device: torch.device, more: int) -> Pace:
    rows = _rows(widths, batch, device)
    layers: list[nn.Module] = []
    for width, following in pairwise(widths):
        layers += [nn.Linear(width, following), nn.Tanh()]
    model = nn.Sequential(*layers[:-1])
    found: dict[bool, float | None] = {}
    with precision.exact(), _told() as notes:
        for recorded in (False, True):
            try:
                found[recorded] = _rows_a_second(model, rows, batch, device, more, recorded)
            except torch.OutOfMemoryError as error:
                notes.append(str(error).partition("\n")[0])
                found[recorded] = None
    replayed = any(note.startswith("steps are replayed:") for note in notes)
    if device.type != "cuda":
        notes.append("steps are recorded on CUDA only")
    return Pace(
        widths=widths,
        batch=batch,
        eager=found[False],
        recorded=found[True] if replayed else None,
        note=notes[-1] if notes else "",
    )


def _rows_a_second(
    model: nn.Sequential, rows: Rows, batch: int, device: torch.device, more: int, recorded: bool
) -> float:
    """Compare two trainings that differ in their epochs alone."""
    seconds = []
    for epochs in (SHORT, SHORT + more):
        config = FitConfig(epochs=epochs, batch_size=batch, cuda_graphs=recorded)
        best = float("inf")
        for _ in range(ROUNDS):
            single = Single(model, device)
            start = time.perf_counter()
            # It ends with a look at the losses: the device has come to them.
            loop.fit(single, rows, config)
            best = min(best, time.perf_counter() - start)
        seconds.append(best)
    return STEPS * batch * more / max(seconds[1] - seconds[0], 1e-9)


def _rows(widths: tuple[int, ...], batch: int, device: torch.device) -> Rows:
    count = STEPS * batch
    generator = torch.Generator(device).manual_seed(0)
    x = torch.randn(1, count, widths[0], device=device, generator=generator)
    y = torch.randn(1, count, widths[-1], device=device, generator=generator)
    share = torch.full((1, count), 1 / count, device=device)
    return Rows(x=x, y=y, training=share, held_out=torch.zeros(1, count, device=device))


@contextmanager
def _told() -> Iterator[list[str]]:
    """Collect what the trainer says of its steps."""
    notes: list[str] = []

    class _Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            notes.append(record.getMessage())

    log, handler = logging.getLogger(steps.__name__), _Notes()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield notes
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


if __name__ == "__main__":
    place = "cuda" if torch.cuda.is_available() else "cpu"
    for pace in paces((((1, 13, 1), 1024), ((64, 256, 256, 8), 4096)), place, more=4):
        print(pace)
