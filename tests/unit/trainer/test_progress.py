"""Tests of what a training shows while it runs."""

from __future__ import annotations

import io
import itertools
import json
import math

import pytest

from isotherm.trainer import progress


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        """Pass for a terminal."""
        return True


def test_a_file_gets_a_line_of_json_now_and_then() -> None:
    """With both losses, the best epoch so far, and the time left at this pace."""
    file, clock = io.StringIO(), itertools.count()
    losses = [0.9, 0.5, 0.7, 0.8, 0.6]

    with progress.watching(file, 2, lambda: float(next(clock))) as watch:
        on_epoch = watch("network", 5)
        for epoch, loss in enumerate(losses, start=1):
            on_epoch(epoch, loss / 2, loss)

    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 4, 5]
    assert lines[2] == {
        "stage": "network",
        "epoch": 4,
        "epochs": 5,
        "training_loss": 0.4,
        "validation_loss": 0.8,
        "best_epoch": 2,
        "seconds_left": pytest.approx(0.8, abs=0.1),
    }


def test_without_a_validation_the_training_tells_the_best_epoch() -> None:
    """There is no NaN in JSON."""
    file = io.StringIO()

    with progress.watching(file, 1) as watch:
        watch("network", 1)(1, 0.5, math.nan)

    line = json.loads(file.getvalue())
    assert (line["validation_loss"], line["best_epoch"]) == (None, 1)


def test_a_training_that_goes_on_tells_its_first_epoch() -> None:
    """After a checkpoint, the first line is not that of epoch 1."""
    file = io.StringIO()

    with progress.watching(file, 100) as watch:
        watch("network", 1000)(151, 0.5, 0.5)

    assert json.loads(file.getvalue())["epoch"] == 151


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the epoch, both losses and the best epoch; it is gone when the training is over."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    file, clock = _Terminal(), itertools.count()

    with progress.watching(file, 1000, lambda: float(next(clock))) as watch:
        on_epoch = watch("network", 2)
        on_epoch(1, 0.25, 0.5)
        on_epoch(2, 0.125, math.nan)

    assert "epoch 2/2: training 0.1250, best epoch 2" in file.getvalue()


@pytest.mark.parametrize("file", [io.StringIO(), _Terminal()])
def test_zero_shows_nothing(file: io.StringIO) -> None:
    """Neither a bar nor a line."""
    with progress.watching(file, 0) as watch:
        watch("network", 1)(1, 0.5, 0.5)

    assert file.getvalue() == ""


def test_rows_are_told_with_their_rate_and_the_time_left() -> None:
    """Now and then, and at the end; a training that goes on does not count what it skipped."""
    file, now = io.StringIO(), [0.0]

    with progress.watching(file, 1, lambda: now[0]) as watch:
        on_rows = progress.on_rows(watch, "rows", 10_000)
        for second in range(41):
            now[0] = float(second)
            on_rows(2000 + 200 * second, math.nan if second < 15 else 0.5)

    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert [line["rows"] for line in lines] == [4000, 6000, 8000, 10_000]
    assert lines[1] == {
        "stage": "rows",
        "rows": 6000,
        "of": 10_000,
        "rows_per_second": 200,
        "training_loss": 0.5,
        "seconds_left": 20.0,
    }
    assert lines[0]["training_loss"] is None


def test_a_terminal_gets_a_bar_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """With their rate."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    file, clock = _Terminal(), itertools.count()

    with progress.watching(file, 1000, lambda: float(next(clock))) as watch:
        on_rows = progress.on_rows(watch, "rows", 3000)
        on_rows(1000, math.nan)
        on_rows(3000, 0.25)

    assert "3,000 of 3,000 rows" in file.getvalue()
    assert "training 0.2500" in file.getvalue()


def test_a_watch_that_knows_no_rows_is_not_told_of_them() -> None:
    """A function of one's own is a watch."""
    on_rows = progress.on_rows(lambda _stage, _epochs: lambda *_losses: None, "rows", 10)

    assert on_rows(10, 0.5) is None
    assert progress.on_rows(None, "rows", 10)(10, 0.5) is None
