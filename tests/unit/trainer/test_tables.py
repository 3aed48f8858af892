"""Tests of whole tables: every kind of column, trained, exported, and answered by ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isotherm.server.vetting.rules import rules_of
from isotherm.trainer import data, estimator, export, fit, objective, parity, run, views
from isotherm.trainer.columns import Floats
from isotherm.trainer.config import IN_MEMORY, DataConfig, FitConfig, NetworkConfig, TrainConfig
from isotherm.trainer.encoding import Encoding
from isotherm.trainer.errors import DataError
from isotherm.trainer.features import EncodedModel
from isotherm.trainer.sequential import SequentialClassifier, SequentialRegressor
from isotherm.v1 import contract as contracts
from isotherm.v1.contract_pb2 import Contract

# Beyond leave-one-out, below what is slow.
ROWS = 56


@dataclass(frozen=True)
class Kind:
    """One column to be made."""

    what: str
    gaps: bool
    rare: bool
    policy: str
    encoding: str


_KINDS = st.builds(
    Kind,
    what=st.sampled_from(["number", "count", "code", "text"]),
    gaps=st.booleans(),
    rare=st.booleans(),
    policy=st.sampled_from(["mean", "indicator"]),
    encoding=st.sampled_from(["auto", "one-hot", "embedding"]),
)


def _cells(kind: Kind, rng: np.random.Generator) -> list[Any]:
    values: list[Any]
    if kind.what == "number":
        values = (rng.normal(rng.uniform(-50, 50), rng.uniform(0.1, 100), ROWS)).tolist()
    elif kind.what == "count":
        values = rng.integers(0, 1000, ROWS).tolist()
    else:
        size = int(rng.integers(2, 6))
        codes = rng.integers(0, size, ROWS)
        # So that there are two values which are not rare.
        codes[:4] = [0, 0, 1, 1]
        if kind.rare:
            codes[-1] = 99
        values = (100 * codes).tolist() if kind.what == "code" else [f"n° {code}" for code in codes]
    if kind.gaps:
        for row in [4, *(5 + np.flatnonzero(rng.random(ROWS - 5) < 0.2))]:
            values[row] = None
    return values


def _table(kinds: list[Kind], classes: int, seed: int) -> data.Table:
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {f"c{index}": _cells(kind, rng) for index, kind in enumerate(kinds)}
    names = [*columns]
    signal = rng.normal(size=ROWS) + [len(str(cell)) for cell in columns["c0"]]
    columns["y"] = (np.arange(ROWS) % classes).astype(str) if classes else 1000 + 50 * signal
    categories = {
        name: kind.encoding
        for name, kind in zip(names, kinds, strict=True)
        if kind.what in {"code", "text"}
    }
    missing = {
        name: kind.policy
        for name, kind in zip(names, kinds, strict=True)
        if kind.gaps and name not in categories
    }
    return data.table(
        columns, features=names, targets=["y"], categories=categories, missing=missing
    )


def _strange(table: data.Table, rng: np.random.Generator) -> Floats:
    """Return rows of which the training had none: unknown values and gaps wherever allowed."""
    rows = table.x[rng.integers(0, table.rows, 40)].copy()
    for index, column in enumerate(table.features):
        if column.categories:
            odd = [-1.0, len(column.categories), 0.5, -7.0, 1e9, np.inf]
            rows[::3, index] = rng.choice(odd, len(rows[::3]))
        if column.missing != "refuse":
            rows[1::3, index] = np.nan
    return rows


@pytest.mark.slow
@settings(
    max_examples=10,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    kinds=st.lists(_KINDS, min_size=1, max_size=4),
    classes=st.sampled_from([0, 2, 3]),
    choice=st.sampled_from(["network", "network", "straight"]),
    skip=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_onnx_runtime_answers_within_the_contracts_tolerance(
    created_at: datetime, kinds: list[Kind], classes: int, choice: str, skip: bool, seed: int
) -> None:
    """Tables of any columns: the served file is torch, unknown values and gaps included."""
    table = _table(kinds, classes, seed)
    straight = "logistic" if classes else "line"
    config = TrainConfig(
        name="any",
        data=DataConfig(dataset=IN_MEMORY),
        model=straight if choice == "straight" else choice,
        network=NetworkConfig(skip=skip),
        fit=FitConfig(epochs=4, weight_decay=(0.1,), seed=seed),
    )
    fitted = estimator.fit(table, config)
    content, _ = run.build(fitted, config, created_at)

    contract = export.contract_of(content)
    golden = contract.golden
    served = fitted.served
    odd = _strange(table, np.random.default_rng(seed))
    for rows in (table.x, odd, np.reshape(golden.inputs, (golden.rows, -1))):
        given_ = rows.astype(np.float32)
        with torch.inference_mode():
            expected = served(torch.from_numpy(given_))[0].numpy()
        answered = parity.session(content).run(["y"], {"x": given_})[0]
        assert np.isfinite(answered).all()
        allowed = golden.absolute_tolerance + golden.relative_tolerance * np.abs(expected)
        assert (np.abs(answered - expected) <= allowed).all()
    assert isinstance(served, EncodedModel)
    _check_encoding(served, table, odd)
    _check_contract(contract, table)
    ops = {node.op_type for node in onnx.load_from_string(content).graph.node}
    assert ops <= (rules_of("strict").ops or set())


def _check_encoding(served: EncodedModel, table: data.Table, odd: Floats) -> None:
    """What the graph's core sees is what it saw in training."""
    encoded = Encoding.of(table.x, table.features).encode(odd)
    with torch.inference_mode():
        seen = served.encoded(torch.tensor(odd, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(seen, encoded, rtol=1e-4, atol=1e-4)


def _check_contract(contract: Contract, table: data.Table) -> None:
    golden = np.reshape(contract.golden.inputs, (contract.golden.rows, -1))
    for feature, column, cells in zip(contract.features, table.features, golden.T, strict=True):
        assert tuple(feature.categories) == column.categories
        assert contracts.takes_missing(feature) == np.isnan(cells).any()
        if feature.categories:
            assert (cells == -1).any()
            assert 0 <= feature.mean <= feature.maximum == len(column.categories) - 1


def _fitted(columns: dict[str, Any], **settings_: Any) -> Any:
    return fit(
        None, columns, features=["town", "zone", "size"], targets=["y"], epochs=5,
        categories={"zone": "embedding"}, missing="indicator", **settings_,
    )  # fmt: skip


def _columns() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    columns = {
        "town": rng.choice(["Ulm", "Bonn", "Kiel"], ROWS).tolist(),
        "zone": rng.integers(0, 4, ROWS).tolist(),
        "size": rng.normal(50, 10, ROWS).tolist(),
    }
    columns["y"] = [
        size + 5 * zone for size, zone in zip(columns["size"], columns["zone"], strict=True)
    ]
    columns["size"][3] = columns["town"][5] = None
    return columns


def test_predict_takes_the_values_that_fit_took() -> None:
    """Columns by name, in any order and with others beside them; or an array of objects."""
    trained = _fitted(_columns())
    town, zone, size = (["Bonn", "Rome", None], [3, 9, None], [40.0, None, 60.0])

    by_name = trained.predict({"size": size, "other": [1, 2, 3], "town": town, "zone": zone})
    cells = [*zip(town, zone, size, strict=True)]
    rows = trained.predict(np.array(cells, dtype=object))

    features = trained.fitted.table.features
    code = features[0].categories.index("Bonn"), features[1].categories.index("3")
    codes = np.array([[*code, 40.0], [-1, -1, np.nan], [np.nan, np.nan, 60.0]])
    np.testing.assert_array_equal(by_name, trained.fitted.predict(codes))
    np.testing.assert_array_equal(rows, by_name)
    np.testing.assert_array_equal(trained.predict(cells[:1]), by_name[:1])
    as_text = {"town": town, "zone": ["03", "9.0", ""], "size": size}
    np.testing.assert_array_equal(trained.predict(as_text), by_name)


def test_what_a_fold_sees_is_made_of_its_own_rows() -> None:
    """Whatever stands in the rows that it leaves out: numbers, gaps, and values of their own."""
    names = ["town", "zone", "size"]
    table = data.table(_columns(), features=names, targets=["y"], missing="indicator")
    out = np.arange(ROWS) < 9
    changed = table.x.copy(), table.y.copy()
    changed[0][out] = [[np.nan, 1e6, np.nan]] * 9
    changed[1][out] = -1e6
    learned = np.stack([np.ones(ROWS, dtype=np.bool_), ~out])

    views_ = [
        views.of(one, objective.of(one), FitConfig(), learned, ~learned, stopping=False).rows
        for one in (table, replace(table, x=changed[0], y=changed[1]))
    ]

    for part in ("x", "y"):
        before, after = (getattr(one, part).numpy()[:, ~out] for one in views_)
        np.testing.assert_array_equal(before[1], after[1])
        assert (before[0] != after[0]).any()


@pytest.mark.slow
def test_the_same_table_gives_the_same_bytes(created_at: datetime) -> None:
    """Whatever form its columns come in: codes do not depend on the rows' types."""
    columns = _columns()
    other = {**columns, "zone": [float(zone) for zone in columns["zone"]]}

    contents = [
        run.build(trained.fitted, trained.config, created_at)[0]
        for trained in (_fitted(columns), _fitted(columns))
    ]

    assert contents[0] == contents[1]
    np.testing.assert_array_equal(_fitted(other).fitted.table.x, _fitted(columns).fitted.table.x)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ({"town": ["Ulm"], "zone": [1]}, "x has no column 'size'; its columns are: town, zone"),
        (np.ones((2, 3)), "x holds numbers, and 'town' is a category of text; give its values"),
        (np.array([["Ulm", 1]], dtype=object), "x has 2 columns, the model was fitted to 3"),
        ({"town": ["Ulm"], "zone": [1], "size": ["big"]}, "'size' of x has 'big' in row 1"),
        ({"town": ["Ulm"], "zone": [1], "size": [np.inf]}, "'size' of x has inf in row 1"),
    ],
)
def test_rows_that_do_not_fit_the_model_are_refused(rows: Any, expected: str) -> None:
    """A code in the place of a value would be answered with nonsense."""
    trained = _fitted(_columns())

    with pytest.raises(DataError, match=expected):
        trained.predict(rows)


