"""TLS, client certificates, and their renewal under load, on both transports."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests.support import models
from tests.support.certificates import Authority, Pair
from tests.support.rpc import call, infer_request, outputs_of
from tests.support.server import Server, eventually, failing, serving

# openssl is no pip package.
pytestmark = pytest.mark.slow

REQUEST = infer_request("doubling", x=np.array([[1.0]], np.float32))


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of one model."""
    folder = tmp_path_factory.mktemp("models")
    models.publish(folder, "doubling", models.doubling())
    return folder


@pytest.fixture(name="authority", scope="session")
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs for the servers, and for the clients that they know."""
    return Authority(tmp_path_factory.mktemp("authority"), "ca")


@pytest.fixture(name="stranger", scope="session")
def _stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs for nobody that a server or a client knows."""
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@contextmanager
def tls(folder: Path, pair: Pair, *flags: str) -> Iterator[Server]:
    """Run a server with a certificate."""
    with serving(folder, "--tls-cert", str(pair.cert), "--tls-key", str(pair.key), *flags) as s:
        yield s


def channel(server: Server, authority: Authority, pair: Pair | None = None) -> grpc.Channel:
    """Return a channel with a connection of its own, that trusts an authority."""
    credentials = grpc.ssl_channel_credentials(
        authority.pair.cert.read_bytes(),
        pair.key.read_bytes() if pair else None,
        pair.cert.read_bytes() if pair else None,
    )
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.secure_channel(f"localhost:{server.grpc_port}", credentials, options)


def answered(opened: grpc.Channel) -> bool:
    """Tell whether the model answers on a channel that is then closed."""
    with opened:
        try:
            return float(outputs_of(call(opened, "ModelInfer", REQUEST))["y"][0, 0]) == 2.0
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert "doubling" not in (error.details() or "")
            return False


def shown(server: Server) -> str:
    """Return the certificate that a new connection is shown, in PEM."""
    return ssl.get_server_certificate(("localhost", server.grpc_port))


def same(certificate: str, pair: Pair) -> bool:
    """Tell whether a certificate is that of a pair."""
    return certificate.split() == pair.cert.read_text().split()


def install(source: Pair, target: Pair) -> None:
    """Put a pair in another's place; each file as one step, the certificate first."""
    for new, old in ((source.cert, target.cert), (source.key, target.key)):
        copy = old.with_suffix(".new")
        copy.write_bytes(new.read_bytes())
        copy.chmod(0o600)
        copy.replace(old)


@contextmanager
def load(make: Callable[[], grpc.Channel], *, reconnect: bool) -> Iterator[list[str]]:
    """Call the model all the while, from four threads; yield what failed."""
    failed: list[str] = []
    done = threading.Event()
    answers = [0] * 4

    def run(number: int) -> None:
        opened = make()
        while not done.is_set():
            try:
                call(opened, "ModelInfer", REQUEST)
                answers[number] += 1
            except grpc.RpcError as error:
                failed.append(str(error))
            if reconnect:
                opened.close()
                opened = make()
        opened.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(answers))]
    for thread in threads:
        thread.start()
    try:
        assert eventually(lambda: min(answers) > 2)
        yield failed
        before = list(answers)
        assert eventually(lambda: all(a > b + 2 for a, b in zip(answers, before, strict=True)))
    finally:
        done.set()
        for thread in threads:
            thread.join(30)


def test_who_trusts_the_server_is_served(
    folder: Path, transport: str, authority: Authority, stranger: Authority
) -> None:
    """Who does not trust it, or speaks no TLS, gets no connection; and the server goes on."""
    pair = authority.issue(f"trusted-{transport}")
    with tls(folder, pair, "--transport", transport) as server:
        trusting = answered(channel(server, authority))
        mistrusting = answered(channel(server, stranger))
        plain = answered(grpc.insecure_channel(server.address))
        again = answered(channel(server, authority))
        status = server.stop()

    assert [True, False, False, True] == [trusting, mistrusting, plain, again]
    assert status == 0


def test_clients_show_a_certificate_where_the_server_asks_for_one(
    folder: Path, transport: str, authority: Authority, stranger: Authority
) -> None:
    """One of the right authority; none, or another's, is no handshake."""
    pair = authority.issue(f"mutual-{transport}")
    flags = ("--transport", transport, "--tls-client-ca", str(authority.pair.cert))
    with tls(folder, pair, *flags) as server:
        known = answered(channel(server, authority, authority.issue("known")))
        none = answered(channel(server, authority))
        unknown = answered(channel(server, authority, stranger.issue("unknown")))

    assert [True, False, False] == [known, none, unknown]


