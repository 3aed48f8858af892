"""A replica that is killed costs the calls that it had, or none where they are repeated."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from isotherm.client import Retry
from tests.deploy.balancing import balancers, ways
from tests.deploy.balancing.replicas import PATIENT, Fleet
from tests.deploy.balancing.scenarios import VICTIM, kill
from tests.deploy.server import Caller
from tests.support.rpc import infer_request

pytestmark = pytest.mark.slow


def test_without_retries_calls_in_flight_alone_are_lost(fleet: Fleet) -> None:
    """By gRPC's own client, and by ours where it is told to repeat nothing."""
    once = Retry(attempts=1)
    with (
        ways.bare_round_robin(fleet.target) as grpcs,
        ways.client(fleet.target, retry=once) as blocking,
        ways.async_client(fleet.target, retry=once) as asyncios,
        grpc.insecure_channel(fleet.replicas[VICTIM].address) as channel,
    ):
        waiting = Caller(channel).send(infer_request(PATIENT, x=ways.ONE))
        outcomes = kill(fleet, {"grpc": grpcs, "client": blocking, "async client": asyncios})
        lost = waiting.exception()

    for name, outcome in outcomes.items():
        print(f"{name}: {outcome}")
    # The control: of the others' calls there may be none on their way to it at that moment.
    assert isinstance(lost, grpc.Call)
    assert lost.code() is grpc.StatusCode.UNAVAILABLE
    # Counted by caller: some call just after any moment at which calls could be counted.
    assert not any(outcome.again for outcome in outcomes.values())
    assert not any(outcome.late for outcome in outcomes.values())


def test_with_retries_no_call_is_lost(fleet: Fleet, tmp_path: Path) -> None:
    """By our clients, by gRPC's as the page sets it, and by balancers that repeat inference."""
    with ExitStack() as stack:
        envoy = stack.enter_context(balancers.envoy(fleet, tmp_path))
        haproxy = stack.enter_context(balancers.haproxy(fleet, tmp_path))
        asks = {
            "client": ways.client(fleet.target),
            "async client": ways.async_client(fleet.target),
            "round_robin": ways.round_robin(fleet.target),
            "envoy": ways.plain(envoy.address),
            "haproxy": ways.plain(haproxy.address),
        }
        opened = {name: stack.enter_context(each) for name, each in asks.items()}
        outcomes = kill(fleet, opened)

    assert not [(name, outcome.errors) for name, outcome in outcomes.items() if outcome.errors]
