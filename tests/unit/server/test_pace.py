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
