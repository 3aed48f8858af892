"""What the tests of shared requests have in common."""

from __future__ import annotations

from typing import Any

from tests.unit.client.driving import Driver
from tests.unit.client.linear import LinearServer


def row(number: float) -> list[list[float]]:
    """Return one row for `plane`, whose answer is its number."""
    return [[number, 0.0, 0.0]]


def known(server: LinearServer, driver: Driver, model: str, x: Any, **options: Any) -> Driver:
    """Have the client ask about a model, and the server forget that it did."""
    gate, server.delay = server.delay, lambda: None
    driver.ask("predict", model, x, **options)
    server.delay = gate
    server.calls.clear()
    server.requests.clear()
    server.inferences.clear()
    return driver


def rows_of(server: LinearServer) -> list[list[list[float]]]:
    """Return the rows of all requests, in the order of their arrival."""
    return [inference.rows for inference in server.inferences]
