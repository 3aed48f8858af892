"""REST's guards: tokens as on gRPC; and HTTPS with the server's certificate (slow: openssl)."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support import models
from tests.support.certificates import Authority, Pair
from tests.support.ports import free_port
from tests.support.rest import Reply, Rest, tensor
from tests.support.server import Server, eventually, serving

REQUEST = {"inputs": [tensor("x", np.array([[1.0]], np.float32))]}
REFUSAL = "this server asks for a token, as metadata 'authorization: Bearer TOKEN'"
LOAD = "/v2/repository/models/doubling/load"


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of one model."""
    folder = tmp_path_factory.mktemp("models")
    models.publish(folder, "doubling", models.doubling())
    return folder


@pytest.fixture(name="guarded", scope="module")
def _guarded(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Rest]]:
    """A server that asks for tokens, and lets operators load models."""
    tokens = tmp_path_factory.mktemp("tokens")
    for name in ("caller", "operator"):
        (tokens / name).write_text(f"{name}-1\n")
        (tokens / name).chmod(0o600)
    port = free_port()
    flags = (
        *("--http-port", str(port), "--log-level", "debug", "--log-control"),
        *("--model-control", "explicit", "--load-model", "doubling"),
        *("--auth-token-file", str(tokens / "caller")),
        *("--control-token-file", str(tokens / "operator")),
    )
    with serving(folder, *flags) as server:
        rest = Rest(port)
        assert eventually(lambda: rest.get("/v2/health/ready").status == 200)
        yield server, rest


def bearer(token: str) -> dict[str, str]:
    """Return the header of a token; none for an empty one."""
    return {"Authorization": f"Bearer {token}"} if token else {}


@pytest.mark.parametrize(
    ("token", "infers", "loads"),
    [("caller-1", 200, 403), ("operator-1", 200, 200), ("caller-2", 401, 401), ("", 401, 401)],
)
def test_a_token_is_good_for_what_it_is_on_grpc(
    guarded: tuple[Server, Rest], token: str, infers: int, loads: int
) -> None:
    """The caller's for predictions, the operator's for everything."""
    _, rest = guarded
    infer = rest.infer("doubling", REQUEST, **bearer(token))
    load = rest.post(LOAD, **bearer(token))

    assert (infers, loads) == (infer.status, load.status)
    for reply in (infer, load):
        assert (reply.headers.get("www-authenticate") == "Bearer") == (reply.status == 401)


def test_an_operator_loads_and_unloads(guarded: tuple[Server, Rest]) -> None:
    """With Triton's bodies; what is unloaded is not ready, and what is not there not found."""
    _, rest = guarded
    operator = bearer("operator-1")
    ready = "/v2/models/doubling/ready"
    unload = LOAD.replace("/load", "/unload")
    parameters = {"parameters": {"unload_dependents": False}}
    statuses = [
        rest.post(unload, parameters, **operator).status,
        rest.get(ready, **operator).status,
        rest.infer("doubling", REQUEST, **operator).status,
        rest.post(LOAD, **operator).status,
        rest.get(ready, **operator).status,
        rest.infer("doubling", REQUEST, **operator).status,
        rest.post(LOAD.replace("doubling", "nobody"), **operator).status,
        rest.post(LOAD, {"parameters": {"config": "{}"}}, **operator).status,
        rest.post(LOAD, {"parameters": {"config": None}}, **operator).status,
        rest.post("/v2/repository/index", {"ready": "yes"}, **operator).status,
    ]

    assert statuses == [200, 503, 503, 200, 200, 200, 404, 501, 400, 400]


def quiet(server: Server, rest: Rest) -> bool:
    """Tell whether the gateway leaves a refusal out of the log."""
    before = server.log.count("/v2/silence")
    rest.get("/v2/silence")
    return server.log.count("/v2/silence") == before


def test_an_operator_sees_and_changes_what_is_logged(guarded: tuple[Server, Rest]) -> None:
    """With Triton's body; by every process, the gateway among them."""
    server, rest = guarded
    operator = bearer("operator-1")
    refused = rest.get("/v2/logging", **bearer("caller-1")).status
    before = rest.get("/v2/logging", **operator)
    less = rest.post("/v2/logging", {"log_verbose_level": 0, "log_info": True}, **operator)
    # The gateway hears of it from the supervisor, and not at once.
    silent = eventually(lambda: quiet(server, rest))
    wrong = rest.post("/v2/logging", {"log_info": 1}, **operator)
    null = rest.post("/v2/logging", {"log_info": None}, **operator)
    again = rest.post("/v2/logging", {"log_verbose_level": 1}, **operator)
    heard = eventually(
        lambda: rest.get("/v2/noise").status == 404 and "/v2/noise: 404" in server.log
    )

    assert (silent, heard) == (True, True)
    assert refused == 403
    assert before.content["log_verbose_level"] == 1
    assert (200, 0, True) == (
        less.status,
        less.content["log_verbose_level"],
        less.content["log_info"],
    )
    assert (400, 400, 200) == (wrong.status, null.status, again.status)
    assert again.content == before.content


@pytest.mark.parametrize("name", ["doubling", "nobody"])
def test_a_stranger_learns_nothing_of_the_models(guarded: tuple[Server, Rest], name: str) -> None:
    """The same refusal, whether there is such a model or not; probes need no token."""
    _, rest = guarded
    pages = ("", "/ready", "/config", "/stats", "/versions/1", "/versions/9/ready")
    replies = [rest.get(f"/v2/models/{name}{page}") for page in pages]
    replies += [rest.get(page) for page in ("/v2", "/v2/models/stats", "/v2/models/")[:2]]
    replies += [rest.infer(name, REQUEST), rest.post("/v2/repository/index")]
    replies += [rest.post(f"/v2/repository/models/{name}/{act}") for act in ("load", "unload")]

    assert {(reply.status, reply.error) for reply in replies} == {(401, REFUSAL)}
    assert rest.get("/v2/health/live").status == 200
    assert rest.get("/v2/health/ready").status == 200


