"""Fixtures of the conformance suite."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from tests.support.server import Server


@pytest.fixture(name="channel", scope="session")
def _channel(server: Server) -> Iterator[grpc.Channel]:
    """A plain channel to the server of each transport."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.address, options) as channel:
        yield channel
