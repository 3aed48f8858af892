"""Tables of every package, arranged by a contract."""

from __future__ import annotations

import math
from collections import UserDict, deque
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.client import InvalidInputError, Prediction
from isotherm.client._inputs import fit
from isotherm.client._signature import Signature, TensorSpec
from isotherm.client._table import arrange, is_table
from isotherm.v1.contract_pb2 import Contract, Feature, Tensors

COLUMNS = {"humidity": [40, 60], "day": ["Mon", "Tue"], "t_u": [35.7, 55.9]}
MATRIX = [[35.7, 40], [55.9, 60]]


def _rows(columns):
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _batch(columns):
    return pa.RecordBatch.from_pydict(columns)


MAKERS = {
    "rows": _rows,
    "mapping": dict,
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "arrow": pa.table,
    "batch": _batch,
}
FRAMES = {name: MAKERS[name] for name in ("pandas", "polars", "arrow", "batch")}
each = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
each_frame = pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)


def _contract(*names, **units):
    features = [Feature(name=name, unit=units.get(name, "")) for name in names]
    return Contract(features=features, tensors=Tensors(input="x"))


CONTRACT = _contract("t_u", "humidity", t_u="degF", humidity="%")


def _refused(table, contract=CONTRACT):
    with pytest.raises(InvalidInputError) as caught:
        arrange(contract, table, model="m")
    assert caught.value.model == "m"
    message = str(caught.value)
    assert message.startswith("model 'm': ")
    return message.removeprefix("model 'm': ")


@pytest.mark.parametrize(
    "x",
    [
        *(1, 1.5, True, "text", b"bytes", None, np.float32(1), np.ones(2), np.ones((2, 2))),
        *([1.0], [[1.0], [2.0]], (1, 2), range(3), memoryview(b"ab"), np.ma.ones(2), deque([1.0])),
        *({"x": [1.0]}, Prediction({"x": np.ones(1)})),
        *(pd.Series([1.0]), pd.Index([1]), pl.Series([1.0]), pa.array([1.0])),
        *(pa.chunked_array([[1.0]]), pa.scalar(1.0), object()),
    ],
    ids=lambda x: type(x).__name__,
)
def test_arrays_numbers_and_mappings_are_no_tables(x):
    """A mapping may hold arrays by input name: its keys decide, elsewhere."""
    assert not is_table(x)


@pytest.mark.parametrize("x", [[], (), deque()], ids=repr)
def test_no_rows_may_be_a_table(x):
    """What a query found is a list of rows, also when it found none."""
    assert is_table(x)
    assert arrange(CONTRACT, x, model="m").shape == (0, 2)


@pytest.mark.parametrize("make", [*FRAMES.values(), _rows], ids=[*FRAMES, "rows"])
def test_tables_are_tables(make):
    """By what they can do."""
    assert is_table(make(COLUMNS))


def test_subclasses_and_other_sequences_are_tables_as_well():
    """A package's own frame, and rows that are no list of dicts."""
    frame = type("Frame", (pd.DataFrame,), {})(COLUMNS)
    rows = deque(UserDict(row) for row in _rows(COLUMNS))

    for table in (frame, rows, tuple(rows)):
        assert is_table(table)
        assert arrange(CONTRACT, table, model="m").tolist() == MATRIX


@each
def test_columns_are_matched_by_name(make):
    """Their order does not matter, and what is no feature is ignored, text included."""
    matrix = arrange(CONTRACT, make(COLUMNS), model="m")

    assert matrix.dtype == np.float64
    assert matrix.tolist() == MATRIX


@each
def test_missing_columns_are_all_named_with_what_was_found(make):
    """Nearly always a name is spelled otherwise, which one sees when both are there."""
    message = _refused(make({"T_U": [1], "humidty": [2]}))

    assert "no column" in message or "row 0 has no" in message
    assert "'t_u', 'humidity'" in message
    assert "'T_U', 'humidty'" in message


def test_a_missing_column_tells_the_next_step():
    """The whole sentence, for a table and for a mapping."""
    assert _refused(pl.DataFrame({"t_u": [1]})) == (
        "no column 'humidity', found 't_u': name the columns as the contract names its features"
    )
    assert _refused({}) == (
        "no columns 't_u', 'humidity', found none: pass the features by name, or an array for the "
        "input 'x'"
    )


def test_of_very_many_columns_some_are_shown():
    """A message is to be read."""
    message = _refused(pl.DataFrame({f"c{index}": [1] for index in range(70)}))

    assert "'c49' and 20 more:" in message
    assert "'c50'" not in message


