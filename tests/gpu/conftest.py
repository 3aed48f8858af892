"""Every test here runs on CUDA, and on what stands in for it where there is none.

`pytest -m gpu` runs the former, and skips them with the reason where CUDA cannot be had. The
stand-in shows that the tests themselves are right: the CPU's provider, behind a device in the
host's memory where a test looks inside the server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from isotherm.server.config import BatchingConfig, DeviceConfig, ServerConfig, VettingConfig
from isotherm.server.device.probe import cuda_problem
from isotherm.server.loader import Loader, Model
from isotherm.server.placer import Placer
from tests.support import models
from tests.support.host_device import HostDevice

Array = np.ndarray[Any, np.dtype[Any]]
# Loads an ONNX file as a server with these settings would.
Load = Callable[..., Model]

CUDA = pytest.param("cuda", marks=pytest.mark.gpu)
# Characters of what a test that fails has printed.
_OUTPUT = 4000


def pytest_exception_interact(node: pytest.Item | pytest.Collector, report: Any) -> None:
    """With `-v`, tell of a failure at once: a run that is cut short comes to no summary."""
    reporter: Any = node.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and node.config.get_verbosity() > 0:
        reporter.ensure_newline()
        for part in (report.longreprtext, report.capstderr[-_OUTPUT:], report.caplog[-_OUTPUT:]):
            reporter.write_line(part)


@lru_cache
def why_not() -> str:
    """Return why CUDA cannot be had, with the remedy; empty where it can."""
    return cuda_problem() or ""


@pytest.fixture(name="provider", params=[CUDA, "cpu"])
def _provider(request: pytest.FixtureRequest) -> str:
    """Where a server runs its models."""
    provider: str = request.param
    if provider == "cuda" and why_not():
        pytest.skip(why_not())
    return provider


@pytest.fixture(name="load")
def _load(provider: str, tmp_path: Path) -> Iterator[Load]:
    """Loads models onto the device, in this process; what is left of them is closed at the end."""
    loaded: list[Model] = []
    host = HostDevice()
    settings: dict[str, Any] = {
        "repository": tmp_path,
        "provider": "cuda",
        "device": DeviceConfig(graphs=provider == "cuda"),
        "vetting": VettingConfig(level="off"),
    }
    shared = ServerConfig(**settings)
    # One for all, as a server has it: its models take turns.
    placer = Placer.of(shared) if provider == "cuda" else Placer(shared, host)

    def load(
        model: onnx.ModelProto, *, name: str = "m", max_batch_size: int = 256, lanes: int = 2
    ) -> Model:
        batching = BatchingConfig(max_batch_size=max_batch_size, lanes=lanes)
        config = ServerConfig(**settings, batching=batching)
        path = models.publish(tmp_path, name, model, len(loaded) + 1)
        loaded.append(Loader(config, placer=placer).load(name, len(loaded) + 1, path))
        return loaded[-1]

    yield load
    for closing in [lane.close() for model in loaded for lane in model.lanes]:
        closing.result()
    assert not host.leaks


def answers(model: onnx.ModelProto, x: Array) -> Array:
    """Return what a network of tanh layers should answer, computed with all digits."""
    weights = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    layers = len(weights) // 2
    values = x.astype(np.float64)
    for index in range(layers):
        values = values @ weights[f"w{index}"].astype(np.float64) + weights[f"b{index}"]
        values = values if index == layers - 1 else np.tanh(values)
    return values


def rows(count: int, width: int, seed: int = 0) -> Array:
    """Return random rows."""
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
