"""Tests of checkpoints: continued to the same bit, refused where they do not belong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from isotherm.trainer import loop
from isotherm.trainer.batches import Rows
from isotherm.trainer.checkpoint import Checkpoints
from isotherm.trainer.config import FitConfig
from isotherm.trainer.errors import CheckpointError, TrainingError
from isotherm.trainer.stack import Copies, Single, Stack
from tests.support.server import eventually


class _StoppedError(Exception):
    """The machine went down."""


def _rows(copies: int) -> Rows:
    x = torch.rand(copies, 40, 2, generator=torch.Generator().manual_seed(0))
    watched = torch.zeros(copies, 40)
    watched[:, 30:] = 0.1
    return Rows(
        x=x,
        y=x.sum(dim=-1, keepdim=True).sin(),
        training=(watched == 0) / 30,
        held_out=torch.zeros(copies, 40),
        validation=watched,
    )


def _copies(kind: str) -> Copies:
    torch.manual_seed(1)
    if kind == "stack":
        layers = (nn.Linear(2, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))
        return Stack(nn.Sequential(*layers), 3)
    return Single(nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1)))


@pytest.mark.parametrize("kind", ["single", "stack"])
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adam", "schedule": "cosine", "batch_size": 7},
        {"optimizer": "adamw", "schedule": "one-cycle", "clip_norm": 0.1},
        {"optimizer": "sgd", "schedule": "step", "momentum": 0.9, "batch_size": 10},
        {"optimizer": "lbfgs"},
    ],
    ids=lambda settings: settings["optimizer"],
)
def test_a_training_that_was_stopped_ends_in_the_same_bits(
    tmp_path: Path, kind: str, settings: dict[str, Any]
) -> None:
    """Weights, statistics and losses are those of a training that ran through."""
    config, rows = FitConfig(epochs=12, patience=50, seed=3, **settings), _rows(3)
    if kind == "single":
        rows = _rows(1)

    def stop(epoch: int, _training: float, _validation: float) -> None:
        if epoch == 8:
            raise _StoppedError

    whole, stopped, resumed = (_copies(kind) for _ in range(3))
    expected = loop.fit(whole, rows, config)
    checkpoint = Checkpoints(tmp_path, {"seed": 3}, every=5).stage("network")
    with pytest.raises(_StoppedError):
        loop.fit(stopped, rows, config, on_epoch=stop, checkpoint=checkpoint)
    seen: list[int] = []
    curves = loop.fit(
        resumed,
        rows,
        config,
        on_epoch=lambda epoch, *_: seen.append(epoch),
        checkpoint=checkpoint,
    )

    assert seen == list(range(6, 13))
    assert expected == curves
    for name, value in whole.state().items():
        assert torch.equal(value, resumed.state()[name]), name


def test_a_complete_training_is_not_repeated(tmp_path: Path) -> None:
    """The last epoch is saved too."""
    checkpoint = Checkpoints(tmp_path, {}, every=100).stage("network")
    config = FitConfig(epochs=3)
    loop.fit(_copies("single"), _rows(1), config, checkpoint=checkpoint)
    again: list[int] = []

    loop.fit(
        _copies("single"),
        _rows(1),
        config,
        on_epoch=lambda epoch, *_: again.append(epoch),
        checkpoint=checkpoint,
    )

    assert again == []


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({"fit.epochs": 10}, {"fit.epochs": 20}, "fit.epochs is 10 there and 20 here"),
        ({}, {"data": "ab"}, "data is None there and 'ab' here"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused_by_the_setting(
    tmp_path: Path, before: dict[str, object], now: dict[str, object], expected: str
) -> None:
    """Going on with other settings would be neither the one training nor the other."""
    Checkpoints(tmp_path, before).stage("network").save({"epoch": 1})

    with pytest.raises(CheckpointError, match=expected):
        Checkpoints(tmp_path, now).stage("network").load(torch.device("cpu"))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"\x80\x04N."])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    """Truncated, foreign, or a pickle of something else."""
    (tmp_path / "network.checkpoint").write_bytes(content)

    with pytest.raises(CheckpointError, match=r"network\.checkpoint' is no checkpoint"):
        Checkpoints(tmp_path, {}).stage("network").load(torch.device("cpu"))


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    """A pickled call is refused, not made."""
    proof = tmp_path / "proof"

    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(proof),)

    torch.save({"settings": "{}", "state": Evil()}, tmp_path / "network.checkpoint")

    with pytest.raises(CheckpointError, match="is no checkpoint"):
        Checkpoints(tmp_path, {}).stage("network").load(torch.device("cpu"))
    assert not proof.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file is in the way."""
    (tmp_path / "file").touch()

    with pytest.raises(CheckpointError, match="cannot keep checkpoints in"):
        Checkpoints(tmp_path / "file" / "in", {})