def test_names_that_are_no_text_match_nothing():
    """A DataFrame numbers the columns of an array, and may have names of several levels."""
    assert "found 0, 1" in _refused(pd.DataFrame(np.ones((2, 2))))
    levels = pd.MultiIndex.from_tuples([("a", "t_u"), ("a", "humidity")])
    assert "found ('a', 't_u')" in _refused(pd.DataFrame([[1, 2]], columns=levels))


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame([[1, 2, 3]], columns=["t_u", "humidity", "t_u"]),
        pa.Table.from_arrays([pa.array([1])] * 3, names=["t_u", "humidity", "t_u"]),
        pa.RecordBatch.from_arrays([pa.array([1])] * 3, names=["t_u", "humidity", "t_u"]),
    ],
    ids=["pandas", "arrow", "batch"],
)
def test_a_feature_with_two_columns_is_refused(table):
    """Nobody knows which one is meant."""
    assert _refused(table) == ("more than one column of the name 't_u': rename or drop all but one")


def test_two_columns_that_are_no_feature_do_not_matter():
    """They are not looked at."""
    frame = pd.DataFrame([[1, 2, 3, 4]], columns=["a", "t_u", "a", "humidity"])

    assert arrange(CONTRACT, frame, model="m").tolist() == [[2, 4]]


def test_a_column_may_be_called_like_a_method():
    """A DataFrame has its columns as attributes: they do not make it another package's."""
    names = ("get_column", "column_names", "schema", "column", "attrs", "lazy", "collect_schema")
    contract = _contract(*names)

    for make in MAKERS.values():
        matrix = arrange(contract, make({name: [i] for i, name in enumerate(names)}), model="m")
        assert matrix.tolist() == [[0, 1, 2, 3, 4, 5, 6]]


@each
def test_a_column_without_numbers_is_refused_by_name(make):
    """With an example of what it holds."""
    assert _refused(make(COLUMNS), _contract("t_u", "day")) == (
        "column 'day' must hold numbers, row 0 has 'Mon' (str): convert the column first"
    )


@each_frame
def test_a_table_without_rows_is_a_matrix_without_rows(make):
    """The features are there."""
    matrix = arrange(CONTRACT, make({"humidity": [], "t_u": []}), model="m")

    assert matrix.shape == (0, 2)
    assert matrix.dtype.kind == "f"


def test_a_row_without_a_feature_is_named_with_its_number():
    """And told what it has."""
    rows = [{"t_u": 1, "humidity": 2}, {"t_u": 1, "humdity": 2}]

    assert _refused(rows) == (
        "row 1 has no 'humidity', it has 't_u', 'humdity': every row needs every feature of the "
        "contract; None stands for a value that is not known"
    )


@pytest.mark.parametrize(("row", "kind"), [([1, 2], "list"), (None, "NoneType"), ("ab", "str")])
def test_a_row_that_is_no_mapping_is_named_with_its_number(row, kind):
    """Only the first one has been looked at before."""
    assert _refused([{"t_u": 1, "humidity": 2}, row]) == (
        f"row 1 is a {kind}, expected a dict like those before it"
    )


def test_an_error_of_a_rows_own_is_not_hidden():
    """Every key is there, so the mapping itself is broken."""

    class Broken(UserDict):
        def __getitem__(self, key):
            raise LookupError(key)

    with pytest.raises(LookupError, match="t_u"):
        arrange(CONTRACT, [Broken(t_u=1, humidity=2)], model="m")


@pytest.mark.parametrize(
    ("value", "shown"), [("2.5", "'2.5' (str)"), ([2], "[2] (list)"), ([2, 3], "[2, 3] (list)")]
)
def test_a_value_of_a_row_that_is_no_number_is_named(value, shown):
    """Among numbers too, and never taken for one because it reads like one."""
    rows = [{"t_u": 1.5, "humidity": 1}, {"t_u": 2.5, "humidity": value}]

    assert f"column 'humidity' must hold numbers, row 1 has {shown}" in _refused(rows)


def test_rows_may_have_nulls():
    """Of Python and of pandas."""
    rows = [{"t_u": None, "humidity": 1}, {"t_u": Decimal("2.5"), "humidity": pd.NA}]

    np.testing.assert_array_equal(
        arrange(CONTRACT, rows, model="m"), [[math.nan, 1], [2.5, math.nan]]
    )


