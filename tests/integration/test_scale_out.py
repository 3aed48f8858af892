"""`isotherm train` in several processes: real ones, by torchrun, of which some are killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import numpy_helper

from isotherm.v1 import contract
from isotherm.v1.contract_pb2 import Contract
from tests.support import ranks

# More processes than processors: whatever ran beside them would have no time.
pytestmark = [pytest.mark.alone, pytest.mark.slow]

ROWS = 3000
# Of the second training: several steps an epoch, and a checkpoint in the middle of one.
EPOCHS, BATCH_ROWS, CHECKPOINT_STEPS = 60, 512, 10
TIMEOUT_S = 100

TRAIN = [sys.executable, "-m", "isotherm.trainer"]


def torchrun(processes: int, *options: str) -> list[str]:
    """The command that starts the trainer in several processes."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    return [*launch, *options, "-m", "isotherm.trainer"]


@pytest.fixture(name="parquet", scope="module")
def _parquet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table in row groups of 2300 and 700 rows."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, ROWS), rng.uniform(0, 5, ROWS)
    y = np.sin(2 * a) + 0.3 * b + rng.normal(0, 0.1, ROWS)
    path = tmp_path_factory.mktemp("table") / "wave.parquet"
    pq.write_table(pa.table({"a": a, "b": b, "y": y}), path, row_group_size=2300)
    return path


def settings(parquet: Path, repository: Path, *more: str) -> list[str]:
    """What is trained, and where it goes."""
    return [
        *("--data", str(parquet), "--features", "a,b", "--targets", "y", "--model", "network"),
        *("--no-draw", "--log-every", "1", "--repository", str(repository), *more),
    ]


def published(repository: Path) -> Path:
    """The one file in a repository."""
    (path,) = repository.glob("wave/*/model.onnx")
    return path


def opened(path: Path) -> tuple[dict[str, Any], Contract]:
    """The numbers of a model by name, and its contract."""
    model = onnx.load(path)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    numbers = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    return numbers, contract.loads(properties[contract.METADATA_KEY])


def trained(command: list[str]) -> ranks.Ended:
    """Run a training that has to succeed; equal ones give equal bytes."""
    result = ranks.run(command, SOURCE_DATE_EPOCH="1000000000")
    assert result.status == 0, result.stderr
    return result


@pytest.fixture(name="alone", scope="module")
def _alone(parquet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of one process that takes all rows in each of its 30 steps."""
    repository = tmp_path_factory.mktemp("alone")
    whole = ("--epochs", "30", "--batch-size", str(ROWS))
    trained([*TRAIN, *settings(parquet, repository, *whole), "--stream"])
    return published(repository)


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_give_the_model_of_one(processes, alone, parquet, tmp_path):
    """Their shares are unequal; the third has no row group at all."""
    whole = ("--epochs", "30", "--batch-size", str(ROWS))
    result = trained([*torchrun(processes), *settings(parquet, tmp_path, *whole)])
    (numbers, described), (ours, expected) = opened(published(tmp_path)), opened(alone)

    assert numbers.keys() == ours.keys()
    for name, values in ours.items():
        np.testing.assert_allclose(numbers[name], values, rtol=0, atol=1e-6, err_msg=name)
    # Statistics to the bit; the golden answers are the model's own.
    assert list(described.features) == list(expected.features)
    assert described.targets[0].mean == expected.targets[0].mean
    assert described.targets[0].standard_deviation == expected.targets[0].standard_deviation
    np.testing.assert_allclose(described.golden.outputs, expected.golden.outputs, rtol=0, atol=1e-6)
    # Rank 0 alone tells of it.
    assert result.stdout.count("published ") == 1
    assert result.stderr.count('"epoch": 30,') == 1


@pytest.fixture(name="undisturbed", scope="module")
def _undisturbed(parquet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of two processes that nobody kills."""
    folder = tmp_path_factory.mktemp("undisturbed")
    trained([*torchrun(2), *going_on(parquet, folder)])
    return published(folder / "models")


def going_on(parquet: Path, folder: Path) -> list[str]:
    """A training that can be continued."""
    return settings(
        parquet,
        folder / "models",
        *("--epochs", str(EPOCHS), "--batch-size", str(BATCH_ROWS)),
        *("--checkpoint", str(folder / "checkpoints")),
        *("--checkpoint-steps", str(CHECKPOINT_STEPS)),
    )


@contextmanager
def started(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a training; end what is left of it."""
    environment = ranks.environment(SOURCE_DATE_EPOCH="1000000000")
    with log.open("w") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


def epochs(log: Path) -> list[int]:
    """The epochs that rank 0 told of, in their order."""
    lines = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
    return [line["epoch"] for line in lines if line["stage"] == "network"]


def check_resumed(told: list[int]) -> None:
    """No more was done twice than what lies between two checkpoints, and not everything."""
    steps = -(-ROWS // BATCH_ROWS)
    again = len(told) - len(set(told))

    assert sorted(set(told)) == list(range(1, EPOCHS + 1))
    assert again <= -(-CHECKPOINT_STEPS // steps) + 1
    # The first epoch was told of once: the training did not begin anew.
    assert told.count(1) == 1


def test_torchrun_starts_all_again_when_one_is_killed(undisturbed, parquet, tmp_path):
    """And they come to the same file."""
    log = tmp_path / "log"
    command = [*torchrun(2, "--max-restarts", "1"), *going_on(parquet, tmp_path)]
    with started(command, log) as process:
        ranks.kill(process.pid, 1, tmp_path / "checkpoints")
        status = process.wait(TIMEOUT_S)

    assert status == 0, log.read_text()
    assert published(tmp_path / "models").read_bytes() == undisturbed.read_bytes()
    check_resumed(epochs(log))


def test_the_same_command_goes_on_when_rank_0_was_killed(undisturbed, parquet, tmp_path):
    """By hand, as torchrun was not told to start it again."""
    logs = [tmp_path / "first", tmp_path / "second"]
    command = [*torchrun(2), *going_on(parquet, tmp_path)]
    with started(command, logs[0]) as process:
        ranks.kill(process.pid, 0, tmp_path / "checkpoints")
        status = process.wait(TIMEOUT_S)
    left = list((tmp_path / "models").glob("wave/*"))
    with started(command, logs[1]) as process:
        assert process.wait(TIMEOUT_S) == 0, logs[1].read_text()

    assert (status, left) == (1, [])
    assert published(tmp_path / "models").read_bytes() == undisturbed.read_bytes()
    check_resumed([*epochs(logs[0]), *epochs(logs[1])])
