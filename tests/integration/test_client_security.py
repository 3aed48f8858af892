"""Our own client and commands against a server that asks for TLS and for tokens."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from isotherm.client import AccessDeniedError, AsyncClient, Client, Tls, UnavailableError
from tests.support import models
from tests.support.certificates import Authority, Pair
from tests.support.server import Server, serving


@pytest.fixture(name="token", scope="module")
def _token(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the one token that is good."""
    path = tmp_path_factory.mktemp("token") / "token"
    path.touch(0o600)
    path.write_text("the-token\n")
    return path


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    contract = models.doubling_contract()
    models.publish(folder, "doubling", models.with_contract(models.doubling(), contract))
    return folder


@pytest.fixture(name="guarded", scope="module")
def _guarded(folder: Path, token: Path) -> Iterator[Server]:
    """A server that asks for the token, without TLS."""
    with serving(folder, "--auth-token-file", str(token)) as server:
        yield server


@pytest.fixture(name="authority", scope="module")
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(name="own", scope="module")
def _own(authority: Authority) -> Pair:
    """The client's certificate."""
    return authority.issue("client")


@pytest.fixture(name="closed", scope="module")
def _closed(folder: Path, token: Path, authority: Authority) -> Iterator[Server]:
    """A server that asks for a client's certificate, and for the token."""
    pair = authority.issue("server")
    flags = ("--tls-cert", str(pair.cert), "--tls-key", str(pair.key))
    asking = ("--tls-client-ca", str(authority.pair.cert), "--auth-token-file", str(token))
    with serving(folder, *flags, *asking) as server:
        yield server


def isotherm(*arguments: str) -> tuple[int, str, str]:
    """Run a command; return its exit status and what it wrote."""
    done = subprocess.run(
        [sys.executable, "-m", "isotherm.client.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_client_brings_its_token(guarded: Server, token: Path) -> None:
    """By value or by file; without it, or with another, it is told so and learns nothing."""
    for good in ("the-token", token):
        with Client(guarded.address, token=good) as client:
            assert client.predict("doubling", [1.5], outputs="y").tolist() == [[3.0]]
    for bad in (None, "another"):
        with Client(guarded.address, token=bad) as client, pytest.raises(AccessDeniedError):
            client.predict("nobody", [1.5])


async def test_so_does_the_client_of_asyncio(guarded: Server, token: Path) -> None:
    """The same arguments."""
    async with AsyncClient(guarded.address, token=token) as client:
        assert (await client.predict("doubling", [1.5], outputs="y")).tolist() == [[3.0]]
    async with AsyncClient(guarded.address) as client:
        with pytest.raises(AccessDeniedError):
            await client.predict("doubling", [1.5])


def test_the_commands_take_a_token_file(guarded: Server, token: Path) -> None:
    """predict, inspect and health; a model's health is asked about with the token alone."""
    where = ("--address", guarded.address)
    key = ("--token-file", str(token))
    predicted = isotherm("predict", "doubling", "1.5", "--format", "csv", *where, *key)
    refused = isotherm("predict", "doubling", "1.5", *where)
    inspected = isotherm("inspect", "doubling", *where, *key)
    healthy = isotherm("health", "doubling", *where, *key)

    assert predicted[0] == inspected[0] == healthy[0] == 0
    assert "3.0" in predicted[1]
    assert healthy[1] == "SERVING\n"
    assert refused[0] == 1
    assert "token" in refused[2]


@pytest.mark.slow
def test_tls_with_a_certificate_of_ones_own(
    closed: Server, token: Path, authority: Authority, own: Pair
) -> None:
    """By a name that is the certificate's; with another authority nobody is talked to."""
    ca = authority.pair.cert
    mine = Tls(ca=ca, cert=own.cert, key=own.key, server_name="localhost")
    with Client(closed.address, tls=mine, token=token) as client:
        assert client.predict("doubling", [1.5], outputs="y").tolist() == [[3.0]]
    for wrong in (True, Tls(ca=ca), Tls(ca=own.cert, cert=own.cert, key=own.key)):
        with (
            Client(closed.address, tls=wrong, token=token, timeout=3) as client,
            pytest.raises(UnavailableError),
        ):
            client.predict("doubling", [1.5])


@pytest.mark.slow
async def test_tls_on_asyncio(closed: Server, token: Path, authority: Authority, own: Pair) -> None:
    """The same."""
    mine = Tls(ca=authority.pair.cert, cert=own.cert, key=own.key)
    async with AsyncClient(closed.address, tls=mine, token=token) as client:
        assert (await client.predict("doubling", [1.5], outputs="y")).tolist() == [[3.0]]


@pytest.mark.slow
def test_the_commands_speak_tls(folder: Path, token: Path, authority: Authority) -> None:
    """With the authority in a file."""
    pair = authority.issue("commands")
    flags = ("--tls-cert", str(pair.cert), "--tls-key", str(pair.key))
    with serving(folder, *flags, "--auth-token-file", str(token)) as server:
        where = ("--address", server.address, "--tls-ca", str(authority.pair.cert))
        key = ("--token-file", str(token))
        predicted = isotherm("predict", "doubling", "1.5", "--format", "csv", *where, *key)
        healthy = isotherm("health", *where)
        plain = isotherm("health", "--address", server.address)

    assert (predicted[0], healthy[0]) == (0, 0)
    assert "3.0" in predicted[1]
    assert plain[0] == 1
