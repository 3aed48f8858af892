"""Tests of checkpoints in the middle of an epoch: killed and started again, to the same bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from isotherm.trainer.checkpoint import Checkpoint, Checkpoints
from isotherm.trainer.errors import CheckpointError
from isotherm.trainer.stream import command, fit, prepare
from isotherm.trainer.world import Alone
from tests.support.server import eventually
from tests.support.streams import config, numbers, write

_LAYERS = ("Linear(3, 8)", "BatchNorm1d(8)", "ReLU()", "Dropout(0.1)", "Linear(8, 1)")


class _StoppedError(Exception):
    """The machine went down."""


def _trained(prepared, checkpoint: Checkpoint | None = None, stop: int = 0):
    """Train, and go down at a step if asked to; return all weights."""
    table = prepared.frame.table(prepared.survey.held_out)
    nets = fit.built(prepared.frame, table, prepared.config)
    learners, training = fit.training(prepared, nets, world=Alone(), checkpoint=checkpoint)
    step = learners[0].step

    def counted(batch, world):
        if training._step + 1 == stop:
            raise _StoppedError
        step(batch, world)

    setattr(learners[0], "step", counted)  # noqa: B010  a method, to the type checker
    training.run()
    return {
        (one.name, name): value for one in learners for name, value in one.copies.state().items()
    }, learners[0].history


@pytest.mark.parametrize("memory", [1, 256])
@pytest.mark.parametrize("stop", [25, 70])
def test_any_step_is_gone_on_from_to_the_same_bit(tmp_path, memory, stop):
    path = write(tmp_path / "a.parquet", numbers(40_000 if memory == 1 else 4000), 500)
    settings = config(
        path,
        data__memory=memory,
        fit__batch_size=1000 if memory == 1 else 100,
        fit__schedule="cosine",
        fit__patience=5,
        checkpoint__steps=7,
        network={"layers": _LAYERS},
    )
    prepared = prepare.prepare(settings, world=Alone())
    checkpoints = Checkpoints(tmp_path / "kept", {}).stage("stream")
    expected, history = _trained(prepared)
    with pytest.raises(_StoppedError):
        _trained(prepared, checkpoints, stop)
    found, after = _trained(prepared, checkpoints)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert history == after


def test_another_training_is_not_gone_on_with(tmp_path, created_at):
    path = write(tmp_path / "a.parquet", numbers(4000), 500)
    kept = tmp_path / "kept"
    settings = config(path, checkpoint__folder=kept, checkpoint__steps=10, fit__epochs=1)
    Checkpoints(kept, {"fit.epochs": 2}).stage("stream").save({"step": 3})
    with pytest.raises(CheckpointError, match="is of another training"):
        command.train(settings, created_at=created_at)


def _command(folder: Path, path: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "isotherm.trainer", "--stream", "--data", str(path), "--no-draw"),
        *("--features", "x0,x1,x2", "--targets", "y", "--epochs", "3", "--batch-size", "16"),
        *("--checkpoint-steps", "50", "--log-every", "1", "--repository", str(folder / "models")),
        *("--checkpoint", str(folder / "kept")),
    ]


@pytest.mark.slow
def test_killed_training_goes_on_and_loses_no_more_than_the_interval(tmp_path):
    path = write(tmp_path / "a.parquet", numbers(10_000), 1000)
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1", "OMP_NUM_THREADS": "1"}
    whole = tmp_path / "whole"
    whole.mkdir()
    subprocess.run(_command(whole, path), env=environment, check=True, capture_output=True)
    broken = tmp_path / "broken"
    broken.mkdir()
    kept = broken / "kept" / "stream.checkpoint"
    steps = []
    for _ in range(2):
        with subprocess.Popen(
            _command(broken, path),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            before = kept.stat().st_mtime_ns if kept.exists() else 0
            eventually(
                lambda: kept.exists() and kept.stat().st_mtime_ns > before,  # noqa: B023
                timeout_s=60,
            )
            process.send_signal(signal.SIGKILL)
        steps.append(torch.load(kept, weights_only=True)["state"]["step"])
    # Each start went on from where the last one was saved.
    assert steps[0] % 50 == steps[1] % 50 == 0
    assert steps[0] < steps[1] < 3 * 625
    subprocess.run(_command(broken, path), env=environment, check=True, capture_output=True)
    models = [folder / "models" / "a" / "1" / "model.onnx" for folder in (whole, broken)]
    assert models[0].read_bytes() == models[1].read_bytes()
    assert not kept.exists()