@pytest.mark.parametrize("reconnect", [False, True])
def test_a_certificate_is_replaced_under_load_without_a_failed_call(
    folder: Path, transport: str, authority: Authority, reconnect: bool
) -> None:
    """Connections that are there live on; new ones are shown the new certificate."""
    name = f"replaced-{transport}-{reconnect}"
    pair, new = authority.issue(name), authority.issue(f"{name}-new")
    with tls(folder, pair, "--transport", transport) as server:
        old_shown = same(shown(server), pair)
        with load(lambda: channel(server, authority), reconnect=reconnect) as failed:
            install(new, pair)
            new_shown = eventually(lambda: same(shown(server), new))
        log = server.log

    assert old_shown
    assert new_shown
    assert failed == []
    assert f"TLS has a new certificate: {pair.cert}" in log


def test_the_clients_authority_is_replaced_too(
    folder: Path, transport: str, authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    """Clients of the old one get no new connection."""
    pair, client_ca = authority.issue(f"authority-{transport}"), tmp_path / "clients.pem"
    client_ca.write_bytes(authority.pair.cert.read_bytes())
    known, other = authority.issue("known"), stranger.issue("other")
    flags = ("--transport", transport, "--tls-client-ca", str(client_ca))
    with tls(folder, pair, *flags) as server:
        before = [answered(channel(server, authority, client)) for client in (known, other)]
        client_ca.write_bytes(stranger.pair.cert.read_bytes())
        after = [answered(channel(server, authority, client)) for client in (known, other)]

    assert [True, False] == before
    assert [False, True] == after


def test_a_broken_replacement_leaves_the_old_certificate(
    folder: Path, transport: str, authority: Authority
) -> None:
    """It is logged once, however many connections come; mended, it is served."""
    name = f"broken-{transport}"
    pair, new = authority.issue(name), authority.issue(f"{name}-new")
    old_certificate = pair.cert.read_text()
    with tls(folder, pair, "--transport", transport) as server:
        pair.cert.write_bytes(new.cert.read_bytes())
        served = [answered(channel(server, authority)) for _ in range(5)]
        still_old = shown(server).split() == old_certificate.split()
        complaints = server.log.count("TLS goes on with the certificate it has")
        pair.key.write_bytes(new.key.read_bytes())
        mended = eventually(lambda: same(shown(server), new))

    assert served == [True] * 5
    assert still_old
    assert complaints == 1
    assert mended


def test_a_pair_that_is_none_keeps_the_server_from_starting(
    folder: Path, authority: Authority
) -> None:
    """With one sentence, before a model is loaded."""
    one, two = authority.issue("one"), authority.issue("two")
    status, error = failing(folder, "--tls-cert", str(one.cert), "--tls-key", str(two.key))

    assert status == 1
    assert error.splitlines()[-1] == (
        f"isotherm serve: the key {two.key} does not belong to the certificate {one.cert}"
    )
    assert "is ready" not in error


def test_a_token_travels_under_tls_as_its_users_send_it(
    folder: Path, transport: str, authority: Authority, tmp_path: Path
) -> None:
    """As gRPC's own call credentials, which refuse to go without TLS; nothing is warned about."""
    tokens = tmp_path / "tokens"
    tokens.touch(0o600)
    tokens.write_text("the-token\n")
    pair = authority.issue(f"token-{transport}")
    flags = ("--transport", transport, "--auth-token-file", str(tokens))
    with tls(folder, pair, *flags) as server:
        outcomes = []
        for token in ("the-token", "another"):
            credentials = grpc.composite_channel_credentials(
                grpc.ssl_channel_credentials(authority.pair.cert.read_bytes()),
                grpc.access_token_call_credentials(token),
            )
            with grpc.secure_channel(f"localhost:{server.grpc_port}", credentials) as opened:
                try:
                    outcomes.append(outputs_of(call(opened, "ModelInfer", REQUEST))["y"][0, 0])
                except grpc.RpcError as error:
                    assert isinstance(error, grpc.Call)
                    outcomes.append(error.code())
        log = server.log

    assert [2.0, grpc.StatusCode.UNAUTHENTICATED] == outcomes
    assert "unencrypted" not in log
