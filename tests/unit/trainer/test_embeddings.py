"""Tests of embeddings: the vectors of categories, alone, in stacks of copies, and untrained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from isotherm.trainer import data, embeddings, loop, model, networks, objective, validation
from isotherm.trainer.batches import Rows
from isotherm.trainer.columns import Column
from isotherm.trainer.config import FitConfig, NetworkConfig
from isotherm.trainer.encoding import Encoding
from isotherm.trainer.errors import LayerError
from isotherm.trainer.folds import Folds
from isotherm.trainer.stack import Single, Stack, can_stack

RNG = np.random.default_rng(0)
ZONE = Column(
    name="zone",
    unit="",
    datatype="INT64",
    categories=("7", "3", "1"),
    missing="unknown",
    embedding=2,
)
COLUMNS = (ZONE, Column(name="age", unit="", datatype="FP64"), replace(ZONE, name="street"))
X = np.column_stack([RNG.integers(0, 3, 24), RNG.normal(size=24), RNG.integers(0, 3, 24)])


def _network(*, skip: bool = False) -> nn.Sequential:
    with model.seeded(0):
        own = model.of_layers(["Linear(5, 4)", "Tanh()", "Linear(4, 1)"], 0)
        layer = embeddings.of(COLUMNS)
    assert layer is not None
    return embeddings.before(layer, model.with_skip(own, 5, 1) if skip else own)


def test_a_code_becomes_its_vector_behind_the_numbers() -> None:
    """The numbers pass through, and each code looks up its row."""
    layer = embeddings.Embeddings(1, [torch.tensor([[1.0, 2.0], [3.0, 4.0]])])

    rows = layer(torch.tensor([[0.5, 1.0], [0.25, 0.0]]))

    assert rows.tolist() == [[0.5, 3.0, 4.0], [0.25, 1.0, 2.0]]


@pytest.mark.parametrize("skip", [False, True], ids=["layers", "vmap"])
def test_each_copy_of_a_stack_looks_up_its_own_vectors(skip: bool) -> None:
    """Whether the stack goes layer by layer or by vmap."""
    network = _network(skip=skip)
    stack = Stack(network, 3)
    with torch.no_grad():
        stack.parameters["embeddings.tables.1"].mul_(torch.tensor([1.0, 2.0, 3.0])[:, None, None])
    x = torch.tensor(Encoding.of(X, COLUMNS).encode(X), dtype=torch.float32)

    answers = stack(x.expand(3, -1, -1))

    assert can_stack(network, 3)
    for index, answer in enumerate(answers):
        torch.testing.assert_close(stack.member(index)(x), answer)
    assert (answers[0] != answers[1]).any()


@pytest.mark.parametrize("skip", [False, True], ids=["layers", "vmap"])
def test_copies_train_side_by_side_as_one_does_alone(skip: bool) -> None:
    """Also in batches, in which most vectors are not met."""
    config = FitConfig(epochs=20, batch_size=5)
    network, encoded = _network(skip=skip), Encoding.of(X, COLUMNS).encode(X)
    x = torch.tensor(encoded, dtype=torch.float32)[None]
    y = (x[..., :1] + x[..., 1:2]) / 3
    shares = torch.full((1, 24), 1 / 24)
    parts = {"x": x, "y": y, "training": shares, "held_out": torch.zeros(1, 24)}
    one = Rows(**parts)
    three = Rows(**{name: part.expand(3, *part.shape[1:]) for name, part in parts.items()})

    single, stack = Single(network), Stack(network, 3)
    loop.fit(single, one, config)
    loop.fit(stack, three, config)

    for name, value in single.member(0).state_dict().items():
        torch.testing.assert_close(value, stack.member(2).state_dict()[name], rtol=1e-4, atol=1e-5)
    before = dict(network.state_dict())["embeddings.tables.0"]
    assert not torch.equal(before, single.member(0).state_dict()["embeddings.tables.0"])


def test_an_unknown_value_that_no_row_taught_is_the_mean_of_the_others() -> None:
    """Of each copy by its own rows; where rows taught it, it stays as it is."""
    stack = Stack(_network(), 2)
    x = X.copy()
    x[:6, 0] = -1.0
    # The first copy saw all rows, the second those without the unknown zone.
    encodings = [Encoding.of(x, COLUMNS), Encoding.of(x[6:], COLUMNS)]
    with torch.no_grad():
        stack.parameters["embeddings.tables.0"][:, 3] = 7.0

    embeddings.settle(stack.state(), encodings)

    zones, streets = (stack.parameters[f"embeddings.tables.{index}"] for index in (0, 1))
    assert zones[0, 3].tolist() == [7.0, 7.0]
    shares = torch.tensor(np.bincount(x[6:, 0].astype(int), minlength=3) / 18, dtype=torch.float32)
    torch.testing.assert_close(zones[1, 3], shares @ zones[1, :3])
    shares = torch.tensor(np.bincount(X[:, 2].astype(int)) / 24, dtype=torch.float32)
    torch.testing.assert_close(streets[0, 3], shares @ streets[0, :3])


def test_settling_does_the_same_for_a_model_of_its_own() -> None:
    """A stream trains one model, without an axis of copies."""
    single = Single(_network())

    embeddings.settle(single.state(), [Encoding.of(X, COLUMNS)])

    table = single.member(0).state_dict()["embeddings.tables.1"]
    shares = torch.tensor(np.bincount(X[:, 2].astype(int)) / 24, dtype=torch.float32)
    torch.testing.assert_close(table[3], shares @ table[:3])


def _table() -> data.Table:
    columns = {
        "zone": X[:, 0].astype(int),
        "age": X[:, 1],
        "town": RNG.choice([*"abc"], 24),
        "y": X[:, 1] + X[:, 0],
    }
    kinds = {"zone": "embedding"}
    return data.table(columns, features=["zone", "age", "town"], targets=["y"], categories=kinds)


def test_an_unknown_value_answers_as_the_average_row_of_its_fold() -> None:
    """By a network that is a line: an unknown town and zone answer as the mean over all of them."""
    table = _table()
    target = objective.of(table)
    network = networks.prepare(nn.Sequential(nn.Linear(7, 1)), table, target)
    nothing = Folds(method="none", held_out=np.zeros((0, 24), dtype=np.bool_))
    training = validation.Training(
        table=table, parts=nothing, config=FitConfig(epochs=50), objective=target
    )

    core, _ = validation.alone(network, training)

    encoding = Encoding.of(table.x, table.features)
    rows = table.x.copy()
    rows[:, [0, 2]] = -1.0
    answers = [
        core(torch.tensor(encoding.encode(x), dtype=torch.float32)).mean().item()
        for x in (table.x, rows)
    ]
    assert answers[0] == pytest.approx(answers[1], abs=1e-5)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (
            ["Linear(3, 1)"],
            r"layer 0, Linear\(3, 1\), takes 3 numbers, but the table's features make 7 numbers "
            r"\(age, town=\w, town=\w, town=\w, zone\[0\], zone\[1\], zone\[2\]\)",
        ),
    ],
)
def test_layers_of_another_width_are_told_what_they_see(layers: list[str], expected: str) -> None:
    """Not how many features there are: each value of a category is a number of its own."""
    table = _table()

    with pytest.raises(LayerError, match=expected):
        networks.build(NetworkConfig(layers=tuple(layers)), table, objective.of(table), 0)
