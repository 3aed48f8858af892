"""The bar on standard error."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from isotherm.client.cli import progress
from isotherm.client.cli.rows import Batch


def _console(*, terminal):
    return Console(file=io.StringIO(), force_terminal=terminal, width=100)


def _batch(rows, read):
    return Batch(np.zeros((rows, 1)), "x.csv", "line", range(rows), read)


def test_the_bar_says_how_far_and_how_fast():
    """The share by what was read, the number by what was written."""
    console = _console(terminal=True)

    with progress.shown(2000, console, wanted=True) as bar:
        bar.advance(_batch(1000, 900))
        bar.advance(_batch(234, 2000))

    text = console.file.getvalue()
    assert "1,234 rows" in text
    assert "100%" in text
    assert "/s" in text


@pytest.mark.parametrize(("terminal", "wanted"), [(False, True), (True, False)])
def test_nothing_is_shown_where_nobody_looks(terminal, wanted):
    """Logs stay free of it."""
    console = _console(terminal=terminal)

    with progress.shown(2000, console, wanted=wanted) as bar:
        bar.advance(_batch(1000, 900))

    assert console.file.getvalue() == ""
