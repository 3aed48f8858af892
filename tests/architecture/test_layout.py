"""The shape of the repository: namespace, source roots, and what a fresh interpreter loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("client", "proto", "server", "trainer")


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_a_source_root_holds_the_namespace_and_a_readme_alone(root: str) -> None:
    """These folders are on sys.path: anything else in them would be importable by everybody."""
    found = {path.name for path in (ROOT / root).iterdir() if path.name != "__pycache__"}

    assert found == {"README.md", "isotherm"}


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_the_namespace_has_no_init(root: str) -> None:
    """A file there would hide the other three roots."""
    assert not (ROOT / root / "isotherm" / "__init__.py").exists()


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        (
            "isotherm.client",
            {"isotherm.server", "isotherm.trainer", "onnx", "onnxruntime", "prometheus_client"}
            | {"opentelemetry", "torch", "typer", "rich"},
        ),
        ("isotherm.client.cli", {"isotherm.server", "isotherm.trainer", "onnxruntime", "torch"}),
        (
            "isotherm.server.worker",
            {"isotherm.client", "isotherm.server.rest", "isotherm.trainer", "onnx", "torch"}
            | {"opentelemetry", "typer", "uvicorn"},
        ),
        (
            "isotherm.server.rest.gateway",
            {"isotherm.server.service", "isotherm.server.worker", "onnxruntime"}
            | {"opentelemetry", "prometheus_client", "starlette", "torch"},
        ),
        ("isotherm.server.process", {"grpc", "numpy", "onnx", "onnxruntime", "torch"}),
        (
            "isotherm.server.supervisor",
            {"grpc", "numpy.testing", "onnxruntime", "torch", "uvicorn"},
        ),
        ("isotherm.server.__main__", {"grpc", "onnxruntime", "prometheus_client", "torch"}),
        # It imports all that `isotherm train` does.
        (
            "isotherm.trainer.tracking.tracker",
            {"grpc", "isotherm.client", "isotherm.server", "mlflow", "optuna", "tensorboard"},
        ),
    ],
)
def test_importing_a_part_loads_nothing_of_the_others(module: str, forbidden: set[str]) -> None:
    """What import-linter says of the source holds at run time too."""
    script = f"import sys, {module}; print(*sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    loaded = set(output.split())

    assert set() == {name for name in forbidden if name in loaded}
