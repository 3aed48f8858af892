"""The committed generated code is what the generator makes, and the public file is usable alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.environments import ROOT, locked, run
from tests.support.server import Server

GENERATOR = ROOT / ".venv-proto" / "bin" / "python"
GENERATED = ROOT / "proto" / "isotherm" / "v1"


def make(*arguments: str) -> None:
    """Run make in the repository's root: one at a time, since tests share its environment."""
    with locked("make"):
        result = subprocess.run(
            ["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=600
        )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
def test_the_committed_code_is_what_the_generator_makes(tmp_path: Path) -> None:
    """Nobody edits generated files, or forgets to make them again."""
    make("proto", f"PROTO_OUT={tmp_path}")

    made = {path.name: path.read_text() for path in (tmp_path / "isotherm" / "v1").iterdir()}
    committed = {path.name: path.read_text() for path in GENERATED.glob("*_pb2*")}

    assert committed == made


PUBLIC_CLIENT = """
import struct
import sys

import grpc
from isotherm.v1 import open_inference_pb2 as pb
from isotherm.v1 import open_inference_pb2_grpc as rpc

assert pb.DESCRIPTOR.package == "inference", pb.DESCRIPTOR.package
with grpc.insecure_channel(sys.argv[1]) as channel:
    stub = rpc.GRPCInferenceServiceStub(channel)
    request = pb.ModelInferRequest(model_name="doubling")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    request.raw_input_contents.append(struct.pack("<f", 21.0))
    answer = stub.ModelInfer(request, timeout=10)
    print(struct.unpack("<f", answer.raw_output_contents[0])[0])
"""


@pytest.mark.slow
def test_stubs_generated_from_the_public_file_call_the_server(
    server: Server, tmp_path: Path
) -> None:
    """Users of other languages start from this file; Python stands for them, in its own process."""
    make(".venv-proto/.installed")
    run(
        GENERATOR,
        *("-m", "grpc_tools.protoc", "--proto_path", "proto"),
        *("--python_out", str(tmp_path), "--grpc_python_out", str(tmp_path)),
        "isotherm/v1/open_inference.proto",
    )
    script = tmp_path / "client.py"
    script.write_text(PUBLIC_CLIENT)

    output = run(GENERATOR, str(script), server.address)

    assert output.strip() == "42.0"
