"""Tests of the device that a table is trained on, and of what is said where it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from isotherm.trainer import api, device, networks
from isotherm.trainer.__main__ import app
from isotherm.trainer.config import FitConfig, validated
from isotherm.trainer.errors import ConfigError, DeviceMemoryError
from isotherm.trainer.model import seeded

_TABLE = {"a": [1.0, 2.0, 3.0, 4.0, 5.0], "y": [1.0, 2.0, 3.5, 4.0, 5.0]}


def _cuda(monkeypatch: pytest.MonkeyPatch, count: int, why: str = "") -> None:
    """Let torch tell of so many devices, or why there are none."""

    def init() -> None:
        if why:
            raise RuntimeError(why)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "init", init)


@pytest.mark.parametrize(
    ("wanted", "count", "numbers", "expected"),
    [
        ("auto", 1, 100_000, "cuda"),
        ("auto", 1, 99_999, "cpu"),
        ("auto", 0, 10**9, "cpu"),
        ("cpu", 1, 10**9, "cpu"),
        ("cuda", 1, 1, "cuda"),
        ("cuda:1", 2, 1, "cuda:1"),
    ],
)
def test_where_a_table_is_trained(
    wanted: str, count: int, numbers: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large one on CUDA, if there is any; or where it is told to."""
    _cuda(monkeypatch, count)
    assert device.choose(FitConfig(device=wanted), numbers) == torch.device(expected)


@pytest.mark.parametrize(
    ("why", "expected"),
    [
        (
            "Found no NVIDIA driver on your system. Please check that you have one.\nMore",
            "Found no NVIDIA driver on your system. Please check that you have one.",
        ),
        ("The NVIDIA driver on your system is too old (found version 12040).", "is too old"),
        ("", "CUDA_VISIBLE_DEVICES may hide it"),
    ],
)
def test_cuda_that_is_asked_for_and_not_there_is_an_error_with_its_reason(
    why: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's own, and what to do; never the CPU in its place."""
    _cuda(monkeypatch, 0, why)
    with pytest.raises(ConfigError, match=r"isotherm doctor.*auto or cpu") as caught:
        device.choose(FitConfig(device="cuda"), 1)
    assert expected in str(caught.value)


def test_it_is_said_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what else does not suit the table."""
    _cuda(monkeypatch, 0, "no driver")
    with pytest.raises(ConfigError, match="no driver"):
        networks.check(FitConfig(device="cuda"), 100)
    networks.check(FitConfig(device="cpu"), 100)


def test_a_number_that_no_device_has_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With those that there are."""
    _cuda(monkeypatch, 2)
    with pytest.raises(ConfigError, match=r"'cuda:2', and torch sees 2 .*cuda:0, cuda:1"):
        device.check(FitConfig(device="cuda:2"))


@pytest.mark.parametrize("wanted", ["gpu", "cuda:", "cuda:x", "mps", "cuda:1 "])
def test_another_device_is_refused(wanted: str) -> None:
    """As every setting is that nobody knows."""
    values = {"name": "t", "data": {"dataset": "thermometer"}, "fit": {"device": wanted}}
    with pytest.raises(ConfigError, match=r"fit\.device"):
        validated(values)


@pytest.mark.skipif(torch.version.cuda is not None, reason="torch is built with CUDA here")
def test_the_command_says_what_is_missing_here(tmp_path: Path) -> None:
    """The real outcome, of a torch without CUDA."""
    arguments = ("thermometer", "--device", "cuda", "--repository", str(tmp_path / "models"))
    result = CliRunner().invoke(app, [*arguments, "--log-every", "0"])

    assert result.exit_code == 2
    assert "Torch not compiled with CUDA enabled" in result.stderr
    assert list(tmp_path.rglob("*.onnx")) == []


class _Full(nn.Module):
    """Needs more memory than there is while it learns."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nMore")
        return x


@pytest.mark.parametrize("patience", [0, 2])
def test_a_device_without_room_is_a_sentence_with_what_helps(tmp_path: Path, patience: int) -> None:
    """And the training can be gone on with: nothing was written by halves."""
    rows = 150
    x = torch.linspace(0, 1, rows).numpy()
    settings: dict[str, Any] = {"epochs": 3, "patience": patience}
    kept = tmp_path / "kept"
    with pytest.raises(DeviceMemoryError, match=r"Tried to allocate 20\.00 GiB") as caught:
        api.fit(nn.Sequential(nn.Linear(1, 1), _Full()), x, x, checkpoint=kept, **settings)

    for remedy in ("--batch-size", "--stream", "--device cpu"):
        assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.rglob("*.onnx")) == []


def test_other_errors_are_left_as_they_are() -> None:
    """Only a full device is meant."""
    with pytest.raises(RuntimeError, match="shapes"), device.room():
        raise RuntimeError("shapes")


def test_a_training_on_the_cpu_starts_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random states are kept of the device in use, not of all that are there."""
    looked: list[object] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda *place: looked.append(place))
    before = torch.get_rng_state()
    with seeded(3):
        torch.rand(4)

    assert looked == []
    assert torch.equal(torch.get_rng_state(), before)
