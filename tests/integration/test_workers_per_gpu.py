"""How many workers a machine with GPUs gets: a real server, beside a driver that shows two."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort
import pytest

from tests.support.nvidia import Machine
from tests.support.server import eventually, serving

pytestmark = [
    # The driver's stand-in is compiled.
    pytest.mark.slow,
    pytest.mark.skipif(
        "CUDAExecutionProvider" in ort.get_available_providers(),
        reason="this onnxruntime is built with CUDA, and would really look",
    ),
]


@pytest.mark.parametrize(
    ("flags", "workers"),
    [
        ((), 2),
        (("--device-ids", "1"), 1),
        (("--workers", "3"), 3),
        (("--provider", "cpu"), 1),
    ],
    ids=["auto", "one of them", "told", "cpu"],
)
def test_there_is_a_worker_for_each_gpu_that_is_used(
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: tuple[str, ...],
    workers: int,
) -> None:
    """All of them serve, although behind this driver is no device at all."""
    machine = Machine(session=None, devices=2)
    for name, value in machine.environment(tmp_path / "machine").items():
        monkeypatch.setenv(name, value)
    with serving(repository, *flags) as server:
        assert server.metric("isotherm_workers") == workers
        # The supervisor says so when the last worker has told it.
        assert eventually(lambda: f"with {workers} worker(s)" in server.log)
        fallback = server.metric('isotherm_provider_fallback{model="doubling",version="1"}')

    assert fallback == ("cpu" not in flags)
