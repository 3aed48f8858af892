"""ModelInfer from message to message, with the loop driven by hand."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isotherm.server.config import BatchingConfig, ServerConfig
from isotherm.server.counters import Block
from isotherm.server.layout import ModelState
from isotherm.server.loader import Loader
from isotherm.server.model_config import ModelSettings
from isotherm.server.repository import Change, Repository
from isotherm.server.service import inference
from isotherm.server.service.inference import InferenceService
from isotherm.server.totals import ModelTotals, total
from isotherm.server.transport.call import StatusCode
from isotherm.v1 import open_inference_pb2 as pb
from tests.support import models
from tests.support.hostile import TRUSTED
from tests.unit.server.fakes import FakeCall, FakeLoop


class Service:
    """The service over three models: one that doubles, one that can fail, one that is broken."""

    def __init__(self, folder: Path, **batching: Any) -> None:
        models.publish(folder, "doubling", models.doubling(), 3)
        models.publish(folder, "lookup", models.lookup())
        (folder / "broken" / "1").mkdir(parents=True)
        (folder / "broken" / "1" / "model.onnx").touch()
        config = BatchingConfig(**batching)
        self.repository = Repository(folder, ModelSettings(batching=config))
        loader = Loader(
            ServerConfig(repository=folder, provider="cpu", vetting=TRUSTED, batching=config)
        )
        self.loop = FakeLoop()
        self.block = Block.create([])
        self.service = InferenceService(self.repository, self.loop, self.block)
        for entry in self.repository.load(loader):
            if entry.model is not None:
                self.service.apply(Change(entry.name, (entry,), added=(entry.model,)))

    def send(self, request: pb.ModelInferRequest, call: FakeCall | None = None) -> FakeCall:
        """Call ModelInfer."""
        call = call or FakeCall()
        self.service.infer(call, request.SerializeToString())
        return call

    def totals(self, name: str) -> ModelTotals:
        """Return a model's counters."""
        return next(model for model in total([self.block]) if model.name == name)


@pytest.fixture(name="service")
def _service(tmp_path: Path) -> Service:
    """The service with its defaults."""
    return Service(tmp_path)


def doubling(*values: float, version: str = "", request_id: str = "") -> pb.ModelInferRequest:
    """Return a request for the model that doubles."""
    return pb.ModelInferRequest(
        model_name="doubling",
        model_version=version,
        id=request_id,
        inputs=[
            pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=(len(values), 1))
        ],
        raw_input_contents=[np.array(values, np.float32).tobytes()],
    )


def lookup(index: int) -> pb.ModelInferRequest:
    """Return a request for the model that fails beyond 3."""
    return pb.ModelInferRequest(
        model_name="lookup",
        inputs=[
            pb.ModelInferRequest.InferInputTensor(name="index", datatype="INT64", shape=(1, 1))
        ],
        raw_input_contents=[np.array([index]).tobytes()],
    )


def answered(call: FakeCall) -> list[float]:
    """Return the numbers of an answer."""
    assert call.code is StatusCode.OK, call.details
    message = pb.ModelInferResponse.FromString(call.sent[0])
    return [float(value) for value in np.frombuffer(message.raw_output_contents[0], np.float32)]


def test_requests_that_wait_together_are_answered_together(service: Service):
    """One execution, and each gets its own rows and id."""
    calls = [
        service.send(doubling(1, 2, request_id="a")),
        service.send(doubling(3, request_id="b")),
    ]
    service.loop.run_deferred()
    messages = [pb.ModelInferResponse.FromString(call.sent[0]) for call in calls]

    assert [answered(call) for call in calls] == [[2, 4], [6]]
    assert [message.id for message in messages] == ["a", "b"]
    assert {(message.model_name, message.model_version) for message in messages} == {
        ("doubling", "3")
    }
    assert service.totals("doubling").executions == 1


def test_a_request_of_which_only_the_numbers_are_new_is_not_parsed(service: Service, monkeypatch):
    """It is answered, refused and counted like the first of its kind."""
    calls = [service.send(doubling(1))]
    monkeypatch.setattr(inference, "parse", None)
    calls += [service.send(doubling(2)), service.send(doubling(math.nan))]
    late = service.send(doubling(4), FakeCall(deadline=time.time() - 1))
    service.loop.run_deferred()

    assert [answered(call)[0] for call in calls[:2]] == [2, 4]
    assert math.isnan(answered(calls[2])[0])
    assert late.code is StatusCode.DEADLINE_EXCEEDED
    assert service.totals("doubling").requests[StatusCode.OK] == 3


def test_what_was_known_of_a_model_ends_with_it(service: Service):
    """The same bytes may mean something else to its successor, or nothing at all."""
    service.send(doubling(1))
    service.loop.run_deferred()
    service.service.apply(service.repository.unload("doubling"))

    assert service.send(doubling(2)).code is StatusCode.UNAVAILABLE


