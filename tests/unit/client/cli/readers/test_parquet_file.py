"""Rows of Parquet files."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isotherm.client.cli.failure import Failure
from isotherm.client.cli.readers.parquet_file import ParquetReader
from isotherm.client.cli.readers.source import Source


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([1, None, 3], pa.int32()),
        pa.array([1, None, 3], pa.uint64()),
        pa.array([1, None, 3], pa.float32()),
        pa.array([Decimal(1), None, Decimal(3)], pa.decimal128(9, 2)),
    ],
)
def test_numbers_of_every_kind_are_read(named, tmp_path, cells):
    """Null is a missing value."""
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"b": pa.array([True, False, None]), "a": cells}), path)

    (batch,) = ParquetReader(named, Source(path)).batches(10)

    np.testing.assert_array_equal(batch.rows, [[1, 1], [np.nan, 0], [3, np.nan]])


def test_a_column_of_text_is_no_feature(named, tmp_path):
    """Numbers that are written as text are text."""
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [1], "b": ["2"]}), path)

    with pytest.raises(Failure, match=f"{path}: column 'b' is string, expected numbers"):
        list(ParquetReader(named, Source(path)).batches(10))


def test_what_is_no_parquet_is_refused(named, tmp_path):
    """The file is named."""
    path = tmp_path / "x.parquet"
    path.write_text("a,b\n1,2\n")

    with pytest.raises(Failure, match=f"{path} is no Parquet file"):
        list(ParquetReader(named, Source(path)).batches(10))


def test_standard_input_is_refused(named):
    """Parquet is read from its end."""
    with pytest.raises(Failure, match="Parquet cannot be read from standard input"):
        list(ParquetReader(named, Source(None)).batches(10))


def test_without_pyarrow_the_extra_is_named(tmp_path):
    """And CSV needs none: nothing imports it before somebody asks for Parquet."""
    script = """
import sys
from isotherm.client.cli import predict
from isotherm.client.cli.failure import Failure
from isotherm.client.cli.readers import InputFormat, reader_of
from isotherm.client.cli.writers import Format, writer_of

assert "pyarrow" not in sys.modules
sys.modules["pyarrow"] = None
for use in (
    lambda: next(reader_of(None, None, InputFormat.PARQUET).batches(1)),
    lambda: writer_of(Format.PARQUET, None),
):
    try:
        use()
    except Failure as failure:
        print(failure)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )

    sentence = "Parquet needs pyarrow, which is not installed: pip install 'isotherm[parquet]'\n"
    assert done.stdout == 2 * sentence
