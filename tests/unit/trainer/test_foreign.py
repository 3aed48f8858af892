"""Tests of the contract of a model that was trained elsewhere."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from isotherm.trainer import data, foreign
from isotherm.trainer.errors import DataError, ExportError, LayerError
from isotherm.trainer.foreign import Head, Request
from isotherm.v1 import contract

RNG = np.random.default_rng(0)
A, B = RNG.uniform(0, 10, (2, 30))
KIND = np.array(["cold", "warm"])[(A + B > 10).astype(int)]
COLUMNS = {"a": A, "b": B, "y": 3 * A - B + RNG.normal(0, 0.1, 30), "z": B, "kind": KIND}


def _table(*targets: str) -> data.Table:
    return data.table(COLUMNS, features=["a", "b"], targets=targets, units={"a": "m"})


@pytest.fixture(name="request_")
def _request(created_at: datetime) -> Request:
    return Request(name="mine", created_at=created_at)


def _line() -> nn.Sequential:
    """The truth behind y, as a module."""
    linear = nn.Linear(2, 1)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[3.0, -1.0]]))
        linear.bias.zero_()
    return nn.Sequential(linear)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (KIND, "column 'b' of the sample holds categories .* with its columns encoded"),
        (np.where(B > 5, np.nan, B), r"column 'b' of the sample has \d+ empty cells.* gaps filled"),
    ],
)
def test_a_sample_of_text_or_with_gaps_is_refused(
    column: np.ndarray, expected: str, request_: Request
) -> None:
    """How somebody else's model takes them is not to be guessed."""
    table = data.table({**COLUMNS, "b": column}, features=["a", "b"], targets=["y"], missing="mean")

    with pytest.raises(DataError, match=expected):
        foreign.of_module(_line(), table, request_)


def test_a_module_gets_a_full_contract(request_: Request) -> None:
    """Columns with units and ranges, golden rows by torch, where they are from; no leaderboard."""
    model = foreign.of_module(_line(), _table("y"), request_)

    properties = {
        entry.key: entry.value for entry in onnx.load_from_string(model.content).metadata_props
    }
    found = contract.loads(properties[contract.METADATA_KEY])
    assert [(one.name, one.unit) for one in found.features] == [("a", "m"), ("b", "")]
    assert found.features[0].minimum == pytest.approx(A.min())
    assert (found.golden.rows, len(found.golden.outputs)) == (64, 64)
    assert found.provenance.data_sha256 == model.table.sha256
    assert not found.provenance.leaderboard
    assert '"golden_by": "torch' in properties[foreign.EXPORT_KEY]
    assert model.parity is not None
    assert model.parity < 1e-4
    assert foreign.score(model).startswith("on the 30 rows of the sample: RMSE of y 0.")


def test_columns_in_a_wrong_order_show_on_the_sample(request_: Request) -> None:
    """The module has no names, so only the error can tell."""
    table = data.table(COLUMNS, features=["b", "a"], targets=["y"])

    score = foreign.score(foreign.of_module(_line(), table, request_))

    assert score.endswith("are the features in the order, and in the units, that it takes?")


def test_the_callers_module_is_left_as_it_was(request_: Request) -> None:
    """Neither its mode nor its precision changes."""
    module = _line().double().train()

    model = foreign.of_module(module, _table("y"), request_)

    assert (module.training, next(module.parameters()).dtype) == (True, torch.float64)
    assert model.notes[0].startswith("cast from float64 to float32")


@pytest.mark.parametrize(
    ("width", "last", "head", "expected"),
    [
        (2, nn.Identity(), "auto", "a softmax was added"),
        (2, nn.Softmax(dim=1), "auto", "taken for probabilities"),
        (1, nn.Identity(), "auto", "a sigmoid was added"),
        (1, nn.Sigmoid(), "auto", "taken for probabilities"),
        (1, nn.Sigmoid(), "logits", "a sigmoid was added"),
    ],
)
def test_a_classifier_answers_with_a_probability_for_each_class(
    request_: Request, width: int, last: nn.Module, head: Head, expected: str
) -> None:
    """Logits get what turns them into probabilities; one column becomes two."""
    torch.manual_seed(1)
    linear = nn.Linear(2, width)
    with torch.no_grad():
        # Far from the probabilities' range, whatever the start.
        linear.bias.add_(torch.linspace(-9, -8, width))
    request = Request(name="mine", created_at=request_.created_at, head=head)

    model = foreign.of_module(nn.Sequential(linear, last), _table("kind"), request)

    assert expected in model.notes[0]
    assert model.predictions.shape == (30, 2)
    np.testing.assert_allclose(model.predictions.sum(axis=1), 1, atol=1e-6)
    assert list(model.contract.targets[0].classes) == ["cold", "warm"]


class _Mixing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(dim=0))[:, :1]


class _Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def _exploding() -> nn.Sequential:
    linear = nn.Linear(2, 1)
    with torch.no_grad():
        linear.weight.fill_(1e38)
    return nn.Sequential(linear)


@pytest.mark.parametrize(
    ("module", "error", "expected"),
    [
        (nn.Linear(3, 1), LayerError, "cannot take rows of 2 features"),
        (nn.Linear(2, 2), LayerError, r"gives \(30, 2\) .* expected \(30, 1\): the sample has 1 t"),
        (nn.Flatten(0), LayerError, r"gives \(60,\) for 30 rows"),
        (_Pair(), LayerError, "gives tuple, expected one tensor"),
        (_Mixing(), ExportError, "depends on the rows beside it"),
        (_exploding(), ExportError, "answers NaN or infinity"),
    ],
)
def test_a_module_that_cannot_be_served_is_refused(
    request_: Request, module: nn.Module, error: type[Exception], expected: str
) -> None:
    """The sentence says what it did with the sample's rows."""
    with pytest.raises(error, match=expected):
        foreign.of_module(module, _table("y"), request_)


def test_outputs_that_are_said_to_be_probabilities_must_be(request_: Request) -> None:
    """Minus five is none."""
    request = Request(name="mine", created_at=request_.created_at, head="probabilities")

    with pytest.raises(LayerError, match="are no probabilities on the sample"):
        foreign.of_module(nn.Linear(2, 2), _table("kind"), request)


def test_a_module_that_needs_float64_is_refused(request_: Request) -> None:
    """Two large numbers that cancel leave nothing in float32."""
    first, second = nn.Linear(2, 2).double(), nn.Linear(2, 1).double()
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 1e-7]]))
        second.weight.copy_(torch.tensor([[-1e7, 1e7]]))
    module = nn.Sequential(first, second)

    with pytest.raises(ExportError, match="in float64, and in float32 its answers differ"):
        foreign.of_module(module, _table("z"), request_)
