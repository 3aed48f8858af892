"""Rows of JSON lines."""

from __future__ import annotations

import numpy as np
import pytest

from isotherm.client.cli.failure import Failure
from isotherm.client.cli.readers.json_lines import JsonLinesReader
from isotherm.client.cli.readers.source import Source


def _read(model, path, text):
    path.write_text(text)
    return np.concatenate([each.rows for each in JsonLinesReader(model, Source(path)).batches(2)])


def test_arrays_are_read_in_order(named, tmp_path):
    """Empty lines are passed over."""
    rows = _read(named, tmp_path / "x.jsonl", "[1, 2]\n\n[null, 4.5]\n[true, NaN]\n")

    np.testing.assert_array_equal(rows, [[1, 2], [np.nan, 4.5], [1, np.nan]])


def test_objects_without_a_contract_have_the_keys_of_the_first(unnamed, tmp_path):
    """In whatever order the later ones have them."""
    rows = _read(unnamed, tmp_path / "x.jsonl", '{"p": 1, "q": 2}\n{"q": 4, "p": 3}\n')

    np.testing.assert_array_equal(rows, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a": 1}', "line 2 has no key 'b'; write null for a missing value"),
        ('{"a": 1, "b": "2"}', 'line 2: "2" is not a number'),
        ("[1, 2]", "line 2 is an array, and the first line is an object"),
        ("7", "line 2 is 7, expected an object or an array of values"),
        ('{"a": 1,', "line 2 is no JSON"),
        ("\udcff", "line 2 is no JSON"),
    ],
)
def test_a_line_that_is_no_row_is_named(named, tmp_path, line, message):
    """A name that is missing is no missing value: it may be spelt otherwise."""
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a": 1, "b": 2}\n' + line.encode(errors="surrogateescape") + b"\n")

    with pytest.raises(Failure) as caught:
        list(JsonLinesReader(named, Source(path)).batches(9))

    assert message in str(caught.value)


@pytest.mark.parametrize("line", ["[1]", "[1, 2, 3]", '{"a": 1}', "4"])
def test_an_array_is_as_long_as_the_first(named, tmp_path, line):
    """And stays an array."""
    with pytest.raises(Failure, match="line 2 is no array of 2 values, as the first line is"):
        _read(named, tmp_path / "x.jsonl", f"[1, 2]\n{line}\n")


def test_an_array_of_rows_is_told_how_to_become_lines(named, tmp_path):
    """As `--format json` writes one."""
    with pytest.raises(Failure, match=r"line 1 is no JSON: .*jq -c '\.\[\]'"):
        _read(named, tmp_path / "x.json", '[\n  {"a": 1, "b": 2}\n]\n')
