"""Which package of ONNX Runtime is installed: several own the same folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PathDistribution
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from isotherm.server.device.problem import Problem

# A file of all of them.
_OWNED: Final = "onnxruntime/__init__.py"
_PACKAGES: Final = ("onnxruntime*.dist-info", "ort_*.dist-info")
_BUILD: Final = Path("capi", "build_and_package_info.py")
_AGAIN: Final = "pip uninstall -y {packages} && pip install 'isotherm[server-gpu]'"


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """What lies in the folder, and who says that it is theirs."""

    folder: Path | None
    # The CUDA that these files were built with, such as "13.0".
    cuda: str | None
    # Name and version of each.
    packages: tuple[tuple[str, str], ...]

    @property
    def cuda_major(self) -> int:
        """The major version of CUDA, 0 without."""
        return int((self.cuda or "0").partition(".")[0])


def installed() -> Runtime:
    """Return what is installed, without importing it."""
    spec = find_spec("onnxruntime")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else None
    packages = _packages(folder) if folder is not None else ()
    return Runtime(folder=folder, cuda=_cuda(folder), packages=tuple(sorted(packages)))


def problem(runtime: Runtime) -> Problem | None:
    """Return why this runtime is none for CUDA, or is two, or None."""
    names = " ".join(name for name, _ in runtime.packages)
    if runtime.folder is None:
        return Problem(
            "onnxruntime", "ONNX Runtime is not installed", "pip install 'isotherm[server-gpu]'"
        )
    both = " and ".join(f"{name} {version}" for name, version in runtime.packages)
    shared = f", since {both} own the same files" if len(runtime.packages) > 1 else ""
    remedy = _AGAIN.format(packages=names or "onnxruntime")
    if runtime.cuda is None:
        text = f"this onnxruntime is built without CUDA{shared}"
        return Problem("onnxruntime", text, remedy)
    if shared:
        text = f"{both} are both installed, and own the same files"
        return Problem("onnxruntime", text, remedy, blocks=False)
    return None


# Asked for with every load.
@cache
def _packages(folder: Path) -> frozenset[tuple[str, str]]:
    """Return who says that this folder is theirs; each lies beside it."""
    # Not by asking all that is installed: a server waits for this while it starts.
    paths = (path for pattern in _PACKAGES for path in folder.parent.glob(pattern))
    found = (PathDistribution(path) for path in paths)
    return frozenset(
        (each.metadata["Name"], each.version)
        for each in found
        if any(str(file) == _OWNED for file in each.files or ())
    )


def _cuda(folder: Path | None) -> str | None:
    if folder is None or not (folder / _BUILD).exists():
        return None
    found = re.search(r"^cuda_version *= *['\"]([\d.]+)", (folder / _BUILD).read_text(), re.M)
    return found[1] if found else None
