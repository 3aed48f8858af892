"""What is asked of ONNX Runtime, and whether it was had."""

from __future__ import annotations

from typing import Any

import pytest

from isotherm.server.errors import LoadError
from isotherm.server.providers import CPU, ON_CPU, DeviceOptions
from tests.support import models
from tests.unit.server.fakes import session


def options(**changes: Any) -> DeviceOptions:
    """Return how sessions on the third GPU are opened."""
    values: dict[str, Any] = {
        "kind": "cuda",
        "number": 2,
        "memory_limit_bytes": 1 << 30,
        "may_mix": True,
    }
    return DeviceOptions(**values | changes)


def test_a_session_on_a_gpu_is_bounded_and_exact():
    """Its memory is limited, and grows by what is asked for; TF32 is off."""
    (name, chosen), cpu = options().providers(0, graphs=False)

    assert name == "CUDAExecutionProvider"
    assert cpu == (CPU, {})
    assert chosen == {
        "device_id": "2",
        "gpu_mem_limit": "1073741824",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": "0",
    }


def test_a_stream_is_named_by_its_address():
    """As a decimal number; without one the runtime makes its own."""
    chosen = options().providers(0x7F00_0000_1234, graphs=False)[0][1]

    assert chosen["user_compute_stream"] == "139637976732212"
    assert "user_compute_stream" not in options().providers(0, graphs=False)[0][1]


@pytest.mark.parametrize(("graphs", "found"), [(True, "1"), (False, None)])
def test_graphs_are_asked_for_by_a_session_that_captures(graphs: bool, found: str | None):
    """Others cannot be opened with it where a part runs on the CPU."""
    assert options().providers(5, graphs=graphs)[0][1].get("enable_cuda_graph") == found


def test_tf32_is_on_where_it_may_be():
    """And nothing else changes."""
    exact, fast = (dict(options(tf32=t).providers(1, graphs=True)[0][1]) for t in (False, True))

    assert fast == exact | {"use_tf32": "1"}


def test_cuda_by_name_leaves_nothing_to_the_cpu():
    """The runtime then refuses a session of which a part would run there."""
    providers = options(may_mix=False).providers(0, graphs=False)

    assert [name for name, _ in providers] == ["CUDAExecutionProvider"]


def test_a_stand_in_is_the_cpu():
    """It has no options."""
    stand_in = options(kind="cpu", tf32=True)

    assert stand_in.providers(7, graphs=True) == ON_CPU
    stand_in.check(session(models.doubling()))


def test_a_session_on_the_cpu_is_not_what_was_asked_for():
    """The runtime falls back in silence, so the session itself is asked."""
    with pytest.raises(LoadError, match="the session took CPUExecutionProvider: `isotherm doctor`"):
        options().check(session(models.doubling()))
