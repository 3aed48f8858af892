import pytest

from tests.deploy.images.shared import shared_store
from tests.deploy.observability.watched import loaded_server, prometheus_of


@pytest.fixture(scope="session", name="loaded_server")
def _loaded_server(tmp_path_factory):
    """A server with two workers that is asked all the time."""
    with loaded_server(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture(scope="session", name="prometheus")
def _prometheus(loaded_server, tmp_path_factory):
    """Prometheus with our rules that has watched the loaded server for some scrapes."""
    with prometheus_of(loaded_server, tmp_path_factory.mktemp("prometheus")) as prometheus:
        yield prometheus


@pytest.fixture(scope="session", name="store")
def _store():
    """Images and containers, with the images of the server and of the demo."""
    with shared_store() as store:
        yield store
