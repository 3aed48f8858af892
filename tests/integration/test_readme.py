"""The README is true: its commands run, its Python runs, its figures come from the program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.server import eventually

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MAX_LINES = 150


def blocks(language: str) -> list[str]:
    """Return the README's code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    """Return the commands of the quick start, without the installation."""
    (console,) = blocks("console")
    lines = [line.removeprefix("$ ") for line in console.splitlines() if line.startswith("$ ")]
    return [line for line in lines if not line.startswith("pip install")]


def test_the_readme_is_short() -> None:
    """What does not fit belongs into docs/."""
    assert len(README.splitlines()) <= MAX_LINES


def test_every_link_of_the_readme_leads_somewhere() -> None:
    """Relative links are files or folders of the repository."""
    links = re.findall(r"\]\(([^)#:]+)\)", README)

    assert links
    assert [] == [link for link in links if not (ROOT / link).exists()]


@pytest.mark.slow
def test_the_quick_start_runs_as_it_is_written(tmp_path: Path) -> None:
    """Train, serve, predict, and the same from Python, in a folder of a new user."""
    ports = {"8001": str(free_port()), "8002": str(free_port())}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {
        "PATH": path,
        "ISOTHERM_GRPC_PORT": ports["8001"],
        "ISOTHERM_METRICS_PORT": ports["8002"],
        "COLUMNS": "100",
    }
    train, serve, predict = commands()
    (python,) = blocks("python")
    address = f"127.0.0.1:{ports['8001']}"

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    trained = run("bash", "-c", train)
    assert trained.returncode == 0, trained.stderr
    server = subprocess.Popen(serve.removesuffix(" &").split(), cwd=tmp_path, env=environment)
    try:
        ready = eventually(
            lambda: run("isotherm", "health", "--address", address).returncode == 0, 60
        )
        predicted = run("bash", "-c", f"{predict} --address {address}")
        asked = run("python", "-c", python.replace("127.0.0.1:8001", address))
    finally:
        server.terminate()
        status = server.wait(60)

    assert ready
    assert trained.stdout.rstrip().endswith("published models/thermometer/1/model.onnx")
    for line in trained.stdout.splitlines():
        if line.startswith(("mean ", "line ", "network ", "Prediction interval")):
            assert line.rstrip() in README
    assert predicted.returncode == 0, predicted.stderr
    for line in predicted.stdout.splitlines():
        assert line.rstrip() in README
    assert asked.returncode == 0, asked.stderr
    assert "degF" in asked.stdout
    assert status == 0
