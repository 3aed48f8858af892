"""What core is told: every limit by its name, in numbers that it can hold."""

from __future__ import annotations

from typing import Any

import pytest

from isotherm.server.transport.call import TransportConfig
from isotherm.server.transport.options import server_options


def options(**settings: Any) -> dict[str, int]:
    """Return the channel arguments for a configuration."""
    return dict(server_options(TransportConfig(**settings)))


def test_nothing_is_limited_unless_told():
    """A message may be as large as memory, and no connection is counted or closed."""
    found = options()

    assert found["grpc.max_receive_message_length"] == -1
    assert not {name for name in found if "keepalive_t" in name or "max_conn" in name}
    assert "grpc.max_allowed_incoming_connections" not in found


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"max_message_bytes": 1000}, {"grpc.max_receive_message_length": 1000}),
        ({"max_concurrent_streams": 7}, {"grpc.max_concurrent_streams": 7}),
        ({"max_connections": 8}, {"grpc.max_allowed_incoming_connections": 8}),
        ({"max_connection_idle_s": 900}, {"grpc.max_connection_idle_ms": 900_000}),
        (
            {"max_connection_age_s": 0.5, "grace_s": 1e9},
            {
                "grpc.max_connection_age_ms": 500,
                "grpc.max_connection_age_grace_ms": (1 << 31) - 1,
            },
        ),
        (
            {"keepalive_time_s": 60, "keepalive_timeout_s": 20},
            {"grpc.keepalive_time_ms": 60_000, "grpc.keepalive_timeout_ms": 20_000},
        ),
    ],
)
def test_a_limit_is_one_of_cores(settings: dict[str, Any], expected: dict[str, int]):
    """Times in milliseconds."""
    assert options(**settings).items() >= expected.items()
