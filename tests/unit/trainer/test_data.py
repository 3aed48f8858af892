"""Tests of the training table."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from isotherm.trainer import data
from isotherm.trainer.config import DataConfig
from isotherm.trainer.errors import DataError


def _read(path: Path, features: str = "a", targets: str = "y") -> data.Table:
    return data.read(
        DataConfig(
            file=path, features=tuple(features.split(",")), targets=tuple(targets.split(","))
        )
    )


def test_the_thermometer_holds_the_readings_of_the_seed(thermometer: data.Table) -> None:
    """Eleven pairs, the unknown scale in, Celsius out, with their units."""
    assert (
        thermometer.rows,
        (thermometer.features[0].name, thermometer.features[0].unit),
        (thermometer.targets[0].name, thermometer.targets[0].unit),
    ) == (11, ("t_u", "degF"), ("t_c", "degC"))
    assert [thermometer.x[0, 0], thermometer.y[0, 0]] == pytest.approx([35.7, 0.5])


def test_a_csv_gives_its_columns_in_the_order_asked_for(csv: Path) -> None:
    """Features stand in the order of the flag, not of the file."""
    table = _read(csv, "rooms,area", "price")

    assert table.x[0].tolist() == [2.0, 50.0]
    assert [column.datatype for column in table.features] == ["INT64", "INT64"]
    assert hashlib.sha256(csv.read_bytes()).hexdigest() == table.sha256


def test_blanks_around_the_names_of_a_csv_are_not_of_them(tmp_path: Path) -> None:
    """A blank after each comma is how many write them, and how nobody asks for them."""
    path = tmp_path / "blank.csv"
    path.write_text("area, rooms , price\n1,2,3\n2,3,5\n3,5,8\n")

    assert [column.name for column in _read(path, "area,rooms", "price").features] == [
        "area",
        "rooms",
    ]


def test_parquet_gives_the_same_numbers_as_csv(csv: Path, tmp_path: Path) -> None:
    """The format of the file does not change the table."""
    path = tmp_path / "house.parquet"
    columns = {"area": [50, 60, 80, 95, 120], "price": [100.0, 118.0, 161.0, 190.0, 238.0]}
    pyarrow.parquet.write_table(pa.table(columns), path)

    from_parquet, from_csv = (_read(file, "area", "price") for file in (path, csv))

    assert from_csv.x.tolist() == from_parquet.x.tolist()
    assert from_parquet.targets[0].datatype == "FP64"


def test_decimals_are_numbers(tmp_path: Path) -> None:
    """Prices in Parquet are often decimals."""
    path = tmp_path / "prices.parquet"
    prices = pa.array([Decimal("1.25"), Decimal("2.50"), Decimal("4.00")])
    pyarrow.parquet.write_table(pa.table({"a": prices, "y": [1, 2, 3]}), path)

    assert _read(path).x.ravel().tolist() == [1.25, 2.5, 4.0]


def test_values_are_those_that_the_served_graph_sees(thermometer: data.Table) -> None:
    """Values are rounded to float32, so that no training row lies outside its own range."""
    np.testing.assert_array_equal(thermometer.x.astype(np.float32), thermometer.x)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty; expected a header"),
        ("a,y\n", "has 0 rows below its header"),
        ("a,y\n1,2\n", "has 1 row below its header"),
        ("b,y\n1,2\n2,3\n3,4\n", "has no column 'a'; its columns are: b, y"),
        ("a,a,y\n1,1,2\n2,2,3\n3,3,4\n", "has more than one column 'a'"),
        ("a,y\n1,2\nwarm,3\n3,4\n", "column 'a' .* has 'warm' in row 2; expected numbers"),
        (
            "a,y\n2020-01-01,2\n2020-01-02,3\n2020-01-03,4\n",
            "column .a. .* has type date32.* expected numbers, or a category",
        ),
        ("a,y\n1,2\n,3\n3,4\n", "column 'a' .* has 1 empty cell, the first in row 2"),
        ("a,y\n,2\n,3\n,4\n", "column 'a' .* has 3 empty cells, which is all of them"),
        ("a,y\n1,2\ninf,3\n3,4\n", "column 'a' .* has inf in row 2; expected finite"),
        ("a,y\n1,2\n1e300,3\n3,4\n", "column 'a' .* has 1e[+]300 in row 2; expected finite"),
        ("a,y\n5,2\n5,3\n5,4\n", "column 'a' .* is constant [(]5 in every row[)]"),
        ("a,y\n1,2\n2,2\n3,2\n", "column 'y' .* is constant"),
        ("a,y\n1,2\n2,3,4\n3,4\n", "is no CSV table"),
    ],
)
def test_a_table_that_cannot_be_trained_on_is_refused(
    tmp_path: Path, text: str, expected: str
) -> None:
    """The sentence names the column, the row and what was expected."""
    path = tmp_path / "table.csv"
    path.write_text(text)

    with pytest.raises(DataError, match=expected):
        _read(path)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (DataConfig(dataset="iris"), "no built-in dataset 'iris'; use `thermometer`"),
        (DataConfig(file=Path("no/where.csv")), r"cannot read 'no/where\.csv': No such file"),
        (DataConfig(file=Path("table.xlsx")), r"ending in \.csv, .* or \.ipc"),
    ],
)
def test_a_source_that_is_not_there_is_named(config: DataConfig, expected: str) -> None:
    """The sentence names the source and what can be used instead."""
    with pytest.raises(DataError, match=expected):
        data.read(config)


@pytest.mark.parametrize(
    ("features", "targets", "expected"),
    [
        ("area,area", "price", "'area' is asked for twice"),
        ("area", "area", "'area' is asked for twice"),
        ("size", "price", "has no column 'size'; its columns are: area, rooms, price"),
    ],
)
def test_columns_that_do_not_fit_are_named(
    csv: Path, features: str, targets: str, expected: str
) -> None:
    """A column is one feature or one target, and must exist."""
    with pytest.raises(DataError, match=expected):
        _read(csv, features, targets)


def test_columns_must_be_chosen(csv: Path) -> None:
    """Without features, the sentence lists the columns to choose from."""
    with pytest.raises(DataError, match=r"choose --features .*: area, rooms, price"):
        data.read(DataConfig(file=csv, targets=("price",)))


@pytest.mark.parametrize("layout", ["file", "stream"])
def test_arrow_files_of_both_layouts_are_read(tmp_path: Path, layout: str) -> None:
    """Feather is the file layout; `.arrow` is used for both."""
    path = tmp_path / "table.arrow"
    table = pa.table({"a": [1.0, 2.0, 4.0], "y": [1, 2, 3]})
    if layout == "file":
        pyarrow.feather.write_feather(table, path)
    else:
        with pa.ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table)

    assert _read(path).x.ravel().tolist() == [1.0, 2.0, 4.0]


def test_a_truncated_arrow_file_is_refused(tmp_path: Path) -> None:
    """Half a file is no table."""
    path = tmp_path / "table.feather"
    pyarrow.feather.write_feather(pa.table({"a": [1.0, 2.0, 4.0], "y": [1, 2, 3]}), path)
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(DataError, match="is no Arrow table"):
        _read(path)


class _Exporter:
    """What every package of tables has in common: it exports an Arrow stream."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def test_tables_in_memory_are_the_same_wherever_they_are_from() -> None:
    """A dict, a pyarrow table in pieces, and anything that exports an Arrow stream."""
    columns = {"a": [1.5, 2.0, 4.0, 5.0], "b": [1, 2, 4, 3], "y": [1.0, 2.0, 3.0, 5.0]}
    whole = pa.table(columns)
    pieces = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])

    tables = [
        data.table(value, features=["b", "a"], targets=["y"], units={"y": "m"})
        for value in (columns, whole, pieces, _Exporter(whole))
    ]

    assert {table.sha256 for table in tables} == {tables[0].sha256}
    assert [[1.0, 1.5]] * 4 == [table.x[0].tolist() for table in tables]
    assert tables[0].targets == (data.Column(name="y", unit="m", datatype="FP64"),)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"a": [1, 2], "y": [1, 2, 3]}, "no table of equally long, named columns"),
        ({"a": [1.0, float("nan"), 3.0], "y": [1, 2, 3]}, "column 'a' .* has 1 empty cell"),
        ({"a": [[1], [2], [3]], "y": [1, 2, 3]}, r"column 'a' .* has \[1\] in row 1"),
        ({"a": ["1", "2", "3"], "y": [1, 2, 3]}, "column 'a' .* numbers as text, such as '1'"),
        ({"a": ["x", "y", "z"], "y": [1, 2, 3]}, "3 different values, none of them in 2 rows or"),
        ({"a": ["x", "x", "x"], "y": [1, 2, 3]}, r"column 'a' .* is constant \('x' in every row"),
        ({"a": [1, 2, 3], "y": ["u", "v", "w"]}, "3 different values in 3 rows"),
        ({"a": [1, 2, 3], "y": ["u", "u", "w"]}, "class 'w' in one row only"),
        ({"a": [1, 2, 3], "y": ["u", "u", "u"]}, "column 'y' .* is constant"),
        ({"a": [1, 2, 3], "y": ["u", "", "u"]}, "column 'y' .* has 1 empty cell"),
        ({"a": [1, 2, 3], "y": [None, None, None]}, "3 empty cells, which is all of them"),
    ],
)
def test_columns_in_memory_that_cannot_be_used_are_refused(
    columns: dict[str, list[object]], expected: str
) -> None:
    """The sentence names the column, as for a file."""
    with pytest.raises(DataError, match=expected):
        data.table(columns, features=["a"], targets=["y"])


def test_a_unit_of_no_column_is_refused(csv: Path) -> None:
    """A unit for a column that is not used is a slip."""
    config = DataConfig(
        file=csv, features=("area",), targets=("price",), units={"aera": "m2", "price": "EUR"}
    )

    with pytest.raises(DataError, match=r"data\.units names 'aera'"):
        data.read(config)


def test_text_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    """A file is what its name says, or an error."""
    path = tmp_path / "table.parquet"
    path.write_text("a,y\n1,2\n")

    with pytest.raises(DataError, match="is no Parquet table"):
        _read(path)
