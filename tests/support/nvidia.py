"""A made-up GPU machine: a driver, its management library, the CUDA libraries, a runtime.

The C libraries answer as NVIDIA's do; the runtime is a folder like that of onnxruntime-gpu, whose
models are run by numpy. `Machine.environment` leads a process to all of it.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

from tests.support.native import build

GIB: Final = 1 << 30
H100: Final = "NVIDIA H100 80GB HBM3"
NO_DEVICE: Final = 100
_PATH: Final = [path for path in [os.environ.get("PYTHONPATH")] if path]
_UUID: Final = "GPU-00010203-0405-0607-0809-0a0b0c0d0e{:02x}"

_DRIVER: Final = """
#include <stdlib.h>
#include <string.h>
typedef struct {{ unsigned char bytes[16]; }} uuid;
int cuInit(unsigned int flags) {{
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    if (flags) return 1;
    return visible && !strcmp(visible, "") ? 100 : {status};
}}
int cuGetErrorName(int status, const char **name) {{
    *name = status == 803 ? "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH" : 0;
    return status == 803 ? 0 : 1;
}}
int cuDriverGetVersion(int *version) {{ *version = {cuda}; return 0; }}
int cuDeviceGetCount(int *count) {{ *count = {devices}; return 0; }}
int cuDeviceGet(int *device, int number) {{ *device = number + 40; return 0; }}
int cuDeviceGetName(char *name, int size, int device) {{
    strncpy(name, "{name}", size);
    return device < 40;
}}
int cuDeviceGetUuid_v2(uuid *out, int device) {{
    for (int i = 0; i < 16; i++) out->bytes[i] = i;
    out->bytes[15] = device - 40;
    return {device_status};
}}
int cuDeviceTotalMem_v2(size_t *bytes, int device) {{ *bytes = {memory}ul; return device < 40; }}
int cuDeviceGetAttribute(int *value, int attribute, int device) {{
    *value = attribute == 75 ? 9 : attribute == 76 ? 0 : -1;
    return device < 40;
}}
"""

_NVML: Final = """
#include <string.h>
struct memory {{ unsigned long long total, free, used; }};
static int handles[8];
int nvmlInit_v2(void) {{ return 0; }}
int nvmlShutdown(void) {{ return 0; }}
int nvmlSystemGetDriverVersion(char *text, unsigned int size) {{
    strncpy(text, "580.65.06", size);
    return 0;
}}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {{
    if (strncmp(uuid, "GPU-00010203-0405-0607-0809-0a0b0c0d0e0", 39)) return 6;
    *handle = &handles[uuid[39] - '0'];
    return 0;
}}
int nvmlDeviceGetMemoryInfo(int *handle, struct memory *memory) {{
    memory->total = {memory}ul;
    memory->free = {free}ul;
    memory->used = {memory}ul - {free}ul;
    return handle < handles;
}}
"""

_LIBRARY: Final = "int {function}(int part, int *value) {{ *value = part + 13; return 0; }}"
_RUNTIME: Final = "int cudaRuntimeGetVersion(int *version) { *version = 13000; return 0; }"

# What of onnxruntime-gpu's is asked for.
_ONNXRUNTIME: Final = """
import os
import numpy as np

def get_available_providers():
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]

def preload_dlls(cuda=True, cudnn=True):
    print("a line that is no answer")

class SessionOptions:
    def __init__(self):
        self.entries = {}
    def add_session_config_entry(self, key, value):
        self.entries[key] = value

class InferenceSession:
    def __init__(self, model, options, providers, enable_fallback):
        ((self.provider, self.options),) = providers
        cuda = self.provider == "CUDAExecutionProvider"
        if cuda:
            assert options.entries == {"session.disable_cpu_ep_fallback": "1"}
            assert enable_fallback == 0
            %(cuda)s
    def disable_fallback(self):
        pass
    def get_providers(self):
        return [self.provider, "CPUExecutionProvider"]
    def run(self, names, feed):
        return [-(feed["x"] @ np.array([[1, 2], [3, 4], [5, 6]], np.float32))]
