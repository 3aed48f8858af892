"""What a run of the model costs with no server at all: bare `session.run`, one thread."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

MINIMUM_RUNS = 20


@dataclass(frozen=True, slots=True)
class Limit:
    """One run of so many rows: wall time and CPU time."""

    model: str
    rows: int
    wall_us: float
    cpu_us: float


def session(model: Path) -> onnxruntime.InferenceSession:
    """Return a session like that of every server of the comparison."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def run(bare: onnxruntime.InferenceSession, x: np.ndarray) -> np.ndarray:
    """Run x to y."""
    y: np.ndarray = bare.run(["y"], {"x": x})[0]
    return y


def measure(model: Path, title: str, x: np.ndarray, budget_s: float) -> Limit:
    """Return the mean of as many runs as the budget allows."""
    bare = session(model)
    for _ in range(MINIMUM_RUNS):
        run(bare, x)
    runs, begin, cpu = 0, time.perf_counter(), time.thread_time()
    while runs < MINIMUM_RUNS or time.perf_counter() - begin < budget_s:
        run(bare, x)
        runs += 1
    wall_us = (time.perf_counter() - begin) / runs * 1e6
    return Limit(title, len(x), wall_us, (time.thread_time() - cpu) / runs * 1e6)
