"""Families of the server as a whole and of its workers."""

from __future__ import annotations

from typing import Final

from isotherm.server.families.family import Counter, Gauge, Section

_WORKER: Final = ("worker",)

BUILD_INFO: Final = Gauge(
    "isotherm_build_info", "always 1; the version of Isotherm that runs", ("version",)
)
READY: Final = Gauge(
    "isotherm_ready",
    "1 when every worker serves every model that it should, else 0: what `/v2/health/ready` and "
    'the health service `""` say',
)
DRAINING: Final = Gauge("isotherm_draining", "1 from SIGTERM to the end of the process")
WORKERS: Final = Gauge("isotherm_workers", "worker processes that are configured")
UP: Final = Gauge("isotherm_worker_up", "1 while that worker serves", _WORKER)
RESTARTS: Final = Counter(
    "isotherm_worker_restarts_total", "times the supervisor started that worker again", _WORKER
)
HEARTBEAT_AGE: Final = Gauge(
    "isotherm_worker_heartbeat_age_seconds",
    "time since the polling loop of a serving worker last came round",
    _WORKER,
)
LOOP_LAG: Final = Gauge(
    "isotherm_worker_loop_lag_seconds",
    "how late the timers of a serving worker's loop were at the worst, within the last 15 seconds: "
    "what a request waits for the loop alone",
    _WORKER,
)
CPU: Final = Counter(
    "isotherm_worker_cpu_seconds_total", "processor time of the worker process", _WORKER
)
MEMORY: Final = Gauge(
    "isotherm_worker_resident_memory_bytes", "resident memory of the worker process", _WORKER
)

SECTION: Final = Section(
    "Server and workers",
    (BUILD_INFO, READY, DRAINING, WORKERS, UP, RESTARTS, HEARTBEAT_AGE, LOOP_LAG, CPU, MEMORY),
)
