"""Tests of what a column of values becomes: which values get a code, and what is refused."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from isotherm.trainer import categories, columns, reading
from isotherm.trainer.columns import Column, Floats
from isotherm.trainer.config import in_memory
from isotherm.trainer.errors import ConfigError, DataError
from isotherm.v1.categories import name_of


def _read(values: Any, **settings: Any) -> tuple[Floats, Column]:
    cells = pa.chunked_array([values] if isinstance(values, pa.Array) else [pa.array(values)])
    return reading.feature("column 'c'", "c", "", cells, in_memory(settings))


def test_values_are_ordered_by_frequency_and_then_by_name() -> None:
    """The order is that of the table's content, not of its rows: equal tables, equal codes."""
    codes, column = _read([*"bbcaac", "d", None, " "])

    assert column.categories == ("a", "b", "c")
    np.testing.assert_array_equal(codes, [1, 1, 2, 0, 0, 2, -1, np.nan, np.nan])
    assert (column.missing, column.unknown, column.datatype) == ("unknown", True, "BYTES")


def test_rare_values_and_those_beyond_the_most_are_unknown() -> None:
    """Both settings count: how rare a value may be, and how many there may be."""
    values = [*"aaaaabbbbcccdde"]

    assert _read(values, min_category_rows=3)[1].categories == ("a", "b", "c")
    assert _read(values, max_categories=2)[1].categories == ("a", "b")
    assert _read(values, min_category_rows=1)[1].categories == ("a", "b", "c", "d", "e")
    assert not _read(values, min_category_rows=1)[1].unknown


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([7, 7, 3, 3, 3, None]),
        pa.array([7.0, 7.0, 3.0, 3.0, 3.0, float("nan")]),
        pa.array(["7", "7", "3", "3", "3", None]),
        pa.array(["7", "7", "3", "3", "3", None]).cast(pa.string_view()),
        pa.array(["7", "7", "3", "3", "3", None]).dictionary_encode(),
        pa.array([7, 7, 3, 3, 3, None], pa.int8()).dictionary_encode(),
    ],
    ids=["int", "float", "text", "text in views", "categories of text", "categories of int"],
)
def test_a_value_has_one_name_in_whatever_form_it_comes(cells: pa.Array) -> None:
    """Integers with a gap are floats to pandas, and text in a CSV file."""
    codes, column = _read(cells, categories=["c"])

    assert column.categories == ("3", "7")
    np.testing.assert_array_equal(codes, [1, 1, 0, 0, 0, np.nan])
    np.testing.assert_array_equal(categories.codes(cells, ["7", "1"]), [0, 0, -1, -1, -1, np.nan])


@pytest.mark.parametrize(
    "cell",
    [
        st.from_regex(r" ?-?[0-9]{1,15} ?", fullmatch=True),
        st.from_regex(r" ?[-+]?[0-9]{0,3}\.[0-9]{1,6}(e-?[0-9])? ?", fullmatch=True),
        st.sampled_from(["true", "True", "TRUE", "false", "False", "FALSE"]),
        st.sampled_from(["10:00", "10:30:15", "00:00:00"]),
        st.dates(min_value=date(1000, 1, 1)).map(str),
        st.sampled_from(["2026-01-31 10:00", "2026-01-31T10:00:05", "2026-02-01 00:00:00"]),
    ],
    ids=["integers", "floats", "truths", "times", "dates", "timestamps"],
)
@hypothesis_settings(max_examples=50)
@given(drawn=st.data())
def test_text_stands_for_what_the_trainer_read_of_it(
    cell: st.SearchStrategy[str], drawn: st.DataObject
) -> None:
    """Of a CSV file the trainer reads numbers, truths and times; the command line reads text."""
    texts = drawn.draw(st.lists(cell, min_size=1))
    content = "\n".join(["c", *texts]).encode()
    cells = pyarrow.csv.read_csv(pa.py_buffer(content)).column("c")

    datatype = columns.datatype(cells.type)

    assert datatype not in {"", "BYTES"}
    assert [name_of(text, datatype) for text in texts] == [name_of(v) for v in cells.to_pylist()]


@pytest.mark.parametrize("column", ["1", "2.5", "true", "10:00", "2026-01-31"])
@pytest.mark.parametrize("text", pyarrow.csv.ConvertOptions().null_values)
def test_what_the_trainers_reader_takes_for_missing_has_no_name(column: str, text: str) -> None:
    """Among numbers, truths and times; where all is text, such a word is a value."""
    cells = pyarrow.csv.read_csv(pa.py_buffer(f"c,d\n{column},1\n{text},1\n".encode())).column("c")

    assert [name_of(cell) for cell in cells.to_pylist()][1] is None
    assert name_of(text, columns.datatype(cells.type)) is None
    assert name_of(text, "BYTES") == (text or None)


def test_codes_do_not_depend_on_how_the_rows_are_chunked() -> None:
    """A Parquet file comes in pieces, each with a dictionary of its own."""
    one, two = (pa.array(part).dictionary_encode() for part in (["b", "a", "b"], ["c", "b", "c"]))

    codes = categories.codes(pa.chunked_array([one, two]), ["b", "c"])

    np.testing.assert_array_equal(codes, [0, -1, 0, 1, 0, 1])


