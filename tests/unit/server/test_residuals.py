"""Sums of errors: what numpy says of all rows at once, whoever counted them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isotherm.server import layout
from isotherm.server.counters import Block
from isotherm.server.layout import MAX_TARGETS, ErrorSum
from isotherm.server.residuals import MAX_NAME_BYTES, Residuals, ResidualTotals, sums

NO_TIMES = np.zeros(0)
NUMBERS = st.floats(-1e6, 1e6, width=32)


def residuals() -> Residuals:
    """Return the sums of a model version in words of their own."""
    return Residuals(np.zeros(layout.MODEL_WORDS, np.int64))


@st.composite
def _tables(draw):
    """Predictions, truths and half widths of some rows and targets."""
    shape = draw(st.integers(1, 40)), draw(st.integers(1, 4))
    return (
        draw(arrays(np.float64, shape, elements=NUMBERS)),
        draw(arrays(np.float64, shape, elements=NUMBERS)),
        draw(arrays(np.float64, shape, elements=st.floats(0, 1e6, width=32))),
        draw(arrays(np.float64, shape[1], elements=NUMBERS)),
    )


@given(_tables())
def test_sums_are_numpys(tables):
    """Each column of each target, of any numbers."""
    prediction, truth, width, centres = tables
    table = sums(prediction, truth, centres, prediction - width, prediction + width)
    errors, deviations = prediction - truth, truth - centres
    covered = (prediction - width <= truth) & (truth <= prediction + width)

    assert (table[:, ErrorSum.ROWS] == len(truth)).all()
    np.testing.assert_allclose(
        table[:, ErrorSum.OVER] + table[:, ErrorSum.UNDER], np.abs(errors).sum(axis=0)
    )
    np.testing.assert_allclose(
        table[:, ErrorSum.OVER] - table[:, ErrorSum.UNDER], errors.sum(axis=0), atol=1e-6
    )
    np.testing.assert_allclose(table[:, ErrorSum.SQUARED], (errors**2).sum(axis=0))
    np.testing.assert_allclose(
        table[:, ErrorSum.ABOVE] - table[:, ErrorSum.BELOW], deviations.sum(axis=0), atol=1e-6
    )
    np.testing.assert_allclose(table[:, ErrorSum.SQUARED_DEVIATION], (deviations**2).sum(axis=0))
    assert (table[:, ErrorSum.INTERVAL_ROWS] == len(truth)).all()
    assert table[:, ErrorSum.COVERED_ROWS].tolist() == covered.sum(axis=0).tolist()
    assert (table >= 0).all()


@given(_tables(), st.data())
def test_rows_may_be_dealt_to_any_worker(tables, data):
    """The totals of three workers are the sums of all rows."""
    prediction, truth, _, centres = tables
    dealt = np.array(
        data.draw(st.lists(st.integers(0, 2), min_size=len(truth), max_size=len(truth)))
    )
    totals = ResidualTotals()
    names = [f"t{index}" for index in range(len(centres))]
    for worker in range(3):
        own = residuals()
        own.open(names, centres.tolist())
        rows = dealt == worker
        own.add(sums(prediction[rows], truth[rows], centres, None, None), NO_TIMES)
        totals.add(own)

    assert totals.names == names
    np.testing.assert_allclose(
        totals.table, sums(prediction, truth, centres, None, None), rtol=1e-12, atol=1e-6
    )


def test_without_bounds_no_row_has_an_interval():
    """Coverage is then undefined, not zero."""
    table = sums(np.ones((3, 1)), np.ones((3, 1)), np.zeros(1), None, None)

    assert table[0, [ErrorSum.INTERVAL_ROWS, ErrorSum.COVERED_ROWS]].tolist() == [0, 0]


def test_an_edge_of_the_interval_belongs_to_it():
    """As in the contract's own coverage."""
    truth = np.array([[1.0], [2.0], [2.5]])
    table = sums(truth, truth, np.zeros(1), np.full((3, 1), 1.0), np.full((3, 1), 2.0))

    assert table[0, ErrorSum.COVERED_ROWS] == 2


def test_sums_outlive_the_process_that_wrote_them():
    """A worker that is started again in the slot goes on where the old one stopped."""
    block = Block.create([])
    first = Residuals(block.open_model("m", 1).words)
    first.open(["a", "b"], [1.0, 2.0])
    first.add(np.ones((2, len(ErrorSum))), np.array([2.5, 0.5]))
    block.restart()
    second = Residuals(block.open_model("m", 1).words)
    second.open(["a", "b"], [1.0, 2.0])
    totals = ResidualTotals()
    totals.add(second)

    assert totals.table.tolist() == np.ones((2, len(ErrorSum))).tolist()
    assert (totals.timed_rows, totals.delay_s) == (2, 3.0)


def test_other_targets_start_at_zero():
    """Another name, another training mean, another number of targets."""
    for names, centres in ((["b"], [1.0]), (["a"], [2.0]), (["a", "b"], [1.0, 1.0])):
        own = residuals()
        own.open(["a"], [1.0])
        own.add(np.ones((1, len(ErrorSum))), np.array([1.0]))
        own.open(names, centres)

        assert own.names == names
        assert not own.table.any()
        assert not own.delay.any()


def test_what_takes_no_feedback_shows_none():
    """From the start, and where a version was replaced by one that takes none."""
    own = residuals()
    before = own.names
    own.open(["a"], [0.0])
    own.add(np.ones((1, len(ErrorSum))), NO_TIMES)
    own.close()
    totals = ResidualTotals()
    totals.add(own)

    assert (before, totals.names, totals.table.shape) == ([], [], (0, len(ErrorSum)))


def test_names_and_targets_up_to_the_limit_are_kept_whole():
    """Sixteen names of 256 bytes, not only ASCII."""
    names = [f"{index:02d}{'°' * ((MAX_NAME_BYTES - 2) // 2)}" for index in range(MAX_TARGETS)]
    own = residuals()
    own.open(names, [float(index) for index in range(MAX_TARGETS)])
    own.add(np.full((MAX_TARGETS, len(ErrorSum)), 0.5), NO_TIMES)

    assert own.names == names
    assert own.table.tolist() == np.full((MAX_TARGETS, len(ErrorSum)), 0.5).tolist()
