"""Families of calls and of the requests in them."""

from __future__ import annotations

from typing import Final

from isotherm.server.families.family import MODEL, Counter, Histogram, Section, names
from isotherm.server.layout import Phase

HANDLED: Final = Counter(
    "grpc_server_handled_total",
    "calls of every service by their final status; names as in go-grpc-middleware, so its "
    "dashboards work. `grpc_code` is `OK`, `InvalidArgument`, ...",
    ("grpc_type", "grpc_service", "grpc_method", "grpc_code"),
)
REQUESTS: Final = Counter(
    "isotherm_requests_total",
    "inference requests by their final status. `code` is `OK`, `INVALID_ARGUMENT`, ...",
    (*MODEL, "code"),
)
DURATION: Final = Histogram(
    "isotherm_request_duration_seconds",
    "of requests answered with `OK`: from the arrival of the message to the sending of the answer",
    MODEL,
)
PHASES: Final = Histogram(
    "isotherm_phase_duration_seconds",
    "where a request's time went, as that request experienced it; the phases add up to the whole",
    (*MODEL, "phase"),
    {"phase": names(Phase)},
)

SECTION: Final = Section("Calls", (HANDLED, REQUESTS, DURATION, PHASES))
