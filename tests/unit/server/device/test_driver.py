"""A machine without a driver, or with a GPU that nobody drives."""

from __future__ import annotations

from pathlib import Path

import pytest

from isotherm.server.device import driver, nvml
from isotherm.server.device.problem import Problem
from tests.support.nvidia import uuid


def test_without_nvml_nothing_is_told(tmp_path: Path) -> None:
    """No error: what else there is matters more."""
    assert nvml.read((uuid(0),), str(tmp_path / "none.so")) == nvml.Told()


@pytest.mark.parametrize(
    ("vendor", "kind", "there"),
    [
        ("0x10de", "0x030200", True),
        ("0x10de", "0x030000", True),
        # Its sound.
        ("0x10de", "0x040300", False),
        ("0x1002", "0x030000", False),
    ],
)
def test_a_gpu_is_seen_on_the_bus(tmp_path: Path, vendor: str, kind: str, there: bool) -> None:
    """Whatever a container is given of it."""
    device = tmp_path / "0000:01:00.0"
    device.mkdir()
    (device / "vendor").write_text(f"{vendor}\n")
    (device / "class").write_text(f"{kind}\n")

    assert driver.on_the_bus(tmp_path) is there


def test_a_machine_without_a_bus_has_no_gpu(tmp_path: Path) -> None:
    """As some sandboxes are."""
    assert not driver.on_the_bus(tmp_path / "none")


def test_a_gpu_without_a_driver_is_mentioned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the container's settings then, or a driver that is not installed."""
    monkeypatch.setattr(driver, "on_the_bus", lambda: True)
    found = driver.read(str(tmp_path / "libcuda.so.1"))

    assert isinstance(found, Problem)
    assert found.about == "driver"
    assert found.text.endswith(", though the machine has an NVIDIA GPU")