def test_a_mapping_may_mix_scalars_and_columns_of_any_package():
    """A scalar stands for each row."""
    contract = _contract(*"abcdef")
    mapping = {
        "a": 1,
        "b": [1, 2],
        "c": np.array([3, 4]),
        "d": pd.Series([5, None]),
        "e": pl.Series([6, 7]),
        "f": pa.array([8, 9]),
    }

    np.testing.assert_array_equal(
        arrange(contract, mapping, model="m"), [[1, 1, 3, 5, 6, 8], [1, 2, 4, math.nan, 7, 9]]
    )


def test_scalars_alone_are_one_row():
    """One reading, by name."""
    assert arrange(CONTRACT, {"humidity": 40, "t_u": 35.7}, model="m").tolist() == [[35.7, 40]]


def test_a_scalar_is_not_narrowed_to_the_columns_beside_it():
    """It is a float64 as any other number of Python."""
    matrix = arrange(CONTRACT, {"humidity": 0.1, "t_u": np.ones(1, "f4")}, model="m")

    assert matrix.tolist() == [[1, 0.1]]


def test_a_scalar_beside_no_rows_is_no_row():
    """The columns decide how many there are."""
    assert arrange(CONTRACT, {"humidity": 40, "t_u": []}, model="m").shape == (0, 2)


def test_columns_of_unequal_length_are_refused_with_their_lengths():
    """A column of one element is no scalar."""
    assert _refused({"t_u": [1, 2, 3], "humidity": [1]}) == (
        "the columns differ in rows: 't_u' 3, 'humidity' 1"
    )


def _arrow_with_unit(unit):
    field = pa.field("t_u", pa.float64(), metadata={"unit": unit} if unit is not None else None)
    return pa.table([[35.7], [40]], schema=pa.schema([field, pa.field("humidity", pa.int64())]))


def _batch_with_unit(unit):
    return _arrow_with_unit(unit).to_batches()[0]


def _pandas_with_units(unit):
    frame = pd.DataFrame({"t_u": [35.7], "humidity": [40]})
    frame.attrs["units"] = {"t_u": unit}
    return frame


def _series_with_unit(unit):
    series = pd.Series([35.7])
    series.attrs["unit"] = unit
    return {"t_u": series, "humidity": 40}


def _frame_whose_columns_have_units(unit):
    # As of pandas before 3, whose frames keep their columns' attributes.
    def column(frame, name):
        found = pd.DataFrame.__getitem__(frame, name)
        if name == "t_u":
            found.attrs["unit"] = unit
        return found

    frame = type("Frame", (pd.DataFrame,), {"__getitem__": column})
    return frame({"t_u": [35.7], "humidity": [40]})


with_units = pytest.mark.parametrize(
    "make",
    [
        _arrow_with_unit,
        _batch_with_unit,
        _pandas_with_units,
        _series_with_unit,
        _frame_whose_columns_have_units,
    ],
)


@with_units
def test_a_column_in_another_unit_is_refused(make):
    """Both units are named; converting is the caller's."""
    assert _refused(make("degC")) == (
        "column 't_u' is in 'degC', the model takes it in 'degF': convert the column, or correct "
        "its unit"
    )


@with_units
@pytest.mark.parametrize("unit", ["degF", " degF ", "", None])
def test_the_models_unit_or_none_passes(make, unit):
    """A table that states no unit contradicts nothing."""
    assert arrange(CONTRACT, make(unit), model="m").tolist() == [[35.7, 40]]


@with_units
def test_a_contract_without_a_unit_takes_any(make):
    """It cannot tell."""
    contract = _contract("t_u", "humidity")

    assert arrange(contract, make("degC"), model="m").tolist() == [[35.7, 40]]


def test_the_unit_of_a_column_that_is_no_feature_does_not_matter():
    """It is not sent."""
    frame = pd.DataFrame(COLUMNS)
    frame.attrs["units"] = {"day": "degC", "t_u": "degF"}

    assert arrange(CONTRACT, frame, model="m").tolist() == MATRIX


def test_a_unit_of_the_whole_frame_is_no_statement_about_a_column():
    """A column inherits it, whichever column it was meant for."""
    frame = pd.DataFrame(COLUMNS)
    frame.attrs["unit"] = "degC"
    frame.attrs["units"] = "SI"

    assert arrange(CONTRACT, frame, model="m").tolist() == MATRIX


def test_a_lazy_frame_is_to_be_collected():
    """Only its owner may decide to run a query."""
    lazy = pl.LazyFrame(COLUMNS)

    assert is_table(lazy)
    assert _refused(lazy) == "a LazyFrame has no rows yet: pass x.collect()"


