"""A sliding window over totals: exact differences, young windows, gaps."""

import numpy as np
import pytest

from isotherm.server.windows import Window


def test_a_young_window_holds_everything():
    window = Window(60.0)
    assert window.add(1000.0, np.array([3, 4])).tolist() == [3, 4]
    assert window.add(1059.9, np.array([5, 9])).tolist() == [5, 9]


def test_an_old_window_leaves_out_what_came_before_it():
    window = Window(60.0, slices=6)
    for second in range(181):
        grown = window.add(float(second), np.array([second * 10]))
    # 60 s and at most one slice of 10 s more.
    assert 600 <= grown[0] <= 700


def test_totals_that_stand_still_leave_an_empty_window():
    window = Window(12.0)
    window.add(0.0, np.array([7.5]))
    for second in range(1, 30):
        grown = window.add(float(second), np.array([7.5]))
    assert grown.tolist() == [0.0]


def test_after_a_gap_the_last_totals_before_it_are_the_beginning():
    window = Window(60.0)
    window.add(0.0, np.array([10]))
    assert window.add(500.0, np.array([25])).tolist() == [15]


def test_the_totals_may_be_changed_in_place():
    window, totals = Window(10.0), np.array([1.0])
    for second in range(40):
        grown = window.add(float(second), totals)
        totals += 1
    assert grown.tolist() == [10.0]
    assert totals.tolist() == [41.0]


def test_few_snapshots_are_kept():
    window = Window(60.0, slices=12)
    for tick in range(10_000):
        window.add(tick * 0.1, np.array([tick]))
    assert len(window._snapshots) <= 14


@pytest.mark.parametrize(("span_s", "slices"), [(0.0, 12), (-1.0, 12), (60.0, 0)])
def test_a_window_without_time_is_refused(span_s, slices):
    with pytest.raises(ValueError, match="positive time"):
        Window(span_s, slices)
