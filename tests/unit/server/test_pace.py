"""How long a model will take: as measured at load, corrected by what its runs took."""

from __future__ import annotations

import pytest

from isotherm.server.pace import Pace


def line(rows: int) -> float:
    """A model that takes a second, and a tenth for each row."""
    return 1 + rows / 10


def test_what_was_measured_is_believed_until_a_run_says_otherwise():
    """The first run counts in full, each later one by a fifth."""
    pace = Pace(line, 100)
    before = pace.seconds(10)
    pace.ran(20, 2 * line(20))
    after_one = pace.seconds(10)
    pace.ran(10, line(10))

    assert before == 2
    assert after_one == 4
    assert pace.seconds(10) == pytest.approx(4 - 0.2 * 2)


def test_rows_that_fill_several_batches_take_as_many_runs():
    """Each pays for its start."""
    pace = Pace(line, 10)

    assert pace.seconds(25) == 2 * line(10) + line(5)
    assert pace.seconds(20) == 2 * line(10)
    assert pace.seconds(0) == 0


def test_a_model_that_could_not_be_timed_is_learned_from_its_runs():
    """Every run is then taken to be like the others."""
    pace = Pace(None, 10)
    before = pace.seconds(30)
    pace.ran(7, 0.5)

    assert before == 0
    assert pace.seconds(7) == 0.5
    assert pace.seconds(10) == 0.5
    assert pace.seconds(25) == 1.5


def test_what_is_sure_leaves_room_for_what_usually_goes_wrong():
    """A model whose runs are all alike needs none."""
    steady, moody = Pace(line, 100), Pace(line, 100)
    for factor in (2.0,) * 20:
        steady.ran(10, factor * line(10))
    for factor in (1.0, 3.0) * 20:
        moody.ran(10, factor * line(10))

    assert steady.surely_s(10) == steady.seconds(10) == pytest.approx(4)
    assert moody.surely_s(10) > 2 * line(10) * 2
    assert moody.surely_s(0) == Pace(None, 1).surely_s(5) == 0