@pytest.mark.parametrize("version", ["", "3", "03"])
def test_a_version_is_found_however_it_is_written(service: Service, version: str):
    """None means the newest."""
    call = service.send(doubling(1, version=version))
    service.loop.run_deferred()

    assert answered(call) == [2]


@pytest.mark.parametrize(
    ("name", "version", "code"),
    [
        ("nobody", "", StatusCode.NOT_FOUND),
        ("", "", StatusCode.NOT_FOUND),
        ("doubling", "9", StatusCode.NOT_FOUND),
        ("doubling", "abc", StatusCode.INVALID_ARGUMENT),
        ("broken", "", StatusCode.UNAVAILABLE),
        ("broken", "1", StatusCode.UNAVAILABLE),
    ],
)
def test_a_model_that_is_not_served_is_an_error(
    service: Service, name: str, version: str, code: StatusCode
):
    """At once, before anything is queued."""
    call = service.send(pb.ModelInferRequest(model_name=name, model_version=version))

    assert call.code is code
    assert service.loop.deferred == []


def test_bytes_that_are_no_request_are_the_callers_mistake(service: Service):
    """Nothing is known of them, so no model counts them."""
    call = FakeCall()
    service.service.infer(call, b"\xff\xff")

    assert (call.code, call.details) == (
        StatusCode.INVALID_ARGUMENT,
        "the message is not a ModelInferRequest",
    )


def test_a_wrong_request_is_refused_at_once_and_counted(service: Service):
    """It never reaches the queue, and is neither a failure nor a rejection."""
    request = doubling(1)
    request.inputs[0].datatype = "FP64"
    call = service.send(request)
    totals = service.totals("doubling")

    assert call.code is StatusCode.INVALID_ARGUMENT
    assert service.loop.deferred == []
    assert totals.requests[StatusCode.INVALID_ARGUMENT] == 1
    assert (totals.failed, sum(totals.rejected)) == (0, 0)


def test_an_output_that_is_unknown_is_refused_at_once(service: Service):
    """Before the model runs for nothing."""
    request = doubling(1)
    request.outputs.add(name="z")
    call = service.send(request)

    assert call.code is StatusCode.INVALID_ARGUMENT
    assert service.loop.deferred == []


def test_only_the_request_that_fails_in_the_model_gets_the_error(service: Service):
    """Its neighbours are answered, and the failure has its time counted."""
    calls = [service.send(lookup(index)) for index in (1, 99, 2)]
    service.loop.run_deferred()
    totals = service.totals("lookup")

    assert [call.code for call in calls] == [
        StatusCode.OK,
        StatusCode.INTERNAL,
        StatusCode.OK,
    ]
    assert (answered(calls[0]), answered(calls[2])) == ([1], [2])
    assert "idx=99" in calls[1].details
    assert (totals.failed, totals.requests[StatusCode.INTERNAL]) == (1, 1)
    assert totals.fail_ns > 0


def test_a_full_queue_says_when_to_come_back(tmp_path: Path):
    """As gRPC's own retry understands it, and counted by its reason."""
    service = Service(tmp_path, max_batch_size=8, max_queue_rows=8)
    service.send(doubling(1, 2, 3))
    call = service.send(doubling(*range(6)))
    assert call.status is not None
    code, details, trailers = call.status
    totals = service.totals("doubling")

    assert code is StatusCode.RESOURCE_EXHAUSTED
    assert details == "Exceeds maximum queue size: 3 rows are waiting"
    assert trailers == (("grpc-retry-pushback-ms", "10"),)
    assert totals.rejected == [1, 0, 0, 0]


def test_a_caller_that_has_gone_or_is_late_is_not_computed(service: Service):
    """Each by its reason."""
    gone = service.send(doubling(1), FakeCall(cancelled=True))
    late = service.send(doubling(1), FakeCall(deadline=time.time() - 1))
    service.loop.run_deferred()
    totals = service.totals("doubling")

    assert (gone.code, late.code) == (StatusCode.CANCELLED, StatusCode.DEADLINE_EXCEEDED)
    assert late.details == "the deadline passed in the queue"
    assert totals.rejected == [0, 1, 1, 0]
    assert totals.executions == 0


def test_a_model_that_is_added_is_ready_in_the_counters(service: Service):
    """With the limit that its queue has."""
    totals = service.totals("doubling")

    assert totals.state is ModelState.READY
    assert (totals.provider, totals.queue_limit_rows) == ("cpu", 65536)
    assert totals.load_ns > 0


def test_draining_runs_what_waits_for_company(tmp_path: Path):
    """A delay does not hold up the end."""
    service = Service(tmp_path, max_queue_delay_us=10_000_000)
    call = service.send(doubling(4))
    service.loop.run_deferred()
    service.service.drain()
    service.loop.run_deferred()
    service.service.close()

    assert answered(call) == [8]
