"""The lines for TLS in the files of deploy/lb: between caller, balancer and replicas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from isotherm.client import Client, Tls, UnavailableError
from tests.deploy.balancing import balancers, ways
from tests.deploy.balancing.balancers import Encryption
from tests.deploy.balancing.load import Load
from tests.deploy.balancing.replicas import HOSTS, MODEL, Fleet, fleet_of
from tests.support.certificates import Authority
from tests.support.rpc import call, infer_request

pytestmark = pytest.mark.slow


@pytest.fixture(name="authority", scope="module")
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(name="fleet", scope="module")
def _fleet(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three replicas that speak TLS alone."""
    pair = authority.issue("servers")
    settings = {
        "ISOTHERM_WORKERS": "1",
        "ISOTHERM_TLS_CERT": str(pair.cert),
        "ISOTHERM_TLS_KEY": str(pair.key),
    }
    with fleet_of(len(HOSTS), tmp_path_factory.mktemp("fleet"), settings) as fleet:
        fleet.start()
        yield fleet


@pytest.mark.parametrize("balancer", [balancers.envoy, balancers.haproxy, balancers.nginx])
def test_calls_are_encrypted_on_both_sides(
    fleet: Fleet, authority: Authority, tmp_path: Path, balancer: Callable
) -> None:
    """They reach all replicas; a caller without TLS gets no answer, nor one who trusts others."""
    tls = Encryption(authority.issue("balancer"), authority.pair.cert)
    stranger = Authority(tmp_path, "stranger")
    with balancer(fleet, tmp_path, tls=tls) as running:
        with ways.client(running.address, tls=Tls(ca=str(tls.authority)), coalesce=False) as ask:
            load = Load(ask)
            with load.asking():
                load.await_answers((0, 1, 2))
        strangers = Client(running.address, tls=Tls(ca=str(stranger.pair.cert)), timeout=2)
        with strangers, pytest.raises(UnavailableError):
            strangers.predict(MODEL, ways.ONE, outputs="y")
        with grpc.insecure_channel(running.address) as channel, pytest.raises(grpc.RpcError):
            call(channel, "ModelInfer", infer_request(MODEL, x=ways.ONE), timeout=2)

    assert not load.errors()


@pytest.mark.parametrize("balancer", [balancers.envoy, balancers.haproxy, balancers.nginx])
def test_servers_whom_nobody_vouches_for_get_no_call(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, balancer: Callable
) -> None:
    """The control: the balancer looks at whom it talks to."""
    monkeypatch.setattr(balancers, "ANSWER_WITHIN_S", 2.0)
    other = Authority(tmp_path, "other")
    with (
        pytest.raises(pytest.fail.Exception, match="an answer through"),
        balancer(fleet, tmp_path, tls=Encryption(other.issue("balancer"), other.pair.cert)),
    ):
        pass
