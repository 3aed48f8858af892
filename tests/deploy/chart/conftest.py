import pytest

from tests.deploy.chart.helm import engine


@pytest.fixture(scope="session", name="helm")
def _helm():
    """One engine for all tests of the chart."""
    with engine() as helm:
        yield helm
