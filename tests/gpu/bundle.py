"""What a GPU machine without a network lacks, packed into files that can be carried there.

    python -m tests.gpu.bundle [--folder build/gpu-bundle] [--architecture 90] [--whole]

Wheels for CPython 3.12 on x86-64 come from the package index: ONNX Runtime with CUDA, reduced to
one architecture (some 260 MB are downloaded once), and what else the server and its tests need.
That machine has to have torch with CUDA 13, whose libraries are used, numpy and pyarrow.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from tests.gpu import fatbin

ROOT: Final = Path(__file__).parents[2]
# With the versions of constraints.txt. Most are there, in versions that nobody here has tried.
PACKAGES: Final = (
    "onnxruntime-gpu",
    *("grpcio", "grpcio-health-checking", "grpcio-reflection", "protobuf", "prometheus_client"),
    *("typer", "click", "rich", "markdown-it-py", "mdurl", "Pygments", "shellingham"),
    *("annotated-doc", "typing_extensions", "onnx", "ml_dtypes", "onnx-ir", "onnxscript"),
    *("pydantic", "pydantic_core", "annotated-types", "typing-inspection", "nvidia-ml-py"),
    *("pytest", "pluggy", "iniconfig", "packaging", "pytest-asyncio", "pytest-timeout"),
)
PLATFORM: Final = (
    *("--only-binary=:all:", "--python-version", "3.12", "--implementation", "cp"),
    *(
        part
        for tag in ("2_28", "2_27", "2_26", "2_24", "2_17", "2014")
        for part in ("--platform", f"manylinux{'' if tag == '2014' else '_'}{tag}_x86_64")
    ),
)
CUDA_LIBRARY: Final = "onnxruntime/capi/libonnxruntime_providers_cuda.so"
# Nothing that a session in Python opens.
LEFT_OUT: Final = re.compile(
    r"onnxruntime/(transformers|quantization|tools|datasets|backend)/"
    r"|libonnxruntime_providers_tensorrt\.so|capi/libonnxruntime\.so"
    r"|onnx/backend/test/|onnx/(test|bin)/|onnx/.*\.(h|proto|pb)$|/tests?/"
)
# Those that every Linux with a C++ compiler has.
SYSTEM: Final = re.compile(r"/(ld-linux|lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s)\.so)")
PART_BYTES: Final = 50 << 20


def main() -> None:
    """Download, reduce, pack, and tell what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "gpu-bundle")
    parser.add_argument("--wheels", type=Path, default=ROOT / "build" / "gpu-wheels")
    parser.add_argument("--architecture", type=int, default=90, help="90: H100 and H200")
    parser.add_argument("--whole", action="store_true", help="all kernels of the architecture")
    arguments = parser.parse_args()
    wheels = download(arguments.wheels)
    packed = pack(wheels, arguments.architecture, only_needed=not arguments.whole)
    parts = split(packed, arguments.folder)
    for part in parts:
        print(f"{part.stat().st_size / 2**20:6.1f} MiB  {part}")


def download(folder: Path) -> list[Path]:
    """Fetch the wheels that are not there yet, and what reads compressed kernels; return them."""
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    wanted = [f"{name}=={pins[name]}" for name in PACKAGES]
    known = {
        (canonicalize_name(name), Version(pin))
        for name, _, pin in (w.partition("==") for w in wanted)
    }
    folder.mkdir(parents=True, exist_ok=True)
    tools = folder / "tools"
    pip("download", "--no-deps", *PLATFORM, "--dest", str(folder), *wanted)
    for wheel in folder.glob("*.whl"):
        # Of another day's pins.
        if parse_wheel_filename(wheel.name)[:2] not in known:
            wheel.unlink()
    if not (tools / "zstandard").exists():
        pip("install", "--no-deps", "--target", str(tools), "zstandard")
    sys.path.append(str(tools))
    return sorted(folder.glob("*.whl"))


def pip(command: str, *arguments: str) -> None:
    """Run pip; raise when it fails."""
    quiet = ("--quiet", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "pip", command, *quiet, *arguments], check=True)


def pack(wheels: Sequence[Path], architecture: int, *, only_needed: bool) -> bytes:
    """Return the wheels' files and h2load with its libraries as one archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz", preset=6) as archive:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as contents:
                for info in contents.infolist():
                    if info.is_dir() or LEFT_OUT.search(info.filename):
                        continue
                    data = contents.read(info)
                    if info.filename == CUDA_LIBRARY:
                        data = reduced(data, architecture, only_needed=only_needed)
                    _add(archive, f"site/{info.filename}", data, info.external_attr >> 16)
        for name, path in load_generator().items():
            _add(archive, f"h2load/{name}", path.read_bytes(), 0o755)
    return buffer.getvalue()


def reduced(data: bytes, architecture: int, *, only_needed: bool) -> bytes:
    """Return the CUDA provider's library with the code of one architecture."""
    library = bytearray(data)
    done = fatbin.reduce(library, architecture, only_needed=only_needed)
    print(
        f"device code: {done.before_bytes / 1e6:.0f} MB, of which {done.after_bytes / 1e6:.0f} stay"
    )
    return bytes(library)


def load_generator() -> dict[str, Path]:
    """Return h2load and the libraries it needs, by name; nothing where there is none."""
    program = shutil.which("h2load")
    if program is None:
        print("h2load is not installed here: load will come from Python alone")
        return {}
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    libraries = [Path(found) for found in re.findall(r"=> (/\S+)", listed)]
    needed = [path for path in libraries if not SYSTEM.search(str(path))]
    return {"h2load": Path(program), **{path.name: path for path in needed}}


def split(packed: bytes, folder: Path) -> list[Path]:
    """Write the archive in parts, and a list of them with their digests; return the parts."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    parts, digests = [], {}
    for number, start in enumerate(range(0, len(packed), PART_BYTES)):
        data = packed[start : start + PART_BYTES]
        part = folder / f"part-{number}"
        part.write_bytes(data)
        digests[part.name] = hashlib.sha256(data).hexdigest()
        parts.append(part)
    (folder / "parts.json").write_text(json.dumps(digests, indent=1) + "\n")
    return parts


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), (mode & 0o777) or 0o644
    archive.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    main()
