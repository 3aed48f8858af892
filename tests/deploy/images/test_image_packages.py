"""The images that are not built here: whether their packages can be had."""

import json
import re
import sys
from pathlib import Path

import pytest

from isotherm.server.device import libraries
from tests.deploy.images.dockerfile import instructions
from tests.deploy.places import DOCKERFILE, ROOT
from tests.support.environments import pip

pytestmark = pytest.mark.slow

(PYTHON,) = {
    version
    for word, value in instructions(DOCKERFILE)
    if word == "ARG"
    for version in re.findall(r"^BASE=python:(3\.\d+)-", value)
}

PINS = (ROOT / "constraints.txt").read_text().splitlines()


def _resolved(extra, machine, folder):
    """The wheels that pip would take; nothing is downloaded but what describes them."""
    # Debian trixie has glibc 2.41; some wheels are content with that of 2007.
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(5, 42)]
    platforms = [argument for tag in tags for argument in ("--platform", tag)]
    report = pip(
        Path(sys.executable),
        *("install", "--dry-run", "--ignore-installed", "--target", str(folder), "--report", "-"),
        *("--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON, *platforms),
        *("--constraint", "constraints.txt", f".[{extra}]"),
    )
    packages = json.loads(report)["install"]
    return {each["metadata"]["name"].lower(): each["download_info"]["url"] for each in packages}


@pytest.mark.parametrize(
    ("extra", "machine", "runtime"),
    [
        ("server,rest,tracing", "aarch64", "onnxruntime"),
        ("server-gpu,rest,tracing", "aarch64", "onnxruntime-gpu"),
        ("server-gpu,rest,tracing", "x86_64", "onnxruntime-gpu"),
    ],
)
def test_all_packages_have_wheels(tmp_path, extra, machine, runtime):
    """For the Python of the base: nothing is compiled in the image, and there is one runtime."""
    packages = _resolved(extra, machine, tmp_path)

    assert f"cp{PYTHON.replace('.', '')}" in packages["grpcio"]
    assert machine in packages[runtime]
    assert {name for name in packages if name.startswith("onnxruntime")} == {runtime}
    assert "torch" not in packages


@pytest.mark.parametrize("machine", ["aarch64", "x86_64"])
def test_of_cuda_there_is_what_the_provider_links_and_no_more(tmp_path, machine):
    """In the versions of constraints.txt: cuDNN and cuFFT alone would be another gigabyte."""
    packages = _resolved("server-gpu,rest,tracing", machine, tmp_path)
    pins = dict(line.split("==") for line in PINS if line.startswith("nvidia-"))
    found = {name: url for name, url in packages.items() if name in pins or "nvidia" in name}

    assert {library.package for library in libraries.NEEDED} < found.keys()
    assert found.keys() == {
        *("nvidia-cublas", "nvidia-cuda-runtime", "nvidia-curand", "nvidia-ml-py"),
        # What cuBLAS asks for.
        "nvidia-cuda-nvrtc",
    }
    for name, url in found.items():
        assert f"-{pins[name]}-" in url
        # A wheel for every machine is an empty one, which stands there for those without CUDA.
        assert machine in url or name == "nvidia-ml-py"


def test_a_package_without_a_wheel_is_refused(tmp_path):
    """The control: nobody builds for this processor."""
    with pytest.raises(AssertionError, match=r"No matching distribution|ResolutionImpossible"):
        _resolved("server", "m68k", tmp_path)
