"""A model's lanes on the device: right at every size, nothing given up, nothing kept."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.gpu.conftest import Load, answers, rows
from tests.support import models
from tests.support.server import eventually

ASKED = 20
WIDTHS = (64, 256, 256, 8)
# All buckets up to 256, their neighbours, and what is cut since it is larger.
SIZES = sorted({size + more for size in (1, 2, 4, 8, 16, 32, 64, 128, 256) for more in (-1, 0, 1)})
# Of the answers' size; TF32 is off by 1e-3.
TOLERANCE = 3e-5
# Kernels of cuDNN, which a server need not have.
OF_CUDNN = {
    "standardised": (models.standardised, lambda x: (x - 2) / 0.5),
    "averaged": (models.averaged, lambda x: x.mean(axis=1, keepdims=True)),
}
# In a process of its own, which a kernel that misses its library may end.
WITHOUT_CUDNN = """
import sys
import numpy as np
from isotherm.server.device.probe import cuda_problem
from isotherm.server.runtime import ort

provider, model, asked, answered = sys.argv[1:]
options = {"device_id": "0", "use_tf32": "0", "enable_cudnn": "0"}
cuda = [("CUDAExecutionProvider", options)]
assert provider == "cpu" or not cuda_problem()
session = ort.InferenceSession(
    model, providers=cuda if provider == "cuda" else ["CPUExecutionProvider"], enable_fallback=0
)
session.disable_fallback()
(y,) = session.run(None, {"x": np.load(asked)})
np.save(answered, y)
"""


def test_every_size_is_answered_alike(load: Load) -> None:
    """Buckets, the sizes between them, and batches larger than a run: float32's digits all over."""
    network = models.mlp(WIDTHS)
    model = load(network)
    off: dict[int, float] = {}
    for size in [*SIZES[1:], 1000]:
        x = rows(size, WIDTHS[0], size)
        expected = answers(network, x)
        for lane in model.lanes:
            (y,) = lane.run([x])
            assert y.shape == expected.shape
            off[size] = max(off.get(size, 0.0), float(np.abs(y - expected).max()))

    assert {size: error for size, error in off.items() if error > TOLERANCE} == {}


def test_nothing_is_given_up(load: Load, provider: str) -> None:
    """The session is the device's alone; buffers and graphs work, so no lane notes a way back."""
    model = load(models.mlp(WIDTHS))

    asked = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}[provider]
    assert [lane.session.providers[0] for lane in model.lanes] == [asked, asked]
    assert [lane.notes for lane in model.lanes] == [(), ()]
    assert all(lane.memory_bytes > 0 for lane in model.lanes)
    assert (model.provider, model.placement.break_even_rows) == ("cuda", 1)


def test_a_graph_is_replayed_on_other_rows(load: Load, provider: str) -> None:
    """A replay that answers for the rows before would be seen: sizes and rows change every time."""
    network = models.mlp((256, 1024, 1024, 32))
    model = load(network, max_batch_size=16)
    lane = model.lanes[0]
    for turn in range(4):
        for size in (16, 1, 9, 8, 2):
            x = rows(size, 256, 10 * turn + size)
            (y,) = lane.run([x])
            np.testing.assert_allclose(y, answers(network, x), rtol=0, atol=TOLERANCE)

    if provider == "cuda":
        # Small batches of five layers are bound by launches: a graph must have been worth it.
        assert lane.graph_rows


def test_threads_that_ask_at_once_get_their_own_answers(load: Load) -> None:
    """Two lanes and more askers: buffers that are lent twice, or too early again, would show."""
    network = models.mlp(WIDTHS)
    model = load(network)
    wrong: list[int] = []

    def ask(number: int) -> None:
        lane = model.lanes[number % len(model.lanes)]
        for turn in range(12):
            x = rows(1 + (number * 31 + turn * 7) % 200, WIDTHS[0], number * 100 + turn)
            (y,) = lane.run([x])
            if np.abs(y - answers(network, x)).max() > TOLERANCE:
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert [lane.lent for lane in model.lanes] == [0, 0]


def test_a_heavy_model_leaves_turns_to_a_light_one(load: Load, provider: str) -> None:
    """Whose lanes are never idle has the device only as often as whoever asks now and then."""
    light, heavy = models.mlp((8, 32, 4)), models.mlp((256, 1024, 1024, 32))
    size = 4096 if provider == "cuda" else 256
    few = load(light, max_batch_size=16)
    many = load(heavy, name="heavy", max_batch_size=size)
    x = rows(size, 256)
    done, runs = threading.Event(), [0, 0]

    def press(number: int) -> None:
        while not done.is_set():
            many.lanes[number].run([x])
            runs[number] += 1

    threads = [threading.Thread(target=press, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    try:
        assert eventually(lambda: min(runs) >= 2, 30)
        before = sum(runs)
        for number in range(ASKED):
            z = rows(3, 8, number)
            (y,) = few.lanes[0].run([z])
            assert np.abs(y - answers(light, z)).max() < TOLERANCE
        meanwhile = sum(runs) - before
    finally:
        done.set()
        for thread in threads:
            thread.join()

    # Two run at once: of each, one may end while the light one waits, and one while it runs.
    assert meanwhile <= 5 * ASKED


def test_a_model_with_rows_of_no_fixed_size_runs_too(load: Load) -> None:
    """Without buffers, and says so."""
    model = load(models.outer(), max_batch_size=8)
    x = rows(3, 100)
    (y,) = model.lanes[0].run([x])

    expected = x * np.square(x).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    assert "no fixed size" in "; ".join(model.lanes[0].notes)


@pytest.mark.parametrize("kind", ["standardised", "averaged"])
def test_what_cudnn_computes_is_right_too(load: Load, kind: str) -> None:
    """Where cuDNN is installed, as beside torch."""
    network, expected = OF_CUDNN[kind]
    model = load(network(), max_batch_size=16)
    x = rows(7, 3)
    (y,) = model.lanes[0].run([x])

    np.testing.assert_allclose(y, expected(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["layers", *OF_CUDNN])
def test_dense_layers_need_no_cudnn(kind: str, provider: str, tmp_path: Path) -> None:
    """With cuDNN hidden, layers are right; of what it computes the summary says what became."""
    dense = models.mlp(WIDTHS)
    network, expected = OF_CUDNN.get(kind, (lambda: dense, lambda x: answers(dense, x)))
    x = rows(7, WIDTHS[0] if kind == "layers" else 3)
    model, asked, answered = (tmp_path / name for name in ("m.onnx", "x.npy", "y.npy"))
    model.write_bytes(network().SerializeToString())
    np.save(asked, x)
    command = [sys.executable, "-c", WITHOUT_CUDNN, provider, *map(str, (model, asked, answered))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    if done.returncode and kind != "layers":
        pytest.skip(f"without cuDNN: status {done.returncode}: {done.stderr.strip()[-300:]}")

    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(answered), expected(x), rtol=0, atol=TOLERANCE)
