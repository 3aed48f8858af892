"""Tests of statistics and samples: the same, however the rows are cut and who reads them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from isotherm.trainer.errors import DataError
from isotherm.trainer.stream import statistics
from isotherm.trainer.stream.sample import Sample, below, priorities
from isotherm.trainer.stream.statistics import Counts, Moments

_FLOATS = st.floats(-1e6, 1e6, width=32) | st.just(float("nan"))


@given(
    values=arrays.arrays(np.float32, st.integers(1, 60), elements=_FLOATS), cut=st.integers(0, 60)
)
def test_merged_moments_are_those_of_all_rows(values, cut):
    merged = Moments.of(values[:cut]).merge(Moments.of(values[cut:]))
    present = values[~np.isnan(values)].astype(np.float64)
    assert (len(present), len(values) - len(present)) == (merged.count, merged.missing)
    if len(present):
        scale = np.abs(present).max() + 1
        assert merged.mean == pytest.approx(present.mean(), abs=1e-9 * scale)
        assert merged.deviation == pytest.approx(present.std(), abs=1e-7 * scale)
        assert (present.min(), present.max()) == (merged.minimum, merged.maximum)


def test_deviation_is_kept_far_from_zero():
    values = (1e6 + np.tile([0.0, 0.5], 50_000)).astype(np.float32)
    merged = Moments()
    for part in np.split(values, 100):
        merged = merged.merge(Moments.of(part))
    assert merged.deviation == pytest.approx(0.25, rel=1e-9)


def test_weights_count_rows_as_often():
    values = np.array([1.0, 2.0, 5.0], dtype=np.float32)
    often = Moments.of(np.repeat(values, [1, 2, 3]))
    weighted = Moments.of(values, np.array([1.0, 2.0, 3.0]))
    assert (often.mean, often.deviation) == pytest.approx((weighted.mean, weighted.deviation))


def test_rows_that_count_nothing_move_nothing():
    idle = Moments.of(np.array([100.0, 200.0]), np.zeros(2))
    counting = Moments.of(np.array([5.0, 7.0]), np.ones(2))
    for merged in (idle.merge(idle).merge(counting), counting.merge(idle), idle.merge(counting)):
        assert (2.0, 6.0) == (merged.weight, merged.mean)
        assert 1.0 == merged.deviation


def test_counts_go_by_name_and_tell_missing_cells():
    counts = Counts("column 'kind'")
    for cells in (["a", None, "b", " "], ["a", "a", ""]):
        counts.add(pa.array(cells))
    assert ({"a": 3, "b": 1}, 3) == (counts.names(), counts.missing)
    floats = Counts("column 'code'")
    floats.add(pa.array([3.0, float("nan"), 2.5, None]))
    assert ({"3": 1, "2.5": 1}, 2) == (floats.names(), floats.missing)


def test_too_many_values_are_an_error_not_a_full_memory(monkeypatch):
    monkeypatch.setattr(statistics, "MOST_VALUES", 100)
    counts = Counts("column 'id' of 'a.parquet'")
    counts.add(pa.array([str(number) for number in range(100)]))
    with pytest.raises(DataError, match=r"column 'id' of 'a.parquet' has more than 100 different"):
        counts.add(pa.array(["one more"]))


def test_sample_does_not_depend_on_the_order_of_reading():
    numbers = np.arange(50_000, dtype=np.uint64)
    rows = numbers[:, np.newaxis].astype(np.float32)
    drawn = priorities(numbers, seed=7)

    def sample(parts):
        found = Sample(500, 1)
        for part in parts:
            found.offer(drawn[part], rows[part])
        return found.held()[1][:, 0]

    parts = np.array_split(np.arange(50_000), 40)
    first = sample(parts)
    assert 500 == len(np.unique(first))
    assert np.array_equal(first, sample(parts[::-1]))
    merged = Sample(500, 1)
    for half in (parts[::2], parts[1::2]):
        one = Sample(500, 1)
        for part in half:
            one.offer(drawn[part], rows[part])
        merged.offer(*one.held())
    assert np.array_equal(first, merged.held()[1][:, 0])
    # Of a uniform sample, the mean lies within four standard errors of the middle.
    assert first.mean() == pytest.approx(25_000, abs=4 * 50_000 / np.sqrt(12 * 500))


def test_priorities_are_random_and_differ_by_purpose():
    numbers = np.arange(100_000, dtype=np.uint64)
    for purpose in (0, 1):
        share = (priorities(numbers, 3, purpose) < below(0.1)).mean()
        assert share == pytest.approx(0.1, abs=0.004)
    both = [priorities(numbers, 3, purpose) < below(0.1) for purpose in (0, 1)]
    assert (both[0] & both[1]).mean() == pytest.approx(0.01, abs=0.0013)
