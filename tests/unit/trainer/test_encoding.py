"""Tests of the encoding: what a network sees of a row."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from isotherm.trainer import encoding
from isotherm.trainer.columns import Column
from isotherm.trainer.encoding import Encoding
from isotherm.trainer.features import EncodedModel

NUMBER = Column(name="age", unit="", datatype="FP64")
FILLED = replace(NUMBER, name="size", missing="mean")
TOLD = replace(NUMBER, name="rent", missing="indicator")
TOWN = Column(
    name="town",
    unit="",
    datatype="BYTES",
    categories=("Ulm", "Bonn"),
    missing="unknown",
    unknown=True,
)
ZONE = Column(
    name="zone",
    unit="",
    datatype="INT64",
    categories=("7", "3", "1"),
    missing="unknown",
    embedding=2,
)
COLUMNS = (NUMBER, TOWN, FILLED, ZONE, TOLD)

NAN = np.nan
X = np.array(
    [
        [1.0, 0.0, 5.0, 0.0, 2.0],
        [2.0, 0.0, NAN, 1.0, 4.0],
        [3.0, 1.0, 7.0, 0.0, NAN],
        [6.0, NAN, 9.0, 2.0, 6.0],
    ]
)
# What no row of training had: other numbers, no code, between two codes, infinite ones.
ODD = np.array(
    [
        [9.0, -1.0, NAN, 3.0, NAN],
        [9.0, 0.5, 5.0, -1.0, 2.0],
        [9.0, 2.0, 5.0, NAN, 2.0],
        [9.0, np.inf, 5.0, 1.5, 2.0],
    ]
)


def test_the_blocks_are_numbers_indicators_one_hot_values_and_codes() -> None:
    """Numbers have mean 0 and deviation 1, the others mean 0; an empty cell is the mean."""
    encoded = Encoding.of(X, COLUMNS).encode(X)

    assert encoded.shape == (4, encoding.width(COLUMNS))
    np.testing.assert_allclose(encoded[:, :7].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(encoded[:, 0].std(), 1)
    assert encoded[1, 1] == encoded[2, 2] == 0.0
    np.testing.assert_allclose(encoded[:, 1][[0, 2, 3]].std(), 1)
    np.testing.assert_allclose(encoded[:, 3], [-0.25, -0.25, 0.75, -0.25])
    np.testing.assert_allclose(encoded[0, 4:7], [0.5, -0.25, -0.25])
    np.testing.assert_allclose(encoded[3, 4:7], [-0.5, -0.25, 0.75])
    np.testing.assert_array_equal(encoded[:, 7], [0, 1, 0, 2])


def test_the_layers_inputs_have_names() -> None:
    """In the order of the encoded row, vectors in the place of codes."""
    assert [*encoding.names(COLUMNS)] == [
        *("age", "size", "rent", "rent is missing"),
        *("town=Ulm", "town=Bonn", "town unknown", "zone[0]", "zone[1]"),
    ]


def test_what_is_no_code_is_the_unknown_value() -> None:
    """-1, the next number, NaN, half numbers and infinity alike."""
    encoded = Encoding.of(X, COLUMNS).encode(ODD)

    unknown = Encoding.of(X, COLUMNS).encode(X)[3, 4:7]
    np.testing.assert_allclose(encoded[:, 4:7], np.tile(unknown, (4, 1)))
    np.testing.assert_array_equal(encoded[:, 7], 3)


def test_an_unknown_value_that_training_lacked_is_the_average_row() -> None:
    """A line then answers as it does on average, whatever its weights are."""
    column = replace(TOWN, unknown=False)
    x = np.array([[0.0], [0.0], [1.0]])
    known = Encoding.of(x, [column])

    np.testing.assert_allclose(known.encode(x).mean(axis=0), 0, atol=1e-12)
    np.testing.assert_array_equal(known.encode(np.array([[-1.0], [NAN], [5.0]])), 0)


def test_a_fold_knows_nothing_of_the_rows_that_it_leaves_out() -> None:
    """However the others are changed, what the fold sees of its own rows stays the same."""
    rng = np.random.default_rng(0)
    changed = X.copy()
    changed[3] = [1e6, 1.0, -1e6, 1.0, 1e6]

    own = Encoding.of(X[:3], COLUMNS)

    np.testing.assert_array_equal(own.encode(X), Encoding.of(X[:3].copy(), COLUMNS).encode(X))
    # Zone 1 (code 2) and a missing town were in the row that is left out alone.
    np.testing.assert_array_equal(own.encode(X)[3, 4:7], 0)
    assert own.encode(X)[3, 7] == 3
    # And no row with a missing town, no indicator but for what its rows had.
    assert own.missing.tolist() == [0, 1 / 3, 1 / 3]
    assert Encoding.of(changed[:3], COLUMNS).numbers.mean.tolist() == own.numbers.mean.tolist()
    shuffled = rng.permutation(3)
    np.testing.assert_allclose(Encoding.of(X[:3][shuffled], COLUMNS).encode(X), own.encode(X))


def test_an_indicator_that_no_row_taught_stays_silent() -> None:
    """Its weight was never learned, so a gap in a row left out must not call it."""
    encoded = Encoding.of(X[:2], COLUMNS).encode(X)

    np.testing.assert_array_equal(encoded[:, 3], 0)


def test_a_row_of_weight_two_counts_as_two_rows() -> None:
    """Means, deviations and shares alike."""
    weighted = Encoding.of(X, COLUMNS, np.array([1.0, 2.0, 1.0, 1.0]))
    repeated = Encoding.of(X[[0, 1, 1, 2, 3]], COLUMNS)

    np.testing.assert_allclose(weighted.encode(ODD), repeated.encode(ODD))
    np.testing.assert_allclose(weighted.encode(X), repeated.encode(X))


@dataclass
class _Measured:
    """What a stream knows of a column."""

    count: int = 0
    missing: int = 0
    mean: float = 0.0
    deviation: float = 0.0
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


def test_statistics_give_the_encoding_that_rows_give() -> None:
    """A stream sums what a table in memory holds."""
    measured = []
    for column, cells in zip(COLUMNS, X.T, strict=True):
        if column.categories:
            size = len(column.categories)
            known = np.where(np.isnan(cells), size, cells).astype(np.int64)
            measured.append(_Measured(counts=np.bincount(known, minlength=size + 1)))
        else:
            there = cells[~np.isnan(cells)]
            gaps = int(np.isnan(cells).sum())
            measured.append(_Measured(len(there), gaps, there.mean(), there.std()))

    encoded = Encoding.of_statistics(COLUMNS, measured).encode(np.vstack([X, ODD]))

    np.testing.assert_allclose(encoded, Encoding.of(X, COLUMNS).encode(np.vstack([X, ODD])))


@pytest.mark.parametrize(
    "columns",
    [COLUMNS, (TOWN, ZONE), (TOWN,), (ZONE,), (FILLED,), (NUMBER, FILLED), (TOLD, ZONE), (TOLD,)],
    ids=lambda columns: ",".join(column.name for column in columns),
)
@pytest.mark.parametrize("rows", [4, 3, 2], ids=["all rows", "a fold", "a fold without gaps"])
def test_the_graphs_arithmetic_is_the_same(columns: tuple[Column, ...], rows: int) -> None:
    """In float32, and with every block that a table may have or lack."""
    chosen = [COLUMNS.index(column) for column in columns]
    inputs = Encoding.of(X[:rows, chosen], columns)
    module = EncodedModel(nn.Sequential(), inputs)

    both = np.vstack([X, ODD])[:, chosen]
    encoded = module.encoded(torch.tensor(both, dtype=torch.float32)).numpy()

    np.testing.assert_allclose(encoded, inputs.encode(both), rtol=1e-5, atol=1e-6)


def test_a_refused_gap_stays_one() -> None:
    """Where a column was whole in training, NaN is not quietly the mean."""
    inputs = Encoding.of(X[:, [0, 2]], (NUMBER, FILLED))
    module = EncodedModel(nn.Sequential(), inputs)

    encoded = module.encoded(torch.tensor([[NAN, NAN]])).numpy()

    np.testing.assert_array_equal(np.isnan(encoded), [[True, False]])
    np.testing.assert_array_equal(np.isnan(inputs.encode(np.array([[NAN, NAN]]))), [[True, False]])
