"""Answers as a table for people."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from isotherm.client.cli.answer import Series
from isotherm.client.cli.failure import Failure
from isotherm.client.cli.writers.table import TABLE_ROWS, TableWriter


def _console(*, terminal):
    return Console(
        file=io.StringIO(), force_terminal=terminal, markup=False, highlight=False, width=80
    )


def _shown(rows, *, terminal):
    console = _console(terminal=terminal)
    writer = TableWriter(console)
    for start in range(0, rows, 100):
        numbers = np.arange(start, min(start + 100, rows), dtype=np.float64)
        writer.write([Series("n", "n [m]", numbers)])
    writer.finish()
    writer.close()
    return console.file.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_small_table_is_whole(terminal):
    """Units stand in the head."""
    text = _shown(TABLE_ROWS, terminal=terminal)

    assert "n [m]" in text
    assert f" {TABLE_ROWS - 1} " in text


def test_on_a_terminal_a_long_table_is_cut_and_says_so(capsys):
    """And says how to see the rest."""
    text = _shown(TABLE_ROWS + 1, terminal=True)

    assert f" {TABLE_ROWS - 1} " in text
    assert f" {TABLE_ROWS} " not in text
    assert capsys.readouterr().err == (
        f"note: the first {TABLE_ROWS} rows; for all of them add --output FILE or --format csv\n"
    )


def test_off_a_terminal_a_long_table_is_refused():
    """Nobody would miss the rest until it is too late."""
    with pytest.raises(Failure, match="more than 1000 rows are no table"):
        _shown(TABLE_ROWS + 1, terminal=False)
