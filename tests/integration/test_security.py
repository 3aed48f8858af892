"""Who gets in, and what a stranger learns: tokens and limits, seen from outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from isotherm.server.rpcs import COUNTED_RPCS, PREFIX, STREAMING_RPCS
from isotherm.v1 import open_inference_pb2 as pb
from tests.support import models
from tests.support.proxy import proxied
from tests.support.rpc import error_of, infer_request
from tests.support.server import Server, eventually, failing, serving

X = np.array([[1.0]], np.float32)
SERVING = health_pb2.HealthCheckResponse.SERVING
DENIED, UNKNOWN = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED
TIMEOUT_S = 10.0
UNARY_RPCS = [path for path in COUNTED_RPCS if path not in STREAMING_RPCS]


def token_file(path: Path, *tokens: str) -> Path:
    """Put a file of tokens in place, as one step."""
    new = path.with_suffix(".new")
    new.touch(0o600)
    new.write_text("# tokens\n" + "\n".join(tokens) + "\n")
    new.replace(path)
    return path


def outcome(channel: grpc.Channel, path: str, request: Any, token: str = "") -> grpc.StatusCode:
    """Call a unary method with a token; return how it ended."""
    future: Any = channel.unary_unary(path, request_serializer=type(request).SerializeToString)
    metadata = [("authorization", f"Bearer {token}")] if token else []
    call = future.future(request, timeout=TIMEOUT_S, metadata=metadata)
    call.exception()
    code: grpc.StatusCode = call.code()
    return code


def infer(channel: grpc.Channel, token: str = "") -> grpc.StatusCode:
    """Call the model; return how it ended."""
    return outcome(channel, PREFIX + "ModelInfer", infer_request("doubling", x=X), token)


def load(channel: grpc.Channel, token: str = "") -> grpc.StatusCode:
    """Load the model anew; return how it ended."""
    request = pb.RepositoryModelLoadRequest(model_name="doubling")
    return outcome(channel, PREFIX + "RepositoryModelLoad", request, token)


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of one model."""
    folder = tmp_path_factory.mktemp("models")
    models.publish(folder, "doubling", models.doubling())
    return folder


@pytest.fixture(name="guarded", scope="module")
def _guarded(
    folder: Path, transport: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that asks everybody for a token, and for another one to control it."""
    tokens = tmp_path_factory.mktemp("tokens")
    flags = (
        *("--transport", transport, "--model-control", "explicit", "--load-model", "*"),
        *("--auth-token-file", str(token_file(tokens / "auth", "caller-1", "caller-2"))),
        *("--control-token-file", str(token_file(tokens / "control", "operator-1"))),
        *("--log-level", "debug"),
    )
    with serving(folder, *flags) as server:
        yield server


@pytest.fixture(name="channel")
def _channel(guarded: Server) -> Iterator[grpc.Channel]:
    """A channel to it."""
    with grpc.insecure_channel(guarded.address) as channel:
        yield channel


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("caller-1", grpc.StatusCode.OK),
        ("caller-2", grpc.StatusCode.OK),
        ("operator-1", grpc.StatusCode.OK),
        ("caller-3", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_a_caller_needs_a_token(
    channel: grpc.Channel, token: str, expected: grpc.StatusCode
) -> None:
    """Any of the file's, or an operator's."""
    assert infer(channel, token) is expected


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("operator-1", grpc.StatusCode.OK),
        ("caller-1", DENIED),
        ("caller-3", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_control_needs_a_token_of_its_own(
    channel: grpc.Channel, token: str, expected: grpc.StatusCode
) -> None:
    """A known caller hears that it may not; a stranger only that it is one."""
    assert load(channel, token) is expected


@pytest.mark.parametrize("path", [path for path in UNARY_RPCS if "health" not in path])
def test_a_stranger_learns_nothing_of_the_models(channel: grpc.Channel, path: str) -> None:
    """Every method refuses with the same text, whether there is such a model or not."""
    answers = set()
    for name in ("doubling", "nobody"):
        # Field 1 is the name in every request that has one.
        request = pb.ModelMetadataRequest(name=name)
        call: Any = channel.unary_unary(
            path, request_serializer=pb.ModelMetadataRequest.SerializeToString
        ).future(request, timeout=TIMEOUT_S)
        assert isinstance(call.exception(), grpc.RpcError)
        answers.add((call.code(), call.details(), tuple(call.trailing_metadata())))

    ((code, text, trailer),) = answers
    assert code is UNKNOWN
    assert text == "this server asks for a token, as metadata 'authorization: Bearer TOKEN'"
    assert trailer == ()


def test_a_stranger_cannot_open_a_stream(channel: grpc.Channel) -> None:
    """Neither to the models nor to their descriptions."""
    infer_stream: Any = channel.stream_stream(PREFIX + "ModelStreamInfer")
    calls = [
        infer_stream(iter([b""]), timeout=TIMEOUT_S),
        reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=TIMEOUT_S
        ),
    ]
    for call in calls:
        with pytest.raises(grpc.RpcError):
            list(call)

    assert [UNKNOWN] * 2 == [call.code() for call in calls]


def test_probes_need_no_token(channel: grpc.Channel) -> None:
    """A kubelet can bring none; by a model's name it hears what strangers hear."""
    stub = health_pb2_grpc.HealthStub(channel)
    check = "/grpc.health.v1.Health/Check"
    statuses = [
        stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_S).status
        for service in ("", "liveness")
    ]
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=""), timeout=TIMEOUT_S)
    statuses.append(next(watch).status)
    watch.cancel()
    model = health_pb2.HealthCheckRequest(service="doubling")

    assert statuses == [SERVING] * 3
    assert outcome(channel, check, model) is UNKNOWN
    assert outcome(channel, check, model, "caller-1") is grpc.StatusCode.OK


