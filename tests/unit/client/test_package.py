"""The package as its users import it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import isotherm.client
from isotherm.client import _types

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


@pytest.mark.parametrize("name", ["AsyncClient", "Client"])
def test_annotations_can_be_looked_up_though_nothing_is_imported_for_them(name):
    """By whatever validates or injects arguments, before there is any client."""
    done = _python(
        f"import typing; from isotherm.client import {name} as client;"
        "methods = [one for one in vars(client).values() if hasattr(one, '__annotations__')];"
        "hints = [typing.get_type_hints(one) for one in methods];"
        "from isotherm.client import Prediction, Tls; from isotherm.v1.tensors import Array;"
        "found = dict(zip([one.__name__ for one in methods], hints));"
        "print(len(methods) > 12, found['__init__']['tls'] == bool | Tls,"
        " found['predict']['return'] == Array | Prediction)"
    )

    assert done.stdout == "True True True\n", done.stderr


def test_each_name_of_an_annotation_is_the_one_of_its_module():
    """The type checker's list and the other one are the same."""
    tree = ast.parse(Path(_types.__file__).read_text(encoding="utf-8"))
    (seen,) = [one for one in tree.body if isinstance(one, ast.If)]
    listed = {
        alias.name: one.module
        for one in seen.body
        if isinstance(one, ast.ImportFrom)
        for alias in one.names
    }

    assert listed == _types._MODULES
    with pytest.raises(AttributeError, match=r"module 'isotherm\.client\._types' has no .*'Arr'"):
        _ = _types.Arr


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
