"""Tests of files: row groups of one or many, and errors that name the file at fault."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from isotherm.trainer.errors import DataError
from isotherm.trainer.stream import files
from isotherm.trainer.stream.reading import Reader
from tests.support.streams import numbers, write


def _folder(path: Path) -> Path:
    folder = path / "table"
    (folder / "part=1").mkdir(parents=True)
    write(folder / "b.parquet", numbers(10), 4)
    write(folder / "a.parquet", numbers(3), 4)
    write(folder / "part=1" / "c.parquet", numbers(5), 5)
    write(folder / "_staging.parquet", numbers(7), 7)
    return folder


def test_files_of_a_folder_are_one_table_in_the_order_of_their_names(tmp_path):
    found = files.of(_folder(tmp_path), ["y"])
    assert ["a.parquet", "b.parquet", "c.parquet"] == [path.name for path in found.paths]
    assert [(0, 3), (3, 4), (7, 4), (11, 2), (13, 5)] == [
        (group.first, group.rows) for group in found.groups
    ]
    assert 18 == found.rows


def test_pattern_names_files(tmp_path):
    folder = _folder(tmp_path)
    assert 13 == files.of(folder / "[ab]*.parquet", ["y"]).rows
    with pytest.raises(DataError, match=r"no file matches .*z\*"):
        files.of(folder / "z*.parquet", ["y"])


def test_digest_is_that_of_the_bytes(tmp_path):
    path = write(tmp_path / "a.parquet", numbers(10))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == files.of(path, ["y"]).sha256()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda columns: columns.pop("x1"), r"b.parquet' has no column 'x1', which '.*a.parquet'"),
        (
            lambda columns: columns.update(x1=columns["x1"].astype(np.float32)),
            r"column 'x1' is float in '.*b.parquet' and double in '.*a.parquet'",
        ),
    ],
)
def test_files_that_differ_are_refused(tmp_path, change, message):
    columns = numbers(10)
    write(tmp_path / "a.parquet", columns)
    change(columns)
    write(tmp_path / "b.parquet", columns)
    with pytest.raises(DataError, match=message):
        files.of(tmp_path, ["x1", "y"])
    assert 20 == files.of(tmp_path, ["x0", "y"]).rows


def test_what_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 but not much more")
    with pytest.raises(DataError, match="only Parquet has row groups"):
        files.of(tmp_path / "a.csv", ["y"])
    with pytest.raises(DataError, match=r"b.parquet' is no Parquet file that can be read"):
        files.of(tmp_path / "b.parquet", ["y"])
    with pytest.raises(DataError, match="no such file or folder"):
        files.of(tmp_path / "c.parquet", ["y"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no file"):
        files.of(tmp_path / "empty", ["y"])


def test_file_that_changes_meanwhile_is_noticed(tmp_path):
    path = write(tmp_path / "a.parquet", numbers(10))
    found = files.of(path, ["y"])
    reader = Reader(found, ["y"])
    assert 10 == sum(part.cells.num_rows for part in reader.slices(found.groups[0]))
    write(path, numbers(11))
    with pytest.raises(DataError, match=r"a.parquet' has changed since .*start again"):
        next(reader.slices(found.groups[0]))
    # Of the same size, but written again.
    path = write(tmp_path / "a.parquet", numbers(10))
    found = files.of(path, ["y"])
    os.utime(path, ns=(0, found.stamps[0].modified_ns + 1))
    with pytest.raises(DataError, match=r"a.parquet' has changed since .*start again"):
        next(Reader(found, ["y"]).slices(found.groups[0]))
    path.unlink()
    with pytest.raises(DataError, match=r"a.parquet' is gone"):
        next(reader.slices(found.groups[0]))


def test_row_group_that_cannot_be_read_is_named(tmp_path):
    path = write(tmp_path / "a.parquet", numbers(3000), 1000)
    content = bytearray(path.read_bytes())
    first = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    content[first : first + 64] = bytes(64)
    path.write_bytes(content)
    found = files.of(path, ["y"])
    reader = Reader(found, found.schema.names)
    with pytest.raises(DataError, match=r"row group 1 of '.*a.parquet' cannot be read"):
        list(reader.slices(found.groups[1]))
    assert 1000 == sum(part.cells.num_rows for part in reader.slices(found.groups[0]))
