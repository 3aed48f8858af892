"""The manifests and the program agree: what the Deployment says is done to a real server."""

import json
import re
import signal
import sys
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest

from tests.deploy.manifests import container, flag, pod
from tests.deploy.places import DOCKERFILE, KUSTOMIZE, MODELS, RENDERED
from tests.deploy.processes import eventually, free_port, running
from tests.deploy.server import Address, Caller, check

pytestmark = pytest.mark.slow

BASE = RENDERED[KUSTOMIZE / "base"]
# What differs from the pod: the folder, the interface, and a drain that is long enough to be looked
# at and short enough to be waited for. The ports are free ones of this machine.
HERE = {"/models": str(MODELS), "0.0.0.0": "127.0.0.1"}  # noqa: S104
DRAIN_DELAY_S = 3


class Probe(NamedTuple):
    """A probe of the manifest against a server of this machine."""

    service: str
    timeout_s: float
    period_s: float
    failures: int

    def ask(self, address: Address) -> str:
        """Ask once, as the kubelet does."""
        return check(address.target, self.service, self.timeout_s)


@pytest.fixture(name="address")
def _address():
    return Address(free_port(), free_port())


@pytest.fixture(name="server")
def _server(address, tmp_path):
    """The image's entry point with the Deployment's arguments, from this environment."""
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE.read_text(), re.MULTILINE)
    program, *rest = json.loads(entry)
    args = [HERE.get(each, each) for each in container(BASE)["args"]]
    args[args.index("--drain-delay") + 1] = str(DRAIN_DELAY_S)
    args += ["--grpc-port", str(address.grpc_port), "--metrics-port", str(address.metrics_port)]
    command = [str(Path(sys.executable).with_name(program)), *rest, *args]
    with running(command, tmp_path / "log") as process:
        yield process


def _probe(name: str) -> Probe:
    described = container(BASE)[name]
    return Probe(
        described["grpc"]["service"],
        described["timeoutSeconds"],
        described["periodSeconds"],
        described["failureThreshold"],
    )


def _started(address: Address) -> None:
    """Ask the start-up probe until it is content, within the budget of the manifest."""
    probe = _probe("startupProbe")
    eventually(
        lambda: probe.ask(address) == "SERVING",
        within_s=min(60, probe.period_s * probe.failures),
        every_s=0.2,
        what="the start-up probe",
    )


def test_a_started_server_passes_every_probe(server, address):
    """Alive from the start, ready as soon as the last worker is; HTTP says the same."""
    _started(address)
    alive = _probe("livenessProbe").ask(address)
    readiness = _probe("readinessProbe")
    eventually(lambda: readiness.ask(address) == "SERVING", within_s=30, what="readiness")

    assert alive == "SERVING"
    assert address.page("/healthz")[0] == 200
    assert address.page("/v2/health/ready")[0] == 200
    assert server.poll() is None


def test_sigterm_takes_readiness_away_and_then_ends_the_server(server, address):
    """The pod leaves the endpoints while it still answers; then it exits 0 within its grace."""
    _started(address)
    with grpc.insecure_channel(address.target) as channel:
        caller = Caller(channel)
        request = caller.request(1)
        caller.send(request).result()

        server.send_signal(signal.SIGTERM)
        readiness = _probe("readinessProbe")
        eventually(
            lambda: readiness.ask(address) == "NOT_SERVING",
            within_s=DRAIN_DELAY_S,
            what="the drain",
        )
        answer = caller.send(request).result()
        alive = _probe("livenessProbe").ask(address)
        http = [address.page(path)[0] for path in ("/healthz", "/v2/health/ready")]

    own_end_s = DRAIN_DELAY_S + flag(BASE, "--grace")
    assert answer.model_name == request.model_name
    assert alive == "SERVING"
    assert http == [200, 503]
    assert server.wait(timeout=own_end_s) == 0
    assert own_end_s < pod(BASE)["spec"]["terminationGracePeriodSeconds"]


def test_a_call_that_arrives_during_the_drain_is_answered(server, address):
    """Forty calls, one after the other, from before the signal to after it: none fails."""
    _started(address)
    with grpc.insecure_channel(address.target) as channel:
        caller = Caller(channel)
        request = caller.request(2)
        codes = [_code(caller, request) for _ in range(20)]
        server.send_signal(signal.SIGTERM)
        codes += [_code(caller, request) for _ in range(20)]

    assert codes == [grpc.StatusCode.OK] * 40
    assert server.wait(timeout=DRAIN_DELAY_S + flag(BASE, "--grace")) == 0


def _code(caller, request):
    call = caller.send(request)
    call.exception()
    return call.code()
