"""Server reflection: the public names, whatever our own package is called."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2

from isotherm.server.service.reflection import PATHS, SERVICES, ReflectionService, public_pool
from isotherm.server.transport.call import StatusCode
from isotherm.v1 import open_inference_pb2
from tests.unit.server.fakes import FakeCall

Request = reflection_pb2.ServerReflectionRequest
Response = reflection_pb2.ServerReflectionResponse


def ask(*requests: Any, path: str = PATHS[0]) -> list[Any]:
    """Return the answers to requests on one stream."""
    call = FakeCall()
    ReflectionService().methods()[path].open(call)
    for request in requests:
        call.on_message(request.SerializeToString())
    call.on_half_close()

    assert call.code is StatusCode.OK
    return [Response.FromString(data) for data in call.sent]


def test_the_pool_has_the_public_names_and_only_those():
    """A client's tool sees what it will call."""
    pool = public_pool()
    service = pool.FindServiceByName("inference.GRPCInferenceService")
    private = open_inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]

    assert [method.name for method in service.methods] == [m.name for m in private.methods]
    assert service.methods_by_name["ModelInfer"].input_type.full_name == (
        "inference.ModelInferRequest"
    )
    with pytest.raises(KeyError):
        pool.FindMessageTypeByName("isotherm.v1.ModelInferRequest")


def test_the_pool_can_be_built_again():
    """It is nobody's but its service's."""
    assert public_pool() is not public_pool()


@pytest.mark.parametrize("name", SERVICES)
def test_every_listed_service_is_described(name: str):
    """Also reflection itself, in both versions."""
    assert public_pool().FindServiceByName(name).full_name == name


@pytest.mark.parametrize("path", PATHS)
def test_services_are_listed(path: str):
    """In v1 and in v1alpha."""
    (response,) = ask(Request(list_services=""), path=path)

    assert sorted(service.name for service in response.list_services_response.service) == sorted(
        SERVICES
    )


@pytest.mark.parametrize(
    "symbol",
    [
        "inference.GRPCInferenceService",
        "inference.ModelInferRequest.InferInputTensor",
    ],
)
def test_a_symbol_is_found_in_its_file(symbol: str):
    """The file speaks of the public package only."""
    (response,) = ask(Request(file_containing_symbol=symbol))
    data = response.file_descriptor_response.file_descriptor_proto[0]
    file = descriptor_pb2.FileDescriptorProto.FromString(data)

    assert file.package == "inference"
    assert b"isotherm.v1" not in data


def test_a_file_is_found_by_its_name():
    """The name that the description itself uses."""
    name = open_inference_pb2.DESCRIPTOR.name
    (response,) = ask(Request(file_by_filename=name))

    assert response.HasField("file_descriptor_response")


def test_several_requests_are_answered_on_one_stream():
    """In order; an unknown symbol does not end it."""
    unknown, listed = ask(
        Request(file_containing_symbol="inference.Nothing"), Request(list_services="")
    )

    assert unknown.error_response.error_code == StatusCode.NOT_FOUND
    assert listed.HasField("list_services_response")


def test_bytes_that_are_no_request_are_the_callers_mistake():
    """The stream ends with a word."""
    call = FakeCall()
    ReflectionService().methods()[PATHS[0]].open(call)
    call.on_message(b"\xff")

    assert (call.code, call.details) == (
        StatusCode.INVALID_ARGUMENT,
        "the message is not a ServerReflectionRequest",
    )
