"""Families of `prometheus_client`'s process collector, which makes them itself."""

from __future__ import annotations

from typing import Final

from isotherm.server.families.family import Counter, Gauge, Section

SECTION: Final = Section(
    "Supervisor process",
    (
        Counter("process_cpu_seconds_total", "processor time"),
        Gauge("process_max_fds", "file descriptors that it may open"),
        Gauge("process_open_fds", "file descriptors that it has open"),
        Gauge("process_resident_memory_bytes", "resident memory"),
        Gauge("process_start_time_seconds", "start, as Unix time"),
        Gauge("process_virtual_memory_bytes", "virtual memory"),
    ),
    "The families of `prometheus_client`'s process collector, for the supervisor alone: the "
    "workers have their own `isotherm_worker_*`.",
)
