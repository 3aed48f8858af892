"""The loops of tests/bench/gpu.py answer alike; here all of them on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

from tests.bench.gpus import bare, by_torch
from tests.bench.gpus.loops import contenders
from tests.bench.gpus.served import rows
from tests.support import models

WIDTHS = (6, 16, 16, 3)


def test_every_loop_answers_as_a_plain_run_does(tmp_path: Path) -> None:
    """Bound buffers are filled anew for each batch size; torch has the file's own weights."""
    path = models.publish(tmp_path, "m", models.mlp(WIDTHS))
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    loops = {
        "CPU": bare.on_cpu(path, 1),
        "IO binding": bare.bound(session, "cpu"),
        "graphs": bare.bound(session, "cpu", graph=True),
        "torch": by_torch.eager(path, "cpu"),
    }
    failures: list[str] = []
    for size in (5, 1, 64):
        found = contenders(loops, rows(WIDTHS, size), failures.append)
        assert [*found] == [*loops]
        for one in found.values():
            one.turn(0.0)
            assert one.figures().difference < 1e-6
            assert np.isfinite(one.figures().p99_ms)
    assert failures == []


def test_without_a_device_torch_is_left_out() -> None:
    """With the reason, which is another where torch is built for the CPU."""
    assert "CUDA" in by_torch.problem()
