"""Answers as text."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest

from isotherm.client.cli.answer import Series
from isotherm.client.cli.writers import Format, writer_of

TEXTS = (Format.CSV, Format.JSON, Format.JSONL)


def _written(path, form, parts):
    writer = writer_of(form, path)
    for part in parts:
        writer.write(part)
    writer.finish()
    writer.close()
    return path.read_text()


@pytest.mark.parametrize("form", TEXTS)
def test_batches_make_the_same_text_as_one(tmp_path, columns, form):
    """Heads, commas and brackets come once."""
    whole = _written(tmp_path / "whole", form, [columns(0, 7)])
    parts = _written(tmp_path / "parts", form, [columns(0, 1), columns(1, 5), columns(5, 7)])

    assert parts == whole


def test_csv_has_a_line_of_names_and_cells_in_quotes(tmp_path, columns):
    """A third of FP32 has FP32's digits; NaN is `nan`."""
    text = _written(tmp_path / "x", Format.CSV, [columns(1, 3)])

    assert text == 'n,third,label\n1.0,0.33333334,"""1""\n,"\n2.0,nan,"""2""\n,"\n'
    assert [row["label"] for row in csv.DictReader(text.splitlines(keepends=True))] == [
        '"1"\n,',
        '"2"\n,',
    ]


@pytest.mark.parametrize("form", [Format.JSON, Format.JSONL])
def test_json_has_null_for_what_it_lacks(tmp_path, form):
    """NaN and both infinities."""
    cells = np.array([1.5, math.nan, math.inf, -math.inf], np.float32)
    text = _written(tmp_path / "x", form, [[Series("y", "y", cells)]])

    rows = json.loads(text) if form is Format.JSON else map(json.loads, text.splitlines())
    assert [row["y"] for row in rows] == [1.5, None, None, None]


def test_an_array_looks_as_one_that_was_made_at_once(tmp_path, columns):
    """Two blanks a level."""
    text = _written(tmp_path / "x", Format.JSON, [columns(0, 2), columns(3, 4)])

    assert text == json.dumps(json.loads(text), indent=2) + "\n"


@pytest.mark.parametrize(("form", "text"), [(Format.JSON, "[]\n"), (Format.JSONL, "")])
def test_no_rows_can_be_read_too(tmp_path, form, text):
    """An array of none."""
    assert text == _written(tmp_path / "x", form, [])


def test_text_goes_to_standard_output(capfdbinary, columns):
    """Behind what others have printed."""
    print("before")
    writer = writer_of(Format.JSONL, None)
    writer.write(columns(0, 1))
    writer.close()
    print("behind")

    before, row, behind = capfdbinary.readouterr().out.splitlines()
    assert (before, behind) == (b"before", b"behind")
    assert json.loads(row)["n"] == 0
