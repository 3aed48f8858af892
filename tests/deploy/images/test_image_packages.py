"""The images that are not built here: whether their packages can be had."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.deploy.images.dockerfile import instructions
from tests.deploy.places import DOCKERFILE
from tests.support.environments import pip

pytestmark = pytest.mark.slow

(PYTHON,) = {
    version
    for word, value in instructions(DOCKERFILE)
    if word == "ARG"
    for version in re.findall(r"^BASE=python:(3\.\d+)-", value)
}


def _resolved(extra, machine, folder):
    """The wheels that pip would take; nothing is downloaded but what describes them."""
    # Debian trixie has glibc 2.41.
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(17, 42)]
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


def test_a_package_without_a_wheel_is_refused(tmp_path):
    """The control: nobody builds for this processor."""
    with pytest.raises(AssertionError, match=r"No matching distribution|ResolutionImpossible"):
        _resolved("server", "m68k", tmp_path)
