"""docs/gpu.md: its commands are run, and its tables are those of the program."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from pathlib import Path

import onnxruntime as ort
import pytest
import typer

from isotherm.server import checks, executor
from isotherm.server.__main__ import app as serve
from isotherm.server.config import DeviceConfig
from isotherm.server.device import driver, libraries
from isotherm.server.device.instance import Way
from isotherm.server.doctor.__main__ import Asked
from isotherm.server.placement_flags import ProviderChoice
from tests.guides.page import Reader, broken_links, commands, sections
from tests.support.doctor import doctor, found
from tests.support.environments import ROOT
from tests.support.nvidia import Machine

PAGE = "gpu.md"
TEXT = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
WORDS = " ".join(TEXT.split())
SECTIONS = sections(PAGE)
DOCTOR = "See whether it works"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def table(after: str) -> dict[str, str]:
    """Return the rows of the first table behind some words: the first column to the second."""
    text = TEXT[TEXT.index(after) :]
    rows = re.search(r"^\|.*?(?=^[^|]|\Z)", text, re.DOTALL | re.MULTILINE)
    assert rows is not None
    cells = [line.strip("| ").split(" | ", 1) for line in rows[0].splitlines()[2:]]
    return {row[0]: row[-1] for row in cells}


def keys(text: str) -> set[str]:
    """Return what is written as code in some text."""
    return set(re.findall(r"`([\w.-]+)`", text))


def test_every_link_leads_somewhere() -> None:
    """Those of the page; and others lead to it."""
    assert [] == broken_links(PAGE)
    for page in ("README.md", "docs/kubernetes.md", "docs/containers.md", "docs/deployment.md"):
        assert PAGE in (ROOT / page).read_text(encoding="utf-8"), page


def test_the_tests_know_every_command() -> None:
    """What is added to the page is run, too."""
    assert [heading for heading, blocks in SECTIONS.items() if blocks] == [DOCTOR]


@pytest.mark.skipif(
    "CUDAExecutionProvider" in ort.get_available_providers() or driver.on_the_bus(),
    reason="the page shows a machine without a GPU",
)
def test_the_doctor_says_what_the_page_shows(tmp_path: Path) -> None:
    """But for versions and times, which are another machine's."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {"PATH": path, "COLUMNS": "80", "ISOTHERM_PROVIDER": "auto"}
    (block,) = SECTIONS[DOCTOR]
    (command,) = commands(block)
    shown = Reader(tmp_path, {}, variables).run(command.line)

    assert general(command.output) == general(shown)


def general(text: str) -> list[str]:
    """Return a report's lines as they are on any such machine."""
    # Extras are those of the environment that the tests run in, and broken where the line ends.
    text = re.sub(r"^(isotherm +\S+ with ).*?(?=^ONNX)", r"\1\n", text, flags=re.S | re.M)
    text = re.sub(r"^(torch +).*$", r"\1", text, flags=re.MULTILINE)
    text = re.sub(r"^variable .*\n(?: .*\n)*", "", text, flags=re.MULTILINE)
    return [re.sub(r"\d+(\.\d+)*|x86_64|aarch64", "#", line).rstrip() for line in text.splitlines()]


@pytest.mark.slow
def test_the_keys_of_the_report_are_those_of_the_page(tmp_path: Path) -> None:
    """With what is in each of them."""
    machine = Machine(cuda=12040, cudnn=True)
    facts, _ = found(machine.environment(tmp_path))
    told = {key: text for row, text in table("`--json` prints").items() for key in keys(row)}
    inner = {
        "python": ("version", "executable", "machine"),
        "onnxruntime": ("packages", "cuda"),
    }

    for row, text in table("`--json` prints").items():
        told |= dict.fromkeys(keys(row), text)
    assert told.keys() == facts.keys()
    assert told["format"] == str(facts["format"])
    for key, names in inner.items():
        assert set(names) == facts[key].keys()
        assert set(names) <= keys(told[key])
    for key in ("providers", "devices", "libraries", "problems"):
        assert facts[key][0].keys() <= keys(told[key]), key
    for key in ("driver", "torch"):
        assert facts[key].keys() <= keys(told[key]) | {"devices"}, key
    json.dumps(facts)