def test_what_is_no_table_is_refused():
    """For who did not ask before."""
    assert _refused(np.ones((1, 2))) == "a ndarray is no table: pass an array"


@each
def test_the_matrix_is_as_narrow_as_all_columns_allow(make):
    """What the model takes anyway is not copied twice."""
    narrow = make({"t_u": np.ones(2, "f4"), "humidity": np.ones(2, "i2")})

    assert arrange(CONTRACT, narrow, model="m").dtype == np.float32


@each
def test_integers_beyond_a_floats_precision_reach_a_model_of_integers(make):
    """No float64 in between rounds them."""
    large = 2**60 + 1
    matrix = arrange(CONTRACT, make({"t_u": [large, 1], "humidity": [-large, 2]}), model="m")

    ((_, _, array),) = fit(Signature("m", (TensorSpec("x", "INT64", (-1, 2)),)), matrix)

    assert array.tolist() == [[large, -large], [1, 2]]


@each
def test_a_long_table_is_joined_in_blocks(make):
    """More rows than a block has, and not a whole number of blocks."""
    column = np.arange(10_000)

    matrix = arrange(CONTRACT, make({"humidity": column / 2, "t_u": column}), model="m")

    np.testing.assert_array_equal(matrix, np.column_stack([column, column / 2]))


# As numpy, polars and Arrow call a type, and the numbers of it that float64 holds exactly.
TYPES: dict[str, tuple[Any, Any, st.SearchStrategy[Any]]] = {
    "float64": (pl.Float64, pa.float64(), st.floats(allow_nan=False)),
    "float32": (pl.Float32, pa.float32(), st.floats(width=32, allow_nan=False)),
    "int64": (pl.Int64, pa.int64(), st.integers(-(2**53), 2**53)),
    "int32": (pl.Int32, pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    "uint8": (pl.UInt8, pa.uint8(), st.integers(0, 255)),
    "bool": (pl.Boolean, pa.bool_(), st.booleans()),
}
# As pandas calls them where a value may be missing.
NULLABLE = {
    "float64": "Float64",
    "float32": "Float32",
    "int64": "Int64",
    "int32": "Int32",
    "uint8": "UInt8",
    "bool": "boolean",
}


@st.composite
def _tables(draw):
    """Draw the contract's names, and columns in any order: (name, type, values)."""
    names = draw(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=6, unique=True))
    rows = draw(st.integers(0, 5))
    columns = []
    for name in names:
        dtype = draw(st.sampled_from([*TYPES]))
        values = TYPES[dtype][2]
        if draw(st.booleans()):
            values = st.one_of(values, st.none())
        columns.append((name, dtype, draw(st.lists(values, min_size=rows, max_size=rows))))
    features = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    return features, draw(st.permutations(columns))


def _in_pandas(columns):
    return pd.DataFrame(
        {
            name: pd.Series(values, dtype=NULLABLE[dtype] if None in values else dtype)
            for name, dtype, values in columns
        }
    )


def _in_polars(columns):
    return pl.DataFrame(
        [pl.Series(name, values, dtype=TYPES[dtype][0]) for name, dtype, values in columns]
    )


def _in_arrow(columns):
    return pa.Table.from_arrays(
        [pa.array(values, TYPES[dtype][1]) for _, dtype, values in columns],
        names=[name for name, _, _ in columns],
    )


@given(_tables())
def test_every_kind_of_table_is_the_same_matrix(table):
    """Whatever the order, the types and the nulls of its columns, and whatever else it has."""
    features, columns = table
    contract = _contract(*features)
    values = {name: values for name, _, values in columns}
    # A list of its own type each, for what numpy makes of them alone.
    expected = np.array(
        [[math.nan if value is None else value for value in values[name]] for name in features],
        np.float64,
    ).T
    arrow = _in_arrow(columns)
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    frames = [_in_pandas(columns), _in_polars(columns), arrow, arrow.combine_chunks()]
    frames += [pa.RecordBatch.from_arrays([c.combine_chunks() for c in arrow], schema=arrow.schema)]

    matrices = [arrange(contract, x, model="m") for x in (*frames, rows, values)]

    for matrix in matrices:
        assert matrix.flags.c_contiguous
        np.testing.assert_array_equal(matrix.astype(np.float64), expected)
    if all(None not in values[name] for name in features):
        assert len({matrix.dtype for matrix in matrices[: len(frames)]}) == 1
