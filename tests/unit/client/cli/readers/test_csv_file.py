"""Rows of CSV files."""

from __future__ import annotations

import numpy as np
import pytest

from isotherm.client.cli.failure import Failure
from isotherm.client.cli.readers.csv_file import CsvReader
from isotherm.client.cli.readers.source import Source


def _read(model, path, text, size=100):
    path.write_text(text)
    return list(CsvReader(model, Source(path)).batches(size))


def test_lines_without_anything_are_passed_over(named, tmp_path):
    """Spreadsheets leave them at the end; they count as lines all the same."""
    (batch,) = _read(named, tmp_path / "x.csv", "\na,b\n1,2\n\n , \n3,4\n,\n")

    np.testing.assert_array_equal(batch.rows, [[1, 2], [3, 4]])
    assert list(batch.numbers) == [3, 6]


def test_a_quoted_cell_may_hold_the_end_of_a_line(named, tmp_path):
    """A row is named by the line that it ends on."""
    (batch,) = _read(named, tmp_path / "x.csv", 'note,a,b\n"two\nlines",1,2\n,3,4\n')

    np.testing.assert_array_equal(batch.rows, [[1, 2], [3, 4]])
    assert list(batch.numbers) == [3, 4]


def test_numbers_are_those_of_python(named, tmp_path):
    """With blanks around them, an exponent, infinity; and what stands for a missing one."""
    (batch,) = _read(named, tmp_path / "x.csv", "a,b\n 1e-3 ,inf\n-0.5,NaN\nNA, null\n,N/A\n")

    np.testing.assert_array_equal(
        batch.rows, [[0.001, np.inf], [-0.5, np.nan], [np.nan, np.nan], [np.nan, np.nan]]
    )


def test_the_rows_before_a_bad_one_come_first(named, tmp_path):
    """Also where it is in the middle of a batch."""
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n3,4\n5,6\nx,8\n")
    found: list[int] = []

    with pytest.raises(Failure, match="line 5: 'x' is not a number"):
        found.extend(len(each) for each in CsvReader(named, Source(path)).batches(2))

    assert found == [2, 1]


def test_the_rows_before_a_cell_that_never_ends_come_first(named, tmp_path):
    """Python's module has a limit, and so have we."""
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n" + "9" * 200_000 + ",1\n")
    reader = CsvReader(named, Source(path)).batches(10)

    np.testing.assert_array_equal(next(reader).rows, [[1, 2]])
    with pytest.raises(Failure, match="is no CSV file: field larger than field limit"):
        next(reader)