def test_a_run_that_is_complete_leaves_no_checkpoint(tmp_path: Path) -> None:
    """The folder goes too, unless something else is in it."""
    checkpoints = Checkpoints(tmp_path / "made", {})
    checkpoints.stage("network").save({})

    checkpoints.clear()

    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_leaves_the_numbers_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    """The sentence says in which step, and where the checkpoint is."""
    checkpoint = Checkpoints(tmp_path, {}, every=1).stage("network")
    rows = _rows(1)
    loop.fit(_copies("single"), rows, FitConfig(epochs=2, batch_size=10), checkpoint=checkpoint)
    good = checkpoint.path.read_bytes()
    rows.y[0, 4] = torch.inf

    with pytest.raises(TrainingError, match=r"epoch 3, step [123] of 3; .*network\.checkpoint"):
        loop.fit(_copies("single"), rows, FitConfig(epochs=9, batch_size=10), checkpoint=checkpoint)
    assert good == checkpoint.path.read_bytes()


def _moved(process: subprocess.Popen[bytes], path: Path, before: int) -> bool:
    """Whether the file is newer, or nobody is left to write it."""
    return process.poll() is not None or (path.exists() and path.stat().st_mtime_ns > before)


FULL_DISK = """
import resource, sys, torch
from pathlib import Path
from isotherm.trainer.checkpoint import Checkpoints
from isotherm.trainer.errors import CheckpointError
stage = Checkpoints(Path(sys.argv[1]), {}).stage("network")
stage.save({"weights": torch.ones(8)})
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    stage.save({"weights": torch.zeros(100_000)})
except CheckpointError as error:
    print(error)
print(stage.load(torch.device("cpu"))["weights"].sum().item())
"""


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    """The sentence says so, the file is whole, and no half of the new one is left."""
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)

    error, kept = done.stdout.splitlines()
    assert "(the one before it is kept): File too large; make room" in error
    assert kept == "8.0"
    assert [path.name for path in tmp_path.iterdir()] == ["network.checkpoint"]


@pytest.mark.slow
def test_a_training_that_is_killed_at_any_moment_ends_in_the_same_file(tmp_path: Path) -> None:
    """SIGKILL after each new checkpoint, three times over; then the same command runs through."""
    rows = np.random.default_rng(0).normal(size=(120, 3))
    table = "\n".join(",".join(map(str, [*row, row[0] * row[1]])) for row in rows)
    (tmp_path / "table.csv").write_text("a,b,c,y\n" + table)
    saved = tmp_path / "saved" / "network.checkpoint"
    kills = 0

    def train(repository: str, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "isotherm.trainer", "--data", "table.csv"]
        command += ["--features", "a,b,c", "--targets", "y", "--repository", repository]
        command += ["--epochs", "600", "--no-draw", "--log-every", "0", "--batch-size", "32", *more]
        environment = os.environ | {"SOURCE_DATE_EPOCH": "0"}
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)

    assert train("whole").wait(100) == 0
    flags = ("--checkpoint", "saved", "--checkpoint-every", "40")
    for _ in range(3):
        before = saved.stat().st_mtime_ns if saved.exists() else 0
        process = train("killed", *flags)
        assert eventually(partial(_moved, process, saved, before), 60)
        process.send_signal(signal.SIGKILL)
        kills += process.wait(10) == -signal.SIGKILL
    assert train("killed", *flags).wait(100) == 0

    whole, killed = (tmp_path / name / "table" / "1" / "model.onnx" for name in ("whole", "killed"))
    assert kills == 3
    assert whole.read_bytes() == killed.read_bytes()
    assert not saved.parent.exists()
