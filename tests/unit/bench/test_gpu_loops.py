"""The loops of tests/bench/gpu.py answer alike; here all of them on the CPU."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from tests.bench.gpus import bare, bench, by_torch, loops, served
from tests.bench.gpus.bench import Bench
from tests.bench.gpus.budget import Budget
from tests.bench.gpus.figures import Cell
from tests.bench.gpus.loops import contenders
from tests.bench.gpus.plan import NETWORKS, QUICK
from tests.bench.gpus.served import rows
from tests.support import models

WIDTHS = (6, 16, 16, 3)


def test_every_loop_answers_as_a_plain_run_does(tmp_path: Path) -> None:
    """Bound buffers are filled anew for each batch size; torch has the file's own weights."""
    path = models.publish(tmp_path, "m", models.mlp(WIDTHS))
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    runs = {
        "CPU": bare.on_cpu(path, 1),
        "IO binding": bare.bound(session, "cpu"),
        "graphs": bare.bound(session, "cpu", graph=True),
        "torch": by_torch.eager(path, "cpu"),
    }
    failures: list[str] = []
    for size in (5, 1, 64):
        found = contenders(runs, rows(WIDTHS, size), failures.append)
        assert [*found] == [*runs]
        for one in found.values():
            one.turn(0.0)
            assert one.figures().difference < 1e-6
            assert np.isfinite(one.figures().p99_ms)
    assert failures == []


def test_without_a_device_torch_is_left_out() -> None:
    """With the reason, which is another where torch is built for the CPU."""
    assert "CUDA" in by_torch.problem()


def test_what_is_compiled_is_added_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the batches that were measured, of the networks whose turn had time; the rest is named."""
    on_cpu = partial(by_torch.eager, device="cpu")
    for name in ("eager", "compiled"):
        monkeypatch.setattr(by_torch, name, on_cpu)
    monkeypatch.setattr(by_torch, "pinned", lambda x: x)
    plan = replace(QUICK, networks=("1-13-1", "64-256-256-8"), loop_s=0.0)
    running = Bench("cpu", plan, 61.0)
    running._results.no_torch = ""
    for network in plan.networks:
        (tmp_path / f"{network}.onnx").write_bytes(served.model_bytes(NETWORKS[network]))
    running._results.cells += [
        Cell(network=network, batch=batch) for network in plan.networks for batch in (64, 1)
    ]
    # Compiling the first network takes what the second would need.
    now_s = 0.0
    running._budget = Budget(bench.COMPILED_S + 0.05, clock=lambda: now_s)

    def slow(*arguments: Any) -> Any:
        nonlocal now_s
        now_s += 0.05
        return contenders(*arguments)

    monkeypatch.setattr(loops, "contenders", slow)
    running._compiled(tmp_path)

    cells = running._results.cells
    assert [[*cell.loops] for cell in cells] == [["torch.compile"]] * 2 + [[]] * 2
    assert cells[0].loops["torch.compile"].difference < 1e-6
    assert running._budget.cut == ["torch.compile on 64-256-256-8"]
    assert running._results.failures == []
