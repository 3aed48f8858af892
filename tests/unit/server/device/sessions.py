"""Sessions for lanes on the host's memory: the CPU provider's, with or without a fault."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

from isotherm.server.device.instance import OpenSession
from isotherm.server.errors import LoadError
from isotherm.server.session import Binding, RunOptions, Session
from tests.support import models


def opener(model: onnx.ModelProto | None = None, **chosen: Any) -> OpenSession:
    """Return what opens sessions of a model, of the class and with the arguments chosen."""
    data = (model or models.mlp((4, 8, 3))).SerializeToString()
    kind: Callable[..., Session] = chosen.pop("kind", Session)

    def open_session(stream: int, graphs: bool) -> Session:
        # The CPU provider ignores both options, and what is ours heeds the second.
        options = {"user_compute_stream": str(stream), "enable_cuda_graph": str(int(graphs))}
        return kind(data, Path(), [("CPUExecutionProvider", options)], **chosen)

    return open_session


class Recorded(Session):
    """Keeps the graph's id of every bound run; what is captured runs like everything else."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.graphs: list[int] = []

    def run_bound(self, binding: Binding, options: RunOptions) -> None:
        assert options.get_run_config_entry("disable_synchronize_execution_providers") == "1"
        self.graphs.append(int(options.get_run_config_entry("gpu_graph_id")))
        super().run_bound(binding, options)


class Stale(Recorded):
    """Once captured, a graph runs no more: its first answers stay."""

    def run_bound(self, binding: Binding, options: RunOptions) -> None:
        graph_id = int(options.get_run_config_entry("gpu_graph_id"))
        if graph_id > 0 and graph_id in self.graphs:
            return
        super().run_bound(binding, options)


class Overwritten(Recorded):
    """A graph works until the next one is captured, as one that replays on others' memory."""

    def run_bound(self, binding: Binding, options: RunOptions) -> None:
        graph_id = int(options.get_run_config_entry("gpu_graph_id"))
        if 0 < graph_id < max(self.graphs):
            return
        super().run_bound(binding, options)


class Uncapturable(Recorded):
    """Fails when a graph is captured, as a node does that waits for the device."""

    def run_bound(self, binding: Binding, options: RunOptions) -> None:
        if int(options.get_run_config_entry("gpu_graph_id")) > 0:
            msg = "operation not permitted when stream is capturing"
            raise RuntimeError(msg)
        super().run_bound(binding, options)


class Unbound(Session):
    """Leaves bound outputs as they were, whatever is run."""

    def run_bound(self, binding: Binding, options: RunOptions) -> None:
        pass


class NoGraphs(Session):
    """Refuses CUDA graphs while it loads, as sessions with control flow do."""

    def __init__(self, *arguments: Any) -> None:
        if any(chosen.get("enable_cuda_graph") == "1" for _, chosen in arguments[2]):
            msg = "This session cannot use the graph capture feature: it has control flow"
            raise LoadError(msg)
        super().__init__(*arguments)


class Eager(Recorded):
    """Takes longer outside of a graph: as many launches as there are nodes."""

    def run_bound(self, binding: Binding, options: RunOptions) -> None:
        super().run_bound(binding, options)
        if int(options.get_run_config_entry("gpu_graph_id")) < 0:
            time.sleep(0.0005)


class Overwriting(Eager):
    """A graph replays on what an eager run of fewer rows writes to; each wins nevertheless."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._rows = 0

    def run_bound(self, binding: Binding, options: RunOptions) -> None:
        graph_id = int(options.get_run_config_entry("gpu_graph_id"))
        rows = binding.get_outputs()[0].shape()[0]
        if graph_id < 0:
            self._rows = rows
        elif self._rows < rows:
            return
        super().run_bound(binding, options)
