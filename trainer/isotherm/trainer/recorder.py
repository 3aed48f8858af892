"""The recorder: remembers what a step does to the device, to do it again without Python."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from isotherm.trainer.config import FitConfig

Tensors = tuple[Tensor, ...]

# Recording, and proving what was recorded, takes the time of some 30 steps.
_ENOUGH_STEPS: Final = 200


class Recorder(Protocol):
    """Records work on one device.

    What is recorded is the work's operations, with their tensors, and nothing that Python does
    besides: numbers of the host are those of the recording for ever.
    """

    def working(self) -> AbstractContextManager[None]:
        """Enclose a training: all that it does to the device, it does inside."""
        ...

    def watching(self) -> AbstractContextManager[None]:
        """Raise RuntimeError inside where the host waits for the device: that has no recording."""
        ...

    def record(self, work: Callable[[], Tensors]) -> tuple[Callable[[], None], Tensors]:
        """Record the work; return what does it again, and the tensors that then have its results.

        What the recording itself leaves in any tensor, the results among them, does not count.

        Raises:
            RuntimeError: the work cannot be recorded.
        """
        ...

    def seconds(self, work: Callable[[], object]) -> float:
        """Return how long the device takes for the work."""
        ...


class CudaRecorder:
    """Records CUDA graphs, on a stream of its own."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        cuda: Any = torch.cuda
        self._stream = cuda.Stream(device)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Enclose a training: what is recorded, and what is not, go by one stream.

        Capturing needs another stream than the usual one, and autograd leaves a gradient on the
        stream that it was first computed on.
        """
        outside = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(outside)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            outside.wait_stream(self._stream)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Raise RuntimeError inside where the host waits for the device."""
        before = torch.cuda.get_sync_debug_mode()
        _tell_of_waits("error")
        try:
            yield
        finally:
            _tell_of_waits(before)

    def record(self, work: Callable[[], Tensors]) -> tuple[Callable[[], None], Tensors]:
        """Capture the work: no kernel of it runs before the first replay."""
        graph = torch.cuda.CUDAGraph()
        # Other threads of this process may go on with CUDA as they like.
        mode: Any = "thread_local"
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode=mode):
            results = work()
        return graph.replay, results

    def seconds(self, work: Callable[[], object]) -> float:
        """Return how long the device takes for the work."""
        self._stream.synchronize()
        start = time.perf_counter()
        work()
        self._stream.synchronize()
        return time.perf_counter() - start


def _tell_of_waits(mode: str | int) -> None:
    with warnings.catch_warnings():
        # It says that it does not see all of them; what it overlooks, the recording does not.
        warnings.filterwarnings("ignore", message="Synchronization debug mode")
        torch.cuda.set_sync_debug_mode(mode)


def working(recorder: Recorder | None, device: torch.device) -> AbstractContextManager[object]:
    """Enclose a training on a device, whether or not it is recorded."""
    if recorder:
        return recorder.working()
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def of(device: torch.device, config: FitConfig, steps: int, *, recordable: bool) -> Recorder | None:
    """Return what records the steps of a training, None where each is made by Python.

    The rule looks at the whole training, not at what is left of it: one that is continued from a
    checkpoint is recorded if it was before.

    Args:
        device: of the training.
        config: of the fit.
        steps: of the training, of all epochs.
        recordable: whether all layers are known to do the same in every step.
    """
    # LBFGS looks at each loss before it goes on.
    wanted = config.cuda_graphs and config.optimizer != "lbfgs"
    if device.type != "cuda" or not wanted or not recordable or steps < _ENOUGH_STEPS:
        return None
    return CudaRecorder(device)
