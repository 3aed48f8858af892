"""Answers as a Parquet file."""

from __future__ import annotations

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isotherm.client.cli.writers import parquet_file
from isotherm.client.cli.writers.parquet_file import ParquetWriter


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch):
    monkeypatch.setattr(parquet_file, "GROUP_ROWS", 10)


def _write(path, parts, *, keep=False):
    writer = ParquetWriter(path, keep=keep)
    for part in parts:
        writer.write(part)
    writer.finish()
    writer.close()
    return writer


def test_numbers_keep_their_types(tmp_path, columns):
    """FP32 stays FP32, NaN stays NaN, a label is text."""
    path = tmp_path / "x.parquet"
    _write(path, [columns(0, 4)])

    table = pq.read_table(path)
    assert [str(each.type) for each in table.schema] == ["double", "float", "string"]
    assert table["third"].null_count == 0
    assert math.isnan(table["third"][2].as_py())
    assert table["label"][3].as_py() == '"3"\n,'


@pytest.mark.parametrize("stops", [[25], [1, 25], [9, 10, 11, 25], [10, 20, 25], [24, 25]])
def test_the_file_does_not_show_how_rows_came(tmp_path, columns, stops):
    """Row groups of one size, byte for byte the same, in one run or in several."""
    whole, parts = tmp_path / "whole.parquet", tmp_path / "parts.parquet"
    _write(whole, [columns(0, 25)])

    start = 0
    for stop in stops:
        writer = _write(parts, [columns(start, stop)], keep=start > 0)
        assert writer.rows == stop
        start = stop

    assert [10, 10, 5] == [
        pq.ParquetFile(parts).metadata.row_group(each).num_rows for each in range(3)
    ]
    assert parts.read_bytes() == whole.read_bytes()
    assert sorted(tmp_path.iterdir()) == [parts, whole]


def test_until_it_is_closed_the_old_file_is_there(tmp_path, columns):
    """It can be read at all times."""
    path = tmp_path / "x.parquet"
    _write(path, [columns(0, 3)])

    writer = ParquetWriter(path, keep=True)
    writer.write(columns(3, 40))
    assert pq.read_table(path).num_rows == 3
    writer.close()
    assert pq.read_table(path).num_rows == 40


def test_a_file_of_nothing_is_not_made(tmp_path):
    """Its columns are not known."""
    assert _write(tmp_path / "x.parquet", []).rows == 0
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_leaves_the_old_file(tmp_path, columns):
    """And says that its rows are those that are there."""
    path = tmp_path / "x.parquet"
    _write(path, [columns(0, 3)])
    writer = ParquetWriter(path, keep=True)
    writer.write(columns(3, 5))

    with pytest.raises(pa.ArrowInvalid):
        writer.write(columns(5, 40)[:2])
    writer.close()

    assert writer.rows == 3
    assert pq.read_table(path).num_rows == 3
    assert list(tmp_path.iterdir()) == [path]


def test_a_copy_that_fails_leaves_the_old_file(tmp_path):
    """As where it is no Parquet file after all."""
    path = tmp_path / "x.parquet"
    path.write_text("n\n1\n")

    with pytest.raises(pa.ArrowInvalid):
        ParquetWriter(path, keep=True)

    assert path.read_text() == "n\n1\n"
    assert list(tmp_path.iterdir()) == [path]


def test_standard_output_gets_a_file(capfdbinary, columns, tmp_path):
    """For a redirection."""
    _write(None, [columns(0, 25)])
    path = Path(tmp_path / "x.parquet")
    path.write_bytes(capfdbinary.readouterr().out)

    assert pq.read_table(path).num_rows == 25
