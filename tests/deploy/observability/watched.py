"""A server that is asked all the time, and a Prometheus that watches it."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.observability import steady
from tests.deploy.observability.prometheus import Prometheus, command, configuration
from tests.deploy.places import MODELS
from tests.deploy.processes import eventually, running, tool
from tests.deploy.server import Address, load, wait_until_ready
from tests.support.ports import free_port


@contextmanager
def loaded_server(folder: Path) -> Iterator[Address]:
    """A server with two workers and two models, and its load."""
    address = Address(free_port(), free_port())
    repository = folder / "models"
    shutil.copytree(MODELS, repository)
    steady.publish(repository)
    serve = [sys.executable, "-m", "isotherm.server", str(repository), "--workers", "2"]
    serve += ["--grpc-port", str(address.grpc_port), "--metrics-port", str(address.metrics_port)]
    with running(serve, folder / "log"):
        wait_until_ready(address, within_s=60)
        with load(address):
            yield address


@contextmanager
def prometheus_of(address: Address, folder: Path) -> Iterator[Prometheus]:
    """Prometheus with our rules, once it has watched the server for some scrapes."""
    program = tool("prometheus", "Debian's prometheus")
    prometheus = Prometheus(free_port())
    config = configuration(folder, address.metrics_port)
    with running(command(program, config, prometheus.port), folder / "log"):
        eventually(prometheus.ready, within_s=60, what="Prometheus")
        eventually(
            lambda: prometheus.query('count_over_time(up{job="isotherm"}[1m]) > 8'),
            what="eight scrapes of the server",
            within_s=60,
        )
        yield prometheus
