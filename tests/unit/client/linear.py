"""A real gRPC server of the protocol whose models are linear functions, for the client's tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np

from isotherm.v1 import contract as contracts
from isotherm.v1 import feedback_pb2
from isotherm.v1 import open_inference_pb2 as pb
from isotherm.v1.contract_pb2 import (
    MISSING_MEAN,
    MISSING_UNKNOWN,
    Contract,
    Feature,
    Interval,
    Target,
    Tensors,
)
from isotherm.v1.tensors import DTYPES, decode_raw, encode_raw

Spec = tuple[str, str, tuple[int, ...]]


@dataclass
class LinearModel:
    """What a model takes and gives, and the function in between."""

    inputs: list[Spec]
    outputs: list[Spec]
    function: Callable[..., list[Any]]
    contract: str = ""
    version: str = "1"
    max_batch_size: int = 8
    # Of the configuration, beside the contract.
    parameters: dict[str, str] = field(default_factory=dict)


def thermometer_contract() -> Contract:
    """The contract of a Fahrenheit thermometer, with an interval."""
    return Contract(
        schema_version=1,
        model_name="line",
        features=[
            Feature(name="reading", unit="degF", datatype="FP32", minimum=20, maximum=90, mean=55)
        ],
        targets=[Target(name="celsius", unit="degC", datatype="FP32")],
        tensors=Tensors(input="x", prediction="y", lower="lower", upper="upper"),
        interval=Interval(coverage=0.9, half_width=[1.5], method="split-conformal"),
    )


def rides_contract() -> Contract:
    """The contract of fares: two categories, one of them of numbers, and a distance with gaps."""
    return Contract(
        schema_version=1,
        model_name="rides",
        features=[
            Feature(
                name="city",
                datatype="BYTES",
                categories=["Oslo", "Paris", "Rome"],
                missing=MISSING_UNKNOWN,
                missing_rate=0.25,
                unknown_rate=0.5,
            ),
            Feature(name="km", unit="km", minimum=0, maximum=50, missing=MISSING_MEAN),
            Feature(name="seats", datatype="INT64", categories=["4", "6"], missing=MISSING_UNKNOWN),
            Feature(name="hour", minimum=0, maximum=23),
        ],
        targets=[Target(name="fare", datatype="FP32")],
        tensors=Tensors(input="x", prediction="y"),
    )


def _codes(x: Any) -> list[Any]:
    """Answer a row of digits: 1000 * city + 100 * km + 10 * seats + hour, 7 for a missing cell."""
    digits = np.nan_to_num(x, nan=7) @ np.array([[1000], [100], [10], [1]], np.float32)
    return [digits]


def _models() -> dict[str, LinearModel]:
    wide: list[Spec] = [("x", "FP32", (-1, 3))]
    return {
        "line": LinearModel(
            [("x", "FP32", (-1, 1))],
            [(name, "FP32", (-1, 1)) for name in ("y", "lower", "upper")],
            lambda x: [(x - 32) / 1.8, (x - 32) / 1.8 - 1.5, (x - 32) / 1.8 + 1.5],
            contracts.dumps(thermometer_contract()),
        ),
        "plane": LinearModel(
            wide, [("y", "FP32", (-1, 1))], lambda x: [x.sum(axis=1, keepdims=True)]
        ),
        "rides": LinearModel(
            [("x", "FP32", (-1, 4))],
            [("y", "FP32", (-1, 1))],
            _codes,
            contracts.dumps(rides_contract()),
        ),
        "two": LinearModel(
            [("a", "FP32", (-1, 2)), ("b", "INT32", (-1, 1))],
            [("total", "FP32", (-1, 1)), ("count", "INT32", (-1, 1))],
            lambda a, b: [a.sum(axis=1, keepdims=True) + b, b],
        ),
        "echo": LinearModel([("s", "BYTES", (-1, 1))], [("s", "BYTES", (-1, 1))], lambda s: [s]),
        "bare": LinearModel([], [], lambda x: [x * 2]),
    }


@dataclass
class Inference:
    """A request as it reached the server."""

    request: pb.ModelInferRequest
    context: grpc.ServicerContext
    # Set once the call is over, by whichever end.
    over: threading.Event = field(default_factory=threading.Event)
    # Which connection it came by.
    peer: str = ""

    def __post_init__(self) -> None:
        self.peer = self.context.peer()
        self.context.add_callback(self.over.set)

    @property
    def rows(self) -> list[list[float]]:
        """The rows of its first input."""
        tensor = self.request.inputs[0]
        raw = self.request.raw_input_contents[0]
        rows: list[list[float]] = decode_raw(
            tensor.name, tensor.datatype, tensor.shape, raw
        ).tolist()
        return rows

    def end(self, code: grpc.StatusCode) -> None:
        """End it with a status."""
        self.context.abort(code, "as told")


@dataclass
class LinearServer:
    """The server's state, which a test may set, and what reached it, which a test may read."""

    models: dict[str, LinearModel] = field(default_factory=_models)
    # Models that can be loaded.
    shelf: dict[str, LinearModel] = field(default_factory=dict)
    # Codes that the next inferences end with, the first one first.
    failures: list[grpc.StatusCode] = field(default_factory=list)
    # What happens to the next inferences before anything else does, the first one first.
    script: list[Callable[[Inference], object]] = field(default_factory=list)
    trailers: tuple[tuple[str, str], ...] = ()
    typed: bool = False
    ready: bool = True
    delay: Callable[[], object] = lambda: None
    # Names of the methods that this server does not have.
    absent: set[str] = field(default_factory=set)
    absence: str = "unknown method {name}"
    # What orders to load and unload end with.
    orders: tuple[grpc.StatusCode, str] | None = None
    # Called before anything is asked about whether somebody is ready.
    prepare: Callable[[grpc.ServicerContext], object] = lambda _: None
    # Called before a model is described.
    describe: Callable[[], object] = lambda: None
    # Names of the methods that were called.
    calls: list[str] = field(default_factory=list)
    requests: list[pb.ModelInferRequest] = field(default_factory=list)
    inferences: list[Inference] = field(default_factory=list)
    # What came along with each of them.
    metadata: list[dict[str, str]] = field(default_factory=list)
    reports: list[feedback_pb2.ReportRequest] = field(default_factory=list)
    # Called after each report that was taken.
    reported: Callable[[], object] = lambda: None
    change: Callable[[pb.ModelInferResponse], object] = lambda _: None
    # Changes the bytes of an answer.
    rewrite: Callable[[bytes], bytes] = lambda data: data
    # Tell of arrays that reached a model whether they are refused, and whether they break it.
    refuses: Callable[..., bool] = lambda *_: False
    breaks: Callable[..., bool] = lambda *_: False
    health: dict[str, int] = field(default_factory=lambda: {"": 1, "line": 1, "plane": 2})
    address: str = ""

    def model(self, name: str, version: str, context: grpc.ServicerContext) -> LinearModel:
        """Return the model; end the call when there is none."""
        model = self.models.get(name)
        if model is None or version not in ("", model.version):
            context.abort(
                grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{name}' is not found"
            )
        return model

    def handle(self, name: str) -> Any:
        """Return the handler of the method, which leaves its name in `calls`."""
        behaviour = getattr(self, name)
        request_class = getattr(pb, f"{name}Request")

        def called(request: Any, context: grpc.ServicerContext) -> Any:
            self.calls.append(name)
            if name in self.absent:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, self.absence.format(name=name))
            return behaviour(request, context)

        def serialized(message: Any) -> bytes:
            data = message.SerializeToString()
            return self.rewrite(data) if name == "ModelInfer" else data

        return grpc.unary_unary_rpc_method_handler(
            called,
            request_deserializer=request_class.FromString,
            response_serializer=serialized,
        )

    def ServerReady(self, _request, context):  # noqa: N802  the protocol's name
        """Answer with `ready`."""
        self.prepare(context)
        return pb.ServerReadyResponse(ready=self.ready)

    def ServerMetadata(self, _request, _context):  # noqa: N802
        """Answer with a name."""
        return pb.ServerMetadataResponse(name="linear", version="1.0", extensions=["statistics"])

    def ModelReady(self, request, context):  # noqa: N802
        """Answer with `ready` for a model that exists."""
        self.prepare(context)
        self.model(request.name, request.version, context)
        return pb.ModelReadyResponse(ready=self.ready)

    def ModelMetadata(self, request, context):  # noqa: N802
        """Describe the model."""
        self.describe()
        model = self.model(request.name, request.version, context)
        described = pb.ModelMetadataResponse(
            name=request.name, versions=[model.version], platform="linear"
        )
        for name, datatype, shape in model.inputs:
            described.inputs.add(name=name, datatype=datatype, shape=shape)
        for name, datatype, shape in model.outputs:
            described.outputs.add(name=name, datatype=datatype, shape=shape)
        return described

    def ModelConfig(self, request, context):  # noqa: N802
        """Send the contract."""
        model = self.model(request.name, request.version, context)
        answer = pb.ModelConfigResponse(config=pb.ModelConfig(name=request.name))
        answer.config.max_batch_size = model.max_batch_size
        for name, value in model.parameters.items():
            answer.config.parameters[name].string_value = value
        if model.contract:
            answer.config.parameters[contracts.METADATA_KEY].string_value = model.contract
        return answer

    def ModelInfer(self, request, context):  # noqa: N802
        """Compute, or fail as told."""
        inference = Inference(request, context)
        self.inferences.append(inference)
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        if self.script:
            self.script.pop(0)(inference)
        self.delay()
        if self.failures:
            context.set_trailing_metadata(self.trailers)
            context.abort(self.failures.pop(0), "as told")
        model = self.model(request.model_name, request.model_version, context)
        arrays = {
            tensor.name: decode_raw(tensor.name, tensor.datatype, tensor.shape, raw)
            for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }
        expected = {name: (datatype, shape) for name, datatype, shape in model.inputs}
        for tensor in request.inputs:
            datatype, shape = expected.get(tensor.name, (tensor.datatype, tuple(tensor.shape)))
            widths = zip(shape[1:], tensor.shape[1:], strict=True)
            if tensor.datatype != datatype or any(size not in {-1, got} for size, got in widths):
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"input '{tensor.name}' is wrong")
        if self.refuses(*arrays.values()):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "refused")
        if self.breaks(*arrays.values()):
            context.abort(grpc.StatusCode.INTERNAL, "broken")
        return self.answer(request, model, model.function(*arrays.values()))

    def answer(self, request, model, results):
        """Return the response with the outputs that were asked for."""
        specs = model.outputs or [("out", "FP64", (-1, 1))]
        wanted = {output.name for output in request.outputs} or {name for name, _, _ in specs}
        answer = pb.ModelInferResponse(model_name=request.model_name, model_version=model.version)
        for (name, datatype, _), result in zip(specs, results, strict=True):
            if name not in wanted:
                continue
            array = np.asarray(result).astype(DTYPES[datatype])
            tensor = answer.outputs.add(name=name, datatype=datatype, shape=array.shape)
            if self.typed:
                tensor.contents.fp32_contents.extend(array.ravel().tolist())
            else:
                answer.raw_output_contents.append(encode_raw(array, datatype))
        self.change(answer)
        return answer

    def ModelStatistics(self, request, _context):  # noqa: N802
        """Count the inferences of a model, or of all."""
        answer = pb.ModelStatisticsResponse()
        for name, model in self.models.items():
            if request.name in ("", name):
                made = sum(each.model_name == name for each in self.requests)
                answer.model_stats.add(name=name, version=model.version, inference_count=made)
        return answer

    def RepositoryIndex(self, _request, _context):  # noqa: N802
        """List the models."""
        answer = pb.RepositoryIndexResponse()
        for name, model in self.models.items():
            answer.models.add(name=name, version=model.version, state="READY")
        return answer

    def RepositoryModelLoad(self, request, context):  # noqa: N802
        """Take the shelved model of that name, or end as told."""
        if self.orders is not None:
            context.abort(*self.orders)
        if request.model_name not in self.shelf:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no model '{request.model_name}' to load")
        self.models[request.model_name] = self.shelf[request.model_name]
        return pb.RepositoryModelLoadResponse()

    def RepositoryModelUnload(self, request, context):  # noqa: N802
        """Put the model back on the shelf, or end as told."""
        if self.orders is not None:
            context.abort(*self.orders)
        self.shelf[request.model_name] = self.model(request.model_name, "", context)
        del self.models[request.model_name]
        return pb.RepositoryModelUnloadResponse()

    def report(self, request, context):
        """Take all rows of the only target, or fail as told."""
        self.calls.append("Report")
        if "Report" in self.absent:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        if self.failures:
            context.abort(self.failures.pop(0), "as told")
        model = self.model(request.model_name, request.model_version, context)
        self.reports.append(request)
        self.reported()
        return feedback_pb2.ReportResponse(
            rows=len(request.prediction), model_version=model.version
        )

    def check(self, service: bytes, context: grpc.ServicerContext) -> bytes:
        """Answer a health check; both messages are bytes here."""
        if "Check" in self.absent:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "unknown service")
        # Field 1, a string of fewer than 16384 bytes.
        name = (service[2:] if len(service) < 130 else service[3:]).decode()
        if name not in self.health:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return bytes([8, self.health[name]]) if self.health[name] else b""