@pytest.mark.parametrize("make", [pa.table, dict], ids=["arrow", "dict"])
def test_the_types_of_named_columns_say_what_is_a_category(make: Any) -> None:
    """Beside y as an array of its own, too; numpy would make numbers of such a column."""
    rng = np.random.default_rng(0)
    zone = pa.array(rng.integers(0, 3, ROWS)).dictionary_encode()
    columns = {"zone": zone, "size": pa.array(rng.normal(size=ROWS))}

    trained = fit(None, make(columns), rng.normal(size=ROWS), epochs=3)

    zone_, size = trained.fitted.table.features
    assert {*zone_.categories} == {"0", "1", "2"}
    assert (zone_.name, size.name, size.categories) == ("zone", "size", ())


def test_a_gap_where_training_had_none_is_refused() -> None:
    """With the setting that would accept it."""
    columns = _columns()
    trained = fit(None, columns, features=["zone", "town"], targets=["y"], epochs=5)

    with pytest.raises(
        DataError, match=r"'zone' of x has an empty cell .* missing={'zone': 'mean'}"
    ):
        trained.predict({"zone": [1, None], "town": ["Ulm", None]})


@pytest.mark.parametrize("kind", [SequentialRegressor, SequentialClassifier])
def test_an_estimator_takes_named_columns(kind: type[Any]) -> None:
    """With categories and gaps, which it maps as it did in `fit`."""
    columns = _columns()
    y = np.array(columns.pop("y"))
    model = kind(epochs=20, categories=["zone"], missing={"size": "mean"})
    labels = kind is SequentialClassifier

    model.fit(columns, np.where(y > y.mean(), "high", "low") if labels else y)

    some = {name: values[:7] for name, values in columns.items()}
    answers = model.predict(dict(reversed(some.items())))
    np.testing.assert_array_equal(answers, model.predict(columns)[:7])
    assert model.predict({"town": ["Rome"], "zone": [9], "size": [None]}).shape == (1,)
    assert model.get_params()["categories"] == ["zone"]
