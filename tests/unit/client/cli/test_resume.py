"""Outputs that an earlier run has begun."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isotherm.client.cli.answer import Series
from isotherm.client.cli.failure import Failure, Misuse
from isotherm.client.cli.model import Column, Model
from isotherm.client.cli.resume import begun, checked
from isotherm.client.cli.rows import Batch
from isotherm.client.cli.writers import Format

CSV = 'n,label\n1.0,"a ""b"", \nc"\n2.0,d\nnan,"e\n\n"\n'
# Where the whole rows end.
CSV_ENDS = [CSV.index("2.0"), CSV.index("nan"), len(CSV)]
LINES = [json.dumps({"n": each, "label": "ü\n"}) + "\n" for each in (1, None, 3)]


@pytest.mark.parametrize("cut", range(len(CSV) + 1))
def test_half_a_row_of_csv_does_not_count(tmp_path, cut):
    """Wherever it was cut, also within a quoted cell of several lines."""
    path = tmp_path / "x.csv"
    path.write_text(CSV[:cut])

    there = begun(path, Format.CSV)

    ends = [end for end in CSV_ENDS if end <= cut]
    assert (there.rows, there.end) == (len(ends), ends[-1] if ends else 0)


def test_half_a_line_of_json_does_not_count(tmp_path):
    """Wherever it was cut, also within a character."""
    path = tmp_path / "x.jsonl"
    text = "".join(LINES).encode()
    ends = [sum(len(line) for line in LINES[:count]) for count in range(1, 4)]

    for cut in range(len(text) + 1):
        path.write_bytes(text[:cut])
        there = begun(path, Format.JSONL)
        whole = [end for end in ends if end <= cut]
        assert (there.rows, there.end) == (len(whole), whole[-1] if whole else 0)


@pytest.mark.parametrize("form", [Format.CSV, Format.JSON, Format.JSONL, Format.PARQUET])
def test_what_is_not_there_has_no_rows(tmp_path, form):
    """The first run of a loop may say `--resume` too."""
    assert begun(tmp_path / "x", form).rows == 0
    (tmp_path / "x").touch()
    assert begun(tmp_path / "x", form).rows == 0


def test_the_last_row_of_each_form_is_known(tmp_path):
    """By the names of its columns."""
    (tmp_path / "x.csv").write_text("n,label\n1.0,a\n2.5,b\n")
    (tmp_path / "x.jsonl").write_text('{"n": 1.0, "label": "a"}\n{"n": 2.5, "label": "b"}\n')
    pq.write_table(
        pa.table({"n": [1.0, 2.5], "label": ["a", "b"]}), tmp_path / "x.parquet", row_group_size=1
    )

    lasts = [begun(tmp_path / f"x.{form}", form) for form in Format if form in {"csv", "jsonl"}]
    parquet = begun(tmp_path / "x.parquet", Format.PARQUET)

    assert [each.last for each in lasts] == [
        {"n": "2.5", "label": "b"},
        {"n": 2.5, "label": "b"},
    ]
    assert (parquet.rows, parquet.last) == (2, {"n": 2.5, "label": "b"})


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (Format.CSV, b"n,label\n1,2,3\n"),
        (Format.CSV, b"\xff\n\xfe\n"),
        (Format.JSONL, b"n,label\n1,2\n"),
        (Format.JSONL, b"[1]\n"),
        (Format.PARQUET, b"n,label\n1,2\n"),
    ],
)
def test_a_file_of_another_kind_is_left_alone(tmp_path, form, text):
    """Adding to it would spoil it."""
    path = tmp_path / "x"
    path.write_bytes(text)

    with pytest.raises(Failure, match=f"{path} is no .* file of an earlier run"):
        begun(path, form)


def test_an_array_cannot_be_gone_on_with(tmp_path):
    """JSON lines can."""
    path = tmp_path / "x.json"
    path.write_text("[\n]\n")

    with pytest.raises(Misuse, match=r"write JSON lines, as with --output x\.jsonl"):
        begun(path, Format.JSON)


def test_columns_must_be_those_of_the_file(tmp_path):
    """In their order."""
    path = tmp_path / "x.csv"
    path.write_text("n,label\n1.0,a\n")
    there = begun(path, Format.CSV)
    n, label = (Series(name, name, np.zeros(1)) for name in ("n", "label"))

    there.check_columns([n, label])
    with pytest.raises(Failure, match=f"{path} has the columns n, label, and this run writes lab"):
        there.check_columns([label, n])


@pytest.mark.parametrize(
    ("cell", "value", "same"),
    [
        ("2.5", 2.5, True),
        ("2.5", 2.0, False),
        ("nan", math.nan, True),
        ("nan", 1.0, False),
        ("warm", 1.0, False),
    ],
)
def test_the_row_before_must_be_that_of_the_file(tmp_path, cell, value, same):
    """Else the rest would be that of another table."""
    path = tmp_path / "x.csv"
    path.write_text(f"n,y\n{cell},1\n")
    there = begun(path, Format.CSV)
    batch = Batch(np.array([[value], [7.0]]), "rows.csv", "line", [2, 3])
    model = Model("m", (Column("n"),), ("y",), None)

    if same:
        (rest,) = checked(iter([batch]), model, there)
        assert rest.rows.tolist() == [[7.0]]
    else:
        with pytest.raises(Failure, match=f"row 1 of {path} has {cell} for 'n', and rows.csv, "):
            list(checked(iter([batch]), model, there))