METHODS = (
    "ServerReady",
    "ServerMetadata",
    "ModelReady",
    "ModelMetadata",
    "ModelConfig",
    "ModelInfer",
    "ModelStatistics",
    "RepositoryIndex",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
)


@contextmanager
def serving(address: str = "127.0.0.1:0", **options: int) -> Iterator[LinearServer]:
    """Run a server; `options` are gRPC's, with underscores for its dots."""
    state = LinearServer()
    chosen = {
        "grpc.max_receive_message_length": -1,
        "grpc.max_send_message_length": -1,
        "grpc.so_reuseport": 0,
    } | {f"grpc.{name}": value for name, value in options.items()}
    pool = ThreadPoolExecutor(8)
    server = grpc.server(pool, options=list(chosen.items()))
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "inference.GRPCInferenceService", {name: state.handle(name) for name in METHODS}
            ),
            grpc.method_handlers_generic_handler(
                "isotherm.v1.Feedback",
                {
                    "Report": grpc.unary_unary_rpc_method_handler(
                        state.report,
                        request_deserializer=feedback_pb2.ReportRequest.FromString,
                        response_serializer=feedback_pb2.ReportResponse.SerializeToString,
                    )
                },
            ),
            grpc.method_handlers_generic_handler(
                "grpc.health.v1.Health",
                {"Check": grpc.unary_unary_rpc_method_handler(state.check)},
            ),
        )
    )
    state.address = f"127.0.0.1:{server.add_insecure_port(address)}"
    server.start()
    try:
        yield state
    finally:
        server.stop(None).wait()
        pool.shutdown()
