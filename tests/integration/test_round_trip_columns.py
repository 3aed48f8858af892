"""Every kind of column and split goes round: trained, published, served, and asked by value.

What torch answers to a table must be what the server answers to it, with values that the training
never saw, and with cells that are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st

from isotherm.client import Client
from isotherm.trainer import fit
from isotherm.v1.contract_pb2 import Contract, Feature
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow

CREATED_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
MODEL: Final = "columns"
# Beyond 32 values the trainer learns numbers for each.
MANY: Final = 40
Columns = dict[str, list[Any]]

TABLES: Final = MappingProxyType(
    {"dict": dict, "pandas": pd.DataFrame, "polars": pl.DataFrame, "arrow": pa.table}
)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A table to train on, how, and one to ask about."""

    table: Columns = field(repr=False)
    asked: Columns = field(repr=False)
    settings: dict[str, Any]
    container: Callable[[Columns], Any]


def _texts(rng: np.random.Generator, rows: int, names: list[str]) -> list[str]:
    """Each value at least twice, the rest by chance."""
    chosen = [*names, *names, *rng.choice(names, max(0, rows - 2 * len(names)))]
    return [str(each) for each in rng.permutation(np.array(chosen[:rows], object))]


def _gaps(rng: np.random.Generator, values: list[Any], share: float) -> list[Any]:
    """Lose a share of the cells, and the first one for sure where there is a share at all."""
    gone = rng.random(len(values)) < share
    gone[0] = share > 0
    return [None if lost else value for value, lost in zip(values, gone, strict=True)]


@st.composite
def _cases(draw: st.DrawFn, split: str) -> Case:
    """Tables with a column of every kind."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = draw(st.integers(2 * MANY, 150))
    share = draw(st.sampled_from([0.0, 0.1, 0.4]))
    letters = st.text(
        st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=6
    )
    named = letters.filter(str.strip)
    few = draw(st.lists(named, min_size=2, max_size=5, unique=True))
    km, level = rng.normal(10, 3, rows), rng.uniform(-1, 1, rows)
    table: Columns = {
        "few": _gaps(rng, _texts(rng, rows, few), share),
        "many": _gaps(rng, _texts(rng, rows, [f"zone {i}" for i in range(MANY)]), share),
        "code": _gaps(rng, [int(each) for each in rng.permutation(np.arange(rows) % 5)], 0.0),
        "flag": [bool(each) for each in rng.permutation(np.arange(rows) % 3 == 0)],
        "km": _gaps(rng, km.tolist(), share),
        "level": _gaps(rng, level.tolist(), share),
        "plain": rng.normal(0, 1e-3, rows).tolist(),
    }
    # Where no cell is missing there is nothing to tell a network of.
    policies = ["mean", "indicator"] if share else ["mean"]
    ways: dict[str, Any] = {
        "categories": {
            # Text that may look like numbers.
            "few": draw(st.sampled_from(["one-hot", "embedding"])),
            "code": "one-hot",
            "flag": draw(st.sampled_from(["one-hot", "embedding"])),
        },
        "missing": {name: draw(st.sampled_from(policies)) for name in ("km", "level")},
        "min_category_rows": draw(st.sampled_from([1, 2])),
        "choose": draw(st.sampled_from(["network", "line", "auto"])),
    }
    heat = km * 2 + 5 * (np.array(table["flag"])) + rng.normal(0, 1, rows) + 40
    target = draw(st.sampled_from(["number", "log", "log1p", "sqrt", "two", "label"]))
    outputs: Columns = {"y": heat.clip(0.5).tolist()}
    if target == "label":
        outputs = {
            "y": [
                str(each)
                for each in np.array(["cold", "warm", "hot"])[
                    np.digitize(heat, np.quantile(heat, [0.3, 0.7]))
                ]
            ]
        }
        ways["choose"] = "network"
    elif target == "two":
        outputs["z"] = (1e4 + 20 * heat).tolist()
    elif target != "number":
        ways["transforms"] = {"y": target}
    if split != "random":
        table[split] = [
            int(each)
            for each in (rng.permutation(rows) if split == "time" else rng.integers(8, size=rows))
        ]
        ways[split] = split
    if draw(st.booleans()):
        table["weight"] = rng.uniform(0.5, 2, rows).tolist()
        ways["weight"] = "weight"
    event(f"target {target}, {ways['choose']}")
    features = ["few", "many", "code", "flag", "km", "level", "plain"]
    asked = {name: list(table[name]) for name in features}
    for name, odd in (
        ("few", ["never seen", None, ""]),
        ("many", ["zone 99", None, " zone 1"]),
        ("code", [17, None, 3]),
        ("km", [None, 1e3, -1e3]),
        ("level", [0.0, None, 9.0]),
    ):
        asked[name] = [*asked[name], *odd, asked[name][1]]
    asked["flag"] += [None, True, False, True]
    asked["plain"] += [0.0, 1.0, -1.0, 0.0]
    return Case(
        table=table | outputs,
        asked=asked,
        settings=ways | {"features": features, "targets": [*outputs]},
        container=draw(st.sampled_from([*TABLES.values()])),
    )


@pytest.fixture(name="repository", scope="module")
def _repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("columns") / "models"


@pytest.fixture(name="server", scope="module")
def _server(repository: Path) -> Iterator[Server]:
    """A server that loads what it is told to."""
    repository.mkdir()
    with serving(repository, "--model-control", "explicit") as server:
        yield server


def _allowed(contract: Contract, expected: Any) -> Any:
    golden = contract.golden
    return golden.absolute_tolerance + golden.relative_tolerance * np.abs(expected)


@pytest.mark.parametrize("split", ["random", "time", "group"])
def test_what_is_served_is_what_torch_answers(server: Server, repository: Path, split: str) -> None:
    """Within the contract's tolerance, for a table of whatever package."""

    @settings(
        max_examples=3,
        phases=[Phase.explicit, Phase.generate],
    )
    @given(case=_cases(split))
    def goes_round(case: Case) -> None:
        trained = fit(None, case.table, epochs=3, weight_decay=(0.3,), name=MODEL, **case.settings)
        trained.publish(repository, MODEL, CREATED_AT)
        with Client(server.address, timeout=30) as client:
            client.load(MODEL)
            contract = client.contract(MODEL)
            served = client.predict(
                MODEL, case.container(case.asked), outputs=contract.tensors.prediction
            )

        expected = trained.predict(case.asked)
        assert served.shape == expected.shape
        assert (np.abs(served - expected) <= _allowed(contract, expected)).all()
        assert np.isfinite(served).all()
        _check_contract(contract, case)

    goes_round()


