"""Bare loops over ONNX Runtime: from an array in the host's memory to one in the host's memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

Array = NDArray[np.float32]
# Takes the rows once, and returns what answers them again and again.
Prepare = Callable[[Array], Callable[[], Array]]

CUDA: Final = "CUDAExecutionProvider"
_OPTIONS: Final = {"device_id": "0", "arena_extend_strategy": "kSameAsRequested"}
_ERRORS_ONLY: Final = 3


def on_cpu(path: Path, threads: int) -> Prepare:
    """Return the loop on the CPU, each run on so many threads."""
    return _plain(_session(path, [("CPUExecutionProvider", {})], threads))


def on_cuda(path: Path, *, tf32: bool = False) -> dict[str, Prepare]:
    """Return the loops on CUDA by name: as it is, bound to the device's memory, as a graph."""
    options = {**_OPTIONS, "use_tf32": str(int(tf32))}
    eager = _session(path, [(CUDA, options)])
    graphs = _session(path, [(CUDA, {**options, "enable_cuda_graph": "1"})])
    return {
        "CUDA": _plain(eager),
        "IO binding": bound(eager, "cuda"),
        "CUDA graph": bound(graphs, "cuda", graph=True),
    }


def _session(
    path: Path, providers: list[tuple[str, dict[str, str]]], threads: int = 1
) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS_ONLY
    if providers[0][0] == CUDA:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    session = ort.InferenceSession(str(path), options, providers=providers)
    session.disable_fallback()
    if session.get_providers()[0] != providers[0][0]:
        msg = f"the session took {session.get_providers()} in place of {providers[0][0]}"
        raise RuntimeError(msg)
    return session


def _plain(session: ort.InferenceSession) -> Prepare:
    def prepare(x: Array) -> Callable[[], Array]:
        feed, names = {"x": x}, ["y"]

        def run() -> Array:
            (answer,) = session.run(names, feed)
            return np.asarray(answer)

        return run

    return prepare


def bound(session: ort.InferenceSession, memory: str, *, graph: bool = False) -> Prepare:
    """Return the loop over buffers in memory of that kind, "cuda" or "cpu"."""
    captured: dict[int, int] = {}
    width = session.get_outputs()[0].shape[1]

    def prepare(x: Array) -> Callable[[], Array]:
        inputs = ort.OrtValue.ortvalue_from_numpy(x, memory, 0)
        outputs = ort.OrtValue.ortvalue_from_shape_and_type((len(x), width), np.float32, memory, 0)
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", inputs)
        binding.bind_ortvalue_output("y", outputs)
        options = ort.RunOptions()
        if graph:
            # A graph is of one shape: each batch size has its own.
            number = captured.setdefault(len(x), len(captured) + 1)
            options.add_run_config_entry("gpu_graph_id", str(number))

        def run() -> Array:
            inputs.update_inplace(x)
            session.run_with_iobinding(binding, options)
            answer: Any = outputs.numpy()
            return np.asarray(answer)

        return run

    return prepare
