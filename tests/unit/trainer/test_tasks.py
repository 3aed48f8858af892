"""Tests of the rule by which a target is a number or a label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from isotherm.trainer import data, objective
from isotherm.trainer.config import DataConfig, Task
from isotherm.trainer.errors import DataError

SIX = [1.0, 2.0, 3.0, 5.0, 8.0, 13.0]


def _table(y: Any, task: Task = "auto") -> data.Table:
    return data.table({"a": SIX, "y": y}, features=["a"], targets=["y"], task=task)


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (["warm", "cold", "warm", "cold", "hot", "hot"], ("cold", "hot", "warm")),
        ([True, False, True, False, True, True], ("False", "True")),
        ([1, 0, 1, 0, 1, 1], ("0", "1")),
        ([7, -3, 7, -3, 7, -3], ("-3", "7")),
        (pa.array(["b", "a", "b", "a", "b", "a"]).dictionary_encode(), ("a", "b")),
    ],
)
def test_text_booleans_categories_and_pairs_of_whole_numbers_are_labels(
    y: Any, classes: tuple[str, ...]
) -> None:
    """Their values are indices of the sorted classes."""
    table = _table(y)

    assert table.classes == (classes,)
    named = [classes[int(index)] for index in table.y[:, 0]]
    assert named == [str(value) for value in (y.to_pylist() if isinstance(y, pa.Array) else y)]
    assert objective.of(table).classes == classes


def test_ordered_categories_keep_their_order() -> None:
    """`low` comes before `high`, whatever the alphabet says; one that no row has is left out."""
    codes = pa.array([0, 2, 0, 2, 0, 2], pa.int8())
    y = pa.DictionaryArray.from_arrays(codes, ["low", "middle", "high"], ordered=True)

    assert _table(y).classes == (("low", "high"),)


@pytest.mark.parametrize("y", [[1, 2, 3, 1, 2, 3], [0.0, 1.0, 0.0, 1.0, 1.0, 0.0]])
def test_other_numbers_are_numbers(y: list[float]) -> None:
    """Counts and grades are not classes unless the caller says so."""
    assert _table(y).classes == ()
    assert _table(y).y[:, 0].tolist() == y


def test_a_short_column_of_two_numbers_is_a_number() -> None:
    """Three rows often have two values by chance."""
    table = data.table({"a": [1, 2, 3], "y": [1, 2, 2]}, features=["a"], targets=["y"])

    assert table.classes == ()


def test_numbers_become_classes_where_the_caller_says_so() -> None:
    """Whole ones without a decimal point, sorted by size and not by their text."""
    assert _table([10.0, 2.0, 10.0, 2.0, 1.0, 1.0], "multiclass").classes == (("1", "2", "10"),)


def test_two_whole_numbers_are_numbers_where_the_caller_says_so() -> None:
    """A yes or no can be estimated as a number."""
    assert _table([0, 1, 0, 1, 1, 0], "regression").classes == ()


@pytest.mark.parametrize(
    ("y", "task", "expected"),
    [
        (["a", "b", "c", "a", "b", "c"], "binary", "has 3 different values, .* needs two: a, b, c"),
        (["a", "b", "a", "b", "a", "b"], "regression", "has 'a' in row 1; expected numbers"),
        ([1, 1, 1, 1, 1, 1], "multiclass", "is constant [(]'1' in every row"),
        (SIX, "multiclass", "6 different values in 6 rows: .* --task regression"),
    ],
)
def test_a_task_that_does_not_fit_the_column_is_refused(
    y: list[object], task: Task, expected: str
) -> None:
    """The sentence names the column and what was found in it."""
    with pytest.raises(DataError, match=f"column 'y' of the table .*{expected}"):
        _table(y, task)


def test_a_label_and_a_number_in_one_table_keep_their_kinds(tmp_path: Path) -> None:
    """Each target has its classes, or none."""
    path = tmp_path / "both.csv"
    path.write_text("a,kind,size\n1,x,0.5\n2,y,0.75\n3,x,1\n4,y,2\n")
    settings = DataConfig(file=path, features=("a",), targets=("kind", "size"))

    assert data.read(settings).classes == (("x", "y"), ())
