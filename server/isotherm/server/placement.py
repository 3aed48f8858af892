"""Where a model runs: which execution provider, and on which thread."""

from __future__ import annotations

import ctypes
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from isotherm.server.config import Provider
from isotherm.server.errors import ProviderError
from isotherm.server.runtime import ort
from isotherm.server.session import Array, ProviderOptions, Session, TensorSpec
from isotherm.v1.tensors import DTYPES

_log = logging.getLogger(__name__)

CUDA: Final = "CUDAExecutionProvider"
CPU: Final = "CPUExecutionProvider"

# Handing a batch to another thread and back costs about as much.
INLINE_BELOW_S: Final = 200e-6
_MEASURED_ROWS: Final = 64
_RUNS: Final = 5

_CUDA_OPTIONS: Final = {
    "device_id": "0",
    "arena_extend_strategy": "kSameAsRequested",
    "cudnn_conv_algo_search": "HEURISTIC",
    # On by default, TF32 changes a regression's answers in the third digit.
    "use_tf32": "0",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a batch of a model costs, as measured at load: a line in the number of rows."""

    base_s: float
    row_s: float
    # A device runs beside us: its batches never belong on the thread that polls.
    on_device: bool

    def inline(self, rows: int) -> bool:
        """Tell whether a batch is cheaper to run at once than to hand over."""
        return not self.on_device and self.seconds(rows) < INLINE_BELOW_S

    def seconds(self, rows: int) -> float:
        """Return what a batch of so many rows takes."""
        return self.base_s + rows * self.row_s

    @property
    def known(self) -> bool:
        """Whether the model could be timed at all."""
        return math.isfinite(self.base_s)


# Of a model that could not be timed.
UNKNOWN_COST: Final = Cost(base_s=float("inf"), row_s=0.0, on_device=False)


def choose_providers(provider: Provider) -> ProviderOptions:
    """Return what to ask ONNX Runtime for; CUDA alone where it was asked for by name.

    Raises ProviderError, with the reason and the remedy, when CUDA was asked for and cannot load.
    """
    if provider == "cpu":
        return [(CPU, {})]
    problem = _cuda_problem()
    if problem is None:
        return [(CUDA, _CUDA_OPTIONS), (CPU, {})]
    if provider == "cuda":
        msg = f"--provider cuda: {problem}"
        raise ProviderError(msg)
    _log.warning("provider auto took cpu: %s", problem)
    return [(CPU, {})]


def check_provider(provider: Provider, session: Session) -> None:
    """Raise ProviderError when the session fell back to the CPU although CUDA was asked for."""
    if provider == "cuda" and CUDA not in session.providers:
        msg = (
            "--provider cuda: the CUDA provider loaded, but the session took "
            f"{', '.join(session.providers)}; is a GPU with a current driver present (nvidia-smi)?"
        )
        raise ProviderError(msg)


def provider_name(session: Session) -> str:
    """Return "cuda" or "cpu", by what the session really took."""
    return "cuda" if CUDA in session.providers else "cpu"


def measure(session: Session, max_batch_size: int) -> Cost:
    """Time the model at one row and at a batch; the first runs also warm it up."""
    on_device = provider_name(session) != "cpu"
    if not session.batched:
        return Cost(base_s=_time(session, 1), row_s=0.0, on_device=on_device)
    rows = min(_MEASURED_ROWS, max_batch_size)
    one_s = _time(session, 1)
    many_s = _time(session, rows)
    row_s = max(0.0, many_s - one_s) / max(1, rows - 1)
    return Cost(base_s=max(0.0, one_s - row_s), row_s=row_s, on_device=on_device)


def rehearse(session: Session, max_batch_size: int) -> None:
    """Run once what `measure` runs: one row of zeros, and a batch."""
    rows = min(_MEASURED_ROWS, max_batch_size) if session.batched else 1
    for number in sorted({1, rows}):
        session.run([_zeros(spec, number) for spec in session.inputs])


def _time(session: Session, rows: int) -> float:
    arrays = [_zeros(spec, rows) for spec in session.inputs]
    session.run(arrays)
    durations = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        session.run(arrays)
        durations.append(time.perf_counter() - start)
    return median(durations)


def _zeros(spec: TensorSpec, rows: int) -> Array:
    shape = list(spec.shape)
    if shape and shape[0] == -1:
        shape[0] = rows
    array: Array = np.zeros([1 if dim == -1 else dim for dim in shape], DTYPES[spec.datatype])
    if spec.datatype == "BYTES":
        array.fill("")
    return array


def _cuda_problem() -> str | None:
    """Return why CUDA cannot be had, or None.

    ONNX Runtime only logs what is missing and then runs on the CPU, so its provider library is
    opened here first: the loader's message names the missing part.
    """
    if CUDA not in ort.get_available_providers():
        return (
            "this onnxruntime is built without CUDA; install isotherm[server-gpu] in an "
            "environment without the onnxruntime package"
        )
    ort.preload_dlls(cudnn=False)
    library = Path(ort.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
    for path in (library.with_name("libonnxruntime_providers_shared.so"), library):
        try:
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            return f"the CUDA provider cannot be loaded ({error}); install isotherm[server-gpu]"
    return _driver_problem()


def _driver_problem() -> str | None:
    try:
        driver: Any = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return f"no NVIDIA driver ({error})"
    count = ctypes.c_int(0)
    status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if status or not count.value:
        return f"the NVIDIA driver shows no device (status {status}, {count.value} devices)"
    return None
