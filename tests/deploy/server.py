"""A running server as the tests see it: its ports, its pages, its gRPC methods."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from isotherm.v1.feedback_pb2 import ReportRequest, ReportResponse
from isotherm.v1.open_inference_pb2 import (
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
)
from tests.deploy.observability import steady
from tests.deploy.pages import page
from tests.deploy.processes import eventually

SERVICE = "/inference.GRPCInferenceService"
MODEL = "thermometer"
# What the model said, and what a thermometer beside it did, in degrees Celsius.
REPORT = ReportRequest(
    model_name=MODEL, prediction=[1.0, 11.0, 21.0, 28.0], truth=[1.4, 10.8, 21.5, 27.0]
)


class Address(NamedTuple):
    """Where a server listens."""

    grpc_port: int
    metrics_port: int

    @property
    def target(self) -> str:
        """The gRPC address."""
        return f"127.0.0.1:{self.grpc_port}"

    def page(self, path: str) -> tuple[int, str]:
        """Status and body of a page on the metrics port."""
        return page(self.metrics_port, path)

    def ready(self) -> bool:
        """Whether the server says that it is."""
        return self.page("/v2/health/ready")[0] == 200


def check(target: str, service: str, timeout_s: float) -> str:
    """Ask the health service on a connection of its own, as a kubelet does."""
    with grpc.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            answer = stub.Check(request, timeout=timeout_s)
        except grpc.RpcError as error:
            return error.code().name
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


class Caller:
    """Calls the model through the public names of the protocol."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._infer = channel.unary_unary(
            f"{SERVICE}/ModelInfer",
            request_serializer=ModelInferRequest.SerializeToString,
            response_deserializer=ModelInferResponse.FromString,
        )
        self._metadata = channel.unary_unary(
            f"{SERVICE}/ModelMetadata",
            request_serializer=ModelMetadataRequest.SerializeToString,
            response_deserializer=ModelMetadataResponse.FromString,
        )
        self._report = channel.unary_unary(
            "/isotherm.v1.Feedback/Report",
            request_serializer=ReportRequest.SerializeToString,
            response_deserializer=ReportResponse.FromString,
        )

    def report(self) -> None:
        """Tell the truth about some rows."""
        self._report(REPORT, timeout=10)

    def request(self, rows: int) -> ModelInferRequest:
        """A request of `rows` rows for the model, shaped by the model's own metadata."""
        metadata = self._metadata(ModelMetadataRequest(name=MODEL), timeout=10)
        request = ModelInferRequest(model_name=MODEL)
        for tensor in metadata.inputs:
            shape = [rows, *tensor.shape[1:]]
            request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
            dtype = {"FP32": np.float32, "FP64": np.float64}[tensor.datatype]
            # Degrees Fahrenheit that the model has been trained on.
            request.raw_input_contents.append(np.linspace(30, 75, rows, dtype=dtype).tobytes())
        return request

    def send(
        self, request: ModelInferRequest, metadata: tuple[tuple[str, str], ...] = ()
    ) -> grpc.Future:
        """Start a call."""
        return self._infer.future(request, timeout=10, metadata=metadata)


@contextmanager
def load(address: Address) -> Iterator[None]:
    """Calls of several sizes, some of them wrong, and truths, for as long as the block lasts."""
    with grpc.insecure_channel(address.target) as channel:
        caller = Caller(channel)
        good = [caller.request(rows) for rows in (1, 2, 7, 64)] * 4
        misshapen = caller.request(1)
        misshapen.raw_input_contents[0] = b""
        stranger = ModelInferRequest(model_name="no-such-model")
        done = threading.Event()

        def work() -> None:
            # Enough for every rate to be there, and little enough for the tests that run beside it.
            while not done.wait(0.2):
                sent = (*good, misshapen, stranger, steady.request())
                for call in [caller.send(each) for each in sent]:
                    call.exception()
                caller.report()

        worker = threading.Thread(target=work, name="load")
        worker.start()
        try:
            yield
        finally:
            done.set()
            worker.join()


def wait_until_ready(address: Address, within_s: float) -> None:
    """Return when the server is ready."""
    eventually(address.ready, within_s=within_s, what="readiness of the server")
