"""The table of RPCs that the transport gets, called through a real socket on both transports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from isotherm.server.config import ServerConfig
from isotherm.server.counters import Block
from isotherm.server.errors import OverloadedError
from isotherm.server.loader import Loader
from isotherm.server.repository import Repository
from isotherm.server.rpcs import COUNTED_RPCS, PREFIX, SERVED_RPCS, STREAMING_RPCS, UNSERVED_RPCS
from isotherm.server.service.feedback import FeedbackService
from isotherm.server.service.health import HealthService
from isotherm.server.service.inference import InferenceService
from isotherm.server.service.log_settings import LogSettingsService
from isotherm.server.service.methods import methods
from isotherm.server.service.models import ModelsService
from isotherm.server.service.reflection import ReflectionService
from isotherm.server.service.repository import RepositoryService
from isotherm.server.service.streaming import StreamingService
from isotherm.server.transport.call import Gate, Stream, Unary
from isotherm.v1 import open_inference_pb2 as pb
from tests.support import models
from tests.support.hostile import TRUSTED
from tests.unit.server.fakes import FakeLoop
from tests.unit.server.serving import Name, Serving, serving

Table = dict[str, Unary | Stream | Gate]


@pytest.fixture(name="table", scope="module")
def _table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """The handlers over one model."""
    folder: Path = tmp_path_factory.mktemp("models")
    models.publish(folder, "doubling", models.doubling())
    repository = Repository(folder)
    list(repository.load(Loader(ServerConfig(repository=folder, provider="cpu", vetting=TRUSTED))))
    inference = InferenceService(repository, FakeLoop(), Block.create([]))
    return methods(
        inference,
        ModelsService(repository, [Block.create([])]),
        RepositoryService(repository),
        StreamingService(inference),
        LogSettingsService(),
        HealthService(),
        ReflectionService(),
        FeedbackService(repository, Block.create([])),
    )


@pytest.fixture(name="server", scope="module", params=["core", "aio"])
def _server(request: pytest.FixtureRequest, table: Table) -> Iterator[Serving]:
    """Each transport with them."""
    name: Name = request.param
    with serving(name, table) as server:
        yield server


def test_the_table_is_the_closed_list(table: Table):
    """What is served is counted by name, and streams are streams."""
    assert sorted(table) == sorted(COUNTED_RPCS)
    assert {path for path, method in table.items() if isinstance(method, Stream)} == STREAMING_RPCS


def test_an_answer_is_the_services(server: Serving):
    """Message in, message out."""
    answer = pb.ServerLiveResponse.FromString(server.call(PREFIX + "ServerLive"))

    assert answer.live


def test_an_error_of_a_service_ends_the_call(server: Serving):
    """With its code and its text."""
    request = pb.ModelMetadataRequest(name="nobody").SerializeToString()
    error = server.error(PREFIX + "ModelMetadata", request)

    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert error.details() == "Request for unknown model: 'nobody' is not found"


@pytest.mark.parametrize("name", sorted(set(SERVED_RPCS) - {"ModelInfer", "ModelStreamInfer"}))
def test_bytes_that_are_no_request_are_the_callers_mistake(server: Serving, name: str):
    """Named by the message that was expected."""
    error = server.error(PREFIX + name, b"\xff")

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == f"the message is not a {name}Request"


@pytest.mark.parametrize("name", sorted(UNSERVED_RPCS))
def test_an_rpc_that_is_not_served_says_why(server: Serving, name: str):
    """Whatever the message is."""
    error = server.error(PREFIX + name, b"\xff")

    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert error.details() == f"{name} is not served: {UNSERVED_RPCS[name]}"


def test_overload_reaches_the_caller_as_grpc_knows_it(table: Table):
    """The same way for every method: code and trailer."""
    from isotherm.server.service.status import fail

    def overloaded(call, _message):
        fail(call, OverloadedError("full", retry_after_s=0.05))

    with serving("core", {**table, "/t/Full": Unary(overloaded)}) as server:
        error = server.error("/t/Full")

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert ("grpc-retry-pushback-ms", "50") in [tuple(p) for p in error.trailing_metadata() or ()]