@pytest.mark.parametrize(
    ("values", "kind", "width"),
    [
        (32, "auto", 0),
        (33, "auto", 11),
        (1000, "auto", 50),
        (40, "one-hot", 0),
        (3, "embedding", 3),
    ],
)
def test_a_category_of_many_values_is_embedded(values: int, kind: str, width: int) -> None:
    """One-hot up to 32 values, then a vector whose width grows slowly; or what is asked for."""
    assert categories.embedding_width("c", values, in_memory({"categories": {"c": kind}})) == width


@pytest.mark.parametrize(
    ("values", "settings", "expected"),
    [
        (["x"] * 4, {}, r"is constant \('x' in every row\)"),
        ([*"abcd"], {}, "has 4 different values, none of them in 2 rows or more.*--min-category"),
        ([None, ""], {}, "has 2 empty cells, which is all of them"),
        (
            [1.0, None, 2.0],
            {},
            "has 1 empty cell, the first in row 2; .*--missing.*: mean, or indicat",
        ),
        ([1.0, None, 2.0], {"missing": "refuse"}, "has 1 empty cell"),
        ([1.0, None, 2.0], {"missing": {}}, "has 1 empty cell"),
        ([1.0, None, 1.0], {"missing": "mean"}, r"is constant \(1 in every row\)"),
        ([1.0, 3.0, 2.0], {"missing": {"c": "indicator"}}, "has no empty cell, so .* use mean"),
        ([1.0, float("inf"), None], {"missing": "mean"}, "has inf in row 2; expected finite"),
        (["1", "2", "n/a"], {}, "has 'n/a' in row 3; expected numbers.*--categories"),
        (["1", "2", "2"], {}, "has its numbers as text, such as '1'; .*--categories"),
        ([date(2026, 1, 2)] * 2, {}, r"has type date32\[day\]; expected numbers, .*--categories"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(
    values: list[object], settings: dict[str, object], expected: str
) -> None:
    """The sentence names the column and, where there is one, the setting that would accept it."""
    with pytest.raises(DataError, match=f"column 'c' {expected}"):
        _read(values, **settings)


@pytest.mark.parametrize(
    ("values", "missing", "expected"),
    [
        ([1.0, None, 2.0], "mean", "mean"),
        ([1.0, None, 2.0], "indicator", "indicator"),
        ([1.0, None, 1.0], "indicator", "indicator"),
        ([1.0, 3.0, 2.0], "mean", "refuse"),
        ([1.0, 3.0, 2.0], "indicator", "refuse"),
        ([1.0, 3.0, 2.0], {"c": "mean"}, "mean"),
        ([1.0, 3.0, 2.0], None, "refuse"),
    ],
)
def test_one_policy_is_for_the_columns_that_have_gaps(
    values: list[object], missing: object, expected: str
) -> None:
    """A gap in another column, once the model serves, is a fault; unless the column is named."""
    assert _read(values, missing=missing)[1].missing == expected


def test_numbers_that_are_called_a_category_may_be_text() -> None:
    """Postal codes are digits, and no numbers."""
    assert _read(["01", "01", "7", "7"], categories=["c"])[1].categories == ("01", "7")


def test_a_column_of_text_may_have_numbers_among_its_values() -> None:
    """Up to half of them: more look like numbers with a slip of the pen."""
    assert _read(["1", "1", "x", "x"])[1].categories == ("1", "x")


def test_settings_that_name_no_feature_are_refused() -> None:
    """A slip of the pen would otherwise go unnoticed."""
    for settings in ({"categories": ["town"]}, {"missing": {"town": "mean"}}):
        with pytest.raises(DataError, match=r"data.\w+ names 'town', which is no feature of t"):
            reading.check_names("the table", ["a"], in_memory(settings))


def test_settings_of_columns_are_checked() -> None:
    """Every wrong one is named."""
    with pytest.raises(ConfigError, match=r"categories.c: .*'one-hot' or 'embedding'"):
        in_memory({"categories": {"c": "hashed"}})
    with pytest.raises(ConfigError, match=r"missing: 'median' is none of refuse, mean, indicator$"):
        in_memory({"missing": "median"})
    with pytest.raises(ConfigError, match=r"missing: 'median' is none of refuse, mean, indicator$"):
        in_memory({"missing": {"c": "median"}})
    with pytest.raises(ConfigError, match=r"min_category_rows: .*greater than or equal to 1"):
        in_memory({"min_category_rows": 0})
    for names in (["a"], ("a",), "a"):
        assert in_memory({"categories": names}).categories == {"a": "auto"}


def test_categories_that_somebody_made_are_taken_as_they_are() -> None:
    """Of numbers too, in whatever form: the type says that they are no quantities."""
    for values in (["1", "1", "2", "2"], [1, 1, 2, 2]):
        codes, column = _read(pa.array(values).dictionary_encode())

        assert column.categories == ("1", "2")
        np.testing.assert_array_equal(codes, [0, 0, 1, 1])
