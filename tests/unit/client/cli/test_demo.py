"""The demo's own parts; the whole of it runs in the integration tests."""

from __future__ import annotations

import math

from rich.console import Console

from isotherm.client.cli import demo


def test_bars_show_the_batches_by_their_rows():
    """Ranges are readable, empty buckets are left out, the largest bar is full."""
    console = Console(width=80)
    with console.capture() as capture:
        console.print(demo._bars({1.0: 10, 2.0: 0, 4.0: 5, math.inf: 1}))

    rows = [line.split() for line in capture.get().splitlines()]
    assert rows == [
        ["rows", "batches"],
        ["1", "10", "#" * 40],
        ["3", "to", "4", "5", "#" * 20],
        ["5", "to", "inf", "1", "#" * 4],
    ]


def test_a_directory_that_cannot_be_made_ends_with_a_sentence(isotherm, tmp_path):
    """Nothing is started where nothing can be written."""
    (tmp_path / "file").write_text("")

    result = isotherm("demo", "--directory", tmp_path / "file")

    assert result.exit_code == 1
    assert result.stderr == f"error: {tmp_path / 'file'}: File exists\n"
