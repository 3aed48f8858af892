"""The worker's side: which rows and columns of a batch are copied, and that the choice is fair."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest

from isotherm.server.drift import watched
from isotherm.server.drift.reference import Reference
from isotherm.server.drift.ring import MAX_NUMBERS, MAX_ROWS, Reader, Records, Ring, Text, Writer
from isotherm.server.drift.tap import Tap, Taps
from isotherm.v1.contract_pb2 import Contract, Target
from tests.support import models, trained
from tests.unit.server.fakes import served


@pytest.fixture(name="ring")
def _ring():
    """An empty ring."""
    return Ring.create()


def contract(features: int = 2, targets: int = 1) -> Contract:
    """Return the contract of a model with so many columns."""
    rows = np.random.default_rng(0).normal(size=(50, features + targets))
    return trained.contract(rows[:, :features], rows[:, features:])


def tap(ring: Ring, known: Contract, output: int = 0) -> Tap:
    """Return the tap of a model with this contract."""
    return Tap(
        Writer(ring),
        0,
        watched.reference("m", 1, known),
        output,
        watched.prediction_columns(known),
    )


def copied(ring: Ring) -> list[list[float]]:
    """Return all rows that were copied since the last time."""
    reader = Reader(ring)
    rows: list[list[float]] = []
    features = predictions = 0
    reader.look()
    for record in reader.read():
        if isinstance(record, Text):
            said = Reference.from_json(record.text)
            features, predictions = said.features, said.predictions
        else:
            rows += record.table(features, predictions).tolist()
    return rows


def test_every_row_is_copied_while_there_are_few(ring):
    """Inputs and predictions side by side; what is overwritten afterwards does not matter."""
    look = tap(ring, contract())
    x, y = np.array([[1, 2], [3, 4]], np.float32), np.array([[5], [6]], np.float32)
    look([x], [y])
    x[:] = y[:] = 0
    look([np.full((1, 2), 7, np.float32)], [np.full((1, 1), 8, np.float32)])

    assert copied(ring) == [[1, 2, 5], [3, 4, 6], [7, 7, 8]]


def test_the_prediction_is_found_among_the_outputs(ring):
    look = tap(ring, contract(), output=1)
    look(
        [np.ones((1, 2), np.float32)],
        [np.zeros((1, 1), np.float32), np.full((1, 1), 9, np.float32)],
    )

    assert copied(ring) == [[1, 1, 9]]


def test_of_a_wide_model_the_first_columns_are_watched(ring):
    """And the reference says how many are not."""
    known = contract(features=100, targets=20)
    reference = watched.reference("m", 1, known)
    look = tap(ring, known)
    x = np.arange(200, dtype=np.float32).reshape(2, 100)
    look([x], [np.arange(40, dtype=np.float32).reshape(2, 20)])

    assert (reference.features, reference.predictions, reference.unwatched) == (48, 16, 56)
    assert copied(ring) == [
        [*range(48), *range(16)],
        [*range(100, 148), *range(20, 36)],
    ]


def test_probabilities_of_classes_are_not_watched(ring):
    """A number between two labels is still found in its column."""
    known = contract(features=1, targets=2)
    known.targets.insert(1, Target(name="kind", datatype="BYTES", classes=["a", "b", "c"]))
    look = tap(ring, known)
    look([np.ones((1, 1), np.float32)], [np.array([[1, 2, 3, 4, 5]], np.float32)])

    assert [c.name for c in watched.reference("m", 1, known).columns] == ["f0", "t0", "t1"]
    assert copied(ring) == [[1, 1, 5]]


def test_a_classifier_s_features_are_watched(ring):
    known = contract(features=2, targets=0)
    known.targets.add(name="kind", datatype="BYTES", classes=["a", "b"])
    tap(ring, known)([np.ones((3, 2), np.float32)], [np.zeros((3, 2), np.float32)])

    assert copied(ring) == [[1, 1]] * 3


def test_a_batch_without_rows_is_nothing(ring):
    tap(ring, contract())([np.ones((0, 2), np.float32)], [np.ones((0, 1), np.float32)])

    assert copied(ring) == []


def test_a_huge_batch_is_thinned_evenly(ring):
    """So that it does not take the whole ring."""
    look = tap(ring, contract(features=1))
    x = np.arange(10 * MAX_ROWS, dtype=np.float32)[:, None]
    look([x], [x])
    places = [row[0] for row in copied(ring)]

    assert len(places) == MAX_ROWS
    assert {int(b - a) for a, b in pairwise(places)} == {10}


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 64, 65, 500])
def test_each_row_has_the_same_chance(ring, batch):
    """Whatever its place in its batch: also where the stride and a pattern of rows would agree."""
    random.seed(batch)
    look = tap(ring, contract(features=1))
    Reader(ring).want(0, 6)
    kinds = 6
    rows = np.arange(60_000, dtype=np.float32)[:, None] % kinds
    found: list[float] = []
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        look([part], [part])
    found = [row[0] for row in copied(ring)]
    counts = np.bincount(np.array(found, int), minlength=kinds)

    # A sixth of 10,000 rows each, within five standard deviations. Of a batch, rows are taken that
    # are all of one kind, or all of its rows.
    together = max(1, batch / kinds)
    assert np.abs(counts - 10_000 / kinds).max() < 5 * (together * 10_000 / kinds) ** 0.5


def test_rows_that_find_no_room_are_left_out_whole(ring):
    look = tap(ring, contract(features=64))
    x, y = np.ones((MAX_ROWS, 64), np.float32), np.ones((MAX_ROWS, 1), np.float32)
    for _ in range(20):
        look([x], [y])
    count = len(copied(ring))

    assert 0 < count < 20 * MAX_ROWS
    assert count % MAX_ROWS == 0


def test_who_has_no_room_to_say_what_it_is_says_it_later(ring):
    """Without that the reader could make nothing of its rows."""
    known = contract(features=1)
    filler = Writer(ring)
    big = np.ones((MAX_ROWS, 63), np.float32)
    while filler.rows(9, big, big[:, :1]):
        pass
    one = np.ones((1, 1), np.float32)
    while filler.rows(9, one, one):
        pass
    look = tap(ring, known)
    for _ in range(3):
        look([one], [one])
    reader = Reader(ring)
    reader.look()
    assert all(isinstance(record, Records) and record.number == 9 for record in reader.read())
    look([one], [one])

    assert copied(ring) == [[1, 1]]


def test_rows_that_were_refused_come_without_predictions(ring):
    """Thinned like the others."""
    look = tap(ring, contract(features=2))
    x = np.full((3 * MAX_ROWS, 2), np.nan, np.float32)
    look.refused(x)
    reader = Reader(ring)
    reader.look()
    _, record = reader.read()

    assert isinstance(record, Records)
    assert record.refused
    assert record.table(2, 0).shape == (MAX_ROWS, 2)


def test_numbers_are_used_again(ring):
    """A server that loads and unloads for years does not run out of them."""
    taps = Taps(ring)
    model = served(models.with_contract(models.doubling(), models.doubling_contract()))
    for _ in range(3 * MAX_NUMBERS):
        opened = taps.open(model)
        assert opened is not None
        taps.close(opened)
    for _ in range(MAX_NUMBERS):
        assert taps.open(model) is not None

    assert taps.open(model) is None


def test_a_model_without_a_contract_has_no_tap(ring):
    assert Taps(ring).open(served(models.doubling())) is None


def test_a_worker_inherits_its_ring_or_none(ring):
    assert Taps.inherited([]) is None
    assert Taps.inherited([ring.fd]) is not None