def test_no_token_is_in_the_log(guarded: Server, channel: grpc.Channel) -> None:
    """Not even where everything is logged."""
    for token in ("caller-1", "operator-1", "caller-3"):
        infer(channel, token)
        load(channel, token)
    log = guarded.log

    assert "settings: " in log
    assert "tokens travel unencrypted" in log
    assert not {token for token in ("caller-", "operator-") if token in log}


def test_refusals_are_counted(guarded: Server, channel: grpc.Channel) -> None:
    """By method and code, as every call is."""
    series = (
        'grpc_server_handled_total{grpc_code="Unauthenticated",grpc_method="ServerLive",'
        'grpc_service="inference.GRPCInferenceService",grpc_type="unary"}'
    )
    before = guarded.metric(series)
    outcome(channel, PREFIX + "ServerLive", pb.ServerLiveRequest())

    assert eventually(lambda: guarded.metric(series) == before + 1)


def test_tokens_are_rotated_while_the_server_runs(
    folder: Path, transport: str, tmp_path: Path
) -> None:
    """New and old overlap, then the old one goes: a caller who changes in between never fails."""
    path = token_file(tmp_path / "tokens", "old")
    flags = ("--transport", transport, "--auth-token-file", str(path))
    with serving(folder, *flags) as server, grpc.insecure_channel(server.address) as channel:
        codes = [infer(channel, "old"), infer(channel, "new")]
        token_file(path, "old", "new")
        welcome = eventually(lambda: infer(channel, "new") is grpc.StatusCode.OK)
        codes.append(infer(channel, "old"))
        token_file(path, "new")
        gone = eventually(lambda: infer(channel, "old") is UNKNOWN)
        codes.append(infer(channel, "new"))

    assert welcome
    assert gone
    assert [grpc.StatusCode.OK, UNKNOWN, grpc.StatusCode.OK, grpc.StatusCode.OK] == codes


def test_a_token_file_that_everybody_can_read_is_a_warning(folder: Path, tmp_path: Path) -> None:
    """The server starts all the same."""
    path = token_file(tmp_path / "tokens", "t")
    path.chmod(0o644)
    with serving(folder, "--auth-token-file", str(path)) as server:
        assert f"every user of this machine can read the tokens of {path}" in server.log


def test_a_server_that_cannot_be_guarded_does_not_start(folder: Path, tmp_path: Path) -> None:
    """With one sentence each."""
    empty = tmp_path / "empty"
    empty.touch()
    missing = str(tmp_path / "missing")
    outcomes = [
        failing(folder, "--auth-token-file", str(empty)),
        failing(folder, "--control-token-file", missing),
        failing(folder, "--tls-cert", missing),
        failing(folder, "--tls-cert", missing, "--tls-key", missing),
        failing(folder, "--tls-client-ca", missing),
    ]

    assert {status for status, _ in outcomes} == {1}
    assert [error.splitlines()[-1] for _, error in outcomes] == [
        f"isotherm serve: {empty} holds no token",
        f"isotherm serve: cannot read the tokens of {missing}: No such file or directory",
        "isotherm serve: tls_cert needs tls_key: TLS takes both",
        f"isotherm serve: cannot read the certificate {missing}: No such file or directory",
        "isotherm serve: tls_client_ca needs tls_cert and tls_key: "
        "without TLS no client shows anything",
    ]


def test_a_message_beyond_the_limit_is_refused(folder: Path, transport: str) -> None:
    """One below it is served; without a limit this one would be too."""
    flags = ("--transport", transport, "--max-message-bytes", "100000")
    with serving(folder, *flags) as server, grpc.insecure_channel(server.address) as channel:
        small = infer_request("doubling", x=np.zeros((20_000, 1), np.float32))
        large = infer_request("doubling", x=np.zeros((30_000, 1), np.float32))
        served = outcome(channel, PREFIX + "ModelInfer", small)
        refused, text = error_of(channel, "ModelInfer", large)
        served_again = infer(channel)

    assert [grpc.StatusCode.OK] * 2 == [served, served_again]
    assert refused is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "100000" in text


def test_connections_beyond_the_limit_are_refused(folder: Path, transport: str) -> None:
    """Those that are there go on; one that leaves makes room."""
    flags = ("--transport", transport, "--max-connections", "2")
    with serving(folder, *flags) as server:
        first, second, third = (own_connection(server.address) for _ in range(3))
        with first, third:
            with second:
                codes = [infer(first), infer(second), infer(third)]
                still = [infer(first), infer(second)]
            room = eventually(lambda: infer(third) is grpc.StatusCode.OK, 30)

    assert [grpc.StatusCode.OK, grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE] == codes
    assert [grpc.StatusCode.OK] * 2 == still
    assert room


def test_an_idle_connection_is_closed_and_opened_again(folder: Path, transport: str) -> None:
    """A caller does not notice."""
    flags = ("--transport", transport, "--max-connection-idle", "0.2")
    with (
        serving(folder, *flags) as server,
        proxied(server.grpc_port) as proxy,
        grpc.insecure_channel(proxy.address) as channel,
    ):
        first = infer(channel)
        opened = [proxy.accepted]
        closed = eventually(lambda: proxy.connections == 0)
        second = infer(channel)
        opened.append(proxy.accepted)

    assert [grpc.StatusCode.OK] * 2 == [first, second]
    assert closed
    assert opened == [1, 2]


def own_connection(address: str) -> grpc.Channel:
    """Return a channel that shares no connection with another one."""
    return grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
