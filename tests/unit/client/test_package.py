"""The package as its users import it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import isotherm.client

_HEAVY = (
    *("click", "onnx", "onnxruntime", "pandas", "polars", "prometheus_client", "pyarrow", "rich"),
    *("torch", "typer"),
)


def _python(program):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )


def test_the_public_names_are_those_in_all():
    """What is visible is what is promised, whether it was asked for before or not."""
    assert dir(isotherm.client) == isotherm.client.__all__ == sorted(isotherm.client.__all__)
    assert {getattr(isotherm.client, name).__name__ for name in isotherm.client.__all__} == {
        *isotherm.client.__all__
    }
    visible = {name for name in vars(isotherm.client) if not name.startswith("_")}
    # Sub-packages become visible when something imports them.
    assert {*isotherm.client.__all__} == visible - {"cli", "import_module", "Any", "TYPE_CHECKING"}


def test_a_name_that_is_not_there_is_an_attribute_error():
    """As in any other module."""
    with pytest.raises(
        AttributeError, match=r"module 'isotherm\.client' has no attribute 'Cleint'"
    ):
        _ = isotherm.client.Cleint


def test_the_package_alone_loads_nothing_that_the_command_line_does_not_need():
    """`isotherm serve` starts through it, and its supervisor calls nobody."""
    heavy = ("asyncio", "google.protobuf", "grpc", "numpy")
    done = _python(
        "import sys, isotherm.client, isotherm.client.cli.dispatch;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )

    assert done.stdout == "[]\n", done.stderr


def test_the_names_alone_load_no_messages():
    """They take longest, and come with the first client."""
    done = _python(
        "import sys; from isotherm.client import AsyncClient, Client;"
        "late = ('isotherm.v1.open_inference_pb2', 'numpy');"
        "before = [name for name in late if name in sys.modules];"
        "Client('127.0.0.1:1').close();"
        "print(before, [name for name in late if name in sys.modules])"
    )

    assert done.stdout == "[] ['isotherm.v1.open_inference_pb2', 'numpy']\n", done.stderr


def test_the_client_pulls_in_nothing_but_the_base_install():
    """It needs grpcio, numpy and protobuf."""
    done = _python(
        "import sys; from isotherm.client import *; Client('127.0.0.1:1').close();"
        f"print([name for name in {_HEAVY} if name in sys.modules])"
    )

    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    "imports",
    [
        "tritonclient.grpc, isotherm.client._sync",
        "isotherm.client._sync, tritonclient.grpc, isotherm.v1.contract_pb2",
    ],
)
def test_the_client_lives_in_one_process_with_tritonclient(imports):
    """Both register the protocol's messages; in either order they do not clash."""
    done = _python(f"import {imports}; print('alive')")

    assert done.stdout == "alive\n", done.stderr
