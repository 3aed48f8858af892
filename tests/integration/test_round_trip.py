"""Every kind of model goes round: torch, the file, the server, the client, and is compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from isotherm.client import Client
from isotherm.trainer import attach, data, export, fit, foreign, probes, publish
from isotherm.trainer.foreign import Request
from tests.support.server import Server, serving

Floats = NDArray[np.float64]
Answer = Callable[[Floats], Floats]

pytestmark = pytest.mark.slow

CREATED_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
ROWS: Final = 60


@dataclass(frozen=True, kw_only=True)
class Made:
    """A published model, and what torch answers in its place."""

    answer: Answer
    x: Floats


def _columns() -> dict[str, object]:
    """Rows in odd units: one feature is large and narrow, one small and wide."""
    rng = np.random.default_rng(0)
    wide, narrow = rng.normal(0, 0.02, ROWS), rng.uniform(990, 1030, ROWS)
    heat = 40 * np.tanh(50 * wide) + 0.3 * (narrow - 1010) + rng.normal(0, 1, ROWS)
    return {
        "wide": wide,
        "narrow": narrow,
        "heat": heat,
        "cost": 1e4 + 20 * heat,
        "alarm": heat > 0,
        "kind": np.array(["cold", "mild", "warm"])[np.digitize(heat, [-10, 10])],
        "leak": np.expm1(np.maximum(heat, 0) / 20),
        "day": np.arange(ROWS) // 4,
        "count": np.tile([1, 2, 0], ROWS // 3),
    }


def _table(*targets: str, **rows: Any) -> data.Table:
    return data.table(_columns(), features=["wide", "narrow"], targets=targets, **rows)


def _relu() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1)
    )


def _silu(outputs: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 16), nn.LayerNorm(16), nn.SiLU(), nn.Linear(16, outputs))


def _train(
    repository: Path,
    name: str,
    *targets: str,
    module: nn.Module | None = None,
    keep: str = "network",
    **rows: Any,
) -> Made:
    torch.manual_seed(0)
    table = _table(*targets, **rows)
    trained = fit(module, table, choose=keep, epochs=5, weight_decay=(0.3,))
    trained.publish(repository, name, CREATED_AT)
    return Made(answer=trained.predict, x=table.x)


def _trained_elsewhere() -> nn.Sequential:
    """A module that scales by itself, as one must that takes raw units."""
    torch.manual_seed(1)
    first = nn.Linear(2, 8)
    with torch.no_grad():
        first.weight.mul_(torch.tensor([50.0, 0.01]))
    return nn.Sequential(first, nn.Tanh(), nn.Linear(8, 1)).eval()


def _answers(module: nn.Module) -> Answer:
    def answer(x: Floats) -> Floats:
        with torch.inference_mode():
            outputs: torch.Tensor = module(torch.tensor(x, dtype=torch.float32))
        return np.asarray(outputs.double().numpy())

    return answer


def _foreign(repository: Path, name: str) -> Made:
    module, table = _trained_elsewhere(), _table("heat")
    described = foreign.of_module(module, table, Request(name=name, created_at=CREATED_AT))
    publish.publish(described.content, repository, name)
    return Made(answer=_answers(module), x=table.x)


def _attached(repository: Path, name: str) -> Made:
    """A file that was written without a contract, and got one."""
    module, table = _trained_elsewhere(), _table("heat")
    file = repository.parent / "theirs.onnx"
    file.write_bytes(
        export.to_onnx(
            module, name="theirs", features=2, input_name="in", output_names=["out"], properties={}
        )
    )
    described = attach.of_file(file, table, Request(name=name, created_at=CREATED_AT))
    publish.publish(described.content, repository, name)
    return Made(answer=_answers(module), x=table.x)


KINDS: Final = MappingProxyType(
    {
        "line": lambda at: _train(at, "line", "heat", keep="line"),
        "tanh": lambda at: _train(at, "tanh", "heat"),
        "relu": lambda at: _train(at, "relu", "heat", module=_relu()),
        "silu": lambda at: _train(at, "silu", "heat", module=_silu()),
        "targets": lambda at: _train(at, "targets", "heat", "cost", module=_silu(2)),
        "log": lambda at: _train(at, "log", "cost", time="day", transforms={"cost": "log"}),
        "scales": lambda at: _train(
            *(at, "scales", "heat", "cost", "leak"),
            module=_silu(3),
            group="day",
            weight="count",
            transforms={"cost": "sqrt", "leak": "log1p"},
        ),
        "binary": lambda at: _train(at, "binary", "alarm", module=_silu(1)),
        "multiclass": lambda at: _train(at, "multiclass", "kind", module=_silu(3)),
        "foreign": lambda at: _foreign(at, "foreign"),
        "attached": lambda at: _attached(at, "attached"),
    }
)


@pytest.fixture(name="repository", scope="module")
def _repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that is filled before it is served."""
    return tmp_path_factory.mktemp("round") / "models"


