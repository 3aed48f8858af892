"""Which batches are filled up to which graph, by what was measured."""

from __future__ import annotations

import pytest

from isotherm.server.device.buckets import Choice, buckets


@pytest.mark.parametrize(
    ("max_rows", "expected"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (3, (1, 2, 3)),
        (8, (1, 2, 4, 8)),
        (1000, (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)),
    ],
)
def test_buckets_double_up_to_the_largest_batch(max_rows: int, expected: tuple[int, ...]):
    """Which is one itself."""
    assert buckets(max_rows) == expected


def test_a_batch_is_filled_up_where_the_graph_is_faster_than_its_own_rows():
    """A run of 4 rows takes 20, one of 8 takes 40: at 29, its graph is worth it from 6 rows on."""
    eager = {1: 10.0, 2: 10.0, 4: 20.0, 8: 40.0}
    choice = Choice(eager, {1: 5.0, 2: 6.0, 4: 12.0, 8: 29.0})

    found = {rows: choice.bucket(rows) for rows in range(1, 10)}

    assert found == {1: 1, 2: 2, 3: 4, 4: 4, 5: 0, 6: 8, 7: 8, 8: 8, 9: 0}
    assert choice.used == (1, 2, 4, 8)


def test_a_graph_that_is_no_faster_is_not_used():
    """Nor one that was not captured."""
    choice = Choice({1: 10.0, 2: 10.0, 4: 10.0}, {1: 9.0, 2: 10.0})

    assert [choice.bucket(rows) for rows in (1, 2, 3, 4)] == [1, 0, 0, 0]
    assert choice.used == (1,)


def test_a_full_batch_runs_in_its_graph_however_little_that_saves():
    """And none of the other rows of the bucket does."""
    choice = Choice({4: 10.0, 8: 20.0}, {4: 99.0, 8: 19.99})

    assert [choice.bucket(rows) for rows in range(4, 9)] == [0, 0, 0, 0, 8]


def test_where_half_the_rows_take_as_long_all_of_them_are_filled_up():
    """Such runs are as long as their launches."""
    choice = Choice({4: 10.0, 8: 10.0}, {4: 3.0, 8: 4.0})

    assert [choice.bucket(rows) for rows in (1, 4, 5, 8)] == [0, 4, 8, 8]


def test_the_largest_bucket_follows_the_one_before_it_not_its_half():
    """From 8 to 10 rows, time grows from 40 to 50: at 44, the graph is worth it for 9."""
    choice = Choice({8: 40.0, 10: 50.0}, {8: 80.0, 10: 44.0})

    assert [choice.bucket(rows) for rows in (8, 9, 10)] == [0, 10, 10]


def test_without_measurements_nothing_is_filled_up():
    """As before the proof."""
    choice = Choice({}, {})

    assert choice.bucket(1) == 0
    assert choice.used == ()
