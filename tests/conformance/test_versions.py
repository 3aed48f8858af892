"""The conformance suite on the oldest and the newest grpcio and protobuf that we allow."""

from __future__ import annotations

import pytest

from tests.support.environments import environment, pip, run

TEST_TOOLS = ("hypothesis", "pytest", "pytest-asyncio", "pytest-timeout")
OLDEST = (
    "grpcio==1.71.2",
    "grpcio-health-checking==1.71.2",
    "grpcio-reflection==1.71.2",
    "h11==0.14.0",
    "numpy==1.26.4",
    "protobuf==5.29.*",
    "uvicorn==0.30.0",
)
# Of the day.
NEWEST = ("grpcio", "protobuf", "uvicorn")
# REST is served by what has no tests of its own in the suite.
REST = (
    "tests/integration/test_rest.py",
    "tests/integration/test_rest_life.py",
    "tests/unit/server/rest",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["oldest", "newest"])
def test_the_suite_passes_on_both_transports(name: str) -> None:
    """Everything but tritonclient's own tests, which pin grpcio and protobuf between the two."""
    requirements = OLDEST if name == "oldest" else NEWEST
    python = environment(name, "--editable", ".[rest,server]", *requirements, *TEST_TOOLS)

    versions = pip(python, "freeze")
    output = run(
        python,
        *("-m", "pytest", "tests/conformance", *REST, "-m", "not slow", "-q"),
        *("--ignore", "tests/conformance/clients", "-p", "no:cacheprovider"),
    )

    assert ("grpcio==1.71.2" in versions) == (name == "oldest"), versions
    assert " passed" in output
    assert "failed" not in output
    assert "skipped" not in output
