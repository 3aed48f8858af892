"""The package as its users import it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import isotherm.client

_HEAVY = ("click", "onnx", "onnxruntime", "pandas", "prometheus_client", "rich", "torch", "typer")


def _python(program):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )


def test_the_public_names_are_those_in_all():
    """What is visible is what is promised."""
    visible = {name for name in vars(isotherm.client) if not name.startswith("_")}

    # A sub-package becomes visible when something imports it.
    assert set(isotherm.client.__all__) == visible - {"cli"}
    assert sorted(isotherm.client.__all__) == isotherm.client.__all__


def test_the_base_import_pulls_in_nothing_but_the_base_install():
    """A client needs grpcio, numpy and protobuf."""
    done = _python(
        f"import sys, isotherm.client; print([name for name in {_HEAVY} if name in sys.modules])"
    )

    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    "imports",
    [
        "tritonclient.grpc, isotherm.client",
        "isotherm.client, tritonclient.grpc, isotherm.v1.contract_pb2",
    ],
)
def test_the_client_lives_in_one_process_with_tritonclient(imports):
    """Both register the protocol's messages; in either order they do not clash."""
    done = _python(f"import {imports}; print('alive')")

    assert done.stdout == "alive\n", done.stderr
