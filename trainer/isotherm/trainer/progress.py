"""Progress: a bar on a terminal, a line of JSON now and then elsewhere; both on stderr."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

# The epoch from 1, the training loss, and the validation loss (NaN without one).
OnEpoch = Callable[[int, float, float], None]
Watch = Callable[[str, int], OnEpoch]
# Rows that have been read in all, and the mean loss of the epoch so far (NaN without one).
OnRows = Callable[[int, float], None]

# A terminal is redrawn so often; telling it of every epoch would cost more than the epochs.
_REDRAW_S: Final = 0.1
# Seconds between two lines about rows, where stderr is no terminal.
_LINE_S: Final = 10.0


def on_rows(watch: Watch | None, stage: str, total: int) -> OnRows:
    """Return what a watch wants to be told of rows; nothing where it only knows epochs."""
    rows = getattr(watch, "rows", None)
    return rows(stage, total) if rows else lambda _rows, _loss: None


@contextmanager
def watching(
    file: TextIO, every: int, clock: Callable[[], float] = time.monotonic
) -> Iterator[Watch]:
    """Yield what shows the losses of each stage in `file`; `every` 0 shows nothing.

    Args:
        file: a terminal gets bars; anything else a line at epoch 1 and at each multiple.
        every: epochs between two lines.
        clock: seconds, for the time left.
    """
    console = Console(file=file)
    if not every:
        yield lambda _stage, _epochs: _ignore
    elif console.is_terminal:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[losses]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        ) as bars:
            yield _Watching(
                lambda stage, epochs: _bar(bars, stage, epochs, clock),
                lambda stage, total: _row_bar(bars, stage, total, clock),
            )
    else:
        yield _Watching(
            lambda stage, epochs: _lines(file, stage, epochs, every, clock),
            lambda stage, total: _row_lines(file, stage, total, clock),
        )


class _Watching:
    def __init__(self, epochs: Watch, rows: Callable[[str, int], OnRows]) -> None:
        self._epochs = epochs
        self.rows = rows

    def __call__(self, stage: str, epochs: int) -> OnEpoch:
        return self._epochs(stage, epochs)


class Best:
    """The epoch of the lowest loss: of the validation, or of the training where there is none."""

    def __init__(self) -> None:
        self.epoch = 0
        self._loss = math.inf

    def update(self, epoch: int, training: float, validation: float) -> int:
        """Take an epoch's losses; return the best epoch so far."""
        loss = training if math.isnan(validation) else validation
        if loss < self._loss:
            self.epoch, self._loss = epoch, loss
        return self.epoch


def _ignore(_epoch: int, _training: float, _validation: float) -> None:
    pass


def _lines(
    file: TextIO, stage: str, epochs: int, every: int, clock: Callable[[], float]
) -> OnEpoch:
    best, started, first = Best(), clock(), 0

    def on_epoch(epoch: int, training: float, validation: float) -> None:
        nonlocal first
        # A training that is continued does not begin at 1.
        first = first or epoch
        at = best.update(epoch, training, validation)
        if epoch != first and epoch % every and epoch != epochs:
            return
        pace = (clock() - started) / (epoch - first + 1)
        line = {
            "stage": stage,
            "epoch": epoch,
            "epochs": epochs,
            "training_loss": training,
            "validation_loss": None if math.isnan(validation) else validation,
            "best_epoch": at,
            "seconds_left": round(pace * (epochs - epoch), 1),
        }
        file.write(json.dumps(line) + "\n")
        file.flush()

    return on_epoch


def _bar(bars: Progress, stage: str, epochs: int, clock: Callable[[], float]) -> OnEpoch:
    best, drawn = Best(), -math.inf
    task = bars.add_task(stage, total=epochs, losses="")

    def on_epoch(epoch: int, training: float, validation: float) -> None:
        nonlocal drawn
        at = best.update(epoch, training, validation)
        if epoch != epochs and clock() - drawn < _REDRAW_S:
            return
        drawn = clock()
        held_out = "" if math.isnan(validation) else f", validation {validation:.4f}"
        losses = f"epoch {epoch}/{epochs}: training {training:.4f}{held_out}, best epoch {at}"
        bars.update(task, completed=epoch, losses=losses)

    return on_epoch


def _row_lines(file: TextIO, stage: str, total: int, clock: Callable[[], float]) -> OnRows:
    pace, told = _Pace(clock), clock()

    def on_rows(rows: int, loss: float) -> None:
        nonlocal told
        rate = pace.of(rows)
        if clock() - told < _LINE_S and rows < total:
            return
        told = clock()
        line: dict[str, Any] = {
            "stage": stage,
            "rows": rows,
            "of": total,
            "rows_per_second": round(rate),
            "training_loss": None if math.isnan(loss) else loss,
            "seconds_left": round((total - rows) / rate, 1) if rate else None,
        }
        file.write(json.dumps(line) + "\n")
        file.flush()

    return on_rows


def _row_bar(bars: Progress, stage: str, total: int, clock: Callable[[], float]) -> OnRows:
    pace, drawn = _Pace(clock), -math.inf
    task = bars.add_task(stage, total=total, losses="")

    def on_rows(rows: int, loss: float) -> None:
        nonlocal drawn
        rate = pace.of(rows)
        if clock() - drawn < _REDRAW_S and rows < total:
            return
        drawn = clock()
        so_far = "" if math.isnan(loss) else f", training {loss:.4f}"
        text = f"{rows:,} of {total:,} rows, {rate:,.0f} rows/s{so_far}"
        bars.update(task, completed=rows, losses=text)

    return on_rows


class _Pace:
    """Rows a second since the first word: a training that is continued does not begin at 0."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._first: tuple[int, float] | None = None

    def of(self, rows: int) -> float:
        """Return the rate at which so many rows have been reached; 0 at the first word."""
        now = self._clock()
        if self._first is None:
            self._first = rows, now
        begun, started = self._first
        return (rows - begun) / max(now - started, 1e-9)
