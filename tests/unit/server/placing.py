"""A machine with a device in the host's memory, where tests have models placed.

ONNX Runtime runs them by its CPU provider: all but the device's speed is real.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from isotherm.server.config import BatchingConfig, DeviceConfig, Provider, ServerConfig
from isotherm.server.costs import Stopwatch, time_runs
from isotherm.server.errors import LoadError
from isotherm.server.loader import Loader, Model
from isotherm.server.model_config import ModelSettings
from isotherm.server.placer import Placer
from isotherm.server.providers import DeviceOptions
from isotherm.v1.contract_pb2 import Contract
from tests.support import models
from tests.support.host_device import HostDevice
from tests.support.hostile import TRUSTED
from tests.support.stopwatch import Figures


class Placing:
    """Loads models where a stand-in for a GPU is, and closes them."""

    def __init__(self, folder: Path) -> None:
        self.device = HostDevice(3)
        self._folder = folder
        self._loaded: list[Model] = []

    def load(
        self,
        model: onnx.ModelProto | None = None,
        provider: Provider = "auto",
        stopwatch: Stopwatch = time_runs,
        *,
        may_batch: bool = True,
        device: DeviceConfig | None = None,
        **batching: Any,
    ) -> Model:
        """Publish a model, by default the one that doubles, and load it."""
        config = ServerConfig(
            repository=self._folder,
            provider=provider,
            vetting=TRUSTED,
            batching=BatchingConfig(**{"max_batch_size": 64} | batching),
            device=DeviceConfig(memory_limit_mib=512),
        )
        placing = Placer(config, self.device, stopwatch=stopwatch)
        path = models.publish(self._folder, "m", model or models.doubling())
        settings = replace(ModelSettings.of(config), may_batch=may_batch)
        if device is not None:
            settings = replace(settings, device=device)
        loaded = Loader(config, placer=placing).load("m", 1, path, settings)
        self._loaded.append(loaded)
        return loaded

    def close(self) -> None:
        """Close what was loaded; nothing of the device may be left over."""
        for each in self._loaded:
            for lane in each.lanes:
                lane.close().result(30)
        assert self.device.leaks == []


def contracted(**changes: Any) -> onnx.ModelProto:
    """Return the model that doubles, with its golden rows."""
    return models.with_contract(models.doubling(), models.doubling_contract(**changes))


def tolerant(relative: float) -> onnx.ModelProto:
    """Return the model that doubles, whose golden rows may be off by so much."""
    contract = Contract()
    contract.golden.relative_tolerance = relative
    return contracted(golden=contract.golden)


def doubled(model: Model, rows: int) -> bool:
    """Tell whether the model's lanes double so many rows."""
    x = np.arange(rows, dtype=np.float32).reshape(rows, 1)
    return all(np.array_equal(lane.run([x])[0], 2 * x) for lane in model.lanes)


def failing_on_zeros() -> onnx.ModelProto:
    """Return a model that takes 7 numbers, or 14, and so on, but says that it takes any number."""
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", "n"]) for n in "xy"]
    shape = helper.make_node("Constant", [], ["shape"], value_ints=[-1, 7])
    nodes = [shape, helper.make_node("Reshape", ["x", "shape"], ["y"])]
    graph = helper.make_graph(nodes, "graph", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return model


def failing(text: str) -> Figures:
    """Return times of a device whose runs fail, unlike the CPU's."""

    def fail(_rows: int) -> float:
        raise RuntimeError(text)

    return Figures(cpu=lambda n: n * 1e-6, device=fail)


class Choosing(Placing):
    """Notes how sessions on the device are opened, and may refuse them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder)
        self.tf32: list[bool] = []
        self.limits: set[int] = set()
        self.graphs: set[bool] = set()
        self.refuse: Callable[[DeviceOptions], str] = lambda _options: ""
        providers = DeviceOptions.providers
        choosing = self

        def noted(options: DeviceOptions, stream: int, *, graphs: bool) -> Any:
            if not choosing.tf32 or choosing.tf32[-1] != options.tf32:
                choosing.tf32.append(options.tf32)
            choosing.limits.add(options.memory_limit_bytes)
            choosing.graphs.add(graphs)
            problem = choosing.refuse(options)
            if problem:
                raise LoadError(problem)
            return providers(options, stream, graphs=graphs)

        monkeypatch.setattr(DeviceOptions, "providers", noted)
