"""ModelStreamInfer: many requests on one call."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from isotherm.v1 import open_inference_pb2 as pb
from tests.support.rpc import infer_request, outputs_of
from tests.support.server import serving


def stream(channel: grpc.Channel, requests: Iterator[Any], timeout: float = 20) -> Any:
    """Open a stream."""
    multicallable: Any = channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        request_serializer=lambda request: (
            request if isinstance(request, bytes) else request.SerializeToString()
        ),
        response_deserializer=pb.ModelStreamInferResponse.FromString,
    )
    return multicallable(requests, timeout=timeout)


def request(value: float, model: str = "doubling") -> pb.ModelInferRequest:
    """Return a request of one row, its value as the id."""
    message = infer_request(model, x=np.array([[value]], np.float32))
    message.id = str(value)
    return message


def test_every_request_has_its_answer_which_is_its_last(channel: grpc.Channel) -> None:
    """Ids tell which is whose; Triton's clients look for the final flag."""
    answers = list(stream(channel, iter([request(value) for value in range(500)])))

    values = {}
    for answer in answers:
        assert answer.error_message == ""
        assert answer.infer_response.parameters["triton_final_response"].bool_param
        values[answer.infer_response.id] = float(outputs_of(answer.infer_response)["y"][0, 0])
    assert {str(value): 2.0 * value for value in range(500)} == values


def test_a_bad_request_does_not_end_the_stream(channel: grpc.Channel) -> None:
    """It is answered with a text under its id, bytes that are no request without one."""
    requests = [request(1), request(2, "nobody"), b"\xff\xff", request(3)]

    answers = list(stream(channel, iter(requests)))

    errors = {a.infer_response.id: a.error_message for a in answers if a.error_message}
    assert {"1", "3"} == {a.infer_response.id for a in answers if not a.error_message}
    assert {"2", ""} == set(errors)
    assert "Request for unknown model: 'nobody'" in errors["2"]
    assert errors[""] == "the message is not a ModelInferRequest"


def test_a_stream_without_requests_ends_well(channel: grpc.Channel) -> None:
    """Nothing in, nothing out."""
    assert [] == list(stream(channel, iter([])))


def test_a_reader_that_is_slow_gets_everything(channel: grpc.Channel) -> None:
    """The server holds a caller who sends faster than it is answered, and refuses nothing."""
    x = np.zeros((900, 1), np.float32)

    responses = stream(channel, (infer_request("doubling", x=x) for _ in range(2000)), 60)
    sizes = [len(response.infer_response.raw_output_contents[0]) for response in responses]

    assert [x.nbytes] * 2000 == sizes


def test_a_stream_that_the_caller_leaves_costs_nothing(channel: grpc.Channel) -> None:
    """The server goes on with others."""
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    waiting.put(request(1))
    left = stream(channel, iter(waiting.get, None))
    first = next(iter(left))
    left.cancel()
    waiting.put(None)

    assert first.infer_response.id == "1"
    assert len(list(stream(channel, iter([request(2)])))) == 1


def test_a_stopping_server_answers_what_is_due_and_ends_the_stream(
    repository: Any, transport: str
) -> None:
    """An open stream must not hold the stop for its whole grace."""
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    waiting.put(request(1))
    with serving(repository, "--transport", transport) as server:
        with grpc.insecure_channel(server.address) as channel:
            responses = iter(stream(channel, iter(waiting.get, None), 60))
            first = next(responses)
            server.process.terminate()
            with pytest.raises(grpc.RpcError) as caught:
                next(responses)
            waiting.put(None)
        status = server.process.wait(10)

    assert first.infer_response.id == "1"
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert status == 0
