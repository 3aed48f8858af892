"""What gRPC's core is told when a server is built, the same for both transports."""

from __future__ import annotations

from typing import Final

from isotherm.server.transport.call import TransportConfig

# Where "no limit" has no value of its own.
UNLIMITED: Final = 1 << 30
# core refuses what 32 bits cannot hold.
_MAX_OPTION: Final = (1 << 31) - 1


def server_options(config: TransportConfig) -> list[tuple[str, int]]:
    """Return the channel arguments; a limit of 0 is none."""
    options = [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", _at_most(config.max_message_bytes) or -1),
        ("grpc.max_send_message_length", -1),
        # Without these core kills calls beyond some 1 000 unmatched ones as CANCELLED, behind the
        # back of our own admission.
        ("grpc.server.max_pending_requests", UNLIMITED),
        ("grpc.server.max_pending_requests_hard_limit", UNLIMITED),
        # Clients and balancers may ping every 30 s, also without a call in flight.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 30_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
    if config.keepalive_time_s:
        options += [
            ("grpc.keepalive_time_ms", _ms(config.keepalive_time_s)),
            ("grpc.keepalive_timeout_ms", _ms(config.keepalive_timeout_s)),
            # Otherwise two pings are all that a silent connection gets.
            ("grpc.http2.max_pings_without_data", 0),
        ]
    if config.max_connection_idle_s:
        options.append(("grpc.max_connection_idle_ms", _ms(config.max_connection_idle_s)))
    if config.max_connection_age_s:
        options += [
            ("grpc.max_connection_age_ms", _ms(config.max_connection_age_s)),
            ("grpc.max_connection_age_grace_ms", _ms(config.grace_s)),
        ]
    if config.max_connections:
        options.append(("grpc.max_allowed_incoming_connections", _at_most(config.max_connections)))
    if config.max_concurrent_streams:
        options.append(("grpc.max_concurrent_streams", _at_most(config.max_concurrent_streams)))
    return options


def _ms(duration_s: float) -> int:
    return _at_most(duration_s * 1000)


def _at_most(value: float) -> int:
    return int(min(value, _MAX_OPTION))
