"""Load on a real gRPC server, measured."""

from __future__ import annotations

import grpc
import numpy as np
import pytest

from isotherm.client import Client, ServerFaultError
from isotherm.client.cli import load

_ROW = np.array([[1.0, 2.0, 3.0]])


def test_each_call_has_its_time(server):
    """One time a call, all of them positive."""
    with Client(server.address) as client:
        times = load.latencies_s(client, "plane", _ROW, 20)

    assert times.shape == (20,)
    assert (times > 0).all()
    assert server.calls.count("ModelInfer") == 20


def test_a_burst_makes_the_calls_that_were_ordered(server):
    """No more and no fewer, whatever the number in flight."""
    done = load.burst(server.address, "plane", _ROW, 100, 7)

    assert done.calls == 100
    assert done.rate == pytest.approx(100 / done.seconds)
    assert server.calls.count("ModelInfer") == 100


def test_a_failure_in_a_burst_is_the_clients_error(server):
    """Not a group of errors."""
    server.failures = [grpc.StatusCode.INTERNAL]

    with pytest.raises(ServerFaultError):
        load.burst(server.address, "plane", _ROW, 10, 2)
