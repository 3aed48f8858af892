"""The CUDA libraries that ONNX Runtime's provider links: where they are, and which.

The provider in onnxruntime-gpu 1.31 links the four that are needed. It looks for cuDNN when it
starts, and has none of the operators that are cuDNN's without it: convolutions, recurrent layers,
BatchNormalization, sums and means. NVIDIA's wheels put them all where no loader looks, so they are
loaded from there by name, as ONNX Runtime would do too; but that prints what it does not find, and
goes on.
"""

from __future__ import annotations

import ctypes
import itertools
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from isotherm.server.device.problem import Problem

# What the libraries below belong to.
CUDA_MAJOR: Final = 13
# In the wheels.
_FOLDERS: Final = (Path(f"cu{CUDA_MAJOR}", "lib"), Path("cudnn", "lib"))
# cuBLAS compiles some kernels with it, where it is there.
_OPTIONAL: Final = f"libnvrtc.so.{CUDA_MAJOR}"
_MAPS: Final = Path("/proc/self/maps")
# libraryPropertyType: major, minor, patch.
_PROPERTIES: Final = range(3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """A library and the package of PyPI that has it; as it was found, once it is loaded."""

    name: str
    soname: str
    package: str
    # Gives a part of the version; the runtime has a function of its own for it.
    property_of: str = ""
    # False: the provider starts without it.
    needed: bool = True
    path: str | None = None
    version: str | None = None


# In the order in which they need each other.
NEEDED: Final = (
    Library(
        name="cublasLt",
        soname=f"libcublasLt.so.{CUDA_MAJOR}",
        package="nvidia-cublas",
        property_of="cublasLtGetProperty",
    ),
    Library(
        name="cublas",
        soname=f"libcublas.so.{CUDA_MAJOR}",
        package="nvidia-cublas",
        property_of="cublasGetProperty",
    ),
    Library(
        name="curand",
        soname="libcurand.so.10",
        package="nvidia-curand",
        property_of="curandGetProperty",
    ),
    Library(name="cudart", soname=f"libcudart.so.{CUDA_MAJOR}", package="nvidia-cuda-runtime"),
)
CUDNN: Final = Library(
    name="cudnn",
    soname="libcudnn.so.9",
    package=f"nvidia-cudnn-cu{CUDA_MAJOR}",
    property_of="cudnnGetProperty",
    needed=False,
)


def load() -> tuple[list[Library], Problem | None]:
    """Load them all into this process; return each, found or not, and what is missing.

    From then on `ctypes.CDLL(soname)` is that very library.
    """
    found, errors = [], []
    _open(_OPTIONAL)
    for library in (*NEEDED, CUDNN):
        opened = _open(library.soname)
        if not isinstance(opened, OSError):
            found.append(_as_found(library, opened))
            continue
        found.append(library)
        if library.needed:
            errors.append(str(opened))
    if not errors:
        return found, None
    text = f"CUDA libraries cannot be loaded ({'; '.join(errors)})"
    return found, Problem("libraries", text, "pip install 'isotherm[server-gpu]', which has them")


def _open(soname: str) -> Any:
    """Return the library, from NVIDIA's wheels or from where the loader looks, or the error."""
    for path in _in_wheels(soname):
        with suppress(OSError):
            return ctypes.CDLL(str(path))
    try:
        return ctypes.CDLL(soname)
    except OSError as error:
        return error


def _in_wheels(soname: str) -> Iterator[Path]:
    # Not by the package `nvidia`: an old wheel makes it one that hides what others put there.
    for entry, folder in itertools.product(sys.path, _FOLDERS):
        path = Path(entry, "nvidia", folder, soname)
        if path.exists():
            yield path


def _as_found(library: Library, opened: Any) -> Library:
    return replace(library, path=_path(library.soname), version=_version(library, opened))


def _path(soname: str) -> str | None:
    """Return the file that a library was loaded from: perhaps its name goes on with digits."""
    for line in _MAPS.read_text().splitlines():
        path = line.split(maxsplit=5)[5:]
        if path and Path(path[0]).name.startswith(soname):
            return path[0]
    return None


def _version(library: Library, opened: Any) -> str | None:
    value = ctypes.c_int(0)
    try:
        if not library.property_of:
            opened.cudaRuntimeGetVersion(ctypes.byref(value))
            return f"{value.value // 1000}.{value.value % 1000 // 10}"
        parts = []
        for part in _PROPERTIES:
            getattr(opened, library.property_of)(part, ctypes.byref(value))
            parts.append(str(value.value))
    except AttributeError:
        return None
    return ".".join(parts)
