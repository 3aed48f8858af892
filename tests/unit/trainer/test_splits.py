"""Rows that are left out together: by time, by group; and those that decide when to stop."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from isotherm.trainer import arrays, splits, stops, views
from isotherm.trainer.config import DataConfig, FitConfig
from isotherm.trainer.errors import DataError
from isotherm.trainer.folds import Folds, folds
from isotherm.trainer.objective import Objective
from isotherm.trainer.splits import RANDOM, Split
from isotherm.trainer.weights import effective

DAYS = [dt.date(2025, 3, 1), dt.date(2024, 12, 31), dt.date(2025, 3, 1), dt.date(2025, 2, 28)]
ZONE = dt.timezone(dt.timedelta(hours=2))


def _by(kind: Any, keys: Any) -> Split:
    return Split(kind=kind, column=kind, keys=np.unique(keys, return_inverse=True)[1])


def _read(values: Any, kind: Any = "time") -> Any:
    cells = values if isinstance(values, pa.Array) else pa.array(values)
    return splits.read("column 'k'", pa.chunked_array([cells]), kind, "k").keys.tolist()


@pytest.mark.parametrize(
    "values",
    [
        DAYS,
        pa.array(DAYS, pa.date64()),
        [dt.datetime(day.year, day.month, day.day, 12) for day in DAYS],
        [dt.datetime(day.year, day.month, day.day, 23, tzinfo=ZONE) for day in DAYS],
        np.array(DAYS, "datetime64[s]"),
        [2**60 + 3, 2**60 + 1, 2**60 + 3, 2**60 + 2],
        [0.5, -2.0, 0.5, 0.25],
        [Decimal("1.5"), Decimal("0.1"), Decimal("1.50"), Decimal("1.2")],
    ],
)
def test_whatever_can_be_ordered_is_a_time(values: Any) -> None:
    """Dates, moments with and without zone, and numbers beyond what a float tells apart."""
    assert _read(values) == [2, 0, 2, 1]


@pytest.mark.parametrize(
    "values", [["b", "a", "b", "c"], pa.array(["b", "a", "b", "c"]).dictionary_encode(), DAYS]
)
def test_whatever_can_be_equal_is_a_group(values: Any) -> None:
    """Text, categories, dates: a number for each different value."""
    first, other, again, third = _read(values, "group")

    assert first == again
    assert len({first, other, third}) == 3


@pytest.mark.parametrize(
    ("values", "kind", "error"),
    [
        (["2025-01", "2025-02"], "time", r"holds string, expected times: dates or timestamps \(in"),
        ([True, False], "time", "holds bool, expected times"),
        ([dt.date(2025, 1, 1), None], "time", "no time in row 2, .* remove the row"),
        ([1.0, float("nan")], "time", "no time in row 2"),
        (["a", ""], "group", r"no group in row 2, .* \(1 of 2\)"),
    ],
)
def test_what_has_no_order_or_no_value_is_refused(values: Any, kind: Any, error: str) -> None:
    """Errors name the column, the row and what was expected."""
    with pytest.raises(DataError, match=f"column 'k' (has|holds)?.*{error}"):
        _read(values, kind)


ROWS = st.integers(8, 130)


@st.composite
def _times(draw: Any) -> Split:
    """Times of some rows: in any order, often equal, sometimes very uneven."""
    rows = draw(ROWS)
    different = draw(st.integers(4, rows))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return _by("time", rng.integers(0, different, rows) ** draw(st.integers(1, 3)))


def _check_forward(parts: Folds, split: Split) -> None:
    for learned, held_out in zip(parts.learned, parts.held_out, strict=True):
        assert learned.any()
        assert held_out.any()
        # Which also says that no time is in both.
        assert split.keys[learned].max() < split.keys[held_out].min()
        # All that is earlier is learned from, so that windows grow.
        assert (learned == (split.keys < split.keys[held_out].min())).all()


@given(_times())
def test_by_time_only_earlier_rows_are_learned_from(split: Split) -> None:
    """Every time is left out as a whole, once, or is among the first, which never are."""
    if len(np.unique(split.keys)) < 2:
        return
    try:
        parts = folds(len(split.keys), seed=0, split=split)
    except DataError as error:
        assert "leaves no 2 rows" in str(error)
        return

    _check_forward(parts, split)
    times_left_out = parts.held_out.sum(axis=0)
    assert set(times_left_out.tolist()) <= {0, 1}
    assert (parts.tested == (split.keys >= split.keys[parts.tested].min())).all()
    assert parts.tested.sum() >= 2
    assert (np.diff(parts.blocks[np.argsort(split.keys[parts.tested])]) >= 0).all()


def test_the_first_third_is_never_left_out() -> None:
    """Up to 50 rows each time is a block, beyond there are five, of a large table two."""
    small, middle, large = (
        folds(rows, seed=0, split=_by("time", np.arange(rows))) for rows in (30, 300, 100_002)
    )

    assert [parts.method for parts in (small, middle, large)] == [
        "forward 20-fold (by time)",
        "forward 5-fold (by time)",
        "forward 2-fold (by time)",
    ]
    assert [int((~parts.tested).sum()) for parts in (small, middle, large)] == [10, 100, 33_334]
    assert middle.held_out.sum(axis=1).tolist() == [40] * 5


def test_a_time_of_most_rows_is_learned_from() -> None:
    """Where one day has nearly all rows, what is after it is left out, if there are two."""
    parts = folds(100, seed=0, split=_by("time", [0] * 95 + [1] * 5))

    assert parts.held_out.tolist() == [[False] * 95 + [True] * 5]


@given(st.integers(3, 12), ROWS, st.integers(0, 2**32))
def test_by_group_no_group_is_on_both_sides(different: int, rows: int, seed: int) -> None:
    """Every row is left out once in every repeat, with all rows of its group."""
    keys = np.random.default_rng(seed).integers(0, different, rows)
    keys[:3] = [0, 1, 2]
    split = _by("group", keys)

    parts = folds(rows, seed=seed, split=split)

    assert {parts.repeats} == set(parts.held_out.sum(axis=0).tolist())
    for learned, held_out in zip(parts.learned, parts.held_out, strict=True):
        assert not np.intersect1d(split.keys[learned], split.keys[held_out]).size
        assert (learned | held_out).all()
        assert len(np.unique(split.keys[learned])) >= 2


def test_groups_are_dealt_out_evenly_and_anew() -> None:
    """Folds of forty equal groups are equal, and the second repeat puts them in other company."""
    parts = folds(120, seed=0, split=_by("group", np.arange(120) // 3))

    assert (parts.method, parts.repeats) == ("5-fold, 3 times (by group)", 3)
    assert set(parts.held_out.sum(axis=1).tolist()) == {24}
    assert not np.array_equal(parts.held_out[:5], parts.held_out[5:10])


def test_where_every_group_is_left_out_there_is_nothing_to_repeat() -> None:
    """Four groups of many rows are four folds, once."""
    parts = folds(80, seed=0, split=_by("group", np.arange(80) % 4))

    assert (parts.method, parts.repeats, len(parts.held_out)) == ("leave-one-out (by group)", 1, 4)


@pytest.mark.parametrize("groups", [1, 2])
def test_too_few_groups_are_refused(groups: int) -> None:
    """Left out of two, one group would be all that is learned from."""
    split = _by("group", np.arange(60) % groups)

    with pytest.raises(DataError, match=rf"column 'group' has {groups} group.* needs 3, so that"):
        folds(60, seed=0, split=split)


def test_too_few_times_are_refused() -> None:
    """One time has nothing before it."""
    with pytest.raises(DataError, match=r"column 'time' has one time in 60 rows, .* finer"):
        folds(60, seed=0, split=_by("time", np.zeros(60)))


def test_predictions_are_gathered_for_the_rows_that_were_left_out() -> None:
    """In their order; the first third has none."""
    parts = folds(12, seed=0, split=_by("time", np.arange(12)[::-1]))
    predictions = np.broadcast_to(np.arange(8.0)[:, None, None], (8, 12, 1))

    assert parts.gather(predictions)[0, :, 0].tolist() == [7, 6, 5, 4, 3, 2, 1, 0]
    assert parts.blocks.tolist() == [7, 6, 5, 4, 3, 2, 1, 0]


def _learned(split: Split) -> NDArray[np.bool_]:
    parts = folds(len(split.keys), seed=0, split=split)
    return np.vstack([np.ones(len(split.keys), dtype=np.bool_), parts.learned])


@given(_times())
def test_by_time_the_last_rows_that_may_be_seen_decide_when_to_stop(split: Split) -> None:
    """A tenth of what each copy may see, times whole, and something is left to learn from."""
    if len(np.unique(split.keys)) < 4:
        return
    learned = _learned(split)

    for seen, watched in zip(learned, stops.choose(learned, split, seed=0), strict=True):
        assert 0 < watched.sum() < seen.sum()
        assert not (watched & ~seen).any()
        if len(np.unique(split.keys[seen])) > 1:
            assert split.keys[watched].min() > split.keys[seen & ~watched].max()


@given(st.integers(3, 30), ROWS, st.integers(0, 2**32))
def test_by_group_whole_groups_decide_when_to_stop(different: int, rows: int, seed: int) -> None:
    """None of which is learned from, for every copy."""
    keys = np.random.default_rng(seed).integers(0, different, rows)
    keys[:3] = [0, 1, 2]
    split = _by("group", keys)
    learned = _learned(split)

    for seen, watched in zip(learned, stops.choose(learned, split, seed), strict=True):
        assert 0 < watched.sum() < seen.sum()
        assert not np.intersect1d(split.keys[watched], split.keys[seen & ~watched]).size


def test_where_all_rows_stand_together_single_rows_decide_when_to_stop() -> None:
    """A first block of one day has no last one; a tenth of it is chosen at random."""
    learned = np.ones((1, 60), dtype=np.bool_)

    assert stops.choose(learned, _by("time", np.zeros(60)), seed=0).sum() == 6


def test_at_random_the_same_rows_decide_for_all_copies() -> None:
    """But for those that a copy leaves out."""
    learned = np.vstack([np.ones(100, dtype=np.bool_), folds(100, seed=0).learned])

    first, *others = stops.choose(learned, RANDOM, seed=0)

    assert first.sum() == 10
    assert all((other <= first).all() for other in others)


def test_the_split_follows_from_the_column_that_is_named() -> None:
    """What a split needs is asked for by name, and so is the end of what it does not."""
    settings = DataConfig(dataset="thermometer", time="day", weight="w")

    assert (settings.split, settings.parts) == ("time", {"w": "weight", "day": "time"})
    refused: tuple[tuple[dict[str, Any], str], ...] = (
        ({"split": "time"}, r"the split by time needs the column of it: time \(--time\)"),
        ({"split": "group"}, r"the split by group needs the column of it: group \(--group\)"),
        ({"time": ""}, r"the split by time needs the column of it: time \(--time\)"),
        (
            {"split": "random", "time": "day"},
            "time is 'day', but split is 'random'; leave time out",
        ),
        ({"time": "day", "group": "site"}, "by time or by group; choose one, and leave the other"),
    )
    for values, error in refused:
        with pytest.raises(ValueError, match=error):
            DataConfig(dataset="thermometer", **values)


def test_a_time_that_only_rows_without_weight_had_is_no_block() -> None:
    """Some rows are taken, and their times are numbered anew."""
    split = _by("time", np.arange(20))
    chosen = np.arange(20) % 3 != 0

    parts = folds(13, seed=0, split=split.take(chosen))

    assert parts.held_out.any(axis=1).all()
    assert split.take(chosen).keys.tolist() == list(range(13))


@pytest.mark.parametrize("kind", ["random", "time", "group"])
def test_no_copy_learns_from_the_rows_that_stop_or_test_it(kind: Any) -> None:
    """What rows count in training, stopping and testing adds up to one each, and never overlaps."""
    keys, weight = np.arange(120) // 4, np.tile([1.0, 2.0, 3.0], 40)
    split: dict[str, Any] = {kind: keys} if kind != "random" else {}
    table = arrays.table(np.arange(120.0), np.arange(120.0) ** 2, weight=weight, **split)
    parts = folds(120, seed=0, split=table.split)
    config = FitConfig(patience=5)

    rows = views.of(table, Objective(), config, parts.learned, parts.held_out, stopping=True).rows

    assert rows.validation is not None
    uses = torch.stack([rows.training, rows.validation, rows.held_out])
    assert ((uses > 0).sum(dim=0) <= 1).all()
    torch.testing.assert_close(uses.sum(dim=-1), torch.ones(3, len(parts.held_out)))
    used = (uses[:2] > 0).any(dim=0).numpy()
    assert (used == parts.learned).all()
    # Within a use, rows count by their weights.
    first = uses[0, 0][uses[0, 0] > 0]
    assert sorted(set((first / first.min()).round().tolist())) == [1.0, 2.0, 3.0]
    assert rows.worth is not None
    np.testing.assert_allclose(
        rows.worth, [effective(weight[learned]) for learned in parts.learned], rtol=1e-6
    )


@pytest.mark.parametrize("kind", ["time", "group"])
def test_the_penalty_of_a_fold_is_for_the_rows_that_it_learns_from(kind: str) -> None:
    """By time, the first of them have a third of the rows, and a penalty that counts for more."""
    keys: dict[str, Any] = {kind: np.arange(120) // 4}
    table = arrays.table(np.arange(120.0), np.arange(120.0) ** 2, **keys)
    parts = folds(120, seed=0, split=table.split)

    view = views.of(table, Objective(), FitConfig(), parts.learned, parts.held_out, stopping=False)

    assert view.rows.worth is not None
    assert view.rows.worth.tolist() == parts.learned.sum(axis=1).tolist()