"""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What there is; `instead` makes another of it."""

    # None: no driver.
    devices: int | None = 1
    # What cuInit answers.
    status: int = 0
    # What asking for a device's identity answers.
    device_status: int = 0
    # As the driver writes it: 13000 is 13.0.
    cuda: int = 13000
    memory_bytes: int = 80 * GIB
    free_bytes: int = 79 * GIB
    name: str = H100
    # None: an onnxruntime without CUDA.
    built_with: str | None = "13.0"
    packages: tuple[str, ...] = ("onnxruntime_gpu-1.31.1",)
    # Sonames of files that are no libraries: those of the machine that tests run on would be found.
    broken: tuple[str, ...] = ()
    # Whether it has cuDNN, which nothing of ours needs.
    cudnn: bool = False
    # What a session on CUDA does as it is made; None: the runtime is the real one of these tests,
    # which has no CUDA, under the name of the other.
    session: str | None = "pass"

    def environment(self, folder: Path) -> dict[str, str]:
        """Build it in a folder; return the variables of a process that lives on it."""
        libraries = folder / "lib"
        self._build_driver(libraries)
        needed = self._build_cuda(folder / "site" / "nvidia" / "cu13" / "lib", libraries)
        self._build_runtime(folder / "site", needed)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("CUDA", "NVIDIA"))}
        return environment | {
            "LD_LIBRARY_PATH": str(libraries),
            # In front of where the tests themselves are from.
            "PYTHONPATH": os.pathsep.join([str(folder / "site"), *_PATH]),
            "COLUMNS": "80",
        }

    def instead(self, **changes: object) -> Machine:
        """Return the same machine but for some of it."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def _build_driver(self, folder: Path) -> None:
        if self.devices is None:
            return
        source = _DRIVER.format(
            status=self.status,
            device_status=self.device_status,
            cuda=self.cuda,
            devices=self.devices,
            memory=self.memory_bytes,
            name=self.name,
        )
        build(folder, "libcuda.so.1", source)
        source = _NVML.format(memory=self.memory_bytes, free=self.free_bytes)
        build(folder, "libnvidia-ml.so.1", source)

    def _build_cuda(self, wheels: Path, elsewhere: Path) -> list[Path]:
        functions = {
            "libcublasLt.so.13": _LIBRARY.format(function="cublasLtGetProperty"),
            "libcublas.so.13": _LIBRARY.format(function="cublasGetProperty"),
            "libcurand.so.10": _LIBRARY.format(function="curandGetProperty"),
            "libcudart.so.13": _RUNTIME,
        }
        if self.cudnn:
            source = _LIBRARY.format(function="cudnnGetProperty")
            build(wheels.parents[1] / "cudnn" / "lib", "libcudnn.so.9", source)
        built = [
            build(wheels, soname, source)
            for soname, source in functions.items()
            if soname not in self.broken
        ]
        for soname in self.broken:
            elsewhere.mkdir(exist_ok=True)
            (elsewhere / soname).write_text("no library")
        return built

    def _build_runtime(self, site: Path, needed: list[Path]) -> None:
        package = site / "onnxruntime"
        (package / "capi").mkdir(parents=True)
        if self.session is None:
            _copy(Path(str(distribution("onnxruntime").locate_file("onnxruntime"))), package)
        else:
            (package / "__init__.py").write_text(_ONNXRUNTIME % {"cuda": self.session})
        # As the real file: where one of them is missing, the package complains on stderr.
        build_info = "package_name = 'onnxruntime-gpu'\n__version__ = '1.31.1'\n"
        if self.built_with:
            build_info += f"cuda_version = {self.built_with!r}\n"
        (package / "capi" / "build_and_package_info.py").write_text(build_info)
        for name in self.packages:
            info = site / f"{name}.dist-info"
            info.mkdir()
            project, _, version = name.partition("-")
            project = project.replace("_", "-")
            metadata = f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n"
            (info / "METADATA").write_text(metadata)
            (info / "RECORD").write_text("onnxruntime/__init__.py,,\n")
        if self.built_with:
            build(package / "capi", "libonnxruntime_providers_shared.so", "int shared;")
            build(package / "capi", "libonnxruntime_providers_cuda.so", "int cuda;", *needed)


def _copy(real: Path, package: Path) -> None:
    """Make a package of what another one imports, but for what says how it was built."""
    for folder in (".", "capi"):
        for path in (real / folder).iterdir():
            if path.is_file() and not path.name.startswith(("build_and", "libonnxruntime_prov")):
                shutil.copy(path, package / folder)


def uuid(number: int) -> str:
    """Return the identity of one of its devices."""
    return _UUID.format(number)
