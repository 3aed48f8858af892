"""What the server learns of the machine before it asks ONNX Runtime for CUDA."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from isotherm.server.device import driver, nvml, runtimes
from isotherm.server.device.problem import Problem
from tests.support.nvidia import GIB, H100, Machine, uuid

# Its libraries are compiled.
pytestmark = pytest.mark.slow

ASKED = """
import dataclasses, json
from isotherm.server.device import probe
found = {
    "problem": probe.cuda_problem(),
    "driver": probe.driver_problem(),
    "devices": [dataclasses.asdict(device) for device in probe.visible_devices()],
}
print(json.dumps(found))
"""


def asked(environment: dict[str, str]) -> dict[str, Any]:
    """Ask in a process on that machine; its last line is the answer."""
    result = subprocess.run(
        [sys.executable, "-c", ASKED],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def test_a_whole_machine_has_no_problem(tmp_path: Path) -> None:
    """And its devices are those that the driver counts."""
    found = asked(Machine(devices=2).environment(tmp_path))

    assert found["problem"] is None
    assert found["driver"] is None
    assert found["devices"][1] == {
        "number": 1,
        "name": H100,
        "uuid": uuid(1),
        "capability": [9, 0],
        "memory_bytes": 80 * GIB,
    }
    assert len(found["devices"]) == 2


def test_the_first_problem_is_the_answer_with_its_remedy(tmp_path: Path) -> None:
    """One sentence, for a log and for an error."""
    found = asked(Machine(cuda=12080).environment(tmp_path))

    assert found["problem"] == (
        "the NVIDIA driver runs CUDA 12.8 at the most, and this onnxruntime is built with 13.0; "
        "update NVIDIA's driver to 580 or newer"
    )
    assert found["driver"] is None


def test_what_only_may_go_wrong_is_no_problem(tmp_path: Path) -> None:
    """Two packages that own the same files: the one with CUDA lies there."""
    packages = ("onnxruntime-1.32.0", "onnxruntime_gpu-1.31.1")
    found = asked(Machine(packages=packages).environment(tmp_path))

    assert found["problem"] is None


def test_hidden_devices_are_none(tmp_path: Path) -> None:
    """CUDA_VISIBLE_DEVICES is the driver's to heed."""
    found = asked(Machine().environment(tmp_path) | {"CUDA_VISIBLE_DEVICES": ""})

    assert found["devices"] == []
    assert found["problem"] == found["driver"]
    assert found["problem"].startswith("CUDA_VISIBLE_DEVICES is ''")


def test_a_provider_that_does_not_load_says_why(tmp_path: Path) -> None:
    """The loader names the missing part."""
    environment = Machine().environment(tmp_path)
    provider = tmp_path / "site/onnxruntime/capi/libonnxruntime_providers_cuda.so"
    provider.write_text("no library")

    assert asked(environment)["problem"] == (
        f"the CUDA provider cannot be loaded ({provider}: file too short); "
        "pip install --force-reinstall 'isotherm[server-gpu]'"
    )


@pytest.mark.parametrize("hostile", ["regular", "elsewhere"])
def test_libraries_in_wheels_are_found_beside_a_package_of_that_name(
    tmp_path: Path, hostile: str
) -> None:
    """An old wheel makes `nvidia` a package with an __init__, wherever it lies."""
    environment = Machine().environment(tmp_path)
    before = tmp_path / "before"
    place = tmp_path / "site" if hostile == "regular" else before
    (place / "nvidia").mkdir(parents=True, exist_ok=True)
    (place / "nvidia" / "__init__.py").touch()
    environment["PYTHONPATH"] = f"{before}:{environment['PYTHONPATH']}"

    assert asked(environment)["problem"] is None


def test_a_slice_of_a_device_has_an_identity_of_its_own(tmp_path: Path) -> None:
    """As nvidia-smi -L writes it."""
    Machine(name="NVIDIA H100 80GB HBM3 MIG 1g.10gb")._build_driver(tmp_path)
    found = driver.read(str(tmp_path / "libcuda.so.1"))

    assert not isinstance(found, Problem)
    assert found.devices[0].uuid == uuid(0).replace("GPU", "MIG")
    assert found.cuda == (13, 0)


def test_a_device_that_nvml_does_not_know_has_no_free_memory(tmp_path: Path) -> None:
    """The others still have."""
    Machine(free_bytes=7 * GIB)._build_driver(tmp_path)
    told = nvml.read((uuid(0), "GPU-other"), str(tmp_path / "libnvidia-ml.so.1"))

    assert told.release == "580.65.06"
    assert told.free_bytes == {uuid(0): 7 * GIB}


def test_the_real_runtime_under_the_other_name_still_lacks_a_driver(tmp_path: Path) -> None:
    """What tests of a server without a driver run on; the installed one stays as it is."""
    installed = Path(str(distribution("onnxruntime").locate_file("onnxruntime")))
    before = {path: path.stat() for path in installed.rglob("*")}
    found = asked(Machine(session=None, devices=None).environment(tmp_path))

    assert found["problem"].startswith("no NVIDIA driver")
    after = {path: path.stat() for path in installed.rglob("*")}
    assert {
        path: (each.st_ino, each.st_size, each.st_mtime_ns) for path, each in after.items()
    } == {path: (each.st_ino, each.st_size, each.st_mtime_ns) for path, each in before.items()}
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_a_package_whose_name_only_begins_alike_owns_nothing(tmp_path: Path) -> None:
    """onnxruntime-extensions has a folder of its own; a nightly build has ours."""
    packages = {
        "onnxruntime_gpu-1.31.1": ("onnxruntime-gpu", "onnxruntime"),
        "onnxruntime_extensions-0.14.0": ("onnxruntime-extensions", "onnxruntime_extensions"),
        "ort_nightly-1.33.0": ("ort-nightly", "onnxruntime"),
    }
    for stem, (name, owned) in packages.items():
        folder = tmp_path / f"{stem}.dist-info"
        folder.mkdir()
        version = stem.partition("-")[2]
        (folder / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
        (folder / "RECORD").write_text(f"{owned}/__init__.py,,\n")

    found = runtimes._packages(tmp_path / "onnxruntime")

    assert found == {("onnxruntime-gpu", "1.31.1"), ("ort-nightly", "1.33.0")}
