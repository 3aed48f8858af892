"""Drift of categories and of columns with gaps: in shares of values, and of rows without one."""

from __future__ import annotations

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest

from isotherm.server.drift import tally, watched
from isotherm.server.drift.collector import DriftCollector
from isotherm.server.drift.reference import Column, Reference
from isotherm.server.drift.tally import Tally
from isotherm.v1.categories import histogram
from isotherm.v1.contract_pb2 import (
    MISSING_MEAN,
    MISSING_UNKNOWN,
    Contract,
    Feature,
    Histogram,
    Tensors,
)
from tests.support import trained
from tests.unit.server.drift.workers import Workers, columns, drifted

ROWS = 5000
CITIES = ["Oslo", "Paris", "Rome"]
SHARES = [0.5, 0.3, 0.1]
NAN = float("nan")


def asked(rows, seed, *, shares=SHARES, missing=0.05):
    """Return rows of a city, of which the rest is unknown, and of a distance with gaps."""
    rng = np.random.default_rng(seed)
    unknown = 1 - sum(shares)
    codes = rng.choice([0, 1, 2, -1], rows, p=[*shares, unknown]).astype(np.float32)
    codes[(codes == -1) & (rng.random(rows) < 0.5)] = NAN
    km = rng.normal(10, 2, rows).astype(np.float32)
    km[rng.random(rows) < missing] = NAN
    x = np.column_stack([codes, km])
    return x, np.nan_to_num(x).sum(axis=1, keepdims=True)


@pytest.fixture(name="contract", scope="module")
def _contract():
    """What a model of these two columns was trained on."""
    x, y = asked(ROWS, seed=0)
    km = x[np.isfinite(x[:, 1])][:, 1:]
    made = trained.contract(km, y)
    made.features[0].MergeFrom(
        Feature(name="km", missing=MISSING_MEAN, missing_rate=float(np.isnan(x[:, 1]).mean()))
    )
    counts = [int((x[:, 0] == code).sum()) for code in range(3)]
    city = Feature(
        name="city",
        categories=CITIES,
        missing=MISSING_UNKNOWN,
        unknown_rate=1 - sum(counts) / ROWS,
        maximum=2,
        mean=0.5,
        standard_deviation=0.7,
        deciles=histogram(counts),
    )
    features = [city, *made.features]
    del made.features[:]
    made.features.extend(features)
    return made


def look(contract, x, y):
    workers = Workers(1)
    workers.load(0, contract)([x], [y])
    return workers.report(), workers


def test_the_same_shares_are_no_drift(contract):
    """Gaps, unknown and missing values included, where the training had as many."""
    report, _ = look(contract, *asked(4000, seed=1))
    found = columns(report)

    assert drifted(report) == []
    assert found["city"].psi is not None
    assert found["km"].psi is not None
    assert (found["city"].mean_shift, found["city"].spread) == (None, None)
    assert found["km"].mean_shift == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        ({"shares": [0.3, 0.5, 0.1]}, "city"),
        ({"shares": [0.4, 0.25, 0.05]}, "city"),
        ({"missing": 0.25}, "km"),
    ],
    ids=["other shares", "unknown values", "more gaps"],
)
def test_other_shares_are(contract, changes, culprit):
    """Also where each value that there is lies as ever, and only more of them are not there."""
    report, _ = look(contract, *asked(4000, seed=1, **changes))

    assert [name for name in drifted(report) if name != "t0"] == [culprit]


def test_rows_without_a_value_have_a_bin(contract):
    """Of a category the unknown ones, of which the missing ones are some."""
    x = np.array([[0, 10], [-1, NAN], [NAN, 10], [2, 10], [3, NAN]], np.float32)
    report, workers = look(contract, x, np.ones((5, 1), np.float32))
    found = columns(report)

    assert found["city"].bins == [1, 0, 1, 3]
    assert (found["city"].missing, found["city"].out_of_range) == (1, 2)
    assert found["km"].missing == found["km"].bins[-1] == 2
    registry = CollectorRegistry()
    registry.register(DriftCollector(workers.watch))
    page = generate_latest(registry).decode()
    for name, count, share in (
        *zip(CITIES, (1, 0, 1), SHARES, strict=True),
        ("(unknown)", 3, 0.1),
    ):
        labels = f'{{bin="{name}",column="city",kind="feature",model="m",version="1"}}'
        assert f"isotherm_drift_bin_rows_total{labels} {count:.1f}\n" in page
        (line,) = [
            line
            for line in page.splitlines()
            if line.startswith(f"isotherm_drift_reference_ratio{labels}")
        ]
        assert float(line.split()[-1]) == pytest.approx(share, abs=0.03)
    labels = '{bin="(missing)",column="km",kind="feature",model="m",version="1"}'
    assert f"isotherm_drift_bin_rows_total{labels} 2.0\n" in page