@pytest.fixture(name="made", scope="module")
def _made(repository: Path) -> dict[str, Made]:
    """One model of each kind, under the kind's name."""
    return {kind: make(repository) for kind, make in KINDS.items()}


@pytest.fixture(name="kinds_server", scope="module")
def _kinds_server(repository: Path, made: dict[str, Made]) -> Iterator[Server]:
    """A server of all of them."""
    assert made
    with serving(repository) as server:
        yield server


@pytest.mark.parametrize("kind", KINDS)
def test_the_served_answer_is_torch_s_within_the_contracts_tolerance(
    kinds_server: Server, made: dict[str, Made], kind: str
) -> None:
    """Rows of the table, one alone, random ones, and rows far outside."""
    model = made[kind]
    with Client(kinds_server.address) as client:
        contract = client.contract(kind)
        golden, tensor = contract.golden, contract.tensors.prediction
        absolute, relative = golden.absolute_tolerance, golden.relative_tolerance
        # A logarithm's way back turns what is added into what is multiplied.
        steep = any(target.transform for target in contract.targets)
        batches = [(batch, 1.0) for batch in probes.near(model.x, 0)]
        batches.append((probes.far(model.x), probes.FAR))
        for batch, times in batches:
            served = client.predict(kind, batch.astype(np.float32), outputs=tensor)

            expected, share = model.answer(batch), relative * (times if steep else 1)
            assert served.shape == expected.shape
            np.testing.assert_allclose(served, expected, atol=times * absolute, rtol=share)


@pytest.mark.parametrize(
    ("kind", "classes"), [("binary", ["False", "True"]), ("multiclass", ["cold", "mild", "warm"])]
)
def test_a_label_is_served_as_probabilities_with_the_names_of_its_classes(
    kinds_server: Server, made: dict[str, Made], kind: str, classes: list[str]
) -> None:
    """The names stand in the contract, in the order of the columns, which add up to one."""
    with Client(kinds_server.address) as client:
        answer = client.predict(kind, made[kind].x, outputs="y")
        (target,) = client.contract(kind).targets

    assert list(target.classes) == classes
    np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-6)


def test_every_model_was_proved_on_its_golden_rows(
    kinds_server: Server, made: dict[str, Made]
) -> None:
    """Also those of models that were trained elsewhere."""
    ready = [line for line in kinds_server.log.splitlines() if "golden rows agree" in line]

    assert len(ready) == len(made)
    assert all(", 64 golden rows agree" in line for line in ready)


def test_bounds_of_a_logarithm_are_served_at_equal_factors(
    kinds_server: Server, made: dict[str, Made]
) -> None:
    """As far below as above on the scale that was learned; its width is in the contract."""
    with Client(kinds_server.address) as client:
        contract = client.contract("log")
        y, lower, upper = (
            client.predict("log", made["log"].x, outputs=name) for name in ("y", "lower", "upper")
        )

    (width,) = contract.interval.half_width
    np.testing.assert_allclose(np.log(upper / y), width, rtol=1e-4)
    np.testing.assert_allclose(np.log(y / lower), width, rtol=1e-4)
    assert contract.targets[0].transform == "log"
