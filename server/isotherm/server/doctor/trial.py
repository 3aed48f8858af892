"""A tiny model, run by each provider on each device: the only proof that one works.

This is a process of its own, since what is asked here may hang, or end it: every answer is a line
of JSON, written as soon as it is there. The library's own prints go to stderr.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from isotherm.server.device import driver, libraries, nvml, probe, runtimes
from isotherm.server.device.problem import Problem

# y = -(x @ [[1, 2], [3, 4], [5, 6]]), with `x` of shape (rows, 3): cuBLAS multiplies, and a kernel
# of ONNX Runtime's own, which its package must have for this device, negates. A test makes it anew.
MODEL: Final = base64.b64decode(
    "CAgSADp0ChEKAXgKAXcSAXoiBk1hdE11bAoLCgF6EgF5IgNOZWcSAWcqIwgDCAIQAUIBd0oYAACAPwAAAEAAAEBA"
    "AACAQAAAoEAAAMBAWhQKAXgSDwoNCAESCQoDEgFuCgIIA2IUCgF5Eg8KDQgBEgkKAxIBbgoCCAJCBAoAEA0="
)
_X: Final = [[1.0, 10.0, 100.0]]
_Y: Final = [[-531.0, -642.0]]
_CPU: Final = "CPUExecutionProvider"

Tell = Callable[..., None]


def main() -> int:
    """Write a line for everything that is found."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

        def tell(what: str, **facts: object) -> None:
            print(json.dumps({"what": what, **facts}), file=answers, flush=True)

        examine(tell)
    return 0


def examine(tell: Tell) -> None:
    """Look at the driver, the libraries and the runtime, then try each provider."""
    runtime = runtimes.installed()
    tell("onnxruntime", cuda=runtime.cuda, packages=[list(each) for each in runtime.packages])
    tell("step", name="asking the NVIDIA driver")
    found = driver.read()
    devices = () if isinstance(found, Problem) else found.devices
    told = nvml.read(tuple(device.uuid for device in devices))
    if not isinstance(found, Problem):
        tell("driver", cuda=found.cuda, release=told.release)
    for device in devices:
        free = told.free_bytes.get(device.uuid)
        tell("device", **dataclasses.asdict(device), free_bytes=free)
    tell("step", name="loading the CUDA libraries")
    for library in libraries.load()[0]:
        facts = dataclasses.asdict(library)
        del facts["property_of"]
        tell("library", **facts)
    tell("step", name="loading ONNX Runtime's library for CUDA")
    blocked = False
    for problem in probe.cuda_problems():
        blocked |= problem.blocks
        tell("problem", **dataclasses.asdict(problem))
    if runtime.folder is None:
        return
    _try(tell, _CPU, None)
    for device in () if blocked else devices:
        _try(tell, probe.CUDA, device.number)


def _try(tell: Tell, provider: str, device: int | None) -> None:
    """Load the model with one provider and no other, run it, compare."""
    where = provider if device is None else f"{provider} of device {device}"
    tell("step", name=f"running a model on the {where}")
    options = {} if device is None else {"device_id": str(device), "use_tf32": "0"}
    try:
        load_s, run_s = _run(provider, options)
    except Exception as error:  # noqa: BLE001  whatever it says is what is asked for
        tell("trial", provider=provider, device=device, error=_reason(error))
    else:
        tell("trial", provider=provider, device=device, error=None, load_s=load_s, run_s=run_s)


def _run(provider: str, options: dict[str, str]) -> tuple[float, float]:
    import numpy as np

    from isotherm.server.runtime import ort

    settings = ort.SessionOptions()
    if provider != _CPU:
        # Otherwise it runs on the CPU and says nothing.
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    begun = time.perf_counter()
    # Without `enable_fallback=0` an error here is printed, and the session is on the CPU.
    session = ort.InferenceSession(
        MODEL, settings, providers=[(provider, options)], enable_fallback=0
    )
    session.disable_fallback()
    taken = session.get_providers()
    if provider not in taken:
        msg = f"the session took {', '.join(taken)} without a word"
        raise RuntimeError(msg)
    x = np.array(_X, np.float32)
    # The first run also loads the kernels.
    first: Any = session.run(None, {"x": x})[0]
    load_s = time.perf_counter() - begun
    begun = time.perf_counter()
    second: Any = session.run(None, {"x": x})[0]
    run_s = time.perf_counter() - begun
    for answer in (first, second):
        if answer.tolist() != _Y:
            msg = f"answered {answer.tolist()}, expected {_Y}"
            raise RuntimeError(msg)
    return load_s, run_s


def _reason(error: Exception) -> str:
    """Return what an error says; ONNX Runtime may be what is missing."""
    try:
        from isotherm.server.session import reason
    except ImportError:
        return str(error)
    return reason(error)


if __name__ == "__main__":
    sys.exit(main())
