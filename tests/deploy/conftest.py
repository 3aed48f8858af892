import sys

import pytest

from tests.deploy.places import MODELS
from tests.deploy.processes import eventually, free_port, running, tool
from tests.deploy.prometheus import Prometheus, command, configuration
from tests.deploy.server import Address, load, wait_until_ready


@pytest.fixture(scope="session", name="loaded_server")
def _loaded_server(tmp_path_factory):
    """A server with two workers that is asked all the time."""
    address = Address(free_port(), free_port())
    serve = [sys.executable, "-m", "isotherm.server", str(MODELS), "--workers", "2"]
    serve += ["--grpc-port", str(address.grpc_port), "--metrics-port", str(address.metrics_port)]
    with running(serve, tmp_path_factory.mktemp("server") / "log"):
        wait_until_ready(address, within_s=60)
        with load(address):
            yield address


@pytest.fixture(scope="session", name="prometheus")
def _prometheus(loaded_server, tmp_path_factory):
    """Prometheus with our rules that has watched the loaded server for some scrapes."""
    program = tool("prometheus", "Debian's prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    prometheus = Prometheus(free_port())
    config = configuration(folder, loaded_server.metrics_port)
    with running(command(program, config, prometheus.port), folder / "log"):
        eventually(prometheus.ready, within_s=60, what="Prometheus")
        eventually(
            lambda: prometheus.query('count_over_time(up{job="isotherm"}[1m]) > 8'),
            what="eight scrapes of the server",
            within_s=60,
        )
        yield prometheus