def test_every_extra_and_package_that_it_names_can_be_had() -> None:
    """By the names of pyproject.toml."""
    extras = {extra for each in re.findall(r"'\.\[([\w,-]+)\]'", TEXT) for extra in each.split(",")}
    pins = (ROOT / "constraints.txt").read_text()

    assert extras == {"all-gpu", "rest", "server-gpu", "tracing"}
    assert extras <= PROJECT["optional-dependencies"].keys()
    assert libraries.CUDNN.package in TEXT
    assert f"nvidia-cuda-runtime=={libraries.CUDA_MAJOR}.0." in pins
    assert f"CUDA {libraries.CUDA_MAJOR}.0, the oldest" in TEXT


def test_its_flags_are_those_of_the_server() -> None:
    """No flag that is gone, and none of the GPU that it leaves out."""
    known = {
        flag
        for parameter in typer.main.get_command(serve).params
        for flag in (*parameter.opts, *parameter.secondary_opts)
    }
    named = set(re.findall(r"`(--[\w-]+)", TEXT))
    others = {"--build-arg", "--constraint", "--json", "--rm", "--gpus"}

    assert named - others <= known
    assert {"--device-ids", "--no-cuda-graphs", "--gpu-memory-limit", "--instances"} <= named
    assert {choice.value for choice in ProviderChoice} == {choice.value for choice in Asked}
    for after in ("| `--provider` | exit", "## Where a batch runs"):
        assert {word for row in table(after) for word in keys(row)} >= {*Asked}


def test_its_figures_are_those_of_the_program() -> None:
    """What is bounded, by how much, and what is tolerated."""
    assert f"{DeviceConfig().memory_limit_mib} MiB unless told" in WORDS
    assert f"a relative tolerance of {checks._TF32_TOLERANCE:g} or more".replace(
        "0.002", "2e-3"
    ) in (WORDS)
    assert f"NVIDIA's driver, {driver.OLDEST_RELEASE} or newer" in WORDS
    assert executor._REST_AFTER_S < 10, "after some seconds"
    assert str(Way.GRAPHS) == "CUDA graphs"


def test_its_metrics_and_parameters_exist() -> None:
    """By the page of metrics, and by the source."""
    metrics = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    source = (ROOT / "server/isotherm/server/service/models.py").read_text(encoding="utf-8")

    for name in set(re.findall(r"`(isotherm_\w+)`", TEXT)):
        assert f"`{name}`" in metrics, name
    parameters = {name for row in table("| parameter |") for name in keys(row)}
    assert parameters
    assert all(f'"{name}"' in source for name in parameters)


def test_what_it_says_of_errors_is_what_errors_say() -> None:
    """So that a reader who searches for one finds it."""
    sources = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "server/isotherm/server").rglob("*.py")
    )
    for said in (
        "no NVIDIA driver",
        "at the most",
        "CUDA_VISIBLE_DEVICES is '",
        "a device is lost",
        "the device has no room",
    ):
        assert said in TEXT
        assert said in sources, said


def test_the_pod_of_the_page_is_there() -> None:
    """Its command names the Deployment, the image's its own program."""
    assert "kubectl exec deployment/isotherm -- isotherm doctor" in TEXT
    assert "--entrypoint isotherm isotherm:0.1.0-gpu doctor" in TEXT
    dockerfile = (ROOT / "deploy" / "docker" / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["isotherm", "serve"]' in dockerfile
    assert f"isotherm:{PROJECT['version']}-gpu" in TEXT


@pytest.mark.slow
def test_the_command_of_the_page_ends_as_its_table_says() -> None:
    """Here: nothing but the processor."""
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("there may be CUDA here")
    status = {asked.value: doctor(None, "--provider", asked.value).returncode for asked in Asked}

    assert status == {"auto": 0, "cpu": 0, "cuda": 1}