def _check_contract(contract: Contract, case: Case) -> None:
    """Each column is described as what it is."""
    found: dict[str, Feature] = {feature.name: feature for feature in contract.features}
    for name in ("few", "many", "code", "flag"):
        values = {str(value) for value in case.table[name] if value is not None}
        assert set(found[name].categories) <= values
        counted = sum(str(value) in found[name].categories for value in case.table[name])
        assert found[name].unknown_rate == pytest.approx(1 - counted / len(case.table[name]))
        assert sum(found[name].deciles.counts) in {0, counted}
    for name in ("km", "level"):
        missing = sum(value is None for value in case.table[name]) / len(case.table[name])
        assert found[name].missing_rate == pytest.approx(missing)


@pytest.mark.parametrize("transform", ["log", "log1p", "sqrt"])
def test_the_server_counts_as_covered_what_the_graph_s_bounds_cover(
    server: Server, repository: Path, transform: str
) -> None:
    """Feedback without bounds of its own is held to the contract's width, on the target's scale."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    y = np.square(x + 3 + rng.normal(0, 0.3, 300)) + 0.01
    table = {"x": x.tolist(), "y": y.tolist()}
    named: dict[str, Any] = {"features": ["x"], "targets": ["y"], "transforms": {"y": transform}}
    trained = fit(None, table, choose="line", epochs=3, weight_decay=(0.3,), **named)
    version = trained.publish(repository, MODEL, CREATED_AT).parent.name
    with Client(server.address, timeout=30) as client:
        client.load(MODEL)
        interval = client.predict_interval(MODEL, {"x": x})
        client.feedback(MODEL, interval.prediction, y)

    assert (interval.lower <= interval.prediction).all()
    assert (interval.prediction <= interval.upper).all()
    covered = (interval.lower[:, 0] <= y) & (y <= interval.upper[:, 0])
    labels = f'{{model="{MODEL}",target="y",version="{version}"}}'
    assert server.metric(f"isotherm_feedback_interval_rows_total{labels}") == 300
    assert server.metric(f"isotherm_feedback_covered_rows_total{labels}") == covered.sum()
    assert 0.8 < covered.mean() < 1