def test_gaps_of_refused_rows_are_missing_and_not_in_a_bin(contract):
    """They were not run: the index is of rows that were."""
    workers = Workers(1)
    tap = workers.load(0, contract)
    tap.refused(np.array([[0, np.inf], [NAN, np.inf]], np.float32))
    x, y = asked(1000, seed=1)
    tap([x], [y])
    found = columns(workers.report())

    assert found["city"].missing == int(np.isnan(x[:, 0]).sum()) + 1
    assert sum(found["city"].bins) == sum(found["km"].bins) == 1000
    assert found["km"].infinite == 2


def _one(feature):
    contract = Contract(features=[feature], tensors=Tensors(input="x", prediction="y"))
    return watched.reference("m", 1, contract).columns[0]


@pytest.mark.parametrize(
    ("categories", "counts", "labels"),
    [
        (["a", "b"], [5, 4], ["a", "b", "(unknown)"]),
        (["a", "(unknown)"], [5, 4], ["0", "1", "(unknown)"]),
        (["x" * 70 + "1", "x" * 70 + "2"], [5, 4], ["0", "1", "(unknown)"]),
        (["a"], [5], []),
        (["a", *map(str, range(20))], [90, *[1] * 20], ["a", "0 and 2 more"]),
    ],
    ids=["values", "clash", "long", "one", "many"],
)
def test_bins_are_called_by_what_is_in_them(categories, counts, labels):
    """Unless that could mean another one."""
    feature = Feature(name="c", categories=categories, deciles=histogram(counts))

    found = _one(feature).labels

    assert found[: len(labels)] == labels
    assert bool(found) == bool(labels)


def test_bins_with_edges_on_the_codes_have_names_too():
    """As somebody else's contract may have them: (low, high], the first with its lower edge."""
    deciles = Histogram(edges=[0, 1, 2], counts=[8, 1])

    assert _one(Feature(name="c", categories=CITIES, deciles=deciles)).labels == [
        "Oslo and 1 more",
        "Rome",
        "(unknown)",
    ]


def test_a_number_that_is_never_missing_is_compared_as_ever():
    """Its bins are numbered, and none is added."""
    deciles = Histogram(edges=[0, 1, 2], counts=[8, 1])
    column = _one(Feature(name="n", minimum=0, maximum=2, deciles=deciles))

    assert column.labels == ["0", "1"]
    assert column.trained == [8, 1]


def test_rows_in_no_bin_are_the_share_of_all_rows_that_the_contract_states():
    """The histogram is of the others: nine of twelve."""
    deciles = Histogram(edges=[0, 1, 2], counts=[8, 1])
    column = _one(Feature(name="n", missing=MISSING_MEAN, missing_rate=0.25, deciles=deciles))

    assert column.trained == pytest.approx([8, 1, 3])
    assert column.rows == pytest.approx(12)


def test_all_may_have_been_missing():
    """Nothing can be compared with nothing."""
    deciles = Histogram(edges=[0, 1, 2], counts=[8, 1])
    column = _one(Feature(name="n", missing=MISSING_MEAN, missing_rate=1, deciles=deciles))

    assert column.labels == ["0", "1"]


def test_an_unknown_value_is_part_of_no_mean():
    """The code stands for no value."""
    column = Column(
        kind="feature", name="c", minimum=0, maximum=2, category=True, edges=(-0.5, 0.5, 2.5),
        counts=(5, 5), absent=0.1,
    )  # fmt: skip
    made = Tally(Reference(name="m", version=1, columns=(column,)))
    made.add(np.array([[0], [1], [-1], [NAN], [3]], np.float32))

    assert made.totals[tally.FINITE].tolist() == [2]
    assert made.totals[tally.SUM].tolist() == [1]
    assert made.totals[tally.OUTSIDE].tolist() == [2]
    assert made.totals[tally.BINS :, 0].tolist() == [1, 1]
