"""The CUDA runtime as we call it: the right functions, with what their header says, in order."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from isotherm.server.device.cudart import Cuda, CudaError
from isotherm.server.device.lane import Lane
from isotherm.server.errors import DeviceLostError
from isotherm.server.session import Session
from tests.support import models
from tests.support.cuda_runtime import StandIn

# It needs a C compiler, which is no package of Python's.
pytestmark = pytest.mark.slow


@pytest.fixture(name="runtime")
def _runtime(tmp_path: Path) -> StandIn:
    """A libcudart of this test's own."""
    return StandIn(tmp_path)


def test_a_thread_enters_its_device_and_lets_others_capture(runtime: StandIn):
    """Captures by ONNX Runtime forbid others' calls, except to threads that asked for mode 2."""
    Cuda(3, runtime.library).enter()

    assert runtime.calls == ["set 3", "mode 2"]


def test_rows_go_to_the_device_and_come_back(runtime: StandIn):
    """Through a stream that waits for nobody, from and to memory that is pinned for all devices."""
    cuda = Cuda(0, runtime.library)
    stream = cuda.open_stream()
    host, back = cuda.pinned(64), cuda.pinned(64)
    address = cuda.allocate(64)
    host[...] = range(64)

    cuda.copy_in(address, host, stream)
    cuda.zero(address + 32, 16, stream)
    cuda.copy_out(back, address, stream)
    cuda.wait(stream)

    assert back.tolist() == [*range(32), *[0] * 16, *range(48, 64)]
    assert runtime.calls == [
        "stream 1",
        "pin 64 1",
        "pin 64 1",
        "allocate 64",
        "copy 64 1",
        "set 0 16",
        "copy 64 2",
        "wait",
    ]
    cuda.unpin(host)
    cuda.unpin(back)
    cuda.free(address)
    cuda.close_stream(stream)
    assert runtime.left == 0


def test_memory_of_more_than_four_gibibytes_is_told_in_full(runtime: StandIn):
    """And addresses above it: ctypes would cut what it is not told to be wide."""
    cuda = Cuda(0, runtime.library)

    assert cuda.memory() == (3, 80 << 30)
    assert cuda.open_stream() == 0x7F0000000000
    assert runtime.calls
    # As large, and takes no memory.
    array = np.broadcast_to(np.zeros(1, np.uint8), (1 << 33) + 5)
    for use in (
        lambda: cuda.zero(1 << 40, array.nbytes, 0x7F0000000000),
        lambda: cuda.copy_in(1 << 40, array, 0x7F0000000000),
        lambda: cuda.copy_out(array, 1 << 40, 0x7F0000000000),
    ):
        with pytest.raises(CudaError, match=r"cudaMem\w+Async on device 0"):
            use()
    assert runtime.calls == ["set 0 8589934597", "copy 8589934597 1", "copy 8589934597 2"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (2, MemoryError),
        *((status, DeviceLostError) for status in (214, 700, 719, 721, 806, 810, 999)),
        *((status, CudaError) for status in (1, 209, 901)),
    ],
)
def test_errors_name_the_call_and_are_read_away(runtime: StandIn, status: int, kind: type):
    """ONNX Runtime asks for the last error after its own calls, and would take ours for its."""
    cuda = Cuda(1, runtime.library)
    runtime.fail("cudaMalloc", status)

    with pytest.raises(kind, match=rf"cudaMalloc on device 1: .*{status}\)"):
        cuda.allocate(8)

    assert runtime.pending == 0


@pytest.mark.parametrize("name", ["copy_in", "copy_out", "wait"])
def test_what_every_batch_calls_fails_as_well(runtime: StandIn, name: str):
    """They are called past the table of functions."""
    cuda = Cuda(0, runtime.library)
    stream, address = cuda.open_stream(), cuda.allocate(8)
    array = np.zeros(8, np.uint8)
    call = {
        "copy_in": lambda: cuda.copy_in(address, array, stream),
        "copy_out": lambda: cuda.copy_out(array, address, stream),
        "wait": lambda: cuda.wait(stream),
    }[name]
    call()
    function = "cudaStreamSynchronize" if name == "wait" else "cudaMemcpyAsync"
    runtime.fail(function, 700)

    with pytest.raises(DeviceLostError, match=f"{function} on device 0: it failed"):
        call()


@pytest.mark.parametrize(
    ("status", "expected"),
    [(0, []), (1, ["end capture", "destroy graph"]), (2, ["end capture"])],
    ids=["none", "going on", "failed"],
)
def test_a_capture_that_was_left_open_is_ended(runtime: StandIn, status: int, expected: list[str]):
    """And the error that this says is nobody else's."""
    cuda = Cuda(0, runtime.library)
    stream = cuda.open_stream()
    assert runtime.calls
    runtime.capture(status)

    cuda.end_capture(stream)
    cuda.end_capture(stream)

    assert runtime.calls == expected
    assert runtime.pending == 0


def test_other_threads_run_while_a_call_waits(runtime: StandIn):
    """By ctypes' kind of library that lets go of the interpreter."""
    import ctypes

    assert isinstance(runtime.library, ctypes.CDLL)
    assert not isinstance(runtime.library, ctypes.PyDLL)


def test_without_the_library_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch):
    """Where nobody has loaded it, and the system does not know it."""
    monkeypatch.setattr("isotherm.server.device.cudart._LIBRARIES", ("libnone.so.1",))

    with pytest.raises(CudaError, match=r"libnone.*install isotherm\[server-gpu\]"):
        Cuda(0)


class HostCuda(Cuda):
    """CUDA's calls on the host's memory, which the CPU provider can be bound to."""

    kind = "cpu"


def test_a_lane_serves_through_these_calls_and_leaves_nothing(runtime: StandIn):
    """One copy in and one out a batch, one wait, and all of it on the lane's thread."""
    model = models.mlp((4, 8, 3)).SerializeToString()

    def open_session(stream: int, graphs: bool) -> Session:
        assert threading.current_thread().name == "lane-0"
        return Session(model, Path(), [("CPUExecutionProvider", {})])

    lane = Lane(HostCuda(0, runtime.library), open_session, max_rows=64, graphs=False)
    lane.warm_up()
    lane.run([np.zeros((64, 4), np.float32)])
    assert runtime.calls

    (answer,) = lane.run([np.ones((3, 4), np.float32)])

    assert runtime.calls == ["copy 48 1", "copy 36 2", "wait"]
    (expected,) = lane.session.run([np.ones((3, 4), np.float32)])
    np.testing.assert_allclose(answer, expected, rtol=1e-6)
    lane.close().result(30)
    assert runtime.left == 0
