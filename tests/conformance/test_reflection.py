"""Server reflection, as grpcurl and buf use it: v1alpha with upstream's stubs, v1 by its path."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2

PUBLIC_SERVICES = {
    "inference.GRPCInferenceService",
    "isotherm.v1.Feedback",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
}


def ask(channel: grpc.Channel, version: str, *requests: Any) -> list[Any]:
    """Send reflection requests on one stream and return the answers."""
    stream: Any = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    return list(stream(iter(requests), timeout=10))


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_the_services_are_listed_by_their_public_names(channel: grpc.Channel, version: str) -> None:
    """A tool sees what it will call."""
    (answer,) = ask(channel, version, reflection_pb2.ServerReflectionRequest(list_services=""))

    assert PUBLIC_SERVICES == {service.name for service in answer.list_services_response.service}


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
@pytest.mark.parametrize("service", sorted(PUBLIC_SERVICES))
def test_every_listed_service_can_be_described(
    channel: grpc.Channel, version: str, service: str
) -> None:
    """The files that come back build a pool of their own in which the service is found."""
    (answer,) = ask(
        channel, version, reflection_pb2.ServerReflectionRequest(file_containing_symbol=service)
    )
    pool = descriptor_pool.DescriptorPool()
    for data in answer.file_descriptor_response.file_descriptor_proto:
        pool.AddSerializedFile(data)

    assert service == pool.FindServiceByName(service).full_name


def test_a_request_built_from_reflection_alone_is_answered(channel: grpc.Channel) -> None:
    """Messages made from the described types are the ones that the server understands."""
    from google.protobuf import message_factory

    request = reflection_pb2.ServerReflectionRequest(
        file_containing_symbol="inference.GRPCInferenceService"
    )
    (answer,) = ask(channel, "v1", request)
    pool = descriptor_pool.DescriptorPool()
    for data in answer.file_descriptor_response.file_descriptor_proto:
        assert descriptor_pb2.FileDescriptorProto.FromString(data).package == "inference"
        pool.AddSerializedFile(data)
    method = pool.FindServiceByName("inference.GRPCInferenceService").methods_by_name["ModelReady"]
    request_class = message_factory.GetMessageClass(method.input_type)
    response_class: Any = message_factory.GetMessageClass(method.output_type)
    ready: Any = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelReady",
        request_serializer=request_class.SerializeToString,
        response_deserializer=response_class.FromString,
    )

    assert ready(request_class(name="doubling"), timeout=10).ready


def test_an_unknown_symbol_is_answered_with_an_error_in_the_stream(channel: grpc.Channel) -> None:
    """The stream goes on after it."""
    answers = ask(
        channel,
        "v1alpha",
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="nobody.Knows"),
        reflection_pb2.ServerReflectionRequest(list_services=""),
    )

    assert grpc.StatusCode.NOT_FOUND.value[0] == answers[0].error_response.error_code
    assert answers[1].list_services_response.service
