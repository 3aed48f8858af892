"""Tests of the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from isotherm.trainer import model
from isotherm.trainer.errors import LayerError

SEED_LAYERS = ("Linear(1, 13)", "Tanh()", "Linear(13, 1)")


def test_the_default_network_is_that_of_the_seed() -> None:
    """One hidden layer of 13 tanh units, 40 numbers."""
    network = model.network((), features=1, targets=1, seed=0)

    assert str(model.network(SEED_LAYERS, features=1, targets=1, seed=0)) == str(network)
    assert model.parameter_count(network) == 40


def test_the_seed_decides_the_weights_and_nothing_else() -> None:
    """The same seed gives the same weights; the caller's random state is left alone."""
    before = torch.random.get_rng_state()

    first, second = (
        model.network((), features=2, targets=1, seed=5).state_dict()["0.weight"] for _ in range(2)
    )

    assert torch.equal(first, second)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(("used", "devices"), [(True, [3]), (False, [])])
def test_the_random_state_of_the_device_in_use_is_left_alone_too(
    used: bool, devices: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that nobody has used is not started for it."""
    kept: list[list[int]] = []

    @contextmanager
    def fork(numbers: list[int]) -> Iterator[None]:
        kept.append(numbers)
        yield

    monkeypatch.setattr(torch.random, "fork_rng", fork)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: used)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    before = torch.random.get_rng_state()
    with model.seeded(1):
        pass
    torch.random.set_rng_state(before)

    assert kept == [devices]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (
            ["Linear(1, 13)", "Tanh()", "Linear(8, 1)"],
            r"layer 2, Linear\(8, 1\), takes 8 numbers, but layer 0, .*gives 13; make them equal",
        ),
        (["Linear(2, 1)"], r"takes 2 numbers, but the table has 1 feature; make them equal"),
        (["Linear(1, 3)"], r"gives 3, but the table has 1 target; make them equal"),
        (
            ["Linear(1)"],
            r"'Linear\(1\)' is no layer; expected Linear\(inputs, outputs\), or one of",
        ),
        (["Linear(1, 0)"], r"'Linear\(1, 0\)' is no layer"),
        (["Magic()"], r"'Magic\(\)' is no layer; .*Tanh\(\)"),
        (["Tanh(1, 2)"], r"'Tanh\(1, 2\)' is no layer"),
    ],
)
def test_layers_that_are_no_network_are_refused(layers: list[str], expected: str) -> None:
    """The sentence names both neighbours, or the layers that there are."""
    with pytest.raises(LayerError, match=expected):
        model.network(layers, features=1, targets=1, seed=0)
