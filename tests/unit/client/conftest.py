"""Fixtures of the client's tests: a server, and clients of either kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from isotherm.client import Client, _coalescing, _shortcut, _trace
from tests.unit.client.driving import KINDS, Driver, Gate
from tests.unit.client.linear import LinearModel, LinearServer, serving, thermometer_contract

__all__ = ["LinearModel", "LinearServer", "thermometer_contract"]

Connect = Callable[..., Driver]


@pytest.fixture(autouse=True)
def _nobody_traces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls take the short way, though the tests of tracing have imported OpenTelemetry."""
    if "test_trace" not in request.module.__name__:
        monkeypatch.setattr(_shortcut, "TRACING", f"no.{_trace.MODULE}")


@pytest.fixture(name="server")
def _server() -> Iterator[LinearServer]:
    with serving() as server:
        yield server


@pytest.fixture(name="client")
def _client(server: LinearServer) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


@pytest.fixture(name="kind", params=KINDS)
def _kind(request: pytest.FixtureRequest) -> str:
    """Each kind of client in turn."""
    kind: str = request.param
    return kind


@pytest.fixture(name="connect")
def _connect(server: LinearServer, kind: str) -> Iterator[Connect]:
    """Make clients of one kind; they are closed at the end."""
    with ExitStack() as stack:

        def connect(target: str | None = None, **options: Any) -> Driver:
            driver = KINDS[kind](target or server.address, **options)
            stack.callback(driver.end)
            return driver

        yield connect


@pytest.fixture(name="gate")
def _gate(server: LinearServer) -> Iterator[Gate]:
    """Inferences are held from now on, until the gate is opened."""
    gate = Gate()
    server.delay = gate
    yield gate
    gate.open_all()


@pytest.fixture(name="patient")
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that a test holds are not overtaken: one is on its way at a time."""
    monkeypatch.setattr(_coalescing, "_PATIENCE_S", 60.0)
    # However long it holds them.
    monkeypatch.setattr(_coalescing, "_LANE_S", 60.0)
