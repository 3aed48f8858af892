"""What is found on this machine, and whether it is what was asked for."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Final

from isotherm.server.device.problem import Problem
from isotherm.server.doctor import extras

# Of the JSON: raised when a key is taken away, or means something else.
FORMAT: Final = 1
CUDA: Final = "cuda"
CPU: Final = "cpu"
# What may explain the rest.
_VARIABLES: Final = (
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "LD_LIBRARY_PATH",
    "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_VISIBLE_DEVICES",
)
# Its CUDA, ONNX Runtime's handles and a small model take about half of it.
_ENOUGH_BYTES: Final = 1 << 30
# Not an import of ours: the server never loads torch.
_TORCH: Final = """
import json, torch
found = {"version": torch.__version__, "cuda": torch.version.cuda, "devices": 0, "error": None}
try:
    if torch.version.cuda:
        torch.cuda.init()
        found["devices"] = torch.cuda.device_count()
except Exception as error:
    found["error"] = " ".join(str(error).split())
print(json.dumps(found))
"""

Facts = dict[str, Any]


@dataclass(kw_only=True, slots=True)
class Examination:
    """What was found; `facts` is what `--json` prints."""

    asked: str
    packages: list[list[str]] = field(default_factory=list)
    cuda: str | None = None
    driver: Facts | None = None
    devices: list[Facts] = field(default_factory=list)
    libraries: list[Facts] = field(default_factory=list)
    trials: list[Facts] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    torch: Facts | None = None
    # Of the trial: what it did last.
    step: str = ""

    @property
    def on_cpu(self) -> bool:
        """Whether a model ran on the processor."""
        return any(trial["works"] for trial in self.trials if trial["provider"] == CPU)

    @property
    def on_cuda(self) -> bool:
        """Whether a model ran on every device that is visible."""
        tried = [trial["works"] for trial in self.trials if trial["provider"] == CUDA]
        return bool(tried) and all(tried)

    @property
    def works(self) -> bool:
        """Whether what was asked for can be had; `auto` asks for CUDA where there is a device."""
        if self.asked == CUDA or (self.asked == "auto" and self.devices):
            return self.on_cuda
        return self.on_cpu

    @property
    def provider(self) -> str | None:
        """Where a server would run its models; None: nowhere."""
        wanted = CPU if self.asked == CPU else CUDA
        return CUDA if wanted == CUDA and self.on_cuda else CPU if self.on_cpu else None

    @property
    def facts(self) -> Facts:
        """All of it, as the values of JSON."""
        return {
            "format": FORMAT,
            "isotherm": version("isotherm"),
            "asked": self.asked,
            "works": self.works,
            "provider": self.provider,
            "python": {
                "version": platform.python_version(),
                "executable": sys.executable,
                "machine": platform.machine(),
            },
            "extras": extras.present(),
            "onnxruntime": {
                "packages": [{"name": name, "version": each} for name, each in self.packages],
                "cuda": self.cuda,
            },
            "providers": self.trials,
            "driver": self.driver,
            "devices": self.devices,
            "libraries": self.libraries,
            "torch": self.torch,
            "environment": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
            "problems": [
                {
                    "about": problem.about,
                    "text": problem.text,
                    "remedy": problem.remedy,
                    "blocks": problem.blocks,
                }
                for problem in self.problems
            ],
        }


def examine(asked: str, timeout_s: float) -> Examination:
    """Look at everything; what may hang or crash runs in other processes, for so long each."""
    examination = Examination(asked=asked)
    with ThreadPoolExecutor(1) as pool:
        torch = pool.submit(_torch, timeout_s)
        _try_providers(examination, timeout_s)
        examination.torch = torch.result()
    _look_at_memory(examination)
    return examination


def _try_providers(examination: Examination, timeout_s: float) -> None:
    trial = [sys.executable, "-m", "isotherm.server.doctor.trial"]
    output, ended = _output(trial, timeout_s)
    for line in output.splitlines():
        _take(examination, json.loads(line))
    if ended:
        text = f"the trial {ended} while {examination.step}"
        remedy = "run `python -m isotherm.server.doctor.trial` to see what it says"
        examination.problems.append(Problem("provider", text, remedy))


def _take(examination: Examination, answer: Facts) -> None:
    """Put one line of the trial where it belongs."""
    match answer.pop("what"):
        case "step":
            examination.step = answer["name"]
        case "onnxruntime":
            examination.cuda, examination.packages = answer["cuda"], answer["packages"]
        case "driver":
            newest = ".".join(map(str, answer["cuda"]))
            examination.driver = {"release": answer["release"] or None, "cuda": newest}
        case "device":
            capability = ".".join(map(str, answer["capability"]))
            examination.devices.append(answer | {"capability": capability})
        case "library":
            examination.libraries.append(answer)
        case "problem":
            examination.problems.append(Problem(**answer))
        case "trial":
            _take_trial(examination, answer)


def _take_trial(examination: Examination, answer: Facts) -> None:
    provider = CUDA if answer["provider"].startswith("CUDA") else CPU
    error: str | None = answer["error"]
    examination.trials.append(
        {
            "provider": provider,
            "device": answer["device"],
            "works": error is None,
            "load_s": answer.get("load_s"),
            "run_s": answer.get("run_s"),
            "error": error,
        }
    )
    if error is not None:
        where = "the CPU" if provider == CPU else f"device {answer['device']}"
        text = f"a model does not run on {where}: {error}"
        examination.problems.append(Problem("provider", text, _remedy(provider, error)))


def _remedy(provider: str, error: str) -> str:
    """Return what may help against what ONNX Runtime says."""
    if provider == CPU:
        return "pip install --force-reinstall 'isotherm[server]'"
    low = error.lower()
    if "no kernel image" in low:
        return "this onnxruntime has no code for the device: use a newer one, or another device"
    if "out of memory" in low or "failed to allocate" in low or "cublas_status_alloc" in low:
        return "free memory of the device: nvidia-smi lists who holds it"
    return (
        "where other programs can use the device: pip install --force-reinstall"
        " 'isotherm[server-gpu]'; else restart the machine"
    )


def _look_at_memory(examination: Examination) -> None:
    for device in examination.devices:
        free: int | None = device["free_bytes"]
        if free is not None and free < _ENOUGH_BYTES:
            text = (
                f"device {device['number']} has {free >> 20} MiB of {device['memory_bytes'] >> 20}"
                " left"
            )
            remedy = "free some: nvidia-smi lists who holds it"
            examination.problems.append(Problem("memory", text, remedy, blocks=False))


def _torch(timeout_s: float) -> Facts | None:
    if find_spec("torch") is None:
        return None
    output, ended = _output([sys.executable, "-c", _TORCH], timeout_s)
    if ended:
        return {"version": version("torch"), "cuda": None, "devices": 0, "error": f"it {ended}"}
    # Whatever else torch may print.
    found: Facts = json.loads(output.splitlines()[-1])
    return found


def _output(command: list[str], timeout_s: float) -> tuple[str, str]:
    """Return what a process prints, and how it ended where it ended badly."""
    try:
        result = subprocess.run(  # noqa: S603  our own interpreter
            command, capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except subprocess.TimeoutExpired as error:
        # Bytes, whatever was asked for.
        output: Any = error.stdout or b""
        return output.decode(), f"took more than {timeout_s:g} s"
    if result.returncode == 0:
        return result.stdout, ""
    return result.stdout, _how(result.returncode, result.stderr)


def _how(status: int, stderr: str) -> str:
    if status < 0:
        return f"was ended by signal {-status}"
    last = " ".join(stderr.strip().splitlines()[-1:])
    return f"ended with status {status} ({last})"
