"""A real Triton beside ours: the same ONNX files behind its Python backend, on loopback.

Its C++ ONNX Runtime backend is not on the package index, and neither are containers here. The wheel
of nvidia-pytriton carries the genuine server binary, which is used without PyTriton itself.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx
from onnx import TensorProto

from isotherm.v1 import open_inference_pb2 as pb
from tests.support.environments import environment
from tests.support.foreign import Command, running
from tests.support.ports import free_port

# The backend's stub needs numpy 1: with numpy 2 every tensor comes out empty, without an error.
REQUIREMENTS = ("nvidia-pytriton==0.7.0", "numpy<2", "onnxruntime", "setuptools<81")
ENVIRONMENT = "triton"

_TYPES: dict[int, pb.DataType.ValueType] = {
    TensorProto.FLOAT: pb.TYPE_FP32,
    TensorProto.INT32: pb.TYPE_INT32,
    TensorProto.INT64: pb.TYPE_INT64,
}

# One run for all that Triton's scheduler has gathered: the best that its Python backend can do.
MODEL = """
import os

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        folder = os.path.join(args["model_repository"], args["model_version"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            os.path.join(folder, "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = [node.name for node in self.session.get_inputs()]
        self.outputs = [node.name for node in self.session.get_outputs()]

    def execute(self, requests):
        parts = [
            [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs]
            for request in requests
        ]
        feed = {
            name: np.concatenate([arrays[index] for arrays in parts])
            for index, name in enumerate(self.inputs)
        }
        outputs = self.session.run(self.outputs, feed)
        responses, start = [], 0
        for arrays in parts:
            stop = start + len(arrays[0])
            tensors = [
                pb_utils.Tensor(name, array[start:stop])
                for name, array in zip(self.outputs, outputs)
            ]
            responses.append(pb_utils.InferenceResponse(output_tensors=tensors))
            start = stop
        return responses
"""


def configuration(name: str, model: onnx.ModelProto, max_batch_size: int = 1024) -> pb.ModelConfig:
    """Return the configuration of a model whose tensors are `[batch, ...]`."""
    config = pb.ModelConfig(name=name, max_batch_size=max_batch_size)
    for tensors, add in (
        (model.graph.input, config.input.add),
        (model.graph.output, config.output.add),
    ):
        for tensor in tensors:
            kind = tensor.type.tensor_type
            dims = [axis.dim_value for axis in kind.shape.dim[1:]]
            add(name=tensor.name, data_type=_TYPES[kind.elem_type], dims=dims)
    return config


def publish(repository: Path, config: pb.ModelConfig, model: bytes, *, instances: int = 1) -> None:
    """Put an ONNX file behind Triton's Python backend, with a configuration like ours."""
    folder = repository / config.name / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model)
    (folder / "model.py").write_text(MODEL)
    own = pb.ModelConfig()
    own.CopyFrom(config)
    own.backend = "python"
    for name in ("platform", "default_model_filename", "version_policy", "parameters"):
        own.ClearField(name)
    own.ClearField("instance_group")
    own.instance_group.add(count=instances, kind=pb.ModelInstanceGroup.KIND_CPU)
    (repository / config.name / "config.pbtxt").write_text(str(own))


def command(
    repository: Path,
    folder: Path,
    port: int,
    metrics_port: int | None = None,
    flags: Sequence[str] = (),
) -> Command:
    """Return how to start a Triton; it keeps its backend in the folder."""
    metrics: tuple[str, ...] = ("--allow-metrics", "false")
    if metrics_port is not None:
        metrics = ("--metrics-address", "127.0.0.1", "--metrics-port", str(metrics_port))
    python = environment(ENVIRONMENT, *REQUIREMENTS)
    (packages,) = python.parent.parent.glob("lib/python*/site-packages")
    home = packages / "pytriton" / "tritonserver"
    version = packages.parent.name.removeprefix("python")
    backends = folder / "backends"
    shutil.copytree(home / "backends", backends, dirs_exist_ok=True)
    stub = home / "python_backend_stubs" / version / "triton_python_backend_stub"
    shutil.copy2(stub, backends / "python")
    line: list[str | Path] = [
        home / "bin" / "tritonserver",
        *("--model-repository", repository, "--backend-directory", backends),
        *("--grpc-address", "127.0.0.1", "--grpc-port", str(port)),
        *("--allow-http", "false", *metrics),
        *("--exit-timeout-secs", "5"),
        *flags,
    ]
    variables = {
        # The stub takes the packages of the first Python on the path.
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
        "LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs"),
    }
    return Command(line, variables)


@contextmanager
def triton(
    repository: Path, metrics_port: int | None = None, flags: Sequence[str] = ()
) -> Iterator[tuple[str, int]]:
    """Run Triton until the block ends; yield its gRPC address, and its pid, once it is ready."""
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = command(repository, folder, port, metrics_port, flags)
        with running(start, folder, port) as pid:
            yield f"127.0.0.1:{port}", pid