def test_a_stranger_s_large_body_is_not_read(guarded: tuple[Server, Rest]) -> None:
    """The answer comes before it."""
    _, rest = guarded
    connection = rest.connect()
    connection.putrequest("POST", "/v2/models/doubling/infer")
    connection.putheader("Content-Length", str(1 << 24))
    connection.endheaders()
    stranger = connection.getresponse().status
    connection.close()
    body = json.dumps(REQUEST).encode() + b" " * (1 << 17)
    known = rest.request("POST", "/v2/models/doubling/infer", body, **bearer("caller-1"))

    assert stranger == 401
    assert known.status == 200


@pytest.mark.parametrize("value", ["Bearer caller-1\x7f", "Bearer tök", "Basic caller-1", "Bearer"])
def test_a_header_that_holds_no_token_lets_nobody_in(
    guarded: tuple[Server, Rest], value: str
) -> None:
    """Nor does it break anything."""
    _, rest = guarded

    assert rest.infer("doubling", REQUEST, Authorization=value).status in {400, 401}


def test_no_token_is_in_the_log(guarded: tuple[Server, Rest]) -> None:
    """Not even where everything is logged."""
    server, rest = guarded
    for token in ("caller-1", "operator-1", "caller-2"):
        rest.infer("doubling", REQUEST, **bearer(token))
        rest.post(LOAD, **bearer(token))
    log = server.log

    assert not {token for token in ("caller-1", "caller-2", "operator-1") if token in log}


# HTTPS: openssl is no pip package.


@pytest.fixture(name="authority", scope="module")
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs for the server and its clients."""
    return Authority(tmp_path_factory.mktemp("authority"), "ca")


@pytest.fixture(name="stranger", scope="module")
def _stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs for others."""
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


def https(port: int, authority: Authority, pair: Pair | None = None) -> Rest:
    """Return HTTPS that trusts an authority, and shows a certificate if there is one."""
    context = ssl.create_default_context(cafile=authority.pair.cert)
    if pair is not None:
        context.load_cert_chain(pair.cert, pair.key)
    return Rest(port, context=context, host="localhost")


def answered(rest: Rest) -> bool:
    """Tell whether the model answers; False where there is no connection."""
    try:
        reply: Reply = rest.infer("doubling", REQUEST)
    except OSError:
        return False
    return reply.status == 200


def install(source: Pair, target: Pair) -> None:
    """Put a pair in another's place; each file as one step."""
    for new, old in ((source.cert, target.cert), (source.key, target.key)):
        copy = old.with_suffix(".new")
        copy.write_bytes(new.read_bytes())
        copy.replace(old)


def shown(port: int) -> list[str]:
    """Return the certificate that a new connection is shown, in PEM, as words."""
    return ssl.get_server_certificate(("localhost", port)).split()


@pytest.mark.slow
def test_https_is_renewed_without_a_restart(
    folder: Path, transport: str, authority: Authority, stranger: Authority
) -> None:
    """New connections are shown the new certificate; a broken one changes nothing."""
    pair, new = authority.issue(f"rest-{transport}"), authority.issue(f"rest-{transport}-new")
    other = stranger.issue("other")
    port = free_port()
    flags = ("--tls-cert", str(pair.cert), "--tls-key", str(pair.key), "--transport", transport)
    with serving(folder, "--http-port", str(port), *flags) as server:
        trusting = https(port, authority)
        assert eventually(lambda: trusting.get("/v2/health/ready").status == 200)
        assert eventually(lambda: f"REST on https://127.0.0.1:{port}/v2" in server.log)
        outcomes = [answered(trusting), answered(https(port, stranger)), answered(Rest(port))]
        old = shown(port)
        kept = trusting.connect()
        kept.request("GET", "/v2")
        kept.getresponse().read()
        pair.key.write_bytes(other.key.read_bytes())
        broken = answered(trusting), shown(port) == old
        install(new, pair)
        renewed = answered(trusting), shown(port) == new.cert.read_text().split()
        kept.request("GET", "/v2")
        lives_on = kept.getresponse().status
        kept.close()
        status, log = server.stop(), server.log

    assert outcomes == [True, False, False]
    assert broken == (True, True)
    assert renewed == (True, True)
    assert lives_on == 200
    assert status == 0
    assert "gateway TLS goes on with the certificate it has" in log
    assert f"gateway TLS has a new certificate: {pair.cert}" in log


@pytest.mark.slow
def test_clients_show_a_certificate_where_the_server_asks_for_one(
    folder: Path, authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    """As on gRPC; and when the authority is replaced, its clients are strangers."""
    pair, client_ca = authority.issue("rest-mutual"), tmp_path / "clients.pem"
    client_ca.write_bytes(authority.pair.cert.read_bytes())
    known, unknown = authority.issue("known"), stranger.issue("unknown")
    port = free_port()
    flags = ("--tls-cert", str(pair.cert), "--tls-key", str(pair.key))
    mutual = ("--tls-client-ca", str(client_ca), "--http-port", str(port))
    with serving(folder, *flags, *mutual):
        clients = [https(port, authority, shows) for shows in (known, unknown, None)]
        assert eventually(lambda: answered(clients[0]))
        before = [answered(client) for client in clients]
        client_ca.write_bytes(stranger.pair.cert.read_bytes())
        after = [answered(client) for client in clients]

    assert before == [True, False, False]
    assert after == [False, True, False]
